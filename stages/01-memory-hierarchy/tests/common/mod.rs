//! A seeded generator for the task files, and what they compare with.
#![allow(dead_code)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Seeds from TEST_SEED, or anew; prints the seed so that a failure can be run again.
pub fn rng() -> StdRng {
    let given = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// Values around zero.
pub fn values(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}
