//! The words that the whole stage speaks in: a block, a copy of a block, and the lack of blocks.

/// One block of the device buffer: `block_size` consecutive slots, the first at `id * block_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

impl BlockId {
    /// The block's place in arrays that hold one entry per block.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A copy between two blocks of the device buffer, for all layers, keys and values.
///
/// Copies are executed in the order in which they were reported, before anything else of the step is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCopy {
    /// The block to read.
    pub src: BlockId,
    /// The block to overwrite.
    pub dst: BlockId,
}

/// The pool cannot serve a reservation; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{needed} KV blocks are needed and {free} are free: release a sequence, or give the pool more blocks"
)]
pub struct OutOfBlocks {
    /// Blocks that the reservation needs.
    pub needed: usize,
    /// Blocks that were free.
    pub free: usize,
}
