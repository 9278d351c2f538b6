//! Task 2: random numbers by counting: the published answers, and as good as chance.

mod common;

use common::{chi_squared, rng};
use decoding::philox::{philox4x32, uniform};
use rand::RngExt;

/// Holds `numbers` from `[0, cells)` to the uniform distribution.
fn check_uniform(numbers: impl Iterator<Item = usize>, cells: usize, what: &str) {
    let mut counts = vec![0; cells];
    numbers.for_each(|number| counts[number] += 1);
    let verdict = chi_squared::fit(&counts, &vec![1.0 / cells as f64; cells]);
    assert_eq!(verdict, Ok(()), "{what}");
}

/// The cell of a 16 by 16 board that two numbers from `[0, 1)` name.
fn board(a: f64, b: f64) -> usize {
    (a * 16.0) as usize * 16 + (b * 16.0) as usize
}

/// The vectors that the paper's authors published with their code.
#[test]
fn philox_gives_its_published_answers() {
    const ONES: u32 = u32::MAX;
    let answers = [
        (
            [0; 4],
            [0; 2],
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        ),
        (
            [ONES; 4],
            [ONES; 2],
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        ),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (counter, key, answer) in answers {
        assert_eq!(philox4x32(counter, key), answer);
    }
}

/// Which counter, key and words make a number is fixed: a seed that a client keeps must give the same text tomorrow.
#[test]
fn the_position_is_the_counter_and_the_seed_the_key() {
    let words = philox4x32([0x89ab_cdef, 0x0123_4567, 0, 0], [0x7654_3210, 0xfedc_ba98]);
    let high_bits = (u64::from(words[1]) << 32 | u64::from(words[0])) >> 11;
    let number = uniform(0xfedc_ba98_7654_3210, 0x0123_4567_89ab_cdef);
    assert_eq!(number, high_bits as f64 / 2f64.powi(53));
}

#[test]
fn every_bit_of_seed_and_position_counts() {
    let mut rng = rng();
    let (seed, position): (u64, u64) = (rng.random(), rng.random());
    let here = uniform(seed, position);
    assert_eq!(uniform(seed, position), here);
    for bit in 0..64 {
        assert_ne!(
            uniform(seed ^ 1 << bit, position),
            here,
            "bit {bit} of the seed"
        );
        assert_ne!(
            uniform(seed, position ^ 1 << bit),
            here,
            "bit {bit} of the position"
        );
    }
    assert_ne!(uniform(1, 2), uniform(2, 1));
}

#[test]
fn numbers_are_uniform_from_the_first_bit_to_the_last() {
    let mut rng = rng();
    let seed: u64 = rng.random();
    let numbers = || (0..200_000).map(move |position| uniform(seed, position));
    assert!(numbers().all(|number| (0.0..1.0).contains(&number)));
    check_uniform(
        numbers().map(|x| (x * 256.0) as usize),
        256,
        "the first bits",
    );
    let last = |x: f64| (x * (1u64 << 53) as f64) as usize % 256;
    check_uniform(numbers().map(last), 256, "the last bits");
}

#[test]
fn positions_and_neighbouring_seeds_are_independent() {
    let mut rng = rng();
    let seed: u64 = rng.random();
    for apart in [1, 2, 64, 1 << 32] {
        // No position is in two pairs: overlapping ones would spread wider than chi-squared.
        let firsts = (0..400_000).filter(|at| at / apart % 2 == 0).take(200_000);
        let pairs = firsts.map(|at| board(uniform(seed, at), uniform(seed, at + apart)));
        check_uniform(pairs, 256, &format!("positions {apart} apart"));
        let other = seed.wrapping_add(apart);
        let pairs = (0..200_000).map(|at| board(uniform(seed, at), uniform(other, at)));
        check_uniform(pairs, 256, &format!("seeds {apart} apart"));
    }
}

/// Requests often come with seeds 0, 1, 2, …: their first tokens must be as good as draws of one stream.
#[test]
fn small_seeds_are_as_good_as_any() {
    for position in [0, 1, 1000] {
        let numbers = (0..200_000).map(|seed| (uniform(seed, position) * 256.0) as usize);
        check_uniform(numbers, 256, &format!("position {position} over seeds"));
        let of = |seed| uniform(seed, position);
        let pairs = (0..200_000).map(|pair| board(of(2 * pair), of(2 * pair + 1)));
        check_uniform(
            pairs,
            256,
            &format!("position {position} over pairs of seeds"),
        );
    }
}
