//! How blocks of `kernels/gemm/k19_sparse.cu` are built, and how its tiles are dealt to them.

use crate::cost::Machine;
use crate::schedule::{Side, cheapest_panel};
use kernels::Values;

/// How a block is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SparseConfig {
    /// Rows of weights in a block's tile: 64 for each warpgroup that multiplies.
    pub rows: usize,
    /// Tokens of a tile.
    pub tokens: usize,
    /// Bytes of kept values a row in one copy, which are also their k: 128 or 64.
    pub width: usize,
    /// Such copies in a stage of the ring.
    pub ks: usize,
    /// Blocks of a cluster; they lie side by side along the weights' rows and share the tokens.
    pub cluster: usize,
    /// Blocks that a multiprocessor holds.
    pub occupancy: usize,
}

const fn config(
    rows: usize,
    tokens: usize,
    width: usize,
    ks: usize,
    cluster: usize,
    occupancy: usize,
) -> SparseConfig {
    SparseConfig {
        rows,
        tokens,
        width,
        ks,
        cluster,
        occupancy,
    }
}

/// All configurations that [`sparse_plan`] chooses from.
pub const SPARSE_CONFIGS: &[SparseConfig] = &[
    config(64, 8, 128, 2, 1, 2),
    config(64, 8, 128, 1, 1, 2),
    config(128, 8, 128, 1, 1, 2),
    config(64, 16, 128, 2, 1, 2),
    config(64, 16, 128, 1, 1, 2),
    config(128, 16, 128, 1, 1, 2),
    config(64, 32, 128, 1, 1, 2),
    config(128, 32, 128, 1, 1, 1),
    config(64, 64, 128, 1, 1, 2),
    config(128, 64, 128, 1, 1, 1),
    config(64, 128, 128, 1, 1, 1),
    config(128, 128, 64, 1, 1, 1),
    config(128, 128, 64, 1, 2, 1),
    config(128, 192, 64, 1, 1, 1),
    config(128, 192, 64, 1, 2, 1),
    config(128, 256, 64, 1, 1, 1),
    config(128, 256, 64, 1, 2, 1),
];

impl SparseConfig {
    /// Tokens that one store of the epilogue covers.
    fn store_tokens(&self) -> usize {
        self.tokens.min(if self.occupancy == 1 { 64 } else { 16 })
    }

    /// k of a stage.
    fn stage_k(&self) -> usize {
        self.width * self.ks
    }

    /// Bytes of a stage: kept values, metadata, tokens.
    fn stage_bytes(&self) -> usize {
        self.stage_k() / 64 * (self.rows * 72 + self.tokens * 128)
    }

    /// Stages of the ring: as many as fit, since what is under way hides the memory's latency. Of a multiprocessor's 228 KB the system
    /// keeps 1 KB a block.
    pub fn stages(&self) -> usize {
        let room = (228 / self.occupancy - 1) * 1024;
        let other = 1280 + self.rows / 64 * 128 * self.store_tokens();
        ((room - other) / self.stage_bytes()).min(12)
    }

    /// The kernel's parameters.
    pub fn parameters(&self) -> Values {
        let set = [
            ("BP", self.rows),
            ("BQ", self.tokens),
            ("BOX", self.width),
            ("KS", self.ks),
            ("STAGES", self.stages()),
            ("CL", self.cluster),
            ("CQ", self.store_tokens()),
            ("OCC", self.occupancy),
        ];
        Values::from(set.map(|(name, value)| (name.to_owned(), value as i64)))
    }

    /// Tiles, counted in clusters, and steps of each.
    fn tiles(&self, m: usize, n: usize, k: usize) -> (usize, usize) {
        let tiles = n.div_ceil(self.rows * self.cluster) * m.div_ceil(self.tokens);
        (tiles, k.div_ceil(self.stage_k()))
    }

    /// Clusters that run at the same time.
    fn places(&self, sms: usize) -> usize {
        (sms * self.occupancy / self.cluster).max(1)
    }
}

/// A configuration and how its tiles are dealt to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SparsePlan {
    /// How a block is built.
    pub config: SparseConfig,
    /// Clusters that work.
    pub workers: usize,
    /// Tiles that one worker does alone; the k-steps of the others are cut into equal ranges.
    pub whole: usize,
}

impl SparsePlan {
    /// How many tiles along the weights' rows go together, so that memory gives the fewest bytes.
    pub(crate) fn panel(&self, m: usize, n: usize, k: usize) -> usize {
        let weights = Side {
            rows: n,
            tile: self.config.rows * self.config.cluster,
            row: k + k / 8,
        };
        let tokens = Side {
            rows: m,
            tile: self.config.tokens,
            row: 2 * k,
        };
        cheapest_panel(&weights, &tokens, self.workers)
    }

