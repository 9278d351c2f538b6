//! What one forward pass computes: a ragged batch over a paged KV cache.
//!
//! Sequences of any mix (a chunk of a prompt, a single decoded token) lie one behind another in `tokens`; `query_starts` says
//! where each begins. There is no prefill step and no decode step: a decode is a chunk of length one.

/// The input of a forward pass. Slices are borrowed for the call; the device keeps its own copy.
#[derive(Clone, Copy, Debug)]
pub struct StepInputs<'a> {
    /// Token ids, `[tokens]`.
    pub tokens: &'a [u32],
    /// Position of each token in its sequence, `[tokens]`.
    pub positions: &'a [u32],
    /// Where each token's key and value go, `[tokens]`: `block * block_size + offset`.
    pub slots: &'a [u32],
    /// Sequence `s` owns tokens `query_starts[s]..query_starts[s + 1]`, `[sequences + 1]`.
    pub query_starts: &'a [u32],
    /// Page tables, `[sequences, blocks_per_sequence]` row-major; what lies behind a sequence's last block is not read.
    pub block_tables: &'a [u32],
    /// Row stride of `block_tables`.
    pub blocks_per_sequence: usize,
    /// Blocks to copy before anything is read or written, `(from, to)`: the copies of copy-on-write.
    pub block_copies: &'a [(u32, u32)],
    /// Rows of the batch whose logits may be asked for, ascending. Of a prompt it is the last alone, and of all but the last chunk of
    /// a prompt none: the last layer's feed-forward block is computed for these rows only.
    pub outputs: &'a [u32],
}

/// The most that a step may ask for. Everything a model needs is allocated once, for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLimits {
    /// Tokens in a step.
    pub tokens: usize,
    /// Rows of logits computed at a time.
    pub logit_rows: usize,
    /// Blocks in the KV cache.
    pub blocks: usize,
    /// Tokens in a block.
    pub block_size: usize,
    /// Longest sequence, in tokens.
    pub positions: usize,
}
