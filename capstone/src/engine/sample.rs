//! `sample`: from the logits of a step to tokens and log-probabilities.

use super::Engine;
use super::sequence::Sequence;
use decoding::{Sampled, logprobs_of};
use scheduling::{SeqId, StepPlan, Work};

/// What a row's logits are needed for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// The log-probability of the prompt's next token.
    Prompt { id: SeqId, next: u32 },
    /// The next token of the sequence and of those that fork from it.
    Next { id: SeqId },
}

/// The rows of a batch whose logits are needed, in order, and what each is for.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    rows: Vec<u32>,
    wanted: Vec<Wanted>,
}

impl Outputs {
    /// See [`attention_variants::step::StepInputs::outputs`].
    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }

    fn push(&mut self, row: u32, wanted: Wanted) {
        self.rows.push(row);
        self.wanted.push(wanted);
    }
}

/// A sequence's new token, and those of the choices that begin with it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub id: SeqId,
    pub sampled: Sampled,
    /// One for each of the sequence's unforked choices.
    pub forks: Vec<Sampled>,
}

impl Engine {
    /// Draws the next token of every sequence whose last known token was computed, and keeps log-probabilities of prompts where
    /// they are asked for. Logits are computed a few rows at a time, for those rows alone.
    pub(super) fn sample(&mut self, outputs: &Outputs) -> Vec<Drawn> {
        let vocab = self.model.config().vocab_size;
        let rows_at_a_time = self.model.limits().logit_rows;
        let mut drawn = Vec::with_capacity(outputs.rows.len());
        for (index, wanted) in outputs.wanted.chunks(rows_at_a_time).enumerate() {
            let first = index * rows_at_a_time;
            let logits = self.model.logits(first..first + wanted.len());
            for (logits, wanted) in logits.chunks_exact(vocab).zip(wanted) {
                match *wanted {
                    Wanted::Prompt { id, next } => {
                        let sequence = self
                            .sequences
                            .get_mut(&id)
                            .expect("planned sequences are known");
                        let top = sequence.request.prompt_logprobs.unwrap_or(0);
                        let known = sequence.prompt_logprobs.get_or_insert_default();
                        known.push(Some(logprobs_of(logits, next, top)));
                    }
                    Wanted::Next { id } => {
                        let sequence = &self.sequences[&id];
                        let position = self.scheduler.tokens(id).len() as u64;
                        let mut draw = |choice: &Sequence| {
                            let suppressed = choice.suppressed();
                            self.sampler.sample(
                                logits,
                                &choice.params,
                                &choice.history,
                                suppressed,
                                position,
                            )
                        };
                        let sampled = draw(sequence);
                        let forks = sequence.unforked.iter().map(draw).collect();
                        drawn.push(Drawn { id, sampled, forks });
                    }
                }
            }
        }
        drawn
    }

    /// What is to come out of the planned step.
    pub(super) fn outputs(&self, plan: &StepPlan) -> Outputs {
        let mut outputs = Outputs::default();
        for (index, work) in plan.work.iter().enumerate() {
            self.push_prompt(&mut outputs, work, self.batch.first_row(index));
            if work.samples && self.sequences[&work.id].request.max_new_tokens > 0 {
                outputs.push(self.batch.last_row(index), Wanted::Next { id: work.id });
            }
        }
        outputs
    }

    /// The rows of a chunk that are followed by a prompt token whose log-probability is asked for and not known yet (a
    /// preempted sequence computes some again).
    fn push_prompt(&self, outputs: &mut Outputs, work: &Work, first_row: u32) {
        let sequence = &self.sequences[&work.id];
        let Some(known) = &sequence.prompt_logprobs else {
            return;
        };
        let prompt = &sequence.request.prompt;
        let from = work.start.max(known.len() - 1);
        let to = (work.start + work.len).min(prompt.len() - 1);
        for at in from..to {
            let row = first_row + (at - work.start) as u32;
            let next = prompt[at + 1];
            outputs.push(row, Wanted::Prompt { id: work.id, next });
        }
    }
}
