//! How well a model predicts: perplexity of texts, and the rate of answers that it would give word by word.
//!
//! A greedy answer is exact if and only if every one of its tokens, and the end, is the likeliest after those before it. So one pass
//! over question and answer tells whether the model would give it, with no token generated.

use super::QuantizeError;
use super::checkpoint::Checkpoint;
use super::text::Sequence;
use attention_variants::hf::Source;
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::{Arithmetic, Host, Vectorised};
use attention_variants::step::{StepInputs, StepLimits};
use rayon::prelude::*;
use std::ops::Range;

const BLOCK_SIZE: usize = 16;

/// What a model is loaded with to be measured.
pub const LIMITS: StepLimits = StepLimits {
    tokens: 2048,
    logit_rows: 256,
    blocks: 2 * 2048 / BLOCK_SIZE,
    block_size: BLOCK_SIZE,
    positions: 1024,
};

/// Loads a checkpoint on the CPU, by way of a folder that is gone afterwards, and hands it on.
///
/// # Errors
/// What the folder or the loader says.
pub fn with_model<T>(
    checkpoint: &Checkpoint,
    measure: impl FnOnce(&mut dyn LanguageModel) -> T,
) -> Result<T, QuantizeError> {
    with_model_on(Vectorised::default(), checkpoint, measure)
}

/// The same on an arithmetic of the caller's.
///
/// # Errors
/// As [`with_model`].
pub fn with_model_on<T>(
    arithmetic: impl Arithmetic,
    checkpoint: &Checkpoint,
    measure: impl FnOnce(&mut dyn LanguageModel) -> T,
) -> Result<T, QuantizeError> {
    let folder = tempfile::tempdir().map_err(QuantizeError::io(&std::env::temp_dir()))?;
    checkpoint.write(folder.path())?;
    let source = Source::Dir(folder.path().to_owned());
    let mut model = load(
        Host::new(arithmetic),
        source.config()?,
        source.weights()?,
        LIMITS,
    )?;
    Ok(measure(&mut model))
}

/// How a model predicted a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// `-Σ ln p` over the predicted tokens.
    pub loss: f64,
    /// Predicted tokens.
    pub tokens: usize,
    /// Each of them was the likeliest.
    pub exact: bool,
}

/// How the model predicts each sequence.
pub fn score(model: &mut dyn LanguageModel, sequences: &[Sequence]) -> Vec<Score> {
    let vocabulary = model.config().vocab_size;
    let mut scores = Vec::with_capacity(sequences.len());
    forward(model, sequences, Sequence::predicting, |model, batch| {
        let tokens: Vec<u32> = batch
            .iter()
            .flat_map(Sequence::predicted)
            .copied()
            .collect();
        let mut outcomes = Vec::with_capacity(tokens.len());
        for range in logit_ranges(tokens.len()) {
            let logits = model.logits(range.clone()).par_chunks_exact(vocabulary);
            let outcome = |(logits, token): (&[f32], &u32)| surprise(logits, *token);
            outcomes.par_extend(logits.zip(&tokens[range]).map(outcome));
        }
        let mut outcomes = outcomes.into_iter();
        for sequence in batch {
            let tokens = sequence.predicted().len();
            let mut score = Score {
                loss: 0.0,
                tokens,
                exact: true,
            };
            for (loss, likeliest) in outcomes.by_ref().take(tokens) {
                score.loss += loss;
                score.exact &= likeliest;
            }
            scores.push(score);
        }
    });
    scores
}

/// How far the model's predictions are from those of `reference`: the mean of `Σ p ln (p / q)` over the predicted tokens (Kullback and
/// Leibler, 1951), `p` being the reference's probabilities. Never below zero, and zero only where nothing has changed: a loss may fall by
/// luck, this cannot.
pub fn divergence(
    reference: &mut dyn LanguageModel,
    model: &mut dyn LanguageModel,
    sequences: &[Sequence],
) -> f64 {
    let vocabulary = model.config().vocab_size;
    let (mut sum, mut tokens) = (0.0, 0);
    forward(model, sequences, Sequence::predicting, |model, batch| {
        step(reference, batch, Sequence::predicting);
        let predicted = batch.iter().map(|it| it.predicted().len()).sum();
        tokens += predicted;
        for range in logit_ranges(predicted) {
            let wanted = reference.logits(range.clone()).par_chunks_exact(vocabulary);
            let got = model.logits(range).par_chunks_exact(vocabulary);
            sum += wanted
                .zip(got)
                .map(|(p, q)| relative_entropy(p, q))
                .sum::<f64>();
        }
    });
    sum / tokens.max(1) as f64
}

/// The outputs of a step, as many at a time as logits are computed.
fn logit_ranges(outputs: usize) -> impl Iterator<Item = Range<usize>> {
    let firsts = (0..outputs).step_by(LIMITS.logit_rows);
    firsts.map(move |first| first..outputs.min(first + LIMITS.logit_rows))
}

