//! Packed weights for measuring: cold, and checked against f64.

use crate::data::Random;
use gemm::{GROUP, UNIT_BYTES, packed_bytes, place};
use half::bf16;
use kernels::{Buffer, Device};

/// Random units on the device from which matrices are cut: any row of units is the packed form of some matrix.
pub struct Units {
    /// What repeats on the device.
    block: Vec<u8>,
    data: Buffer,
}

/// Units that are random; a number that no matrix's count of units divides.
const BLOCK: usize = 16411;
const DATA: usize = 1 << 30;

impl Units {
    pub fn new(device: &Device, random: &mut Random) -> kernels::Result<Self> {
        let mut block = Vec::with_capacity(BLOCK * UNIT_BYTES);
        for _ in 0..BLOCK {
            for _ in 0..16 * GROUP / 16 {
                block.extend(random.next().to_le_bytes());
            }
            for _ in 0..16 {
                let scale = bf16::from_f32(0.001 + random.unit().abs() * 0.01);
                block.extend(scale.to_le_bytes());
            }
        }
        let start = device.upload(&block)?;
        let data = device.allocate(DATA)?;
        for at in (0..DATA).step_by(block.len()) {
            let bytes = block.len().min(DATA - at);
            device.copy(start.address(), data.address() + at as u64, bytes)?;
        }
        device.synchronize()?;
        Ok(Self { block, data })
    }

    /// Addresses of matrices `[n, k]` that together are several times the L2 cache: read in turn, each is cold.
    pub fn sets(&self, n: usize, k: usize) -> Vec<u64> {
        let bytes = packed_bytes(n, k);
        let count = (256_usize << 20).div_ceil(bytes).clamp(2, 40);
        let count = count.min(DATA / bytes);
        (0..count)
            .map(|set| self.data.address() + (set * bytes) as u64)
            .collect()
    }

    /// The weight at `row` and `column` of the matrix `[n, k]` at `address`.
    pub fn weight(&self, address: u64, row: usize, column: usize, n: usize) -> f64 {
        let at = place(row, column, n);
        let first = (address - self.data.address()) as usize / UNIT_BYTES;
        let unit = &self.block[(first + at.unit) % BLOCK * UNIT_BYTES..][..UNIT_BYTES];
        let scale = bf16::from_le_bytes([unit[at.scale], unit[at.scale + 1]]);
        (f64::from(unit[at.byte] >> at.shift & 15) - 8.0) * scale.to_f64()
    }
}
