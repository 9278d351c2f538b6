//! Log-probabilities: of the model's own distribution, whatever the sampler does to it.

mod support;

use decoding::{Sampler, SamplingParams, TokenHistory, logprobs_of};
use rand::RngExt;
use support::{logits, rng, softmax, wide};

#[test]
fn they_are_the_log_softmax() {
    let rng = &mut rng();
    for len in [1, 5, 400] {
        let logits = logits(rng, len);
        let want: Vec<f64> = softmax(&wide(&logits), 1.0, |_| true)
            .iter()
            .map(|p| p.ln())
            .collect();
        let mut order: Vec<usize> = (0..len).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        for top in [0, 1, 3, 1000] {
            let token = rng.random_range(0..len);
            let got = logprobs_of(&logits, token as u32, top);
            assert!((f64::from(got.logprob) - want[token]).abs() < 1e-5);
            assert_eq!(got.top.len(), top.min(len));
            for ((token, logprob), want_token) in got.top.iter().zip(&order) {
                assert_eq!(*token as usize, *want_token);
                assert!((f64::from(*logprob) - want[*want_token]).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn sampling_reports_the_raw_distribution() {
    let rng = &mut rng();
    let logits = logits(rng, 30);
    let params = SamplingParams {
        temperature: 0.4,
        top_k: 3,
        presence_penalty: 1.5,
        logit_bias: vec![(4, 50.0)],
        logprobs: Some(2),
        ..SamplingParams::default()
    };
    let sampled = Sampler::new(30).sample(&logits, &params, &TokenHistory::default(), &[], 3);
    assert_eq!(sampled.token, 4, "the bias decides");
    assert_eq!(
        sampled.logprobs,
        Some(logprobs_of(&logits, 4, 2)),
        "and the report does not know it"
    );
}

#[test]
fn odd_rows_have_odd_but_defined_values() {
    let got = logprobs_of(&[f32::NAN, 0.0, f32::NEG_INFINITY, 0.0], 1, 4);
    assert!((got.logprob - 0.5f32.ln()).abs() < 1e-6);
    let tokens: Vec<u32> = got.top.iter().map(|(token, _)| *token).collect();
    assert_eq!(tokens, [1, 3, 0, 2]);
    assert_eq!(
        logprobs_of(&[f32::NAN, 0.0], 0, 0).logprob,
        f32::NEG_INFINITY
    );
    let huge = logprobs_of(&[3e38, 3e38], 0, 1);
    assert!((huge.logprob - 0.5f32.ln()).abs() < 1e-6, "no overflow");
}
