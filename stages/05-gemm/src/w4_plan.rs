//! How `kernels/gemm/w4a16.cu` and `w4a16_wgmma.cu` are built and how their tiles are dealt, and which of it for which product.

use crate::plan::Split;
use crate::problem::{Element, Problem};
use crate::tuned;
use crate::w4::{GROUP, UNIT_BYTES};
use kernels::Values;

/// How a block is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct W4Config {
    /// Strips of 16 rows that a warp has.
    pub strips: usize,
    /// Warps beside each other along a tile's rows.
    pub along: usize,
    /// Groups of k that a block works on at a time, each by warps of its own. One for more than 16 tokens.
    pub parts: usize,
    /// Tokens that a tile has room for: 4, 8, 16, 32 or 64.
    pub tokens: usize,
    /// Blocks that a multiprocessor holds.
    pub occupancy: usize,
}

const fn config(
    strips: usize,
    along: usize,
    parts: usize,
    tokens: usize,
    occupancy: usize,
) -> W4Config {
    W4Config {
        strips,
        along,
        parts,
        tokens,
        occupancy,
    }
}

/// All configurations that [`w4_plan`] chooses from.
pub const W4_CONFIGS: &[W4Config] = &[
    config(2, 1, 8, 4, 2),
    config(3, 1, 8, 4, 2),
    config(1, 2, 8, 4, 2),
    config(2, 1, 4, 4, 2),
    config(3, 1, 4, 4, 2),
    config(4, 1, 4, 4, 2),
    config(1, 2, 4, 4, 2),
    config(2, 2, 4, 4, 2),
    config(1, 3, 4, 4, 2),
    config(3, 2, 4, 4, 2),
    config(2, 4, 2, 4, 2),
    config(4, 2, 2, 4, 2),
    config(2, 1, 8, 8, 2),
    config(3, 1, 8, 8, 2),
    config(1, 2, 8, 8, 2),
    config(2, 1, 4, 8, 2),
    config(3, 1, 4, 8, 2),
    config(4, 1, 4, 8, 2),
    config(5, 1, 4, 8, 2),
    config(1, 2, 4, 8, 2),
    config(2, 2, 4, 8, 2),
    config(1, 3, 4, 8, 2),
    config(3, 2, 4, 8, 2),
    config(2, 4, 2, 8, 2),
    config(4, 2, 2, 8, 2),
    config(2, 1, 4, 16, 2),
    config(3, 1, 4, 16, 2),
    config(4, 1, 4, 16, 2),
    config(1, 2, 4, 16, 2),
    config(2, 4, 2, 16, 2),
    config(4, 2, 2, 16, 2),
    config(2, 8, 1, 32, 1),
    config(1, 8, 1, 32, 2),
    config(2, 4, 1, 32, 2),
    config(1, 4, 1, 32, 2),
    config(1, 8, 1, 64, 1),
    config(1, 4, 1, 64, 2),
];

impl W4Config {
    /// Rows of a tile in strips of 16.
    pub(crate) fn tile_strips(&self) -> usize {
        self.strips * self.along
    }

    /// Warps that multiply.
    fn warps(&self) -> usize {
        self.along * self.parts
    }

    /// Whether the kernel is `w4a16_wgmma`: for few tokens a warp multiplies alone, for many four together.
    fn by_warpgroups(&self) -> bool {
        self.tokens > 16
    }

