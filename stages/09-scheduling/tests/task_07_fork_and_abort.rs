//! Task 7: several answers to one prompt share its blocks; whoever leaves gives everything back at once, in any state.

mod common;

use common::{Device, config, next_token, spec};
use scheduling::{ForkError, Scheduler, SchedulerConfig, SeqId};

#[test]
fn forks_share_the_prompt_and_then_part() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    let mut device = Device::default();
    scheduler.add(spec(1, 14, 6)).unwrap();
    assert_eq!(
        scheduler.fork(SeqId(1), SeqId(2), 0),
        Err(ForkError::NotGenerating(SeqId(1)))
    );
    device.step(&mut scheduler, &config());
    scheduler.fork(SeqId(1), SeqId(2), 100).unwrap();
    scheduler.fork(SeqId(1), SeqId(3), 200).unwrap();
    assert_eq!(
        scheduler.fork(SeqId(1), SeqId(3), 0),
        Err(ForkError::DuplicateId(SeqId(3)))
    );
    assert_eq!((scheduler.running(), scheduler.kv().used_blocks()), (3, 4));

    // The prompt's last block is half full: two of three writers copy it.
    let plan = device.step(&mut scheduler, &config());
    assert_eq!((plan.copies.len(), scheduler.kv().used_blocks()), (2, 6));
    while !scheduler.is_idle() {
        device.step(&mut scheduler, &config());
    }
    for (id, first) in [(1, next_token(&spec(1, 14, 6).prompt)), (2, 100), (3, 200)] {
        let mut expected = spec(1, 14, 6).prompt;
        expected.push(first);
        while expected.len() < 20 {
            expected.push(next_token(&expected));
        }
        assert_eq!(scheduler.tokens(SeqId(id)), expected);
    }
}

#[test]
fn a_fork_that_finds_the_batch_full_waits_and_reuses_the_prompt() {
    let limits = SchedulerConfig {
        max_sequences: 1,
        ..config()
    };
    let mut scheduler = Scheduler::new(limits).unwrap();
    let mut device = Device::default();
    scheduler.add(spec(1, 12, 3)).unwrap();
    device.step(&mut scheduler, &limits);
    scheduler.fork(SeqId(1), SeqId(2), 100).unwrap();
    assert_eq!((scheduler.running(), scheduler.waiting()), (1, 1));
    while !scheduler.is_idle() {
        let plan = device.step(&mut scheduler, &limits);
        if plan.admitted == [SeqId(2)] {
            assert_eq!((plan.work[0].start, plan.work[0].len), (12, 1));
        }
    }
    assert_eq!(scheduler.tokens(SeqId(2)).len(), 15);
}

#[test]
fn a_fork_of_a_single_token_answer_is_complete_at_once() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    scheduler.add(spec(1, 6, 1)).unwrap();
    Device::default().step(&mut scheduler, &config());
    scheduler.fork(SeqId(1), SeqId(2), 100).unwrap();
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.tokens(SeqId(2)).last(), Some(&100));
    scheduler.check();
}

#[test]
fn leaving_frees_at_once_in_every_state() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    let mut device = Device::default();
    scheduler.add(spec(1, 40, 4)).unwrap();
    scheduler.add(spec(2, 4, 1)).unwrap();
    scheduler.abort(SeqId(2)); // waiting
    device.step(&mut scheduler, &config());
    scheduler.abort(SeqId(1)); // amid its prompt
    assert_eq!(
        (scheduler.kv().used_blocks(), scheduler.is_idle()),
        (0, true)
    );

    scheduler.add(spec(3, 5, 4)).unwrap();
    let plan = scheduler.plan();
    let sampled = device.execute(&scheduler, &plan);
    scheduler.abort(SeqId(3)); // between plan and commit
    scheduler.add(spec(3, 5, 4)).unwrap(); // and the id is used again
    scheduler.commit(&plan, &sampled);
    assert_eq!(scheduler.tokens(SeqId(3)), spec(3, 5, 4).prompt);

    while !scheduler.is_idle() {
        device.step(&mut scheduler, &config());
    }
    for _ in 0..2 {
        scheduler.finish(SeqId(3)); // complete, then unknown
        scheduler.abort(SeqId(99));
    }
    assert_eq!(
        (scheduler.stats().finished, scheduler.stats().aborted),
        (1, 3)
    );
    assert_eq!(scheduler.tokens(SeqId(3)), &[]);
    scheduler.check();
}

#[test]
fn a_second_question_about_the_same_text_computes_only_the_question() {
    let mut scheduler = Scheduler::new(config()).unwrap();
    let mut device = Device::default();
    let mut first = spec(1, 16, 1);
    first.prompt.extend([7, 8]);
    let mut second = spec(1, 16, 1);
    second.id = SeqId(2);
    second.prompt.extend([9, 9, 9]);
    let mut unshared = second.clone();
    (unshared.id, unshared.reuse_prefix) = (SeqId(3), false);
    let computed = [first, second, unshared].map(|spec| {
        let (id, before) = (spec.id, scheduler.stats().computed_tokens);
        scheduler.add(spec).unwrap();
        while !scheduler.is_idle() {
            device.step(&mut scheduler, &config());
        }
        (
            scheduler.stats().computed_tokens - before,
            scheduler.cached_tokens(id),
        )
    });
    assert_eq!(computed, [(18, 0), (3, 16), (19, 0)]);
}
