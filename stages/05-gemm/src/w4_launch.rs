//! Launching `kernels/gemm/w4a16.cu`: bf16 tokens times weights packed as [`W4::pack`](crate::W4::pack) does.

use crate::w4::{GROUP, UNIT_BYTES};
use kernels::{Arguments, Buffer, Device, Kernel, Launch, Result, Values};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How a block is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct W4Config {
    /// Warpgroups that multiply.
    pub warpgroups: usize,
    /// Blocks of 64 rows that each of them has; a tile has 64, 128 or 256 rows.
    pub blocks: usize,
    /// Tokens of a tile: 8, 16, 32 or 64.
    pub tokens: usize,
    /// Blocks that a multiprocessor holds.
    pub occupancy: usize,
}

const fn config(warpgroups: usize, blocks: usize, tokens: usize, occupancy: usize) -> W4Config {
    W4Config {
        warpgroups,
        blocks,
        tokens,
        occupancy,
    }
}

/// All configurations that [`w4_plan`] chooses from.
pub const W4_CONFIGS: &[W4Config] = &[
    config(2, 2, 8, 2),
    config(1, 4, 8, 2),
    config(1, 2, 8, 2),
    config(2, 1, 8, 2),
    config(1, 1, 8, 2),
    config(2, 2, 16, 2),
    config(1, 4, 16, 2),
    config(1, 2, 16, 2),
    config(2, 1, 16, 2),
    config(1, 1, 16, 2),
    config(2, 2, 32, 1),
    config(2, 1, 32, 2),
    config(1, 2, 32, 2),
    config(1, 1, 32, 2),
    config(2, 1, 64, 1),
    config(1, 1, 64, 2),
];

impl W4Config {
    /// Rows of a tile in blocks of 64.
    fn tile_blocks(&self) -> usize {
        self.warpgroups * self.blocks
    }

    /// Tokens that one store of the epilogue covers.
    fn store_tokens(&self) -> usize {
        self.tokens.min(16)
    }

    /// Bytes of the ring's stage: the tokens' and the weights' 128 of k.
    fn stage_bytes(&self) -> usize {
        self.tokens * 2 * GROUP + self.tile_blocks() * UNIT_BYTES
    }

    /// Stages of the ring: as many as fit, since what is under way hides the memory's latency. Of a multiprocessor's 228 KB the system
    /// keeps 1 KB a block.
    pub fn stages(&self) -> usize {
        let room = (228 / self.occupancy - 1) * 1024;
        let other = 1024 + self.warpgroups * 128 * self.store_tokens();
        ((room - other) / (self.stage_bytes() + 16)).min(16)
    }

    /// The kernel's parameters.
    pub fn parameters(&self) -> Values {
        let set = [
            ("WG", self.warpgroups),
            ("RB", self.blocks),
            ("BQ", self.tokens),
            ("CQ", self.store_tokens()),
            ("STAGES", self.stages()),
            ("OCC", self.occupancy),
        ];
        Values::from(set.map(|(name, value)| (name.to_owned(), value as i64)))
    }
}

/// A configuration and how its tiles are dealt to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct W4Plan {
    /// How a block is built.
    pub config: W4Config,
    /// Blocks that work.
    pub workers: usize,
    /// Tiles that one worker does alone; the k-steps of the others are cut into equal ranges.
    pub whole: usize,
}

impl W4Plan {
    /// Microseconds that the plan should take: a worker's steps, each as long as memory, L2 or
    /// the warpgroups' arithmetic take; the reduction; and a pause where the next launch finds no room to begin in.
    fn estimate(&self, m: usize, n: usize, k: usize, sms: usize) -> f64 {
        let (tiles, steps) = tiles(&self.config, m, n, k);
        let shared = (tiles - self.whole) * steps;
        let most = self.whole.div_ceil(self.workers) * steps + shared.div_ceil(self.workers);
        let units = self.config.tile_blocks() as f64;
        let beside = self.workers.div_ceil(sms) as f64;
        // Bytes a microsecond: memory and L2 of an H200, divided by the multiprocessors.
        let share = sms as f64 * beside;
        let memory = units * UNIT_BYTES as f64 * share / 4.2e6;
        let cache = self.config.stage_bytes() as f64 * share / 5.5e6;
        // A warpgroup goes through its blocks one after the other, whatever the others do; and all of them share the issue slots. Read off
        // times of the bench `w4` on an H200.
        let tokens = self.config.tokens as f64;
        let in_turn = 0.17 + self.config.blocks as f64 * (0.23 + tokens * 0.0031);
        let groups = self.config.warpgroups as f64 * beside;
        let issued = groups * (0.07 + self.config.blocks as f64 * (0.09 + tokens * 0.0042));
        let arithmetic = in_turn.max(issued);
        let full = self.workers > sms * (self.config.occupancy - 1);
        let time = most as f64 * memory.max(cache).max(arithmetic) + if full { 1.5 } else { 0.0 };
        if shared == 0 {
            return time;
        }
        // The owner of a tile reads the other sharers' sums one after the other.
        let sharers = (steps as f64 / (shared as f64 / self.workers as f64)).max(1.0);
        let sums = (self.config.tile_blocks() * 64 * self.config.tokens * 4) as f64;
        time + 1.0 + sharers * (0.1 + sums / 60e3)
    }
}

fn tiles(config: &W4Config, m: usize, n: usize, k: usize) -> (usize, usize) {
    let tiles = n.div_ceil(64 * config.tile_blocks()) * m.div_ceil(config.tokens);
    (tiles, k / GROUP)
}

