//! One sequence as the scheduler sees it.
//!
//! Invariant: the page table's length is the number of tokens computed; it never exceeds the number of tokens known.

use crate::config::Policy;
use crate::id::SeqId;
use paged_kv::PageTable;

/// What the caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSpec {
    /// A name that no live sequence has.
    pub id: SeqId,
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// Tokens to generate at most. With zero, the prompt is computed and nothing is kept of what is sampled.
    pub max_new_tokens: usize,
    /// Lower is more urgent. Only [`Policy::Priority`] reads it.
    pub priority: i32,
    /// Stored blocks are shared only between sequences of equal salt.
    pub salt: u64,
    /// Whether stored blocks may be reused. Callers that need the logits of every prompt token say no.
    pub reuse_prefix: bool,
}

/// A place in the order of urgency, lower first. Ids break ties between a sequence and its forks.
pub(crate) type Urgency = (i64, SeqId);

#[derive(Debug)]
pub(crate) struct Sequence {
    /// The prompt, then what was generated.
    pub tokens: Vec<u32>,
    pub prompt_len: usize,
    /// Length of `tokens` that is never exceeded.
    pub max_tokens: usize,
    pub urgency: Urgency,
    pub salt: u64,
    pub reuse_prefix: bool,
    pub table: PageTable,
    /// Whether it has ended; it then has no blocks any more.
    pub complete: bool,
    /// Prompt tokens that were found stored when the sequence was first admitted.
    pub cached_tokens: Option<usize>,
}

impl Sequence {
    /// A sequence that is the `arrival`-th to come.
    pub(crate) fn new(spec: SequenceSpec, arrival: u64, policy: Policy) -> Self {
        Self {
            max_tokens: spec.prompt.len() + spec.max_new_tokens,
            prompt_len: spec.prompt.len(),
            tokens: spec.prompt,
            urgency: (policy.rank(arrival, spec.priority), spec.id),
            salt: spec.salt,
            reuse_prefix: spec.reuse_prefix,
            table: PageTable::new(spec.salt),
            complete: false,
            cached_tokens: None,
        }
    }

    /// A sequence that differs from this one in id and last token.
    pub(crate) fn forked(&self, id: SeqId, token: u32, table: PageTable) -> Self {
        let mut tokens = self.tokens.clone();
        tokens.pop();
        tokens.push(token);
        Self {
            tokens,
            urgency: (self.urgency.0, id),
            table,
            ..*self
        }
    }

    /// Tokens computed.
    pub(crate) fn computed(&self) -> usize {
        self.table.len()
    }

    /// Tokens known and not yet computed.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.computed()
    }

    /// Whether the next step of this sequence is a single token that continues what is stored.
    pub(crate) fn is_decoding(&self) -> bool {
        self.pending() == 1 && self.computed() > 0
    }

    /// Whether all its tokens are there. The last generated one need not be computed, since nothing follows it; a sequence that
    /// generates nothing ends when its prompt is computed.
    pub(crate) fn has_ended(&self) -> bool {
        let generates = self.max_tokens > self.prompt_len;
        if generates {
            self.tokens.len() == self.max_tokens
        } else {
            self.pending() == 0
        }
    }
}
