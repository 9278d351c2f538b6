//! What planning a step costs, and what ways of batching make of one workload on the simulator's clock.

use benches::Bench;
use scheduling::simulator::{
    CostModel, Percentiles, Report, Request, Workload, continuous, dynamic_batching,
    static_batching,
};
use scheduling::{Policy, Scheduler, SchedulerConfig, SeqId, SequenceSpec};
use std::hint::black_box;

/// A step of 10 ms and 50 us for each token, as a small model on one GPU roughly has.
const COST: CostModel = CostModel {
    per_step: 0.010,
    per_token: 0.000_05,
};
const SEED: u64 = 1;

fn config() -> SchedulerConfig {
    SchedulerConfig {
        max_batched_tokens: 512,
        max_sequences: 32,
        max_model_len: 2048,
        block_size: 16,
        num_blocks: 4096,
        policy: Policy::Fcfs,
        prefix_caching: true,
    }
}

fn main() {
    let mut bench = Bench::new(
        "stage-09",
        "09-scheduling",
        "Planning a step (measured), and ways of batching (counted on the simulator's clock)",
        &["stages/09-scheduling/src"],
    );
    for running in [1usize, 8, 64, 256] {
        time_plan(&mut bench, running);
    }
    compare_policies(&mut bench);
    sweep_budget(&mut bench);
    sweep_rate(&mut bench);
    bench.finish();
}

/// Steps that are timed together, each of `running` sequences that generate: plan and commit.
const STEPS: usize = 64;

fn time_plan(bench: &mut Bench, running: usize) {
    let generating = || {
        let limits = SchedulerConfig {
            max_batched_tokens: 4096,
            max_sequences: 256,
            ..config()
        };
        let mut scheduler = Scheduler::new(limits).expect("limits that agree");
        for id in 0..running as u64 {
            let spec = SequenceSpec {
                id: SeqId(id),
                prompt: vec![1; 8],
                max_new_tokens: 2 * STEPS,
                priority: 0,
                salt: id,
                reuse_prefix: false,
            };
            scheduler.add(spec).expect("it fits");
        }
        step(&mut scheduler);
        scheduler
    };
    bench.measure(&format!("plan-and-commit/{running}"), STEPS, |b| {
        b.iter_batched(
            generating,
            |mut scheduler| {
                (0..STEPS).for_each(|_| step(&mut scheduler));
                scheduler
            },
            criterion::BatchSize::LargeInput,
        )
    });
}

fn step(scheduler: &mut Scheduler) {
    let plan = black_box(scheduler.plan());
    let sampled: Vec<_> = plan.work.iter().map(|work| (work.id, 1)).collect();
    scheduler.commit(&plan, &sampled);
}

fn compare_policies(bench: &mut Bench) {
    let workload = Workload {
        requests: 400,
        rate: 8.0,
        prompt: (16, 1024),
        output: (8, 512),
    };
    let requests = workload.generate(SEED);
    let reports = [
        ("static", static_batching(&requests, 32, COST)),
        ("dynamic", dynamic_batching(&requests, 32, 0.5, COST)),
        (
            "continuous",
            continuous(&requests, config(), COST).expect("they fit"),
        ),
    ];
    for (name, report) in &reports {
        bench.count(
            &format!("padding-{name}"),
            "%",
            100.0 * report.padding_waste(),
        );
        bench.count(
            &format!("throughput-{name}"),
            "tokens/s",
            report.throughput(),
        );
        let whole = whole_latency(report);
        for (what, value) in [("p50", whole.p50), ("p90", whole.p90), ("p99", whole.p99)] {
            bench.count(&format!("latency-{what}-{name}"), "ns", value * 1e9);
        }
        bench.count(
            &format!("first-token-p50-{name}"),
            "ns",
            report.time_to_first_token().p50 * 1e9,
        );
    }
}

/// From arrival to the last token.
fn whole_latency(report: &Report) -> Percentiles {
    let ends = report.emitted.iter().zip(&report.arrivals);
    Percentiles::of(
        ends.filter_map(|(times, arrival)| Some(times.last()? - arrival))
            .collect(),
    )
}

/// Larger chunks bring a prompt's first token sooner and hold up everybody who generates.
fn sweep_budget(bench: &mut Bench) {
    let mut requests: Vec<Request> = (0..16)
        .map(|_| Request {
            arrival: 0.0,
            prompt: 8,
            output: 200,
        })
        .collect();
    requests.push(Request {
        arrival: 1.0,
        prompt: 2000,
        output: 8,
    });
    for budget in [64usize, 128, 256, 512, 1024, 2048] {
        let report = continuous(
            &requests,
            SchedulerConfig {
                max_batched_tokens: budget,
                ..config()
            },
            COST,
        )
        .expect("they fit");
        let first = report.emitted[16][0] - 1.0;
        bench.count(
            &format!("first-token-of-a-long-prompt/{budget}"),
            "ns",
            first * 1e9,
        );
        bench.count(
            &format!("longest-gap-of-the-others/{budget}"),
            "ns",
            report.longest_gap() * 1e9,
        );
    }
}

/// Throughput rises with the load until the batch is full; latency rises from then on.
fn sweep_rate(bench: &mut Bench) {
    for rate in [1usize, 2, 4, 8, 16, 32] {
        let workload = Workload {
            requests: 400,
            rate: rate as f64,
            prompt: (16, 1024),
            output: (8, 512),
        };
        let report = continuous(&workload.generate(SEED), config(), COST).expect("they fit");
        bench.count(
            &format!("throughput-at-rate/{rate}"),
            "tokens/s",
            report.throughput(),
        );
        bench.count(
            &format!("latency-p50-at-rate/{rate}"),
            "ns",
            whole_latency(&report).p50 * 1e9,
        );
        bench.count(
            &format!("latency-p99-at-rate/{rate}"),
            "ns",
            whole_latency(&report).p99 * 1e9,
        );
    }
}
