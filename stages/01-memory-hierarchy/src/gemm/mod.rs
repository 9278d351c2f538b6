//! Matrix products.
//!
//! [`multiply`] is what the engine calls: `x` times a weight that was packed once into [`Panels`].

mod aligned;
mod multiply;
mod panels;
mod tile;

pub use aligned::{Aligned, LINE, Zeroable};
pub use multiply::{Rows, multiply};
pub use panels::{NR, Panels};
