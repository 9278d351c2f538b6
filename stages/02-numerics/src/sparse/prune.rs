//! Which weights stay: by magnitude anywhere or row by row, n of every m, whole blocks, whole channels.
//!
//! Every function returns a mask, `true` where a weight stays. The invariant: at density `d` of `t` candidates exactly `round(d t)`
//! stay, those of the greatest score; of equal scores the earlier ones. A NaN scores highest, so that pruning hides no fault.
//!
//! Magnitude pruning: Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (2015). 2:4: Mishra et al.,
//! "Accelerating Sparse Deep Neural Networks" (2021). Scores of channels by gradient: Molchanov et al., "Importance Estimation for
//! Neural Network Pruning" (2019).

/// How many of `total` stay at a density.
///
/// # Panics
/// If `density` is not within 0 to 1.
pub fn kept(total: usize, density: f64) -> usize {
    assert!(
        (0.0..=1.0).contains(&density),
        "a density is within 0 to 1: {density}"
    );
    (total as f64 * density).round() as usize
}

/// The `keep` greatest scores; of equal ones the earlier.
///
/// # Panics
/// If there are fewer than `keep`.
pub fn greatest(scores: &[f64], keep: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |index: usize| {
        // A NaN may have either sign, and -0 is as small as 0.
        let score = scores[index];
        if score.is_nan() {
            f64::NAN
        } else {
            score + 0.0
        }
    };
    if 0 < keep && keep < order.len() {
        order.select_nth_unstable_by(keep - 1, |&a, &b| {
            score(b).total_cmp(&score(a)).then(a.cmp(&b))
        });
    }
    let mut mask = vec![false; scores.len()];
    for &index in &order[..keep] {
        mask[index] = true;
    }
    mask
}

/// The weights of the greatest magnitude in the whole tensor. Some rows may lose all theirs.
pub fn magnitude(weight: &[f32], density: f64) -> Vec<bool> {
    greatest(&magnitudes(weight), kept(weight.len(), density))
}

/// The weights of the greatest magnitude in each row of `k`, so that every output keeps as many.
///
/// # Panics
/// If the weight is not whole rows.
pub fn magnitude_by_row(weight: &[f32], k: usize, density: f64) -> Vec<bool> {
    let row = |row: &[f32]| magnitude(row, density);
    rows_of(weight, k).flat_map(row).collect()
}

/// The `n` weights of the greatest magnitude in every `m` along a row of `k`: 2 of 4 is what NVIDIA's sparse tensor cores take. A
/// shorter group at the end of a row keeps at most `n` as well.
///
/// # Panics
/// If the weight is not whole rows or `m` is 0.
pub fn n_of_m(weight: &[f32], k: usize, n: usize, m: usize) -> Vec<bool> {
    let group = |group: &[f32]| greatest(&magnitudes(group), n.min(group.len()));
    rows_of(weight, k)
        .flat_map(|row| row.chunks(m))
        .flat_map(group)
        .collect()
}

/// The blocks of `height x width` with the greatest L2 norm. Blocks at the lower and right edge may be smaller, and are scored by
/// what they hold.
///
/// # Panics
/// If the weight is not whole rows, or a side is 0.
pub fn blocks(weight: &[f32], k: usize, height: usize, width: usize, density: f64) -> Vec<bool> {
    let rows: Vec<&[f32]> = rows_of(weight, k).collect();
    let across = k.div_ceil(width);
    let mut scores = vec![0.0; rows.len().div_ceil(height) * across];
    for (row, values) in rows.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            // The square of the norm, which orders as the norm does.
            scores[row / height * across + column / width] += f64::from(*value).powi(2);
        }
    }
    let stay = greatest(&scores, kept(scores.len(), density));
    let block = |row: usize, column: usize| stay[row / height * across + column / width];
    (0..rows.len())
        .flat_map(|row| (0..k).map(move |column| (row, column)))
        .map(|(row, column)| block(row, column))
        .collect()
}

/// Scores each row (an output channel) by its L1 norm.
pub fn l1_of_rows(weight: &[f32], k: usize) -> Vec<f64> {
    rows_of(weight, k)
        .map(|row| magnitudes(row).iter().sum())
        .collect()
}

/// Scores each row by how much the loss would change without it, to first order: `|sum of weight x gradient|`.
///
/// # Panics
/// If the two differ in length.
pub fn taylor_of_rows(weight: &[f32], gradient: &[f32], k: usize) -> Vec<f64> {
    assert_eq!(weight.len(), gradient.len());
    let product = |(w, g): (&f32, &f32)| f64::from(*w) * f64::from(*g);
    rows_of(weight, k)
        .zip(rows_of(gradient, k))
        .map(|(row, slope)| row.iter().zip(slope).map(product).sum::<f64>().abs())
        .collect()
}

/// Scores each column (an input channel) by its L1 norm.
pub fn l1_of_columns(weight: &[f32], k: usize) -> Vec<f64> {
    let mut scores = vec![0.0; k];
    for row in rows_of(weight, k) {
        for (score, magnitude) in scores.iter_mut().zip(magnitudes(row)) {
            *score += magnitude;
        }
    }
    scores
}

/// Sets to zero what does not stay.
///
/// # Panics
/// If the mask is not as long as the weight.
pub fn apply(weight: &mut [f32], mask: &[bool]) {
    assert_eq!(weight.len(), mask.len());
    for (value, stays) in weight.iter_mut().zip(mask) {
        if !stays {
            *value = 0.0;
        }
    }
}

fn magnitudes(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(value.abs())).collect()
}

/// The rows of a weight; none if `k` is 0.
fn rows_of(weight: &[f32], k: usize) -> std::slice::ChunksExact<'_, f32> {
    let rows = weight.chunks_exact(k.max(1));
    assert!(rows.remainder().is_empty(), "whole rows of {k}");
    rows
}
