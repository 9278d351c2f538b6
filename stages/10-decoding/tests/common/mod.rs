//! What the task files share: a seed, a case with its exact distribution, and the chi-squared test.
#![allow(dead_code)] // each task file uses its part

pub mod chi_squared;

use decoding::{Sampled, Sampler, SamplingParams, TokenHistory};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How many draws a distribution is judged by.
pub const DRAWS: u64 = 100_000;

/// Seeds from TEST_SEED, or anew; prints the seed so that a failure can be run again.
pub fn rng() -> StdRng {
    let given = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// `len` logits between -3 and 3.
pub fn random_logits(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-3.0..3.0)).collect()
}

/// `len` logits between -3 and 3 in steps of an eighth. Sums and products with other such numbers are exact in f32, so that a
/// truncation after a penalty has the same boundary here and in the crate; and many of them are equal, which tests the ties.
pub fn coarse_logits(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len)
        .map(|_| rng.random_range(-24..=24) as f32 / 8.0)
        .collect()
}

/// Everything that a draw depends on but the position.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub logits: Vec<f32>,
    pub params: SamplingParams,
    pub prompt: Vec<u32>,
    pub output: Vec<u32>,
    pub suppressed: Vec<u32>,
}

impl Case {
    pub fn new(logits: Vec<f32>, params: SamplingParams) -> Self {
        Self {
            logits,
            params,
            ..Self::default()
        }
    }

    pub fn history(&self) -> TokenHistory {
        let mut history = TokenHistory::new(&self.prompt);
        self.output.iter().for_each(|token| history.push(*token));
        history
    }

    /// One draw, by a sampler of its own.
    pub fn sample(&self, position: u64) -> Sampled {
        let mut sampler = Sampler::new(self.logits.len());
        let history = self.history();
        sampler.sample(
            &self.logits,
            &self.params,
            &history,
            &self.suppressed,
            position,
        )
    }

    /// How often each token comes at the positions `0..draws`.
    pub fn counts(&self, draws: u64) -> Vec<u64> {
        let mut sampler = Sampler::new(self.logits.len());
        let history = self.history();
        let mut counts = vec![0; self.logits.len()];
        for position in 0..draws {
            let drawn = sampler.sample(
                &self.logits,
                &self.params,
                &history,
                &self.suppressed,
                position,
            );
            counts[drawn.token as usize] += 1;
        }
        counts
    }

    /// Draws with a fresh seed and holds the counts to [`Case::exact`].
    pub fn check_distribution(mut self, rng: &mut StdRng) {
        self.params.seed = rng.random();
        let verdict = chi_squared::fit(&self.counts(DRAWS), &self.exact());
        assert!(verdict.is_ok(), "{verdict:?} for {self:?}");
    }

    /// The logits after bias, penalties and suppression, each by its definition.
    pub fn adjusted(&self) -> Vec<f64> {
        (0..self.logits.len() as u32)
            .map(|token| self.adjusted_logit(token))
            .collect()
    }

    fn adjusted_logit(&self, token: u32) -> f64 {
        let params = &self.params;
        let logit = self.logits[token as usize];
        if logit.is_nan() || self.suppressed.contains(&token) {
            return f64::NEG_INFINITY;
        }
        let of_token = params.logit_bias.iter().filter(|(at, _)| *at == token);
        let mut logit = f64::from(logit) + of_token.map(|(_, bias)| f64::from(*bias)).sum::<f64>();
        let count = self.output.iter().filter(|at| **at == token).count();
        if count > 0 || self.prompt.contains(&token) {
            let factor = f64::from(params.repetition_penalty);
            logit *= if logit > 0.0 { factor.recip() } else { factor };
        }
        if count > 0 {
            logit -= f64::from(params.presence_penalty);
        }
        logit - count as f64 * f64::from(params.frequency_penalty)
    }

    /// The probability of every token, from the definitions: no sorting, no shared sums, quadratic time.
    pub fn exact(&self) -> Vec<f64> {
        let params = &self.params;
        let adjusted = self.adjusted();
        if params.temperature == 0.0 {
            let first = (0..adjusted.len()).find(|token| rank(&adjusted, *token) == 0);
            let mut certain = vec![0.0; adjusted.len()];
            certain[first.unwrap()] = 1.0;
            return certain;
        }
        let mut p = softmax(&adjusted, f64::from(params.temperature));
        let max = p.iter().copied().fold(0.0, f64::max);
        keep(&mut p, |p, token| p[token] >= max * f64::from(params.min_p));
        if params.top_k > 0 {
            keep(&mut p, |p, token| rank(p, token) < params.top_k as usize);
        }
        if params.top_p < 1.0 {
            keep(&mut p, |p, token| {
                mass_before(p, token) < f64::from(params.top_p)
            });
        }
        p
    }
}

/// `exp(x / temperature)` over its sum.
pub fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut p: Vec<f64> = logits
        .iter()
        .map(|logit| ((logit - max) / temperature).exp())
        .collect();
    keep(&mut p, |_, _| true);
    p
}

/// How many come before `index`: the larger ones, and of the equal ones those of a lower id.
pub fn rank(values: &[f64], index: usize) -> usize {
    (0..values.len())
        .filter(|other| before(values, *other, index))
        .count()
}

fn before(values: &[f64], a: usize, b: usize) -> bool {
    values[a] > values[b] || values[a] == values[b] && a < b
}

/// The probability of all that come before `index`.
fn mass_before(p: &[f64], index: usize) -> f64 {
    (0..p.len())
        .filter(|other| before(p, *other, index))
        .map(|other| p[other])
        .sum()
}

/// Sets what `stays` denies to 0 and makes the rest add up to 1.
fn keep(p: &mut [f64], stays: impl Fn(&[f64], usize) -> bool) {
    let whole = p.to_vec();
    for (token, p) in p.iter_mut().enumerate() {
        *p *= f64::from(u8::from(stays(&whole, token)));
    }
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
}
