//! False sharing: threads that each write to a number of their own, near to or far from one another's.
//!
//! A core must own a whole line to write to any part of it. Two counters in one line make it travel between the cores at each turn,
//! though no thread ever reads the other's. The invariant: every thread's count is exact whatever the distance; only the time differs.

use super::median;
use crate::pool::Pool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Increments that each thread makes between two looks at the clock.
const INCREMENTS: u64 = 20_000;

/// Counters `stride` bytes apart, aligned to two lines, since some CPUs fetch lines in pairs.
pub struct Counters {
    lines: Vec<TwoLines>,
    stride: usize,
}

#[repr(align(128))]
struct TwoLines([AtomicU64; 16]);

impl Counters {
    /// `counters` counters at 0, `stride` bytes apart: a multiple of 8; 0 gives one counter to all.
    ///
    /// # Panics
    /// If `stride` is no multiple of 8.
    pub fn new(counters: usize, stride: usize) -> Self {
        assert!(stride.is_multiple_of(8), "a counter is a word");
        let lines = (counters * stride + 8).div_ceil(128);
        let line = || TwoLines([const { AtomicU64::new(0) }; 16]);
        Self {
            lines: std::iter::repeat_with(line).take(lines).collect(),
            stride,
        }
    }

    /// The counter of that number.
    pub fn get(&self, counter: usize) -> &AtomicU64 {
        let at = counter * self.stride;
        &self.lines[at / 128].0[at % 128 / 8]
    }

    /// Has every thread of the pool add `increments` to its own counter, one by one.
    pub fn count(&self, pool: &Pool, increments: u64) {
        pool.broadcast(|worker| {
            let own = self.get(worker);
            for _ in 0..increments {
                own.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// The time in ns for an increment when every thread of the pool makes them at once, on counters `stride` bytes apart.
/// The median: the shortest would be that of a turn in which the threads ran one after the other.
pub fn increment_ns(pool: &Pool, stride: usize, budget: Duration) -> f64 {
    let counters = Counters::new(pool.threads(), stride);
    median(budget, || counters.count(pool, INCREMENTS)) / INCREMENTS as f64
}
