//! The activations of feed-forward blocks, and the softmax.

use crate::config::Activation;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// `activation(x)`.
pub fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Silu => silu(x),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
    }
}

/// Sigmoid-weighted linear unit, also called swish: `x * sigmoid(x)`.
pub fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

/// Gaussian error linear unit (Hendrycks and Gimpel, 2016): `x * P(N(0, 1) <= x)`.
pub fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))) as f32
}

/// GELU by its tanh approximation, as GPT-2 was trained with.
pub fn gelu_tanh(x: f32) -> f32 {
    let inner = (FRAC_2_SQRT_PI * FRAC_1_SQRT_2) as f32 * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// The error function to about 1e-15: its Maclaurin series near zero, a continued fraction for the complement further out
/// (Abramowitz and Stegun, 7.1.6 and 7.1.14).
pub fn erf(x: f64) -> f64 {
    let size = x.abs();
    let value = if size < 2.5 {
        // erf(x) = 2/sqrt(pi) * exp(-x^2) * sum over n of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))
        let (mut term, mut sum, mut n) = (size, size, 0.0);
        while term > sum * 1e-17 && n < 100.0 {
            n += 1.0;
            term *= 2.0 * size * size / (2.0 * n + 1.0);
            sum += term;
        }
        FRAC_2_SQRT_PI * (-size * size).exp() * sum
    } else if size < 6.0 {
        // erfc(x) = exp(-x^2)/sqrt(pi) * 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...))))
        let fraction = (1..=60)
            .rev()
            .fold(size, |tail, k| size + f64::from(k) * 0.5 / tail);
        1.0 - (-size * size).exp() * 0.5 * FRAC_2_SQRT_PI / fraction
    } else {
        1.0
    };
    value.copysign(x)
}

/// Softmax of a row where it lies: `x_i = exp(x_i - max) / sum`. A row of `-inf` alone, or an empty one, stays as it is.
pub fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return;
    }
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    for x in row {
        *x /= sum;
    }
}
