//! From the fields of a request to options that the engine can take as they are: every value in its range, or an error that
//! names the field.

use decoding::SamplingParams;
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::app::App;
use crate::engine::GenerationRequest;
use crate::error::ApiError;
use crate::openai::common::{GenerationFields, Stop, fresh_u64};

/// Stop strings a request may have.
const MAX_STOPS: usize = 16;
/// Alternatives that log-probabilities may list.
pub const MAX_LOGPROBS: i64 = 20;

/// A checked request, without its prompt.
#[derive(Clone, Debug)]
pub struct Options {
    /// Choices for each prompt.
    pub n: usize,
    /// How to sample.
    pub params: SamplingParams,
    /// Tokens at most; `None`: what is left of the context.
    pub max_tokens: Option<usize>,
    /// Tokens at least.
    pub min_tokens: usize,
    /// Tokens that end a choice.
    pub stop_token_ids: Vec<u32>,
    /// Strings that end a choice.
    pub stop: Vec<String>,
    /// Keeps the stop string.
    pub include_stop: bool,
    /// Leaves special tokens out of the text.
    pub skip_special: bool,
    /// Answers in server-sent events.
    pub stream: bool,
    /// Ends the stream with the usage.
    pub include_usage: bool,
    /// Adds token ids.
    pub return_token_ids: bool,
    /// Lower is more urgent.
    pub priority: i32,
    /// Separates prefix caches.
    pub cache_salt: u64,
    /// The request's own time limit.
    pub time_limit: Option<Duration>,
}

impl Options {
    /// Checks what every generation request has. `max_tokens` comes with the name that the client used for it, and may be as
    /// low as `least_tokens`: 0 where the answer may be the prompt alone.
    ///
    /// # Errors
    /// The first field that is out of range or not supported.
    pub fn check(
        app: &App,
        fields: GenerationFields,
        max_tokens: (&str, Option<i64>),
        least_tokens: i64,
        logprobs: Option<usize>,
    ) -> Result<Self, ApiError> {
        check_model(app, fields.model.as_deref())?;
        check_text_format(fields.response_format.as_ref())?;
        let stream = fields.stream.unwrap_or(false);
        if fields.stream_options.is_some() && !stream {
            let message = "is only allowed when stream is true";
            return Err(ApiError::bad_request("stream_options", message));
        }
        let (name, max) = max_tokens;
        let max_tokens = whole(name, max, least_tokens, u32::MAX.into())?;
        let min_tokens = whole("min_tokens", fields.min_tokens, 0, u32::MAX.into())?.unwrap_or(0);
        if max_tokens.is_some_and(|max| min_tokens > max) {
            let message = format!("must not be more than {name}");
            return Err(ApiError::bad_request("min_tokens", message));
        }
        let vocab_size = app.model.vocab_size;
        Ok(Self {
            n: whole("n", fields.n, 1, app.limits.max_choices as i64)?.unwrap_or(1),
            params: sampling(app, &fields, logprobs)?,
            max_tokens,
            min_tokens,
            stop_token_ids: stop_tokens(app, &fields, vocab_size)?,
            stop: stop_strings(fields.stop)?,
            include_stop: fields.include_stop_str_in_output.unwrap_or(false),
            skip_special: fields.skip_special_tokens.unwrap_or(true),
            stream,
            include_usage: fields
                .stream_options
                .and_then(|options| options.include_usage)
                .unwrap_or(false),
            return_token_ids: fields.return_token_ids.unwrap_or(false),
            priority: fields.priority.unwrap_or(0),
            cache_salt: fields.cache_salt.as_deref().map_or(0, hash),
            time_limit: time_limit(fields.timeout)?,
        })
    }

    /// The request for the engine.
    ///
    /// # Errors
    /// The prompt is empty, has tokens that are none, or does not fit the context with what is to be generated.
    pub fn request(
        &self,
        app: &App,
        param: &str,
        prompt: Vec<u32>,
        prompt_logprobs: Option<usize>,
    ) -> Result<GenerationRequest, ApiError> {
        check_tokens(param, &prompt, app.model.vocab_size)?;
        let max_new_tokens = self.room_for(app.model.max_model_len, param, prompt.len())?;
        Ok(GenerationRequest {
            prompt: prompt.into(),
            choices: self.n,
            params: self.params.clone(),
            max_new_tokens,
            min_new_tokens: self.min_tokens,
            stop_token_ids: self.stop_token_ids.clone(),
            priority: self.priority,
            cache_salt: self.cache_salt,
            prompt_logprobs,
        })
    }

    /// How many tokens may follow a prompt of `prompt_tokens` in a context of `context`.
    fn room_for(
        &self,
        context: usize,
        param: &str,
        prompt_tokens: usize,
    ) -> Result<usize, ApiError> {
        let wanted = self.max_tokens.unwrap_or(1).max(self.min_tokens);
        if prompt_tokens + wanted > context {
            let message = format!(
                "this model's maximum context length is {context} tokens, but {} were requested: {prompt_tokens} in the prompt \
                 and {wanted} to generate; shorten the prompt or ask for fewer",
                prompt_tokens + wanted
            );
            return Err(ApiError::bad_request(param, message).code("context_length_exceeded"));
        }
        Ok(self.max_tokens.unwrap_or(context - prompt_tokens))
    }
}

