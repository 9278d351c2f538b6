//! Stage 10: from a row of logits to a token.
//!
//! [`Sampler::sample`] applies, in this order: logit bias, penalties, temperature, then the truncations (min-p, top-k, top-p),
//! and draws from what is left. The contract:
//!
//! - A temperature of 0 is greedy: the largest adjusted logit, the lowest id among equals.
//! - The draw is a pure function of `(seed, position)` ([`philox`]), so a result depends neither on the batch that a sequence
//!   ran in nor on preemption.
//! - Log-probabilities are reported of the model's own distribution, before bias, penalties and temperature.
//! - At least one candidate is always left, and a logit that is not a number is never chosen.

mod history;
mod logprobs;
mod params;
mod penalties;
pub mod philox;
mod sampler;
mod truncate;

pub use history::TokenHistory;
pub use logprobs::{Logprobs, logprobs_of};
pub use params::{ParamError, SamplingParams};
pub use sampler::{Sampled, Sampler, greedy};
