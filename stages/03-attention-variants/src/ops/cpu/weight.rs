//! A weight in the form that the CPU's products read.

use super::Vectorised;
use crate::matrix::{Elements, Matrix};
use half::{bf16, f16};
use memory_hierarchy::gemm::{self, NarrowPanels, Panels, Rows};
use numerics::matmul::{self, PackedBlocks};

/// A weight `[n, k]`, packed.
#[derive(Debug)]
pub enum Weight {
    /// 32-bit floats.
    F32(Panels<f32>),
    /// IEEE half precision.
    F16(Panels<f16>),
    /// bfloat16.
    Bf16(Panels<bf16>),
    /// bfloat16 in pairs; products round the activations to bfloat16.
    Pairs(NarrowPanels<bf16>),
    /// Blocks of 8 or 4 bits; products round the activations to 8 bits.
    Blocks(PackedBlocks),
}

/// Runs `$body` with `$panels` bound to the panels, whatever their type; what rounds its rows are other arms.
macro_rules! on_panels {
    ($weight:expr, $panels:ident => $body:expr, $pairs:ident => $rounded:expr, $blocks:ident => $other:expr) => {
        match $weight {
            Weight::F32($panels) => $body,
            Weight::F16($panels) => $body,
            Weight::Bf16($panels) => $body,
            Weight::Pairs($pairs) => $rounded,
            Weight::Blocks($blocks) => $other,
        }
    };
}

impl From<Matrix> for Weight {
    fn from(matrix: Matrix) -> Self {
        let (n, k) = (matrix.rows, matrix.cols);
        match &matrix.elements {
            Elements::F32(values) => Self::F32(Panels::pack(values, n, k)),
            Elements::F16(values) => Self::F16(Panels::pack(values, n, k)),
            Elements::Bf16(values) => Self::Bf16(Panels::pack(values, n, k)),
            Elements::Q8(blocks) => Self::Blocks(PackedBlocks::from_q8(blocks, n, k)),
            Elements::Q4(blocks) => Self::Blocks(PackedBlocks::from_q4(blocks, n, k)),
        }
    }
}

impl Weight {
    /// The form for rows that are rounded to bfloat16, if it is a weight in bfloat16.
    pub fn rounding(matrix: Matrix) -> Self {
        match &matrix.elements {
            Elements::Bf16(values) => {
                Self::Pairs(NarrowPanels::<bf16>::pack(values, matrix.rows, matrix.cols))
            }
            _ => matrix.into(),
        }
    }

    /// The form with blocks widened: for maps of single heads, whose inputs are not rounded.
    pub fn plain(matrix: Matrix) -> Self {
        match matrix.elements {
            Elements::Q8(_) | Elements::Q4(_) => {
                Matrix::from_f32(matrix.rows, matrix.cols, matrix.to_f32()).into()
            }
            _ => matrix.into(),
        }
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        on_panels!(self, panels => panels.n(), pairs => pairs.n(), blocks => blocks.n())
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        on_panels!(self, panels => panels.k(), pairs => pairs.k(), blocks => blocks.k())
    }

    /// Bytes that a product with one row reads.
    pub fn bytes(&self) -> usize {
        on_panels!(self, panels => panels.bytes(), pairs => pairs.bytes(), blocks => blocks.bytes())
    }

    /// Row `row`, as numbers.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        on_panels!(self, panels => panels.row(row, out), pairs => pairs.row(row, out), blocks => blocks.row(row, out));
    }

    /// `out = x weight^T + bias`, rows of `out` `stride` apart.
    pub(super) fn multiply(
        &self,
        on: &Vectorised,
        out: &mut [f32],
        stride: usize,
        x: Rows<'_>,
        bias: Option<&[f32]>,
    ) {
        on_panels!(
            self,
            panels => gemm::multiply(&on.pool, on.isa, out, stride, x, panels, bias),
            pairs => gemm::multiply_rounded(&on.pool, on.pairs, out, stride, x, pairs, bias),
            blocks => {
                let mut rounded = on.activations.lock().expect("nothing panics with it");
                rounded.quantise(&on.pool, on.ints, x.values, x.stride, x.rows, blocks.k());
                matmul::multiply(&on.pool, on.ints, out, stride, &rounded, blocks, bias);
            }
        );
    }

    /// The same for a head's map, whose columns lie between those of others.
    ///
    /// # Panics
    /// If the weight rounds its rows: see [`Weight::plain`].
    ///
    /// # Safety
    /// As for [`gemm::multiply_to`].
    pub(super) unsafe fn multiply_to(
        &self,
        on: &Vectorised,
        out: *mut f32,
        stride: usize,
        x: Rows<'_>,
    ) {
        on_panels!(
            self,
            // SAFETY: the caller's promise.
            panels => unsafe { gemm::multiply_to(&on.pool, on.isa, out, stride, x, panels, None) },
            _pairs => unreachable!("a head's rows are not rounded"),
            _blocks => unreachable!("a head's map is not in blocks")
        );
    }
}
