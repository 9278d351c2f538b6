//! From a model and what flows through it to codes: one of four methods, over all units.
//!
//! Scales of input channels are folded into the tensor that makes the channel before anything is rounded, so that the model is the
//! same function until then.

use super::QuantizeError;
use super::checkpoint::{Checkpoint, Tensor};
use super::observe::Observation;
use super::units::Unit;
use numerics::algorithms::gptq::Gptq;
use numerics::algorithms::smooth::{largest_weights, smoothing};
use numerics::algorithms::{Inputs, awq, scale_columns};
use numerics::quant::{QuantError, Quantised, Scheme};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// How weights become codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// Round to the nearest; needs no calibration.
    Rtn,
    /// Later columns repay the rounding errors of earlier ones.
    Gptq,
    /// Scales by the size of the activations, and clipping.
    Awq,
    /// Outliers of the activations move into the weights, so that activations can have 8 bits too.
    Smoothquant,
}

/// Exponents that AWQ tries, and shares of a range that its clipping tries.
const TRIED: usize = 10;
/// How much of the activations' outliers SmoothQuant moves: the paper's choice for most models.
const ALPHA: f32 = 0.5;

/// A model whose units are codes.
pub struct QuantisedModel {
    /// All tensors, the quantised ones as the numbers that were to be rounded.
    pub checkpoint: Checkpoint,
    /// The codes, by the name of the weight.
    pub codes: BTreeMap<String, Quantised>,
}

/// Quantises every unit that `scheme` has one for. Methods but [`Method::Rtn`] need to know the inputs; a unit that was not seen to
/// run is rounded to the nearest.
///
/// # Errors
/// A unit's tensors are not float matrices, or have numbers that are not finite.
pub fn quantise(
    mut checkpoint: Checkpoint,
    units: &[Unit],
    observation: Option<&Observation>,
    method: Method,
    scheme: impl Fn(&Unit) -> Option<Scheme> + Sync,
) -> Result<QuantisedModel, QuantizeError> {
    let work = units
        .par_iter()
        .filter_map(|unit| Some((unit, scheme(unit)?)));
    let planned: Vec<Planned> = work
        .map(|(unit, scheme)| Planned::new(&checkpoint, unit, scheme, observation, method))
        .collect::<Result<_, _>>()?;
    let planned: Vec<Planned> = planned
        .into_iter()
        .map(|planned| planned.folded(&mut checkpoint))
        .collect::<Result<_, _>>()?;
    let codes: Vec<Vec<(String, Quantised)>> = planned
        .par_iter()
        .map(|planned| planned.codes(&checkpoint, method))
        .collect::<Result<_, _>>()?;
    Ok(QuantisedModel {
        checkpoint,
        codes: codes.into_iter().flatten().collect(),
    })
}

impl QuantisedModel {
    /// The model with the numbers that its codes stand for, in f32: what to measure, for formats that no kernel has.
    pub fn dequantised(&self) -> Checkpoint {
        let mut checkpoint = self.checkpoint.clone();
        for (name, codes) in &self.codes {
            let tensor = Tensor::from_f32(&codes.shape, &codes.dequantise());
            checkpoint.tensors.insert(name.clone(), tensor);
        }
        checkpoint
    }

    /// Bytes that the tensors take with their codes packed to the bit and f16 scales.
    pub fn bytes(&self) -> usize {
        let kept = self
            .checkpoint
            .tensors
            .iter()
            .filter(|(name, _)| !self.codes.contains_key(*name));
        let kept: usize = kept.map(|(_, tensor)| tensor.bytes.len()).sum();
        let packed = self.codes.values().map(packed_bytes);
        kept + packed.sum::<usize>()
    }
}

/// Bytes of the codes packed to the bit, and of f16 scales.
pub fn packed_bytes(codes: &Quantised) -> usize {
    let bits = codes.scheme.bits() as usize;
    (codes.codes.len() * bits).div_ceil(8) + 2 * codes.scales.len()
}

/// A unit, what it is to become, and what to fold beforehand.
struct Planned<'a> {
    unit: &'a Unit,
    scheme: Scheme,
    inputs: Option<Inputs>,
    scales: Option<Vec<f32>>,
}

