//! What one load costs: a walk in which each load's address is the result of the one before.
//!
//! A CPU hides latency by running ahead, and by fetching lines before they are asked for. Neither works on a walk along a random cycle,
//! so the time for a step is the latency of whatever level of the memory hierarchy holds the cycle. The invariant: the walk is *one*
//! cycle over all nodes. A random permutation falls into several, and a walk caught in a short one would find an L1 cache of any size.

use super::pages::{PageSize, Pages};
use super::{SplitMix, fastest};
use std::hint::black_box;
use std::time::Duration;

/// Bytes in a cache line of every x86 and most ARM cores.
pub const LINE: usize = 64;

/// A random cycle over `0..len`, all of them equally likely: `next[i]` follows `i`. `below(n)` gives a random number below `n`, which is
/// above 0. The algorithm is Sattolo's (An algorithm to generate a random cyclic permutation, 1986).
pub fn single_cycle(len: usize, mut below: impl FnMut(usize) -> usize) -> Vec<usize> {
    // ANCHOR: solve-cycle
    let mut next: Vec<usize> = (0..len).collect();
    for i in (1..len).rev() {
        // Below i, not up to i as in a shuffle: an element that may stay where it is closes a cycle of one.
        next.swap(i, below(i));
    }
    next
    // ANCHOR_END: solve-cycle
}

/// A cycle laid out in memory, a node at each of the places given.
#[derive(Debug)]
pub struct Chase {
    memory: Pages,
    nodes: usize,
}

impl Chase {
    /// A random cycle over nodes `0..nodes`; node `i` lies `place(i)` bytes from the start, a multiple of 8 and no other node's.
    ///
    /// # Panics
    /// If `nodes` is 0.
    pub fn new(nodes: usize, place: impl Fn(usize) -> usize, size: PageSize) -> Self {
        assert!(nodes > 0, "a walk needs a node to stand on");
        let end = (0..nodes).map(&place).max().expect("there is a node") + LINE;
        let mut memory = Pages::new(end, size);
        let mut random = SplitMix(nodes as u64);
        let next = single_cycle(nodes, |bound| random.below(bound));
        let words = memory.words_mut();
        for (node, &next) in next.iter().enumerate() {
            words[place(node) / 8] = (place(next) / 8) as u64;
        }
        Self { memory, nodes }
    }

    /// A cycle over every line of `bytes` bytes, and at least one.
    pub fn lines(bytes: usize, size: PageSize) -> Self {
        Self::new((bytes / LINE).max(1), |line| line * LINE, size)
    }

    /// Nodes of the cycle.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Takes `steps` steps from the byte offset `from`, where a node lies; the offset of the node at which they end.
    pub fn walk(&self, from: usize, steps: usize) -> usize {
        let words = self.memory.words();
        let mut at = from / 8;
        for _ in 0..steps {
            at = words[at] as usize;
        }
        at * 8
    }

    /// The time for a step in ns, the shortest over stretches that together take `budget`.
    pub fn latency_ns(&self, budget: Duration) -> f64 {
        // Once around, so that each cache holds what it can; then stretches short enough that some are not interrupted.
        let mut at = self.walk(0, self.nodes.min(1 << 22));
        const STEPS: usize = 1 << 13;
        fastest(budget, || at = black_box(self.walk(at, STEPS))) / STEPS as f64
    }
}

/// The latency in ns over working sets of the given sizes in bytes: the curve that [`knees`] reads.
pub fn curve(sizes: &[usize], size: PageSize, budget: Duration) -> Vec<(usize, f64)> {
    let latency = |&bytes: &usize| (bytes, Chase::lines(bytes, size).latency_ns(budget));
    sizes.iter().map(latency).collect()
}

/// A rise from one point to the next that is more than noise.
const RISE: f64 = 1.1;
/// A climb, of one or more rises on end, that is more than a slope within a level.
const CLIMB: f64 = 1.5;

/// Sizes of caches, nearest first, read off a curve of (working set in bytes, latency) in rising order of size.
///
/// A level of the hierarchy is a plateau, and a climb leads from it to the next. A climb is a run of neighbouring points of which each is
/// more than 1.1 times the one before; it counts if its end is at least 1.5 times its beginning. The point at which it begins is the
/// largest working set that still fitted, and so the size of the cache as finely as the curve was measured.
pub fn knees(curve: &[(usize, f64)]) -> Vec<usize> {
    // ANCHOR: solve-knees
    let mut knees = Vec::new();
    let mut foot = 0;
    for i in 1..=curve.len() {
        let climbs = i < curve.len() && curve[i].1 > RISE * curve[i - 1].1;
        if !climbs {
            if i > foot + 1 && curve[i - 1].1 >= CLIMB * curve[foot].1 {
                knees.push(curve[foot].0);
            }
            foot = i;
        }
    }
    knees
    // ANCHOR_END: solve-knees
}
