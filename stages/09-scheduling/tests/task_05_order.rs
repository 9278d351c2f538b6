//! Task 5: who comes first: arrival, or priority that ages.

mod common;

use common::{Device, config, spec};
use scheduling::{Policy, Scheduler, SchedulerConfig, SeqId, SequenceSpec};

fn one_at_a_time(policy: Policy) -> SchedulerConfig {
    SchedulerConfig {
        max_sequences: 1,
        policy,
        ..config()
    }
}

fn with_priority(id: u64, priority: i32) -> SequenceSpec {
    SequenceSpec {
        priority,
        ..spec(id, 2, 1)
    }
}

fn order_of(limits: SchedulerConfig, specs: impl IntoIterator<Item = SequenceSpec>) -> Vec<u64> {
    let mut scheduler = Scheduler::new(limits).unwrap();
    specs
        .into_iter()
        .for_each(|spec| scheduler.add(spec).unwrap());
    let mut order = Vec::new();
    let mut device = Device::default();
    while !scheduler.is_idle() {
        for id in device.step(&mut scheduler, &limits).admitted {
            order.push(id.0);
            scheduler.finish(id);
        }
    }
    order
}

#[test]
fn first_come_first_served_ignores_priority() {
    let specs = [(3, 5), (1, -5), (2, 0)].map(|(id, priority)| with_priority(id, priority));
    assert_eq!(order_of(one_at_a_time(Policy::Fcfs), specs), [3, 1, 2]);
}

#[test]
fn lower_values_are_more_urgent_and_equals_keep_their_order() {
    let specs = [(1, 0), (2, 5), (3, -5), (4, 0), (5, -5)]
        .map(|(id, priority)| with_priority(id, priority));
    assert_eq!(
        order_of(one_at_a_time(Policy::Priority), specs),
        [3, 5, 1, 4, 2]
    );
}

#[test]
fn an_endless_stream_of_urgent_ones_does_not_starve_the_others() {
    let limits = one_at_a_time(Policy::Priority);
    let mut scheduler = Scheduler::new(limits).unwrap();
    let mut device = Device::default();
    scheduler.add(with_priority(0, 1)).unwrap();
    for urgent in 1..=300 {
        scheduler.add(with_priority(urgent, 0)).unwrap();
        let admitted = device.step(&mut scheduler, &limits).admitted;
        admitted.iter().for_each(|&id| scheduler.finish(id));
        if admitted == [SeqId(0)] {
            assert_eq!(urgent, 256, "a level of priority is worth 256 places");
            return;
        }
    }
    panic!("starved");
}

#[test]
fn extreme_priorities_are_only_extreme() {
    let specs =
        [(1, i32::MAX), (2, i32::MIN), (3, 0)].map(|(id, priority)| with_priority(id, priority));
    assert_eq!(order_of(one_at_a_time(Policy::Priority), specs), [2, 3, 1]);
}

#[test]
fn none_overtakes_a_large_one_that_waits_for_blocks() {
    let limits = SchedulerConfig {
        num_blocks: 8,
        ..config()
    };
    let mut scheduler = Scheduler::new(limits).unwrap();
    let mut device = Device::default();
    scheduler.add(spec(1, 15, 6)).unwrap();
    device.step(&mut scheduler, &limits);
    scheduler.add(spec(2, 30, 2)).unwrap();
    scheduler.add(spec(3, 1, 2)).unwrap();
    let mut order = Vec::new();
    while !scheduler.is_idle() {
        order.extend(device.step(&mut scheduler, &limits).admitted);
    }
    assert_eq!(order, [SeqId(2), SeqId(3)]);
}
