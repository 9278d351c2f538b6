//! The memory hierarchy of a CPU, and arithmetic that lives with it.
//!
//! - [`buffer`]: aligned memory on huge pages.
//! - [`simd`]: vectors of f32, and the choice of instruction set at run time.
//! - [`gemm`]: matrix products, from three loops to what the CPU can do, and the packed form that the engine runs on.
//! - [`pool`]: workers pinned to cores, and a fork and join cheap enough for a decode step.

pub mod buffer;
pub mod gemm;
pub mod pool;
pub mod simd;

pub use buffer::Buffer;
pub use pool::Pool;
pub use simd::Isa;
