//! `out[r, n] = sum over k of x[r, k] weight[n, k]`, for a weight in any format, on every core.
//!
//! A format says how it multiplies with one row of `x`, and how with a panel: as many rows as a vector has lanes, laid out `[k, lanes]`.
//! In a panel a number of the weight meets one vector wherever its column is, so no format has to gather. Work is cut over the
//! outputs. The invariant: a chunk of outputs is written by one thread, and each chunk once.

use memory_hierarchy::Pool;
use memory_hierarchy::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// Outputs that a thread takes at a time; a multiple of every [`Weight::TILE`].
const CHUNK: usize = 64;
/// From this number of rows on, a panel costs less than the rows one by one, even if most of its lanes stay empty.
const PANEL: usize = 4;
/// Multiply-adds below which a second thread costs more than it brings.
const SERIAL_WORK: usize = 128 * 1024;
/// The lanes of the widest vector.
const MAX_LANES: usize = 16;

/// A weight `[n, k]` in some format.
pub trait Weight: Sync {
    /// Outputs that are computed together: callers start at its multiples. It divides 64.
    const TILE: usize = 1;

    /// `(n, k)`.
    fn shape(&self) -> (usize, usize);

    /// Bytes that a product with it reads.
    fn bytes(&self) -> usize;

    /// `[n, k]`, zeros and all.
    fn to_dense(&self) -> Vec<f32>;

    /// `out[i] = weight[first + i] . x`, with `x` of `k` numbers.
    ///
    /// # Safety
    /// Called by [`Isa::run`], through [`Kernel`]; rows `first..first + out.len()` must exist.
    unsafe fn vector<S: Simd>(&self, x: &[f32], first: usize, out: &mut [f32]);

    /// `out[i, r] = weight[first + i] . xt[.., r]` with `xt` `[k, lanes]` and `out` `[.., lanes]`.
    ///
    /// # Safety
    /// As for [`Weight::vector`].
    unsafe fn panel<S: Simd>(&self, xt: &[f32], first: usize, out: &mut [f32]);
}

/// `out = x weight^T`, with `x` `[rows, k]` and `out` `[rows, n]`.
///
/// # Panics
/// If the slices are not of these shapes.
pub fn multiply(
    weight: &impl Weight,
    isa: Isa,
    pool: &Pool,
    x: &[f32],
    rows: usize,
    out: &mut [f32],
) {
    let (n, k) = weight.shape();
    assert_eq!((x.len(), out.len()), (rows * k, rows * n));
    let out = Out(out.as_mut_ptr());
    // As many as there are numbers, if they are all that is held.
    let serial = weight.bytes() / 4 * rows < SERIAL_WORK;
    let for_each_chunk = |job: &(dyn Fn(Range<usize>) + Sync)| {
        if serial {
            (0..n)
                .step_by(CHUNK)
                .for_each(|first| job(first..n.min(first + CHUNK)));
        } else {
            pool.for_each_chunk(n, CHUNK, job);
        }
    };
    if rows < PANEL {
        return for_each_chunk(&|outputs| {
            isa.run(Rows {
                weight,
                x,
                rows,
                out: &out,
                outputs,
            });
        });
    }
    let mut panels = Vec::new();
    isa.run(Transpose {
        x,
        rows,
        k,
        panels: &mut panels,
    });
    for_each_chunk(&|outputs| {
        isa.run(Panels {
            weight,
            panels: &panels,
            rows,
            out: &out,
            outputs,
        });
    });
}

/// The output, of which each thread writes its own columns.
struct Out(*mut f32);

// SAFETY: threads write disjoint elements, since each has outputs of its own.
unsafe impl Sync for Out {}

struct Rows<'a, W> {
    weight: &'a W,
    x: &'a [f32],
    rows: usize,
    out: &'a Out,
    outputs: Range<usize>,
}

impl<W: Weight> Kernel for Rows<'_, W> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (n, k) = self.weight.shape();
        for row in 0..self.rows {
            // SAFETY: `out` is [rows, n], and these outputs of it are this thread's.
            unsafe {
                let out = self.out.0.add(row * n + self.outputs.start);
                let out = std::slice::from_raw_parts_mut(out, self.outputs.len());
                let x = &self.x[row * k..(row + 1) * k];
                self.weight.vector::<S>(x, self.outputs.start, out);
            }
        }
    }
}

/// Rows of `x` as panels `[k, lanes]`, one after the other; what is missing of the last is zero.
struct Transpose<'a> {
    x: &'a [f32],
    rows: usize,
    k: usize,
    panels: &'a mut Vec<f32>,
}

impl Kernel for Transpose<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (k, lanes) = (self.k, S::LANES);
        self.panels
            .resize(self.rows.div_ceil(lanes) * k * lanes, 0.0);
        for row in 0..self.rows {
            let panel = &mut self.panels[row / lanes * k * lanes..][..k * lanes];
            let lane = panel.iter_mut().skip(row % lanes).step_by(lanes);
            for (to, from) in lane.zip(&self.x[row * k..(row + 1) * k]) {
                *to = *from;
            }
        }
    }
}

struct Panels<'a, W> {
    weight: &'a W,
    panels: &'a [f32],
    rows: usize,
    out: &'a Out,
    outputs: Range<usize>,
}

impl<W: Weight> Kernel for Panels<'_, W> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (n, k) = self.weight.shape();
        let mut sums = [0.0; CHUNK * MAX_LANES];
        let sums = &mut sums[..self.outputs.len() * S::LANES];
        for (panel, first) in (0..self.rows).step_by(S::LANES).enumerate() {
            let xt = &self.panels[panel * k * S::LANES..][..k * S::LANES];
            // SAFETY: these outputs exist.
            unsafe { self.weight.panel::<S>(xt, self.outputs.start, sums) };
            for row in first..self.rows.min(first + S::LANES) {
                for (i, output) in self.outputs.clone().enumerate() {
                    // SAFETY: `out` is [rows, n], and these outputs of it are this thread's.
                    unsafe { *self.out.0.add(row * n + output) = sums[i * S::LANES + row - first] };
                }
            }
        }
    }
}
