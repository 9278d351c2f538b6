//! Events into answers: one JSON object, or a stream of server-sent events, both from the same [`Format`].

use axum::Json;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;

use crate::error::ApiError;
use crate::generate::{ChoiceEvent, Generation, TokenPiece};
use crate::openai::common::Usage;
use crate::validate::Options;
use decoding::Logprobs;

/// The last event of a stream.
const DONE: &str = "[DONE]";
/// Keeps proxies from gathering events.
const ACCEL: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A choice that is complete.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// Its text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<TokenPiece>,
    /// Of the prompt, where it was asked for and this is the prompt's first choice.
    pub prompt_logprobs: Vec<Option<Logprobs>>,
    /// OpenAI's `finish_reason`.
    pub reason: &'static str,
}

/// How an endpoint words its answers.
pub trait Format: Send + 'static {
    /// Chunks that open a stream.
    fn opening(&self) -> Vec<Value>;
    /// The chunk for an event of a choice, unless it has nothing to tell.
    fn chunk(&self, index: usize, event: ChoiceEvent) -> Option<Value>;
    /// The chunk that ends a stream if the client asked for the usage.
    fn usage_chunk(&self, usage: &Usage) -> Value;
    /// The whole answer.
    fn whole(&self, choices: Vec<Finished>, usage: &Usage) -> Value;
}

/// Answers in the way that the client asked for.
///
/// # Errors
/// The generation failed before there was an answer. A stream carries its error as its last event.
pub async fn answer(
    generation: Generation,
    format: impl Format,
    options: &Options,
    choices: usize,
) -> Result<Response, ApiError> {
    if options.stream {
        let events = events(generation, format, options.include_usage);
        let sse = Sse::new(events).keep_alive(KeepAlive::default());
        let headers = [
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (ACCEL, HeaderValue::from_static("no")),
        ];
        return Ok((headers, sse).into_response());
    }
    let (choices, usage) = collect(generation, choices).await?;
    Ok(Json(format.whole(choices, &usage)).into_response())
}

/// Gathers a generation.
async fn collect(
    mut generation: Generation,
    choices: usize,
) -> Result<(Vec<Finished>, Usage), ApiError> {
    let mut finished = vec![Finished::default(); choices];
    while let Some(event) = generation.next().await {
        let (index, event) = event?;
        let choice = &mut finished[index];
        match event {
            ChoiceEvent::Prompt { logprobs } => choice.prompt_logprobs = logprobs,
            ChoiceEvent::Token(piece) => {
                choice.text.push_str(&piece.text);
                choice.tokens.push(piece);
            }
            ChoiceEvent::Rest(text) => choice.text.push_str(&text),
            ChoiceEvent::Finished(reason) => choice.reason = reason,
        }
    }
    Ok((finished, generation.usage()))
}

/// A stream in the making; dropped with the connection, and the generation with it.
struct Streaming<F> {
    /// `None` when nothing more comes from it.
    generation: Option<Generation>,
    format: F,
    include_usage: bool,
    pending: VecDeque<String>,
}

/// The events of a stream: chunks, the usage if asked for, `[DONE]`. An error takes the place of what it prevented.
fn events(
    generation: Generation,
    format: impl Format,
    include_usage: bool,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let opening = format.opening().iter().map(Value::to_string).collect();
    let streaming = Streaming {
        generation: Some(generation),
        format,
        include_usage,
        pending: opening,
    };
    unfold(streaming, |mut streaming| async move {
        let data = streaming.next().await?;
        Some((Ok(Event::default().data(data)), streaming))
    })
}

impl<F: Format> Streaming<F> {
    async fn next(&mut self) -> Option<String> {
        // ANCHOR: solve-stream
        while self.pending.is_empty() {
            let generation = self.generation.as_mut()?;
            match generation.next().await {
                Some(Ok((index, event))) => {
                    let chunk = self.format.chunk(index, event);
                    self.pending.extend(chunk.map(|chunk| chunk.to_string()));
                }
                Some(Err(error)) => {
                    self.pending.push_back(error.body().to_string());
                    self.pending.push_back(DONE.to_owned());
                    self.generation = None;
                }
                None => {
                    let usage = generation.usage();
                    if self.include_usage {
                        let chunk = self.format.usage_chunk(&usage);
                        self.pending.push_back(chunk.to_string());
                    }
                    self.pending.push_back(DONE.to_owned());
                    self.generation = None;
                }
            }
        }
        self.pending.pop_front()
        // ANCHOR_END: solve-stream
    }
}
