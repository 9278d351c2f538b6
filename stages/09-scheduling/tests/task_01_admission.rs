//! Task 1: what cannot finish is refused, and what is accepted will finish.

mod common;

use common::{config, spec};
use scheduling::{AdmitError, ConfigError, Scheduler, SchedulerConfig, SeqId};

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
    // A count that a client made up must not wrap around to a small one.
    assert!(matches!(
        scheduler.add(spec(1, 1, usize::MAX)),
        Err(AdmitError::TooLong { .. })
    ));
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
