//! Bias and penalties: the adjusted logits by their definitions, seen through greedy choices and through distributions.

mod support;

use decoding::{Sampler, SamplingParams, TokenHistory};
use rand::RngExt;
use rand::rngs::StdRng;
use support::{assert_distributed, counts, logits, rng, softmax, wide};

/// A prompt and an output, with repetitions.
fn texts(rng: &mut StdRng, vocab: u32) -> (Vec<u32>, Vec<u32>) {
    let mut text = |len| {
        (0..len)
            .map(|_| rng.random_range(0..vocab))
            .collect::<Vec<u32>>()
    };
    (text(12), text(20))
}

fn history(prompt: &[u32], output: &[u32]) -> TokenHistory {
    let mut history = TokenHistory::new(prompt);
    output.iter().for_each(|token| history.push(*token));
    history
}

/// The definitions, token by token: CTRL's repetition penalty over prompt and output, OpenAI's penalties over the output.
fn adjusted(logits: &[f32], params: &SamplingParams, prompt: &[u32], output: &[u32]) -> Vec<f64> {
    let mut adjusted = wide(logits);
    for (token, logit) in adjusted.iter_mut().enumerate() {
        let token = token as u32;
        *logit += params
            .logit_bias
            .iter()
            .filter(|(biased, _)| *biased == token)
            .map(|(_, bias)| f64::from(*bias))
            .sum::<f64>();
        if prompt.contains(&token) || output.contains(&token) {
            let penalty = f64::from(params.repetition_penalty);
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
        let count = output.iter().filter(|seen| **seen == token).count() as f64;
        if count > 0.0 {
            *logit -= f64::from(params.presence_penalty);
        }
        *logit -= f64::from(params.frequency_penalty) * count;
    }
    adjusted
}

fn random_params(rng: &mut StdRng, vocab: u32) -> SamplingParams {
    SamplingParams {
        repetition_penalty: rng.random_range(0.5..2.0),
        presence_penalty: rng.random_range(-2.0..2.0),
        frequency_penalty: rng.random_range(-2.0..2.0),
        logit_bias: (0..4)
            .map(|_| (rng.random_range(0..vocab), rng.random_range(-5.0..5.0)))
            .collect(),
        seed: rng.random(),
        ..SamplingParams::default()
    }
}

#[test]
fn draws_follow_the_adjusted_logits() {
    let rng = &mut rng();
    for _ in 0..8 {
        let logits = logits(rng, 30);
        let (prompt, output) = texts(rng, 30);
        let params = random_params(rng, 30);
        let want = softmax(&adjusted(&logits, &params, &prompt, &output), 1.0, |_| true);
        assert_distributed(
            &counts(&logits, &params, &history(&prompt, &output)),
            &want,
            &format!("{params:?}"),
        );
    }
}

#[test]
fn greedy_sees_the_adjusted_logits() {
    let rng = &mut rng();
    for _ in 0..300 {
        let logits = logits(rng, 50);
        let (prompt, output) = texts(rng, 50);
        let params = SamplingParams {
            temperature: 0.0,
            ..random_params(rng, 50)
        };
        let adjusted = adjusted(&logits, &params, &prompt, &output);
        let token = Sampler::new(50)
            .sample(&logits, &params, &history(&prompt, &output), &[], 0)
            .token as usize;
        let best = adjusted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(
            best - adjusted[token] < 1e-5,
            "{token} has {} and the best {best}",
            adjusted[token]
        );
    }
}

/// The prompt is not generated: presence and frequency do not see it, repetition does.
#[test]
fn only_repetition_sees_the_prompt() {
    let prompt = TokenHistory::new(&[0]);
    let run = |params: SamplingParams| {
        let params = SamplingParams {
            temperature: 0.0,
            ..params
        };
        Sampler::new(2)
            .sample(&[1.0, 0.9], &params, &prompt, &[], 0)
            .token
    };
    assert_eq!(
        run(SamplingParams {
            presence_penalty: 2.0,
            frequency_penalty: 2.0,
            ..SamplingParams::default()
        }),
        0
    );
    assert_eq!(
        run(SamplingParams {
            repetition_penalty: 1.5,
            ..SamplingParams::default()
        }),
        1
    );
}

#[test]
fn every_parameter_has_its_range() {
    let vocab = 10;
    let good = SamplingParams {
        logit_bias: vec![(9, 100.0)],
        temperature: 2.0,
        ..SamplingParams::default()
    };
    good.validate(vocab).expect("in range");
    let base = SamplingParams::default;
    let bad = [
        (
            "temperature",
            SamplingParams {
                temperature: -0.1,
                ..base()
            },
        ),
        (
            "temperature",
            SamplingParams {
                temperature: 2.1,
                ..base()
            },
        ),
        (
            "temperature",
            SamplingParams {
                temperature: f32::NAN,
                ..base()
            },
        ),
        (
            "top_p",
            SamplingParams {
                top_p: 0.0,
                ..base()
            },
        ),
        (
            "top_p",
            SamplingParams {
                top_p: 1.5,
                ..base()
            },
        ),
        (
            "top_p",
            SamplingParams {
                top_p: f32::NAN,
                ..base()
            },
        ),
        (
            "min_p",
            SamplingParams {
                min_p: -0.5,
                ..base()
            },
        ),
        (
            "min_p",
            SamplingParams {
                min_p: f32::INFINITY,
                ..base()
            },
        ),
        (
            "presence_penalty",
            SamplingParams {
                presence_penalty: 2.5,
                ..base()
            },
        ),
        (
            "frequency_penalty",
            SamplingParams {
                frequency_penalty: f32::NAN,
                ..base()
            },
        ),
        (
            "repetition_penalty",
            SamplingParams {
                repetition_penalty: 0.0,
                ..base()
            },
        ),
        (
            "repetition_penalty",
            SamplingParams {
                repetition_penalty: f32::INFINITY,
                ..base()
            },
        ),
        (
            "logit_bias",
            SamplingParams {
                logit_bias: vec![(1, 101.0)],
                ..base()
            },
        ),
        (
            "logit_bias",
            SamplingParams {
                logit_bias: vec![(10, 1.0)],
                ..base()
            },
        ),
        (
            "logit_bias",
            SamplingParams {
                logit_bias: vec![(1, f32::NAN)],
                ..base()
            },
        ),
    ];
    for (param, params) in bad {
        let error = params.validate(vocab).expect_err(param);
        assert_eq!(error.param, param);
        assert!(!error.message.is_empty());
    }
}
