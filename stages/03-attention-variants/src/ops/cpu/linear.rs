//! `out = x weight^T + bias`: one pass over the weight for all rows of `x`.
//!
//! A weight is read once a step however many sequences are in the batch: decoding many sequences together costs little more
//! than decoding one. Each output is one accumulator that runs over `k` in the same order whatever the tile, so a row's result
//! does not depend, to the last bit, on which other rows are in the batch.

use super::SharedMut;
use crate::matrix::Elements;
use crate::ops::host::HostLinear;
use half::{bf16, f16};
use memory_hierarchy::simd::{Element, Isa, Kernel, Simd};
use rayon::prelude::*;

/// Outputs of a row that are computed together: enough independent accumulators to hide the latency of an FMA.
const COLS: usize = 8;
/// Rows that share a load of the weight.
const ROWS: usize = 4;
/// Multiply-adds below which a second thread costs more than it brings.
const SERIAL_WORK: usize = 128 * 1024;

/// The weight behind a pointer to its first element; the slices are checked where this is made.
#[derive(Clone, Copy)]
pub(super) enum WeightPtr<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> From<&'a Elements> for WeightPtr<'a> {
    fn from(elements: &'a Elements) -> Self {
        match elements {
            Elements::F32(values) => Self::F32(values),
            Elements::F16(values) => Self::F16(values),
            Elements::Bf16(values) => Self::Bf16(values),
            Elements::Q8(_) | Elements::Q4(_) => unimplemented!("quantised weights on the CPU"),
        }
    }
}

/// Rows of `x`, `[rows, k]` with a stride.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub values: &'a [f32],
    pub stride: usize,
    pub rows: usize,
}

/// `out[r * out_stride + n] = x[r] . weight[n] (+ bias[n])` for all `n` in `cols`, on the calling thread.
pub(super) struct Project<'a> {
    pub out: SharedMut<'a>,
    pub out_stride: usize,
    pub x: Rows<'a>,
    pub k: usize,
    pub weight: WeightPtr<'a>,
    pub bias: Option<&'a [f32]>,
    pub cols: std::ops::Range<usize>,
}

impl Kernel for Project<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `Isa::run` chose S.
        unsafe {
            match self.weight {
                WeightPtr::F32(weight) => self.with::<S, f32>(weight),
                WeightPtr::F16(weight) => self.with::<S, f16>(weight),
                WeightPtr::Bf16(weight) => self.with::<S, bf16>(weight),
            }
        }
    }
}

impl Project<'_> {
    #[inline(always)]
    unsafe fn with<S: Simd, W: Element>(&self, weight: &[W]) {
        assert!(self.cols.end * self.k <= weight.len());
        assert!(
            self.x.rows == 0 || (self.x.rows - 1) * self.x.stride + self.k <= self.x.values.len()
        );
        let blocks = self.cols.clone().step_by(COLS);
        for first in blocks {
            let width = COLS.min(self.cols.end - first);
            let mut row = 0;
            while row < self.x.rows {
                let height = if self.x.rows - row >= ROWS { ROWS } else { 1 };
                // SAFETY: rows and columns lie inside, as asserted above.
                unsafe {
                    match (height, width) {
                        // As many sums as the registers hold: 32 of them with AVX-512, 16 elsewhere.
                        (ROWS, COLS) if S::LANES == MAX_LANES => {
                            self.tile::<S, W, ROWS, 4>(weight, row, first);
                            self.tile::<S, W, ROWS, 4>(weight, row, first + 4);
                        }
                        (ROWS, COLS) => {
                            for pair in 0..COLS / 2 {
                                self.tile::<S, W, ROWS, 2>(weight, row, first + 2 * pair);
                            }
                        }
                        (1, COLS) => self.tile::<S, W, 1, COLS>(weight, row, first),
                        (ROWS, _) => {
                            for col in first..first + width {
                                self.tile::<S, W, ROWS, 1>(weight, row, col);
                            }
                        }
                        _ => {
                            for col in first..first + width {
                                self.tile::<S, W, 1, 1>(weight, row, col);
                            }
                        }
                    }
                }
                row += height;
            }
        }
    }

    /// An `R` by `C` tile of outputs.
    #[inline(always)]
    unsafe fn tile<S: Simd, W: Element, const R: usize, const C: usize>(
        &self,
        weight: &[W],
        row: usize,
        col: usize,
    ) {
        // SAFETY: `with` checked that rows `row..row + R` and columns `col..col + C` lie inside.
        unsafe {
            let x = self.x.values.as_ptr().add(row * self.x.stride);
            let sums =
                dot_tile::<S, W, R, C>(x, self.x.stride, weight.as_ptr().add(col * self.k), self.k);
            for r in 0..R {
                for c in 0..C {
                    let bias = self.bias.map_or(0.0, |bias| bias[col + c]);
                    let at = (row + r) * self.out_stride + col + c;
                    self.out.write(at, sums[r][c].sum() + bias);
                }
            }
        }
    }
}

