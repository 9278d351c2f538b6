//! Task `stream-k`: k-steps dealt evenly.

#[path = "common/twin.rs"]
#[allow(dead_code, reason = "each test target uses a part")]
mod twin;

use gemm::{Schedule, Segment};
use proptest::prelude::*;

fn schedules() -> impl Strategy<Value = Schedule> {
    let sizes = (1..60_usize, 1..40_usize, 1..50_usize, 0.0..=1.0_f64);
    sizes.prop_map(|(tiles, steps, workers, part)| Schedule {
        tiles,
        steps,
        workers,
        whole: (tiles as f64 * part).round() as usize,
    })
}

/// Steps of a worker among those that are shared.
fn shared(schedule: &Schedule, worker: usize) -> usize {
    let segments = schedule.segments(worker);
    let shared = segments
        .iter()
        .filter(|segment| segment.tile >= schedule.whole);
    shared.map(|segment| segment.to - segment.from).sum()
}

proptest! {
    #[test]
    fn every_step_of_every_tile_is_done_once(schedule in schedules()) {
        let mut done = vec![0; schedule.tiles * schedule.steps];
        for worker in 0..schedule.workers {
            for Segment { tile, from, to } in schedule.segments(worker) {
                prop_assert!(from < to && to <= schedule.steps && tile < schedule.tiles);
                (from..to).for_each(|k| done[tile * schedule.steps + k] += 1);
            }
        }
        prop_assert!(done.iter().all(|times| *times == 1));
    }

    #[test]
    fn ranges_differ_by_a_step_at_most(schedule in schedules()) {
        let loads: Vec<_> = (0..schedule.workers).map(|worker| shared(&schedule, worker)).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{loads:?}");
    }

    #[test]
    fn a_tile_has_one_owner_and_a_whole_tile_one_worker(schedule in schedules()) {
        let mut owners = vec![0; schedule.tiles];
        for worker in 0..schedule.workers {
            for segment in schedule.segments(worker) {
                owners[segment.tile] += usize::from(schedule.is_owner(&segment));
                prop_assert!(segment.tile >= schedule.whole || (segment.from, segment.to) == (0, schedule.steps));
            }
        }
        prop_assert!(owners.iter().all(|owners| *owners == 1));
    }

    #[test]
    fn contributors_come_before_the_owner(schedule in schedules()) {
        // (worker, steps that it has done by the end of the segment) of each tile's owner.
        let mut owner = vec![(0, 0); schedule.tiles];
        let mut left = Vec::new();
        for worker in 0..schedule.workers {
            let mut time = 0;
            for segment in schedule.segments(worker) {
                let is_first = time == 0;
                time += segment.to - segment.from;
                if schedule.is_owner(&segment) {
                    owner[segment.tile] = (worker, time);
                } else {
                    prop_assert!(is_first, "others wait for it: {worker} {segment:?}");
                    left.push((segment.tile, worker, time));
                }
            }
        }
        for (tile, worker, time) in left {
            let (owner, end) = owner[tile];
            // Of lower number, so that the hardware has started it; and never more than a step later than the owner is done.
            prop_assert!(worker < owner && time <= end + 1, "tile {tile}: {worker} at {time}, {owner} at {end}");
        }
    }
}

#[test]
fn three_workers_share_two_tiles_of_five_steps() {
    let schedule = Schedule {
        tiles: 5,
        steps: 5,
        whole: 3,
        workers: 3,
    };
    let segments = |worker| {
        let all = schedule.segments(worker);
        all.iter()
            .map(|s| (s.tile, s.from, s.to))
            .collect::<Vec<_>>()
    };
    // Ten steps: four, three, three. The first worker begins tile 3, the second ends it and begins tile 4.
    assert_eq!(segments(0), [(3, 0, 4), (0, 0, 5)]);
    assert_eq!(segments(1), [(4, 0, 2), (3, 4, 5), (1, 0, 5)]);
    assert_eq!(segments(2), [(4, 2, 5), (2, 0, 5)]);
}

#[test]
fn the_device_deals_alike() {
    for [tiles, whole, steps, workers] in [
        [5, 3, 5, 3],
        [7, 0, 9, 4],
        [12, 12, 3, 5],
        [1, 0, 64, 10],
        [33, 16, 7, 16],
        [2, 0, 3, 11],
    ] {
        let schedule = Schedule {
            tiles,
            steps,
            whole,
            workers,
        };
        for worker in 0..workers {
            let ours = schedule.segments(worker);
            let ours: Vec<_> = ours.iter().map(|s| (s.tile, s.from, s.to)).collect();
            assert_eq!(ours, twin::segments([tiles, whole, steps, workers, worker]));
        }
    }
}