impl<'a> Planned<'a> {
    fn new(
        checkpoint: &Checkpoint,
        unit: &'a Unit,
        scheme: Scheme,
        observation: Option<&Observation>,
        method: Method,
    ) -> Result<Self, QuantizeError> {
        let weights = matrices(checkpoint, unit)?;
        let cols = weights[0].1[1];
        let inputs = observation
            .and_then(|seen| seen.inputs(&weights[0].0, cols))
            .cloned();
        let weights: Vec<&[f32]> = weights
            .iter()
            .map(|(values, _)| values.as_slice())
            .collect();
        let scales = match (method, &inputs, &unit.feeder) {
            (Method::Smoothquant, Some(inputs), Some(_)) => Some(smoothing(
                inputs.largest(),
                &largest_weights(&weights, cols),
                ALPHA,
            )),
            (Method::Awq, Some(inputs), Some(_)) => {
                let found = awq::search(&weights, inputs, &scheme, TRIED);
                Some(found.map_err(at(&unit.name))?.scales)
            }
            _ => None,
        };
        Ok(Self {
            unit,
            scheme,
            inputs,
            scales,
        })
    }

    /// Multiplies the unit's weights by the scales, and divides what makes their inputs.
    fn folded(mut self, checkpoint: &mut Checkpoint) -> Result<Self, QuantizeError> {
        let (Some(scales), Some(feeder)) = (&mut self.scales, &self.unit.feeder) else {
            return Ok(self);
        };
        divide(checkpoint, feeder, scales)?;
        for name in &self.unit.weights {
            let (mut values, shape) = checkpoint.matrix(name)?;
            scale_columns(&mut values, scales);
            checkpoint
                .tensors
                .insert(name.clone(), Tensor::from_f32(&shape, &values));
        }
        self.inputs = self.inputs.map(|inputs| inputs.divided(scales));
        Ok(self)
    }

    fn codes(
        &self,
        checkpoint: &Checkpoint,
        method: Method,
    ) -> Result<Vec<(String, Quantised)>, QuantizeError> {
        let codes = |name: &String| {
            let (values, shape) = checkpoint.matrix(name)?;
            let codes = match (method, &self.inputs) {
                (Method::Gptq, Some(inputs)) => {
                    Gptq::default().quantise(&values, shape, inputs, &self.scheme)
                }
                (Method::Awq, Some(inputs)) => {
                    awq::clip(&values, shape, inputs, &self.scheme, TRIED)
                        .and_then(|steps| self.scheme.quantise_with(&values, shape, &steps))
                }
                _ => self.scheme.quantise(&values, shape),
            };
            Ok((name.clone(), codes.map_err(at(name))?))
        };
        self.unit.weights.iter().map(codes).collect()
    }
}

/// A matrix, row by row, and its shape.
type Values = (Vec<f32>, [usize; 2]);

fn matrices(checkpoint: &Checkpoint, unit: &Unit) -> Result<Vec<Values>, QuantizeError> {
    unit.weights
        .iter()
        .map(|name| checkpoint.matrix(name))
        .collect()
}

fn at(tensor: &str) -> impl FnOnce(QuantError) -> QuantizeError {
    let tensor = tensor.to_owned();
    move |source| QuantizeError::Quant { tensor, source }
}

/// Divides a norm's weight, or the rows of a matrix, by the scales. The quotient is rounded to the tensor's own type, so each scale
/// becomes what was really divided by.
fn divide(
    checkpoint: &mut Checkpoint,
    feeder: &str,
    scales: &mut [f32],
) -> Result<(), QuantizeError> {
    let unsupported = || {
        QuantizeError::Unsupported(format!(
            "tensor {feeder} is not of floats, one or one row for each channel"
        ))
    };
    let tensor = checkpoint.tensors.get(feeder).ok_or_else(unsupported)?;
    let mut values = tensor.to_f32().ok_or_else(unsupported)?;
    if tensor.shape.first() != Some(&scales.len()) {
        return Err(unsupported());
    }
    if let [_, cols] = tensor.shape[..] {
        for (row, scale) in values.chunks_exact_mut(cols.max(1)).zip(&*scales) {
            row.iter_mut().for_each(|value| *value /= scale);
        }
        let divided = Tensor::from_f32(&tensor.shape, &values);
        checkpoint.tensors.insert(feeder.to_owned(), divided);
        return Ok(());
    }
    let quotients: Vec<f32> = values
        .iter()
        .zip(&*scales)
        .map(|(value, scale)| value / scale)
        .collect();
    let divided = Tensor::floats(tensor.dtype, &tensor.shape, &quotients);
    let rounded = divided.to_f32().ok_or_else(unsupported)?;
    for ((scale, value), rounded) in scales.iter_mut().zip(&values).zip(rounded) {
        // A norm that silences a channel leaves nothing to scale.
        *scale = if rounded == 0.0 { 1.0 } else { value / rounded };
    }
    checkpoint.tensors.insert(feeder.to_owned(), divided);
    Ok(())
}
