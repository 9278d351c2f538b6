//! Probes: small programs that each make one property of the machine visible as a time.
//!
//! - [`latency`]: what one load costs, when the next address is not known before it is done.
//! - [`bandwidth`]: bytes a second that loads and stores move, when all addresses are known beforehand.
//! - [`peak`]: what the arithmetic units can do on registers alone.
//! - [`tlb`]: what translating an address costs, and what larger pages save. [`pages`] gets memory in pages of either size.
//! - [`intensity`]: operations for each byte, from few to many, to see the roof between bandwidth and peak.
//! - [`sharing`]: two threads that write to one line.
//! - [`threads`]: starting a thread, waking a pool, passing a core to another thread.
//! - [`numa`]: the latency from each memory node to each.
//!
//! [`Machine`] sums up what a kernel's floor is worked out from. The invariant of all: a time is the shortest of many, since whatever
//! else runs on the machine can only lengthen it (where threads hinder one another it is the median, since the shortest is the time at
//! which they happened not to meet); and the result of what was timed is used, so that no compiler leaves it out.

pub mod bandwidth;
pub mod intensity;
pub mod latency;
pub mod machine;
pub mod numa;
pub mod pages;
pub mod peak;
pub mod sharing;
pub mod threads;
pub mod tlb;

pub use bandwidth::dram_read_bandwidth;
pub use machine::Machine;
pub use peak::fma_peak;

use std::time::{Duration, Instant};

/// The shortest time of a `pass` in ns, over as many as fit in `budget`, and at least three.
pub fn fastest(budget: Duration, pass: impl FnMut()) -> f64 {
    times(budget, pass)
        .into_iter()
        .fold(f64::INFINITY, f64::min)
}

/// The median time of a `pass` in ns, over as many as fit in `budget`, and at least three.
pub fn median(budget: Duration, pass: impl FnMut()) -> f64 {
    let mut times = times(budget, pass);
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn times(budget: Duration, mut pass: impl FnMut()) -> Vec<f64> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || start.elapsed() < budget {
        let began = Instant::now();
        pass();
        // A clock may tick more coarsely than the pass took.
        times.push(began.elapsed().as_nanos().max(1) as f64);
    }
    times
}

/// SplitMix64 (Steele, Lea and Flood, 2014): random enough to defeat a prefetcher.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * bound as u128) >> 64) as usize
    }
}
