//! `emit`: tell the clients, start the other choices of a request, and let go of what is finished.

use super::Engine;
use super::sample::Drawn;
use super::sequence::Sequence;
use decoding::Sampled;
use scheduling::{SeqId, StepPlan};
use serving::engine::{EngineEvent, EngineFailure, FinishReason};
use std::time::Instant;

impl Engine {
    /// Hands out the tokens of a step.
    pub(super) fn emit(&mut self, plan: &StepPlan, drawn: Vec<Drawn>) {
        for Drawn { id, sampled, forks } in drawn {
            if self.known(id).generated == 0 {
                self.announce_prompt(id);
            }
            self.fork(id, forks);
            self.emit_token(id, sampled);
        }
        self.finish_without_tokens(plan);
    }

    /// Starts the other choices of a request on the prompt's blocks, each with its own first token.
    fn fork(&mut self, parent: SeqId, first_tokens: Vec<Sampled>) {
        let unforked = std::mem::take(&mut self.known(parent).unforked);
        let cached_tokens = self.scheduler.cached_tokens(parent);
        for (choice, sampled) in unforked.into_iter().zip(first_tokens) {
            let child = self.fresh_id();
            match self.scheduler.fork(parent, child, sampled.token) {
                Ok(()) => {
                    choice.tell(EngineEvent::Prompt {
                        cached_tokens,
                        logprobs: Vec::new(),
                    });
                    self.sequences.insert(child, choice);
                    self.emit_token(child, sampled);
                }
                Err(error) => choice.tell(EngineEvent::Failed(EngineFailure(error.to_string()))),
            }
        }
    }

    /// Emits one token, and the end if it is the last.
    fn emit_token(&mut self, id: SeqId, Sampled { token, logprobs }: Sampled) {
        let metrics = self.inbox.metrics();
        let sequence = self
            .sequences
            .get_mut(&id)
            .expect("a drawn sequence is known");
        let now = Instant::now();
        match sequence.last_token_at.replace(now) {
            None => metrics
                .time_to_first_token_seconds
                .observe((now - sequence.arrived).as_secs_f64()),
            Some(last) => metrics
                .inter_token_seconds
                .observe((now - last).as_secs_f64()),
        }
        let end = sequence.finish_reason(token);
        sequence.generated += 1;
        sequence.history.push(token);
        metrics.generated_tokens.inc();
        if !matches!(end, Some(FinishReason::Stop { .. })) {
            sequence.tell(EngineEvent::Token { token, logprobs });
        }
        if let Some(reason) = end {
            self.finish(id, reason);
        }
    }

    /// The first event of a choice that computed its prompt itself.
    fn announce_prompt(&mut self, id: SeqId) {
        let cached_tokens = self.scheduler.cached_tokens(id);
        let sequence = self.known(id);
        let logprobs = sequence.prompt_logprobs.take().unwrap_or_default();
        sequence.tell(EngineEvent::Prompt {
            cached_tokens,
            logprobs,
        });
        let metrics = self.inbox.metrics();
        metrics
            .prompt_tokens
            .inc_by(self.sequences[&id].request.prompt.len() as u64);
        metrics.cached_tokens.inc_by(cached_tokens as u64);
    }

    /// Requests for a prompt's log-probabilities alone end when the prompt is computed.
    fn finish_without_tokens(&mut self, plan: &StepPlan) {
        for work in plan.work.iter().filter(|work| work.samples) {
            let Some(sequence) = self.sequences.get(&work.id) else {
                continue;
            };
            if sequence.request.max_new_tokens == 0 {
                let others = std::mem::take(&mut self.known(work.id).unforked);
                for choice in others {
                    choice.tell(EngineEvent::Prompt {
                        cached_tokens: 0,
                        logprobs: Vec::new(),
                    });
                    choice.tell(EngineEvent::Finished(FinishReason::Length));
                }
                self.announce_prompt(work.id);
                self.finish(work.id, FinishReason::Length);
            }
        }
    }

    fn finish(&mut self, id: SeqId, reason: FinishReason) {
        self.scheduler.finish(id);
        let sequence = self
            .sequences
            .remove(&id)
            .expect("a finished sequence is known");
        sequence.tell(EngineEvent::Finished(reason));
        let metrics = self.inbox.metrics();
        metrics
            .request_seconds
            .observe(sequence.arrived.elapsed().as_secs_f64());
        metrics.finished(match reason {
            FinishReason::Stop { .. } => "stop",
            FinishReason::Length => "length",
        });
    }

    fn known(&mut self, id: SeqId) -> &mut Sequence {
        self.sequences
            .get_mut(&id)
            .expect("a drawn sequence is known")
    }
}
