//! How far numbers are from what they should be.
//!
//! Sums are in f64. Of nothing, and of two zeros, the error is 0, the ratio infinite and the cosine 1: nothing is lost.

/// Mean squared error of `got`.
///
/// # Panics
/// If the two are not of one length.
pub fn mse(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len(), "as many numbers as are wanted");
    squared(got, wanted) / wanted.len().max(1) as f64
}

/// Signal to quantisation noise, `10 · log10(Σ wanted² / Σ (got - wanted)²)`, in dB. A bit more gives 6 dB more.
///
/// # Panics
/// If the two are not of one length.
pub fn sqnr(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len(), "as many numbers as are wanted");
    let signal: f64 = wanted.iter().map(|&value| f64::from(value).powi(2)).sum();
    match squared(got, wanted) {
        0.0 => f64::INFINITY,
        noise => 10.0 * (signal / noise).log10(),
    }
}

/// Cosine of the angle between the two as vectors: what is left of the direction, whatever the length.
///
/// # Panics
/// If the two are not of one length.
pub fn cosine(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len(), "as many numbers as are wanted");
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let product = |(&a, &b): (&f32, &f32)| f64::from(a) * f64::from(b);
        a.iter().zip(b).map(product).sum()
    };
    match (dot(got, got), dot(wanted, wanted)) {
        (0.0, 0.0) => 1.0,
        (0.0, _) | (_, 0.0) => 0.0,
        (a, b) => dot(got, wanted) / (a.sqrt() * b.sqrt()),
    }
}

fn squared(got: &[f32], wanted: &[f32]) -> f64 {
    let error = |(&got, &wanted): (&f32, &f32)| (f64::from(got) - f64::from(wanted)).powi(2);
    got.iter().zip(wanted).map(error).sum()
}
