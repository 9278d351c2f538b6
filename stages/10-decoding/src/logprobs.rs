//! Log-probabilities of the model's own distribution.

/// The log-probability of a token, and of the likeliest ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Of the token itself.
    pub logprob: f32,
    /// The likeliest tokens, best first, equals by id.
    pub top: Vec<(u32, f32)>,
}

/// The log-softmax of `logits` at `token` and at the `top` largest. A token of no probability has `-inf`, and so have all of a
/// row without any number; the result is never NaN.
///
/// # Panics
/// If `token` is not in the vocabulary.
pub fn logprobs_of(logits: &[f32], token: u32, top: usize) -> Logprobs {
    let (max, log_sum) = log_sum_exp(logits);
    // The maximum is taken off first: next to a huge logit the sum's logarithm would be lost.
    let logprob = |token: u32| match number(logits[token as usize]) {
        f32::NEG_INFINITY => f32::NEG_INFINITY, // also where the sum is 0, and its logarithm would make a NaN
        logit => (f64::from(logit) - max - log_sum) as f32,
    };
    let best = largest(logits, top).into_iter();
    Logprobs {
        logprob: logprob(token),
        top: best.map(|token| (token, logprob(token))).collect(),
    }
}

/// What a logit counts as: NaN as impossible, infinity as the largest number.
fn number(logit: f32) -> f32 {
    if logit.is_nan() {
        return f32::NEG_INFINITY;
    }
    logit.min(f32::MAX)
}

/// The maximum, and `ln(sum(exp(x - max)))`.
fn log_sum_exp(logits: &[f32]) -> (f64, f64) {
    // ANCHOR: solve-logprobs
    let numbers = || logits.iter().map(|x| f64::from(number(*x)));
    let max = numbers().fold(f64::from(f32::MIN), f64::max);
    let sum: f64 = numbers().map(|x| (x - max).exp()).sum();
    (max, sum.ln())
    // ANCHOR_END: solve-logprobs
}

/// The ids of the `count` largest logits, best first.
fn largest(logits: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    // Adding 0 makes -0 equal to it in the total order too.
    let key = |token: u32| number(logits[token as usize]) + 0.0;
    let order = |a: &u32, b: &u32| key(*b).total_cmp(&key(*a)).then(a.cmp(b));
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    tokens.select_nth_unstable_by(count - 1, order);
    tokens.truncate(count);
    tokens.sort_unstable_by(order);
    tokens
}
