//! How `kernels/gemm/w4a16.cu` and `w4a16_wgmma.cu` are built and how their tiles are dealt, and which of it for which product.

use crate::plan::Split;
use crate::w4::{GROUP, UNIT_BYTES};
use kernels::Values;
use std::sync::LazyLock;

/// How a block is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct W4Config {
    /// Strips of 16 rows that a warp has.
    pub strips: usize,
    /// Warps beside each other along a tile's rows.
    pub along: usize,
    /// Groups of k that a block works on at a time, each by warps of its own. One for more than 16 tokens.
    pub parts: usize,
    /// Tokens of a tile: 8, 16, 32 or 64.
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
    config(1, 1, 8, 8, 2),
    config(2, 1, 8, 8, 2),
    config(2, 1, 4, 8, 2),
    config(3, 1, 4, 8, 2),
    config(4, 1, 4, 8, 2),
    config(2, 2, 4, 8, 2),
    config(5, 1, 4, 8, 2),
    config(3, 2, 4, 8, 2),
    config(2, 4, 2, 8, 2),
    config(4, 2, 2, 8, 2),
    config(7, 2, 2, 8, 2),
    config(1, 2, 4, 16, 2),
    config(2, 1, 4, 16, 2),
    config(3, 1, 4, 16, 2),
    config(4, 1, 4, 16, 2),
    config(2, 4, 2, 16, 2),
    config(4, 2, 2, 16, 2),
    config(5, 2, 2, 16, 2),
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

    /// Steps whose weights are under way or there: as many as fit, since that hides the memory's latency. Of a multiprocessor's 228 KB the
    /// system keeps 1 KB a block.
    pub fn stages(&self) -> usize {
        let room = (228 / self.occupancy - 1) * 1024;
        let staging = self.warps() * 32 * self.tokens.min(16);
        let sums = self.tile_strips() * (self.parts - 1) * 64 * self.tokens;
        let (tokens, weights) = self.step_bytes();
        let (fixed, each) = if self.by_warpgroups() {
            (1024, tokens + weights + 16)
        } else {
            (1072 + 3 * tokens, weights + 8)
        };
        ((room - fixed - staging - sums) / each).min(16)
    }

    /// The kernel's parameters.
    pub fn parameters(&self) -> Values {
        let mut set = vec![
            ("BQ", self.tokens),
            ("STAGES", self.stages()),
            ("OCC", self.occupancy),
        ];
        if self.by_warpgroups() {
            set.extend([("WG", self.along / 4), ("RB", self.strips)]);
        } else {
            set.extend([("RS", self.strips), ("WR", self.along), ("WK", self.parts)]);
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
        let whole = match split {
            Split::Whole => tiles,
            Split::Tail => tiles / workers * workers,
            Split::TwoRounds => (tiles / workers).saturating_sub(1) * workers,
        };
        Self {
            config,
            beside,
            split,
            workers,
            whole,
        }
    }

    /// Microseconds that the plan should take, for products that nobody has tuned: what a multiprocessor's blocks do, as long as memory, L2 or
    /// arithmetic take for it; what a launch takes beside; and the reduction of cut tiles. Rates read off times of the bench `w4` on an H200.
    fn estimate(&self, size: (usize, usize, usize), sms: usize) -> f64 {
        let (tiles, steps) = tiles(&self.config, size);
        let shared = (tiles - self.whole) * steps;
        let most = self.whole.div_ceil(self.workers) * steps + shared.div_ceil(self.workers);
        let groups = (most * self.config.parts * self.beside) as f64;
        let strips = groups * self.config.tile_strips() as f64;
        let of_all = sms as f64 / 1e6;
        let memory = strips * UNIT_BYTES as f64 * of_all / 4.2;
        let tokens = self.config.tokens as f64;
        let cache = (strips * UNIT_BYTES as f64 + groups * tokens * 256.0) * of_all / 6.5;
        let warps = (self.config.warps() * self.beside) as f64;
        // Of 16 rows and a group of k: with few warps their latencies show; wgmma does four times as much at a time.
        let one = if self.config.by_warpgroups() {
            0.02 + tokens * 0.001
        } else {
            0.018 + tokens * 0.0006
        };
        let arithmetic = strips * one * (0.6 + 3.0 / warps);
        let cut = if shared > 0 { 1.5 } else { 0.0 };
        2.5 + memory.max(cache).max(arithmetic) + cut + (self.beside - 1) as f64
    }
}

