//! `POST /v1/chat/completions`: the request's own fields and the answer's parts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Fields that only a chat request has.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ChatFields {
    /// The conversation.
    pub messages: Option<Vec<Map<String, Value>>>,
    /// The newer name of `max_tokens`.
    pub max_completion_tokens: Option<i64>,
    /// Reports log-probabilities.
    pub logprobs: Option<bool>,
    /// Alternatives for each token.
    pub top_logprobs: Option<i64>,
    /// Opens the assistant's turn (the default).
    pub add_generation_prompt: Option<bool>,
    /// Goes on with the last message instead of answering it.
    pub continue_final_message: Option<bool>,
    /// Variables for the chat template.
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Only `false`.
    pub echo: Option<bool>,
    /// Not supported.
    pub tools: Option<Value>,
    /// Only `none`.
    pub tool_choice: Option<Value>,
    /// Not supported.
    pub functions: Option<Value>,
    /// Only `none`.
    pub function_call: Option<Value>,
    /// Not supported.
    pub audio: Option<Value>,
    /// Only `["text"]`.
    pub modalities: Option<Vec<String>>,
}

/// `logprobs` of a chat choice.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChatLogprobs {
    /// One entry a token.
    pub content: Vec<TokenLogprob>,
}

/// A token and what else might have been there.
#[derive(Clone, Debug, Serialize)]
pub struct TokenLogprob {
    /// The token chosen.
    #[serde(flatten)]
    pub chosen: Candidate,
    /// The likeliest tokens, the likeliest first.
    pub top_logprobs: Vec<Candidate>,
}

/// A token with its log-probability.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The bytes of its text, which need not be whole characters.
    pub bytes: Vec<u8>,
}
