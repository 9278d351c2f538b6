//! Quantised weights in the order in which a product reads them.
//!
//! 32 outputs make a panel; a panel is one unit for each block of 32 along `k`, and a unit is quants, then scales (then offsets):
//!
//! ```text
//! 8 bits   quants [k / 4: 8][outputs: 32][4], 128 added       scales [32] f16                    1088 bytes
//! 4 bits   quants [k / 8: 4][outputs: 32][4]                  scales [32] f16 (offsets [32])      576 (640) bytes
//! ```
//!
//! A byte of 4-bit quants holds `k` in its low half and, four further on, `k + 4` in its high half, so that one vector becomes two of the
//! 8-bit order with a mask and a shift. Everything a product needs lies in one stream that it reads from front to back, on lines of its own.

use crate::blocks::{BLOCK, Q4, Q8};
use half::f16;
use memory_hierarchy::Buffer;

/// Outputs of a panel.
pub(super) const PANEL: usize = 32;
/// Bytes of a unit's scales, and of its offsets.
const SCALES: usize = PANEL * size_of::<f16>();

/// What a unit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 8 bits and a scale.
    Q8,
    /// 4 bits around 8, and a scale.
    Q4,
    /// 4 bits, a scale and an offset.
    Q4Offsets,
}

impl Format {
    /// Bytes of quants in a unit.
    pub(super) const fn quants(self) -> usize {
        match self {
            Self::Q8 => PANEL * BLOCK,
            Self::Q4 | Self::Q4Offsets => PANEL * BLOCK / 2,
        }
    }

    /// Bytes of a unit.
    pub(super) const fn unit(self) -> usize {
        match self {
            Self::Q8 | Self::Q4 => self.quants() + SCALES,
            Self::Q4Offsets => self.quants() + 2 * SCALES,
        }
    }
}

/// A weight `[n, k]`, packed.
#[derive(Debug)]
pub struct PackedBlocks {
    data: Buffer<u8>,
    format: Format,
    n: usize,
    k: usize,
}

impl PackedBlocks {
    /// Packs a weight of 8 bits, `[n, k]`.
    ///
    /// # Panics
    /// If the blocks are not those of an `n` by `k` matrix.
    pub fn from_q8(blocks: &Q8, n: usize, k: usize) -> Self {
        assert_eq!(blocks.quants.len(), n * k);
        let mut packed = Self::empty(Format::Q8, n, k, &blocks.scales, None);
        for row in 0..n {
            for col in 0..k {
                let (at, _) = packed.place(row, col);
                packed.data[at] = blocks.quants[row * k + col] as u8 ^ 0x80;
            }
        }
        packed
    }

    /// Packs a weight of 4 bits, `[n, k]`.
    ///
    /// # Panics
    /// If the blocks are not those of an `n` by `k` matrix.
    pub fn from_q4(blocks: &Q4, n: usize, k: usize) -> Self {
        assert_eq!(blocks.quants.len(), n * k / 2);
        let format = match blocks.offsets {
            Some(_) => Format::Q4Offsets,
            None => Format::Q4,
        };
        let mut packed = Self::empty(format, n, k, &blocks.scales, blocks.offsets.as_deref());
        for row in 0..n {
            for col in 0..k {
                let (at, shift) = packed.place(row, col);
                packed.data[at] |= blocks.quant(row * k + col) << shift;
            }
        }
        packed
    }

    /// Scales and offsets in place, quants still zero.
    fn empty(format: Format, n: usize, k: usize, scales: &[f16], offsets: Option<&[f16]>) -> Self {
        assert!(k.is_multiple_of(BLOCK), "whole blocks of {BLOCK}");
        let blocks = k / BLOCK;
        let mut packed = Self {
            data: Buffer::zeroed(n.div_ceil(PANEL) * blocks * format.unit()),
            format,
            n,
            k,
        };
        for (part, values) in [Some(scales), offsets].into_iter().flatten().enumerate() {
            assert_eq!(values.len(), n * blocks);
            for (at, value) in values.iter().enumerate() {
                let to = packed.scale_place(at / blocks, at % blocks, part);
                packed.data[to..to + 2].copy_from_slice(&value.to_le_bytes());
            }
        }
        packed
    }

    /// Where the quant of an element lies: byte and shift.
    fn place(&self, row: usize, col: usize) -> (usize, u32) {
        let within = col % BLOCK;
        let (group, shift) = match self.format {
            Format::Q8 => (within / 4, 0),
            Format::Q4 | Format::Q4Offsets => (within / 8, (within / 4 % 2) as u32 * 4),
        };
        let at = self.unit(row, col / BLOCK) + (group * PANEL + row % PANEL) * 4 + within % 4;
        (at, shift)
    }

    /// Where the scale (part 0) or the offset (part 1) of a block lies.
    fn scale_place(&self, row: usize, block: usize, part: usize) -> usize {
        self.unit(row, block)
            + self.format.quants()
            + part * SCALES
            + row % PANEL * size_of::<f16>()
    }

    /// Where the unit of a row's panel and a block begins.
    fn unit(&self, row: usize, block: usize) -> usize {
        (row / PANEL * (self.k / BLOCK) + block) * self.format.unit()
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// What the units hold.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Memory held, which is what a product with one row reads.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The bytes, unit after unit.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Row `row`, as numbers (the embedding of a token).
    ///
    /// # Panics
    /// If there is no such row, or `out` has not `k` elements.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.n && out.len() == self.k);
        for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let number = |part| {
                let at = self.scale_place(row, block, part);
                f16::from_le_bytes([self.data[at], self.data[at + 1]]).to_f32()
            };
            let scale = number(0);
            let offset = match self.format {
                Format::Q8 => -128.0 * scale,
                Format::Q4 => -8.0 * scale,
                Format::Q4Offsets => number(1),
            };
            for (i, out) in out.iter_mut().enumerate() {
                let (at, shift) = self.place(row, block * BLOCK + i);
                let quant = match self.format {
                    Format::Q8 => self.data[at],
                    Format::Q4 | Format::Q4Offsets => self.data[at] >> shift & 15,
                };
                *out = scale * f32::from(quant) + offset;
            }
        }
    }
}
