//! A register tile: several rows of `a` share each load of the panel, in vectors chosen at run time.
//!
//! One row by `NR` columns does one multiply-add for each load, and the core can load about as often as it can multiply: at best half of
//! its time goes into arithmetic. A tile of 12 by 2 vectors does 24 for 14 loads, and its 24 sums are independent, so that none waits for
//! the last. With that the FMA units are the limit, which is where a product of matrices belongs. This is the rung that gains the most
//! after the loop order; the micro-kernel is the engine's own, `tile.rs`.

use super::panels::{NR, Panels};
use super::tile::{K_BLOCK, MAX_ROWS, Operands, X_STRIDE, height, tallest};
use crate::buffer::Buffer;
use crate::simd::{Isa, Kernel, Simd};

/// `c = a b` for row-major `c` `[m, n]`, `a` `[m, k]` and `b` `[k, n]`, on the best instruction set of this CPU.
///
/// # Panics
/// If a slice is too short.
pub fn multiply(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    multiply_on(Isa::detect(), c, a, b, m, n, k);
}

/// [`multiply`] on a given instruction set.
///
/// # Panics
/// If a slice is too short.
pub fn multiply_on(isa: Isa, c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    tiles(isa, 0, c, a, b, [m, n, k]);
}

/// The product, with panels asked for `ahead` bytes before their use.
pub(super) fn tiles(
    isa: Isa,
    ahead: usize,
    c: &mut [f32],
    a: &[f32],
    b: &[f32],
    [m, n, k]: [usize; 3],
) {
    let panels = Panels::pack_columns(&b[..k * n], k, n);
    let mut x = Buffer::zeroed(MAX_ROWS * X_STRIDE);
    c[..m * n].fill(0.0);
    for first in (0..k).step_by(K_BLOCK) {
        let len = K_BLOCK.min(k - first);
        for row in (0..m).step_by(tallest(isa.lanes())) {
            let rows = tallest(isa.lanes()).min(m - row);
            for r in 0..rows {
                x[r * X_STRIDE..][..len].copy_from_slice(&a[(row + r) * k + first..][..len]);
            }
            for col in (0..n).step_by(NR) {
                let c = &mut c[row * n + col..];
                let w = &panels.from(col / NR)[first * NR..][..len * NR];
                let cols = NR.min(n - col);
                isa.run(Strip {
                    c,
                    stride: n,
                    rows,
                    cols,
                    x: &x,
                    w,
                    ahead,
                });
            }
        }
    }
}

/// Up to a tile's rows of a block, times a panel of it.
struct Strip<'a> {
    c: &'a mut [f32],
    stride: usize,
    rows: usize,
    cols: usize,
    /// `[rows][X_STRIDE]`
    x: &'a [f32],
    /// `[len][NR]`
    w: &'a [f32],
    ahead: usize,
}

impl Kernel for Strip<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (height, row) = (height(self.rows, S::LANES), |r| {
            r * self.stride..r * self.stride + self.cols
        });
        let mut tile = [0.0; MAX_ROWS * NR];
        for r in 0..self.rows {
            tile[r * NR..][..self.cols].copy_from_slice(&self.c[row(r)]);
        }
        let operands = Operands {
            c: tile.as_mut_ptr(),
            c_stride: NR,
            x: self.x.as_ptr(),
            w: self.w.as_ptr(),
            panel_stride: 0,
            k: self.w.len() / NR,
            resume: true,
            ahead: self.ahead,
        };
        // SAFETY: `Isa::run` chose S; tile, rows and panel have room for the height, and for the steps that the panel has.
        unsafe { operands.run::<S>(height, 1) };
        for r in 0..self.rows {
            self.c[row(r)].copy_from_slice(&tile[r * NR..][..self.cols]);
        }
    }
}
