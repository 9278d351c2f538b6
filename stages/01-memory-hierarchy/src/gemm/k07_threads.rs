//! Threads: tasks of some strips by some panels, taken by whoever is free.
//!
//! Outputs do not depend on one another, so cores need to agree on nothing but who takes which task. Tasks are several to a core, so that one
//! which was interrupted is not waited for, and large enough that a block of rows stays in a core's own L2 while panels pass. What this should
//! gain is the number of cores, less what they share: the clock, which falls when all work, and the L3 cache. From here on it is the
//! engine's own product: [`multiply`](super::multiply()) over [`Panels`], which a weight is packed into once and not at every call.

use super::multiply::{self, Rows};
use super::panels::Panels;
use crate::pool::Pool;
use crate::simd::Isa;

/// `c = a b` for row-major `c` `[m, n]`, `a` `[m, k]` and `b` `[k, n]`, on all cores.
///
/// # Panics
/// If a slice is too short.
pub fn multiply(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    multiply_on(Pool::global(), c, a, b, m, n, k);
}

/// [`multiply`] on the threads of a pool.
///
/// # Panics
/// If a slice is too short.
pub fn multiply_on(pool: &Pool, c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    let panels = Panels::pack_columns(&b[..k * n], k, n);
    let x = Rows {
        values: a,
        stride: k,
        rows: m,
    };
    multiply::multiply(pool, Isa::detect(), c, n, x, &panels, None);
}
