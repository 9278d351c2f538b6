//! Attention over the paged cache: tiles of query rows against runs of keys, on all threads of a pool.
//!
//! A row is one query head of one token. A tile is up to [`ROWS`] rows of one sequence and one key/value head: the heads of a group
//! and the tokens of a prompt's chunk share what is gathered of the cache, and a decoded token is a tile of as many rows as
//! its group has heads.
//!
//! The invariant: a row's result depends on its own sequence and position alone, to the last bit. Positions are taken in runs of
//! [`RUN`] and segments of [`SEGMENT`] that begin at multiples of these; a segment's softmax stands by itself, and segments are
//! merged in order, by one thread or several. No row's arithmetic looks at another row, nor at a position that the row does not see.

mod gather;
mod softmax;
mod tile;

use self::softmax::{Partial, finish};
use self::tile::{AttendSegment, Scratch};
use super::SharedMut;
use crate::ops::AttentionShape;
use crate::ops::host::{HostTensor, Step};
use crate::ops::kv::HostKv;
use memory_hierarchy::Pool;
use memory_hierarchy::simd::{Isa, Kernel, Simd};
use std::cell::RefCell;
use std::ops::Range;

/// Positions that are scored together.
const RUN: usize = 64;
/// Positions whose softmax is computed by itself: what a thread takes where there are fewer heads than threads.
const SEGMENT: usize = 8 * RUN;
/// Rows that share what is gathered: gathering costs little beside the arithmetic of as many, and all of it stays in a core's cache.
const ROWS: usize = 48;
/// The widest vector of any instruction set.
const MAX_LANES: usize = 16;

/// Rows of one sequence. Row `i` is head `i % group` of a group, of token `i / group` of the batch.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    rows: usize,
}

impl Tile {
    fn rows(self) -> Range<usize> {
        self.first..self.first + self.rows
    }
}

/// What all tiles of an operation share.
#[derive(Clone, Copy)]
struct Operation<'a> {
    step: &'a Step,
    q: &'a HostTensor,
    kv: &'a HostKv,
    shape: &'a AttentionShape,
    group: usize,
    /// Numbers between two values in scratch: `value_dim` in whole vectors.
    stride: usize,
}

impl Operation<'_> {
    /// Positions that a row sees.
    fn visible(&self, row: usize) -> Range<usize> {
        self.step.visible(row / self.group, self.shape.window)
    }

    /// Segments that a tile's rows see.
    fn segments(&self, tile: Tile) -> Range<usize> {
        let last = tile.first + tile.rows - 1;
        self.visible(tile.first).start / SEGMENT..self.visible(last).end.div_ceil(SEGMENT)
    }

    /// Numbers that a [`Partial`] of a tile takes.
    fn partial_len(&self) -> usize {
        ROWS * (self.stride + 2)
    }
}

