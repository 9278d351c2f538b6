//! A tile of rows against one segment of positions, run by run: scores, softmax, mixture.
//!
//! Both products are register tiles of some rows by some vectors: of positions for the scores, of value dimensions for the mixture.
//! A score is one chain of multiply-adds over the key's dimensions, a mixture one over positions, in their order, whatever the tile.

use super::softmax::Partial;
use super::{Operation, ROWS, RUN, SEGMENT, Tile, gather};
use memory_hierarchy::simd::Simd;
use std::ops::Range;

/// What a thread works in, each part aligned to a cache line.
pub(super) struct Scratch<'a> {
    pub room: Room<'a>,
    /// The segment at hand.
    pub part: Partial<'a>,
    /// The segments before it.
    pub total: Partial<'a>,
}

/// A tile's queries, and a run's keys, values and scores.
pub(super) struct Room<'a> {
    /// Scaled, `[ROWS, key_dim]`.
    queries: &'a mut [f32],
    /// `[key_dim, RUN]`.
    keys: &'a mut [f32],
    /// `[RUN, stride]`.
    values: &'a mut [f32],
    /// Scores, then weights, `[ROWS, RUN]`.
    weights: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    /// Lays the parts over a buffer, which grows to hold them.
    pub fn carve(buffer: &'a mut Vec<f32>, operation: &Operation<'_>) -> Self {
        /// Numbers in a cache line.
        const LINE: usize = 16;
        let dim = operation.shape.key_dim;
        let partial = operation.partial_len();
        let lens = [
            ROWS * dim,
            dim * RUN,
            RUN * operation.stride,
            ROWS * RUN,
            partial,
            partial,
        ];
        let whole: usize = lens.iter().map(|len| len.next_multiple_of(LINE)).sum();
        if buffer.len() < whole + LINE {
            *buffer = vec![0.0; whole + LINE];
        }
        let skip = buffer
            .as_ptr()
            .align_offset(LINE * size_of::<f32>())
            .min(LINE);
        let mut rest = &mut buffer[skip..];
        let [queries, keys, values, weights, part, total] = lens.map(|len| {
            let (here, behind) = std::mem::take(&mut rest).split_at_mut(len.next_multiple_of(LINE));
            rest = behind;
            &mut here[..len]
        });
        Self {
            room: Room {
                queries,
                keys,
                values,
                weights,
            },
            part: Partial::over(part, operation),
            total: Partial::over(total, operation),
        }
    }
}

impl Room<'_> {
    /// Collects the tile's queries, with the scale of the scores in them.
    pub fn load_queries(&mut self, operation: &Operation<'_>, tile: Tile, kv_head: usize) {
        let (shape, group) = (operation.shape, operation.group);
        for (row, to) in tile
            .rows()
            .zip(self.queries.chunks_exact_mut(shape.key_dim))
        {
            let head = kv_head * group + row % group;
            let query = &operation.q.row(row / group)[head * shape.key_dim..];
            for (to, q) in to.iter_mut().zip(query) {
                *to = q * shape.scale;
            }
        }
    }
}

/// A tile against the positions of a segment.
pub(super) struct AttendSegment<'a> {
    pub operation: &'a Operation<'a>,
    pub tile: Tile,
    pub kv_head: usize,
    pub segment: usize,
}

/// Calls `$tile::<S, R, C>` with `C` vectors of `S` a row: as many sums as the registers hold, 32 of them with AVX-512, 16 elsewhere.
/// `$run` goes over vectors by `C`, then by 1.
macro_rules! by_rows {
    ($rows:expr, $S:ident, |$row:ident, $R:ident, $C:ident| $body:expr) => {{
        let rows: usize = $rows;
        let mut $row = 0;
        macro_rules! go {
            ($r:literal, $c:literal) => {{
                const $R: usize = $r;
                const $C: usize = $c;
                $body;
                $row += $R;
            }};
        }
        while $row < rows {
            match (rows - $row, $S::LANES > 8) {
                (6.., true) => go!(6, 4),
                (6.., false) => go!(6, 2),
                (4.., true) => go!(4, 4),
                (4.., false) => go!(4, 2),
                (2.., _) => go!(2, 4),
                _ => go!(1, 4),
            }
        }
    }};
}