    /// The kernel.
    pub fn path(&self) -> &'static str {
        if self.by_warpgroups() {
            "gemm/w4a16_wgmma.cu"
        } else {
            "gemm/w4a16.cu"
        }
    }

    /// Bytes of tokens and of weights of a step's groups of k.
    fn step_bytes(&self) -> (usize, usize) {
        let weights = self.tile_strips() * UNIT_BYTES;
        (self.parts * self.tokens * 2 * GROUP, self.parts * weights)
    }

    /// Columns of the tensor core's instruction: at least eight tokens, also where a tile has room for fewer.
    fn columns(&self) -> usize {
        self.tokens.max(8)
    }

    /// Steps that are under way or there: as many as fit, since that hides the memory's latency. Of a multiprocessor's 228 KB the system keeps
    /// 1 KB a block.
    pub fn stages(&self) -> usize {
        let room = (228 / self.occupancy - 1) * 1024;
        let staging = self.warps() * 32 * self.columns().min(16);
        let sums = self.tile_strips() * (self.parts - 1) * 64 * self.columns();
        let (tokens, weights) = self.step_bytes();
        // A stage's tokens begin where the swizzle does; two barriers.
        let each = tokens.next_multiple_of(1024) + weights + 16;
        ((room - 1024 - staging - sums) / each).min(16)
    }

    /// The kernel's parameters.
    pub fn parameters(&self) -> Values {
        let mut set = vec![
            ("BQ", self.columns()),
            ("STAGES", self.stages()),
            ("OCC", self.occupancy),
        ];
        if self.by_warpgroups() {
            set.extend([("WG", self.along / 4), ("RB", self.strips)]);
        } else {
            set.extend([("RS", self.strips), ("WR", self.along)]);
            set.extend([("WK", self.parts), ("ROWS", self.tokens)]);
        }
        let set = set.into_iter();
        set.map(|(name, value)| (name.to_owned(), value as i64))
            .collect()
    }
}

/// A configuration and how its tiles are dealt to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct W4Plan {
    /// How a block is built.
    pub config: W4Config,
    /// Blocks that each multiprocessor gets.
    pub beside: usize,
    /// How it came about.
    pub split: Split,
    /// All blocks, of which some may find no tile.
    pub workers: usize,
    /// Tiles that one worker does alone; the k-steps of the others are cut into equal ranges.
    pub whole: usize,
}

impl W4Plan {
    fn new(
        config: W4Config,
        beside: usize,
        split: Split,
        size: (usize, usize, usize),
        sms: usize,
    ) -> Self {
        let (tiles, _) = tiles(&config, size);
        // Every multiprocessor gets as many blocks, also where some have nothing to do: `without_work` in stream_k.h.
        let workers = beside * sms;
        let whole = split.whole(tiles, workers);
        Self {
            config,
            beside,
            split,
            workers,
            whole,
        }
    }

    /// Microseconds that the plan should take, for products that nobody has tuned: what the busiest multiprocessor's blocks do, as long as memory,
    /// its latency or arithmetic take for it; what a launch takes beside; and the reduction of cut tiles. Rates are those with which the choice came
    /// nearest to the best of all plans that the bench `w4` timed on an H200: for up to 16 tokens, within a twentieth in the mean.
    fn estimate(&self, size: (usize, usize, usize), sms: usize) -> f64 {
        let (tiles, steps) = tiles(&self.config, size);
        let shared = (tiles - self.whole) * steps;
        // Steps, and how many blocks have some at a time.
        let (busiest, blocks) = if shared == 0 {
            let tiles = tiles.div_ceil(sms);
            ((tiles * steps) as f64, self.beside.min(tiles))
        } else {
            let whole = self.whole.div_ceil(self.workers) * steps;
            let range = shared as f64 / self.workers as f64;
            ((whole as f64 + range) * self.beside as f64, self.beside)
        };
        let a_step = (self.config.parts * self.config.tile_strips()) as f64;
        let units = busiest * a_step;
        let memory = units * (UNIT_BYTES * sms) as f64 / 4.2e6;
        // A stage that is given back is filled again after some 1.25 us. Among wgmma's plans the choice is better without this.
        let filled = a_step * (blocks * self.config.stages()) as f64;
        let latency = units / filled * 1.25;
        let warps = (self.config.warps() * self.beside) as f64;
        let tokens = self.config.columns() as f64;
        // Of 16 rows and a group of k. With few warps their waits show; wgmma does four times as much at a time.
        let busy = if self.config.by_warpgroups() {
            units * (0.02 + tokens * 0.001) * (0.6 + 3.0 / warps)
        } else {
            let instructions = 80.0 + 1.5 * tokens + (30.0 + tokens) / self.config.strips as f64;
            (units * instructions / 7000.0 * (0.75 + 1.3 / warps)).max(latency)
        };
        let cut = if shared > 0 { 1.5 } else { 0.0 };
        2.2 + memory.max(busy) + cut + (self.beside - 1) as f64
    }
}

