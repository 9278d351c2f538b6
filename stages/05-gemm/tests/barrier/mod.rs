//! An mbarrier as a model.

/// A phase ends when `count` have arrived.
#[derive(Clone)]
pub struct Barrier {
    count: usize,
    arrived: usize,
    ended: usize,
}

impl Barrier {
    /// A fresh one.
    pub fn new(count: usize) -> Self {
        Self {
            count,
            arrived: 0,
            ended: 0,
        }
    }

    /// One of `count`.
    pub fn arrive(&mut self) {
        self.arrived += 1;
        if self.arrived == self.count {
            (self.arrived, self.ended) = (0, self.ended + 1);
        }
    }

    /// What `mbarrier.try_wait.parity` answers: whether the phase of that parity is the one that ended last. On a fresh barrier the
    /// phase "before the first" has parity 1.
    pub fn passed(&self, parity: usize) -> bool {
        self.ended % 2 != parity
    }
}
