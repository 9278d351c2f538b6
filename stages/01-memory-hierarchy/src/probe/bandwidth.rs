//! Bytes a second between the cores and a level of the memory hierarchy.
//!
//! The addresses are known beforehand, so a core has many lines under way at once and latency is hidden. How large the working set is
//! decides which level serves it. Bytes are counted as the program moves them: a write that first fetches the line that it fills moves
//! more than it is credited for, which is what non-temporal stores save. The invariant: each thread works on memory of its own that it
//! touched first, and sums or fills every element of it.

use super::fastest;
use crate::buffer::Buffer;
use crate::pool::Pool;
use crate::simd::{Isa, Kernel, Simd};
use crate::topology::Topology;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

/// What is done to the working set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Sums it.
    Read,
    /// Fills it by ordinary stores, which fetch each line before they change it.
    Write,
    /// Fills it by non-temporal stores, which go around the caches. Ordinary ones where the architecture has none that we use.
    WriteStream,
    /// Writes one half times a factor to the other by ordinary stores.
    Copy,
    /// The same by non-temporal stores.
    CopyStream,
}

impl Traffic {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::WriteStream,
        Self::Copy,
        Self::CopyStream,
    ];

    /// Its name in a record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::WriteStream => "write-stream",
            Self::Copy => "copy",
            Self::CopyStream => "copy-stream",
        }
    }

    /// Goes over the working set once. What it returns depends on every element.
    pub fn pass(self, isa: Isa, data: &mut [f32]) -> f32 {
        let half = data.len() / 2;
        let (from, to) = data.split_at_mut(half);
        match self {
            Self::Read => return sum(isa, data),
            Self::Write => fill(isa, data, 1.5),
            Self::WriteStream => stream(data, |_| 1.5),
            Self::Copy => scale(isa, from, to, 1.5),
            Self::CopyStream => stream(&mut to[..half], |i| 1.5 * from[i]),
        }
        data[data.len() - 1]
    }
}

/// The sum of all elements, in an order of the instruction set's own.
pub fn sum(isa: Isa, data: &[f32]) -> f32 {
    struct Sum<'a>(&'a [f32], &'a mut f32);
    impl Kernel for Sum<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let chunks = self.0.chunks_exact(8 * S::LANES);
            let rest: f32 = chunks.remainder().iter().sum();
            // SAFETY: `Isa::run` has made sure of the instructions, and each chunk has 8 vectors.
            unsafe {
                // Eight sums: one would wait for its last addition before each load.
                let one = S::splat(1.0);
                let mut sums = [S::splat(0.0); 8];
                for chunk in chunks {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(chunk.as_ptr().add(i * S::LANES)).mul_add(one, *sum);
                    }
                }
                // By halves: adding up each sum's lanes would take as long as a quarter of an L1 cache.
                for half in [4, 2, 1] {
                    for i in 0..half {
                        sums[i] = sums[i + half].mul_add(one, sums[i]);
                    }
                }
                *self.1 = sums[0].sum() + rest;
            }
        }
    }
    let mut result = f32::NAN;
    isa.run(Sum(data, &mut result));
    result
}

/// Sets all elements.
pub fn fill(isa: Isa, data: &mut [f32], value: f32) {
    struct Fill<'a>(&'a mut [f32], f32);
    impl Kernel for Fill<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let mut chunks = self.0.chunks_exact_mut(S::LANES);
            for chunk in &mut chunks {
                // SAFETY: `Isa::run` has made sure of the instructions, and the chunk is a vector.
                unsafe { S::splat(self.1).store(chunk.as_mut_ptr()) };
            }
            chunks.into_remainder().fill(self.1);
        }
    }
    isa.run(Fill(data, value));
}

