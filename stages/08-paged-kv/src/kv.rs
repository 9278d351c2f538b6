//! The cache as the scheduler sees it: tables grow, fork, commit and go; blocks are shared where contents are equal.
//!
//! Invariant: a block that is written has exactly one owner and no indexed content. Full blocks are never written, so they may be
//! indexed and shared; the one block that is partly filled may be shared by [`PagedKv::fork`] and is copied before it is written.

use crate::block::{BlockCopy, BlockId, OutOfBlocks};
use crate::pool::BlockPool;
use crate::prefix_index::{Prefix, PrefixIndex};
use crate::table::PageTable;

/// Counters since the cache was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KvStats {
    /// Tokens that [`PagedKv::match_prefix`] was asked for.
    pub queried_tokens: u64,
    /// Tokens that it found stored.
    pub hit_tokens: u64,
    /// Blocks whose content was given up for room.
    pub evictions: u64,
    /// Blocks copied because they were shared.
    pub copies: u64,
}

/// Blocks, their contents, and who holds them.
#[derive(Debug)]
pub struct PagedKv {
    pool: BlockPool,
    index: PrefixIndex,
    block_size: usize,
    prefix_caching: bool,
    stats: KvStats,
}

impl PagedKv {
    /// A cache of `blocks` blocks with `block_size` tokens each. Without `prefix_caching` nothing is ever found stored.
    ///
    /// # Panics
    /// If `block_size` is zero.
    pub fn new(blocks: usize, block_size: usize, prefix_caching: bool) -> Self {
        assert!(block_size > 0, "a block must hold at least one token");
        let (pool, index) = (BlockPool::new(blocks), PrefixIndex::new(blocks));
        Self {
            pool,
            index,
            block_size,
            prefix_caching,
            stats: KvStats::default(),
        }
    }

    /// A table that already holds the longest stored prefix of `tokens`, in full blocks; its length says how much.
    ///
    /// The last token is never covered, even if it is stored: a model must compute at least one to have logits.
    pub fn match_prefix(&mut self, tokens: &[u32], salt: u64) -> PageTable {
        let mut table = PageTable::new(salt);
        (table.blocks, table.prefix) = self.find_prefix(tokens, salt);
        table.len = table.blocks.len() * self.block_size;
        for &block in &table.blocks {
            self.pool.retain(block);
        }
        self.stats.queried_tokens += tokens.len() as u64;
        self.stats.hit_tokens += table.len as u64;
        table
    }

    /// Free blocks that a sequence of `tokens` would take if it began with [`match_prefix`](Self::match_prefix) and reserved
    /// the rest. A stored block counts if it is free now, because reuse takes it too.
    pub fn blocks_to_start(&self, tokens: &[u32], salt: u64) -> usize {
        // ANCHOR: solve-price
        let (stored, _) = self.find_prefix(tokens, salt);
        let shared = stored
            .iter()
            .filter(|&&block| self.pool.references(block) > 0)
            .count();
        self.blocks_for(tokens.len()) - shared
        // ANCHOR_END: solve-price
    }

    /// Makes room for `new_tokens` more tokens, all or nothing.
    ///
    /// If they would be written to a block that others hold too, the table gets a private one in its place, and the copy that
    /// is returned must be executed on the device before they are written.
    ///
    /// # Errors
    /// [`OutOfBlocks`] if the pool has too few free blocks; table and pool are then as before.
    pub fn reserve(
        &mut self,
        table: &mut PageTable,
        new_tokens: usize,
    ) -> Result<Option<BlockCopy>, OutOfBlocks> {
        // ANCHOR: solve-reserve
        let shared = if new_tokens > 0 {
            self.shared_tail(table)
        } else {
            None
        };
        let target = self.blocks_for(table.len + new_tokens);
        let missing = target.saturating_sub(table.blocks.len());
        let (needed, free) = (
            missing + usize::from(shared.is_some()),
            self.pool.free_blocks(),
        );
        if needed > free {
            return Err(OutOfBlocks { needed, free });
        }
        let copy = shared.map(|index| self.copy_on_write(table, index));
        for _ in 0..missing {
            table.blocks.push(self.take_block());
        }
        Ok(copy)
        // ANCHOR_END: solve-reserve
    }

    /// Notes that the table now stores `tokens`, counted from position 0, and indexes the blocks that became full.
    ///
    /// Where an equal content is indexed already, the table keeps its own block and the index the first.
    ///
    /// # Panics
    /// If `tokens` are fewer than are stored already, or more than were reserved for.
    pub fn commit(&mut self, table: &mut PageTable, tokens: &[u32]) {
        let capacity = table.blocks.len() * self.block_size;
        let len = tokens.len();
        assert!(
            (table.len..=capacity).contains(&len),
            "{len} tokens committed over {}, room for {capacity}",
            table.len
        );
        let newly_full = table.len / self.block_size..len / self.block_size;
        for index in newly_full.filter(|_| self.prefix_caching) {
            let content = &tokens[index * self.block_size..(index + 1) * self.block_size];
            table.prefix = self
                .index
                .insert(table.blocks[index], table.prefix, content);
        }
        table.len = len;
    }

