//! Number formats and what is computed in them.
//!
//! - [`blocks`]: weights of 8 and 4 bits, in blocks of 32 that share a scale.
//! - [`sparse`]: pruning, and products with weights whose zeros are left out.

pub mod blocks;
pub mod sparse;
