//! Task 4: the sizes of caches, read off a latency curve.

mod common;

use memory_hierarchy::probe::latency::knees;
use rand::RngExt;

#[test]
fn a_curve_by_hand() {
    let curve = [
        (8, 1.0),
        (16, 1.02),
        (32, 1.0),
        // From here on not all fits.
        (64, 2.5),
        (128, 4.0),
        (256, 4.1),
        (512, 4.0),
        (1024, 20.0),
    ];
    assert_eq!(knees(&curve), [32, 512]);
}

#[test]
fn without_a_climb_there_is_no_knee() {
    assert_eq!(knees(&[]), []);
    assert_eq!(knees(&[(64, 1.0)]), []);
    assert_eq!(knees(&[(64, 1.0), (128, 1.0)]), []);
    // Falling, as a core that is still speeding up looks.
    assert_eq!(knees(&[(64, 9.0), (128, 3.0), (256, 1.0)]), []);
    // One disturbed point is a bump, not a level; a slow slope within a level is none either.
    assert_eq!(knees(&[(1, 5.0), (2, 6.0), (4, 5.0), (8, 5.0)]), []);
    let slope: Vec<_> = (0..30).map(|i| (1 << i, 1.05f64.powi(i))).collect();
    assert_eq!(knees(&slope), []);
}

#[test]
fn a_climb_at_the_very_end_counts() {
    assert_eq!(knees(&[(1, 1.0), (2, 1.0), (4, 2.0)]), [2]);
    assert_eq!(knees(&[(1, 1.0), (2, 2.0)]), [1]);
}

/// Hierarchies of random sizes and latencies, their curves disturbed by 2 per cent, at every scale of time.
#[test]
fn sizes_of_made_up_hierarchies_are_found() {
    let mut rng = common::rng();
    for round in 0..300 {
        let levels = rng.random_range(1..=4);
        let scale = 10f64.powf(rng.random_range(-3.0..5.0));
        // Each level is at least 8 and at most 32 times as large as the one below, in quarter octaves, and 2.5 to 4 times as slow.
        let (mut at, mut ns) = (0, scale);
        let (mut sizes, mut latencies) = (Vec::new(), vec![ns]);
        for _ in 0..levels {
            at += rng.random_range(12..=20);
            ns *= rng.random_range(2.5..4.0);
            sizes.push(at);
            latencies.push(ns);
        }
        let bytes = |quarters: usize| (4096.0 * 2f64.powf(quarters as f64 / 4.0)) as usize;
        let curve: Vec<_> = (0..at + 8)
            .map(|point| {
                let level = sizes.iter().filter(|&&size| size < point).count();
                // Over the first points beyond a cache, a part of the walk still hits it.
                let beyond = level.checked_sub(1).map_or(4, |below| point - sizes[below]);
                let ns = if beyond < 4 {
                    let part = beyond as f64 / 4.0;
                    latencies[level - 1].powf(1.0 - part) * latencies[level].powf(part)
                } else {
                    latencies[level]
                };
                (bytes(point), ns * rng.random_range(0.98..1.02))
            })
            .collect();
        let expected: Vec<_> = sizes.iter().map(|&size| bytes(size)).collect();
        assert_eq!(knees(&curve), expected, "round {round}: {curve:?}");
    }
}
