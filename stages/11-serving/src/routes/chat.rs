//! `POST /v1/chat/completions`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use decoding::Logprobs;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::answer::{Finished, Format, answer};
use crate::app::App;
use crate::error::ApiError;
use crate::generate::{ChoiceEvent, Generation, TokenPiece};
use crate::openai::chat::{Candidate, ChatFields, ChatLogprobs, TokenLogprob};
use crate::openai::common::{GenerationFields, Usage, fresh_id, unix_seconds};
use crate::prompt::Conversation;
use crate::request::{JsonBody, blocking, header_time_limit};
use crate::token_text::{bytes_of, text_of};
use crate::validate::{MAX_LOGPROBS, Options, whole};

/// Answers a conversation.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let header_limit = header_time_limit(&headers)?;
    let fields: GenerationFields = body.fields()?;
    let own: ChatFields = body.fields()?;
    refuse_unsupported(&own)?;
    let max_tokens = match own.max_completion_tokens {
        Some(tokens) => ("max_completion_tokens", Some(tokens)),
        None => ("max_tokens", fields.max_tokens),
    };
    let options = Options::check(&app, fields, max_tokens, 1, logprobs(&own)?)?;
    let messages = own.messages;
    let conversation = Conversation::check(
        messages.ok_or_else(|| ApiError::bad_request("messages", "is required"))?,
        own.add_generation_prompt,
        own.continue_final_message,
        own.chat_template_kwargs,
    )?;
    let model = app.model.clone();
    let prompt =
        blocking(move || conversation.tokens(model.chat_template.as_deref(), &model.tokenizer));
    let request = options.request(&app, "messages", prompt.await?, None)?;
    let format = ChatFormat::new(Arc::clone(&app), &options);
    let generation = Generation::start(&app, vec![request], &options, header_limit)?;
    answer(generation, format, &options, options.n).await
}

/// How many alternatives to report, if log-probabilities are asked for.
fn logprobs(fields: &ChatFields) -> Result<Option<usize>, ApiError> {
    let top = whole("top_logprobs", fields.top_logprobs, 0, MAX_LOGPROBS)?;
    match (fields.logprobs.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(ApiError::bad_request(
            "top_logprobs",
            "is only allowed when logprobs is true",
        )),
    }
}

/// Refuses what would change the answer and is not there; ignoring it would be a lie.
fn refuse_unsupported(fields: &ChatFields) -> Result<(), ApiError> {
    let filled = |value: &Option<Value>| match value {
        Some(Value::Array(list)) => !list.is_empty(),
        other => other.is_some(),
    };
    let chosen = |value: &Option<Value>| value.as_ref().is_some_and(|choice| choice != "none");
    let not_text = |modalities: &Option<Vec<String>>| {
        modalities
            .iter()
            .flatten()
            .any(|modality| modality != "text")
    };
    let unsupported = [
        ("tools", "calling tools", filled(&fields.tools)),
        ("functions", "calling functions", filled(&fields.functions)),
        (
            "tool_choice",
            "calling tools",
            chosen(&fields.tool_choice) && fields.tool_choice != Some("auto".into()),
        ),
        (
            "function_call",
            "calling functions",
            chosen(&fields.function_call),
        ),
        ("audio", "audio", fields.audio.is_some()),
        (
            "modalities",
            "anything but text",
            not_text(&fields.modalities),
        ),
        (
            "echo",
            "repeating the conversation",
            fields.echo == Some(true),
        ),
    ];
    match unsupported.iter().find(|(_, _, asked_for)| *asked_for) {
        Some((param, what, _)) => Err(ApiError::unsupported(param, what)),
        None => Ok(()),
    }
}

/// Words answers as OpenAI's chat completions.
struct ChatFormat {
    app: Arc<App>,
    id: String,
    created: u64,
    choices: usize,
    logprobs: bool,
    token_ids: bool,
    usage: bool,
}

