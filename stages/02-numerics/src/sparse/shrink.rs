//! Structured pruning that needs no format: channels that are removed leave smaller dense matrices.
//!
//! A channel between two layers is a row of the first (with its bias) and a column of the second. The invariant: where the function
//! between the layers keeps 0 at 0 and works on each channel alone, as ReLU and SwiGLU do, the shrunk pair computes what the pair
//! with those rows set to zero computes. The work falls as the channels do, on any hardware.

/// The rows of `weight` (`[n, k]`) that stay. A bias is a weight of `k` = 1.
///
/// # Panics
/// If `weight` is not a row of `k` for each element of `stays`.
pub fn rows(weight: &[f32], k: usize, stays: &[bool]) -> Vec<f32> {
    assert_eq!(weight.len(), stays.len() * k);
    let kept = (0..stays.len()).filter(|row| stays[*row]);
    kept.flat_map(|row| &weight[row * k..(row + 1) * k])
        .copied()
        .collect()
}

/// The columns of `weight` (`[n, stays.len()]`) that stay.
///
/// # Panics
/// If `weight` is not whole rows.
pub fn columns(weight: &[f32], stays: &[bool]) -> Vec<f32> {
    assert!(weight.is_empty() || weight.len().is_multiple_of(stays.len().max(1)));
    let kept = weight.iter().zip(stays.iter().cycle());
    kept.filter(|(_, stays)| **stays)
        .map(|(value, _)| *value)
        .collect()
}

/// Removes channels between `first` (`[channels, k]`) and `second` (`[n, channels]`).
///
/// # Panics
/// If the shapes do not fit.
pub fn channels(first: &[f32], k: usize, second: &[f32], stays: &[bool]) -> (Vec<f32>, Vec<f32>) {
    (rows(first, k, stays), columns(second, stays))
}
