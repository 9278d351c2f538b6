//! Task 6: only tokens of a certain share of the likeliest one's probability stay; and the truncations together.

mod common;

use common::{Case, chi_squared, coarse_logits, random_logits, rng};
use decoding::SamplingParams;
use proptest::prelude::*;
use rand::RngExt;

fn min_p(min_p: f32) -> SamplingParams {
    SamplingParams {
        min_p,
        ..SamplingParams::default()
    }
}

#[test]
fn draws_follow_the_truncated_distribution() {
    let mut rng = rng();
    for p in [0.0, 0.01, 0.05, 0.2, 0.6, 0.95, 1.0] {
        Case::new(random_logits(&mut rng, 40), min_p(p)).check_distribution(&mut rng);
        Case::new(coarse_logits(&mut rng, 40), min_p(p)).check_distribution(&mut rng);
    }
}

#[test]
fn the_floor_is_that_of_the_tempered_distribution() {
    let mut rng = rng();
    for temperature in [0.4, 2.0] {
        let mut params = min_p(0.1);
        params.temperature = temperature;
        Case::new(random_logits(&mut rng, 30), params).check_distribution(&mut rng);
    }
}

#[test]
fn one_leaves_the_likeliest_and_its_equals() {
    let counts = Case::new(vec![2.0, 1.9, 2.0, -1.0, 2.0], min_p(1.0)).counts(2000);
    let stays: Vec<bool> = counts.iter().map(|count| *count > 0).collect();
    assert_eq!(stays, [true, false, true, false, true]);
}

/// Rows that break arithmetic, under every truncation.
#[test]
fn infinite_logits_share_everything() {
    let mut rng = rng();
    for (top_k, top_p, min_p) in [(0, 0.9, 0.0), (3, 1.0, 0.0), (0, 1.0, 0.5)] {
        let seed = rng.random();
        let params = SamplingParams {
            top_k,
            top_p,
            min_p,
            seed,
            ..SamplingParams::default()
        };
        let case = Case::new(vec![f32::INFINITY, 3.0, f32::NAN, f32::INFINITY], params);
        let verdict = chi_squared::fit(&case.counts(20_000), &[0.5, 0.0, 0.0, 0.5]);
        assert_eq!(verdict, Ok(()), "{case:?}");
    }
}

#[test]
fn a_row_without_any_number_gives_the_first_token() {
    let mut rng = rng();
    for logit in [f32::NAN, f32::NEG_INFINITY] {
        for (top_k, top_p, min_p) in [(3, 1.0, 0.0), (0, 0.5, 0.0), (0, 1.0, 0.5)] {
            let seed = rng.random();
            let params = SamplingParams {
                top_k,
                top_p,
                min_p,
                seed,
                ..SamplingParams::default()
            };
            let case = Case::new(vec![logit; 6], params);
            assert_eq!(case.counts(100)[0], 100, "{case:?}");
        }
    }
}

/// min-p, then top-k, then top-p, each of what the one before left: top-p of the whole distribution would keep more.
#[test]
fn top_p_is_a_share_of_what_the_others_left() {
    let logits: Vec<f32> = [0.4f32, 0.3, 0.2, 0.1].iter().map(|p| p.ln()).collect();
    let mut params = min_p(0.0);
    (params.top_k, params.top_p) = (2, 0.5); // 0.4 of 0.7 is enough; 0.4 of 1 would not be
    assert_eq!(Case::new(logits.clone(), params).counts(500)[0], 500);
    let mut params = min_p(0.6);
    params.top_p = 0.5;
    assert_eq!(Case::new(logits, params).counts(500)[0], 500);
}

#[test]
fn combinations_follow_the_exact_distribution() {
    let mut rng = rng();
    for _ in 0..12 {
        let params = SamplingParams {
            temperature: rng.random_range(0.3..2.0),
            top_k: rng.random_range(2..25),
            top_p: rng.random_range(0.5..1.0),
            min_p: rng.random_range(0.0..0.2),
            logit_bias: vec![(2, 1.5), (7, -100.0), (9, 2.0)],
            ..SamplingParams::default()
        };
        let mut case = Case::new(coarse_logits(&mut rng, 30), params);
        case.suppressed = vec![rng.random_range(0..30)];
        case.check_distribution(&mut rng);
    }
}

/// A row with anything in it, from numbers in eighths to what is none.
fn row() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        8 => (-40i32..40).prop_map(|x| x as f32 / 8.0),
        1 => Just(f32::NAN),
        1 => Just(f32::NEG_INFINITY),
    ];
    prop::collection::vec(logit, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every draw has a candidate to fall on, and one that every truncation let stay.
    #[test]
    fn the_token_is_always_allowed_by_all_of_them(
        logits in row(),
        temperature in prop_oneof![Just(1e-6f32), 0.05f32..2.0],
        top_k in 0u32..45,
        top_p in prop_oneof![Just(1.0f32), Just(1e-9), 0.01f32..1.0],
        min_p in prop_oneof![Just(0.0f32), Just(1.0), 0.0f32..1.0],
        suppressed in prop::collection::vec(0u32..40, 0..10),
        seed: u64,
    ) {
        let vocab = logits.len() as u32;
        let params = SamplingParams { temperature, top_k, top_p, min_p, seed, ..SamplingParams::default() };
        let mut case = Case::new(logits, params);
        case.suppressed = suppressed.into_iter().filter(|token| *token < vocab).collect();
        let any = case.adjusted().iter().any(|logit| logit.is_finite());
        let exact = case.exact();
        for position in 0..50 {
            let token = case.sample(position).token;
            if any {
                prop_assert!(exact[token as usize] > 0.0, "{token} drawn of {case:?}");
            } else {
                prop_assert_eq!(token, 0);
            }
        }
    }
}
