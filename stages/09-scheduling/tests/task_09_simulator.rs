//! Task 9: what continuous batching gains, measured on a simulated clock.

mod common;

use rand::RngExt;
use scheduling::simulator::{
    CostModel, Percentiles, Report, Request, Workload, continuous, continuous_with,
    dynamic_batching, static_batching,
};
use scheduling::{AdmitError, Policy, SchedulerConfig};

const COST: CostModel = CostModel {
    per_step: 0.010,
    per_token: 0.000_05,
};
const MIXED: Workload = Workload {
    requests: 200,
    rate: 50.0,
    prompt: (8, 512),
    output: (4, 256),
};

fn limits() -> SchedulerConfig {
    SchedulerConfig {
        max_batched_tokens: 256,
        max_sequences: 16,
        max_model_len: 1024,
        block_size: 16,
        num_blocks: 16 * 64,
        policy: Policy::Fcfs,
        prefix_caching: true,
    }
}

fn each_request_is_answered(report: &Report, requests: &[Request]) {
    for (times, request) in report.emitted.iter().zip(requests) {
        assert_eq!(times.len(), request.output);
        assert!(times[0] > request.arrival && times.is_sorted());
    }
    assert_eq!(report.emitted.len(), requests.len());
}

#[test]
fn continuous_beats_the_baselines_on_mixed_lengths() {
    let requests = MIXED.generate(common::rng().random());
    let statically = static_batching(&requests, 16, COST);
    let dynamically = dynamic_batching(&requests, 16, 0.2, COST);
    let continuously = continuous(&requests, limits(), COST).unwrap();
    for report in [&statically, &dynamically, &continuously] {
        each_request_is_answered(report, &requests);
    }
    for baseline in [&statically, &dynamically] {
        assert!(continuously.throughput() > 1.3 * baseline.throughput());
        assert!(continuously.time_to_first_token().p50 < baseline.time_to_first_token().p50);
        assert!(
            baseline.padding_waste() > 0.2,
            "{}",
            baseline.padding_waste()
        );
    }
    assert_eq!(continuously.padded_tokens, 0);
}

#[test]
fn padding_is_what_the_rectangles_add() {
    let request = |prompt, output| Request {
        arrival: 0.0,
        prompt,
        output,
    };
    let report = static_batching(&[request(3, 1), request(5, 4)], 2, COST);
    // Prompts: 2 of 10. Then three steps of two rows, one of which has ended.
    assert_eq!(
        (report.padded_tokens, report.computed_tokens, report.steps),
        (2 + 3, 10 + 6, 4)
    );
    let expected = COST.per_step * 4.0 + COST.per_token * 16.0;
    assert!((report.makespan - expected).abs() < 1e-12);
    let equal = static_batching(&[request(5, 4); 2], 2, COST);
    assert_eq!(equal.padding_waste(), 0.0);
}

#[test]
fn dynamic_batching_waits_no_longer_than_its_deadline() {
    let at = |arrival| Request {
        arrival,
        prompt: 4,
        output: 1,
    };
    let requests = [at(1.0), at(1.1), at(9.0)];
    let step = |tokens: f64| COST.per_step + COST.per_token * tokens;
    let dynamic = dynamic_batching(&requests, 3, 0.5, COST);
    assert_eq!(dynamic.emitted[0], dynamic.emitted[1]);
    assert!((dynamic.emitted[0][0] - (1.5 + step(8.0))).abs() < 1e-12);
    let statically = static_batching(&requests, 3, COST);
    assert!((statically.emitted[0][0] - (9.0 + step(12.0))).abs() < 1e-12);
}

#[test]
fn chunks_bound_the_longest_gap_of_those_that_generate() {
    let mut requests = vec![Request {
        arrival: 0.0,
        prompt: 4,
        output: 100,
    }];
    requests.push(Request {
        arrival: 0.2,
        prompt: 900,
        output: 4,
    });
    let gap = |max_batched_tokens| {
        let report = continuous(
            &requests,
            SchedulerConfig {
                max_batched_tokens,
                ..limits()
            },
            COST,
        )
        .unwrap();
        report.longest_gap()
    };
    let bound = COST.per_step + COST.per_token * 64.0;
    assert!(gap(64) <= bound + 1e-9);
    assert!(gap(1024) > COST.per_step + COST.per_token * 900.0);
}

#[test]
fn first_come_first_served_is_fair_and_priority_is_not() {
    let requests = MIXED.generate(common::rng().random());
    let fair = continuous(&requests, limits(), COST).unwrap();
    let firsts: Vec<_> = fair.emitted.iter().map(|times| times[0]).collect();
    assert!(
        fair.preemptions == 0 && firsts.is_sorted(),
        "first tokens come in the order of arrival"
    );

    let policy = SchedulerConfig {
        policy: Policy::Priority,
        ..limits()
    };
    let urgent = |index: usize| if index.is_multiple_of(4) { -1 } else { 0 };
    let report = continuous_with(&requests, policy, COST, urgent).unwrap();
    each_request_is_answered(&report, &requests);
    let waits = |is_urgent: bool| {
        let chosen = (0..requests.len()).filter(|&index| (urgent(index) < 0) == is_urgent);
        Percentiles::of(
            chosen
                .map(|index| report.emitted[index][0] - requests[index].arrival)
                .collect(),
        )
    };
    assert!(waits(true).p50 < waits(false).p50);
}

#[test]
fn scarce_blocks_cost_preemptions_and_no_answers() {
    let requests = MIXED.generate(common::rng().random());
    let scarce = SchedulerConfig {
        num_blocks: 56,
        ..limits()
    };
    let report = continuous(&requests, scarce, COST).unwrap();
    each_request_is_answered(&report, &requests);
    assert!(report.preemptions > 0);
    let impossible = SchedulerConfig {
        num_blocks: 2,
        ..limits()
    };
    assert!(matches!(
        continuous(&requests, impossible, COST),
        Err(AdmitError::LargerThanPool { .. })
    ));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let seed = common::rng().random();
    let run = |seed| {
        let scarce = SchedulerConfig {
            num_blocks: 64,
            ..limits()
        };
        continuous(&MIXED.generate(seed), scarce, COST).unwrap()
    };
    assert_eq!(run(seed), run(seed));
    assert_ne!(run(seed), run(seed ^ 1));
}

#[test]
fn nothing_to_do_takes_no_time() {
    for report in [
        static_batching(&[], 4, COST),
        continuous(&[], limits(), COST).unwrap(),
    ] {
        assert_eq!((report.makespan, report.steps), (0.0, 0));
        assert!(report.time_to_first_token().p50.is_nan());
    }
}
