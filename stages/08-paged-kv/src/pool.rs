//! A fixed set of blocks with reference counts.
//!
//! Invariant: a block is in the free list exactly when nobody references it.

use crate::block::BlockId;
use crate::free_list::FreeList;

/// A fixed number of blocks; every operation on one block takes constant time.
#[derive(Debug)]
pub struct BlockPool {
    /// How many tables hold each block, `[blocks]`.
    references: Vec<u32>,
    free: FreeList,
    /// Whether a block was freed with its content kept, `[blocks]`; only meant for free blocks.
    kept: Vec<bool>,
    /// Free blocks whose content is kept.
    kept_blocks: usize,
}

impl BlockPool {
    /// A pool of `blocks` blocks, all free; they are handed out in ascending order.
    ///
    /// # Panics
    /// If `blocks` does not fit block ids of 32 bits.
    pub fn new(blocks: usize) -> Self {
        assert!(
            blocks < u32::MAX as usize,
            "{blocks} blocks do not fit 32-bit block ids"
        );
        let mut free = FreeList::new(blocks);
        (0..blocks as u32).for_each(|block| free.push_back(BlockId(block)));
        Self {
            references: vec![0; blocks],
            free,
            kept: vec![false; blocks],
            kept_blocks: 0,
        }
    }

    /// Takes the block that has been of no use for longest; the caller is its only owner.
    /// Returns `None` if no block is free.
    pub fn allocate(&mut self) -> Option<BlockId> {
        let block = self.free.pop_front()?;
        self.references[block.index()] = 1;
        self.no_longer_free(block);
        Some(block)
    }

    /// Adds an owner. A free block comes back to life with its content, from the middle of the free list.
    pub fn retain(&mut self, block: BlockId) {
        if self.references[block.index()] == 0 {
            self.free.remove(block);
            self.no_longer_free(block);
        }
        self.references[block.index()] += 1;
    }

    /// Drops an owner. With the last one the block is free: the last in line to be allocated if `keep_content` says that its
    /// content may be asked for again, else the first.
    ///
    /// # Panics
    /// If the block is free already.
    pub fn release(&mut self, block: BlockId, keep_content: bool) {
        // ANCHOR: solve-release
        let references = &mut self.references[block.index()];
        assert!(
            *references > 0,
            "block {} is released more often than it was taken",
            block.0
        );
        *references -= 1;
        if *references > 0 {
            return;
        }
        if keep_content {
            self.free.push_back(block);
        } else {
            self.free.push_front(block);
        }
        self.kept[block.index()] = keep_content;
        self.kept_blocks += usize::from(keep_content);
        // ANCHOR_END: solve-release
    }

    fn no_longer_free(&mut self, block: BlockId) {
        self.kept_blocks -= usize::from(self.kept[block.index()]);
        self.kept[block.index()] = false;
    }

    /// How many owners a block has.
    pub fn references(&self, block: BlockId) -> usize {
        self.references[block.index()] as usize
    }

    /// Blocks in the pool, free or not.
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether the pool was made with no blocks at all.
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// Blocks that nobody owns.
    pub fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Blocks that nobody owns and whose content was kept.
    pub fn kept_blocks(&self) -> usize {
        self.kept_blocks
    }

    /// The free blocks in the order in which they will be allocated.
    pub fn free_order(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.free.iter()
    }

    /// Proves the invariants.
    ///
    /// # Panics
    /// If one is broken.
    pub fn check(&self) {
        self.free.check();
        for (index, &references) in self.references.iter().enumerate() {
            let listed = self.free.contains(BlockId(index as u32));
            assert_eq!(
                listed,
                references == 0,
                "block {index} has {references} owners, in the free list: {listed}"
            );
        }
    }
}
