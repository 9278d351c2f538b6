//! What the tests of this stage share: seeded inputs, and Pearson's chi-squared test.
#![allow(dead_code, reason = "each test target uses its own part")]

use decoding::{Sampler, SamplingParams, TokenHistory};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Draws of a distribution test.
pub const DRAWS: u64 = 60_000;

/// A generator from a fresh seed, which is printed; `TEST_SEED` repeats a run.
pub fn rng() -> StdRng {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Logits that spread over a few units.
pub fn logits(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-3.0..3.0)).collect()
}

/// How often each token is drawn over `DRAWS` positions.
pub fn counts(logits: &[f32], params: &SamplingParams, history: &TokenHistory) -> Vec<u64> {
    let mut sampler = Sampler::new(logits.len());
    let mut counts = vec![0; logits.len()];
    for position in 0..DRAWS {
        counts[sampler.sample(logits, params, history, &[], position).token as usize] += 1;
    }
    counts
}

/// Probabilities in double precision: `exp(logit / temperature)`, normalised over the tokens that `keep` allows.
pub fn softmax(logits: &[f64], temperature: f64, keep: impl Fn(usize) -> bool) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |(token, logit): (usize, &f64)| {
        if keep(token) {
            ((logit - max) / temperature).exp()
        } else {
            0.0
        }
    };
    let weights: Vec<f64> = logits.iter().enumerate().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

pub fn wide(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|logit| f64::from(*logit)).collect()
}

/// Fails if `counts` are not draws from `probabilities`. A true sampler fails about once in ten million runs.
#[track_caller]
pub fn assert_distributed(counts: &[u64], probabilities: &[f64], what: &str) {
    let draws: u64 = counts.iter().sum();
    let (mut statistic, mut cells) = (0.0, 0usize);
    // Cells that are expected less than five times are put together, or their share of the statistic would be noise.
    let (mut rare_count, mut rare_expected) = (0u64, 0.0);
    for (token, (&count, &probability)) in counts.iter().zip(probabilities).enumerate() {
        assert!(
            probability > 0.0 || count == 0,
            "{what}: token {token} was drawn {count} times and is impossible"
        );
        let expected = probability * draws as f64;
        if expected < 5.0 {
            rare_count += count;
            rare_expected += expected;
        } else {
            statistic += (count as f64 - expected).powi(2) / expected;
            cells += 1;
        }
    }
    if rare_expected >= 1.0 {
        statistic += (rare_count as f64 - rare_expected).powi(2) / rare_expected;
        cells += 1;
    }
    let limit = critical_value(cells.saturating_sub(1));
    assert!(
        statistic <= limit,
        "{what}: chi-squared {statistic:.1} over {cells} cells is above {limit:.1}"
    );
}

/// Where a chi-squared variable is exceeded once in ten million times (Wilson and Hilferty's approximation, 1931; the normal
/// quantile for 1e-7 is 5.1993), with a little room for the approximation's error at few degrees of freedom.
fn critical_value(degrees: usize) -> f64 {
    if degrees == 0 {
        return 1e-9;
    }
    let spread = 2.0 / (9.0 * degrees as f64);
    1.05 * degrees as f64 * (1.0 - spread + 5.1993 * spread.sqrt()).powi(3)
}
