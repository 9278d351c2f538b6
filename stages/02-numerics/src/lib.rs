//! Number formats and what is computed in them.
//!
//! - [`blocks`]: weights of 8 and 4 bits, in blocks of 32 that share a scale.
//! - [`matmul`]: products with them in integer arithmetic.

pub mod blocks;
pub mod matmul;
