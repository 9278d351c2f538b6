//! AWQ (Lin et al., 2023): weights that meet large activations are worth finer steps.
//!
//! Multiplying the weights of an input channel by `s` and dividing the channel by `s` changes nothing before rounding; after it, the
//! error of that channel's weights is about `s` times smaller, as long as the group's step is set by another. So loud channels get a
//! large `s`. How large is searched: `s = magnitude^alpha` for `alpha` on a grid, by the error of the outputs. `alpha` 0 is on the grid, so
//! that the result is never worse than rounding to the nearest, on the inputs it was chosen on.

use super::{Inputs, scale_columns};
use crate::quant::{Granularity, QuantError, Scheme, Step};

/// What a search has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// What to multiply the columns of the weights by, and to divide the input channels by, `[cols]`.
    pub scales: Vec<f32>,
    /// The exponent that they were made with.
    pub alpha: f32,
    /// Squared error of all outputs over all tokens with them.
    pub error: f64,
}

/// The best scales for weights `[rows, cols]` that read the same inputs, with exponents `0, 1 / tried, … (tried - 1) / tried`.
///
/// # Errors
/// As [`Scheme::quantise`].
pub fn search(
    weights: &[&[f32]],
    inputs: &Inputs,
    scheme: &Scheme,
    tried: usize,
) -> Result<Scales, QuantError> {
    let magnitude = inputs.mean_magnitude();
    // ANCHOR: solve-search
    let mut best: Option<Scales> = None;
    for step in 0..tried.max(1) {
        let alpha = step as f32 / tried.max(1) as f32;
        let scales = channel_scales(&magnitude, alpha);
        let mut error = 0.0;
        for weight in weights {
            error += inputs.output_error(weight, &rounded(weight, &scales, scheme)?);
        }
        if best.as_ref().is_none_or(|best| error < best.error) {
            best = Some(Scales {
                scales,
                alpha,
                error,
            });
        }
    }
    Ok(best.expect("at least one exponent is tried"))
    // ANCHOR_END: solve-search
}

/// `magnitude^alpha`, divided by the geometric mean of the smallest and the largest, so that weights keep their size. Channels that
/// are never active are left as they are.
pub fn channel_scales(magnitude: &[f32], alpha: f32) -> Vec<f32> {
    let active = || magnitude.iter().copied().filter(|&value| value > 0.0);
    let most = active().fold(f32::MIN_POSITIVE, f32::max).powf(alpha);
    let least = active().fold(f32::MAX, f32::min).powf(alpha);
    let middle = (f64::from(most) * f64::from(least)).sqrt() as f32;
    let scale = |&value: &f32| {
        let scale = value.powf(alpha) / middle;
        if value > 0.0 && scale.is_normal() {
            scale
        } else {
            1.0
        }
    };
    magnitude.iter().map(scale).collect()
}

/// What the weight `[rows, cols]` acts as, when its columns are multiplied by the scales, rounded, and the inputs divided.
///
/// # Errors
/// As [`Scheme::quantise`].
pub fn rounded(weight: &[f32], scales: &[f32], scheme: &Scheme) -> Result<Vec<f32>, QuantError> {
    let mut scaled = weight.to_vec();
    scale_columns(&mut scaled, scales);
    let shape = [weight.len() / scales.len(), scales.len()];
    let mut rounded = scheme.quantise(&scaled, shape)?.dequantise();
    let inverse: Vec<f32> = scales.iter().map(|scale| 1.0 / scale).collect();
    scale_columns(&mut rounded, &inverse);
    Ok(rounded)
}

/// Steps for the groups of a weight `[rows, cols]` with its range clipped: of `tried` shares from the full range down to half of it,
/// the one of the least output error of the group on its own. The weight and inputs are those after scaling.
///
/// # Errors
/// As [`Scheme::quantise`]; scales must not be shared between rows.
///
/// # Panics
/// If the weight is not as wide as the inputs.
pub fn clip(
    weight: &[f32],
    shape: [usize; 2],
    inputs: &Inputs,
    scheme: &Scheme,
    tried: usize,
) -> Result<Vec<Step>, QuantError> {
    assert_eq!(shape[1], inputs.cols(), "a weight as wide as its inputs");
    let width = match scheme.granularity {
        Granularity::PerChannel => shape[1],
        Granularity::Block(size) => size,
        _ => return Err(QuantError::Scheme("clipping needs scales within a row")),
    };
    let mut steps = scheme.calibrate(weight, shape)?;
    let groups = weight
        .chunks_exact(shape[1])
        .flat_map(|row| row.chunks(width).enumerate());
    for (step, (index, group)) in steps.iter_mut().zip(groups) {
        let error = |step: Step| {
            let off = |&value: &f32| {
                let back = scheme.decode(scheme.encode(value, step), step);
                f64::from(back) - f64::from(value)
            };
            let off: Vec<f64> = group.iter().map(off).collect();
            inputs.quadratic(&off, index * width)
        };
        let mut least = error(*step);
        let range = group.iter().fold([0.0f32; 2], |[low, high], &value| {
            [low.min(value), high.max(value)]
        });
        for share in 1..tried.max(1) {
            let share = 1.0 - 0.5 * share as f32 / tried as f32;
            let clipped = scheme.step(range.map(|end| end * share));
            let error = error(clipped);
            if error < least {
                (*step, least) = (clipped, error);
            }
        }
    }
    Ok(steps)
}
