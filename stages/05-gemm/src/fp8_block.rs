//! The GEMM in e4m3 with a scale for each 128 of k: `kernels/gemm/fp8_block.cu`, its configurations, and what picks one.

use crate::config::{Config, config};
use crate::plan::{Plan, Split};
use crate::problem::{Element, Problem};
use kernels::{Arguments, Buffer, Device, Kernel, Launch, Result, Values};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Configurations of the kernel. What does not depend on the element stands at [`crate::CONFIGS`].
pub const BLOCK_CONFIGS: &[Config] = &[
    config(true, 64, 8, 2, 5, 1, 2),
    config(true, 64, 8, 4, 5, 1, 1),
    config(true, 64, 16, 2, 5, 1, 2),
    config(true, 64, 16, 4, 5, 1, 1),
    config(true, 64, 32, 2, 4, 1, 2),
    config(true, 64, 64, 4, 3, 1, 1),
    config(true, 128, 8, 1, 6, 1, 2),
    config(true, 128, 16, 1, 5, 1, 2),
    config(true, 128, 8, 2, 6, 1, 1),
    config(true, 128, 16, 2, 5, 1, 1),
    config(true, 128, 64, 2, 4, 1, 1),
    config(false, 64, 64, 2, 6, 1, 1),
    config(false, 64, 128, 2, 4, 2, 1),
    config(false, 128, 128, 2, 3, 1, 1),
    config(false, 128, 160, 1, 5, 1, 1),
    config(false, 128, 192, 1, 5, 1, 1),
    config(false, 128, 192, 1, 5, 2, 1),
    config(false, 128, 256, 1, 4, 1, 1),
    config(false, 128, 256, 1, 4, 2, 1),
];

/// Columns of a product: as many as the tile has or 128, of which 256 are two.
fn columns(config: &Config) -> usize {
    if config.bq > 192 { 128 } else { config.bq }
}

/// The kernel's parameters for a configuration.
pub fn block_parameters(config: &Config) -> Values {
    let columns = columns(config);
    // Two temporaries where a stage has two products and registers are left.
    let two = config.ks * config.bq / columns >= 2 && config.bq <= 128;
    let store = config.bq.min(if config.occupancy == 2 { 16 } else { 32 });
    let tokens = if config.swap {
        config.bq.max(64)
    } else {
        config.bp
    };
    let set = [
        ("BP", config.bp),
        ("BQ", config.bq),
        ("TN", columns),
        ("TEMPS", 1 + usize::from(two)),
        ("KS", config.ks),
        ("STAGES", config.stages),
        ("CL", config.cluster),
        ("OCC", config.occupancy),
        ("SWAP", usize::from(config.swap)),
        ("CQ", store),
        ("SC", tokens),
    ];
    let set = set.map(|(name, value)| (name.to_owned(), value as i64));
    Values::from(set)
}

/// Where the operands lie on the device, 16-byte aligned; [`crate::Quantised`] says how scales lie.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockOperands {
    /// `A[m, k]`: tokens.
    pub a: u64,
    /// A's scales `[k / 128, stride]`.
    pub scales_a: u64,
    /// `m` rounded up to a multiple of 4, or more.
    pub stride: usize,
    /// `B[n, k]`: weights.
    pub b: u64,
    /// B's scales `[n / 128, k / 128]`.
    pub scales_b: u64,
    /// `C[m, n]` in bf16.
    pub c: u64,
}

/// The kernels of one device, compiled when they are first asked for, and the workspace that they share.
pub struct BlockGemm {
    device: Device,
    kernels: RefCell<BTreeMap<Config, Kernel>>,
    sums: Buffer,
    flags: Buffer,
}

