//! 2:4 weights for measuring: cold, and checked against f64.

use crate::data::Random;
use gemm::{metadata_place, metadata_words, sparse_bytes};
use half::bf16;
use kernels::{Buffer, Device};

/// Random values and metadata on the device from which matrices are cut: any run of either is that of some matrix.
pub struct Kept {
    /// What repeats on the device.
    values: Vec<u16>,
    metadata: Vec<u32>,
    on_device: [Buffer; 2],
}

/// Elements that are random; numbers that no matrix's count divides.
const VALUES: usize = (8 << 20) + 8 * 1021;
const WORDS: usize = (1 << 20) + 4 * 1021;
const VALUE_BYTES: usize = 1 << 30;
const WORD_BYTES: usize = 1 << 28;
/// The pairs of positions that four bits may say.
const PAIRS: [u32; 6] = [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110];

impl Kept {
    pub fn new(device: &Device, random: &mut Random) -> kernels::Result<Self> {
        let value = |random: &mut Random| bf16::from_f32(random.unit()).to_bits();
        let values: Vec<u16> = (0..VALUES).map(|_| value(random)).collect();
        let metadata: Vec<u32> = (0..WORDS)
            .map(|_| {
                let bits = random.next() >> 16;
                (0..8).fold(0, |word, four| {
                    word << 4 | PAIRS[(bits >> (6 * four) & 63) as usize % 6]
                })
            })
            .collect();
        let on_device = [
            repeated(device, &device.upload(&values)?, VALUE_BYTES)?,
            repeated(device, &device.upload(&metadata)?, WORD_BYTES)?,
        ];
        Ok(Self {
            values,
            metadata,
            on_device,
        })
    }

    /// Addresses of values and metadata of matrices `[n, k]` that together are several times the L2 cache: read in turn, each is cold.
    pub fn sets(&self, n: usize, k: usize) -> Vec<(u64, u64)> {
        let (values, words) = (n * k, metadata_words(n, k) * 4);
        let count = (256_usize << 20).div_ceil(sparse_bytes(n, k)).clamp(2, 40);
        let count = count.min(VALUE_BYTES / values).min(WORD_BYTES / words);
        let [of_values, of_words] = self.on_device.each_ref().map(Buffer::address);
        (0..count)
            .map(|set| {
                (
                    of_values + (set * values) as u64,
                    of_words + (set * words) as u64,
                )
            })
            .collect()
    }

    /// Row `row` of the matrix `[_, k]` at these addresses.
    pub fn row(&self, (values, metadata): (u64, u64), row: usize, k: usize) -> Vec<f64> {
        let [of_values, of_words] = self.on_device.each_ref().map(Buffer::address);
        let first = (values - of_values) as usize / 2 + row * (k / 2);
        let words = (metadata - of_words) as usize / 4;
        let mut dense = vec![0.0; k];
        for four in 0..k / 4 {
            let at = metadata_place(row, four, k);
            let pair = self.metadata[(words + at.word) % WORDS] >> at.bit & 15;
            for (i, position) in [pair & 3, pair >> 2].into_iter().enumerate() {
                let bits = self.values[(first + four * 2 + i) % VALUES];
                dense[four * 4 + position as usize] = bf16::from_bits(bits).to_f64();
            }
        }
        dense
    }
}

/// `bytes` of copies of `block`.
fn repeated(device: &Device, block: &Buffer, bytes: usize) -> kernels::Result<Buffer> {
    let data = device.allocate(bytes)?;
    for at in (0..bytes).step_by(block.bytes()) {
        let part = block.bytes().min(bytes - at);
        device.copy(block.address(), data.address() + at as u64, part)?;
    }
    device.synchronize()?;
    Ok(data)
}
