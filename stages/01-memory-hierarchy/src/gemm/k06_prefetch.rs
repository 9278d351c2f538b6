//! Prefetch: the panel is asked for a KiB before it is used.
//!
//! The tile walks down a panel in ascending order, which hardware prefetchers recognise, except at the end of each page of 4 KiB, where they
//! stop, and at the beginning of each panel. An instruction that asks for a line and waits for nothing closes those gaps. What this should gain
//! is little where panels lie in L2, whose latency the out-of-order core hides by itself. For a single row, which comes from DRAM as fast as the
//! hardware's prefetchers ask for it, it loses: the engine's product leaves it out there.
//! The code is that of the last rung with another distance.

use super::k05_register_tile::tiles;
use super::tile::{MAX_ROWS, ahead};
use crate::simd::Isa;

/// `c = a b` for row-major `c` `[m, n]`, `a` `[m, k]` and `b` `[k, n]`, on the best instruction set of this CPU.
///
/// # Panics
/// If a slice is too short.
pub fn multiply(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    tiles(Isa::detect(), ahead(MAX_ROWS), c, a, b, [m, n, k]);
}
