//! Weights on their way from a file to a device: a row-major matrix in the element type it was stored in.

use half::{bf16, f16};
use numerics::blocks::{BLOCK, Q4, Q8};

/// The elements of a [`Matrix`].
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// IEEE half precision.
    F16(Vec<f16>),
    /// bfloat16.
    Bf16(Vec<bf16>),
    /// Blocks of 32 along a row, 8 bits; the columns are whole blocks.
    Q8(Q8),
    /// Blocks of 32 along a row, 4 bits; the columns are whole blocks.
    Q4(Q4),
}

impl Elements {
    /// The elements, widened.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Elements::F32(values) => values.clone(),
            Elements::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
            Elements::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
            Elements::Q8(blocks) => (0..blocks.scales.len())
                .flat_map(|index| blocks.block(index))
                .collect(),
            Elements::Q4(blocks) => (0..blocks.scales.len())
                .flat_map(|index| blocks.block(index))
                .collect(),
        }
    }
}

/// A row-major `[rows, cols]` matrix. A linear layer's weight is `[out_features, in_features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows * cols` elements.
    pub elements: Elements,
}

impl Matrix {
    /// A matrix of 32-bit floats.
    ///
    /// # Panics
    /// If `values` has not `rows * cols` elements.
    pub fn from_f32(rows: usize, cols: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows} x {cols} matrix");
        Self {
            rows,
            cols,
            elements: Elements::F32(values),
        }
    }

    /// The matrices one below another. Those of one element type keep it, and blocks stay blocks: of 4 bits with offsets if any has
    /// them, of 8 bits if any has 8. Only then are numbers rounded, those of 4 bits with offsets, by at most a 253rd of their block's
    /// largest. Any other mixture becomes f32.
    ///
    /// # Panics
    /// If there are none, or their widths differ.
    pub fn stack(mut parts: Vec<Matrix>) -> Self {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let cols = parts[0].cols;
        assert!(
            parts.iter().all(|part| part.cols == cols),
            "stacked matrices must be equally wide"
        );
        let rows = parts.iter().map(|part| part.rows).sum();
        let elements = stack_alike(&parts)
            .or_else(|| stack_alike(&as_blocks(&parts, with_offsets)?))
            .or_else(|| stack_alike(&as_blocks(&parts, in_8_bits)?))
            .unwrap_or_else(|| Elements::F32(parts.iter().flat_map(Matrix::to_f32).collect()));
        Self {
            rows,
            cols,
            elements,
        }
    }

    /// `[cols, rows]`, rows and columns exchanged. Quantised elements become f32: their blocks run along rows.
    pub fn transposed(&self) -> Self {
        fn transpose<T: Copy>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
            (0..cols)
                .flat_map(|c| (0..rows).map(move |r| values[r * cols + c]))
                .collect()
        }
        let (rows, cols) = (self.rows, self.cols);
        let elements = match &self.elements {
            Elements::F16(values) => Elements::F16(transpose(values, rows, cols)),
            Elements::Bf16(values) => Elements::Bf16(transpose(values, rows, cols)),
            _ => Elements::F32(transpose(&self.to_f32(), rows, cols)),
        };
        Self {
            rows: cols,
            cols: rows,
            elements,
        }
    }

    /// Rows `from..to`.
    pub fn slice_rows(&self, from: usize, to: usize) -> Self {
        let range = |unit: usize| from * self.cols / unit..to * self.cols / unit;
        let elements = match &self.elements {
            Elements::F32(values) => Elements::F32(values[range(1)].to_vec()),
            Elements::F16(values) => Elements::F16(values[range(1)].to_vec()),
            Elements::Bf16(values) => Elements::Bf16(values[range(1)].to_vec()),
            Elements::Q8(blocks) => Elements::Q8(Q8 {
                quants: blocks.quants[range(1)].to_vec(),
                scales: blocks.scales[range(BLOCK)].to_vec(),
            }),
            Elements::Q4(blocks) => Elements::Q4(Q4 {
                quants: blocks.quants[range(2)].to_vec(),
                scales: blocks.scales[range(BLOCK)].to_vec(),
                offsets: blocks
                    .offsets
                    .as_ref()
                    .map(|offsets| offsets[range(BLOCK)].to_vec()),
            }),
        };
        Self {
            rows: to - from,
            cols: self.cols,
            elements,
        }
    }

    /// The elements, widened.
    pub fn to_f32(&self) -> Vec<f32> {
        self.elements.to_f32()
    }

    /// Element `(row, col)`, widened.
    pub fn get(&self, row: usize, col: usize) -> f32 {
        let at = row * self.cols + col;
        match &self.elements {
            Elements::F32(values) => values[at],
            Elements::F16(values) => values[at].to_f32(),
            Elements::Bf16(values) => values[at].to_f32(),
            Elements::Q8(blocks) => blocks.block(at / BLOCK)[at % BLOCK],
            Elements::Q4(blocks) => blocks.block(at / BLOCK)[at % BLOCK],
        }
    }
}

