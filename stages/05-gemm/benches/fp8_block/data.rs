//! Cold operands with block scales, and the check of what was computed from them.

use gemm::fp8::{GROUP, from_e4m3};
use gemm::{BlockOperands, Problem};
use kernels::{Buffer, Device, Result};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Random codes and scales on the device, from which operands are cut, and room for results.
///
/// Codes repeat after `BLOCK` bytes and scales after `SCALES` values; no row length divides either, so that rows differ.
pub struct Pool {
    device: Device,
    block: Vec<u8>,
    scales: Vec<f32>,
    codes: Buffer,
    all_scales: Buffer,
    out: Buffer,
    random: StdRng,
}

const BLOCK: usize = (16 << 20) + 16 * 1021;
const SCALES: usize = (1 << 18) + 4 * 251;
const CODES: usize = 2 << 30;
const ALL_SCALES: usize = 64 << 20;
const OUT: usize = 3 << 30;

impl Pool {
    pub fn new(device: &Device, seed: u64) -> Result<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut block = vec![0_u8; BLOCK];
        random.fill_bytes(&mut block);
        // Below 1 in size, as quantised values spread; a NaN would hide every error.
        for code in &mut block {
            *code = (*code & 0x80) | ((*code & 0x7F) % 0x38);
        }
        let scales: Vec<f32> = (0..SCALES).map(|_| random.random_range(0.5..1.5)).collect();
        let bytes: Vec<u8> = scales
            .iter()
            .flat_map(|scale| scale.to_le_bytes())
            .collect();
        let (codes, all_scales) = (
            repeat(device, &block, CODES)?,
            repeat(device, &bytes, ALL_SCALES)?,
        );
        Ok(Self {
            device: device.clone(),
            block,
            scales,
            codes,
            all_scales,
            out: device.allocate(OUT)?,
            random,
        })
    }

    /// Copies of the problem's operands that together are several times the L2 cache: run in turn, each is cold.
    pub fn sets(&self, problem: &Problem) -> Vec<BlockOperands> {
        let Problem { m, n, k, .. } = *problem;
        let round = |bytes: usize| bytes.next_multiple_of(1024);
        let (a, b, c) = (round(m * k), round(n * k), round(m * n * 2));
        let (groups, stride) = (k.div_ceil(GROUP), m.next_multiple_of(4));
        let scales_a = round(groups * stride * 4);
        let scales = scales_a + round(groups * n.div_ceil(GROUP) * 4);
        let most = (CODES / (a + b)).min(OUT / c).min(ALL_SCALES / scales);
        let count = (256_usize << 20).div_ceil(a + b).clamp(1, 32.min(most));
        let at = |buffer: &Buffer, offset: usize| buffer.address() + offset as u64;
        (0..count)
            .map(|set| BlockOperands {
                a: at(&self.codes, set * (a + b)),
                b: at(&self.codes, set * (a + b) + a),
                scales_a: at(&self.all_scales, set * scales),
                scales_b: at(&self.all_scales, set * scales + scales_a),
                stride,
                c: at(&self.out, set * c),
            })
            .collect()
    }

    /// Fills the results of a set with NaN.
    pub fn poison(&self, problem: &Problem, set: &BlockOperands) -> Result<()> {
        self.device.set(set.c, 0xFF, problem.m * problem.n * 2)
    }

    /// Relative Frobenius error of `samples` random elements of a set's results against f64; NaN if any element is NaN.
    pub fn error(&mut self, problem: &Problem, set: &BlockOperands, samples: usize) -> Result<f64> {
        let Problem { m, n, k, .. } = *problem;
        let out: Vec<u16> = self.device.read(set.c, m * n)?;
        if out.iter().any(|bits| bits & 0x7FFF > 0x7F80) {
            return Ok(f64::NAN);
        }
        let groups = k.div_ceil(GROUP);
        let code = |address: u64, index: usize| {
            let at = (address - self.codes.address()) as usize + index;
            f64::from(from_e4m3(self.block[at % BLOCK]))
        };
        let scale = |address: u64, index: usize| {
            let at = (address - self.all_scales.address()) as usize / 4 + index;
            f64::from(self.scales[at % SCALES])
        };
        let (mut difference, mut size) = (0.0, 0.0);
        for _ in 0..samples {
            let (row, column) = (
                self.random.random_range(0..m),
                self.random.random_range(0..n),
            );
            let term = |i: usize| {
                let a =
                    code(set.a, row * k + i) * scale(set.scales_a, i / GROUP * set.stride + row);
                let block = column / GROUP * groups + i / GROUP;
                a * code(set.b, column * k + i) * scale(set.scales_b, block)
            };
            let exact: f64 = (0..k).map(term).sum();
            let got = half::bf16::from_bits(out[row * n + column]).to_f64();
            difference += (got - exact) * (got - exact);
            size += exact * exact;
        }
        Ok((difference / size).sqrt())
    }
}

/// A buffer of `bytes` bytes that holds `block` again and again.
fn repeat(device: &Device, block: &[u8], bytes: usize) -> Result<Buffer> {
    let (all, start) = (device.allocate(bytes)?, device.upload(block)?);
    for at in (0..bytes).step_by(block.len()) {
        let length = block.len().min(bytes - at);
        device.copy(start.address(), all.address() + at as u64, length)?;
    }
    device.synchronize()?;
    Ok(all)
}
