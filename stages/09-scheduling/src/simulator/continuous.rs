//! Continuous batching: the real scheduler between simulated steps.

use super::{CostModel, Report, Request};
use crate::{AdmitError, Scheduler, SchedulerConfig, SeqId, SequenceSpec};

/// Runs all requests with prompts that share nothing and equal priority.
///
/// # Errors
/// [`AdmitError`] if a request cannot run under `config`.
///
/// # Panics
/// If `config` contradicts itself.
pub fn continuous(
    requests: &[Request],
    config: SchedulerConfig,
    cost: CostModel,
) -> Result<Report, AdmitError> {
    continuous_with(requests, config, cost, |_| 0)
}

/// As [`continuous`], with a priority for each request by its index.
///
/// # Errors
/// [`AdmitError`] if a request cannot run under `config`.
///
/// # Panics
/// If `config` contradicts itself.
pub fn continuous_with(
    requests: &[Request],
    config: SchedulerConfig,
    cost: CostModel,
    priority: impl Fn(usize) -> i32,
) -> Result<Report, AdmitError> {
    let mut scheduler = Scheduler::new(config).expect("the caller's configuration");
    let mut report = Report::new(requests);
    let mut next = 0;
    loop {
        while next < requests.len() && requests[next].arrival <= report.makespan {
            scheduler.add(spec(next, &requests[next], priority(next)))?;
            next += 1;
        }
        if !scheduler.is_idle() {
            step(&mut scheduler, &mut report, &cost);
        } else if next < requests.len() {
            report.wait_until(requests[next].arrival);
        } else {
            report.preemptions = scheduler.stats().preemptions;
            return Ok(report);
        }
    }
}

/// Plans, lets the step's time pass, and gives every sequence that samples a token.
fn step(scheduler: &mut Scheduler, report: &mut Report, cost: &CostModel) {
    let plan = scheduler.plan();
    report.step(cost, plan.tokens(), 0);
    let sampled: Vec<_> = plan
        .work
        .iter()
        .filter(|work| work.samples)
        .map(|work| (work.id, 0))
        .collect();
    scheduler.commit(&plan, &sampled);
    sampled
        .iter()
        .for_each(|(id, _)| report.emit(id.0 as usize));
}

fn spec(index: usize, request: &Request, priority: i32) -> SequenceSpec {
    SequenceSpec {
        id: SeqId(index as u64),
        // A salt of its own keeps every prompt apart, whatever its tokens.
        salt: index as u64,
        prompt: vec![0; request.prompt],
        max_new_tokens: request.output,
        priority,
        reuse_prefix: true,
    }
}
