//! Task `tile-place`: the order of tiles that L2 likes.

#[path = "common/twin.rs"]
#[allow(dead_code, reason = "each test target uses a part")]
mod twin;

use gemm::tile_place;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn every_place_is_taken_once(tiles_p in 1..40_usize, tiles_q in 1..40_usize, group in 1..12_usize) {
        let places: BTreeSet<_> = (0..tiles_p * tiles_q)
            .map(|tile| tile_place(tile, tiles_p, tiles_q, group))
            .collect();
        prop_assert_eq!(places.len(), tiles_p * tiles_q);
        prop_assert!(places.iter().all(|(p, q)| *p < tiles_p && *q < tiles_q));
    }

    #[test]
    fn neighbours_in_time_share_a_row_of_p_or_of_q(tiles_p in 1..40_usize, tiles_q in 1..40_usize, group in 1..12_usize) {
        // Within a group, a run of tiles needs the group's rows of P and one row of Q for each `group` tiles.
        let size = group.min(tiles_p);
        let run: Vec<_> = (0..size * tiles_q.min(5))
            .map(|tile| tile_place(tile, tiles_p, tiles_q, group))
            .collect();
        let distinct = |of: fn(&(usize, usize)) -> usize| run.iter().map(of).collect::<BTreeSet<_>>().len();
        prop_assert_eq!(distinct(|place| place.0), size);
        prop_assert_eq!(distinct(|place| place.1), tiles_q.min(5));
    }
}

#[test]
fn p_runs_fastest_and_the_last_group_is_smaller() {
    let order: Vec<_> = (0..10).map(|tile| tile_place(tile, 5, 2, 3)).collect();
    assert_eq!(
        order,
        [
            (0, 0),
            (1, 0),
            (2, 0),
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 0),
            (4, 0),
            (3, 1),
            (4, 1)
        ]
    );
}

#[test]
fn a_wave_needs_fewer_rows_than_in_the_plain_order() {
    // 132 tiles at once of 64 x 64: rows of operands that L2 must hold for them.
    let rows = |group| {
        let wave = (0..132).map(|tile| tile_place(tile, 64, 64, group));
        let (p, q): (BTreeSet<_>, BTreeSet<_>) = wave.unzip();
        p.len() + q.len()
    };
    assert_eq!(rows(64), 64 + 3);
    assert_eq!(rows(8), 8 + 17);
}

#[test]
fn the_device_has_the_same_order() {
    for (tiles_p, tiles_q, group) in [(5, 2, 3), (1, 1, 8), (64, 9, 8), (17, 33, 8), (3, 7, 1)] {
        let ours: Vec<_> = (0..tiles_p * tiles_q)
            .map(|tile| tile_place(tile, tiles_p, tiles_q, group))
            .collect();
        assert_eq!(ours, twin::places(tiles_p, tiles_q, group));
    }
}
