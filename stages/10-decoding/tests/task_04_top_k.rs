//! Task 4: only the k likeliest tokens stay, and keep their ratios.

mod common;

use common::{Case, coarse_logits, random_logits, rank, rng};
use decoding::SamplingParams;
use proptest::prelude::*;
use rand::RngExt;

fn top_k(top_k: u32) -> SamplingParams {
    SamplingParams {
        top_k,
        ..SamplingParams::default()
    }
}

#[test]
fn draws_follow_the_truncated_distribution() {
    let mut rng = rng();
    // 0 is off.
    for k in [0, 1, 2, 5, 19, 39, 40, 41, u32::MAX] {
        Case::new(random_logits(&mut rng, 40), top_k(k)).check_distribution(&mut rng);
        Case::new(coarse_logits(&mut rng, 40), top_k(k)).check_distribution(&mut rng);
    }
}

#[test]
fn truncation_comes_after_the_temperature_and_the_bias() {
    let mut rng = rng();
    for temperature in [0.5, 2.0] {
        let mut params = top_k(4);
        params.temperature = temperature;
        params.logit_bias = vec![(3, 4.0), (5, -4.0), (3, 0.5), (11, -100.0)];
        Case::new(coarse_logits(&mut rng, 25), params).check_distribution(&mut rng);
    }
}

#[test]
fn one_is_greedy() {
    let mut rng = rng();
    for _ in 0..100 {
        let mut case = Case::new(coarse_logits(&mut rng, 60), top_k(1));
        case.params.seed = rng.random();
        let drawn = case.sample(rng.random()).token;
        assert_eq!(drawn, decoding::greedy(&case.logits), "{case:?}");
    }
}

#[test]
fn equals_at_the_boundary_stay_by_id() {
    let counts = Case::new(vec![1.0, 0.0, 1.0, 1.0, 1.0, 2.0], top_k(3)).counts(1000);
    let stays: Vec<bool> = counts.iter().map(|count| *count > 0).collect();
    assert_eq!(stays, [true, false, true, false, false, true]);
}

#[test]
fn rows_with_fewer_numbers_than_k_use_what_there_is() {
    let mut logits = vec![f32::NEG_INFINITY; 20];
    (logits[3], logits[11], logits[13]) = (1.0, 1.5, f32::NAN);
    let mut rng = rng();
    Case::new(logits, top_k(5)).check_distribution(&mut rng);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is drawn has fewer than k tokens before it.
    #[test]
    fn the_token_is_always_among_the_k_likeliest(
        eighths in prop::collection::vec(-24i32..24, 1..60),
        k in 1u32..70,
        seed: u64,
    ) {
        let logits: Vec<f32> = eighths.iter().map(|x| *x as f32 / 8.0).collect();
        let wide: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
        let mut params = top_k(k);
        params.seed = seed;
        let case = Case::new(logits, params);
        for position in 0..100 {
            let token = case.sample(position).token as usize;
            prop_assert!(rank(&wide, token) < k as usize, "{token} drawn of {case:?}");
        }
    }
}
