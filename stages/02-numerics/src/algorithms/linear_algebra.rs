//! The two factorisations that GPTQ needs, in f64, as their definitions read. Matrices are `[n, n]`, row-major.

/// `a · b`. Eight sums side by side, since one sum alone would wait for each addition.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_parts, a_rest) = a.as_chunks::<8>();
    let (b_parts, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// The upper triangular `R` with `R Rᵀ = h` (Cholesky's factorisation, begun at the last column); `None` if the symmetric `h` is
/// not positive definite.
///
/// # Panics
/// If `h` is not `n` by `n`.
pub fn upper_cholesky(h: &[f64], n: usize) -> Option<Vec<f64>> {
    assert_eq!(h.len(), n * n, "a square matrix");
    let mut r = vec![0.0; n * n];
    for j in (0..n).rev() {
        let (above, row) = r.split_at_mut(j * n);
        let tail = &row[j + 1..n];
        let square = h[j * n + j] - dot(tail, tail);
        // Not `<=`: NaN must not pass.
        if !(square > 0.0 && square.is_finite()) {
            return None;
        }
        let pivot = square.sqrt();
        for i in 0..j {
            let known = dot(&above[i * n + j + 1..(i + 1) * n], tail);
            above[i * n + j] = (h[i * n + j] - known) / pivot;
        }
        row[j] = pivot;
    }
    Some(r)
}

/// The inverse of an upper triangular matrix, which is upper triangular too.
///
/// # Panics
/// If `r` is not `n` by `n`.
pub fn invert_upper(r: &[f64], n: usize) -> Vec<f64> {
    assert_eq!(r.len(), n * n, "a square matrix");
    let mut inverse = vec![0.0; n * n];
    for i in (0..n).rev() {
        let (row, below) = inverse[i * n..].split_at_mut(n);
        // r[i][i] · inverse[i] = e_i - Σ r[i][k] · inverse[k] over the rows below.
        row[i] = 1.0;
        for k in i + 1..n {
            let factor = r[i * n + k];
            let known = &below[(k - i - 1) * n..][k..n];
            for (value, known) in row[k..].iter_mut().zip(known) {
                *value -= factor * known;
            }
        }
        let pivot = r[i * n + i];
        row[i..].iter_mut().for_each(|value| *value /= pivot);
    }
    inverse
}
