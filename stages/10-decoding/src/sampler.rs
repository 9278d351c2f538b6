//! The sampler: adjust, truncate, draw.

use crate::truncate::{self, Candidate};
use crate::{Logprobs, SamplingParams, TokenHistory, logprobs_of, penalties, philox};

/// A token that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Its log-probability and the likeliest ones, where the request wants them.
    pub logprobs: Option<Logprobs>,
}

/// Draws tokens. Owns the room it needs, so that a draw allocates nothing but the log-probabilities it reports.
#[derive(Debug)]
pub struct Sampler {
    logits: Vec<f32>,
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for rows of `vocab_size` logits.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            logits: Vec::with_capacity(vocab_size),
            candidates: Vec::with_capacity(vocab_size),
        }
    }

    /// Draws the token that follows. `suppressed` tokens are never drawn (as long as another is left); `position` is the
    /// token's index in its sequence, which with the seed names the draw.
    ///
    /// # Panics
    /// If a token of the history, the bias or `suppressed` is not in the vocabulary, or there is none.
    pub fn sample(
        &mut self,
        logits: &[f32],
        params: &SamplingParams,
        history: &TokenHistory,
        suppressed: &[u32],
        position: u64,
    ) -> Sampled {
        self.logits.clear();
        self.logits.extend(
            logits
                .iter()
                .map(|x| if x.is_nan() { f32::NEG_INFINITY } else { *x }),
        );
        penalties::adjust(&mut self.logits, params, history, suppressed);
        let token = if params.temperature == 0.0 {
            greedy(&self.logits)
        } else {
            self.weigh(params.temperature);
            self.truncate(params);
            draw(&self.candidates, philox::uniform(params.seed, position))
        };
        Sampled {
            token,
            logprobs: params.logprobs.map(|top| logprobs_of(logits, token, top)),
        }
    }

    /// Every token with its weight `exp((logit - max) / temperature)`. The difference is taken before the division, so that a
    /// tiny temperature makes small weights, never infinite ones; infinite logits count as the largest number, so that they
    /// share all the weight.
    fn weigh(&mut self, temperature: f32) {
        // ANCHOR: solve-temperature
        let max = self.logits[greedy(&self.logits) as usize].clamp(f32::MIN, f32::MAX);
        self.candidates.clear();
        for (token, logit) in self.logits.iter().enumerate() {
            let below = f64::from(logit.min(f32::MAX)) - f64::from(max);
            self.candidates.push(Candidate {
                token: token as u32,
                weight: (below / f64::from(temperature)).exp(),
            });
        }
        // ANCHOR_END: solve-temperature
    }

    /// Leaves only the candidates that every truncation lets stay.
    fn truncate(&mut self, params: &SamplingParams) {
        if params.top_k == 0 && params.top_p >= 1.0 && params.min_p == 0.0 {
            return;
        }
        let vocab = self.candidates.len();
        let count = if params.top_k == 0 {
            vocab
        } else {
            vocab.min(params.top_k as usize)
        };
        truncate::top_k(&mut self.candidates, count);
        // min-p looks at ratios alone, so it does not matter that top-k is cut first.
        if params.min_p > 0.0 {
            let count = truncate::min_p(&self.candidates, params.min_p);
            self.candidates.truncate(count);
        }
        // At 1 nothing is cut; a sum that rounds up early must not cut the tail.
        if params.top_p < 1.0 {
            let count = truncate::top_p(&self.candidates, params.top_p);
            self.candidates.truncate(count);
        }
    }
}

/// The largest logit's token; the lowest of equals. NaN gives way to anything else; a row of nothing else gives 0.
pub fn greedy(logits: &[f32]) -> u32 {
    // ANCHOR: solve-greedy
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] || (logits[best].is_nan() && !logit.is_nan()) {
            best = token;
        }
    }
    best as u32
    // ANCHOR_END: solve-greedy
}

/// The candidate in whose share of the whole weight `uniform` (from `[0, 1)`) falls.
fn draw(candidates: &[Candidate], uniform: f64) -> u32 {
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut rest = uniform * total;
    let mut chosen = candidates[0].token;
    for candidate in candidates.iter().filter(|candidate| candidate.weight > 0.0) {
        chosen = candidate.token;
        rest -= candidate.weight;
        if rest < 0.0 {
            break;
        }
    }
    chosen
}
