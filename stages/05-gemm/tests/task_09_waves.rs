//! Task `waves`: the worker that everybody waits for.

use gemm::cost::{busiest, waves};
use gemm::{CONFIGS, Element, Plan, Problem, Schedule};
use proptest::prelude::*;

proptest! {
    #[test]
    fn it_is_what_the_schedule_gives_to_the_busiest(
        tiles in 1..80_usize, steps in 1..40_usize, workers in 1..50_usize, part in 0.0..=1.0_f64
    ) {
        let whole = (tiles as f64 * part).round() as usize;
        let schedule = Schedule { tiles, steps, whole, workers };
        let steps_of = |worker| schedule.segments(worker).iter().map(|s| s.to - s.from).sum::<usize>();
        let most = (0..workers).map(steps_of).max();
        prop_assert_eq!(busiest(&schedule), most.unwrap());
    }

    #[test]
    fn sharing_all_tiles_leaves_nobody_idle(tiles in 1..80_usize, steps in 1..40_usize, workers in 1..50_usize) {
        let schedule = Schedule { tiles, steps, whole: 0, workers };
        prop_assert_eq!(busiest(&schedule), (tiles * steps).div_ceil(workers));
    }
}

#[test]
fn one_tile_too_many_costs_a_wave_unless_it_is_shared() {
    // 133 tiles of 128 x 256 on 132 multiprocessors.
    let config = CONFIGS.iter().find(|c| !c.swap && c.bq == 256);
    let problem = Problem {
        m: 128 * 133,
        n: 256,
        k: 4096,
        element: Element::Bf16,
    };
    let plan = |whole| Plan {
        config: *config.unwrap(),
        workers: 132,
        whole,
    };
    assert_eq!(waves(&problem, &plan(133)), 2.0);
    // The last tile's 64 steps go to 64 workers.
    assert_eq!(waves(&problem, &plan(132)), 1.0 + 1.0 / 64.0);
    // 2 * 128 * 133 tiles of another size would be no multiple either.
    assert_eq!(waves(&problem, &plan(0)), 65.0 / 64.0);
}