thread_local! {
    /// What a thread needs for a tile. It grows when a larger shape is first met, and never in a step after that.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// Of the calling thread: the tiles, and partial results where segments are shared out.
    static PLAN: RefCell<(Vec<Tile>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Attention of all tokens of the step, on all threads of the pool.
pub(super) fn attend(
    pool: &Pool,
    isa: Isa,
    step: &Step,
    out: &mut HostTensor,
    q: &HostTensor,
    kv: &HostKv,
    shape: &AttentionShape,
) {
    let group = shape.heads / shape.kv_heads;
    let operation = Operation {
        step,
        q,
        kv,
        shape,
        group,
        stride: shape.value_dim.next_multiple_of(MAX_LANES),
    };
    assert!(q.cols() >= shape.heads * shape.key_dim && out.cols() == shape.heads * shape.value_dim);
    let out = SharedMut::new(out.resize(q.rows()));
    PLAN.with_borrow_mut(|(tiles, parts)| {
        plan(tiles, q.capacity(), step, group);
        let items = tiles.len() * shape.kv_heads;
        let longest = tiles.iter().map(|tile| operation.segments(*tile).len());
        let segments = longest.max().unwrap_or(0);
        let run = |item: usize, only: Option<(usize, SharedMut<'_>)>| {
            let (tile, kv_head) = (tiles[item / shape.kv_heads], item % shape.kv_heads);
            // Entered here: a kernel must hold no closure that the compiler could leave outside its instruction set.
            SCRATCH.with_borrow_mut(|buffer| {
                isa.run(AttendTile {
                    operation,
                    tile,
                    kv_head,
                    only,
                    scratch: Scratch::carve(buffer, &operation),
                    out,
                });
            });
        };
        if items >= pool.threads() || segments <= 1 {
            return pool.for_each_chunk(items, 1, |chunk| run(chunk.start, None));
        }
        // Fewer heads than threads: the segments of each are shared out, and merged when all are done.
        let len = operation.partial_len();
        let most = pool.threads() * kv.slots.div_ceil(SEGMENT) * len;
        if parts.len() < most {
            *parts = vec![0.0; most];
        }
        let parts = SharedMut::new(parts);
        pool.for_each_chunk(items * segments, 1, |chunk| {
            let (item, segment) = (chunk.start / segments, chunk.start % segments);
            run(item, Some((segment, parts.from(chunk.start * len))));
        });
        pool.for_each_chunk(items, 1, |chunk| {
            let item = chunk.start;
            SCRATCH.with_borrow_mut(|buffer| {
                isa.run(MergeTile {
                    operation,
                    tile: tiles[item / shape.kv_heads],
                    kv_head: item % shape.kv_heads,
                    parts: parts.from(item * segments * len),
                    total: Scratch::carve(buffer, &operation).total,
                    out,
                });
            });
        });
    });
}

/// Cuts the rows of each sequence into tiles, those that see most first, so that threads end together.
fn plan(tiles: &mut Vec<Tile>, most_tokens: usize, step: &Step, group: usize) {
    tiles.clear();
    // At most one tile of a sequence is not full, and a sequence has at least one row.
    tiles.reserve(most_tokens * (1 + group / ROWS) + most_tokens);
    for tokens in step.query_starts.windows(2) {
        let rows = tokens[0] as usize * group..tokens[1] as usize * group;
        for first in rows.clone().step_by(ROWS) {
            let rows = ROWS.min(rows.end - first);
            tiles.push(Tile { first, rows });
        }
    }
    tiles.sort_unstable_by_key(|tile| {
        let last = (tile.first + tile.rows - 1) / group;
        std::cmp::Reverse(step.positions[last] as usize * tile.rows)
    });
}

/// A tile over all of its segments, or over one alone.
struct AttendTile<'a> {
    operation: Operation<'a>,
    tile: Tile,
    kv_head: usize,
    /// The one segment (of those that the tile sees), and where its partial result goes.
    only: Option<(usize, SharedMut<'a>)>,
    scratch: Scratch<'a>,
    /// All heads' output of the batch, `[tokens, heads, value_dim]`.
    out: SharedMut<'a>,
}

impl Kernel for AttendTile<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (operation, tile) = (&self.operation, self.tile);
        let Scratch { room, part, total } = &mut self.scratch;
        room.load_queries(operation, tile, self.kv_head);
        let mut segments = operation.segments(tile);
        if let Some((only, _)) = self.only {
            segments = segments.end.min(segments.start + only)
                ..segments.end.min(segments.start + only + 1);
        }
        total.clear(tile.rows);
        for segment in segments {
            let kernel = AttendSegment {
                operation,
                tile,
                kv_head: self.kv_head,
                segment,
            };
            part.clear(tile.rows);
            // SAFETY: `Isa::run` chose S; the place of a partial result is this kernel's alone.
            unsafe {
                kernel.attend::<S>(room, part);
                match self.only {
                    Some((_, to)) => part.copy_to(to.slice(0, operation.partial_len())),
                    None => total.merge::<S>(part, tile.rows),
                }
            }
        }
        if self.only.is_none() {
            finish(operation, tile, self.kv_head, total, self.out);
        }
    }
}

/// Merges what other threads made of a tile's segments.
struct MergeTile<'a> {
    operation: Operation<'a>,
    tile: Tile,
    kv_head: usize,
    /// One partial result a segment.
    parts: SharedMut<'a>,
    total: Partial<'a>,
    out: SharedMut<'a>,
}

impl Kernel for MergeTile<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (operation, tile) = (&self.operation, self.tile);
        let len = operation.partial_len();
        self.total.clear(tile.rows);
        for segment in 0..operation.segments(tile).len() {
            // SAFETY: the parts are written, and this item's alone.
            let part = unsafe { self.parts.slice(segment * len, len) };
            // SAFETY: `Isa::run` chose S.
            unsafe {
                self.total
                    .merge::<S>(&Partial::over(part, operation), tile.rows)
            };
        }
        finish(operation, tile, self.kv_head, &self.total, self.out);
    }
}
