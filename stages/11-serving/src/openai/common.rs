//! What chat and plain completions have in common.
//!
//! A request is deserialised twice, into [`GenerationFields`] and into its own fields; `serde`'s flattening would lose the path
//! of a wrong field. `null` is as good as absent everywhere, and unknown fields are let pass, as clients send the
//! newest ones to every server.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields of every generation request.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GenerationFields {
    /// Which model; must be the one that is served.
    pub model: Option<String>,
    /// Tokens generated at most; absent: what is left of the context.
    pub max_tokens: Option<i64>,
    /// Choices for each prompt.
    pub n: Option<i64>,
    /// Where generation stops.
    pub stop: Option<Stop>,
    /// Answer in server-sent events.
    pub stream: Option<bool>,
    /// What a stream adds.
    pub stream_options: Option<StreamOptions>,
    /// Makes sampling repeatable.
    pub seed: Option<i64>,
    /// See [`decoding::SamplingParams`].
    pub temperature: Option<f32>,
    /// See [`decoding::SamplingParams`].
    pub top_p: Option<f32>,
    /// See [`decoding::SamplingParams`]; -1 and 0 are off.
    pub top_k: Option<i64>,
    /// See [`decoding::SamplingParams`].
    pub min_p: Option<f32>,
    /// See [`decoding::SamplingParams`].
    pub presence_penalty: Option<f32>,
    /// See [`decoding::SamplingParams`].
    pub frequency_penalty: Option<f32>,
    /// See [`decoding::SamplingParams`].
    pub repetition_penalty: Option<f32>,
    /// Token id (as a string) to bias.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// Further tokens that end a choice.
    pub stop_token_ids: Option<Vec<u32>>,
    /// Generates on past the end of sequence.
    pub ignore_eos: Option<bool>,
    /// Tokens generated at least.
    pub min_tokens: Option<i64>,
    /// Leaves special tokens out of the text (the default).
    pub skip_special_tokens: Option<bool>,
    /// Keeps the stop string that was found.
    pub include_stop_str_in_output: Option<bool>,
    /// Adds the token ids to each choice.
    pub return_token_ids: Option<bool>,
    /// Lower is more urgent.
    pub priority: Option<i32>,
    /// Separates prefix caches.
    pub cache_salt: Option<String>,
    /// Seconds that the request may take; can only lower the server's limit.
    pub timeout: Option<f64>,
    /// Only `{"type": "text"}`.
    pub response_format: Option<Value>,
}

/// `stop`: a string or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// `stream_options`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StreamOptions {
    /// Ends the stream with a chunk that has the usage.
    pub include_usage: Option<bool>,
}

/// Tokens used.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Tokens of all prompts, each counted once.
    pub prompt_tokens: usize,
    /// Tokens of all choices.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// More on the prompt.
    pub prompt_tokens_details: PromptTokensDetails,
}

/// More on the prompt's tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PromptTokensDetails {
    /// Tokens that were computed before and found in the cache.
    pub cached_tokens: usize,
}

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |elapsed| elapsed.as_secs())
}

/// A fresh random number, from the operating system's randomness as the standard library keeps it for hashing.
pub fn fresh_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// An id nobody else has, such as `chatcmpl-…`.
pub fn fresh_id(prefix: &str) -> String {
    format!("{prefix}-{:016x}{:016x}", fresh_u64(), fresh_u64())
}
