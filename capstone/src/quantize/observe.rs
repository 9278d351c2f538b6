//! What flows into each linear layer of a model, seen while it runs over calibration text.

use super::evaluate;
use super::intercept::{Intercepted, Layer, digests};
use super::text::Sequence;
use attention_variants::config::ModelConfig;
use attention_variants::hf::{LoadError, Weights};
use attention_variants::models::load;
use attention_variants::ops::{Arithmetic, Host, HostTensor};
use numerics::algorithms::Inputs;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What flowed into the linear layers of a model.
#[derive(Clone)]
pub struct Observation(HashMap<Layer, Inputs>);

/// Runs a model over the sequences on the CPU.
///
/// # Errors
/// Weights that do not fit the configuration.
pub fn observe<A: Arithmetic>(
    arithmetic: A,
    config: ModelConfig,
    weights: Weights,
    sequences: &[Sequence],
) -> Result<Observation, LoadError> {
    let seen: Arc<Mutex<HashMap<Layer, Inputs>>> = Arc::default();
    let note = {
        let seen = Arc::clone(&seen);
        move |layer: &Layer, x: &HostTensor| {
            let mut seen = seen.lock().expect("no observer panicked");
            let inputs = seen
                .entry(Arc::clone(layer))
                .or_insert_with(|| Inputs::new(x.cols()));
            inputs.add(x.values());
            None
        }
    };
    let device = Host::new(Intercepted::new(arithmetic, note));
    let mut model = load(device, config, weights, evaluate::LIMITS)?;
    evaluate::forward(&mut model, sequences, Sequence::rows, |_, _| ());
    drop(model);
    let seen = std::mem::take(&mut *seen.lock().expect("no observer panicked"));
    Ok(Observation(seen))
}

impl Observation {
    /// The inputs of the linear layer that the weight `[rows, cols]` is a part of; `None` if it was in none that ran.
    pub fn inputs(&self, weight: &[f32], cols: usize) -> Option<&Inputs> {
        let rows = digests(weight, cols);
        let holds = |(layer, inputs): &(&Layer, &Inputs)| {
            inputs.cols() == cols && layer.windows(rows.len()).any(|part| part == rows)
        };
        self.0.iter().find(holds).map(|(_, inputs)| inputs)
    }

    /// The inputs of a linear layer; `None` if it did not run.
    pub(super) fn of(&self, layer: &Layer) -> Option<&Inputs> {
        self.0.get(layer)
    }
}
