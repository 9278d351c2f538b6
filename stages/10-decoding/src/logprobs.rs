//! Log-probabilities of the model's own distribution.

/// The log-probability of a token, and of the likeliest ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Of the token itself.
    pub logprob: f32,
    /// The likeliest tokens, best first, equals by id.
    pub top: Vec<(u32, f32)>,
}

/// The log-softmax of `logits` at `token` and at the `top` largest.
///
/// # Panics
/// If `token` is not in the vocabulary.
pub fn logprobs_of(logits: &[f32], token: u32, top: usize) -> Logprobs {
    let (max, log_sum) = log_sum_exp(logits);
    // The maximum is taken off first: next to a huge logit the sum's logarithm would be lost.
    let logprob = |logit: f32| match logit.is_nan() {
        true => f32::NEG_INFINITY,
        false => (f64::from(logit) - max - log_sum) as f32,
    };
    let best = largest(logits, top);
    Logprobs {
        logprob: logprob(logits[token as usize]),
        top: best
            .into_iter()
            .map(|token| (token, logprob(logits[token as usize])))
            .collect(),
    }
}

/// The maximum, and `ln(sum(exp(x - max)))`; what is not a number counts as `-inf`.
fn log_sum_exp(logits: &[f32]) -> (f64, f64) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let max = if max.is_finite() { f64::from(max) } else { 0.0 };
    let numbers = logits.iter().filter(|x| !x.is_nan());
    let sum: f64 = numbers.map(|x| (f64::from(*x) - max).exp()).sum();
    (max, sum.ln())
}

/// The ids of the `count` largest logits, best first.
fn largest(logits: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    let key = |token: u32| {
        let logit = logits[token as usize];
        if logit.is_nan() {
            f32::NEG_INFINITY
        } else {
            logit
        }
    };
    let order = |a: &u32, b: &u32| key(*b).total_cmp(&key(*a)).then(a.cmp(b));
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    tokens.select_nth_unstable_by(count - 1, order);
    tokens.truncate(count);
    tokens.sort_unstable_by(order);
    tokens
}