/// All dot products of `R` rows of `x` with `C` rows of a weight, as vectors whose lanes are still to be summed. What is left of
/// `k` after whole vectors is padded with zeros, so that it is added in the same way.
#[inline(always)]
unsafe fn dot_tile<S: Simd, W: Element, const R: usize, const C: usize>(
    x: *const f32,
    stride: usize,
    w: *const W,
    k: usize,
) -> [[S; C]; R] {
    // SAFETY: the caller's rows have `k` elements; vectors are read only where `LANES` of them are left.
    unsafe {
        let mut sums = [[S::splat(0.0); C]; R];
        let whole = k - k % S::LANES;
        let mut at = 0;
        while at < whole {
            accumulate(&mut sums, x.add(at), stride, w.add(at), k);
            at += S::LANES;
        }
        if whole < k {
            let mut x_tail = [[0.0f32; MAX_LANES]; R];
            let mut w_tail = [[W::ZERO; MAX_LANES]; C];
            for r in 0..R {
                let from = x.add(r * stride + whole);
                x_tail[r]
                    .as_mut_ptr()
                    .copy_from_nonoverlapping(from, k - whole);
            }
            for c in 0..C {
                let from = w.add(c * k + whole);
                w_tail[c]
                    .as_mut_ptr()
                    .copy_from_nonoverlapping(from, k - whole);
            }
            let (x, w): (*const f32, *const W) = (x_tail.as_ptr().cast(), w_tail.as_ptr().cast());
            accumulate(&mut sums, x, MAX_LANES, w, MAX_LANES);
        }
        sums
    }
}

/// The widest vector of any instruction set.
const MAX_LANES: usize = 16;

/// One vector's worth of `k`. Plain loops with constant bounds, so that all of it is unrolled and the sums stay in registers.
#[inline(always)]
unsafe fn accumulate<S: Simd, W: Element, const R: usize, const C: usize>(
    sums: &mut [[S; C]; R],
    x: *const f32,
    x_stride: usize,
    w: *const W,
    w_stride: usize,
) {
    // SAFETY: the caller's rows are valid for LANES elements.
    unsafe {
        let mut weights = [S::splat(0.0); C];
        for c in 0..C {
            weights[c] = W::load::<S>(w.add(c * w_stride));
        }
        for r in 0..R {
            let x = S::load(x.add(r * x_stride));
            for c in 0..C {
                sums[r][c] = weights[c].mul_add(x, sums[r][c]);
            }
        }
    }
}

/// Projects on all threads of the pool: each takes some columns of the output, and so some rows of the weight, for all rows of
/// `x`.
pub(super) fn project(
    isa: Isa,
    out: &mut [f32],
    out_stride: usize,
    x: Rows<'_>,
    linear: &HostLinear,
) {
    let (n, k) = (linear.weight.rows, linear.weight.cols);
    assert!(x.rows == 0 || (x.rows - 1) * out_stride + n <= out.len());
    let out = SharedMut::new(out);
    let run = |cols: std::ops::Range<usize>| {
        isa.run(Project {
            out,
            out_stride,
            x,
            k,
            weight: (&linear.weight.elements).into(),
            bias: linear.bias.as_deref(),
            cols,
        });
    };
    let threads = rayon::current_num_threads();
    if threads == 1 || x.rows * n * k < SERIAL_WORK {
        return run(0..n);
    }
    // Several chunks a thread, so that one that started late is not waited for.
    let chunk = n.div_ceil(threads * 4).next_multiple_of(COLS);
    (0..n.div_ceil(chunk))
        .into_par_iter()
        .with_max_len(1)
        .for_each(|i| run(i * chunk..n.min((i + 1) * chunk)));
}
