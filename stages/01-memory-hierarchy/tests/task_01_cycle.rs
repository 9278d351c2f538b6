//! Task 1: the walk is one cycle over all nodes, and every such cycle is equally likely.

mod common;

use memory_hierarchy::probe::latency::single_cycle;
use rand::RngExt;
use std::collections::BTreeMap;

#[test]
fn a_walk_from_anywhere_visits_every_element_once() {
    let mut rng = common::rng();
    for len in (0..40).chain([257, 1000, 4099]) {
        let next = single_cycle(len, |bound| rng.random_range(0..bound));
        assert_eq!(next.len(), len);
        let mut seen = vec![false; len];
        let mut at = if len == 0 {
            0
        } else {
            rng.random_range(0..len)
        };
        let start = at;
        for _ in 0..len {
            assert!(!seen[at], "of {len} elements, {at} came again too early");
            seen[at] = true;
            at = next[at];
        }
        assert_eq!(at, start, "the cycle of {len} closes");
    }
}

/// Four elements have 3! cycles. A fixed generator makes this an exact test of the algorithm, not of luck.
#[test]
fn all_cycles_come_equally_often() {
    let mut random = memory_hierarchy::probe::SplitMix(1);
    let mut times = BTreeMap::new();
    for _ in 0..6000 {
        *times
            .entry(single_cycle(4, |bound| random.below(bound)))
            .or_insert(0) += 1;
    }
    assert_eq!(times.len(), 6, "{times:?}");
    // The standard deviation is 29.
    for (cycle, times) in times {
        assert!((850..1150).contains(&times), "{cycle:?} came {times} times");
    }
}

/// A prefetcher guesses the next line from the last ones; in a random order it must be wrong nearly always.
#[test]
fn neighbours_rarely_follow_one_another() {
    let mut rng = common::rng();
    let next = single_cycle(4096, |bound| rng.random_range(0..bound));
    let near = (0..4096usize).filter(|&i| next[i].abs_diff(i) <= 4).count();
    // Eight neighbours of 4,095 others, for 4,096 elements: eight are expected.
    assert!(near < 60, "{near} of 4096 steps are short");
}
