//! The free blocks as an intrusive doubly linked list: links are stored in one array, indexed by block.
//!
//! A stack would allocate and free in O(1) as well. The list can also give up a block from its middle in O(1), which is
//! what revives a cached block; and its order is the order of eviction, front first.
//!
//! Invariant: following `next` from the sentinel visits each listed block once and returns to the sentinel; `prev` is its mirror.

use crate::block::BlockId;

/// Link value of a block that is not in the list.
const UNLINKED: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

#[derive(Debug)]
pub(crate) struct FreeList {
    /// `[blocks + 1]`; the last entry is the sentinel that closes the list to a ring, so that no end is a special case.
    links: Vec<Link>,
    len: usize,
}

impl FreeList {
    /// An empty list for blocks `0..blocks`.
    pub(crate) fn new(blocks: usize) -> Self {
        let unlinked = Link {
            prev: UNLINKED,
            next: UNLINKED,
        };
        let mut links = vec![unlinked; blocks + 1];
        links[blocks] = Link {
            prev: blocks as u32,
            next: blocks as u32,
        };
        Self { links, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, block: BlockId) -> bool {
        self.links[block.index()].next != UNLINKED
    }

    /// Makes `block` the next one to be taken.
    pub(crate) fn push_front(&mut self, block: BlockId) {
        let sentinel = self.sentinel();
        self.link(block, sentinel, self.links[sentinel as usize].next);
    }

    /// Makes `block` the last one to be taken.
    pub(crate) fn push_back(&mut self, block: BlockId) {
        let sentinel = self.sentinel();
        self.link(block, self.links[sentinel as usize].prev, sentinel);
    }

    pub(crate) fn pop_front(&mut self) -> Option<BlockId> {
        let first = self.links[self.sentinel() as usize].next;
        if first == self.sentinel() {
            return None;
        }
        self.remove(BlockId(first));
        Some(BlockId(first))
    }

    /// Takes `block` out, wherever it is.
    pub(crate) fn remove(&mut self, block: BlockId) {
        // ANCHOR: solve-unlink
        let Link { prev, next } = self.links[block.index()];
        self.links[prev as usize].next = next;
        self.links[next as usize].prev = prev;
        self.links[block.index()] = Link {
            prev: UNLINKED,
            next: UNLINKED,
        };
        self.len -= 1;
        // ANCHOR_END: solve-unlink
    }

    /// The listed blocks, next to be taken first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = BlockId> + '_ {
        let mut at = self.links[self.sentinel() as usize].next;
        std::iter::from_fn(move || {
            let block = BlockId(at);
            (at != self.sentinel()).then(|| at = self.links[block.index()].next)?;
            Some(block)
        })
    }

    /// Panics unless the ring is whole in both directions and as long as `len` says.
    pub(crate) fn check(&self) {
        let mut at = self.sentinel();
        for _ in 0..=self.len {
            let next = self.links[at as usize].next;
            assert_eq!(
                self.links[next as usize].prev, at,
                "the free list's links disagree at block {at}"
            );
            at = next;
        }
        assert_eq!(
            at,
            self.sentinel(),
            "the free list is not as long as it says"
        );
        let linked = self
            .links
            .iter()
            .filter(|link| link.next != UNLINKED)
            .count();
        assert_eq!(linked, self.len + 1, "blocks are linked outside the ring");
    }

    fn sentinel(&self) -> u32 {
        (self.links.len() - 1) as u32
    }

    fn link(&mut self, block: BlockId, prev: u32, next: u32) {
        self.links[block.index()] = Link { prev, next };
        self.links[prev as usize].next = block.0;
        self.links[next as usize].prev = block.0;
        self.len += 1;
    }
}
