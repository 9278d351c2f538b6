//! What the engine knows of a sequence beside the scheduler's view: how to sample it, and whom to tell.

use decoding::{Logprobs, SamplingParams, TokenHistory};
use serving::engine::{EngineEvent, EngineRequest, FinishReason, GenerationRequest};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;

/// One choice of a request on its way through the engine.
#[derive(Debug)]
pub(super) struct Sequence {
    pub request: Arc<GenerationRequest>,
    pub arrived: Instant,
    /// The request's parameters with the choice's own seed.
    pub params: SamplingParams,
    pub history: TokenHistory,
    pub generated: usize,
    pub events: Sender<EngineEvent>,
    /// Choices that begin when the prompt is computed, on the blocks of this one.
    pub unforked: Vec<Sequence>,
    /// The place in the queue, given back when the sequence first runs.
    pub place: Option<OwnedSemaphorePermit>,
    /// Log-probabilities of the prompt's tokens, as far as they are computed; `None` once they are told, or if nobody asked.
    pub prompt_logprobs: Option<Vec<Option<Logprobs>>>,
    /// When the last token was emitted.
    pub last_token_at: Option<Instant>,
}

impl Sequence {
    /// The request's first choice, with the others waiting in it.
    pub(super) fn first_choice(queued: EngineRequest) -> Self {
        let EngineRequest {
            request,
            events,
            place,
            arrived,
        } = queued;
        let request = Arc::new(request);
        let history = TokenHistory::new(&request.prompt);
        let mut choices = events.into_iter().enumerate().map(|(index, events)| Self {
            params: SamplingParams {
                seed: request.params.seed.wrapping_add(index as u64),
                ..request.params.clone()
            },
            request: Arc::clone(&request),
            arrived,
            history: history.clone(),
            generated: 0,
            events,
            unforked: Vec::new(),
            place: None,
            prompt_logprobs: None,
            last_token_at: None,
        });
        let mut first = choices.next().expect("a request has at least one choice");
        first.unforked = choices.collect();
        first.place = Some(place);
        // The first token of a prompt follows nothing.
        first.prompt_logprobs = first.request.prompt_logprobs.map(|_| vec![None]);
        first
    }

    /// Whether nobody waits for this choice or for one that is to be forked from it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed() && self.unforked.iter().all(|choice| choice.events.is_closed())
    }

    /// Tokens that may not be drawn yet.
    pub(super) fn suppressed(&self) -> &[u32] {
        if self.generated < self.request.min_new_tokens {
            &self.request.stop_token_ids
        } else {
            &[]
        }
    }

    /// Why the choice ends with `token`, if it does.
    pub(super) fn finish_reason(&self, token: u32) -> Option<FinishReason> {
        if self.request.stop_token_ids.contains(&token) {
            return Some(FinishReason::Stop { token });
        }
        (self.generated + 1 >= self.request.max_new_tokens).then_some(FinishReason::Length)
    }

    /// Tells the client. There is room for every event, so this only fails where the receiver is gone, and then nobody needs to
    /// know.
    pub(super) fn tell(&self, event: EngineEvent) {
        let _ = self.events.try_send(event);
    }
}
