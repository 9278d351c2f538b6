//! Matrix products.
//!
//! The ladder `k01` to `k07` multiplies row-major matrices, one idea a rung. Its last rungs run on what the engine calls: [`multiply()`],
//! `x` times a weight that was packed once into [`Panels`]; [`multiply_i8`] and [`multiply_bf16`] are the same for numbers of which several
//! fit a word, and [`multiply_rounded`] makes such numbers of `x` on its way.

pub mod k01_naive;
pub mod k02_loop_order;
pub mod k03_blocked;
pub mod k04_packed;
pub mod k05_register_tile;
pub mod k06_prefetch;
pub mod k07_threads;

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
mod multiply;
mod narrow;
mod panels;
mod plan;
mod tile;

pub use multiply::{Rows, multiply, multiply_to};
pub use narrow::{NarrowPanels, multiply_bf16, multiply_i8, multiply_rounded, offset_correction};
pub use panels::{NR, Panels};
