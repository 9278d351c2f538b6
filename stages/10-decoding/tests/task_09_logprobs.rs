//! Task 9: log-probabilities are those of the model, whatever the request does to the draw.

mod common;

use common::{Case, coarse_logits, random_logits, rank, rng};
use decoding::{SamplingParams, TokenHistory, logprobs_of};
use rand::RngExt;

/// The log-softmax by its definition. NaN counts as `-inf`.
fn reference(logits: &[f32]) -> Vec<f64> {
    let wide = |x: f32| {
        if x.is_nan() {
            f64::NEG_INFINITY
        } else {
            f64::from(x)
        }
    };
    let max = logits
        .iter()
        .map(|x| wide(*x))
        .fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|x| (wide(*x) - max).exp()).sum();
    logits.iter().map(|x| wide(*x) - max - sum.ln()).collect()
}

/// Within 1e-5, or of a part in 100,000 where f32 holds no more. Equal infinities agree, NaN never does.
fn close(got: f32, expected: f64) -> bool {
    let got = f64::from(got);
    got == expected || (got - expected).abs() <= 1e-5 * (expected.abs() / 100.0).max(1.0)
}

#[test]
fn they_match_the_definition_at_every_size() {
    let mut rng = rng();
    for len in [1, 2, 3, 31, 1000] {
        for scale in [1e-3, 1.0, 10.0, 1e4] {
            let mut logits = random_logits(&mut rng, len);
            logits.iter_mut().for_each(|logit| *logit *= scale);
            let expected = reference(&logits);
            for _ in 0..20 {
                let token = rng.random_range(0..len);
                let got = logprobs_of(&logits, token as u32, 0);
                assert!(
                    close(got.logprob, expected[token]),
                    "{got:?} at {token} of {logits:?}"
                );
                assert!(got.top.is_empty());
            }
        }
    }
}

#[test]
fn the_likeliest_come_best_first_and_equals_by_id() {
    let mut rng = rng();
    for _ in 0..100 {
        let len = rng.random_range(1..120);
        let mut logits = coarse_logits(&mut rng, len);
        if len > 2 {
            logits[rng.random_range(0..len)] = f32::NAN;
            logits[rng.random_range(0..len)] = -0.0; // equal to 0, though not bit for bit
        }
        let expected = reference(&logits);
        let count = rng.random_range(0..=len + 3);
        let top = logprobs_of(&logits, 0, count).top;
        assert_eq!(top.len(), count.min(len));
        for (place, (token, logprob)) in top.iter().enumerate() {
            assert_eq!(
                rank(&expected, *token as usize),
                place,
                "{top:?} of {logits:?}"
            );
            assert!(
                close(*logprob, expected[*token as usize]),
                "{top:?} of {logits:?}"
            );
        }
    }
}

#[test]
fn they_ignore_everything_that_changes_the_draw() {
    let mut rng = rng();
    for _ in 0..200 {
        let logits = random_logits(&mut rng, 20);
        let expected = reference(&logits);
        let params = SamplingParams {
            temperature: rng.random_range(0.0..2.0),
            top_k: rng.random_range(0..5),
            top_p: rng.random_range(0.1..1.0),
            min_p: rng.random_range(0.0..0.5),
            repetition_penalty: 1.7,
            presence_penalty: 1.5,
            frequency_penalty: -0.5,
            logit_bias: vec![(rng.random_range(0..20), 50.0), (3, -4.0)],
            seed: rng.random(),
            logprobs: Some(4),
        };
        let mut case = Case::new(logits, params);
        (case.prompt, case.output) = (vec![1, 2, 3], vec![2, 4, 4, 5]);
        case.suppressed = vec![decoding::greedy(&case.logits)];
        let drawn = case.sample(rng.random());
        let reported = drawn.logprobs.expect("asked for");
        assert!(
            close(reported.logprob, expected[drawn.token as usize]),
            "{case:?}"
        );
        assert_eq!(reported, logprobs_of(&case.logits, drawn.token, 4));
        assert_eq!(
            reported.top[0].0, case.suppressed[0],
            "suppression is not of the model"
        );
    }
}

#[test]
fn they_come_only_when_asked_for() {
    let mut rng = rng();
    let mut case = Case::new(random_logits(&mut rng, 9), SamplingParams::default());
    assert_eq!(case.sample(0).logprobs, None);
    for (asked, reported) in [(0, 0), (3, 3), (9, 9), (50, 9)] {
        case.params.logprobs = Some(asked);
        assert_eq!(case.sample(0).logprobs.unwrap().top.len(), reported);
    }
}

#[test]
fn the_draw_does_not_change_with_them() {
    let mut rng = rng();
    let mut case = Case::new(random_logits(&mut rng, 50), SamplingParams::default());
    let without: Vec<u32> = (0..200).map(|at| case.sample(at).token).collect();
    case.params.logprobs = Some(5);
    let with: Vec<u32> = (0..200).map(|at| case.sample(at).token).collect();
    assert_eq!(without, with);
}

/// A client reads these as JSON, which has no NaN: an impossible token is `-inf`, never NaN.
#[test]
fn they_are_defined_on_every_row() {
    const LOW: f32 = f32::NEG_INFINITY;
    const HIGH: f32 = f32::INFINITY;
    let half = -std::f32::consts::LN_2;
    let rows: [([f32; 3], [f32; 3]); 5] = [
        ([f32::NAN, 1.0, LOW], [LOW, 0.0, LOW]),
        ([LOW; 3], [LOW; 3]),
        ([f32::NAN; 3], [LOW; 3]),
        ([HIGH, 2.0, HIGH], [half, f32::MIN, half]), // infinity counts as the largest number
        ([f32::MAX, f32::MIN, f32::MAX], [half, LOW, half]),
    ];
    for (logits, expected) in rows {
        for token in 0..3 {
            let got = logprobs_of(&logits, token, 3);
            // Where the true value is beyond f32, -inf stands for it.
            assert!(
                close(got.logprob, f64::from(expected[token as usize])),
                "{got:?} of {logits:?}"
            );
            assert!(
                got.top.iter().all(|(_, logprob)| !logprob.is_nan()),
                "{got:?}"
            );
        }
    }
}

/// Only differences of logits matter: a row far below zero has the probabilities of the same row at zero.
#[test]
fn a_row_far_from_zero_keeps_its_probabilities() {
    let mut rng = rng();
    let logits = coarse_logits(&mut rng, 50);
    for shift in [-1e4, 1e4] {
        let shifted: Vec<f32> = logits.iter().map(|logit| logit + shift).collect();
        for token in 0..50 {
            let (here, there) = (
                logprobs_of(&logits, token, 3),
                logprobs_of(&shifted, token, 3),
            );
            assert!(
                close(there.logprob, f64::from(here.logprob)),
                "{there:?}, not {here:?}, {shift} away"
            );
        }
    }
}

#[test]
fn a_long_row_adds_up_to_one() {
    let mut rng = rng();
    let logits = random_logits(&mut rng, 2000);
    let sum: f64 = (0..2000)
        .map(|token| f64::from(logprobs_of(&logits, token, 0).logprob).exp())
        .sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    let mut sampler = decoding::Sampler::new(2000);
    let params = SamplingParams {
        logprobs: Some(2000),
        ..SamplingParams::default()
    };
    let drawn = sampler.sample(&logits, &params, &TokenHistory::new(&[]), &[], 0);
    let reported = drawn.logprobs.unwrap();
    assert!(reported.top.contains(&(drawn.token, reported.logprob)));
}
