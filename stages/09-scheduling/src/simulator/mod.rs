//! Batching policies on a simulated clock, with no model.
//!
//! A step costs a fixed time (launches, reading the weights) and a time per token computed, padding included. Static and dynamic
//! batching compute rectangles: every prompt is padded to the longest of its batch, and an answer that ends early leaves a row
//! that is computed until the last one ends. Continuous batching is the real [`Scheduler`](crate::Scheduler).
//!
//! Invariant: nothing depends on anything but the arguments, so equal arguments give equal reports to the last bit.

mod continuous;
mod padded;
mod report;
mod workload;

pub use continuous::{continuous, continuous_with};
pub use padded::{dynamic_batching, static_batching};
pub use report::{Percentiles, Report};
pub use workload::{Request, Workload};

/// What a step costs, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    /// However little is computed.
    pub per_step: f64,
    /// For each token computed, padding included.
    pub per_token: f64,
}

impl CostModel {
    fn step(&self, tokens: usize) -> f64 {
        self.per_step + self.per_token * tokens as f64
    }
}
