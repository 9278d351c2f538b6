//! What the server is made of: the state that all handlers share.

use attention_variants::hf::{ChatTemplate, Tokenizer};
use decoding::SamplingParams;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

use crate::engine::EngineHandle;

/// The model as the server knows it.
#[derive(Clone, Debug)]
pub struct ServedModel {
    /// Its name in requests.
    pub id: String,
    /// Seconds since 1970 when it was made or loaded.
    pub created: u64,
    /// Tokens of prompt and answer together.
    pub max_model_len: usize,
    /// Rows of the embedding; token ids are below it.
    pub vocab_size: usize,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
    /// Text to tokens and back.
    pub tokenizer: Arc<Tokenizer>,
    /// Conversations to text; without one there is no chat.
    pub chat_template: Option<Arc<ChatTemplate>>,
    /// What holds where a request says nothing.
    pub default_params: SamplingParams,
}

/// What the server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Choices of a request (`n`), and prompts in a batch.
    pub max_choices: usize,
    /// Time a request may take.
    pub request_time: Duration,
    /// Time an engine step may take before `/health` calls the engine dead.
    pub step_time: Duration,
    /// Time that running requests get when the server shuts down.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            max_choices: 64,
            request_time: Duration::from_secs(600),
            step_time: Duration::from_secs(60),
            drain_time: Duration::from_secs(30),
        }
    }
}

/// Everything that handlers share.
#[derive(Debug)]
pub struct App {
    /// The model.
    pub model: ServedModel,
    /// What is allowed.
    pub limits: Limits,
    /// The way to the engine.
    pub engine: EngineHandle,
    /// The page at `/`.
    pub page: &'static str,
    /// The server's version.
    pub version: &'static str,
    /// Generations under way.
    pub(crate) in_flight: watch::Sender<usize>,
    /// Set when the generations that are still under way must end.
    pub(crate) closing: watch::Sender<bool>,
}

impl App {
    /// A server's shared state.
    pub fn new(
        model: ServedModel,
        limits: Limits,
        engine: EngineHandle,
        page: &'static str,
        version: &'static str,
    ) -> Arc<Self> {
        Arc::new(Self {
            model,
            limits,
            engine,
            page,
            version,
            in_flight: watch::Sender::new(0),
            closing: watch::Sender::new(false),
        })
    }

    /// What stands in `system_fingerprint`: equal seeds give equal answers under equal fingerprints.
    pub(crate) fn fingerprint(&self) -> String {
        format!("fastserve-{}", self.version)
    }
}

/// A generation under way, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<App>);

impl InFlight {
    /// Counts one more.
    pub(crate) fn enter(app: &Arc<App>) -> Self {
        app.in_flight.send_modify(|count| *count += 1);
        Self(Arc::clone(app))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|count| *count -= 1);
    }
}
