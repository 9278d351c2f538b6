//! What the draw of one token costs over the size of the vocabulary.

use benches::Bench;
use decoding::{Sampler, SamplingParams, TokenHistory, logprobs_of, philox};
use std::hint::black_box;

fn main() {
    let mut bench = Bench::new(
        "stage-10",
        "10-sampling",
        "Drawing one token",
        &["stages/10-decoding/src"],
    );
    for vocab in [1024usize, 8192, 32_768, 131_072] {
        let logits = random_logits(vocab);
        let plain = SamplingParams {
            temperature: 0.8,
            ..SamplingParams::default()
        };
        let kinds = [
            (
                "greedy",
                SamplingParams {
                    temperature: 0.0,
                    ..plain.clone()
                },
            ),
            ("temperature", plain.clone()),
            (
                "top-k-50",
                SamplingParams {
                    top_k: 50,
                    ..plain.clone()
                },
            ),
            (
                "top-p-0.9",
                SamplingParams {
                    top_p: 0.9,
                    ..plain.clone()
                },
            ),
            (
                "min-p-0.05",
                SamplingParams {
                    min_p: 0.05,
                    ..plain.clone()
                },
            ),
            (
                "top-k-50-then-top-p",
                SamplingParams {
                    top_k: 50,
                    top_p: 0.9,
                    ..plain.clone()
                },
            ),
            (
                "penalties",
                SamplingParams {
                    repetition_penalty: 1.1,
                    frequency_penalty: 0.2,
                    ..plain
                },
            ),
        ];
        let history = history(vocab);
        let mut sampler = Sampler::new(vocab);
        for (kind, params) in kinds {
            let mut position = 0;
            bench.measure(&format!("{kind}/{vocab}"), 1, |b| {
                b.iter(|| {
                    position += 1;
                    sampler.sample(black_box(&logits), &params, &history, &[], position)
                })
            });
        }
        bench.measure(&format!("top-20-logprobs/{vocab}"), 1, |b| {
            b.iter(|| logprobs_of(black_box(&logits), 7, 20))
        });
    }
    bench.finish();
}

/// Logits as a language model has them, roughly: a few high, a long tail. Drawn by counting, so that every run has the same.
fn random_logits(vocab: usize) -> Vec<f32> {
    let draw = |index: usize| philox::uniform(7, index as u64).max(f64::MIN_POSITIVE);
    (0..vocab)
        .map(|index| (-2.0 * draw(index).ln()) as f32 - 8.0)
        .collect()
}

/// Of a prompt of 500 tokens and an answer of 200.
fn history(vocab: usize) -> TokenHistory {
    let token = |index: usize| (index * 31 % vocab) as u32;
    let mut history = TokenHistory::new(&(0..500).map(token).collect::<Vec<_>>());
    (0..200)
        .map(|index| token(index * 7))
        .for_each(|token| history.push(token));
    history
}