impl ChatFormat {
    fn new(app: Arc<App>, options: &Options) -> Self {
        Self {
            app,
            id: fresh_id("chatcmpl"),
            created: unix_seconds(),
            choices: options.n,
            logprobs: options.params.logprobs.is_some(),
            token_ids: options.return_token_ids,
            usage: options.include_usage,
        }
    }

    fn envelope(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.app.model.id,
            "system_fingerprint": self.app.fingerprint(),
            "choices": choices,
        })
    }

    fn chunk_of(
        &self,
        index: usize,
        delta: Value,
        tokens: &[TokenPiece],
        reason: Option<&str>,
    ) -> Value {
        let mut choice = json!({
            "index": index,
            "delta": delta,
            "logprobs": self.logprobs_of(tokens),
            "finish_reason": reason,
        });
        if self.token_ids {
            choice["token_ids"] = ids(tokens);
        }
        let mut chunk = self.envelope("chat.completion.chunk", vec![choice]);
        if self.usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// `logprobs` of a choice or chunk; `null` unless they were asked for and there are tokens.
    fn logprobs_of(&self, tokens: &[TokenPiece]) -> Value {
        if !self.logprobs || tokens.is_empty() {
            return Value::Null;
        }
        let entry = |piece: &TokenPiece| {
            let logprobs = piece.logprobs.as_ref()?;
            Some(self.entry(piece.token, logprobs))
        };
        json!(ChatLogprobs {
            content: tokens.iter().filter_map(entry).collect()
        })
    }

    fn entry(&self, token: u32, logprobs: &Logprobs) -> TokenLogprob {
        let candidate = |token: u32, logprob: f32| Candidate {
            token: text_of(&self.app.model.tokenizer, token),
            logprob: logprob.max(LOWEST_LOGPROB),
            bytes: bytes_of(&self.app.model.tokenizer, token),
        };
        let top = logprobs.top.iter();
        TokenLogprob {
            chosen: candidate(token, logprobs.logprob),
            top_logprobs: top
                .map(|(token, logprob)| candidate(*token, *logprob))
                .collect(),
        }
    }
}

/// JSON has no infinity; OpenAI uses this value for tokens of no probability.
pub(crate) const LOWEST_LOGPROB: f32 = -9999.0;

/// The ids of tokens.
pub(crate) fn ids(tokens: &[TokenPiece]) -> Value {
    tokens.iter().map(|piece| piece.token).collect()
}

impl Format for ChatFormat {
    fn opening(&self) -> Vec<Value> {
        let role = json!({"role": "assistant", "content": ""});
        (0..self.choices)
            .map(|index| self.chunk_of(index, role.clone(), &[], None))
            .collect()
    }

    fn chunk(&self, index: usize, event: ChoiceEvent) -> Option<Value> {
        match event {
            ChoiceEvent::Prompt { .. } => None,
            ChoiceEvent::Token(piece) => {
                let tells = !piece.text.is_empty() || self.logprobs || self.token_ids;
                let delta = json!({"content": piece.text});
                tells.then(|| self.chunk_of(index, delta, &[piece], None))
            }
            ChoiceEvent::Rest(text) => {
                Some(self.chunk_of(index, json!({"content": text}), &[], None))
            }
            ChoiceEvent::Finished(reason) => {
                Some(self.chunk_of(index, json!({}), &[], Some(reason)))
            }
        }
    }

    fn usage_chunk(&self, usage: &Usage) -> Value {
        let mut chunk = self.envelope("chat.completion.chunk", Vec::new());
        chunk["usage"] = json!(usage);
        chunk
    }

    fn whole(&self, choices: Vec<Finished>, usage: &Usage) -> Value {
        let choice = |(index, choice): (usize, Finished)| {
            let mut value = json!({
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": null},
                "logprobs": self.logprobs_of(&choice.tokens),
                "finish_reason": choice.reason,
            });
            if self.token_ids {
                value["token_ids"] = ids(&choice.tokens);
            }
            value
        };
        let choices = choices.into_iter().enumerate().map(choice).collect();
        let mut answer = self.envelope("chat.completion", choices);
        answer["usage"] = json!(usage);
        answer
    }
}
