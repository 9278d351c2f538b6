//! Task `cost`: what a plan should take, and what it chooses.

use gemm::cost::{Machine, busiest, microseconds, step};
use gemm::{CONFIGS, Config, Element, Plan, Problem, Schedule};
use proptest::prelude::*;

const H200: Machine = Machine::H200;

fn problem(m: usize, n: usize, k: usize) -> Problem {
    Problem {
        m,
        n,
        k,
        element: Element::Bf16,
    }
}

/// Every configuration with whole tiles, and with all tiles of the last wave shared: no filter takes part in the choice.
fn all_plans(problem: &Problem) -> Vec<Plan> {
    let of = |config: &Config| {
        let (tiles, steps) = config.tiles(problem);
        let most = H200.multiprocessors / config.blocks();
        let plan = |workers, whole| Plan {
            config: *config,
            workers,
            whole,
        };
        [
            plan(most.min(tiles), tiles),
            plan(most.min(tiles * steps), tiles / most * most),
        ]
    };
    CONFIGS.iter().flat_map(of).collect()
}

fn best(problem: &Problem) -> Plan {
    let cost = |plan: &Plan| microseconds(problem, plan, &H200);
    let plans = all_plans(problem);
    let least = plans.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
    *least.unwrap()
}

/// The plan of whole tiles for a configuration.
fn whole(problem: &Problem, config: Config) -> Plan {
    let (tiles, _) = config.tiles(problem);
    Plan {
        config,
        workers: (H200.multiprocessors / config.blocks()).min(tiles),
        whole: tiles,
    }
}

proptest! {
    #[test]
    fn never_below_the_floor(m in 1..5000_usize, n in 1..600_usize, k in 1..600_usize, int8: bool) {
        let element = if int8 { Element::Int8 } else { Element::Bf16 };
        let problem = Problem { m, n: n * 16, k: k * 16, element };
        for plan in all_plans(&problem) {
            let (time, floor) = (microseconds(&problem, &plan, &H200), H200.floor(&problem));
            prop_assert!(time >= floor + H200.launch, "{time} < {floor}: {plan:?}");
        }
    }

    #[test]
    fn more_work_takes_no_less_time(
        config in 0..CONFIGS.len(), m in 1..3000_usize, n in 1..600_usize, k in 1..600_usize, more in 1..100_usize
    ) {
        let config = CONFIGS[config];
        let cost = |m, n, k| {
            let problem = problem(m, n * 8, k * 8);
            microseconds(&problem, &whole(&problem, config), &H200)
        };
        let now = cost(m, n, k);
        prop_assert!(cost(m + more, n, k) >= now, "m");
        prop_assert!(cost(m, n + more, k) >= now, "n");
        prop_assert!(cost(m, n, k + more) >= now, "k");
    }
}

#[test]
fn few_tokens_take_the_columns_of_the_instruction() {
    for (n, k) in [(4096, 4096), (28672, 4096), (4096, 14336), (8192, 28672)] {
        for m in [1, 8, 16, 32, 64] {
            let plan = best(&problem(m, n, k));
            assert!(plan.config.swap, "{m},{n},{k}: {plan:?}");
            assert!(plan.config.bq <= 2 * m.max(8), "{m},{n},{k}: {plan:?}");
        }
    }
}

#[test]
fn many_tokens_take_large_tiles_or_tiles_that_share() {
    for (m, n, k) in [(8192, 8192, 8192), (8192, 28672, 4096), (4096, 6144, 4096)] {
        let config = best(&problem(m, n, k)).config;
        // What the blocks of a cluster ask of L2 once.
        let (rows, columns) = (config.bp * config.cluster, config.bq * config.across);
        assert!(
            rows >= 128 && rows * columns >= 128 * 256,
            "{m},{n},{k}: {config:?}"
        );
    }
}

#[test]
fn each_term_is_there() {
    let config = |swap, bp, bq| {
        let found = CONFIGS
            .iter()
            .find(|c| (c.swap, c.bp, c.bq, c.cluster * c.across) == (swap, bp, bq, 1));
        *found.unwrap()
    };
    let near = |found: f64, expected: f64| {
        assert!(
            (found / expected - 1.0).abs() < 1e-9,
            "{found}, not {expected}"
        );
    };
    let start = H200.launch + H200.latency;
    let own = H200.l2 / 132.0;
    // Arithmetic: 32 x 32 tiles of 128 x 256, 8 waves of 128 steps.
    let large = problem(4096, 8192, 8192);
    let plan = whole(&large, config(false, 128, 256));
    let schedule = Schedule::new(&large, &plan);
    assert_eq!(busiest(&schedule), 8 * 128);
    let fast = Machine {
        l2: H200.l2 * 4.0,
        ..H200
    };
    near(
        microseconds(&large, &plan, &fast),
        start + 8.0 * 128.0 * step(&large, &plan, &fast) + (128 * 256) as f64 * 2.0 / (own * 4.0),
    );
    // Latency: one tile, whose steps come one behind another through a ring.
    let narrow = problem(8, 64, 8192);
    let plan = whole(&narrow, config(true, 64, 8));
    let (steps, stages) = (64.0, plan.config.stages as f64);
    near(
        microseconds(&narrow, &plan, &H200),
        start + steps * H200.latency / stages + 512.0 * 2.0 / own,
    );
    // The same tile cut for 16 workers: four steps each, and fifteen sums to add and an owner's.
    let cut = Plan {
        workers: 16,
        whole: 0,
        ..plan
    };
    near(
        microseconds(&narrow, &cut, &H200),
        start
            + 4.0 * H200.latency / stages
            + 512.0 * 2.0 / own
            + 2.0 * H200.latency
            + 16.0 * 512.0 * 4.0 / own,
    );
    // Device memory: the weights of a large layer once.
    let weights = problem(1, 28672, 4096);
    let plan = whole(&weights, config(true, 64, 8));
    let slow = Machine {
        memory: H200.memory / 10.0,
        ..H200
    };
    near(
        microseconds(&weights, &plan, &slow),
        start + weights.bytes() / slow.memory + 512.0 * 2.0 / own,
    );
    // L2: tiles of 8 tokens read the weights again for each.
    let again = problem(64, 28672, 4096);
    let plan = whole(&again, config(true, 64, 8));
    let slow = Machine {
        l2: H200.l2 / 10.0,
        ..H200
    };
    let bytes = (28672 * 8 + 64 * 448) * 4096 * 2;
    near(
        microseconds(&again, &plan, &slow),
        start + bytes as f64 / slow.l2 + 512.0 * 2.0 / (slow.l2 / 132.0),
    );
}