/// Tiles, and steps of each.
fn tiles(config: &W4Config, (m, n, k): (usize, usize, usize)) -> (usize, usize) {
    let tiles = n.div_ceil(16 * config.tile_strips()) * m.div_ceil(config.tokens);
    (tiles, (k / GROUP).div_ceil(config.parts))
}

/// Tokens that the tile for `m` has room for.
fn room(m: usize) -> usize {
    m.next_power_of_two().clamp(4, 64)
}

/// All configurations, each with every number of blocks that a multiprocessor can get.
pub(crate) fn w4_builds() -> Vec<(W4Config, usize)> {
    let each = |config: W4Config| (1..=config.occupancy).map(move |beside| (config, beside));
    W4_CONFIGS.iter().copied().flat_map(each).collect()
}

/// All plans that make sense for `m` tokens and weights `[n, k]` on a GPU with `sms` multiprocessors.
pub fn w4_plans(m: usize, n: usize, k: usize, sms: usize) -> Vec<W4Plan> {
    let mut found = Vec::new();
    let builds = w4_builds().into_iter();
    for (config, beside) in builds.filter(|(config, _)| config.tokens == room(m)) {
        let (tiles, steps) = tiles(&config, (m, n, k));
        let workers = beside * sms;
        let mut splits = vec![Split::Whole];
        if !tiles.is_multiple_of(workers) && tiles * steps >= workers {
            splits.push(Split::Tail);
            if tiles > workers {
                splits.push(Split::TwoRounds);
            }
        }
        let plan = |split| W4Plan::new(config, beside, split, (m, n, k), sms);
        // A range that is empty would have no part in its tile.
        let cuts = |plan: &W4Plan| plan.whole == tiles || (tiles - plan.whole) * steps >= workers;
        found.extend(splits.into_iter().map(plan).filter(cuts));
    }
    found
}

/// The plan for `m` tokens and weights `[n, k]`: what was measured best for this layer, else the one that should take least.
///
/// # Panics
/// If there is no token.
pub fn w4_plan(m: usize, n: usize, k: usize, sms: usize) -> W4Plan {
    let all = w4_plans(m, n, k, sms);
    let element = Element::Bf16;
    let tuned = tuned::find_w4(&Problem { m, n, k, element }).and_then(|(built, split)| {
        let is = |plan: &&W4Plan| ((plan.config, plan.beside), plan.split) == (built, split);
        all.iter().find(is)
    });
    if let Some(plan) = tuned {
        return *plan;
    }
    let cost = |plan: &W4Plan| plan.estimate((m, n, k), sms);
    all.into_iter()
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .expect("each number of tokens has a configuration")
}

/// A line of the tuned table: this plan for weights `[n, k]`.
pub fn w4_line(plan: &W4Plan, n: usize, k: usize) -> String {
    let (m, element) = (plan.config.tokens, Element::Bf16);
    let built = (plan.config, plan.beside);
    tuned::line(&Problem { m, n, k, element }, &built, plan.split)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_blocks_fit_as_a_configuration_says() {
        for config in W4_CONFIGS {
            let source = kernels::Source::load(config.path(), &config.parameters()).unwrap();
            let (_, _, bytes) = source.metadata.block(&source.values).unwrap();
            let of_all = config.occupancy * (bytes as usize + 1024);
            assert!(of_all <= 228 * 1024, "{config:?} takes {bytes} bytes");
            assert!(bytes <= 227 * 1024 && config.stages() >= 2, "{config:?}");
        }
    }

    #[test]
    fn plans_deal_out_every_step() {
        for m in [1, 8, 9, 64, 65, 200] {
            for (n, k) in [(64, 128), (4096, 4096), (28672, 4096), (8192, 28672)] {
                let all = w4_plans(m, n, k, 132);
                assert!(all.contains(&w4_plan(m, n, k, 132)));
                for plan in all {
                    let (tiles, steps) = tiles(&plan.config, (m, n, k));
                    assert!(plan.whole <= tiles && plan.workers == plan.beside * 132);
                    // A range that is empty would have no part in its tile.
                    assert!(plan.whole == tiles || (tiles - plan.whole) * steps >= plan.workers);
                }
            }
        }
    }
}
