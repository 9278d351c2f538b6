//! Task 1: a count of steps is rounded to the nearest, and a tie to the even neighbour.

mod common;

use common::rng;
use numerics::float::round_shift;
use rand::RngExt;

/// Dividing by a power of two is exact in f64, which rounds ties to even itself.
fn reference(value: u32, shift: u32) -> u32 {
    (f64::from(value) / 2.0_f64.powi(shift as i32)).round_ties_even() as u32
}

#[test]
fn small_numbers_and_all_their_ties() {
    for shift in 1..=12 {
        for value in 0..1 << 13 {
            assert_eq!(
                round_shift(value, shift),
                reference(value, shift),
                "{value} >> {shift}"
            );
        }
    }
}

#[test]
fn ties_go_to_the_even_neighbour() {
    // 0.5, 1.5, 2.5, 3.5 and their neighbours, in quarters.
    let rounded = [2, 6, 10, 14].map(|quarters| round_shift(quarters, 2));
    assert_eq!(rounded, [0, 2, 2, 4]);
    let rounded = [1, 3, 5, 7, 9, 11].map(|quarters| round_shift(quarters, 2));
    assert_eq!(rounded, [0, 1, 1, 2, 2, 3]);
}

#[test]
fn large_numbers_and_large_shifts() {
    let rng = &mut rng();
    for shift in 1..=150 {
        let ends = [
            0,
            1,
            u32::MAX - 1,
            u32::MAX,
            1 << 31,
            (1 << 31) - 1,
            (1 << 31) + 1,
        ];
        let random: [u32; 100] = std::array::from_fn(|_| rng.random());
        for value in ends.into_iter().chain(random) {
            assert_eq!(
                round_shift(value, shift),
                reference(value, shift),
                "{value} >> {shift}"
            );
        }
    }
}
