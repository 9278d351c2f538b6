//! Task 2: sequences start in order while the batch, the budget and the blocks allow.

mod common;

use common::{config, spec};
use scheduling::{Scheduler, SchedulerConfig, SeqId, SequenceSpec, StepPlan};

/// The first plan of a scheduler that was given `specs`.
fn first_plan(
    limits: SchedulerConfig,
    specs: impl IntoIterator<Item = SequenceSpec>,
) -> (Scheduler, StepPlan) {
    let mut scheduler = Scheduler::new(limits).unwrap();
    specs
        .into_iter()
        .for_each(|spec| scheduler.add(spec).unwrap());
    let plan = scheduler.plan();
    scheduler.check();
    assert!(plan.tokens() <= limits.max_batched_tokens);
    (scheduler, plan)
}

fn lens(plan: &StepPlan) -> Vec<(u64, usize)> {
    plan.work.iter().map(|work| (work.id.0, work.len)).collect()
}

#[test]
fn the_batch_is_not_larger_than_allowed() {
    let (scheduler, plan) = first_plan(config(), (0..9).map(|id| spec(id, 1, 3)));
    assert_eq!(
        (plan.work.len(), scheduler.running(), scheduler.waiting()),
        (4, 4, 5)
    );
    assert_eq!(plan.admitted, [SeqId(0), SeqId(1), SeqId(2), SeqId(3)]);
}

#[test]
fn the_budget_is_spent_in_order_and_not_exceeded() {
    let (scheduler, plan) = first_plan(config(), [spec(1, 9, 3), spec(2, 20, 3), spec(3, 1, 3)]);
    // The second prompt gets what the first left, and has all its blocks; the third waits although it is short.
    assert_eq!(lens(&plan), [(1, 9), (2, 7)]);
    assert!(plan.work[0].samples && !plan.work[1].samples);
    assert_eq!(
        (scheduler.waiting(), scheduler.kv().used_blocks()),
        (1, 3 + 5)
    );
}

#[test]
fn none_starts_without_blocks_and_none_overtakes() {
    let limits = SchedulerConfig {
        num_blocks: 4,
        ..config()
    };
    let (scheduler, plan) = first_plan(limits, [spec(1, 5, 2), spec(2, 12, 2), spec(3, 1, 2)]);
    // 2 of 4 blocks are taken; 12 tokens need 3, and the third, which needs 1, waits behind.
    assert_eq!(lens(&plan), [(1, 5)]);
    assert_eq!((scheduler.running(), scheduler.waiting()), (1, 2));
}

#[test]
fn each_running_sequence_has_a_block_to_grow_into() {
    let limits = SchedulerConfig {
        num_blocks: 4,
        ..config()
    };
    let (_, plan) = first_plan(limits, [spec(1, 4, 8), spec(2, 4, 8), spec(3, 4, 8)]);
    // The third would fit, and leave the two before it without room for their next tokens.
    assert_eq!(plan.admitted, [SeqId(1), SeqId(2)]);
}
