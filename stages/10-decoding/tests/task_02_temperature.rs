//! Temperature: probabilities are `exp(logit / T)`, normalised.

mod support;

use decoding::{Sampler, SamplingParams, TokenHistory};
use rand::RngExt;
use support::{assert_distributed, counts, logits, rng, softmax, wide};

#[test]
fn draws_follow_the_softmax() {
    let rng = &mut rng();
    for (len, temperature) in [
        (1, 1.0),
        (2, 1.0),
        (11, 0.3),
        (50, 1.0),
        (50, 2.0),
        (300, 0.8),
    ] {
        let logits = logits(rng, len);
        let params = SamplingParams {
            temperature,
            seed: rng.random(),
            ..SamplingParams::default()
        };
        let want = softmax(&wide(&logits), f64::from(temperature), |_| true);
        let what = format!("{len} tokens at {temperature}");
        assert_distributed(
            &counts(&logits, &params, &TokenHistory::default()),
            &want,
            &what,
        );
    }
}

/// Adding a constant to all logits changes nothing, not even at sizes where `exp` would overflow.
#[test]
fn large_logits_do_not_overflow() {
    let logits = [1e30, 1e30, -1e30, 9.9e29];
    let seen = counts(
        &logits,
        &SamplingParams::default(),
        &TokenHistory::default(),
    );
    assert_distributed(&seen, &[0.5, 0.5, 0.0, 0.0], "huge logits");
}

/// Towards zero, temperature becomes greedy; it does not divide by zero.
#[test]
fn a_tiny_temperature_is_greedy() {
    let rng = &mut rng();
    let mut sampler = Sampler::new(40);
    for position in 0..200 {
        let mut logits = logits(rng, 40);
        let best = rng.random_range(0..40);
        logits[best] = 3.5;
        let params = SamplingParams {
            temperature: 1e-6,
            ..SamplingParams::default()
        };
        let token = sampler
            .sample(&logits, &params, &TokenHistory::default(), &[], position)
            .token;
        assert_eq!(token as usize, best);
    }
}
