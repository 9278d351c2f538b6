//! A machine in the numbers that floors are worked out from.

use super::bandwidth::{Traffic, WorkingSet, dram_read_bandwidth};
use super::peak::{Peak, peaks};
use crate::pool::Pool;
use crate::roofline::Roof;
use crate::topology::Topology;
use std::time::Duration;

/// What was measured in about two seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Threads that the process may use.
    pub threads: usize,
    /// Peaks of one core, f32 first and the best instruction set first.
    pub peaks: Vec<Peak>,
    /// Caches and memory, nearest first, as one core reads them. Caches that the system hides are absent.
    pub levels: Vec<Level>,
    /// GB/s at which all threads together read memory.
    pub dram_read: f64,
}

/// A level of the hierarchy.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// `L1`, `L2`, … or `DRAM`.
    pub name: String,
    /// Size in bytes of the working set that was read: half of the cache, so that it stays in, or beyond them all.
    pub bytes: usize,
    /// GB/s at which one core reads it.
    pub read: f64,
}

/// The working sets that make each level of the hierarchy the one that is measured.
pub fn working_sets(topology: &Topology) -> Vec<(String, usize)> {
    let caches = topology.caches.iter();
    caches
        .map(|cache| (format!("L{}", cache.level), cache.bytes / 2))
        .chain([("DRAM".to_owned(), super::bandwidth::beyond_caches(topology))])
        .collect()
}

impl Machine {
    /// Measures this machine.
    pub fn measure() -> Self {
        let alone = Pool::new(1);
        let level = |(name, bytes)| {
            let set = WorkingSet::new(&alone, bytes);
            Level {
                name,
                bytes,
                read: set.gb_s(&alone, Traffic::Read, Duration::from_millis(200)),
            }
        };
        Self {
            threads: Pool::global().threads(),
            peaks: peaks(),
            levels: working_sets(&Topology::here())
                .into_iter()
                .map(level)
                .collect(),
            dram_read: dram_read_bandwidth(Pool::global()),
        }
    }

    /// The peak of one core on an element type, on the instruction set that does best.
    pub fn peak(&self, dtype: &str) -> Option<f64> {
        let peaks = self.peaks.iter().filter(|peak| peak.dtype == dtype);
        peaks.map(|peak| peak.gflops).reduce(f64::max)
    }

    /// What one core can do in f32 from a level of the hierarchy.
    pub fn roof(&self, level: &str) -> Option<Roof> {
        let level = self.levels.iter().find(|it| it.name == level)?;
        Some(Roof {
            gflops: self.peak("f32")?,
            gb_s: level.read,
        })
    }
}