/// All plans that make sense for `m` tokens and weights `[n, k]` on a GPU with `sms` multiprocessors.
pub fn w4_plans(m: usize, n: usize, k: usize, sms: usize) -> Vec<W4Plan> {
    let tokens = m.next_power_of_two().clamp(8, 64);
    let mut found = Vec::new();
    for &config in W4_CONFIGS.iter().filter(|config| config.tokens == tokens) {
        let (tiles, steps) = tiles(&config, m, n, k);
        for places in (1..=config.occupancy).map(|blocks| blocks * sms) {
            let waves = tiles / places;
            found.push(W4Plan {
                config,
                workers: places.min(tiles),
                whole: tiles,
            });
            // The last wave is shared, or with it one that is full.
            for whole in [waves * places, waves.saturating_sub(1) * places] {
                let workers = places.min((tiles - whole) * steps);
                if whole < tiles && (whole == 0 || workers == places) {
                    found.push(W4Plan {
                        config,
                        workers,
                        whole,
                    });
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The plan for `m` tokens and weights `[n, k]`.
///
/// # Panics
/// If there is no token.
pub fn w4_plan(m: usize, n: usize, k: usize, sms: usize) -> W4Plan {
    let all = w4_plans(m, n, k, sms).into_iter();
    let cost = |plan: &W4Plan| plan.estimate(m, n, k, sms);
    all.min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .expect("each number of tokens has a configuration")
}

/// The kernels of one device, compiled when they are first asked for, and the workspace that they share.
pub struct W4Gemm {
    device: Device,
    kernels: RefCell<BTreeMap<W4Config, Kernel>>,
    sums: Buffer,
    flags: Buffer,
}

impl W4Gemm {
    /// Prepares for `device`.
    ///
    /// # Errors
    /// If the workspace cannot be had.
    pub fn new(device: &Device) -> Result<Self> {
        let sms = device.multiprocessors() as usize;
        let most = |of: fn(&W4Config) -> usize| W4_CONFIGS.iter().map(of).max().unwrap_or(0);
        let sums = most(|c| c.occupancy * c.tile_blocks() * 64 * c.tokens * 4);
        let flags = device.allocate(sms * most(|c| c.occupancy * c.warpgroups) * 4)?;
        device.fill(&flags, 0)?;
        Ok(Self {
            device: device.clone(),
            kernels: RefCell::default(),
            sums: device.allocate(sms * sums)?,
            flags,
        })
    }

    /// Works out the launch of `plan`: `c[m, n] = a[m, k] · weights[n, k]ᵀ`, a and c bf16, row-major, at 16-byte aligned addresses.
    ///
    /// # Errors
    /// If the kernel does not compile, or the arrays do not suit TMA: n must be a multiple of 8, k of 128.
    pub fn prepare(
        &self,
        (m, n, k): (usize, usize, usize),
        plan: &W4Plan,
        (a, weights, c): (u64, u64, u64),
    ) -> Result<Launch> {
        if !k.is_multiple_of(GROUP) || !n.is_multiple_of(8) {
            return Err(kernels::Error::Launch {
                path: "gemm/w4a16.cu".to_owned(),
                why: format!("weights [{n}, {k}]: n must be a multiple of 8, k of {GROUP}"),
            });
        }
        let arguments = Arguments::default()
            .address("weights", weights)
            .address("a", a)
            .address("c", c)
            .buffer("sums", &self.sums)
            .buffer("flags", &self.flags)
            .integer("M", m)
            .integer("N", n)
            .integer("K", k)
            .integer("WHOLE", plan.whole)
            .integer("WORKERS", plan.workers);
        self.kernel(&plan.config)?.prepare(&arguments)
    }

    fn kernel(&self, config: &W4Config) -> Result<Kernel> {
        if let Some(kernel) = self.kernels.borrow().get(config) {
            return Ok(kernel.clone());
        }
        let kernel = Kernel::load(&self.device, "gemm/w4a16.cu", &config.parameters())?;
        self.kernels.borrow_mut().insert(*config, kernel.clone());
        Ok(kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_blocks_fit_as_a_configuration_says() {
        for config in W4_CONFIGS {
            let source = kernels::Source::load("gemm/w4a16.cu", &config.parameters()).unwrap();
            let (_, _, bytes) = source.metadata.block(&source.values).unwrap();
            let of_all = config.occupancy * (bytes as usize + 1024);
            assert!(of_all <= 228 * 1024, "{config:?} takes {bytes} bytes");
            assert!(bytes <= 227 * 1024 && config.stages() >= 4, "{config:?}");
        }
    }

    #[test]
    fn plans_deal_out_every_step_and_leave_no_worker_idle() {
        for m in [1, 8, 9, 64, 65, 200] {
            for (n, k) in [(64, 128), (4096, 4096), (28672, 4096), (8192, 28672)] {
                let all = w4_plans(m, n, k, 132);
                assert!(all.contains(&w4_plan(m, n, k, 132)));
                for W4Plan {
                    config,
                    workers,
                    whole,
                } in all
                {
                    let (tiles, steps) = tiles(&config, m, n, k);
                    assert!(whole <= tiles && workers <= config.occupancy * 132);
                    // Workers beyond the whole tiles need a step of the others each.
                    let busy =
                        if whole >= workers { workers } else { whole }.max((tiles - whole) * steps);
                    assert!(workers >= 1 && workers <= busy, "{config:?} {m},{n},{k}");
                    // A range that is empty would have no part in its tile.
                    assert!(whole == tiles || (tiles - whole) * steps >= workers);
                }
            }
        }
    }
}
