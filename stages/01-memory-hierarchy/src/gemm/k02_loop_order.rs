//! The same multiplications in another order: the loop over columns goes innermost.
//!
//! It now walks along rows of `b` and of `c`. Every byte of a cache line is used, hardware prefetchers see an ascending stream, and the
//! additions of one pass are independent, so that a compiler makes vectors of them. What this should gain is an order of magnitude: the
//! lanes of a vector, and no more waiting for an addition or for a line. What remains is that each multiply-add loads and stores a sum.

/// `c = a b` for row-major `c` `[m, n]`, `a` `[m, k]` and `b` `[k, n]`.
///
/// # Panics
/// If a slice is too short.
pub fn multiply(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    // ANCHOR: solve-loop-order
    for i in 0..m {
        let row = &mut c[i * n..][..n];
        row.fill(0.0);
        for l in 0..k {
            let a = a[i * k + l];
            for (c, b) in row.iter_mut().zip(&b[l * n..][..n]) {
                *c += a * b;
            }
        }
    }
    // ANCHOR_END: solve-loop-order
}
