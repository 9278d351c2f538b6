//! What the tests of this stage share: seeded inputs, and a comparison that NaN never passes.
#![allow(dead_code, reason = "each test target uses its own part")]

pub mod operations;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A generator from a fresh seed, which is printed; `TEST_SEED` repeats a run.
pub fn rng() -> StdRng {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Numbers between -1 and 1.
pub fn values(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// `|got - want| / |want|` by the Euclidean norm; infinite where anything is not a number.
pub fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    if got.iter().chain(want).any(|x| !x.is_finite()) {
        return f64::INFINITY;
    }
    let difference: f64 = got
        .iter()
        .zip(want)
        .map(|(g, w)| (f64::from(*g) - f64::from(*w)).powi(2))
        .sum();
    let size: f64 = want.iter().map(|w| f64::from(*w).powi(2)).sum();
    if size == 0.0 {
        difference.sqrt()
    } else {
        (difference / size).sqrt()
    }
}

/// Fails unless `got` is within `tolerance` of `want` in relative Euclidean norm.
#[track_caller]
pub fn assert_close(got: &[f32], want: &[f32], tolerance: f64, what: &str) {
    let error = relative_error(got, want);
    assert!(
        error <= tolerance,
        "{what}: relative error {error:e} is over {tolerance:e}"
    );
}
