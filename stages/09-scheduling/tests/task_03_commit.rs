//! Task 3: what a step computed is noted once, for the sequences that are still there.

mod common;

use common::{Device, config, spec};
use scheduling::{Scheduler, SeqId};

#[test]
fn with_nothing_to_generate_the_prompt_is_computed() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(1, 5, 0)).unwrap();
    let plan = Device::default().step(&mut scheduler, &config());
    assert!(plan.work[0].samples && scheduler.is_idle());
    assert_eq!(scheduler.tokens(SeqId(1)), spec(1, 5, 0).prompt);
    assert_eq!(scheduler.kv().used_blocks(), 0);
}

#[test]
fn a_sampled_token_follows_the_computed_ones() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(1, 6, 3)).unwrap();
    scheduler.add(spec(2, 30, 3)).unwrap();
    let plan = scheduler.plan();
    scheduler.commit(&plan, &[(SeqId(1), 42)]);
    scheduler.check();
    assert_eq!(
        scheduler.tokens(SeqId(1)),
        [&spec(1, 6, 3).prompt[..], &[42]].concat()
    );
    assert_eq!(
        scheduler.page_table(SeqId(1)).len(),
        6,
        "the sampled token is not computed yet"
    );
    assert_eq!(
        scheduler.page_table(SeqId(2)).len(),
        10,
        "a chunk of the second prompt is"
    );
    assert_eq!(scheduler.stats().computed_tokens, 16);
}

/// Who has all its tokens gives its blocks back and can still be read.
#[test]
fn the_last_token_frees_the_blocks() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(1, 6, 1)).unwrap();
    let plan = scheduler.plan();
    assert_eq!(scheduler.kv().used_blocks(), 2);
    scheduler.commit(&plan, &[(SeqId(1), 42)]);
    assert_eq!(
        (scheduler.kv().used_blocks(), scheduler.is_idle()),
        (0, true)
    );
    assert_eq!(scheduler.tokens(SeqId(1)).last(), Some(&42));
    scheduler.check();
}

/// A token for a prompt that is not computed whole was sampled from the wrong row; it is not taken.
#[test]
fn a_token_amid_a_prompt_is_not_taken() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(1, 30, 3)).unwrap();
    let plan = scheduler.plan();
    scheduler.commit(&plan, &[(SeqId(1), 42)]);
    assert_eq!(scheduler.tokens(SeqId(1)), spec(1, 30, 3).prompt);
}

#[test]
fn a_plan_for_a_sequence_that_left_is_passed_over() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(3, 5, 4)).unwrap();
    let plan = scheduler.plan();
    scheduler.abort(SeqId(3)); // between plan and commit
    scheduler.add(spec(3, 5, 4)).unwrap(); // and the id is used again
    scheduler.commit(&plan, &[(SeqId(3), 42)]);
    scheduler.check();
    assert_eq!(scheduler.tokens(SeqId(3)), spec(3, 5, 4).prompt);
    assert_eq!(scheduler.stats().computed_tokens, 0);
}
