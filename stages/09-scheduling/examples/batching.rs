//! Prints what the ways of batching make of one workload: `cargo run -p stage-09 --example batching`.

use scheduling::simulator::{
    CostModel, Report, Workload, continuous, dynamic_batching, static_batching,
};
use scheduling::{AdmitError, Policy, SchedulerConfig};

fn main() -> Result<(), AdmitError> {
    let workload = Workload {
        requests: 400,
        rate: 8.0,
        prompt: (16, 1024),
        output: (8, 512),
    };
    let requests = workload.generate(1);
    let cost = CostModel {
        per_step: 0.010,
        per_token: 0.000_05,
    };
    let config = SchedulerConfig {
        max_batched_tokens: 512,
        max_sequences: 32,
        max_model_len: 2048,
        block_size: 16,
        num_blocks: 1024,
        policy: Policy::Fcfs,
        prefix_caching: true,
    };
    let unchunked = SchedulerConfig {
        max_batched_tokens: 32 * 1024,
        ..config
    };
    let scarce = SchedulerConfig {
        num_blocks: 256,
        ..config
    };
    println!(
        "{:24} {:>8} {:>19} {:>19} {:>8} {:>8} {:>9}",
        "", "token/s", "TTFT p50 p99 (s)", "token p50 p99 (ms)", "gap (ms)", "padding", "preempted"
    );
    row("static, 32", &static_batching(&requests, 32, cost));
    row(
        "dynamic, 32 or 0.5 s",
        &dynamic_batching(&requests, 32, 0.5, cost),
    );
    row(
        "continuous, unchunked",
        &continuous(&requests, unchunked, cost)?,
    );
    row("continuous, chunked", &continuous(&requests, config, cost)?);
    row(
        "same, a quarter of KV",
        &continuous(&requests, scarce, cost)?,
    );
    Ok(())
}

fn row(name: &str, report: &Report) {
    let (first, token) = (report.time_to_first_token(), report.token_latency());
    println!(
        "{name:24} {:8.0} {:9.2} {:9.2} {:9.1} {:9.1} {:8.0} {:7.1}% {:9}",
        report.throughput(),
        first.p50,
        first.p99,
        1e3 * token.p50,
        1e3 * token.p99,
        1e3 * report.longest_gap(),
        100.0 * report.padding_waste(),
        report.preemptions,
    );
}
