//! A seeded generator for the task files.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Seeds from TEST_SEED, or anew; prints the seed so that a failure can be run again.
pub fn rng() -> StdRng {
    let given = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}
