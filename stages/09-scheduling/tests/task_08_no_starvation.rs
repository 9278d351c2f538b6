//! Task 8: whatever arrives, forks, leaves or runs out of blocks: every step makes progress, every sequence ends as if it were alone.

mod common;

use common::{Device, next_token, solo};
use proptest::prelude::*;
use scheduling::{Policy, Scheduler, SchedulerConfig, SeqId, SequenceSpec};
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Event {
    Add {
        prompt: Vec<u32>,
        max_new_tokens: usize,
        priority: i32,
        reuse_prefix: bool,
    },
    Fork(usize),
    Abort(usize),
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    let prompt = proptest::collection::vec(0..2u32, 0..24);
    let add = (prompt, 0..16usize, -2..3i32, any::<bool>()).prop_map(
        |(prompt, max_new_tokens, priority, reuse_prefix)| Event::Add {
            prompt,
            max_new_tokens,
            priority,
            reuse_prefix,
        },
    );
    prop_oneof![
        3 => add,
        1 => any::<usize>().prop_map(Event::Fork),
        1 => any::<usize>().prop_map(Event::Abort),
        4 => Just(Event::Step),
    ]
}

fn limits() -> impl Strategy<Value = SchedulerConfig> {
    (
        1..6usize,
        0..12usize,
        1..5usize,
        1..20usize,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(max_sequences, spare, block_size, num_blocks, priority, prefix_caching)| {
                SchedulerConfig {
                    max_batched_tokens: max_sequences + spare,
                    max_sequences,
                    max_model_len: 36,
                    block_size,
                    num_blocks,
                    policy: if priority {
                        Policy::Priority
                    } else {
                        Policy::Fcfs
                    },
                    prefix_caching,
                }
            },
        )
}

/// What a fork must be when it is done.
fn solo_fork(tokens: &[u32], token: u32, len: usize) -> Vec<u32> {
    let mut expected = [&tokens[..tokens.len() - 1], &[token]].concat();
    while expected.len() < len {
        expected.push(next_token(&expected));
    }
    expected
}

fn run(limits: SchedulerConfig, events: Vec<Event>) {
    let mut scheduler = Scheduler::new(limits).unwrap();
    let mut device = Device::default();
    let mut expected: BTreeMap<SeqId, Vec<u32>> = BTreeMap::new();
    for (index, event) in events.into_iter().enumerate() {
        let id = SeqId(index as u64);
        let live: Vec<_> = expected.keys().copied().collect();
        match event {
            Event::Add {
                prompt,
                max_new_tokens,
                priority,
                reuse_prefix,
            } => {
                let spec = SequenceSpec {
                    id,
                    prompt,
                    max_new_tokens,
                    priority,
                    salt: 0,
                    reuse_prefix,
                };
                if scheduler.add(spec.clone()).is_ok() {
                    expected.insert(id, solo(&spec));
                }
            }
            Event::Fork(parent) if !live.is_empty() => {
                let parent = live[parent % live.len()];
                let tokens = scheduler.tokens(parent).to_vec();
                if scheduler.fork(parent, id, 4).is_ok() {
                    expected.insert(id, solo_fork(&tokens, 4, expected[&parent].len()));
                }
            }
            Event::Abort(victim) if !live.is_empty() => {
                let victim = live[victim % live.len()];
                scheduler.abort(victim);
                expected.remove(&victim);
            }
            _ => drop(device.step(&mut scheduler, &limits)),
        }
        scheduler.check();
    }
    finish_all(&mut scheduler, &mut device, &limits, &expected);
}

/// Runs what is left to its end, in a bounded number of steps.
fn finish_all(
    scheduler: &mut Scheduler,
    device: &mut Device,
    limits: &SchedulerConfig,
    expected: &BTreeMap<SeqId, Vec<u32>>,
) {
    // Alone, each token would take a step at worst; a preempted one starts over for each token of a more urgent one at worst.
    let bound = 40 * 40 * (expected.len() + 1);
    for _ in 0..bound {
        if scheduler.is_idle() {
            break;
        }
        device.step(scheduler, limits);
    }
    assert!(scheduler.is_idle(), "starved");
    for (&id, tokens) in expected {
        assert_eq!(scheduler.tokens(id), tokens, "{id:?}");
        scheduler.finish(id);
    }
    assert_eq!(scheduler.kv().used_blocks(), 0);
    scheduler.check();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_sequence_ends_as_if_it_were_alone(limits in limits(), events in proptest::collection::vec(event(), 0..60)) {
        run(limits, events);
    }
}
