//! Blocks: a part of `b` that fits the L2 cache meets all rows of `a` before the next part is touched.
//!
//! The last rung streams all of `b` through the caches once for each row of `a`. Here a block of [`K_BLOCK`] by [`N_BLOCK`] elements, a
//! quarter of a MiB, comes from memory once and is then read from L2 by every row. What this should gain is the difference between the
//! bandwidths of L2 and of wherever `b` lay: little while `b` fits L2, more the larger it is. The price is that `c` is loaded and stored
//! once for each block of `k`.

/// Rows of a block of `b`.
pub const K_BLOCK: usize = 128;
/// Columns of a block of `b`.
pub const N_BLOCK: usize = 512;

/// `c = a b` for row-major `c` `[m, n]`, `a` `[m, k]` and `b` `[k, n]`.
///
/// # Panics
/// If a slice is too short.
pub fn multiply(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    // ANCHOR: solve-blocking
    c[..m * n].fill(0.0);
    for first_l in (0..k).step_by(K_BLOCK) {
        for first_j in (0..n).step_by(N_BLOCK) {
            let width = N_BLOCK.min(n - first_j);
            for i in 0..m {
                let row = &mut c[i * n + first_j..][..width];
                for l in first_l..k.min(first_l + K_BLOCK) {
                    let a = a[i * k + l];
                    for (c, b) in row.iter_mut().zip(&b[l * n + first_j..][..width]) {
                        *c += a * b;
                    }
                }
            }
        }
    }
    // ANCHOR_END: solve-blocking
}
