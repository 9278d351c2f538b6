//! Matrix products.
//!
//! [`multiply`] is what the engine calls: `x` times a weight that was packed once into [`Panels`].

mod multiply;
mod panels;
mod tile;

pub use multiply::{Rows, multiply, multiply_to};
pub use panels::{NR, Panels};
