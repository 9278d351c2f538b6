//! Matrix products with weights of 8 and 4 bits, in integer arithmetic: W8A8 and W4A8.
//!
//! `out[r, n] = sum_k x[r, k] w[n, k] (+ bias[n])`. The rows of `x` are rounded to 8 bits with a scale for every 32 numbers
//! ([`Activations`]), so that within a block of 32 the products and their sum are exact integers; one multiplication by both scales makes
//! them a number again. Per weight that is a quarter of the instructions of f32 arithmetic with VNNI, and a quarter or an eighth of the
//! bytes.
//!
//! Each output is one sum over the blocks in their order, so a row's result does not depend, to the last bit, on which other rows are in
//! the batch or on how many threads there are.

mod activations;
mod ints;
mod packed;
mod product;

pub use activations::Activations;
pub use ints::IntIsa;
pub use packed::{Format, PackedBlocks};
pub use product::multiply;