/// `Σ p ln (p / q)` of the probabilities that two rows of logits stand for.
fn relative_entropy(wanted: &[f32], got: &[f32]) -> f64 {
    let [of_wanted, of_got] = [wanted, got].map(log_sum);
    let term = |(&wanted, &got): (&f32, &f32)| {
        let log_p = f64::from(wanted) - of_wanted;
        log_p.exp() * (log_p - (f64::from(got) - of_got))
    };
    wanted.iter().zip(got).map(term).sum::<f64>().max(0.0)
}

/// `ln Σ exp(logit)`.
fn log_sum(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&it| f64::from(it - most).exp()).sum();
    sum.ln() + f64::from(most)
}

/// `-ln softmax(logits)[token]`, and whether the token is the likeliest.
fn surprise(logits: &[f32], token: u32) -> (f64, bool) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let likeliest = logits.iter().position(|&it| it == most) == Some(token as usize);
    let of_token = f64::from(logits[token as usize]);
    (log_sum(logits) - of_token, likeliest)
}

/// Mean loss a token, whose exponential is the perplexity.
pub fn mean_loss(scores: &[Score]) -> f64 {
    let tokens: usize = scores.iter().map(|score| score.tokens).sum();
    scores.iter().map(|score| score.loss).sum::<f64>() / tokens.max(1) as f64
}

/// The share of sequences predicted exactly.
pub fn exact_rate(scores: &[Score]) -> f64 {
    let exact = scores.iter().filter(|score| score.exact).count();
    exact as f64 / scores.len().max(1) as f64
}

/// Runs the model over the sequences, as many at a time as fit, and calls `after` with each batch. A step's outputs are the rows of each
/// sequence that `outputs` names.
///
/// # Panics
/// If a sequence is longer than [`LIMITS`] allow.
pub fn forward<'a, M: LanguageModel + ?Sized>(
    model: &mut M,
    mut sequences: &'a [Sequence],
    outputs: fn(&Sequence) -> Range<usize>,
    mut after: impl FnMut(&mut M, &'a [Sequence]),
) {
    let longest = LIMITS.positions.min(model.config().max_positions);
    while !sequences.is_empty() {
        let mut tokens = 0;
        let fits = |sequence: &&Sequence| {
            let len = sequence.tokens.len();
            assert!(len <= longest, "{len} tokens are more than {longest}");
            tokens += len;
            tokens <= LIMITS.tokens
        };
        // A sequence wastes less than a block, and there are blocks for twice the tokens.
        let fitting = sequences
            .iter()
            .take(LIMITS.tokens / BLOCK_SIZE)
            .take_while(fits)
            .count();
        let batch = sequences
            .split_off(..fitting)
            .expect("a sequence fits into a step");
        step(model, batch, outputs);
        after(model, batch);
    }
}

/// One step over whole sequences, each in blocks of its own.
fn step<M: LanguageModel + ?Sized>(
    model: &mut M,
    batch: &[Sequence],
    outputs: fn(&Sequence) -> Range<usize>,
) {
    let blocks = |sequence: &Sequence| sequence.tokens.len().div_ceil(BLOCK_SIZE);
    let blocks_per_sequence = batch.iter().map(blocks).max().unwrap_or(0);
    let (mut tokens, mut positions, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    let (mut query_starts, mut block_tables, mut next) = (vec![0], Vec::new(), 0u32);
    let mut rows = Vec::new();
    for sequence in batch {
        let first_slot = next * BLOCK_SIZE as u32;
        let len = sequence.tokens.len() as u32;
        rows.extend(outputs(sequence).map(|row| (tokens.len() + row) as u32));
        tokens.extend_from_slice(&sequence.tokens);
        positions.extend(0..len);
        slots.extend(first_slot..first_slot + len);
        query_starts.push(tokens.len() as u32);
        let table = next..next + blocks(sequence) as u32;
        next = table.end;
        block_tables.extend(table);
        block_tables.resize((query_starts.len() - 1) * blocks_per_sequence, 0);
    }
    model.forward(&StepInputs {
        tokens: &tokens,
        positions: &positions,
        slots: &slots,
        query_starts: &query_starts,
        block_tables: &block_tables,
        blocks_per_sequence,
        block_copies: &[],
        outputs: &rows,
    });
}

#[cfg(test)]
mod tests {
    use super::{relative_entropy, surprise};

    #[test]
    fn entropy_and_surprise_are_those_of_the_probabilities() {
        // Logits are logarithms up to a constant of each row.
        let logits = |p: [f64; 3], shift: f64| p.map(|p| (p.ln() + shift) as f32);
        let (p, q) = ([0.5f64, 0.3, 0.2], [0.1f64, 0.2, 0.7]);
        let wanted: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        let got = relative_entropy(&logits(p, 7.0), &logits(q, -90.0));
        assert!((got - wanted).abs() < 1e-5, "{got}, not {wanted}");
        assert_eq!(relative_entropy(&logits(p, 1.0), &logits(p, 1.0)), 0.0);
        let (loss, likeliest) = surprise(&logits(q, 300.0), 2);
        assert!(likeliest && (loss + 0.7f64.ln()).abs() < 1e-4, "{loss}");
        assert!(!surprise(&logits(q, 0.0), 1).1);
    }
}
