//! A cache by its rules, to count what a clock cannot show: which line is fetched when.
//!
//! Real machines keep counters of misses, which virtual machines often hide, and which tell how many and not which. This model is exact
//! and the same everywhere. It has no prefetcher and one level, so its counts say what a loop asks of the next level, not how long
//! that takes. The invariant: a line is in at most one set, that of its number modulo the sets, and a full set gives up the line that was
//! used longest ago.

/// A set-associative cache that replaces the least recently used line of a set.
#[derive(Debug, Clone)]
pub struct CacheModel {
    /// Lines of each set, the one used last at the end.
    sets: Vec<Vec<usize>>,
    ways: usize,
    line: usize,
    /// Lines that were fetched since the cache was empty.
    pub fetched: usize,
}

impl CacheModel {
    /// An empty cache of `sets` sets with room for `ways` lines of `line` bytes each.
    ///
    /// # Panics
    /// If one of them is 0.
    pub fn new(sets: usize, ways: usize, line: usize) -> Self {
        assert!(sets > 0 && ways > 0 && line > 0, "a cache holds a byte");
        Self {
            sets: vec![Vec::with_capacity(ways); sets],
            ways,
            line,
            fetched: 0,
        }
    }

    /// Touches the byte at `address`; whether its line was there.
    pub fn touch(&mut self, address: usize) -> bool {
        let line = address / self.line;
        let index = line % self.sets.len();
        let set = &mut self.sets[index];
        let place = set.iter().position(|held| *held == line);
        if let Some(place) = place {
            set.remove(place);
        } else {
            self.fetched += 1;
            if set.len() == self.ways {
                set.remove(0);
            }
        }
        set.push(line);
        place.is_some()
    }
}

/// In which order a product `c = a b` of row-major f32 matrices goes over its multiplications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As [`k01_naive`](crate::gemm::k01_naive): rows, columns, and `k` innermost.
    Columns,
    /// As [`k02_loop_order`](crate::gemm::k02_loop_order): rows, `k`, and columns innermost.
    Rows,
    /// As [`k03_blocked`](crate::gemm::k03_blocked), with square blocks of `b` of so many rows.
    Blocks(usize),
}

impl Order {
    /// Calls `step(i, j, l)` for each multiplication `a[i, l] * b[l, j]` of square matrices, in this order.
    pub fn walk(self, size: usize, mut step: impl FnMut(usize, usize, usize)) {
        match self {
            Self::Columns => {
                for i in 0..size {
                    for j in 0..size {
                        (0..size).for_each(|l| step(i, j, l));
                    }
                }
            }
            Self::Rows => Self::Blocks(size.max(1)).walk(size, step),
            Self::Blocks(block) => {
                let within = |first: usize| first..size.min(first + block);
                for first_l in (0..size).step_by(block) {
                    for first_j in (0..size).step_by(block) {
                        for i in 0..size {
                            for l in within(first_l) {
                                within(first_j).for_each(|j| step(i, j, l));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lines that a product of `size` by `size` matrices fetches into an empty cache. The matrices follow one another in memory. What the
    /// innermost loop keeps in a register (the sum, or the element of `a`) is not touched at each step.
    pub fn fetches(self, size: usize, cache: &mut CacheModel) -> usize {
        let place = |matrix: usize, row: usize, col: usize| {
            (matrix * size * size + row * size + col) * size_of::<f32>()
        };
        let before = cache.fetched;
        let mut kept = usize::MAX;
        self.walk(size, |i, j, l| {
            let (outer, inner) = match self {
                Self::Columns => (place(2, i, j), place(0, i, l)),
                _ => (place(0, i, l), place(2, i, j)),
            };
            if outer != kept {
                kept = outer;
                cache.touch(outer);
            }
            cache.touch(place(1, l, j));
            cache.touch(inner);
        });
        cache.fetched - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, VecDeque};

    #[test]
    fn every_order_does_each_multiplication_once() {
        for size in [0, 1, 5, 8, 13] {
            for order in [Order::Columns, Order::Rows, Order::Blocks(4)] {
                let (mut seen, mut steps) = (BTreeSet::new(), 0);
                order.walk(size, |i, j, l| {
                    assert!(i < size && j < size && l < size);
                    seen.insert((i, j, l));
                    steps += 1;
                });
                assert_eq!((seen.len(), steps), (size.pow(3), size.pow(3)), "{order:?}");
            }
        }
    }

    /// One set: a queue of the lines, by another way of writing it.
    #[test]
    fn a_full_cache_gives_up_what_was_used_longest_ago() {
        let (mut cache, mut queue) = (CacheModel::new(1, 5, 16), VecDeque::new());
        let mut random = crate::probe::SplitMix(3);
        for step in 0..10_000 {
            let address = random.below(16 * 9);
            let there = queue.contains(&(address / 16));
            queue.retain(|line| *line != address / 16);
            queue.push_back(address / 16);
            if queue.len() > 5 {
                queue.pop_front();
            }
            assert_eq!(cache.touch(address), there, "step {step}");
        }
    }

    #[test]
    fn only_lines_of_one_set_compete() {
        let mut cache = CacheModel::new(64, 8, 64);
        // 64 lines in neighbouring sets, then 16 lines a way's size apart, which share one.
        for round in 0..2 {
            let hits = (0..64).filter(|line| cache.touch(line * 64)).count();
            assert_eq!(hits, round * 64);
        }
        let mut cache = CacheModel::new(64, 8, 64);
        for _ in 0..3 {
            assert!((0..16).all(|line| !cache.touch(line * 64 * 64)));
        }
    }

    /// Of an L1 cache of 32 KiB: walking down columns of a power of two fetches a line a step; one column more and it does not.
    #[test]
    fn a_power_of_two_makes_columns_compete() {
        let fetches = |order: Order, size| {
            let lines = order.fetches(size, &mut CacheModel::new(64, 8, 64));
            lines as f64 / (size * size * size) as f64
        };
        assert!(fetches(Order::Columns, 128) > 1.0);
        assert!(fetches(Order::Columns, 130) < 0.1);
        assert!(fetches(Order::Rows, 128) < 0.1);
        assert!(fetches(Order::Blocks(32), 128) < 0.25 * fetches(Order::Rows, 128));
    }

    /// With a cache as large as all, each line comes once, whatever the order.
    #[test]
    fn what_fits_is_fetched_once() {
        for order in [Order::Columns, Order::Rows, Order::Blocks(16)] {
            let mut cache = CacheModel::new(1, 1024, 64);
            assert_eq!(order.fetches(32, &mut cache), 3 * 32 * 32 * 4 / 64);
        }
    }
}
