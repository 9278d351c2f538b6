//! The micro-kernel: a tile of outputs that stays in registers while `k` runs.
//!
//! Each step of `k` loads `V` vectors of the panel and multiplies them by `H` broadcast elements of `x`: `H * V` fused multiply-adds
//! for `H + V` loads. An FMA takes four cycles and one or two start in each, so at least eight sums must be under way; more of them
//! mean fewer loads an FMA, until the registers are full. AVX-512 has 32: 12 x 2 sums, two vectors and a broadcast leave some for the
//! compiler. AVX2 has 16: 6 x 2. NEON has 32 of four lanes: 6 x 4.
//!
//! The invariant that batching rests on: an output is one sum, over `k` in ascending order, whatever the height of the tile.

use super::panels::NR;
use crate::simd::{Element, Simd};

/// Rows of the tallest tile of an instruction set with vectors of this many lanes.
pub(super) const fn tallest(lanes: usize) -> usize {
    if lanes == 16 { 12 } else { 6 }
}

/// The tile's height for `rows` rows: the smallest that is compiled and has room for them; rows beyond are padding.
pub(super) const fn height(rows: usize, lanes: usize) -> usize {
    match rows {
        0 | 1 => 1,
        2 => 2,
        3 | 4 => 4,
        5..=8 if lanes == 16 => 8,
        _ => tallest(lanes),
    }
}

/// The most rows of any tile.
pub(super) const MAX_ROWS: usize = 12;

/// Panels that a tile of this height spans: one row alone needs the columns of several for enough sums.
pub(super) const fn span(height: usize, lanes: usize) -> usize {
    match (lanes, height) {
        (16, 1) => 4,
        (16, 2) | (8, 1) => 2,
        _ => 1,
    }
}

/// Operands of a tile. `C` is `c + x w` if `resume`, `x w` otherwise.
pub(super) struct Operands<E> {
    /// `[height, columns]` with a stride.
    pub c: *mut f32,
    pub c_stride: usize,
    /// `[k][height]`
    pub x: *const f32,
    /// `[panels][..][NR]`, at the first `k`.
    pub w: *const E,
    /// Elements from one panel to the next.
    pub panel_stride: usize,
    pub k: usize,
    pub resume: bool,
}

impl<E: Element> Operands<E> {
    /// All columns of `panels` panels, which is 1 or the [`span`] of this height.
    ///
    /// # Safety
    /// As [`Kernel::run`](crate::simd::Kernel::run); `c` must be valid for `height` rows of the columns, `x` for `k * height`, each
    /// panel of `w` for `k * NR` elements.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(&self, height: usize, panels: usize) {
        // SAFETY: the caller's promise. A tile spans as many panels as its vectors have columns.
        unsafe {
            match (S::LANES, height, panels) {
                (4, 1, _) => self.tile::<S, 1, 8>(0),
                (8, 1, 1) => self.tile::<S, 1, 4>(0),
                (16, 1, 1) => self.tile::<S, 1, 2>(0),
                (_, 1, _) => self.tile::<S, 1, 8>(0),
                (4, 2, _) => self.tile::<S, 2, 8>(0),
                (16, 2, 1) => self.tile::<S, 2, 2>(0),
                (_, 2, _) => self.tile::<S, 2, 4>(0),
                (4, 4, _) => self.across::<S, 4, 4>(),
                (_, 4, _) => self.across::<S, 4, 2>(),
                (4, ..) => self.across::<S, 6, 4>(),
                (16, 8, _) => self.across::<S, 8, 2>(),
                (16, ..) => self.across::<S, 12, 2>(),
                _ => self.across::<S, 6, 2>(),
            }
        }
    }

    /// One panel, in as many tiles as it takes.
    #[inline(always)]
    unsafe fn across<S: Simd, const H: usize, const V: usize>(&self) {
        for column in (0..NR).step_by(V * S::LANES) {
            // SAFETY: the caller's promise.
            unsafe { self.tile::<S, H, V>(column) };
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const H: usize, const V: usize>(&self, column: usize) {
        // SAFETY: the caller's pointers are valid for these places.
        unsafe {
            let c = self.c.add(column);
            let mut sums = [[S::splat(0.0); V]; H];
            if self.resume {
                for h in 0..H {
                    for v in 0..V {
                        sums[h][v] = S::load(c.add(h * self.c_stride + v * S::LANES));
                    }
                }
            }
            let mut x = self.x;
            let mut w: [*const E; V] = [self.w; V];
            for v in 0..V {
                let at = v * S::LANES;
                w[v] = self.w.add(column + at / NR * self.panel_stride + at % NR);
            }
            for _ in 0..self.k {
                step::<S, E, H, V>(&mut sums, x, &w);
                x = x.add(H);
                for v in 0..V {
                    w[v] = w[v].add(NR);
                }
            }
            for h in 0..H {
                for v in 0..V {
                    sums[h][v].store(c.add(h * self.c_stride + v * S::LANES));
                }
            }
        }
    }
}

/// One step of `k`. Plain loops with constant bounds, so that all of it is unrolled and the sums stay in registers.
#[inline(always)]
unsafe fn step<S: Simd, E: Element, const H: usize, const V: usize>(
    sums: &mut [[S; V]; H],
    x: *const f32,
    w: &[*const E; V],
) {
    // SAFETY: the caller's pointers are valid for `H` elements and for `V` vectors.
    unsafe {
        let mut columns = [S::splat(0.0); V];
        for v in 0..V {
            columns[v] = E::load::<S>(w[v]);
        }
        for h in 0..H {
            let row = S::splat(*x.add(h));
            for v in 0..V {
                sums[h][v] = columns[v].mul_add(row, sums[h][v]);
            }
        }
    }
}
