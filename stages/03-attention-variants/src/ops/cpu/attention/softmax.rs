//! The softmax of a tile's rows: over a run, over a segment, and over segments.
//!
//! The invariant of a [`Partial`]: `mixed` and `sum` of a row are what its positions so far add, each weighed by `exp(score - max)`.

use super::{Operation, ROWS, RUN, Tile};
use crate::ops::cpu::SharedMut;
use memory_hierarchy::simd::{Simd, math};
use std::ops::Range;

/// Attention of a tile's rows to some of their positions, unfinished.
pub(super) struct Partial<'a> {
    /// `[ROWS, stride]`.
    pub mixed: &'a mut [f32],
    /// `[ROWS]`; minus infinity where a row has seen nothing.
    pub max: &'a mut [f32],
    /// `[ROWS]`.
    pub sum: &'a mut [f32],
    pub stride: usize,
}

impl<'a> Partial<'a> {
    /// Lays a partial result over [`Operation::partial_len`] numbers.
    pub fn over(numbers: &'a mut [f32], operation: &Operation<'_>) -> Self {
        let (mixed, rest) = numbers.split_at_mut(ROWS * operation.stride);
        let (max, sum) = rest.split_at_mut(ROWS);
        Self {
            mixed,
            max,
            sum,
            stride: operation.stride,
        }
    }

    /// As if the first `rows` rows had seen nothing.
    pub fn clear(&mut self, rows: usize) {
        self.mixed[..rows * self.stride].fill(0.0);
        self.max[..rows].fill(f32::NEG_INFINITY);
        self.sum[..rows].fill(0.0);
    }

    /// Lays a copy over [`Operation::partial_len`] numbers.
    pub fn copy_to(&self, numbers: &mut [f32]) {
        let (mixed, rest) = numbers.split_at_mut(self.mixed.len());
        mixed.copy_from_slice(self.mixed);
        rest[..ROWS].copy_from_slice(self.max);
        rest[ROWS..].copy_from_slice(self.sum);
    }

    /// Turns the scores of a run `[RUN]` into weights, of the positions `seen` alone, and rescales what `row` has mixed so far.
    /// The lanes of the sum are fixed by the positions, so that it does not depend on what else was scored.
    #[inline(always)]
    pub unsafe fn absorb<S: Simd>(&mut self, row: usize, scores: &mut [f32], seen: Range<usize>) {
        assert!(scores.len() == RUN && seen.end <= RUN);
        let vectors = seen.start / S::LANES..seen.end.div_ceil(S::LANES);
        scores[vectors.start * S::LANES..seen.start].fill(f32::NEG_INFINITY);
        scores[seen.end..vectors.end * S::LANES].fill(f32::NEG_INFINITY);
        // SAFETY: the caller's S; vectors lie within the run.
        unsafe {
            let mut top = S::splat(f32::NEG_INFINITY);
            for vector in vectors.clone() {
                top = top.max(S::load(scores.as_ptr().add(vector * S::LANES)));
            }
            let max = self.max[row].max(top.largest());
            // Minus infinity less itself is no number, and a score of minus infinity weighs nothing. What is not a number is passed
            // over by the maximum, and reaches the sum as what it is.
            let shift = if max == f32::NEG_INFINITY { 0.0 } else { max };
            let mut sum = S::splat(0.0);
            for vector in vectors {
                let at = scores.as_mut_ptr().add(vector * S::LANES);
                let weights = math::exp(S::load(at).add(S::splat(-shift)));
                weights.store(at);
                sum = sum.add(weights);
            }
            if max != self.max[row] {
                let rescale = (self.max[row] - shift).exp();
                self.scale::<S>(row, rescale);
                self.sum[row] *= rescale;
                self.max[row] = max;
            }
            self.sum[row] += sum.sum();
        }
    }

    #[inline(always)]
    unsafe fn scale<S: Simd>(&mut self, row: usize, factor: f32) {
        let mixed = &mut self.mixed[row * self.stride..][..self.stride];
        for at in (0..mixed.len()).step_by(S::LANES) {
            // SAFETY: the caller's S; a row is whole vectors.
            unsafe {
                let at = mixed.as_mut_ptr().add(at);
                S::load(at).mul(S::splat(factor)).store(at);
            }
        }
    }

    /// Adds what the first `rows` rows have seen of the next segment. Segments are merged in order.
    #[inline(always)]
    pub unsafe fn merge<S: Simd>(&mut self, next: &Partial<'_>, rows: usize) {
        for row in 0..rows {
            if next.max[row] == f32::NEG_INFINITY && next.sum[row] == 0.0 {
                continue; // nothing was seen
            }
            let max = self.max[row].max(next.max[row]);
            let shift = if max == f32::NEG_INFINITY { 0.0 } else { max };
            let (old, new) = ((self.max[row] - shift).exp(), (next.max[row] - shift).exp());
            self.max[row] = max;
            self.sum[row] = self.sum[row] * old + next.sum[row] * new;
            let here = &mut self.mixed[row * self.stride..][..self.stride];
            let there = &next.mixed[row * self.stride..][..self.stride];
            for at in (0..here.len()).step_by(S::LANES) {
                // SAFETY: the caller's S; a row is whole vectors.
                unsafe {
                    let (here, there) = (here.as_mut_ptr().add(at), there.as_ptr().add(at));
                    let scaled = S::load(here).mul(S::splat(old));
                    S::load(there).mul_add(S::splat(new), scaled).store(here);
                }
            }
        }
    }
}

/// Writes `mixed / sum` of a tile's rows to the output, `[tokens, heads, value_dim]`, which no other thread touches.
#[inline(always)]
pub(super) fn finish(
    operation: &Operation<'_>,
    tile: Tile,
    kv_head: usize,
    total: &Partial<'_>,
    out: SharedMut<'_>,
) {
    let (shape, group) = (operation.shape, operation.group);
    for (i, row) in tile.rows().enumerate() {
        let head = row / group * shape.heads + kv_head * group + row % group;
        // SAFETY: the rows of a tile are its kernel's alone.
        let out = unsafe { out.slice(head * shape.value_dim, shape.value_dim) };
        let factor = total.sum[i].recip();
        for (out, mixed) in out.iter_mut().zip(&total.mixed[i * total.stride..]) {
            *out = mixed * factor;
        }
    }
}
