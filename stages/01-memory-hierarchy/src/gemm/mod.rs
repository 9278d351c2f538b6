//! Matrix products.
//!
//! [`multiply`] is what the engine calls: `x` times a weight that was packed once into [`Panels`].

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
mod multiply;
mod narrow;
mod panels;
mod plan;
mod tile;

pub use multiply::{Rows, multiply, multiply_to};
pub use narrow::{NarrowPanels, multiply_bf16, multiply_i8, offset_correction};
pub use panels::{NR, Panels};
