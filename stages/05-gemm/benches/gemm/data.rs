//! Operands for measuring: random, cold, and checked against f64.

use gemm::{Element, Operands, Problem};
use kernels::{Buffer, Device};

/// xorshift64*, seeded; enough for data, and fast enough for gigabytes.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// `count` random elements as bytes.
fn elements(random: &mut Random, element: Element, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count * element.bytes());
    for _ in 0..count {
        match element {
            Element::Bf16 => bytes.extend(half::bf16::from_f32(random.unit()).to_le_bytes()),
            Element::F16 => bytes.extend(half::f16::from_f32(random.unit()).to_le_bytes()),
            // Sign, and an exponent that keeps the value within (-1, 1): no NaN.
            Element::E4m3 => bytes
                .push((random.next() >> 32) as u8 & 0x80 | ((random.next() >> 32) % 0x38) as u8),
            Element::Int8 => bytes.push((random.next() >> 32) as u8),
        }
    }
    bytes
}

/// The value of the element at `index`.
fn value(bytes: &[u8], element: Element, index: usize) -> f64 {
    let pair = || [bytes[2 * index], bytes[2 * index + 1]];
    match element {
        Element::Bf16 => half::bf16::from_le_bytes(pair()).to_f64(),
        Element::F16 => half::f16::from_le_bytes(pair()).to_f64(),
        Element::Int8 => f64::from(bytes[index] as i8),
        Element::E4m3 => {
            let byte = bytes[index];
            let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f64::from(byte & 7));
            let size = match exponent {
                0 => mantissa / 8.0 * 2.0_f64.powi(-6),
                _ => (1.0 + mantissa / 8.0) * 2.0_f64.powi(exponent - 7),
            };
            if byte & 0x80 == 0 { size } else { -size }
        }
    }
}

/// Random elements on the device from which operands are cut, and room for results.
///
/// The elements repeat after `BLOCK` bytes, a number that no row length divides, so that rows differ.
pub struct Pool {
    device: Device,
    element: Element,
    block: Vec<u8>,
    data: Buffer,
    out: Buffer,
    factors: Vec<f32>,
    scales: Buffer,
}

const BLOCK: usize = (16 << 20) + 16 * 1021;
const DATA: usize = 3 << 30;
const OUT: usize = 5 << 30;
const MOST_ROWS: usize = 1 << 18;

impl Pool {
    pub fn new(device: &Device, element: Element, random: &mut Random) -> kernels::Result<Self> {
        let block = elements(random, element, BLOCK / element.bytes());
        let data = device.allocate(DATA)?;
        let start = device.upload(&block)?;
        for at in (0..DATA).step_by(BLOCK) {
            device.copy(
                start.address(),
                data.address() + at as u64,
                BLOCK.min(DATA - at),
            )?;
        }
        device.synchronize()?;
        let factors: Vec<f32> = (0..MOST_ROWS)
            .map(|_| 0.001 + random.unit().abs())
            .collect();
        Ok(Self {
            device: device.clone(),
            element,
            block,
            data,
            out: device.allocate(OUT)?,
            scales: device.upload(&factors)?,
            factors,
        })
    }

    /// Copies of the problem's operands that together are several times the L2 cache: run in turn, each is cold.
    pub fn sets(&self, problem: &Problem) -> Vec<Operands> {
        let round = |bytes: usize| bytes.div_ceil(1024) * 1024;
        let bytes = self.element.bytes();
        let (a, b) = (
            round(problem.m * problem.k * bytes),
            round(problem.n * problem.k * bytes),
        );
        let c = round(problem.m * problem.n * 4);
        // Of 60 MB of L2, four times as much between two uses of the same bytes.
        let most = (DATA / (a + b)).min(OUT / c);
        let count = (256_usize << 20).div_ceil(a + b).clamp(1, 32.min(most));
        let at = |buffer: &Buffer, offset: usize| buffer.address() + offset as u64;
        (0..count)
            .map(|set| Operands {
                a: at(&self.data, set * (a + b)),
                b: at(&self.data, set * (a + b) + a),
                c: at(&self.out, set * c),
                alpha: 1.0,
                scale_a: self.scales.address(),
                scale_b: self.scales.address(),
                ..Operands::default()
            })
            .collect()
    }

    /// Fills the results of a set with NaN.
    pub fn poison(&self, problem: &Problem, set: &Operands) -> kernels::Result<()> {
        self.device.set(set.c, 0xFF, problem.m * problem.n * 2)
    }

    /// Relative Frobenius error of `samples` random elements of the bf16 results of a set against f64, from at most 16 random rows; NaN
    /// if any element of these rows is.
    pub fn error(
        &self,
        problem: &Problem,
        set: &Operands,
        samples: usize,
        random: &mut Random,
    ) -> kernels::Result<f64> {
        let (m, n, k) = (problem.m, problem.n, problem.k);
        let bytes = self.element.bytes();
        let first = |address: u64| (address - self.data.address()) as usize / bytes;
        let (a, b) = (first(set.a), first(set.b));
        let at = |index: usize| value(&self.block, self.element, index % (BLOCK / bytes));
        let (mut difference, mut size) = (0.0, 0.0);
        let rows = m.min(16);
        for i in 0..rows {
            let row = if rows == m {
                i
            } else {
                random.next() as usize % m
            };
            let out: Vec<u16> = self.device.read(set.c + (row * n * 2) as u64, n)?;
            if out.iter().any(|bits| bits & 0x7FFF > 0x7F80) {
                return Ok(f64::NAN);
            }
            for _ in 0..samples.div_ceil(rows) {
                let column = random.next() as usize % n;
                let sum: f64 = (0..k)
                    .map(|i| at(a + row * k + i) * at(b + column * k + i))
                    .sum();
                let scale = match self.element {
                    Element::Int8 => f64::from(self.factors[row]) * f64::from(self.factors[column]),
                    _ => 1.0,
                };
                let got = half::bf16::from_bits(out[column]).to_f64();
                difference += (got - sum * scale).powi(2);
                size += (sum * scale).powi(2);
            }
        }
        Ok((difference / size.max(1e-300)).sqrt())
    }
}
