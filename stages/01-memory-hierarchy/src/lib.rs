//! The memory hierarchy of a CPU, and arithmetic that lives with it.
//!
//! - [`buffer`]: aligned memory on huge pages.
//! - [`topology`]: what the system says of cores, caches and memory nodes.
//! - [`cache_model`]: a cache by its rules, and what the orders of a loop fetch into it.
//! - [`probe`]: what the machine does, measured: latencies, bandwidths, peaks, threads.
//! - [`roofline`]: what follows for a kernel, and a drawing of it.
//! - [`simd`]: vectors of f32, and the choice of instruction set at run time.
//! - [`gemm`]: matrix products, from three loops to what the CPU can do, and the packed form that the engine runs on.
//! - [`conv`]: convolutions on those products, by im2col and by Winograd, and a network of them.
//! - [`pool`]: workers pinned to cores, and a fork and join cheap enough for a decode step.

mod affinity;
pub mod buffer;
pub mod cache_model;
pub mod conv;
pub mod gemm;
pub mod pool;
pub mod probe;
pub mod roofline;
pub mod simd;
pub mod topology;

pub use buffer::Buffer;
pub use pool::Pool;
pub use simd::Isa;
