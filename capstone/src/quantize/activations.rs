//! Activations in few bits, as in W8A8: every linear layer that calibration saw reads rounded inputs.
//!
//! What is multiplied are the numbers that the codes stand for. An integer product of the codes gives the same up to the rounding of
//! f32, so that schemes can be compared that no kernel has. The output projection is in no calibration and reads its inputs as they are.

use super::intercept::{Intercepted, Layer};
use super::observe::Observation;
use attention_variants::ops::{Arithmetic, HostTensor};
use numerics::algorithms::Inputs;
use numerics::quant::{Granularity, Scheme};

/// When the scales of activations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// Anew for the inputs of each product.
    Dynamic,
    /// Once, from the largest number that calibration saw in the layer; what comes larger is clipped.
    Static,
}

/// Arithmetic that rounds the inputs of linear layers to `scheme`: a row is a token.
///
/// # Panics
/// While the model runs, if static scales are not one for the tensor, or an activation is not finite.
pub fn rounded<A: Arithmetic>(
    arithmetic: A,
    seen: Observation,
    scheme: Scheme,
    scales: Scales,
) -> impl Arithmetic {
    Intercepted::new(arithmetic, move |layer: &Layer, x: &HostTensor| {
        let inputs = seen.of(layer)?;
        let shape = [x.rows(), x.cols()];
        let codes = match scales {
            Scales::Dynamic => scheme.quantise(x.values(), shape),
            Scales::Static => {
                assert_eq!(scheme.granularity, Granularity::PerTensor);
                let range = largest(inputs);
                scheme.quantise_with(x.values(), shape, &[scheme.fit(&[-range, range])])
            }
        };
        let mut numbers = HostTensor::new(x.rows(), x.cols());
        let codes = codes.expect("finite activations");
        numbers
            .resize(x.rows())
            .copy_from_slice(&codes.dequantise());
        Some(numbers)
    })
}

/// The largest magnitude in any channel.
fn largest(inputs: &Inputs) -> f32 {
    inputs.largest().iter().copied().fold(0.0, f32::max)
}

/// How much louder the loudest channel of these inputs is than the one in the middle, by the largest magnitude that each reached.
/// Models with outliers have a hundred; without, SmoothQuant has nothing to do.
pub fn outlier_ratio(inputs: &Inputs) -> f32 {
    let mut channels = inputs.largest().to_vec();
    channels.sort_by(f32::total_cmp);
    largest(inputs) / channels[channels.len() / 2].max(f32::MIN_POSITIVE)
}
