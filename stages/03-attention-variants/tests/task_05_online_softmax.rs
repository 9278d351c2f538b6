//! Task 5: a softmax over runs is the softmax of the whole, however the scores are cut.

mod support;

use attention_variants::variants::OnlineSoftmax;
use rand::RngExt;
use support::{assert_close, rng, values};

/// `sum over i of softmax(scores)_i * values_i` in double precision, and `ln(sum(exp(scores)))`.
fn reference(scores: &[f32], values: &[f32]) -> (f32, f64) {
    let wide = || scores.iter().map(|x| f64::from(*x));
    let max = wide().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = wide().map(|x| (x - max).exp()).sum();
    let mixed: f64 = wide()
        .zip(values)
        .map(|(x, v)| (x - max).exp() * f64::from(*v))
        .sum();
    ((mixed / sum) as f32, max + sum.ln())
}

/// The same, run by run, as attention does it.
fn online(runs: &[&[f32]], values: &[f32]) -> (f32, f64) {
    let (mut softmax, mut out, mut at) = (OnlineSoftmax::default(), 0.0, 0);
    for run in runs {
        let mut weights = run.to_vec();
        out *= softmax.absorb(&mut weights);
        for weight in weights {
            out += weight * values[at];
            at += 1;
        }
    }
    let log_sum = f64::from(softmax.max) + f64::from(softmax.sum).ln();
    (out / softmax.sum, log_sum)
}

#[test]
fn cuts_do_not_matter() {
    let mut rng = rng();
    for len in [1, 2, 15, 16, 17, 100] {
        for scale in [0.1, 5.0, 80.0] {
            let scores: Vec<f32> = values(&mut rng, len).iter().map(|x| x * scale).collect();
            let mixed = values(&mut rng, len);
            let expected = reference(&scores, &mixed);
            for run in [1, 3, 16, len] {
                let runs: Vec<&[f32]> = scores.chunks(run).collect();
                let got = online(&runs, &mixed);
                assert!(
                    (got.0 - expected.0).abs() < 1e-5,
                    "{got:?}, not {expected:?}, in runs of {run} of {scores:?}"
                );
                assert!(
                    (got.1 - expected.1).abs() < 1e-4 * expected.1.abs().max(1.0),
                    "{got:?}, not {expected:?}"
                );
            }
        }
    }
}

/// The maximum may come first, last or in the middle; each time it grows, what was summed is rescaled.
#[test]
fn a_rising_maximum_rescales_and_a_falling_one_does_not() {
    let mut softmax = OnlineSoftmax::default();
    let mut first = [1.0, 3.0];
    softmax.absorb(&mut first);
    assert_close(&first, &[(-2f32).exp(), 1.0], 1e-6, "weights");
    assert_eq!(
        softmax.absorb(&mut [2.0]),
        1.0,
        "a smaller score changes nothing that was"
    );
    let mut last = [5.0];
    let rescale = softmax.absorb(&mut last);
    assert_close(&[rescale], &[(-2f32).exp()], 1e-6, "rescale");
    assert_eq!((last[0], softmax.max), (1.0, 5.0));
    let sum: f32 = [1.0f32, 3.0, 2.0, 5.0]
        .iter()
        .map(|x| (x - 5.0).exp())
        .sum();
    assert_close(&[softmax.sum], &[sum], 1e-6, "sum");
}

#[test]
fn huge_scores_do_not_overflow() {
    let mixed = [1.0, 2.0, 3.0];
    let (got, _) = online(&[&[3e38], &[1e38], &[3e38]], &mixed);
    assert_eq!(got, 2.0);
    let (got, _) = online(&[&[-3e38], &[-3e38]], &mixed);
    assert_eq!(got, 1.5);
}

/// A run in which nothing is visible, as a mask may leave it, wherever it comes.
#[test]
fn what_is_masked_weighs_nothing() {
    const MASKED: f32 = f32::NEG_INFINITY;
    let mixed = [1.0, 2.0, 3.0, 4.0, 5.0];
    let (got, log_sum) = online(&[&[MASKED, MASKED], &[0.5, MASKED], &[0.5]], &mixed);
    assert_eq!(got, 4.0, "the mean of the third and the fifth");
    assert!((log_sum - (0.5 + 2f64.ln())).abs() < 1e-6);
    let mut softmax = OnlineSoftmax::default();
    let mut run = [MASKED; 3];
    assert_eq!(softmax.absorb(&mut run), 1.0);
    assert_eq!((run, softmax.sum), ([0.0; 3], 0.0));
}

/// A broken score must be seen in the end, wherever it stands; `f32::max` alone would pass it over.
#[test]
fn what_is_not_a_number_is_not_hidden() {
    const MASKED: f32 = f32::NEG_INFINITY;
    let mixed = [1.0, 2.0, 3.0, 4.0];
    for first in [[f32::NAN, f32::NAN], [f32::NAN, MASKED], [f32::NAN, 0.5]] {
        assert!(
            online(&[&first, &[0.5, 0.5]], &mixed).0.is_nan(),
            "{first:?} first"
        );
        assert!(
            online(&[&[0.5, 0.5], &first], &mixed).0.is_nan(),
            "{first:?} last"
        );
    }
}

#[test]
fn random_cuts_agree() {
    let mut rng = rng();
    for _ in 0..200 {
        let len = rng.random_range(1..60);
        let scores: Vec<f32> = values(&mut rng, len).iter().map(|x| x * 20.0).collect();
        let mixed = values(&mut rng, len);
        let (mut runs, mut rest): (Vec<&[f32]>, &[f32]) = (Vec::new(), &scores);
        while !rest.is_empty() {
            let (run, tail) = rest.split_at(rng.random_range(0..=rest.len().min(9)));
            runs.push(run);
            rest = tail;
        }
        let (got, expected) = (online(&runs, &mixed), reference(&scores, &mixed));
        assert!(
            (got.0 - expected.0).abs() < 1e-5,
            "{got:?}, not {expected:?}, for {runs:?}"
        );
    }
}
