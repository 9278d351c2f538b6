//! Where the tokens of one sequence are stored.
//!
//! Invariant: `len <= capacity`, and position `p` is stored in block `p / block_size` of the table, whatever block that is.

use crate::block::BlockId;
use crate::prefix_index::Prefix;

/// The page table of one sequence.
///
/// It owns one reference to each of its blocks, so it is not `Clone` ([`PagedKv::fork`](crate::PagedKv::fork) is) and must be
/// given back with [`PagedKv::release`](crate::PagedKv::release).
#[derive(Debug)]
#[must_use = "a dropped page table loses its blocks: give it to PagedKv::release"]
pub struct PageTable {
    pub(crate) blocks: Vec<BlockId>,
    pub(crate) len: usize,
    /// What the full blocks of the first `len` tokens hold.
    pub(crate) prefix: Prefix,
}

impl PageTable {
    /// A table with no tokens and no blocks. Contents are shared only between tables of equal `salt`: tenants that must not
    /// learn from each other's timing get different salts.
    pub fn new(salt: u64) -> Self {
        Self {
            blocks: Vec::new(),
            len: 0,
            prefix: Prefix::Empty { salt },
        }
    }

    /// Tokens stored.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks in the order of positions; the last ones may be reserved and still empty.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// The slot of the device buffer that holds `position`.
    ///
    /// # Panics
    /// If no block is reserved for that position.
    pub fn slot(&self, position: usize, block_size: usize) -> usize {
        self.blocks[position / block_size].index() * block_size + position % block_size
    }
}