impl AttendSegment<'_> {
    /// Adds the segment's positions to `part`.
    ///
    /// # Safety
    /// `Isa::run` chose S.
    #[inline(always)]
    pub unsafe fn attend<S: Simd>(&self, room: &mut Room<'_>, part: &mut Partial<'_>) {
        let tile = self.tile;
        let all = self.operation.visible(tile.first).start
            ..self.operation.visible(tile.first + tile.rows - 1).end;
        let end = all.end.min((self.segment + 1) * SEGMENT);
        let mut begin = all.start.max(self.segment * SEGMENT) / RUN * RUN;
        while begin < end {
            let run = begin.max(all.start)..end.min(begin + RUN);
            // SAFETY: the caller's S; the room is as large as the operation's shape asks.
            unsafe {
                gather::run::<S>(
                    self.operation,
                    tile,
                    self.kv_head,
                    begin,
                    run.clone(),
                    room.keys,
                    room.values,
                );
                self.score::<S>(room, run.end - begin);
                let mut sees = [const { 0..0 }; ROWS];
                for (i, row) in tile.rows().enumerate() {
                    let visible = self.operation.visible(row);
                    let seen = visible.start.clamp(begin, begin + RUN) - begin
                        ..visible.end.clamp(begin, begin + RUN) - begin;
                    if !seen.is_empty() {
                        part.absorb::<S>(i, &mut room.weights[i * RUN..][..RUN], seen.clone());
                    }
                    sees[i] = seen;
                }
                self.mix::<S>(room, part, &sees);
            }
            begin += RUN;
        }
    }

    /// Scores of all rows and the first `positions` of the run.
    #[inline(always)]
    unsafe fn score<S: Simd>(&self, room: &mut Room<'_>, positions: usize) {
        let dim = self.operation.shape.key_dim;
        let vectors = positions.div_ceil(S::LANES);
        by_rows!(self.tile.rows, S, |row, R, C| {
            let mut vector = 0;
            while vector < vectors {
                // SAFETY: rows, dimensions and vectors lie within the room.
                unsafe {
                    let queries = room.queries.as_ptr().add(row * dim);
                    let keys = room.keys.as_ptr().add(vector * S::LANES);
                    let to = room.weights.as_mut_ptr().add(row * RUN + vector * S::LANES);
                    if vectors - vector >= C {
                        score_tile::<S, R, C>(to, queries, keys, dim);
                        vector += C;
                    } else {
                        score_tile::<S, R, 1>(to, queries, keys, dim);
                        vector += 1;
                    }
                }
            }
        });
    }

    /// Adds the run's values, weighed. Rows that lie in one register tile may see different positions, so those that all see are
    /// taken together and the rest row by row, in the order of positions.
    #[inline(always)]
    unsafe fn mix<S: Simd>(
        &self,
        room: &Room<'_>,
        part: &mut Partial<'_>,
        sees: &[Range<usize>; ROWS],
    ) {
        let stride = part.stride;
        by_rows!(self.tile.rows, S, |row, R, C| {
            // Later rows see later positions.
            let first = &sees[row];
            let common = sees[row + R - 1].start..first.end;
            // SAFETY: rows and positions lie within the room and the partial result.
            unsafe {
                let mixed = part.mixed.as_mut_ptr().add(row * stride);
                let weights = room.weights.as_ptr().add(row * RUN);
                let values = room.values.as_ptr();
                for r in 0..R {
                    let early = sees[row + r].start..if common.is_empty() {
                        sees[row + r].end
                    } else {
                        common.start
                    };
                    mix_rows::<S, 1, 4>(
                        mixed.add(r * stride),
                        weights.add(r * RUN),
                        values,
                        stride,
                        early,
                    );
                }
                let common = if common.is_empty() { 0..0 } else { common };
                mix_rows::<S, R, C>(mixed, weights, values, stride, common.clone());
                for r in 0..R {
                    let late = common.end..if common.is_empty() {
                        0
                    } else {
                        sees[row + r].end
                    };
                    mix_rows::<S, 1, 4>(
                        mixed.add(r * stride),
                        weights.add(r * RUN),
                        values,
                        stride,
                        late,
                    );
                }
            }
        });
    }
}

/// Scores of `R` rows and `C` vectors of positions.
#[inline(always)]
unsafe fn score_tile<S: Simd, const R: usize, const C: usize>(
    to: *mut f32,
    queries: *const f32,
    keys: *const f32,
    dim: usize,
) {
    // SAFETY: the caller's pointers are valid for `R` rows, `dim` dimensions and `C` vectors.
    unsafe {
        let mut sums = [[S::splat(0.0); C]; R];
        for d in 0..dim {
            let mut lines = [S::splat(0.0); C];
            for c in 0..C {
                lines[c] = S::load(keys.add(d * RUN + c * S::LANES));
            }
            for r in 0..R {
                let query = S::splat(*queries.add(r * dim + d));
                for c in 0..C {
                    sums[r][c] = lines[c].mul_add(query, sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                sums[r][c].store(to.add(r * RUN + c * S::LANES));
            }
        }
    }
}

/// `mixed[r] += sum over positions of weights[r][position] * values[position]`, over the whole width of a value.
#[inline(always)]
unsafe fn mix_rows<S: Simd, const R: usize, const C: usize>(
    mixed: *mut f32,
    weights: *const f32,
    values: *const f32,
    stride: usize,
    positions: Range<usize>,
) {
    if positions.is_empty() {
        return;
    }
    let vectors = stride / S::LANES;
    let mut vector = 0;
    while vector < vectors {
        let at = vector * S::LANES;
        // SAFETY: the caller's pointers are valid for `R` rows, the positions, and a stride of vectors.
        unsafe {
            if vectors - vector >= C {
                mix_tile::<S, R, C>(
                    mixed.add(at),
                    weights,
                    values.add(at),
                    stride,
                    positions.clone(),
                );
                vector += C;
            } else {
                mix_tile::<S, R, 1>(
                    mixed.add(at),
                    weights,
                    values.add(at),
                    stride,
                    positions.clone(),
                );
                vector += 1;
            }
        }
    }
}

/// `R` rows and `C` vectors of a value.
#[inline(always)]
unsafe fn mix_tile<S: Simd, const R: usize, const C: usize>(
    mixed: *mut f32,
    weights: *const f32,
    values: *const f32,
    stride: usize,
    positions: Range<usize>,
) {
    // SAFETY: as in `mix_rows`.
    unsafe {
        let mut sums = [[S::splat(0.0); C]; R];
        for r in 0..R {
            for c in 0..C {
                sums[r][c] = S::load(mixed.add(r * stride + c * S::LANES));
            }
        }
        for position in positions {
            let mut value = [S::splat(0.0); C];
            for c in 0..C {
                value[c] = S::load(values.add(position * stride + c * S::LANES));
            }
            for r in 0..R {
                let weight = S::splat(*weights.add(r * RUN + position));
                for c in 0..C {
                    sums[r][c] = value[c].mul_add(weight, sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                sums[r][c].store(mixed.add(r * stride + c * S::LANES));
            }
        }
    }
}
