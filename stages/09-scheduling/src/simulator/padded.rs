//! The baselines: batches that are put together once and run to their end as rectangles.

use super::{CostModel, Report, Request};

/// Static batching: waits for `batch` requests, however long they take to come.
pub fn static_batching(requests: &[Request], batch: usize, cost: CostModel) -> Report {
    dynamic_batching(requests, batch, f64::INFINITY, cost)
}

/// Dynamic batching: waits until `batch` requests are there, or the first of them has waited `max_wait` seconds.
/// Requests must be in the order of arrival.
///
/// # Panics
/// If `batch` is zero.
pub fn dynamic_batching(
    requests: &[Request],
    batch: usize,
    max_wait: f64,
    cost: CostModel,
) -> Report {
    assert!(batch > 0, "a batch holds at least one request");
    let mut report = Report::new(requests);
    let mut next = 0;
    while next < requests.len() {
        let start = starting_time(&requests[next..], batch, max_wait);
        report.wait_until(start);
        let arrived = requests[next..]
            .iter()
            .take_while(|request| request.arrival <= report.makespan);
        let size = arrived.take(batch).count();
        run_rectangle(&mut report, requests, next..next + size, &cost);
        next += size;
    }
    report
}

/// When the batch is full, or its first request has waited long enough, or nobody else will come.
fn starting_time(queue: &[Request], batch: usize, max_wait: f64) -> f64 {
    let full = queue[batch.min(queue.len()) - 1].arrival;
    full.min(queue[0].arrival + max_wait)
}

/// One prefill of all prompts, padded to the longest, then one step a token until the longest answer ends.
fn run_rectangle(
    report: &mut Report,
    requests: &[Request],
    batch: std::ops::Range<usize>,
    cost: &CostModel,
) {
    // ANCHOR: solve-rectangle
    let rows = &requests[batch.clone()];
    let longest = rows.iter().map(|request| request.prompt).max().unwrap_or(0);
    let useful = rows.iter().map(|request| request.prompt).sum();
    report.step(cost, useful, longest * rows.len() - useful);
    batch.clone().for_each(|request| report.emit(request));

    let steps = rows.iter().map(|request| request.output).max().unwrap_or(0);
    for generated in 1..steps {
        let unfinished: Vec<_> = batch
            .clone()
            .filter(|&request| requests[request].output > generated)
            .collect();
        report.step(cost, unfinished.len(), rows.len() - unfinished.len());
        unfinished
            .into_iter()
            .for_each(|request| report.emit(request));
    }
    // ANCHOR_END: solve-rectangle
}
