//! Task 5: only the nucleus stays: the fewest likeliest tokens whose probabilities reach p.

mod common;

use common::{Case, chi_squared, coarse_logits, random_logits, rng, softmax};
use decoding::SamplingParams;
use proptest::prelude::*;
use rand::RngExt;

fn top_p(top_p: f32) -> SamplingParams {
    SamplingParams {
        top_p,
        ..SamplingParams::default()
    }
}

/// Which tokens come in so many draws that one of probability 0.01 is missed once in e^50 times.
fn drawn(case: &Case) -> Vec<usize> {
    let counts = case.counts(5_000);
    (0..counts.len())
        .filter(|token| counts[*token] > 0)
        .collect()
}

#[test]
fn draws_follow_the_truncated_distribution() {
    let mut rng = rng();
    for p in [0.003, 0.1, 0.5, 0.77, 0.9, 0.99, 1.0] {
        Case::new(random_logits(&mut rng, 40), top_p(p)).check_distribution(&mut rng);
        Case::new(coarse_logits(&mut rng, 40), top_p(p)).check_distribution(&mut rng);
    }
}

#[test]
fn the_nucleus_is_that_of_the_tempered_distribution() {
    let mut rng = rng();
    for temperature in [0.4, 2.0] {
        let mut params = top_p(0.8);
        params.temperature = temperature;
        Case::new(random_logits(&mut rng, 30), params).check_distribution(&mut rng);
    }
}

#[test]
fn equals_at_the_boundary_stay_by_id() {
    // Four of probability 1/4: powers of two, so the sums are exact and reach p exactly.
    for (p, expected) in [
        (0.25, vec![0]),
        (0.5, vec![0, 1]),
        (0.5001, vec![0, 1, 2]),
        (0.75, vec![0, 1, 2]),
        (0.7501, vec![0, 1, 2, 3]),
    ] {
        assert_eq!(drawn(&Case::new(vec![-7.5; 4], top_p(p))), expected, "{p}");
    }
}

#[test]
fn the_likeliest_stays_even_if_it_alone_exceeds_p() {
    let case = Case::new(vec![0.0, 9.0, 0.0], top_p(f32::MIN_POSITIVE));
    assert_eq!(drawn(&case), [1]);
}

/// A long tail of tokens, each unlikely, together almost a fifth.
#[test]
fn one_cuts_nothing_off() {
    let mut rng = rng();
    let mut logits = vec![-10.0; 5000];
    logits[0] = 0.0;
    let mut case = Case::new(logits, top_p(1.0));
    case.params.seed = rng.random();
    let counts = case.counts(5_000);
    let head_and_tail = softmax(&[0.0, -10.0 + 4999f64.ln()], 1.0);
    let verdict = chi_squared::fit(&[counts[0], counts[1..].iter().sum()], &head_and_tail);
    assert_eq!(verdict, Ok(()));
    assert!(counts[2500..].iter().sum::<u64>() > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is drawn reaches p, and without its least likely token no longer does; nothing outside is likelier than anything
    /// inside. Logits in quarters from -1 to 1: probabilities of at least 0.01, and ties.
    #[test]
    fn the_nucleus_is_the_smallest_set_that_reaches_p(
        quarters in prop::collection::vec(-4i32..=4, 1..12),
        p in 0.001f32..0.999,
        seed: u64,
    ) {
        let logits: Vec<f32> = quarters.iter().map(|x| *x as f32 / 4.0).collect();
        let wide: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
        let probabilities = softmax(&wide, 1.0);
        let mut params = top_p(p);
        params.seed = seed;
        let nucleus = drawn(&Case::new(logits, params));
        let sum: f64 = nucleus.iter().map(|token| probabilities[*token]).sum();
        let inside = |token: &usize| nucleus.contains(token);
        let least = nucleus.iter().map(|token| probabilities[*token]).fold(1.0, f64::min);
        let outside = (0..wide.len()).filter(|token| !inside(token));
        let next = outside.map(|token| probabilities[token]).fold(0.0, f64::max);
        prop_assert!(sum > f64::from(p) - 1e-12, "{nucleus:?} has only {sum} of {probabilities:?}");
        prop_assert!(sum - least < f64::from(p) + 1e-12, "{nucleus:?} is too many of {probabilities:?}");
        prop_assert!(next <= least, "{nucleus:?} leaves out a likelier one of {probabilities:?}");
    }
}