impl BlockGemm {
    /// Prepares for `device`.
    ///
    /// # Errors
    /// If the workspace cannot be had.
    pub fn new(device: &Device) -> Result<Self> {
        let sms = device.multiprocessors() as usize;
        // A block's sums are 128 x 256 in f32; a flag for each of its blocks of 64 rows.
        let sums = device.allocate(sms * 128 * 256 * 4)?;
        let flags = device.allocate(sms * 2 * 4)?;
        device.fill(&flags, 0)?;
        Ok(Self {
            device: device.clone(),
            kernels: RefCell::default(),
            sums,
            flags,
        })
    }

    /// Works out the launch of `plan`.
    ///
    /// # Errors
    /// If the kernel does not compile, or the arrays do not suit TMA.
    pub fn prepare(
        &self,
        problem: &Problem,
        plan: &Plan,
        operands: &BlockOperands,
    ) -> Result<Launch> {
        let kernel = self.kernel(&plan.config)?;
        let Problem { m, n, k, .. } = *problem;
        let (a, b) = ((operands.a, m), (operands.b, n));
        let (p, q) = if plan.config.swap { (b, a) } else { (a, b) };
        let arguments = Arguments::default()
            .address("p", p.0)
            .address("q", q.0)
            .address("c", operands.c)
            .address("token_scales", operands.scales_a)
            .address("weight_scales", operands.scales_b)
            .buffer("sums", &self.sums)
            .buffer("flags", &self.flags)
            .integer("P", p.1)
            .integer("Q", q.1)
            .integer("K", k)
            .integer("STRIDE", operands.stride)
            .integer("PANEL", crate::schedule::panel(problem, plan))
            .integer("WHOLE", plan.whole)
            .integer("WORKERS", plan.workers);
        kernel.prepare(&arguments)
    }

    fn kernel(&self, config: &Config) -> Result<Kernel> {
        if let Some(kernel) = self.kernels.borrow().get(config) {
            return Ok(kernel.clone());
        }
        let kernel = Kernel::load(&self.device, "gemm/fp8_block.cu", &block_parameters(config))?;
        self.kernels.borrow_mut().insert(*config, kernel.clone());
        Ok(kernel)
    }
}

/// All plans that make sense for the problem, and how each came about: as [`crate::plans`] has them.
pub fn block_plans(problem: &Problem, sms: usize) -> Vec<(Split, Plan)> {
    let suits = |config: &&Config| {
        let Config { swap, bq, .. } = **config;
        // Columns of the instruction that no token fills are wasted; so are rows, where weights could have filled them.
        if swap {
            bq < 2 * problem.m.max(5) && bq * 4 >= problem.m.min(512)
        } else {
            problem.m > 64
        }
    };
    let suiting = BLOCK_CONFIGS.iter().filter(suits);
    suiting
        .flat_map(|config| config.plans(problem, sms))
        .collect()
}

/// The plan for the problem on a GPU with `sms` multiprocessors: what was measured best for this layer, as [`crate::plan()`] has it; for a
/// layer that was not measured, the plan with the least expected cycles.
pub fn block_plan(problem: &Problem, sms: usize) -> Plan {
    let problem = Problem {
        element: Element::E4m3,
        ..*problem
    };
    match crate::tuned::find_block(&problem) {
        Some((config, split)) => Plan::new(config, split, &problem, sms),
        None => cheapest(&problem, sms),
    }
}

/// The plan with the least expected cycles.
fn cheapest(problem: &Problem, sms: usize) -> Plan {
    let all = block_plans(problem, sms).into_iter().map(|(_, plan)| plan);
    all.min_by(|a, b| cycles(problem, a).total_cmp(&cycles(problem, b)))
        .expect("some configuration suits every number of tokens")
}

