//! Where the control plane meets the data plane.
//!
//! The server submits an [`EngineRequest`] and reads one stream of [`EngineEvent`]s for each choice. Two rules keep the two
//! planes from ever waiting for each other:
//!
//! - The queue is bounded by places. A request holds one from submission until it first runs; when there is none left,
//!   [`EngineHandle::submit`] refuses at once.
//! - A choice's channel has room for every event it can ever get, so the engine never waits and no token is lost. A choice is
//!   cancelled by dropping its receiver: the engine looks before every step.

use crate::metrics::Metrics;
use decoding::{Logprobs, SamplingParams};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A prompt and what to make of it.
#[derive(Clone, Debug)]
pub struct GenerationRequest {
    /// Token ids, each in the vocabulary.
    pub prompt: Arc<[u32]>,
    /// How many choices (`n`); choice `i` draws from the stream `seed + i`.
    pub choices: usize,
    /// How to sample.
    pub params: SamplingParams,
    /// Tokens a choice generates at most.
    pub max_new_tokens: usize,
    /// Tokens a choice generates before a stop token may be drawn.
    pub min_new_tokens: usize,
    /// Tokens that end a choice; the model's own end of sequence among them unless the request ignores it.
    pub stop_token_ids: Vec<u32>,
    /// Lower is more urgent, where the engine's policy looks at it.
    pub priority: i32,
    /// Computed prompts are reused only between requests of equal salt.
    pub cache_salt: u64,
    /// Reports the prompt's own log-probabilities, and so many alternatives each.
    pub prompt_logprobs: Option<usize>,
}

/// A request as the engine receives it.
#[derive(Debug)]
pub struct EngineRequest {
    /// What to do.
    pub request: GenerationRequest,
    /// Where the events of each choice go.
    pub events: Vec<Sender<EngineEvent>>,
    /// The place in the queue; the engine drops it when the request first runs.
    pub place: OwnedSemaphorePermit,
    /// When it was submitted.
    pub arrived: Instant,
}

/// What happens to a choice.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineEvent {
    /// The prompt is computed; comes first, once for each choice.
    Prompt {
        /// Prompt tokens whose keys and values were there already.
        cached_tokens: usize,
        /// The prompt's log-probabilities if asked for, one for each token; the first token has none. Only the first choice
        /// carries them.
        logprobs: Vec<Option<Logprobs>>,
    },
    /// A token was generated.
    Token {
        /// Its id.
        token: u32,
        /// Its log-probability, if asked for.
        logprobs: Option<Logprobs>,
    },
    /// Nothing follows.
    Finished(FinishReason),
    /// The engine could not go on with this choice; nothing follows.
    Failed(EngineFailure),
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token was drawn; it is not among the choice's tokens.
    Stop {
        /// The stop token.
        token: u32,
    },
    /// All tokens it may have are there.
    Length,
}

/// Why the engine gave a choice up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineFailure(pub String);

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Every place in the queue is taken.
    #[error("the queue of {places} requests is full; try again later")]
    QueueFull {
        /// Places in the queue.
        places: usize,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The engine thread is gone.
    #[error("the engine has stopped")]
    Gone,
}

/// What both planes know of the engine.
#[derive(Debug)]
struct State {
    ready: AtomicBool,
    draining: AtomicBool,
    busy: AtomicBool,
    /// When the engine last began a step, in milliseconds since `started`.
    heartbeat_ms: AtomicU64,
    started: Instant,
}

/// The server's end.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    requests: Sender<EngineRequest>,
    places: Arc<Semaphore>,
    max_queue: usize,
    state: Arc<State>,
    metrics: Arc<Metrics>,
}

/// The engine's end.
#[derive(Debug)]
pub struct EngineInbox {
    requests: Receiver<EngineRequest>,
    state: Arc<State>,
    metrics: Arc<Metrics>,
}

/// A queue with `max_queue` places.
pub fn engine_channel(max_queue: usize, metrics: Arc<Metrics>) -> (EngineHandle, EngineInbox) {
    // A request in the channel holds a place, so the channel is never fuller than there are places.
    let (sender, receiver) = mpsc::channel(max_queue.max(1));
    let state = Arc::new(State {
        ready: AtomicBool::new(false),
        draining: AtomicBool::new(false),
        busy: AtomicBool::new(false),
        heartbeat_ms: AtomicU64::new(0),
        started: Instant::now(),
    });
    let handle = EngineHandle {
        requests: sender,
        places: Arc::new(Semaphore::new(max_queue)),
        max_queue,
        state: state.clone(),
        metrics: metrics.clone(),
    };
    (
        handle,
        EngineInbox {
            requests: receiver,
            state,
            metrics,
        },
    )
}

impl EngineHandle {
    /// Queues a request and returns the events of each of its choices.
    ///
    /// # Errors
    /// The queue is full, the server drains, or the engine is gone.
    pub fn submit(
        &self,
        request: GenerationRequest,
    ) -> Result<Vec<Receiver<EngineEvent>>, SubmitError> {
        // ANCHOR: solve-submit
        if self.is_draining() {
            return Err(SubmitError::Draining);
        }
        let place =
            Arc::clone(&self.places)
                .try_acquire_owned()
                .map_err(|_| SubmitError::QueueFull {
                    places: self.max_queue,
                })?;
        // One event for the prompt, one for each token, one for the end.
        let room = request.max_new_tokens + 2;
        let (events, receivers) = (0..request.choices).map(|_| mpsc::channel(room)).unzip();
        let queued = EngineRequest {
            request,
            events,
            place,
            arrived: Instant::now(),
        };
        self.requests
            .try_send(queued)
            .map_err(|_| SubmitError::Gone)?;
        Ok(receivers)
        // ANCHOR_END: solve-submit
    }

    /// Whether requests are taken: the model is loaded and no shutdown has begun.
    pub fn is_ready(&self) -> bool {
        self.state.ready.load(Ordering::Acquire)
            && !self.is_draining()
            && !self.requests.is_closed()
    }

    /// Whether the engine makes progress: it is waiting for work, or began a step within `patience`.
    pub fn is_alive(&self, patience: Duration) -> bool {
        if self.requests.is_closed() {
            return false;
        }
        let now = self.state.started.elapsed().as_millis() as u64;
        // A beat may come between the two readings.
        let since = now.saturating_sub(self.state.heartbeat_ms.load(Ordering::Acquire));
        !self.state.busy.load(Ordering::Acquire) || since <= patience.as_millis() as u64
    }

    /// Refuses requests from now on; those under way go on.
    pub fn begin_drain(&self) {
        self.state.draining.store(true, Ordering::Release);
    }

    /// Whether a shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.state.draining.load(Ordering::Acquire)
    }

    /// What is counted and timed.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl EngineInbox {
    /// Says that the engine takes requests.
    pub fn set_ready(&self) {
        self.state.ready.store(true, Ordering::Release);
    }

    /// Waits for a request; `None` when every handle is gone.
    pub fn wait(&mut self) -> Option<EngineRequest> {
        self.state.busy.store(false, Ordering::Release);
        let request = self.requests.blocking_recv();
        self.beat();
        self.state.busy.store(true, Ordering::Release);
        request
    }

    /// The next request, if one is there.
    pub fn try_next(&mut self) -> Option<EngineRequest> {
        self.requests.try_recv().ok()
    }

    /// Says that a step begins.
    pub fn beat(&self) {
        let now = self.state.started.elapsed().as_millis() as u64;
        self.state.heartbeat_ms.store(now, Ordering::Release);
    }

    /// What is counted and timed.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
