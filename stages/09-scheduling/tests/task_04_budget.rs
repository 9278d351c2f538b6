//! Task 4: one budget of tokens, whoever spends it: prompts in chunks, and every sequence that generates first.

mod common;

use common::{Device, config, solo, spec};
use scheduling::{Scheduler, SchedulerConfig, SeqId, Work};

#[test]
fn a_long_prompt_is_cut_to_the_budget() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(1, 37, 2)).unwrap();
    let mut device = Device::default();
    let mut chunks = Vec::new();
    while !scheduler.is_idle() {
        chunks.extend(device.step(&mut scheduler, &config()).work);
    }
    let work = |start, len, samples| Work {
        id: SeqId(1),
        start,
        len,
        samples,
    };
    assert_eq!(
        chunks,
        [
            work(0, 16, false),
            work(16, 16, false),
            work(32, 5, true),
            work(37, 1, true)
        ]
    );
    assert_eq!(scheduler.tokens(SeqId(1)), solo(&spec(1, 37, 2)));
}

#[test]
fn generation_does_not_wait_for_a_long_prompt() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    let mut device = Device::default();
    scheduler.add(spec(1, 3, 20)).unwrap();
    scheduler.add(spec(2, 2, 20)).unwrap();
    device.step(&mut scheduler, &config());
    scheduler.add(spec(3, 60, 4)).unwrap();
    for _ in 0..4 {
        let plan = device.step(&mut scheduler, &config());
        let lens: Vec<_> = plan.work.iter().map(|work| (work.id.0, work.len)).collect();
        assert_eq!(lens, [(1, 1), (2, 1), (3, 14)]);
    }
}

/// What just fits the pool was admitted, and so it finishes.
#[test]
fn what_was_admitted_finishes_in_a_pool_that_just_holds_it() {
    let small = SchedulerConfig {
        num_blocks: 4,
        ..config()
    };
    let mut scheduler = Scheduler::new(small).unwrap();
    scheduler.add(spec(1, 10, 7)).unwrap();
    let mut device = Device::default();
    while !scheduler.is_idle() {
        device.step(&mut scheduler, &small);
    }
    assert_eq!(scheduler.tokens(SeqId(1)), solo(&spec(1, 10, 7)));
}