/// `to[i] = factor * from[i]`, over the length of `from`. The factor keeps a compiler from calling `memcpy`, whose stores are its own
/// affair.
///
/// # Panics
/// If `to` is shorter than `from`.
pub fn scale(isa: Isa, from: &[f32], to: &mut [f32], factor: f32) {
    struct Scale<'a>(&'a [f32], &'a mut [f32], f32);
    impl Kernel for Scale<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let Self(from, to, factor) = self;
            let whole = from.len() - from.len() % S::LANES;
            for at in (0..whole).step_by(S::LANES) {
                // SAFETY: `Isa::run` has made sure of the instructions; a vector from `at` lies within both.
                unsafe {
                    let product = S::load(from.as_ptr().add(at)).mul(S::splat(factor));
                    product.store(to.as_mut_ptr().add(at));
                }
            }
            for at in whole..from.len() {
                to[at] = factor * from[at];
            }
        }
    }
    isa.run(Scale(from, &mut to[..from.len()], factor));
}

/// `to[i] = value(i)` by stores that go around the caches. A line is written whole, so it need not be fetched first.
#[inline(always)]
pub fn stream(to: &mut [f32], value: impl Fn(usize) -> f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128, _mm_set_ps, _mm_sfence, _mm_stream_ps};
        // SAFETY: any bits are four floats.
        let (head, middle, tail) = unsafe { to.align_to_mut::<__m128>() };
        for (i, element) in head.iter_mut().enumerate() {
            *element = value(i);
        }
        for (vector, i) in middle.iter_mut().zip((head.len()..).step_by(4)) {
            // SAFETY: every x86-64 CPU has SSE, and a reference to a vector is aligned.
            unsafe {
                let four = _mm_set_ps(value(i + 3), value(i + 2), value(i + 1), value(i));
                _mm_stream_ps(std::ptr::from_mut(vector).cast(), four);
            }
        }
        let done = head.len() + 4 * middle.len();
        for (i, element) in tail.iter_mut().enumerate() {
            *element = value(done + i);
        }
        // SAFETY: as above. Streamed stores are not ordered with later ones without it, and another thread may read next.
        unsafe { _mm_sfence() };
    }
    #[cfg(not(target_arch = "x86_64"))]
    for (i, element) in to.iter_mut().enumerate() {
        *element = value(i);
    }
}

/// Each thread's memory, made by that thread.
pub struct WorkingSet(Vec<Mutex<Buffer<f32>>>);

impl WorkingSet {
    /// `bytes` bytes for each thread of the pool.
    pub fn new(pool: &Pool, bytes: usize) -> Self {
        let made: Vec<_> = (0..pool.threads()).map(|_| Mutex::new(None)).collect();
        pool.broadcast(|worker| {
            let own = Buffer::zeroed(bytes.div_ceil(4).max(1));
            *made[worker].lock().expect("nobody panics with it") = Some(own);
        });
        let made = made.into_iter().map(|it| {
            let own = it.into_inner().expect("nobody panicked");
            Mutex::new(own.expect("every worker was called"))
        });
        Self(made.collect())
    }

    /// Bytes a ns, which is GB/s, that the threads together move: the best over passes that take `budget`.
    pub fn gb_s(&self, pool: &Pool, traffic: Traffic, budget: Duration) -> f64 {
        let isa = Isa::detect();
        let bytes = self.0[0].lock().expect("nobody panics").len() * 4;
        // Small sets are passed over again and again, so that a fork and join is a small part of a measurement.
        let passes = (4usize << 20).div_ceil(bytes);
        let ns = fastest(budget, || {
            pool.broadcast(|worker| {
                let mut own = self.0[worker].lock().expect("nobody panics with it");
                for _ in 0..passes {
                    black_box(traffic.pass(isa, black_box(&mut own)));
                }
            });
        });
        (bytes * passes * self.0.len()) as f64 / ns
    }
}

/// A size in bytes that no cache holds: four times the last level, from 128 MiB to 1 GiB.
pub fn beyond_caches(topology: &Topology) -> usize {
    (4 * topology.last_level().unwrap_or(0)).clamp(128 << 20, 1 << 30)
}

/// GB/s at which all threads of the pool together read DRAM: the floor of whatever reads weights once. Takes well under a second on most
/// machines.
pub fn dram_read_bandwidth(pool: &Pool) -> f64 {
    let bytes = beyond_caches(&Topology::here());
    let set = WorkingSet::new(pool, bytes.div_ceil(pool.threads()));
    set.gb_s(pool, Traffic::Read, Duration::from_millis(300))
}
