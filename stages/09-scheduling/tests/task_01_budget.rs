//! One budget of tokens, whoever spends it: prompts in chunks, and every sequence that generates first.

mod common;

use common::{Device, config, solo, spec};
use scheduling::{AdmitError, ConfigError, Scheduler, SchedulerConfig, SeqId, Work};

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

#[test]
fn the_batch_is_not_larger_than_allowed() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    (0..9).for_each(|id| scheduler.add(spec(id, 1, 3)).unwrap());
    let plan = Device::default().step(&mut scheduler, &config());
    assert_eq!(
        (plan.work.len(), scheduler.running(), scheduler.waiting()),
        (4, 4, 5)
    );
    assert_eq!(plan.admitted, [SeqId(0), SeqId(1), SeqId(2), SeqId(3)]);
}

#[test]
fn what_cannot_finish_is_refused() {
    let small = SchedulerConfig {
        num_blocks: 4,
        ..config()
    };
    let mut scheduler = Scheduler::new(small).unwrap();
    assert_eq!(scheduler.add(spec(1, 0, 4)), Err(AdmitError::EmptyPrompt));
    assert_eq!(
        scheduler.add(spec(1, 60, 5)),
        Err(AdmitError::TooLong {
            prompt: 60,
            new: 5,
            limit: 64
        })
    );
    assert!(scheduler.add(spec(1, 1, usize::MAX)).is_err());
    assert_eq!(
        scheduler.add(spec(1, 10, 8)),
        Err(AdmitError::LargerThanPool {
            needed: 5,
            total: 4
        })
    );
    // 17 tokens of which 16 are stored: the last one is only told.
    scheduler.add(spec(1, 10, 7)).unwrap();
    assert_eq!(
        scheduler.add(spec(1, 1, 1)),
        Err(AdmitError::DuplicateId(SeqId(1)))
    );
    let mut device = Device::default();
    while !scheduler.is_idle() {
        device.step(&mut scheduler, &small);
    }
    assert_eq!(scheduler.tokens(SeqId(1)), solo(&spec(1, 10, 7)));
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let zero = SchedulerConfig {
        block_size: 0,
        ..config()
    };
    assert_eq!(
        Scheduler::new(zero).unwrap_err(),
        ConfigError::Zero {
            field: "block_size"
        }
    );
    let tight = SchedulerConfig {
        max_batched_tokens: 3,
        ..config()
    };
    assert_eq!(
        Scheduler::new(tight).unwrap_err(),
        ConfigError::BudgetTooSmall {
            tokens: 3,
            sequences: 4
        }
    );
}

#[test]
fn with_nothing_to_generate_the_prompt_is_computed() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(1, 5, 0)).unwrap();
    let plan = Device::default().step(&mut scheduler, &config());
    assert!(plan.work[0].samples && scheduler.is_idle());
    assert_eq!(scheduler.tokens(SeqId(1)), spec(1, 5, 0).prompt);
    assert_eq!(scheduler.kv().used_blocks(), 0);
}
