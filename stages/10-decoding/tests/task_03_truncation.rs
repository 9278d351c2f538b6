//! Top-k, top-p and min-p: who stays a candidate, and that the rest keep their proportions.

mod support;

use decoding::{Sampler, SamplingParams, TokenHistory};
use proptest::prelude::*;
use rand::RngExt;
use support::{assert_distributed, counts, logits, rng, softmax, wide};

/// The tokens that stay, by the definitions: sorted once, then cut by each rule in turn.
fn candidates(logits: &[f32], params: &SamplingParams) -> Vec<usize> {
    let probabilities = softmax(&wide(logits), f64::from(params.temperature), |_| true);
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| {
        probabilities[*b]
            .total_cmp(&probabilities[*a])
            .then(a.cmp(b))
    });
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    let floor = probabilities[order[0]] * f64::from(params.min_p);
    order.retain(|token| probabilities[*token] >= floor);
    if params.top_p < 1.0 {
        let total: f64 = order.iter().map(|token| probabilities[*token]).sum();
        let mut sum = 0.0;
        let enough = order.iter().position(|token| {
            sum += probabilities[*token];
            sum >= total * f64::from(params.top_p)
        });
        order.truncate(enough.map_or(order.len(), |at| at + 1));
    }
    order
}

#[test]
fn draws_follow_the_truncated_softmax() {
    let rng = &mut rng();
    let base = SamplingParams::default();
    let cases = [
        SamplingParams {
            top_k: 1,
            ..base.clone()
        },
        SamplingParams {
            top_k: 7,
            ..base.clone()
        },
        SamplingParams {
            top_k: 1000,
            ..base.clone()
        },
        SamplingParams {
            top_p: 0.05,
            ..base.clone()
        },
        SamplingParams {
            top_p: 0.6,
            ..base.clone()
        },
        SamplingParams {
            top_p: 0.95,
            temperature: 1.7,
            ..base.clone()
        },
        SamplingParams {
            min_p: 0.2,
            ..base.clone()
        },
        SamplingParams {
            min_p: 1.0,
            ..base.clone()
        },
        SamplingParams {
            top_k: 20,
            top_p: 0.8,
            min_p: 0.05,
            temperature: 0.7,
            ..base
        },
    ];
    for params in cases {
        let params = SamplingParams {
            seed: rng.random(),
            ..params
        };
        let logits = logits(rng, 60);
        let kept = candidates(&logits, &params);
        let want = softmax(&wide(&logits), f64::from(params.temperature), |token| {
            kept.contains(&token)
        });
        assert_distributed(
            &counts(&logits, &params, &TokenHistory::default()),
            &want,
            &format!("{params:?}"),
        );
    }
}

/// Of equals at the border, the lower tokens stay.
#[test]
fn ties_at_the_border_keep_the_lower_tokens() {
    let params = SamplingParams {
        top_k: 2,
        ..SamplingParams::default()
    };
    let seen = counts(&[1.0, 5.0, 1.0, 1.0], &params, &TokenHistory::default());
    assert!(seen[0] > 0 && seen[2] == 0 && seen[3] == 0, "{seen:?}");
}

/// A token that is exactly `min_p` times as likely as the best stays.
#[test]
fn min_p_keeps_its_border() {
    let params = SamplingParams {
        min_p: 1.0,
        ..SamplingParams::default()
    };
    let seen = counts(&[2.0, 1.0, 2.0], &params, &TokenHistory::default());
    assert_distributed(&seen, &[0.5, 0.0, 0.5], "two best tokens");
}

proptest! {
    /// Whatever is asked, the token is a candidate by the definition.
    #[test]
    fn the_token_is_always_a_candidate(
        logits in prop::collection::vec(-20.0f32..20.0, 1..80),
        temperature in 0.05f32..2.0,
        top_k in 0u32..100,
        top_p in 0.001f32..=1.0,
        min_p in 0.0f32..=1.0,
        seed: u64,
        position: u64,
    ) {
        let params = SamplingParams { temperature, top_k, top_p, min_p, seed, ..SamplingParams::default() };
        let token = Sampler::new(logits.len()).sample(&logits, &params, &TokenHistory::default(), &[], position).token;
        let kept = candidates(&logits, &params);
        // A sum that reaches `top_p` to the last bit may end one token sooner or later than the reference's.
        let border = candidates(&logits, &SamplingParams { top_p: (top_p + 1e-6).min(1.0), min_p: min_p * (1.0 - 1e-6), ..params });
        prop_assert!(kept.contains(&(token as usize)) || border.contains(&(token as usize)), "{token} is not in {kept:?}");
    }
}
