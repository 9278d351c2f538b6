//! The cost model: what a plan should take, from its rounds, its k-steps and its bytes.

use crate::plan::{Plan, Split};
use crate::problem::Problem;

/// Expected microseconds.
pub fn microseconds(problem: &Problem, plan: &Plan, sms: usize) -> f64 {
    let config = plan.config;
    let (tiles, steps) = config.tiles(problem);
    let (workers, whole) = plan.deal(problem, sms);
    let cut = ((tiles - whole) * steps).div_ceil(workers);
    let rounds = whole.div_ceil(workers) * steps + cut;
    // A k-step at the rate of the tensor cores, or of what L2 can hand one multiprocessor.
    let cells = (config.bp * config.bq * config.ks) as f64;
    let bytes = ((config.bp + config.bq / config.cluster) * config.ks * 128) as f64;
    let step = (cells * 64.0 / 2048.0 / 1.6e3).max(bytes / 75e3);
    let sharing = if plan.split == Split::Whole { 0.0 } else { 2.0 };
    let memory = problem.bytes() / 4.25e6;
    (rounds as f64 * step).max(memory) + 3.0 + sharing
}
