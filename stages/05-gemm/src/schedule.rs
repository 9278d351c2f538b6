//! Which part of a product a worker computes, and where a tile lies: what `kernels/include/stream_k.h` does on the device, in Rust.
//!
//! Stream-K (Osama et al. 2023, [arXiv 2301.03598](https://arxiv.org/abs/2301.03598)): a product is not a number of tiles but a number of
//! k-steps, and those can be dealt evenly. The first `whole` tiles go round the workers. The k-steps of the others, laid end to end, are cut
//! into one range for each worker; where a cut falls within a tile, that tile's sums are put together by the worker that has its end.
//!
//! Invariants: every k-step of every tile belongs to one worker; ranges differ by a step at most; a worker does first what others wait for.

use crate::plan::Plan;
use crate::problem::Problem;

/// K-steps `from..to` of a tile, done by one worker without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Which tile, in the order of [`tile_place`].
    pub tile: usize,
    /// The first k-step.
    pub from: usize,
    /// The one behind the last.
    pub to: usize,
}

/// A product's k-steps, dealt to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Tiles of the product.
    pub tiles: usize,
    /// K-steps of each.
    pub steps: usize,
    /// Tiles, from the first, that one worker does alone.
    pub whole: usize,
    /// Who computes; at least one.
    pub workers: usize,
}

impl Schedule {
    /// How `plan` deals `problem`; tiles and workers are those of a cluster.
    pub fn new(problem: &Problem, plan: &Plan) -> Self {
        let (tiles, steps) = plan.config.tiles(problem);
        Self {
            tiles,
            steps,
            whole: plan.whole.min(tiles),
            workers: plan.workers,
        }
    }

    /// What `worker` does, in the order in which it does it.
    ///
    /// First its range of the shared steps, from the end of the range to its beginning, so that a tile of which it has only the
    /// beginning, and for which another waits, comes first. Then the whole tiles `worker`, `worker + workers`, ….
    /// Of `s` shared steps each worker has `s / workers`, and the first `s % workers` one more.
    pub fn segments(&self, worker: usize) -> Vec<Segment> {
        // ANCHOR: solve-stream-k
        let shared = (self.tiles - self.whole) * self.steps;
        let (share, longer) = (shared / self.workers, shared % self.workers);
        let start = |worker: usize| worker * share + worker.min(longer);
        let (low, mut high) = (start(worker), start(worker + 1));
        let mut segments = Vec::new();
        while high > low {
            let tile = (high - 1) / self.steps;
            let from = low.max(tile * self.steps);
            segments.push(Segment {
                tile: self.whole + tile,
                from: from - tile * self.steps,
                to: high - tile * self.steps,
            });
            high = from;
        }
        let alone = (worker..self.whole).step_by(self.workers);
        segments.extend(alone.map(|tile| Segment {
            tile,
            from: 0,
            to: self.steps,
        }));
        segments
        // ANCHOR_END: solve-stream-k
    }

    /// Whether the worker of this segment stores the tile: it has the end, and adds what others leave.
    pub fn is_owner(&self, segment: &Segment) -> bool {
        segment.to == self.steps
    }
}

/// Of 50 to 60 MB of L2, what a product can count on: each half of the chip keeps copies of its own, and results pass through.
const L2_KEEPS: usize = 24 << 20;

/// How many tiles along P go together ([`tile_place`]): as many as need the fewest bytes of device memory.
pub fn panel(problem: &Problem, plan: &Plan) -> usize {
    let config = plan.config;
    let row = problem.k * problem.element.bytes();
    let side = |rows, tile| Side { rows, tile, row };
    let (weights, tokens) = if config.swap {
        (config.bp * config.cluster, config.bq * config.across)
    } else {
        (config.bq * config.across, config.bp * config.cluster)
    };
    let (weights, tokens) = (side(problem.n, weights), side(problem.m, tokens));
    if config.swap {
        cheapest_panel(&weights, &tokens, plan.workers)
    } else {
        cheapest_panel(&tokens, &weights, plan.workers)
    }
}

/// An operand: its rows, how many a tile has, and the bytes of each.
pub(crate) struct Side {
    pub rows: usize,
    pub tile: usize,
    pub row: usize,
}

/// [`panel`] for any operands. A panel of P that L2 keeps is read once, else anew for each wave; all of Q is read anew for each panel,
/// unless L2 keeps it whole.
pub(crate) fn cheapest_panel(p: &Side, q: &Side, workers: usize) -> usize {
    let (tiles_p, tiles_q) = (p.rows.div_ceil(p.tile), q.rows.div_ceil(q.tile));
    let bytes = |panel: usize| {
        let waves = (panel * tiles_q).div_ceil(workers);
        let kept = panel * p.tile * p.row <= L2_KEEPS;
        let panels = tiles_p.div_ceil(panel);
        let of_p = p.rows * p.row * if kept { 1 } else { waves };
        let whole = q.rows * q.row <= L2_KEEPS;
        of_p + q.rows * q.row * if whole { 1 } else { panels }
    };
    let powers = (0..)
        .map(|power| 1 << power)
        .take_while(|panel| *panel < tiles_p);
    // Of equals the squarest: what runs at the same time then asks L2 for the fewest different rows.
    let square = |panel: usize| (panel * p.tile).max(workers.div_ceil(panel) * q.tile);
    powers
        .chain([tiles_p])
        .min_by_key(|panel| (bytes(*panel), square(*panel)))
        .expect("there is a tile")
}

/// Where a tile lies, as `(p, q)` in a grid of `tiles_p` by `tiles_q`.
///
/// Tiles that are computed at the same time should need few different rows of P and Q, since those are what L2 holds. A wave of
/// tiles in the plain order, all of P and then the next of Q, needs all of P. So P is cut into groups of `group` tiles (the
/// last may be smaller); the tiles of a group are numbered with p fastest, and the next group begins when all of Q is through.
pub fn tile_place(tile: usize, tiles_p: usize, tiles_q: usize, group: usize) -> (usize, usize) {
    // ANCHOR: solve-tile-place
    let (of_group, within) = (tile / (group * tiles_q), tile % (group * tiles_q));
    let size = group.min(tiles_p - of_group * group);
    (of_group * group + within % size, within / size)
    // ANCHOR_END: solve-tile-place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CONFIGS, Element, Split};

    #[test]
    fn a_panel_that_l2_keeps_is_as_high_as_the_product_and_others_are_square() {
        let config = |cluster| {
            let wide =
                |c: &&crate::Config| !c.swap && c.bq == 256 && c.cluster == cluster && !c.turns;
            *CONFIGS.iter().find(wide).expect("it is there")
        };
        let of = |m, n, k, cluster| {
            let problem = Problem {
                m,
                n,
                k,
                element: Element::Bf16,
            };
            panel(
                &problem,
                &Plan::new(config(cluster), Split::Whole, &problem, 132),
            )
        };
        // 8 MB of tokens stay, so that 33 MB of weights pass by once.
        assert_eq!(of(8192, 32768, 512, 1), 64);
        // 134 MB each: a wave of 66 tiles of 256 x 256 is as square as it can be.
        assert_eq!(of(8192, 8192, 8192, 2), 8);
        assert_eq!(of(1, 8, 16, 1), 1);
    }
}
