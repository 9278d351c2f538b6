//! Temperature 0 takes the largest logit.

mod support;

use decoding::{Sampler, SamplingParams, TokenHistory, greedy};
use rand::RngExt;
use support::{logits, rng};

fn greedy_params() -> SamplingParams {
    SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    }
}

#[test]
fn the_largest_logit_wins() {
    let rng = &mut rng();
    for len in [1, 2, 77, 1000] {
        let logits = logits(rng, len);
        let mut order: Vec<usize> = (0..len).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        assert_eq!(greedy(&logits) as usize, order[0]);
        let seed = rng.random();
        let params = SamplingParams {
            seed,
            ..greedy_params()
        };
        let sampled = Sampler::new(len).sample(
            &logits,
            &params,
            &TokenHistory::default(),
            &[],
            rng.random(),
        );
        assert_eq!(sampled.token as usize, order[0]);
        assert!(sampled.logprobs.is_none());
    }
}

#[test]
fn ties_go_to_the_lowest_token() {
    assert_eq!(greedy(&[0.5, 2.0, 2.0, -1.0, 2.0]), 1);
    assert_eq!(greedy(&[0.0, -0.0]), 0);
}

#[test]
fn what_is_not_a_number_is_never_chosen() {
    assert_eq!(greedy(&[f32::NAN, 1.0, f32::NAN, 2.0]), 3);
    assert_eq!(greedy(&[f32::NEG_INFINITY, f32::NAN]), 0);
    assert_eq!(greedy(&[f32::NAN, f32::NEG_INFINITY]), 1);
    let mut sampler = Sampler::new(4);
    for temperature in [0.0, 1e-6, 1.0, 2.0] {
        for position in 0..200 {
            let params = SamplingParams {
                temperature,
                ..SamplingParams::default()
            };
            let logits = [f32::NAN, 1.0, f32::NEG_INFINITY, 1.5];
            let token = sampler
                .sample(&logits, &params, &TokenHistory::default(), &[], position)
                .token;
            assert!(
                [1, 3].contains(&token),
                "{token} at temperature {temperature}"
            );
        }
    }
}

/// A row without any number still gives a token of the vocabulary.
#[test]
fn a_hopeless_row_gives_some_token() {
    let mut sampler = Sampler::new(3);
    for temperature in [0.0, 0.7] {
        for logits in [[f32::NEG_INFINITY; 3], [f32::NAN; 3]] {
            let params = SamplingParams {
                temperature,
                top_k: 2,
                top_p: 0.5,
                ..SamplingParams::default()
            };
            assert!(
                sampler
                    .sample(&logits, &params, &TokenHistory::default(), &[], 5)
                    .token
                    < 3
            );
        }
    }
}

#[test]
fn suppressed_tokens_are_not_drawn() {
    let mut sampler = Sampler::new(4);
    let logits = [9.0, 1.0, 8.0, 0.0];
    let history = TokenHistory::default();
    assert_eq!(
        sampler
            .sample(&logits, &greedy_params(), &history, &[0, 2], 0)
            .token,
        1
    );
    for position in 0..500 {
        let token = sampler
            .sample(
                &logits,
                &SamplingParams::default(),
                &history,
                &[0, 2],
                position,
            )
            .token;
        assert!([1, 3].contains(&token));
    }
}