/// Tiles, and steps of each.
fn tiles(config: &W4Config, (m, n, k): (usize, usize, usize)) -> (usize, usize) {
    let tiles = n.div_ceil(16 * config.tile_strips()) * m.div_ceil(config.tokens);
    (tiles, (k / GROUP).div_ceil(config.parts))
}

/// All plans that make sense for `m` tokens and weights `[n, k]` on a GPU with `sms` multiprocessors.
pub fn w4_plans(m: usize, n: usize, k: usize, sms: usize) -> Vec<W4Plan> {
    let tokens = m.next_power_of_two().clamp(8, 64);
    let mut found = Vec::new();
    for &config in W4_CONFIGS.iter().filter(|config| config.tokens == tokens) {
        let (tiles, steps) = tiles(&config, (m, n, k));
        for beside in 1..=config.occupancy {
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
            let cuts =
                |plan: &W4Plan| plan.whole == tiles || (tiles - plan.whole) * steps >= workers;
            found.extend(splits.into_iter().map(plan).filter(cuts));
        }
    }
    found
}

/// The plan for `m` tokens and weights `[n, k]`: what was measured best for this layer, else the one that should take least.
///
/// # Panics
/// If there is no token.
pub fn w4_plan(m: usize, n: usize, k: usize, sms: usize) -> W4Plan {
    let all = w4_plans(m, n, k, sms);
    let tokens = m.next_power_of_two().clamp(8, 64);
    let of_layer = TUNED.iter().find(|tuned| tuned.layer == (tokens, n, k));
    let tuned = of_layer.and_then(|tuned| all.iter().find(|plan| tuned.is(plan)));
    if let Some(plan) = tuned {
        return *plan;
    }
    let cost = |plan: &W4Plan| plan.estimate((m, n, k), sms);
    all.into_iter()
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .expect("each number of tokens has a configuration")
}

/// A line of the tuned table, `tuned_w4.csv`, which `TUNE=FILE` of the bench `w4` writes.
struct Tuned {
    /// Tokens of a tile, n, k.
    layer: (usize, usize, usize),
    /// Strips, along, parts, occupancy, beside.
    built: [usize; 5],
    split: String,
}

static TUNED: LazyLock<Vec<Tuned>> =
    LazyLock::new(|| include_str!("../tuned_w4.csv").lines().map(parse).collect());

fn parse(line: &str) -> Tuned {
    let (split, numbers) = line.split_once(',').expect("a split and numbers");
    let numbers: Vec<usize> = numbers
        .split(',')
        .map(|number| number.parse().expect("a number"))
        .collect();
    let [tokens, n, k, built @ ..] = &numbers[..] else {
        panic!("{line} names no layer");
    };
    Tuned {
        layer: (*tokens, *n, *k),
        built: built.try_into().expect("five numbers of a plan"),
        split: split.to_owned(),
    }
}

impl Tuned {
    fn is(&self, plan: &W4Plan) -> bool {
        let W4Config {
            strips,
            along,
            parts,
            occupancy,
            ..
        } = plan.config;
        self.built == [strips, along, parts, occupancy, plan.beside]
            && self.split == format!("{:?}", plan.split)
    }
}

/// A line of the tuned table: this plan for weights `[n, k]`.
pub fn w4_line(plan: &W4Plan, n: usize, k: usize) -> String {
    let c = plan.config;
    format!(
        "{:?},{},{n},{k},{},{},{},{},{}",
        plan.split, c.tokens, c.strips, c.along, c.parts, c.occupancy, plan.beside
    )
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
            assert!(bytes <= 227 * 1024 && config.stages() >= 3, "{config:?}");
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

    #[test]
    fn every_tuned_line_is_a_plan_of_its_layer() {
        for tuned in TUNED.iter() {
            let (tokens, n, k) = tuned.layer;
            let plan = w4_plan(tokens, n, k, 132);
            assert!(tuned.is(&plan), "{tokens},{n},{k}: {plan:?}");
            let again = parse(&w4_line(&plan, n, k));
            assert_eq!(again.layer, tuned.layer);
            assert!(again.is(&plan));
        }
    }
}
