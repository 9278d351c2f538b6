//! Task 3: drawing from the softmax of the logits over the temperature.

mod common;

use common::{Case, DRAWS, chi_squared, random_logits, rng};
use decoding::SamplingParams;
use rand::RngExt;

fn at(temperature: f32) -> SamplingParams {
    SamplingParams {
        temperature,
        ..SamplingParams::default()
    }
}

#[test]
fn draws_follow_the_softmax() {
    let mut rng = rng();
    for temperature in [0.1, 0.5, 0.8, 1.0, 1.3, 2.0] {
        for len in [1, 2, 7, 40] {
            Case::new(random_logits(&mut rng, len), at(temperature)).check_distribution(&mut rng);
        }
    }
}

/// The instrument itself: at the neighbouring temperature, the same counts must be called wrong.
#[test]
fn a_slightly_wrong_temperature_would_be_noticed() {
    let mut rng = rng();
    let logits: Vec<f32> = (0..20).map(|token| token as f32 * 0.15).collect();
    let mut params = at(1.0);
    params.seed = rng.random();
    let counts = Case::new(logits.clone(), params).counts(DRAWS);
    assert_eq!(
        chi_squared::fit(&counts, &Case::new(logits.clone(), at(1.0)).exact()),
        Ok(())
    );
    for wrong in [0.95, 1.05] {
        let verdict = chi_squared::fit(&counts, &Case::new(logits.clone(), at(wrong)).exact());
        assert!(verdict.is_err(), "{wrong} passes for 1");
    }
}

#[test]
fn a_tiny_temperature_is_greedy_and_does_not_overflow() {
    let mut rng = rng();
    for temperature in [1e-6, f32::MIN_POSITIVE, f32::from_bits(1)] {
        for scale in [1.0, 1e4, 1e30] {
            let mut logits = random_logits(&mut rng, 50);
            logits.iter_mut().for_each(|logit| *logit *= scale);
            logits[17] = 3.1 * scale; // ahead by at least 0.1, which is 100,000 temperatures
            let case = Case::new(logits, at(temperature));
            assert_eq!(case.counts(200)[17], 200, "{case:?}");
        }
    }
}

#[test]
fn equal_logits_are_equally_likely_however_cold_or_large() {
    let mut rng = rng();
    for temperature in [1e-6, 1.0, 2.0] {
        for logit in [0.0, -1e30, f32::MAX, f32::MIN] {
            let mut case = Case::new(vec![logit; 13], at(temperature));
            case.params.seed = rng.random();
            let verdict = chi_squared::fit(&case.counts(20_000), &[1.0 / 13.0; 13]);
            assert_eq!(verdict, Ok(()), "{case:?}");
        }
    }
}

/// Only differences matter, even where `exp` of the logits would overflow.
#[test]
fn huge_logits_do_not_overflow() {
    let mut rng = rng();
    let mut case = Case::new(vec![1e30, 1e30, -1e30, 9.9e29], at(1.0));
    case.params.seed = rng.random();
    let verdict = chi_squared::fit(&case.counts(20_000), &[0.5, 0.5, 0.0, 0.0]);
    assert_eq!(verdict, Ok(()));
}

#[test]
fn what_is_not_a_number_and_minus_infinity_are_never_drawn() {
    let mut rng = rng();
    for _ in 0..5 {
        let mut logits = random_logits(&mut rng, 30);
        for _ in 0..10 {
            logits[rng.random_range(1..30)] = f32::NAN;
            logits[rng.random_range(1..30)] = f32::NEG_INFINITY;
        }
        logits[0] = f32::NAN; // the place from which a search for the maximum starts
        logits[29] = 1.0;
        Case::new(logits, at(1.0)).check_distribution(&mut rng);
    }
}

#[test]
fn infinite_logits_share_everything() {
    let mut rng = rng();
    let mut case = Case::new(vec![f32::INFINITY, 3.0, f32::NAN, f32::INFINITY], at(1.0));
    case.params.seed = rng.random();
    let verdict = chi_squared::fit(&case.counts(20_000), &[0.5, 0.0, 0.0, 0.5]);
    assert_eq!(verdict, Ok(()), "{case:?}");
}

#[test]
fn a_row_without_any_number_gives_the_first_token() {
    let mut rng = rng();
    for logit in [f32::NAN, f32::NEG_INFINITY] {
        let mut case = Case::new(vec![logit; 6], at(1.0));
        case.params.seed = rng.random();
        assert_eq!(case.counts(100)[0], 100, "{case:?}");
    }
}

#[test]
fn suppressed_tokens_are_never_drawn() {
    let mut rng = rng();
    for _ in 0..3 {
        let mut case = Case::new(random_logits(&mut rng, 24), at(1.2));
        case.suppressed = (0..10).map(|_| rng.random_range(0..23)).collect();
        case.params.logit_bias = vec![(case.suppressed[0], 100.0)]; // a bias does not bring one back
        case.check_distribution(&mut rng);
    }
}

#[test]
fn rows_of_different_length_can_share_a_sampler() {
    let mut rng = rng();
    let mut sampler = decoding::Sampler::new(8);
    for len in [40, 3, 17, 1, 8] {
        let case = Case::new(random_logits(&mut rng, len), at(1.0));
        let history = case.history();
        for position in 0..200 {
            let drawn = sampler.sample(&case.logits, &case.params, &history, &[], position);
            assert_eq!(drawn, case.sample(position), "{case:?}");
        }
    }
}
