//! The micro-kernel: a tile of outputs that stays in registers while `k` runs.
//!
//! Each step of `k` loads `V` vectors of the panel and multiplies them by `H` broadcast elements of `x`: `H * V` fused multiply-adds
//! for `H + V` loads. An FMA takes four cycles and one or two start in each, so at least eight sums must be under way; more of them
//! mean fewer loads an FMA, until the registers are full. AVX-512 has 32: 12 x 2 sums, two vectors and a broadcast leave some for the
//! compiler. AVX2 has 16: 6 x 2. NEON has 32 of four lanes: 6 x 4.
//!
//! The invariant that batching rests on: an output is one sum, over `k` in ascending order, whatever the height of the tile.

use super::panels::NR;
use crate::buffer::LINE;
use crate::simd::{Element, Simd, prefetch};

/// Steps of `k` in a block.
pub(super) const K_BLOCK: usize = 1024;
/// Elements from one packed row of `x` to the next. A constant, so that a broadcast's address is one register and a displacement; a
/// line more than a block, so that the rows of a tile do not fall into the same set of the L1 cache.
pub(super) const X_STRIDE: usize = K_BLOCK + 16;

/// Bytes by which a tile that multiplies long enough asks for the panel ahead of its use. One of a row or two only reads, and the hardware
/// then follows the stream better than it obeys: asking costs it a tenth of the bandwidth.
pub(super) const fn ahead(height: usize) -> usize {
    if height > 2 { 1024 } else { 0 }
}

/// Rows of the tallest tile of an instruction set with vectors of this many lanes.
pub(super) const fn tallest(lanes: usize) -> usize {
    match lanes {
        32 => 32, // AMX
        16 => 12,
        _ => 6,
    }
}

/// The tile's height for `rows` rows: the smallest that is compiled and has room for them; rows beyond are padding.
pub(super) const fn height(rows: usize, lanes: usize) -> usize {
    match rows {
        0..=16 if lanes == 32 => 16,
        0 | 1 => 1,
        2 => 2,
        3 | 4 => 4,
        5..=8 if lanes == 16 => 8,
        _ => tallest(lanes),
    }
}

/// The most rows of any tile.
pub(super) const MAX_ROWS: usize = 32;

/// Panels that a tile of this height spans: one row alone needs the columns of several for enough sums.
pub(super) const fn span(height: usize, lanes: usize) -> usize {
    match (lanes, height) {
        (16, 1) => 4,
        (16, 2) | (8, 1) => 2,
        _ => 1,
    }
}

/// A vector of words of 32 bits, and what a step of `k` does to a sum. All of [`Simd`], and the dot products of narrow numbers, in whose
/// words lie two or four of them.
///
/// # Safety
/// As for [`Simd`].
pub(super) unsafe trait Tile: Copy {
    const LANES: usize;
    unsafe fn splat(word: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn widen<E: Element>(from: *const E) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `sum` and the product of a vector of the panel, which is this, with a word of `x` in all lanes.
    unsafe fn mul_add(self, x: Self, sum: Self) -> Self;
}

// SAFETY: the same methods.
unsafe impl<S: Simd> Tile for S {
    const LANES: usize = S::LANES;
    #[inline(always)]
    unsafe fn splat(word: f32) -> Self {
        // SAFETY: as the trait's.
        unsafe { <S as Simd>::splat(word) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the trait's.
        unsafe { <S as Simd>::load(from) }
    }
    #[inline(always)]
    unsafe fn widen<E: Element>(from: *const E) -> Self {
        // SAFETY: as the trait's.
        unsafe { E::load(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the trait's.
        unsafe { Simd::store(self, to) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, x: Self, sum: Self) -> Self {
        // SAFETY: as the trait's.
        unsafe { Simd::mul_add(self, x, sum) }
    }
}

/// What computes tiles: [`Tile`]'s vectors, or AMX.
///
/// # Safety
/// As for [`Simd`].
pub(super) unsafe trait Micro {
    /// Words in a vector, which decides the heights of tiles.
    const LANES: usize;
    /// As [`Operands::run`].
    unsafe fn run<E: Element>(operands: &Operands<E>, height: usize, panels: usize);
    /// Widens whole vectors.
    unsafe fn widen<E: Element>(from: &[E], to: *mut f32);
}

// SAFETY: the same promise.
unsafe impl<S: Tile> Micro for S {
    const LANES: usize = S::LANES;
    #[inline(always)]
    unsafe fn run<E: Element>(operands: &Operands<E>, height: usize, panels: usize) {
        // SAFETY: as the trait's.
        unsafe { operands.run::<S>(height, panels) }
    }
    #[inline(always)]
    unsafe fn widen<E: Element>(from: &[E], to: *mut f32) {
        for at in (0..from.len()).step_by(S::LANES) {
            // SAFETY: whole vectors, as the caller promises.
            unsafe { S::widen(from.as_ptr().add(at)).store(to.add(at)) };
        }
    }
}

/// Operands of a tile. `C` is `c + x w` if `resume`, `x w` otherwise.
pub(super) struct Operands<E> {
    /// `[height, columns]` with a stride.
    pub c: *mut f32,
    pub c_stride: usize,
    /// `[height][X_STRIDE]`, at the first `k`
    pub x: *const f32,
    /// `[panels][..][NR]`, at the first `k`.
    pub w: *const E,
    /// Elements from one panel to the next.
    pub panel_stride: usize,
    pub k: usize,
    pub resume: bool,
    /// Bytes by which the panel is asked for ahead of its use; 0 asks for nothing.
    pub ahead: usize,
}

impl<E: Element> Operands<E> {
    /// All columns of `panels` panels, which is 1 or the [`span`] of this height.
    ///
    /// # Safety
    /// As [`Kernel::run`](crate::simd::Kernel::run); `c` must be valid for `height` rows of the columns, `x` for `k` elements of
    /// each row, each panel of `w` for `k * NR`.
    #[inline(always)]
    pub unsafe fn run<S: Tile>(&self, height: usize, panels: usize) {
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
    unsafe fn across<S: Tile, const H: usize, const V: usize>(&self) {
        for column in (0..NR).step_by(V * S::LANES) {
            // SAFETY: the caller's promise.
            unsafe { self.tile::<S, H, V>(column) };
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Tile, const H: usize, const V: usize>(&self, column: usize) {
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
                for v in 0..V {
                    // A line is asked for once, by the vector that begins it.
                    if self.ahead > 0 && (v * S::LANES * size_of::<E>()).is_multiple_of(LINE) {
                        prefetch(w[v].wrapping_byte_add(self.ahead));
                    }
                }
                step::<S, E, H, V>(&mut sums, x, &w);
                x = x.add(1);
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
unsafe fn step<S: Tile, E: Element, const H: usize, const V: usize>(
    sums: &mut [[S; V]; H],
    x: *const f32,
    w: &[*const E; V],
) {
    // ANCHOR: solve-register-tile
    // SAFETY: the caller's pointers are valid for an element of each of `H` rows and for `V` vectors.
    unsafe {
        let mut columns = [S::splat(0.0); V];
        for v in 0..V {
            columns[v] = S::widen(w[v]);
        }
        for h in 0..H {
            let row = S::splat(*x.add(h * X_STRIDE));
            for v in 0..V {
                sums[h][v] = columns[v].mul_add(row, sums[h][v]);
            }
        }
    }
    // ANCHOR_END: solve-register-tile
}
