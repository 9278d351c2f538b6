//! A request under way: the events of its choices as one stream, with token ids turned into text.
//!
//! Dropping a [`Generation`] drops every receiver in it, and that is how the engine learns that nobody waits any more: a
//! client that goes away, a time limit and a failure of one choice all free the others' blocks in the same way.

use decoding::Logprobs;
use futures_util::stream::{BoxStream, SelectAll, StreamExt, unfold};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::{App, InFlight};
use crate::choice_text::ChoiceText;
use crate::engine::{EngineEvent, FinishReason, GenerationRequest, SubmitError};
use crate::error::ApiError;
use crate::openai::common::Usage;
use crate::validate::Options;

/// What happens to a choice, in text.
#[derive(Clone, Debug)]
pub enum ChoiceEvent {
    /// The prompt is computed.
    Prompt {
        /// See [`EngineEvent::Prompt`].
        logprobs: Vec<Option<Logprobs>>,
    },
    /// A token came; its text may come with a later one.
    Token(TokenPiece),
    /// Text that was held back until the end.
    Rest(String),
    /// The choice ended, by OpenAI's `finish_reason`.
    Finished(&'static str),
}

/// A token and the text that became certain with it.
#[derive(Clone, Debug)]
pub struct TokenPiece {
    /// Its id.
    pub token: u32,
    /// Text to append to the choice; may be empty.
    pub text: String,
    /// Characters of generated text before this token.
    pub offset: usize,
    /// If asked for.
    pub logprobs: Option<Logprobs>,
}

/// A request under way.
pub struct Generation {
    choices: SelectAll<BoxStream<'static, (usize, Result<Counted, ApiError>)>>,
    deadline: Instant,
    closing: watch::Receiver<bool>,
    usage: Usage,
    _in_flight: InFlight,
}

/// An event, and the cached prompt tokens that it reports for the usage.
struct Counted {
    event: ChoiceEvent,
    cached_tokens: usize,
}

impl Generation {
    /// Submits the requests of a batch. Choice `i` of request `j` gets the index `n * j + i`.
    ///
    /// # Errors
    /// The queue is full, or the server drains.
    pub fn start(
        app: &Arc<App>,
        requests: Vec<GenerationRequest>,
        options: &Options,
        header_limit: Option<Duration>,
    ) -> Result<Self, ApiError> {
        let limits = [options.time_limit, header_limit].into_iter().flatten();
        let time = limits.fold(app.limits.request_time, Duration::min);
        let in_flight = InFlight::enter(app);
        let mut usage = Usage::default();
        let mut choices = SelectAll::new();
        for request in requests {
            usage.prompt_tokens += request.prompt.len();
            let prompt = Arc::clone(&request.prompt);
            let receivers = app
                .engine
                .submit(request)
                .map_err(|error| reject(app, error))?;
            for events in receivers {
                let index = choices.len();
                let text = ChoiceText::new(Arc::clone(&app.model.tokenizer), &prompt, options);
                let first = index % options.n == 0;
                let choice = Choice::new(events, text, first);
                let events = unfold(choice, Choice::next);
                choices.push(events.map(move |event| (index, event)).boxed());
            }
        }
        Ok(Self {
            choices,
            deadline: Instant::now() + time,
            closing: app.closing.subscribe(),
            usage,
            _in_flight: in_flight,
        })
    }

    /// The next event of any choice; `None` when all are done. After an error there is nothing more, and the engine has
    /// been told.
    pub async fn next(&mut self) -> Option<Result<(usize, ChoiceEvent), ApiError>> {
        let event = tokio::select! {
            biased;
            _ = self.closing.wait_for(|closing| *closing) => Err(ApiError::draining()),
            _ = tokio::time::sleep_until(self.deadline) => Err(ApiError::timeout()),
            event = self.choices.next() => {
                let (index, event) = event?;
                event.map(|event| (index, event))
            }
        };
        match event {
            Ok((index, event)) => {
                self.count(&event);
                Some(Ok((index, event.event)))
            }
            Err(error) => {
                self.choices.clear();
                Some(Err(error))
            }
        }
    }

    fn count(&mut self, event: &Counted) {
        self.usage.prompt_tokens_details.cached_tokens += event.cached_tokens;
        self.usage.completion_tokens += usize::from(matches!(event.event, ChoiceEvent::Token(_)));
    }

    /// Tokens used so far.
    pub fn usage(&self) -> Usage {
        Usage {
            total_tokens: self.usage.prompt_tokens + self.usage.completion_tokens,
            ..self.usage.clone()
        }
    }
}

/// Counts a request that was not taken.
fn reject(app: &App, error: SubmitError) -> ApiError {
    app.engine.metrics().rejected(match error {
        SubmitError::QueueFull { .. } => "queue_full",
        SubmitError::Draining => "draining",
        SubmitError::Gone => "engine_stopped",
    });
    error.into()
}

/// One choice: what comes from the engine, and what of it is not told yet.
struct Choice {
    events: Receiver<EngineEvent>,
    text: ChoiceText,
    pending: VecDeque<ChoiceEvent>,
    done: bool,
    /// Whether this choice speaks for its prompt in the usage.
    first: bool,
}

impl Choice {
    fn new(events: Receiver<EngineEvent>, text: ChoiceText, first: bool) -> Self {
        Self {
            events,
            text,
            pending: VecDeque::new(),
            done: false,
            first,
        }
    }

    /// The next event and the rest of the choice.
    async fn next(mut self) -> Option<(Result<Counted, ApiError>, Self)> {
        let mut cached_tokens = 0;
        while self.pending.is_empty() {
            if self.done {
                return None;
            }
            match self.events.recv().await {
                Some(EngineEvent::Prompt {
                    cached_tokens: cached,
                    logprobs,
                }) => {
                    cached_tokens = if self.first { cached } else { 0 };
                    self.pending.push_back(ChoiceEvent::Prompt { logprobs });
                }
                Some(EngineEvent::Token { token, logprobs }) => self.take_token(token, logprobs),
                Some(EngineEvent::Finished(reason)) => self.finish(reason),
                Some(EngineEvent::Failed(failure)) => {
                    return Some((Err(failure.into()), self.end()));
                }
                None => return Some((Err(SubmitError::Gone.into()), self.end())),
            }
        }
        let event = self.pending.pop_front()?;
        Some((
            Ok(Counted {
                event,
                cached_tokens,
            }),
            self,
        ))
    }

    fn take_token(&mut self, token: u32, logprobs: Option<Logprobs>) {
        let offset = self.text.characters();
        let (text, stopped) = self.text.push(token);
        self.pending.push_back(ChoiceEvent::Token(TokenPiece {
            token,
            text,
            offset,
            logprobs,
        }));
        if stopped {
            // The engine sees the closed channel and generates no further.
            self.events.close();
            self.done = true;
            self.pending.push_back(ChoiceEvent::Finished("stop"));
        }
    }

    fn finish(&mut self, reason: FinishReason) {
        let (rest, stopped) = self.text.finish();
        if !rest.is_empty() {
            self.pending.push_back(ChoiceEvent::Rest(rest));
        }
        self.done = true;
        self.pending.push_back(ChoiceEvent::Finished(match reason {
            FinishReason::Length if !stopped => "length",
            _ => "stop",
        }));
    }

    fn end(mut self) -> Self {
        self.done = true;
        self
    }
}
