//! What one step computes.

use crate::id::SeqId;
use paged_kv::BlockCopy;

/// A chunk of one sequence: the tokens at positions `start..start + len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Whose tokens.
    pub id: SeqId,
    /// First position computed; everything before it is stored.
    pub start: usize,
    /// Tokens computed, at least one.
    pub len: usize,
    /// Whether the last known token is among them, so that the next one is sampled from its logits.
    pub samples: bool,
}

/// One step: execute `copies` in order, compute `work`, sample where it says so, then hand the tokens to
/// [`Scheduler::commit`](crate::Scheduler::commit).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// At most one chunk per sequence.
    pub work: Vec<Work>,
    /// Block copies to execute before anything is written.
    pub copies: Vec<BlockCopy>,
    /// Sequences that lost their blocks and wait again.
    pub preempted: Vec<SeqId>,
    /// Sequences that began to run, for the first time or again.
    pub admitted: Vec<SeqId>,
}

impl StepPlan {
    /// Tokens that the step computes.
    pub fn tokens(&self) -> usize {
        self.work.iter().map(|work| work.len).sum()
    }
}
