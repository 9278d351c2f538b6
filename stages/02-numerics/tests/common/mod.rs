//! A seeded generator and inputs for the task files.
#![allow(dead_code)] // each target uses what it needs

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

/// A number of the standard normal distribution (Box and Muller).
pub fn gauss(rng: &mut StdRng) -> f32 {
    let (radius, angle): (f64, f64) = (rng.random_range(1e-12..1.0), rng.random());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}
