//! How far each memory node is from each other: a walk on one, through memory that a thread of the other touched first.
//!
//! A system places a page on the node of the thread that first touches it. On a machine of one node there is one distance, the local
//! one, and the answer says so by having one entry.

use super::latency::Chase;
use super::pages::PageSize;
use crate::pool::{allowed_cores, pin_to};
use crate::topology::Topology;
use std::time::Duration;

/// Latency from a core of one node to memory of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Distance {
    /// The node whose core walks.
    pub from: usize,
    /// The node whose memory is walked.
    pub to: usize,
    /// Time for a load in ns.
    pub ns: f64,
}

/// Latencies over `bytes` bytes between all nodes that have a core which this process may use; the `budget` is for each pair.
pub fn distances(topology: &Topology, bytes: usize, budget: Duration) -> Vec<Distance> {
    let allowed = allowed_cores();
    let core = |cpus: &[usize]| cpus.iter().copied().find(|cpu| allowed.contains(cpu));
    let nodes: Vec<_> = topology
        .nodes
        .iter()
        .filter_map(|node| Some((node.id, core(&node.cpus)?)))
        .collect();
    let mut distances = Vec::new();
    for &(to, owner) in &nodes {
        let chase = on_core(owner, || Chase::lines(bytes, PageSize::Huge));
        for &(from, walker) in &nodes {
            let ns = on_core(walker, || chase.latency_ns(budget));
            distances.push(Distance { from, to, ns });
        }
    }
    distances
}

/// Runs `work` on a thread that is pinned to a core, so that the caller stays free to move.
pub fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            pin_to(core);
            work()
        });
        match pinned.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
