//! Integers, scales and zero points of a layer, whatever format they came from, into the engine's blocks.

use half::f16;
use numerics::blocks::{BLOCK, Q4, Q8};

use crate::matrix::{Elements, Matrix};

/// Which group an input belongs to.
pub(in crate::hf) enum Order {
    /// Groups of this many neighbours.
    Plain(usize),
    /// A group for each input: GPTQ's `g_idx`, after inputs were quantised in the order of their activations.
    Table(Vec<usize>),
}

/// `w[row, col] = scale (quant - zero)`, with scale and zero of the row and of the column's group.
pub(in crate::hf) struct Grouped {
    pub rows: usize,
    pub cols: usize,
    /// 4 or 8.
    pub bits: usize,
    /// `[rows, cols]`, unsigned.
    pub quants: Vec<u8>,
    /// `[rows, groups]`.
    pub scales: Vec<f32>,
    /// `[rows, groups]`; `None` is the middle, `2^(bits - 1)`.
    pub zeros: Option<Vec<u8>>,
    /// The groups.
    pub order: Order,
}

impl Grouped {
    /// The matrix: blocks where they hold it, 16 bits otherwise.
    ///
    /// Four bits become [`Q4`]: with every zero point in the middle without loss, otherwise with the offset `-scale zero` rounded
    /// to f16, 2^-11 of it. Eight bits become [`Q8`] where zero points are in the middle; -128 becomes -127. Either needs groups of
    /// whole blocks, and scales that an f16 holds.
    pub fn into_matrix(self) -> Matrix {
        let elements = match self.order {
            Order::Plain(group)
                if group.is_multiple_of(BLOCK) && self.cols.is_multiple_of(group) =>
            {
                match (self.bits, self.half_scales(), self.centred()) {
                    (4, Some(scales), centred) => self.q4(group, &scales, centred),
                    (8, Some(scales), true) => self.q8(group, &scales),
                    _ => narrow(self.to_f32()),
                }
            }
            _ => narrow(self.to_f32()),
        };
        Matrix {
            rows: self.rows,
            cols: self.cols,
            elements,
        }
    }

    fn groups(&self) -> usize {
        self.scales.len() / self.rows.max(1)
    }

    fn middle(&self) -> u8 {
        1 << (self.bits - 1)
    }

    fn zero(&self, at: usize) -> u8 {
        self.zeros.as_ref().map_or(self.middle(), |zeros| zeros[at])
    }

    /// Whether every zero point is in the middle.
    fn centred(&self) -> bool {
        let middle = self.middle();
        self.zeros.iter().flatten().all(|&zero| zero == middle)
    }

    /// The scales in f16, if none of them loses more than the rounding of a normal number.
    fn half_scales(&self) -> Option<Vec<f16>> {
        let close = |scale: &f32| {
            let half = f16::from_f32(*scale);
            ((half.to_f32() - scale).abs() <= scale.abs() * 2f32.powi(-11)).then_some(half)
        };
        self.scales.iter().map(close).collect()
    }

    /// The number of a group, once for each of its blocks.
    fn by_block<T>(&self, group: usize, of: impl Fn(usize) -> T) -> Vec<T> {
        let (blocks, groups) = (self.cols / BLOCK, self.groups());
        let at = |block: usize| block / blocks * groups + block % blocks * BLOCK / group;
        (0..self.rows * blocks).map(|block| of(at(block))).collect()
    }

    fn q4(&self, group: usize, scales: &[f16], centred: bool) -> Elements {
        let offset = |at: usize| f16::from_f32(-scales[at].to_f32() * f32::from(self.zero(at)));
        let pairs = self.quants.as_chunks::<2>().0;
        Elements::Q4(Q4 {
            quants: pairs.iter().map(|pair| pair[0] | pair[1] << 4).collect(),
            scales: self.by_block(group, |at| scales[at]),
            offsets: (!centred).then(|| self.by_block(group, offset)),
        })
    }

    fn q8(&self, group: usize, scales: &[f16]) -> Elements {
        let signed = |quant: &u8| (quant ^ 0x80) as i8;
        Elements::Q8(Q8 {
            quants: self
                .quants
                .iter()
                .map(|quant| signed(quant).max(-127))
                .collect(),
            scales: self.by_block(group, |at| scales[at]),
        })
    }

    fn to_f32(&self) -> Vec<f32> {
        let groups = self.groups();
        let mut values = Vec::with_capacity(self.quants.len());
        for (row, quants) in self.quants.chunks_exact(self.cols.max(1)).enumerate() {
            values.extend(quants.iter().enumerate().map(|(col, &quant)| {
                let group = match &self.order {
                    Order::Plain(size) => col / size,
                    Order::Table(table) => table[col],
                };
                let at = row * groups + group;
                self.scales[at] * (f32::from(quant) - f32::from(self.zero(at)))
            }));
        }
        values
    }
}

/// Numbers in 16 bits: f16, which keeps 11 digits of each, or f32 where one is too large for it.
pub(in crate::hf) fn narrow(values: Vec<f32>) -> Elements {
    if values.iter().any(|value| value.abs() > f16::MAX.to_f32()) {
        Elements::F32(values)
    } else {
        Elements::F16(values.into_iter().map(f16::from_f32).collect())
    }
}
