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
    /// The positions from `position` on that lie one behind another: the block, where in it and where in the run they begin, and how
    /// many there are as far as block and run go.
    #[inline(always)]
    fn stretch(&self, position: usize) -> (usize, usize, usize, usize) {
        let block = self.table[position / self.block_size] as usize;
        let (offset, at) = (position % self.block_size, position - self.begin);
        (block, offset, at, (self.block_size - offset).min(RUN - at))
    }

    #[inline(always)]
    unsafe fn keys<S: Simd, T: Element>(
        &self,
        data: &[T],
        scales: Option<&[f32]>,
        width: usize,
        head: Range<usize>,
        to: &mut [f32],
    ) {
        let (size, groups) = (self.block_size, width.div_ceil(SCALED));
        let mut position = self.run.start;
        while position < self.run.end {
            // The rest of the block, seen or not: whole vectors are the quickest to copy.
            let (block, offset, at, len) = self.stretch(position);
            let data = &data[block * width * size..][..width * size];
            let scales = scales.map(|scales| &scales[block * groups * size..][..groups * size]);
            assert!(head.end <= width && offset + len <= size && at + len <= RUN);
            assert!(head.len() * RUN <= to.len());
            for column in head.clone() {
                // SAFETY: the caller's S; a line of the block and of the run, as asserted above.
                unsafe {
                    let from = data.as_ptr().add(column * size + offset);
                    let to = to.as_mut_ptr().add((column - head.start) * RUN + at);
                    let scale = match scales {
                        None => Scale::None,
                        Some(scales) => {
                            Scale::Each(scales.as_ptr().add(column / SCALED * size + offset))
                        }
                    };
                    widen::<S, T>(from, to, len, scale);
                }
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
        let groups = width.div_ceil(SCALED);
        assert!(head.end <= width && head.len() <= stride && RUN * stride <= to.len());
        let mut position = self.run.start;
        while position < self.run.end {
            let (block, offset, at, len) = self.stretch(position);
            let len = len.min(self.run.end - position);
            let slot = block * self.block_size + offset;
            let data = &data[slot * width..][..len * width];
            let scales = scales.map(|scales| &scales[slot * groups..][..len * groups]);
            for i in 0..len {
                // SAFETY: the caller's S; a row of the cache and of the run, as asserted above.
                unsafe {
                    let from = data.as_ptr().add(i * width);
                    let to = to.as_mut_ptr().add((at + i) * stride);
                    let Some(scales) = scales else {
                        widen::<S, T>(from.add(head.start), to, head.len(), Scale::None);
                        continue;
                    };
                    // Pieces that share a scale.
                    let mut column = head.start;
                    while column < head.end {
                        let end = head.end.min((column / SCALED + 1) * SCALED);
                        let scale = Scale::All(scales[i * groups + column / SCALED]);
                        let to = to.add(column - head.start);
                        widen::<S, T>(from.add(column), to, end - column, scale);
                        column = end;
                    }
                }
            }
            position += len;
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

/// What numbers must be multiplied by: nothing, one number, or one each.
#[derive(Clone, Copy)]
enum Scale {
    None,
    All(f32),
    Each(*const f32),
}

/// `to = from`, times the scale.
///
/// # Safety
/// `Isa::run` chose S, and all pointers are valid for `len` numbers.
#[inline(always)]
unsafe fn widen<S: Simd, T: Element>(from: *const T, to: *mut f32, len: usize, scale: Scale) {
    let whole = len - len % S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut at = 0;
        while at < whole {
            let numbers = T::load::<S>(from.add(at));
            let numbers = match scale {
                Scale::None => numbers,
                Scale::All(scale) => numbers.mul(S::splat(scale)),
                Scale::Each(scales) => numbers.mul(S::load(scales.add(at))),
            };
            numbers.store(to.add(at));
            at += S::LANES;
        }
        for at in whole..len {
            let scale = match scale {
                Scale::None => 1.0,
                Scale::All(scale) => scale,
                Scale::Each(scales) => *scales.add(at),
            };
            *to.add(at) = (*from.add(at)).into() * scale;
        }
    }
}