/// Whether the request is for the model that is served.
///
/// # Errors
/// It names another model, or none.
pub fn check_model(app: &App, model: Option<&str>) -> Result<(), ApiError> {
    match model {
        Some(name) if name == app.model.id => Ok(()),
        Some(name) => Err(model_not_found(name)),
        None => Err(ApiError::bad_request("model", "is required")),
    }
}

/// The error for a model that is not served.
pub fn model_not_found(name: &str) -> ApiError {
    let message = format!("the model `{name}` does not exist; GET /v1/models lists what does");
    ApiError {
        status: axum::http::StatusCode::NOT_FOUND,
        ..ApiError::bad_request("model", message).code("model_not_found")
    }
}

/// A whole number in a range; `None` where it is absent.
///
/// # Errors
/// It is out of the range.
pub fn whole(
    param: &str,
    value: Option<i64>,
    min: i64,
    max: i64,
) -> Result<Option<usize>, ApiError> {
    match value {
        None => Ok(None),
        Some(value) if (min..=max).contains(&value) => Ok(Some(value as usize)),
        Some(value) => {
            let message = format!("must be from {min} to {max}, not {value}");
            Err(ApiError::bad_request(param, message))
        }
    }
}

/// Whether tokens are a prompt.
fn check_tokens(param: &str, tokens: &[u32], vocab_size: usize) -> Result<(), ApiError> {
    if tokens.is_empty() {
        let message = "has no tokens; a prompt needs at least one";
        return Err(ApiError::bad_request(param, message));
    }
    match tokens.iter().find(|token| **token as usize >= vocab_size) {
        Some(token) => Err(not_in_vocabulary(param, *token, vocab_size)),
        None => Ok(()),
    }
}

fn not_in_vocabulary(param: &str, token: u32, vocab_size: usize) -> ApiError {
    let message = format!("token {token} is not one of the vocabulary's {vocab_size}");
    ApiError::bad_request(param, message)
}

/// The sampling parameters, the model's defaults where the request says nothing.
fn sampling(
    app: &App,
    fields: &GenerationFields,
    logprobs: Option<usize>,
) -> Result<SamplingParams, ApiError> {
    let default = &app.model.default_params;
    let or = |value: Option<f32>, default: f32| value.unwrap_or(default);
    let top_k = match fields.top_k {
        Some(-1) => Some(0),
        other => whole("top_k", other, 0, u32::MAX.into())?,
    };
    let params = SamplingParams {
        temperature: or(fields.temperature, default.temperature),
        top_k: top_k.map_or(default.top_k, |k| k as u32),
        top_p: or(fields.top_p, default.top_p),
        min_p: or(fields.min_p, default.min_p),
        repetition_penalty: or(fields.repetition_penalty, default.repetition_penalty),
        presence_penalty: or(fields.presence_penalty, default.presence_penalty),
        frequency_penalty: or(fields.frequency_penalty, default.frequency_penalty),
        logit_bias: logit_bias(fields.logit_bias.as_ref())?,
        seed: fields.seed.map_or_else(fresh_u64, |seed| seed as u64),
        logprobs,
    };
    params
        .validate(app.model.vocab_size)
        .map_err(|error| ApiError::bad_request(error.param, error.message))?;
    Ok(params)
}

fn logit_bias(biases: Option<&BTreeMap<String, f32>>) -> Result<Vec<(u32, f32)>, ApiError> {
    let parse = |(token, bias): (&String, &f32)| match token.parse() {
        Ok(token) => Ok((token, *bias)),
        Err(_) => {
            let message = format!("keys are token ids, which {token:?} is not");
            Err(ApiError::bad_request("logit_bias", message))
        }
    };
    biases.into_iter().flatten().map(parse).collect()
}

/// The tokens that end a choice: the request's, and the model's own unless they are ignored.
fn stop_tokens(
    app: &App,
    fields: &GenerationFields,
    vocab_size: usize,
) -> Result<Vec<u32>, ApiError> {
    let mut tokens = fields.stop_token_ids.clone().unwrap_or_default();
    if let Some(token) = tokens.iter().find(|token| **token as usize >= vocab_size) {
        return Err(not_in_vocabulary("stop_token_ids", *token, vocab_size));
    }
    if !fields.ignore_eos.unwrap_or(false) {
        tokens.extend(&app.model.eos_token_ids);
    }
    tokens.sort_unstable();
    tokens.dedup();
    Ok(tokens)
}

fn stop_strings(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let strings = match stop {
        None => Vec::new(),
        Some(Stop::One(string)) => vec![string],
        Some(Stop::Many(strings)) => strings,
    };
    if strings.len() > MAX_STOPS {
        let message = format!("has {} strings; at most {MAX_STOPS}", strings.len());
        return Err(ApiError::bad_request("stop", message));
    }
    if strings.iter().any(String::is_empty) {
        let message = "an empty string would stop everything; leave it out";
        return Err(ApiError::bad_request("stop", message));
    }
    Ok(strings)
}

fn check_text_format(format: Option<&Value>) -> Result<(), ApiError> {
    match format {
        Some(format) if format.get("type") != Some(&"text".into()) => Err(ApiError::unsupported(
            "response_format",
            "a response_format other than {\"type\": \"text\"}",
        )),
        _ => Ok(()),
    }
}

fn time_limit(seconds: Option<f64>) -> Result<Option<Duration>, ApiError> {
    let parse = |seconds: f64| match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => {
            let message = format!("must be a number of seconds above 0, not {seconds}");
            Err(ApiError::bad_request("timeout", message))
        }
    };
    seconds.map(parse).transpose()
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
