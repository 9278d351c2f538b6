//! Weights of 8 and 4 bits in blocks of 32 along a row, each block with a scale of its own: how quantised weights lie in memory
//! between a file and the CPU's packed form.
//!
//! [`Q8`] is what GGML calls Q8_0. [`Q4`] without offsets is Q4_0; with them it holds what asymmetric formats have (Q4_K, AWQ, GPTQ).

use half::f16;

/// Numbers that share a scale.
pub const BLOCK: usize = 32;

/// Eight bits: `w = scale * quant`.
#[derive(Clone, Debug, PartialEq)]
pub struct Q8 {
    /// `[rows, cols]`, within -127 to 127.
    pub quants: Vec<i8>,
    /// `[rows, cols / 32]`.
    pub scales: Vec<f16>,
}

/// Four bits: `w = scale * (quant - 8)`, or with offsets `w = scale * quant + offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct Q4 {
    /// `[rows, cols / 2]`: column `2 i` in the low half of byte `i`, `2 i + 1` in the high half; each within 0 to 15.
    pub quants: Vec<u8>,
    /// `[rows, cols / 32]`.
    pub scales: Vec<f16>,
    /// `[rows, cols / 32]`; `None` where the format is symmetric.
    pub offsets: Option<Vec<f16>>,
}

impl Q8 {
    /// Rounds each block to the nearest multiple of a 127th of its largest magnitude.
    ///
    /// # Panics
    /// If the numbers are not whole blocks.
    pub fn quantise(values: &[f32]) -> Self {
        assert!(
            values.len().is_multiple_of(BLOCK),
            "whole blocks of {BLOCK}"
        );
        let mut quants = Vec::with_capacity(values.len());
        let mut scales = Vec::with_capacity(values.len() / BLOCK);
        for block in values.chunks_exact(BLOCK) {
            let largest = block
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            let scale = f16::from_f32(largest / 127.0);
            let inverse = inverse(scale);
            let quant = |value: &f32| (value * inverse).round().clamp(-127.0, 127.0) as i8;
            quants.extend(block.iter().map(quant));
            scales.push(scale);
        }
        Self { quants, scales }
    }

    /// Block `index`, as numbers.
    pub fn block(&self, index: usize) -> [f32; BLOCK] {
        let scale = self.scales[index].to_f32();
        std::array::from_fn(|i| scale * f32::from(self.quants[index * BLOCK + i]))
    }
}

impl Q4 {
    /// Rounds each block to 16 steps, of which the lowest or the highest is its number of the largest magnitude.
    ///
    /// # Panics
    /// If the numbers are not whole blocks.
    pub fn quantise(values: &[f32]) -> Self {
        assert!(
            values.len().is_multiple_of(BLOCK),
            "whole blocks of {BLOCK}"
        );
        let mut quants = Vec::with_capacity(values.len() / 2);
        let mut scales = Vec::with_capacity(values.len() / BLOCK);
        for block in values.chunks_exact(BLOCK) {
            let furthest = block.iter().fold(0.0f32, |most: f32, value| {
                if value.abs() > most.abs() {
                    *value
                } else {
                    most
                }
            });
            // The range is -8 to 7: the furthest number takes -8, so that no step is wasted on its side.
            let scale = f16::from_f32(furthest / -8.0);
            let inverse = inverse(scale);
            let quant = |value: f32| ((value * inverse).round() + 8.0).clamp(0.0, 15.0) as u8;
            quants.extend(
                block
                    .chunks_exact(2)
                    .map(|pair| quant(pair[0]) | quant(pair[1]) << 4),
            );
            scales.push(scale);
        }
        Self {
            quants,
            scales,
            offsets: None,
        }
    }

    /// The quant of element `at`.
    pub fn quant(&self, at: usize) -> u8 {
        self.quants[at / 2] >> (4 * (at % 2)) & 15
    }

    /// Block `index`, as numbers.
    pub fn block(&self, index: usize) -> [f32; BLOCK] {
        let scale = self.scales[index].to_f32();
        let offset = self
            .offsets
            .as_ref()
            .map_or(-8.0 * scale, |offsets| offsets[index].to_f32());
        std::array::from_fn(|i| scale * f32::from(self.quant(index * BLOCK + i)) + offset)
    }
}

/// What to multiply with instead of dividing by `scale`; 0 for a block of zeros.
fn inverse(scale: f16) -> f32 {
    if scale == f16::ZERO {
        0.0
    } else {
        1.0 / scale.to_f32()
    }
}
