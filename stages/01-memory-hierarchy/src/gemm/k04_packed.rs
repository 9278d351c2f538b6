//! Packing: `b` is copied into [`Panels`] first, `NR` columns side by side for all of `k`.
//!
//! A row of `a` then meets a panel in one walk through neighbouring memory, whatever `n` is: no line is fetched for a part of it, no two
//! rows of a block compete for the same place in the cache, and one page of addresses serves many steps. And since a panel is narrow, its `NR`
//! sums fit in registers: `c` is stored once, at the end. The copy costs `k n` elements moved for `m k n` multiplications, which is nothing
//! once there are some tens of rows. What this should gain is the loads and stores of `c`, which were two of three memory accesses.

use super::panels::{NR, Panels};

/// `c = a b` for row-major `c` `[m, n]`, `a` `[m, k]` and `b` `[k, n]`.
///
/// # Panics
/// If a slice is too short.
pub fn multiply(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    let panels = Panels::pack_columns(&b[..k * n], k, n);
    for (panel, first) in (0..n).step_by(NR).enumerate() {
        let panel = &panels.from(panel)[..k * NR];
        let width = NR.min(n - first);
        for i in 0..m {
            let sums = row_times_panel(&a[i * k..][..k], panel);
            c[i * n + first..][..width].copy_from_slice(&sums[..width]);
        }
    }
}

/// A row `[k]` times a panel `[k][NR]`.
fn row_times_panel(row: &[f32], panel: &[f32]) -> [f32; NR] {
    let mut sums = [0.0; NR];
    for (a, columns) in row.iter().zip(panel.chunks_exact(NR)) {
        for (sum, b) in sums.iter_mut().zip(columns) {
            *sum += a * b;
        }
    }
    sums
}