/// What a plan should take, in cycles of a multiprocessor: the slowest worker's steps, each as long as the slowest of the units that it
/// keeps busy, and not less than device memory takes for all bytes.
pub fn cycles(problem: &Problem, plan: &Plan) -> f64 {
    let Config {
        swap,
        bp,
        bq,
        ks,
        cluster,
        occupancy,
        ..
    } = plan.config;
    let (tiles, steps) = plan.config.tiles(problem);
    // 4096 products a cycle; a warpgroup alone waits for its product, about 100 cycles, and promotes, before it begins the next one.
    let tensor = (bp / 64 * bq * ks * 2) as f64;
    let alone = (ks * (bq * 5 / 2 + 100)) as f64;
    // Bytes a cycle that a multiprocessor gets: from L2, and of weights, which come from memory where tokens are few.
    let l2 = ((bp + bq / cluster) * ks * 128) as f64 / 45.0;
    let weights = if swap { bp } else { bq / cluster };
    let memory = if problem.m <= 256 {
        (weights * ks * 128) as f64 / 28.0
    } else {
        0.0
    };
    let step = tensor.max(alone).max(l2).max(memory);
    let rest = tiles - plan.whole;
    let shared = (rest * steps).div_ceil(plan.workers);
    // A cut tile's sums go out and come back; two blocks a multiprocessor hide the start of the next launch.
    let settling = if rest > 0 {
        1500.0 + (bp * bq) as f64 / 16.0
    } else {
        0.0
    };
    let start = if occupancy == 2 { 1000.0 } else { 2500.0 };
    let own = plan.whole.div_ceil(plan.workers) * steps + shared;
    (own as f64 * step).max(problem.bytes() / 2400.0) + settling + start
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [(usize, usize); 4] = [(2112, 7168), (7168, 16384), (24576, 1536), (8, 16)];

    fn problem(m: usize, (n, k): (usize, usize)) -> Problem {
        let element = Element::E4m3;
        Problem { m, n, k, element }
    }

    #[test]
    fn every_configuration_fits_the_chip() {
        for config in BLOCK_CONFIGS {
            let source = kernels::Source::load("gemm/fp8_block.cu", &block_parameters(config));
            let source = source.unwrap();
            let (_, cluster, bytes) = source.metadata.block(&source.values).unwrap();
            assert_eq!(cluster as usize, config.cluster);
            // 227 KB a block; 228 KB a multiprocessor, of which the system keeps 1 KB a block.
            let room = 228 * 1024 / config.occupancy - 1024;
            assert!(bytes as usize <= room, "{config:?} takes {bytes} bytes");
        }
    }

    #[test]
    fn plans_cover_all_tiles_and_fit_the_workspace() {
        for layer in LAYERS {
            for m in [1, 5, 8, 33, 64, 65, 128, 300, 4096] {
                let problem = problem(m, layer);
                let plans = block_plans(&problem, 132);
                let mut plans: Vec<Plan> = plans.into_iter().map(|(_, plan)| plan).collect();
                assert!(plans.contains(&cheapest(&problem, 132)));
                // A tuned plan of more tokens may be of a configuration that fewer would not try.
                plans.push(block_plan(&problem, 132));
                for plan in plans {
                    let (tiles, steps) = plan.config.tiles(&problem);
                    assert!(plan.whole <= tiles && plan.workers > 0);
                    assert!(plan.workers * plan.config.cluster <= 132);
                    // Where two blocks fit a multiprocessor, each gets one, also without work.
                    let kept = plan.config.occupancy > 1 && plan.whole == tiles;
                    assert!(
                        kept || plan.workers <= tiles * steps,
                        "a worker has nothing to do"
                    );
                }
            }
        }
    }

    #[test]
    fn few_tokens_are_columns_and_many_are_rows() {
        for layer in &LAYERS[..3] {
            let problem = problem(8, *layer);
            assert!(cheapest(&problem, 132).config.swap);
            assert!(block_plan(&problem, 132).config.swap);
        }
        let large = problem(4096, (7168, 16384));
        let config = cheapest(&large, 132).config;
        assert_eq!((config.bp, config.bq, config.cluster), (128, 256, 2));
        assert!(!block_plan(&large, 132).config.swap);
    }
}