    /// Microseconds that the plan should take, with the terms of [`cost`](crate::cost::microseconds).
    ///
    /// What differs: a weight has 9/8 bytes; a multiprocessor takes no more from L2 than its part; and an instruction of 32 k takes as long as
    /// shared memory needs for its operands, 128 bytes a clock: 2 KB of kept values and 64 bytes for each token.
    fn microseconds(&self, m: usize, n: usize, k: usize, sms: usize) -> f64 {
        let (config, machine) = (&self.config, Machine::H200);
        let (tiles, steps) = config.tiles(m, n, k);
        let shared = (tiles - self.whole) * steps;
        let busiest = self.whole.div_ceil(self.workers) * steps + shared.div_ceil(self.workers);
        let beside = (self.workers * config.cluster).div_ceil(sms);
        let clock = machine.tensor / machine.multiprocessors as f64 / 4096.0;
        let instructions = config.stage_k() / 32 * (config.rows / 64) * beside;
        let step = instructions as f64 * (16.0 + config.tokens as f64 / 2.0) / clock;
        let own = machine.l2 / sms as f64;
        let tokens = config.tokens * 128 / config.cluster;
        let bytes = config.stage_k() / 64 * (config.rows * 72 + tokens) * beside;
        let fetch = bytes as f64 / own;
        let wait = machine.latency / config.stages() as f64;
        let chain = busiest as f64 * step.max(fetch).max(wait);
        let weights = (n * k * 9 / 8) as f64;
        let memory = (weights + (2 * m * (n + k)) as f64) / machine.memory;
        let by_tokens = weights * m.div_ceil(config.tokens) as f64;
        let by_rows = (2 * m * k * n.div_ceil(config.rows * config.cluster)) as f64;
        let l2 = (by_tokens + by_rows) / machine.l2;
        let tile = (config.rows * config.tokens) as f64;
        let time = machine.latency + chain.max(memory).max(l2) + tile * 2.0 / own;
        if shared == 0 {
            return time;
        }
        let sharers = (steps * self.workers).div_ceil(shared);
        time + 2.0 * machine.latency + tile * 4.0 * sharers as f64 / own
    }
}

/// All plans that make sense for `m` tokens and weights `[n, k]` on a GPU with `sms` multiprocessors.
pub fn sparse_plans(m: usize, n: usize, k: usize, sms: usize) -> Vec<SparsePlan> {
    let least = m.next_power_of_two().clamp(8, 128);
    let most = if m > 128 { 256 } else { least };
    let mut found = Vec::new();
    for &config in SPARSE_CONFIGS {
        if config.tokens < least || config.tokens > most {
            continue;
        }
        let (tiles, steps) = config.tiles(m, n, k);
        let places = config.places(sms);
        let waves = tiles / places;
        found.push(SparsePlan {
            config,
            workers: places.min(tiles),
            whole: tiles,
        });
        // The last wave is shared, or with it one that is full.
        for whole in [waves * places, waves.saturating_sub(1) * places] {
            let workers = places.min((tiles - whole) * steps);
            if whole < tiles && (whole == 0 || workers == places) {
                found.push(SparsePlan {
                    config,
                    workers,
                    whole,
                });
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The plan for `m` tokens and weights `[n, k]`.
pub fn sparse_plan(m: usize, n: usize, k: usize, sms: usize) -> SparsePlan {
    let all = sparse_plans(m, n, k, sms).into_iter();
    let cost = |plan: &SparsePlan| plan.microseconds(m, n, k, sms);
    all.min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .expect("each number of tokens has a configuration")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::FILL;

    #[test]
    fn as_many_blocks_fit_as_a_configuration_says() {
        for config in SPARSE_CONFIGS {
            let source = kernels::Source::load("gemm/k19_sparse.cu", &config.parameters()).unwrap();
            let (_, cluster, bytes) = source.metadata.block(&source.values).unwrap();
            let of_all = config.occupancy * (bytes as usize + 1024);
            assert!(of_all <= 228 * 1024, "{config:?} takes {bytes} bytes");
            assert!(config.stages() >= 4, "{config:?}");
            assert!(cluster as usize == config.cluster && FILL.is_multiple_of(config.stage_k()));
        }
    }

    #[test]
    fn plans_deal_out_every_step_and_leave_no_worker_idle() {
        for m in [1, 8, 9, 64, 65, 200, 8192] {
            for (n, k) in [(64, 64), (4096, 4096), (28672, 4096), (8192, 28672)] {
                let all = sparse_plans(m, n, k, 132);
                assert!(all.contains(&sparse_plan(m, n, k, 132)));
                for SparsePlan {
                    config,
                    workers,
                    whole,
                } in all
                {
                    let (tiles, steps) = config.tiles(m, n, k);
                    assert!(whole <= tiles && workers * config.cluster <= config.occupancy * 132);
                    // Workers beyond the whole tiles need a step of the others each: a range that is empty would have no part in its tile.
                    let busy = if whole >= workers { workers } else { whole };
                    assert!(workers >= 1 && workers <= busy.max((tiles - whole) * steps));
                    assert!(whole == tiles || (tiles - whole) * steps >= workers);
                }
            }
        }
    }
}
