//! Task 6: when blocks run out, the least urgent gives its own back, and is computed again with the same result.

mod common;

use common::{Device, config, solo, spec};
use scheduling::{Scheduler, SchedulerConfig, SeqId};

fn tight() -> SchedulerConfig {
    SchedulerConfig {
        num_blocks: 7,
        max_sequences: 3,
        prefix_caching: false,
        ..config()
    }
}

#[test]
fn the_latest_is_preempted_and_ends_as_if_alone() {
    let mut scheduler = Scheduler::new(tight()).unwrap();
    let mut device = Device::default();
    let specs = [spec(1, 4, 16), spec(2, 4, 16)];
    specs
        .iter()
        .for_each(|spec| scheduler.add(spec.clone()).unwrap());
    let mut preempted = Vec::new();
    while !scheduler.is_idle() {
        let plan = device.step(&mut scheduler, &tight());
        assert!(
            !plan
                .work
                .iter()
                .any(|work| plan.preempted.contains(&work.id))
        );
        preempted.extend(plan.preempted);
    }
    assert!(!preempted.is_empty());
    assert!(preempted.iter().all(|&id| id == SeqId(2)), "{preempted:?}");
    assert_eq!(scheduler.stats().preemptions, preempted.len() as u64);
    for spec in &specs {
        assert_eq!(scheduler.tokens(spec.id), solo(spec));
    }
}

#[test]
fn a_preempted_sequence_goes_before_those_that_came_later() {
    let mut scheduler = Scheduler::new(tight()).unwrap();
    let mut device = Device::default();
    scheduler.add(spec(1, 4, 20)).unwrap();
    scheduler.add(spec(2, 4, 20)).unwrap();
    let mut order = Vec::new();
    for step in 0.. {
        if step == 2 {
            scheduler.add(spec(3, 16, 2)).unwrap();
        }
        order.extend(device.step(&mut scheduler, &tight()).admitted);
        if scheduler.is_idle() {
            break;
        }
    }
    assert!(scheduler.stats().preemptions > 0);
    assert_eq!(order.last(), Some(&SeqId(3)), "{order:?}");
}

#[test]
fn recomputation_reuses_what_is_still_stored() {
    let recomputed = |prefix_caching| {
        let limits = SchedulerConfig {
            prefix_caching,
            ..tight()
        };
        let mut scheduler = Scheduler::new(limits).unwrap();
        let mut device = Device::default();
        scheduler.add(spec(1, 4, 14)).unwrap();
        scheduler.add(spec(2, 12, 8)).unwrap();
        while !scheduler.is_idle() {
            device.step(&mut scheduler, &limits);
        }
        assert!(scheduler.stats().preemptions > 0);
        scheduler.stats().computed_tokens
    };
    assert!(recomputed(true) < recomputed(false));
}

#[test]
fn a_newcomer_does_not_start_without_headroom() {
    let mut scheduler = Scheduler::new(tight()).unwrap();
    let mut device = Device::default();
    scheduler.add(spec(1, 8, 8)).unwrap();
    device.step(&mut scheduler, &tight());
    // 2 of 7 blocks are held; 5 are free, but one is kept for the growth of the first.
    scheduler.add(spec(2, 20, 1)).unwrap();
    assert!(device.step(&mut scheduler, &tight()).admitted.is_empty());
    scheduler.abort(SeqId(2));
    scheduler.add(spec(3, 16, 1)).unwrap();
    let admitted = device.step(&mut scheduler, &tight()).admitted;
    assert_eq!(admitted, []);
    scheduler.abort(SeqId(3));
    scheduler.add(spec(4, 12, 1)).unwrap();
    assert_eq!(device.step(&mut scheduler, &tight()).admitted, [SeqId(4)]);
}
