//! `POST /v1/completions`: the request's own fields and the answer's parts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Fields that only a completion request has.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CompletionFields {
    /// What to continue.
    pub prompt: Option<Prompt>,
    /// Begins the answer with the prompt.
    pub echo: Option<bool>,
    /// Alternatives to report for each token.
    pub logprobs: Option<i64>,
    /// Only equal to `n`.
    pub best_of: Option<i64>,
    /// Not supported.
    pub suffix: Option<Value>,
    /// Adds the tokens that the model expects around a plain text (the default).
    pub add_special_tokens: Option<bool>,
}

/// One prompt or a batch, as text or as tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a string, a list of strings, a list of token ids, or a list of lists of token ids"
)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Several texts.
    Texts(Vec<String>),
    /// Several prompts of token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// `logprobs` of a completion choice: four lists of equal length, one entry a token.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CompletionLogprobs {
    /// Texts of the tokens.
    pub tokens: Vec<String>,
    /// Their log-probabilities; `null` for the first token of an echoed prompt.
    pub token_logprobs: Vec<Option<f32>>,
    /// The likeliest tokens by text.
    pub top_logprobs: Vec<Option<Map<String, Value>>>,
    /// Characters of the choice's text before the token.
    pub text_offset: Vec<usize>,
}