/// The elements of matrices of one type, one matrix after another; `None` if they differ in type.
fn stack_alike(parts: &[Matrix]) -> Option<Elements> {
    /// What `take` finds in every part, joined.
    fn join<'a, T: Clone + 'a>(
        parts: &'a [Matrix],
        take: impl Fn(&'a Elements) -> Option<&'a Vec<T>>,
    ) -> Option<Vec<T>> {
        let all: Option<Vec<&Vec<T>>> = parts.iter().map(|part| take(&part.elements)).collect();
        Some(all?.into_iter().flatten().cloned().collect())
    }
    fn q8(elements: &Elements) -> Option<&Q8> {
        match elements {
            Elements::Q8(blocks) => Some(blocks),
            _ => None,
        }
    }
    fn q4(elements: &Elements) -> Option<&Q4> {
        match elements {
            Elements::Q4(blocks) => Some(blocks),
            _ => None,
        }
    }
    match &parts.first()?.elements {
        Elements::F32(_) => None,
        Elements::F16(_) => join(parts, |elements| match elements {
            Elements::F16(values) => Some(values),
            _ => None,
        })
        .map(Elements::F16),
        Elements::Bf16(_) => join(parts, |elements| match elements {
            Elements::Bf16(values) => Some(values),
            _ => None,
        })
        .map(Elements::Bf16),
        Elements::Q8(_) => Some(Elements::Q8(Q8 {
            quants: join(parts, |it| q8(it).map(|it| &it.quants))?,
            scales: join(parts, |it| q8(it).map(|it| &it.scales))?,
        })),
        Elements::Q4(first) => Some(Elements::Q4(Q4 {
            quants: join(parts, |it| q4(it).map(|it| &it.quants))?,
            scales: join(parts, |it| q4(it).map(|it| &it.scales))?,
            offsets: match first.offsets {
                Some(_) => Some(join(parts, |it| q4(it)?.offsets.as_ref())?),
                None if parts
                    .iter()
                    .all(|part| q4(&part.elements).is_some_and(|it| it.offsets.is_none())) =>
                {
                    None
                }
                None => return None,
            },
        })),
    }
}

/// Every part in the block format that `convert` makes; `None` if it cannot for one of them.
fn as_blocks(
    parts: &[Matrix],
    convert: impl Fn(&Elements) -> Option<Elements>,
) -> Option<Vec<Matrix>> {
    let converted = parts.iter().map(|part| {
        let elements = convert(&part.elements)?;
        Some(Matrix { elements, ..*part })
    });
    converted.collect()
}

/// Blocks of 4 bits with offsets: `scale (quant - 8)` is `scale quant - 8 scale`, and eight times an f16 is an f16.
fn with_offsets(elements: &Elements) -> Option<Elements> {
    let Elements::Q4(blocks) = elements else {
        return None;
    };
    let eightfold = |scale: &f16| f16::from_f32(-8.0 * scale.to_f32());
    let offsets = || blocks.scales.iter().map(eightfold).collect();
    Some(Elements::Q4(Q4 {
        offsets: Some(blocks.offsets.clone().unwrap_or_else(offsets)),
        ..blocks.clone()
    }))
}

/// Blocks of 8 bits.
fn in_8_bits(elements: &Elements) -> Option<Elements> {
    match elements {
        Elements::Q8(_) => Some(elements.clone()),
        Elements::Q4(blocks) if blocks.offsets.is_none() => Some(Elements::Q8(Q8 {
            quants: (0..blocks.quants.len() * 2)
                .map(|at| blocks.quant(at) as i8 - 8)
                .collect(),
            scales: blocks.scales.clone(),
        })),
        Elements::Q4(_) => Some(Elements::Q8(Q8::quantise(&elements.to_f32()))),
        _ => None,
    }
}
