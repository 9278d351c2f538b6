//! Two models on the same questions: is one better by more than chance?

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const RESAMPLES: usize = 10_000;

/// The interval that holds the mean of the differences in 95 of 100 lists that are drawn from this one with replacement (Efron's
/// bootstrap), from a fixed seed. Zero in it means that chance may have made the difference.
pub fn interval(differences: &[f64]) -> [f64; 2] {
    let (mut rng, n) = (StdRng::seed_from_u64(1), differences.len());
    let mut mean = || {
        (0..n)
            .map(|_| differences[rng.random_range(0..n)])
            .sum::<f64>()
            / n as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| mean()).collect();
    means.sort_by(f64::total_cmp);
    [means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40]]
}