    /// A second table with the same tokens in the same blocks. Blocks that are reserved and empty are not shared.
    pub fn fork(&mut self, table: &PageTable) -> PageTable {
        let blocks = table.blocks[..self.blocks_for(table.len)].to_vec();
        for &block in &blocks {
            self.pool.retain(block);
        }
        PageTable {
            blocks,
            len: table.len,
            prefix: table.prefix,
        }
    }

    /// Gives a table's blocks back. Contents stay findable until their memory is needed; a sequence's tail goes before its
    /// beginning, because more prompts share the beginning, and because a tail cannot be found without it.
    pub fn release(&mut self, table: PageTable) {
        for &block in table.blocks.iter().rev() {
            self.pool.release(block, self.index.contains(block));
        }
    }

    /// Blocks that hold `tokens` tokens.
    pub fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_size)
    }

    /// Tokens in a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Blocks in the pool.
    pub fn total_blocks(&self) -> usize {
        self.pool.len()
    }

    /// Blocks that can be had, cached contents included.
    pub fn free_blocks(&self) -> usize {
        self.pool.free_blocks()
    }

    /// Blocks that tables hold; a shared block counts once.
    pub fn used_blocks(&self) -> usize {
        self.pool.len() - self.pool.free_blocks()
    }

    /// Free blocks whose content can still be reused.
    pub fn cached_blocks(&self) -> usize {
        self.pool.kept_blocks()
    }

    /// Counters of reuse.
    pub fn stats(&self) -> KvStats {
        self.stats
    }

    /// Proves the invariants that need no table: free list, reference counts, index. Takes time in proportion to the pool.
    ///
    /// # Panics
    /// If one is broken.
    pub fn check(&self) {
        self.pool.check();
        self.index.check();
        let cached = || {
            let free = self.pool.free_order();
            free.map(|block| self.index.contains(block))
        };
        assert!(
            cached().is_sorted(),
            "a block with content would be evicted before one without"
        );
        let count = cached().filter(|cached| *cached).count();
        assert_eq!(
            count,
            self.cached_blocks(),
            "the count of cached blocks is off"
        );
    }

    /// Proves in addition that `tables` are all there are: each block has as many owners as tables that name it.
    ///
    /// # Panics
    /// If a block is lost, owned twice by one table, or written while shared.
    pub fn check_tables<'a>(&self, tables: impl IntoIterator<Item = &'a PageTable>) {
        self.check();
        let mut owners = vec![0usize; self.pool.len()];
        for table in tables {
            assert!(
                table.len <= table.blocks.len() * self.block_size,
                "a table is longer than its blocks"
            );
            table
                .blocks
                .iter()
                .for_each(|block| owners[block.index()] += 1);
            for &open in &table.blocks[table.len / self.block_size..] {
                assert!(
                    !self.index.contains(open),
                    "block {} is indexed before it is full",
                    open.0
                );
            }
        }
        for (index, &owners) in owners.iter().enumerate() {
            let references = self.pool.references(BlockId(index as u32));
            assert_eq!(
                references, owners,
                "block {index} has {references} references and {owners} owners"
            );
        }
    }

    /// The stored full blocks that `tokens` begin with, short of the last token.
    fn find_prefix(&self, tokens: &[u32], salt: u64) -> (Vec<BlockId>, Prefix) {
        // ANCHOR: solve-lookup
        let mut prefix = Prefix::Empty { salt };
        let mut blocks = Vec::new();
        let reusable = &tokens[..tokens.len().saturating_sub(1)];
        for content in reusable.chunks_exact(self.block_size) {
            let Some((block, longer)) = self.index.find(prefix, content) else {
                break;
            };
            blocks.push(block);
            prefix = longer;
        }
        (blocks, prefix)
        // ANCHOR_END: solve-lookup
    }

    /// Index in the table of the partly filled block, if others hold it too.
    fn shared_tail(&self, table: &PageTable) -> Option<usize> {
        let index = table.len / self.block_size;
        let partly_filled = !table.len.is_multiple_of(self.block_size);
        (partly_filled && self.pool.references(table.blocks[index]) > 1).then_some(index)
    }

    /// Replaces a shared block by a private one.
    fn copy_on_write(&mut self, table: &mut PageTable, index: usize) -> BlockCopy {
        // ANCHOR: solve-copy-on-write
        let (src, dst) = (table.blocks[index], self.take_block());
        // Others hold it, so this cannot free it.
        self.pool.release(src, false);
        table.blocks[index] = dst;
        self.stats.copies += 1;
        BlockCopy { src, dst }
        // ANCHOR_END: solve-copy-on-write
    }

    /// A block for new content; what it held is forgotten. The caller has made sure that one is free.
    fn take_block(&mut self) -> BlockId {
        let block = self.pool.allocate().expect("checked by reserve");
        self.stats.evictions += u64::from(self.index.remove(block));
        block
    }
}
