//! A clock that stays.

use gemm::Problem;
use gemm::cost::Machine;
use kernels::Result;
use std::time::{Duration, Instant};

/// What a GPU at its power limit needs until its clock stays: an H200's goes on falling for a tenth of a second after a pause.
const SETTLING: Duration = Duration::from_millis(150);

/// Repeats `work` until the clock is the one that this work keeps, as on a server under load, which never rests. Does nothing where the
/// product leaves the tensor cores idle for more than half of the time, so that its power does not set the clock.
pub fn settle(
    machine: &Machine,
    problem: &Problem,
    mut work: impl FnMut() -> Result<()>,
) -> Result<()> {
    let busy = problem.operations() / machine.rate(problem.element);
    if 2.0 * busy < machine.floor(problem) {
        return Ok(());
    }
    let begun = Instant::now();
    while begun.elapsed() < SETTLING {
        work()?;
    }
    Ok(())
}
