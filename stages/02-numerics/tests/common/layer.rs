//! Linear layers whose inputs give the algorithms something to use.
#![allow(dead_code)] // each target uses what it needs

use crate::common::gauss;
use rand::RngExt;
use rand::rngs::StdRng;

/// A weight `[rows, cols]` of the normal distribution.
pub fn weight(rng: &mut StdRng, rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|_| gauss(rng)).collect()
}

/// Inputs `[tokens, cols]` that a few hidden numbers explain all but a tenth of: every channel is correlated with many others.
pub fn correlated(rng: &mut StdRng, tokens: usize, cols: usize) -> Vec<f32> {
    let hidden = cols.div_ceil(8);
    let mixing = weight(rng, hidden, cols);
    let mut x = vec![0.0; tokens * cols];
    for row in x.chunks_exact_mut(cols) {
        for value in row.iter_mut() {
            *value = 0.1 * gauss(rng);
        }
        for part in mixing.chunks_exact(cols) {
            let factor = gauss(rng);
            for (value, share) in row.iter_mut().zip(part) {
                *value += factor * share;
            }
        }
    }
    x
}

/// Inputs `[tokens, cols]` of the normal distribution, in which every 16th channel, from a random one, is `times` as large.
pub fn outliers(rng: &mut StdRng, tokens: usize, cols: usize, times: f32) -> Vec<f32> {
    let first = rng.random_range(0..16usize.min(cols));
    let mut x = weight(rng, tokens, cols);
    for row in x.chunks_exact_mut(cols) {
        row.iter_mut()
            .skip(first)
            .step_by(16)
            .for_each(|value| *value *= times);
    }
    x
}

/// `x weightᵀ` in f64, `[tokens, rows]`.
pub fn product(x: &[f32], weight: &[f32], cols: usize) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let rows = |x| weight.chunks_exact(cols).map(move |row| dot(x, row));
    x.chunks_exact(cols).flat_map(rows).collect()
}

/// `Σ (a - b)²`.
pub fn squared(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}
