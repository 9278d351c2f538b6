//! A run's keys and values, from their pages into contiguous scratch, widened to f32.
//!
//! Keys come as `[key_dim, RUN]`, as they lie in a block; values as `[RUN, stride]`. What scratch holds at positions outside the
//! run is whatever was there: nothing reads it but lanes whose results are thrown away.

use super::{Operation, RUN, Tile};
use crate::ops::kv::{Numbers, SCALED};
use memory_hierarchy::simd::{Element, Simd};
use std::ops::Range;

/// Gathers the positions `run` of the run that begins at `begin`.
///
/// # Safety
/// `Isa::run` chose S.
#[inline(always)]
pub(super) unsafe fn run<S: Simd>(
    operation: &Operation<'_>,
    tile: Tile,
    kv_head: usize,
    begin: usize,
    run: Range<usize>,
    keys: &mut [f32],
    values: &mut [f32],
) {
    let pages = Pages {
        table: operation.step.block_table(tile.first / operation.group),
        block_size: operation.kv.block_size,
        begin,
        run,
    };
    let (kv, shape) = (operation.kv, operation.shape);
    let columns = |dim: usize| kv_head * dim..(kv_head + 1) * dim;
    // SAFETY: the caller's S.
    unsafe {
        let (width, head) = (kv.key_width, columns(shape.key_dim));
        match &kv.keys {
            Numbers::F32(data) => pages.keys::<S, _>(data, None, width, head, keys),
            Numbers::F16(data) => pages.keys::<S, _>(data, None, width, head, keys),
            Numbers::Int8 { codes, scales } => {
                pages.keys::<S, _>(codes, Some(scales), width, head, keys);
            }
        }
        let (width, head, stride) = (kv.value_width, columns(shape.value_dim), operation.stride);
        if width == 0 {
            return pages.values_from_keys(keys, shape.value_dim, values, stride);
        }
        match &kv.values {
            Numbers::F32(data) => pages.values::<S, _>(data, None, width, head, values, stride),
            Numbers::F16(data) => pages.values::<S, _>(data, None, width, head, values, stride),
            Numbers::Int8 { codes, scales } => {
                pages.values::<S, _>(codes, Some(scales), width, head, values, stride);
            }
        }
    }
}

/// Where the positions of a run lie.
struct Pages<'a> {
    table: &'a [u32],
    block_size: usize,
    /// A multiple of [`RUN`].
    begin: usize,
    run: Range<usize>,
}

impl Pages<'_> {
    #[inline(always)]
    unsafe fn keys<S: Simd, T: Element>(
        &self,
        data: &[T],
        scales: Option<&[f32]>,
        width: usize,
        head: Range<usize>,
        to: &mut [f32],
    ) {
        let mut position = self.run.start;
        while position < self.run.end {
            let block = self.table[position / self.block_size] as usize;
            let (offset, at) = (position % self.block_size, position - self.begin);
            // The rest of the block, seen or not: whole vectors are the quickest to copy.
            let len = (self.block_size - offset).min(RUN - at);
            let line =
                |column: usize, width: usize| (block * width + column) * self.block_size + offset;
            for column in head.clone() {
                let from = &data[line(column, width)..][..len];
                let to = &mut to[(column - head.start) * RUN + at..][..len];
                let scale = match scales {
                    None => Scale::None,
                    Some(all) => {
                        Scale::Each(&all[line(column / SCALED, width.div_ceil(SCALED))..][..len])
                    }
                };
                // SAFETY: the caller's S.
                unsafe { widen::<S, T>(from, to, scale) };
            }
            position += len;
        }
    }

    #[inline(always)]
    unsafe fn values<S: Simd, T: Element>(
        &self,
        data: &[T],
        scales: Option<&[f32]>,
        width: usize,
        head: Range<usize>,
        to: &mut [f32],
        stride: usize,
    ) {
        for position in self.run.clone() {
            let slot = self.table[position / self.block_size] as usize * self.block_size
                + position % self.block_size;
            let to = &mut to[(position - self.begin) * stride..][..stride];
            let scales = scales.map(|scales| &scales[slot * width.div_ceil(SCALED)..]);
            // Pieces that share a scale.
            let mut column = head.start;
            while column < head.end {
                let end = if scales.is_some() {
                    head.end.min((column / SCALED + 1) * SCALED)
                } else {
                    head.end
                };
                let from = &data[slot * width + column..slot * width + end];
                let to = &mut to[column - head.start..end - head.start];
                let scale =
                    scales.map_or(Scale::None, |scales| Scale::All(scales[column / SCALED]));
                // SAFETY: the caller's S.
                unsafe { widen::<S, T>(from, to, scale) };
                column = end;
            }
        }
    }

    /// Values that are the first part of the keys, which are gathered already.
    fn values_from_keys(&self, keys: &[f32], dim: usize, to: &mut [f32], stride: usize) {
        /// Dimensions whose lines stay in the nearest cache while positions go by.
        const DIMS: usize = 16;
        for first in (0..dim).step_by(DIMS) {
            for position in self.run.start - self.begin..self.run.end - self.begin {
                for d in first..dim.min(first + DIMS) {
                    to[position * stride + d] = keys[d * RUN + position];
                }
            }
        }
    }
}

/// What numbers must be multiplied by.
#[derive(Clone, Copy)]
enum Scale<'a> {
    None,
    All(f32),
    Each(&'a [f32]),
}

/// `to = from`, times the scale.
#[inline(always)]
unsafe fn widen<S: Simd, T: Element>(from: &[T], to: &mut [f32], scale: Scale<'_>) {
    assert_eq!(from.len(), to.len());
    let whole = from.len() - from.len() % S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        // SAFETY: the caller's S; LANES elements are left, and as many scales as elements.
        unsafe {
            let numbers = T::load::<S>(from.as_ptr().add(at));
            let numbers = match scale {
                Scale::None => numbers,
                Scale::All(scale) => numbers.mul(S::splat(scale)),
                Scale::Each(scales) => numbers.mul(S::load(scales.as_ptr().add(at))),
            };
            numbers.store(to.as_mut_ptr().add(at));
        }
    }
    for at in whole..from.len() {
        let scale = match scale {
            Scale::None => 1.0,
            Scale::All(scale) => scale,
            Scale::Each(scales) => scales[at],
        };
        to[at] = from[at].into() * scale;
    }
}
