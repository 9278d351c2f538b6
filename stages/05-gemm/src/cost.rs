//! How long a plan should take: the arithmetic that an engineer does before measuring.
//!
//! A model of five terms with the machine's rates; one factor, in `pieces`, is fitted to a measurement. It ranks configurations for products
//! that nobody has tuned, and says why one is slow. Invariant: never below the floor, the larger of bytes over bandwidth and operations over rate.

use crate::config::Config;
use crate::plan::Plan;
use crate::problem::{Element, Problem};
use crate::schedule::Schedule;

/// What the model knows of a GPU; amounts a microsecond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes from device memory.
    pub memory: f64,
    /// Bytes from L2, all multiprocessors together.
    pub l2: f64,
    /// Operations of all tensor cores on 16-bit operands; twice as many on 8-bit ones.
    pub tensor: f64,
    /// Microseconds from asking for a tile to having it.
    pub latency: f64,
    /// Microseconds of a launch in a graph beside its work.
    pub launch: f64,
}

impl Machine {
    /// An H200 in a server. Tensor cores as one run of cuBLAS's largest product gave them; reading memory, L2 and launch rounded from the
    /// record `micro-h200`, and the latency that of a loaded memory, twice what a chase through it shows.
    pub const H200: Self = Self {
        multiprocessors: 132,
        memory: 4.56e6,
        l2: 9e6,
        tensor: 808e6,
        latency: 0.9,
        launch: 0.5,
    };

    /// Operations a microsecond on elements of this type.
    pub fn rate(&self, element: Element) -> f64 {
        self.tensor * 2.0 / element.bytes() as f64
    }

    /// Microseconds that no kernel beats.
    pub fn floor(&self, problem: &Problem) -> f64 {
        (problem.bytes() / self.memory).max(problem.operations() / self.rate(problem.element))
    }
}

/// K-steps of the worker that has the most, all others wait for it: its whole tiles, and its range of the shared steps.
pub fn busiest(schedule: &Schedule) -> usize {
    // ANCHOR: solve-waves
    let shared = (schedule.tiles - schedule.whole) * schedule.steps;
    let alone = schedule.whole.div_ceil(schedule.workers) * schedule.steps;
    alone + shared.div_ceil(schedule.workers)
    // ANCHOR_END: solve-waves
}

/// Waves of the plan: how many tiles' time it takes. A whole number where no tile is shared.
pub fn waves(problem: &Problem, plan: &Plan) -> f64 {
    let schedule = Schedule::new(problem, plan);
    busiest(&schedule) as f64 / schedule.steps as f64
}

/// Microseconds in which the tensor cores of one multiprocessor do a k-step of the plan's tile, padding included.
///
/// Both operands of the instruction come from shared memory at 128 bytes a clock, in which 64 rows cost as much as the arithmetic of 32
/// columns: below 64 columns, reading is the limit, and an instruction takes as long as one of `32 + columns / 2`.
pub fn step(problem: &Problem, plan: &Plan, machine: &Machine) -> f64 {
    let config = plan.config;
    let columns = config.bq.max(32 + config.bq / 2);
    let depth = config.ks * 128 / problem.element.bytes();
    let rate = machine.rate(problem.element) / machine.multiprocessors as f64;
    (2 * config.bp * columns * depth) as f64 / rate
}

/// Bytes that multiprocessors ask of L2: each tile its operands, a cluster's common operand once; rows beyond the edge are not moved.
/// For a tile that is cut, f32 sums out and back, for each worker's range one.
pub fn l2_bytes(problem: &Problem, plan: &Plan) -> f64 {
    let (config, schedule) = (plan.config, Schedule::new(problem, plan));
    let (rows_p, rows_q) = if config.swap {
        (problem.n, problem.m)
    } else {
        (problem.m, problem.n)
    };
    let (tiles_p, tiles_q) = (
        rows_p.div_ceil(config.bp * config.cluster),
        rows_q.div_ceil(config.bq * config.across),
    );
    let operands = (rows_p * tiles_q + rows_q * tiles_p) * problem.k * problem.element.bytes();
    let sums = if schedule.whole < schedule.tiles {
        schedule.workers * config.blocks() * config.bp * config.bq * 2 * 4
    } else {
        0
    };
    (operands + sums) as f64
}

/// Bytes a microsecond from device memory in pieces as long as a stage is wide: rows of 128 bytes were seen to come a fiftieth slower than
/// longer ones, by one product of few tokens.
fn pieces(config: &Config, machine: &Machine) -> f64 {
    machine.memory * if config.ks == 1 { 0.98 } else { 1.0 }
}

/// Predicted microseconds of `plan`.
///
/// ```text
/// launch + latency                          before the first product
/// + the largest of
///     bytes / memory                        both operands once, C once, in pieces of a stage's width (`pieces`)
///     L2 bytes / l2
///     busiest * max(step, latency / stages) a ring of `stages` tiles in flight hides latency only so far
/// + tile * 2 bytes / (l2 / SMs)             the last tile's store, which nothing overlaps
/// + if a tile is cut: 2 * latency + tile * 4 bytes * sharers / (l2 / SMs)
/// ```
///
/// `tile` is `bp * bq`. A tile's sharers, beside its owner, are at most `steps / (shared steps / workers)`, rounded up.
pub fn microseconds(problem: &Problem, plan: &Plan, machine: &Machine) -> f64 {
    let schedule = Schedule::new(problem, plan);
    let step = step(problem, plan, machine);
    // ANCHOR: solve-cost
    let steps = busiest(&schedule).div_ceil(plan.config.split);
    let chain = steps as f64 * step.max(machine.latency / plan.config.stages as f64);
    let memory = problem.bytes() / pieces(&plan.config, machine);
    let l2 = l2_bytes(problem, plan) / machine.l2;
    let tile = (plan.config.bp * plan.config.bq) as f64;
    let own = machine.l2 / machine.multiprocessors as f64;
    let mut time = machine.launch + machine.latency + chain.max(memory).max(l2) + tile * 2.0 / own;
    let shared = (schedule.tiles - schedule.whole) * schedule.steps;
    if shared > 0 {
        let sharers = (schedule.steps * schedule.workers).div_ceil(shared);
        time += 2.0 * machine.latency + tile * 4.0 * sharers as f64 / own;
    }
    time
    // ANCHOR_END: solve-cost
}
