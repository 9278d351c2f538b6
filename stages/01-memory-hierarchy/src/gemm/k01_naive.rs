//! Three loops, as the definition reads: each output is a dot product of a row of `a` and a column of `b`.
//!
//! Neighbours of a column lie `n` elements apart. Each step of the inner loop touches another cache line and uses four of its 64 bytes, and,
//! where `n` is a power of two, the lines of a column compete for the same few places in the cache. One sum is under way at a time, so
//! every addition waits for the last. This is the floor from which the other rungs are counted.

/// `c = a b` for row-major `c` `[m, n]`, `a` `[m, k]` and `b` `[k, n]`.
///
/// # Panics
/// If a slice is too short.
pub fn multiply(c: &mut [f32], a: &[f32], b: &[f32], m: usize, n: usize, k: usize) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0;
            for l in 0..k {
                sum += a[i * k + l] * b[l * n + j];
            }
            c[i * n + j] = sum;
        }
    }
}
