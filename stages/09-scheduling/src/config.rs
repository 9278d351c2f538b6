//! What a scheduler is made from, what it refuses, and the order of urgency.

use crate::id::SeqId;
use thiserror::Error;

/// Places in the queue that one level of priority is worth.
const PLACES_PER_LEVEL: i64 = 256;

/// In which order sequences get what is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// First come, first served.
    #[default]
    Fcfs,
    /// A sequence is served as if it had come 256 places later for each level of its priority.
    ///
    /// That is an order by deadline: it ages waiting sequences without a clock, because whoever comes later gets a later place.
    /// A sequence is overtaken by at most 256 later ones for each level between them, so it cannot starve.
    Priority,
}

impl Policy {
    /// Place in the order of urgency of the `arrival`-th sequence, lower first. It is fixed for the life of a sequence.
    pub(crate) fn rank(self, arrival: u64, priority: i32) -> i64 {
        match self {
            Policy::Fcfs => arrival as i64,
            Policy::Priority => arrival as i64 + i64::from(priority) * PLACES_PER_LEVEL,
        }
    }
}

/// Limits of a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Tokens that one step computes at most, over all sequences.
    pub max_batched_tokens: usize,
    /// Sequences that run at once.
    pub max_sequences: usize,
    /// Tokens of one sequence, prompt and answer together.
    pub max_model_len: usize,
    /// Tokens in a KV block.
    pub block_size: usize,
    /// KV blocks in the pool.
    pub num_blocks: usize,
    /// The order of urgency.
    pub policy: Policy,
    /// Whether stored blocks are reused between sequences.
    pub prefix_caching: bool,
}

impl SchedulerConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("max_batched_tokens", self.max_batched_tokens),
            ("max_sequences", self.max_sequences),
            ("max_model_len", self.max_model_len),
            ("block_size", self.block_size),
            ("num_blocks", self.num_blocks),
        ];
        if let Some(&(field, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(ConfigError::Zero { field });
        }
        if self.max_batched_tokens < self.max_sequences {
            let (tokens, sequences) = (self.max_batched_tokens, self.max_sequences);
            return Err(ConfigError::BudgetTooSmall { tokens, sequences });
        }
        if self.num_blocks >= u32::MAX as usize {
            return Err(ConfigError::TooManyBlocks {
                blocks: self.num_blocks,
            });
        }
        Ok(())
    }
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A limit is zero.
    #[error("{field} is 0: give at least 1")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// Not every running sequence could generate in every step.
    #[error(
        "max_batched_tokens ({tokens}) is below max_sequences ({sequences}): a step must have a token for each sequence"
    )]
    BudgetTooSmall {
        /// The token budget.
        tokens: usize,
        /// The number of sequences.
        sequences: usize,
    },
    /// Block ids have 32 bits.
    #[error("num_blocks is {blocks}, and block ids have 32 bits: give fewer, or larger blocks")]
    TooManyBlocks {
        /// The number asked for.
        blocks: usize,
    },
}

/// A sequence that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdmitError {
    /// There is nothing to compute.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// Another live sequence has this id.
    #[error("sequence {} is scheduled already: give each sequence an id of its own", .0.0)]
    DuplicateId(SeqId),
    /// The answer might not fit the model's context.
    #[error(
        "{prompt} prompt tokens and up to {new} new ones exceed the context of {limit}: shorten the prompt, or ask for fewer tokens"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens to generate.
        new: usize,
        /// The context length.
        limit: usize,
    },
    /// The sequence could not finish even if it ran alone.
    #[error(
        "the sequence may need {needed} KV blocks and the pool has {total}: ask for fewer tokens, or enlarge the pool"
    )]
    LargerThanPool {
        /// Blocks at its full length.
        needed: usize,
        /// Blocks in the pool.
        total: usize,
    },
}

/// A sequence that cannot be forked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForkError {
    /// The parent has not generated anything, or does not exist.
    #[error("sequence {} has generated nothing to fork from: fork it after the step that computed its prompt", .0.0)]
    NotGenerating(SeqId),
    /// Another live sequence has the child's id.
    #[error("sequence {} is scheduled already: give each sequence an id of its own", .0.0)]
    DuplicateId(SeqId),
}
