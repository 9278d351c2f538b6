//! Which block holds which content.
//!
//! The keys and values of a block depend on all tokens before it, so its content is named by the tokens of the block and by the
//! prefix that it continues, and the prefix in turn by an identity that is given once and never again. Looking a prompt up is a
//! walk from block to block, each found by a 64-bit hash of (prefix, tokens).
//!
//! Invariant: a hash only finds a candidate; prefix and tokens are compared. Two contents with one hash cannot be mixed up: the
//! later one is not indexed.

use crate::block::BlockId;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The identity of a sequence of full blocks, from position 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Prefix {
    /// No block. The salt keeps contents apart that must not be shared.
    Empty { salt: u64 },
    /// The prefix that ends with the block content of this number.
    Ending(u64),
}

/// What a block holds.
#[derive(Debug)]
struct Content {
    parent: Prefix,
    tokens: Box<[u32]>,
    /// The prefix that ends with this block.
    prefix: Prefix,
    hash: u64,
}

#[derive(Debug)]
pub(crate) struct PrefixIndex {
    by_hash: HashMap<u64, BlockId>,
    /// `[blocks]`; `None` for a block that cannot be found by its content.
    contents: Vec<Option<Content>>,
    next_identity: u64,
    /// Replaced in tests, where all contents collide.
    hash: fn(Prefix, &[u32]) -> u64,
}

impl PrefixIndex {
    pub(crate) fn new(blocks: usize) -> Self {
        let contents = std::iter::repeat_with(|| None).take(blocks).collect();
        Self {
            by_hash: HashMap::new(),
            contents,
            next_identity: 0,
            hash: hash_block,
        }
    }

    /// The block that continues `parent` with `tokens`, and the prefix that it completes.
    pub(crate) fn find(&self, parent: Prefix, tokens: &[u32]) -> Option<(BlockId, Prefix)> {
        let block = *self.by_hash.get(&(self.hash)(parent, tokens))?;
        let content = self.contents[block.index()].as_ref()?;
        (content.parent == parent && *content.tokens == *tokens).then_some((block, content.prefix))
    }

    /// Notes that `block` continues `parent` with `tokens`, unless another block is known to; returns the prefix completed.
    pub(crate) fn insert(&mut self, block: BlockId, parent: Prefix, tokens: &[u32]) -> Prefix {
        if let Some((_, prefix)) = self.find(parent, tokens) {
            return prefix;
        }
        let prefix = Prefix::Ending(self.next_identity);
        self.next_identity += 1;
        let hash = (self.hash)(parent, tokens);
        // An occupied entry is a collision: the block stays out, and its identity is one that nobody finds.
        if let std::collections::hash_map::Entry::Vacant(entry) = self.by_hash.entry(hash) {
            entry.insert(block);
            self.contents[block.index()] = Some(Content {
                parent,
                tokens: tokens.into(),
                prefix,
                hash,
            });
        }
        prefix
    }

    /// Forgets what `block` holds; returns whether it held anything.
    pub(crate) fn remove(&mut self, block: BlockId) -> bool {
        let content = self.contents[block.index()].take();
        content.is_some_and(|content| self.by_hash.remove(&content.hash).is_some())
    }

    pub(crate) fn contains(&self, block: BlockId) -> bool {
        self.contents[block.index()].is_some()
    }

    /// Panics unless hashes and contents point at each other.
    pub(crate) fn check(&self) {
        for (&hash, block) in &self.by_hash {
            let found = self.contents[block.index()]
                .as_ref()
                .map(|content| content.hash);
            assert_eq!(
                found,
                Some(hash),
                "the index finds block {} by a content that it does not hold",
                block.0
            );
        }
        let known = self.contents.iter().flatten().count();
        assert_eq!(
            known,
            self.by_hash.len(),
            "contents are stored that the index does not find"
        );
    }
}

/// SipHash with fixed keys: the same on every run. It need not withstand an attacker, since contents are compared.
fn hash_block(parent: Prefix, tokens: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (parent, tokens).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collision_serves_nothing_and_harms_nobody() {
        let mut index = PrefixIndex {
            hash: |_, _| 7,
            ..PrefixIndex::new(4)
        };
        let root = Prefix::Empty { salt: 0 };
        let first = index.insert(BlockId(0), root, &[1, 2]);
        let second = index.insert(BlockId(1), root, &[3, 4]);
        assert_ne!(first, second);
        assert_eq!(index.find(root, &[1, 2]), Some((BlockId(0), first)));
        assert_eq!(index.find(root, &[3, 4]), None);
        // The same tokens after another prefix are another content.
        assert_eq!(index.find(second, &[1, 2]), None);
        assert!(!index.contains(BlockId(1)));
        assert!(!index.remove(BlockId(1)));
        index.check();
        // The place is free again once its content is gone.
        assert!(index.remove(BlockId(0)));
        let third = index.insert(BlockId(1), second, &[1, 2]);
        assert_eq!(index.find(second, &[1, 2]), Some((BlockId(1), third)));
        index.check();
    }
}
