//! A device that looks on: it computes as another does, and keeps statistics of what flows into each linear layer.
//!
//! Model code does not know of it, and it does not know the model: a linear layer is told by its weight, which holds the rows of the
//! tensors that it was made of.

use attention_variants::config::{Activation, ModelConfig};
use attention_variants::hf::{LoadError, Weights};
use attention_variants::matrix::{Elements, Matrix};
use attention_variants::models::load;
use attention_variants::ops::{
    Arithmetic, AttentionShape, Host, HostKv, HostLinear, HostNorm, HostTensor, Step,
};
use numerics::algorithms::Inputs;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use super::evaluate;
use super::text::Sequence;

/// Arithmetic that records the inputs of every [`Arithmetic::project`].
struct Observed<A> {
    inner: A,
    /// By the place of the weight's elements, which do not move while the model lives.
    seen: Arc<Mutex<HashMap<usize, Seen>>>,
}

/// One linear layer.
struct Seen {
    /// A digest of each row of its weight.
    rows: Vec<u64>,
    inputs: Inputs,
}

/// What flowed into the linear layers of a model.
pub struct Observation(Vec<Seen>);

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
    let seen = Arc::default();
    let observed = Observed {
        inner: arithmetic,
        seen: Arc::clone(&seen),
    };
    let mut model = load(Host::new(observed), config, weights, evaluate::LIMITS)?;
    evaluate::forward(&mut model, sequences, |_, _| ());
    drop(model);
    let seen = std::mem::take(&mut *seen.lock().expect("no observer panicked"));
    Ok(Observation(seen.into_values().collect()))
}

impl Observation {
    /// The inputs of the linear layer that the weight `[rows, cols]` is a part of; `None` if it was in none that ran.
    pub fn inputs(&self, weight: &[f32], cols: usize) -> Option<&Inputs> {
        let rows = digests(weight, cols);
        let holds = |seen: &&Seen| {
            seen.inputs.cols() == cols && seen.rows.windows(rows.len()).any(|part| part == rows)
        };
        self.0.iter().find(holds).map(|seen| &seen.inputs)
    }
}

/// A digest of each row.
fn digests(values: &[f32], cols: usize) -> Vec<u64> {
    let digest = |row: &[f32]| {
        let mut hasher = DefaultHasher::new();
        row.iter()
            .for_each(|value| value.to_bits().hash(&mut hasher));
        hasher.finish()
    };
    values.chunks_exact(cols).map(digest).collect()
}

fn place(weight: &Matrix) -> usize {
    match &weight.elements {
        Elements::F32(values) => values.as_ptr() as usize,
        Elements::F16(values) => values.as_ptr() as usize,
        Elements::Bf16(values) => values.as_ptr() as usize,
        Elements::Q8(blocks) => blocks.quants.as_ptr() as usize,
        Elements::Q4(blocks) => blocks.quants.as_ptr() as usize,
    }
}

impl<A: Arithmetic> Arithmetic for Observed<A> {
    fn project(&self, out: &mut HostTensor, x: &HostTensor, linear: &HostLinear) {
        let weight = &linear.weight;
        {
            let mut seen = self.seen.lock().expect("no observer panicked");
            let entry = seen.entry(place(weight)).or_insert_with(|| Seen {
                rows: digests(&weight.to_f32(), weight.cols),
                inputs: Inputs::new(weight.cols),
            });
            entry.inputs.add(x.values());
        }
        self.inner.project(out, x, linear);
    }

    fn normalise(&self, out: &mut HostTensor, x: &HostTensor, norm: &HostNorm) {
        self.inner.normalise(out, x, norm);
    }

    fn project_heads(&self, out: &mut HostTensor, x: &HostTensor, heads: &[Matrix]) {
        self.inner.project_heads(out, x, heads);
    }

    fn attend(
        &self,
        step: &Step,
        out: &mut HostTensor,
        q: &HostTensor,
        kv: &HostKv,
        shape: &AttentionShape,
    ) {
        self.inner.attend(step, out, q, kv, shape);
    }

    fn activate(&self, x: &mut HostTensor, activation: Activation) {
        self.inner.activate(x, activation);
    }

    fn gate(&self, out: &mut HostTensor, gate_up: &HostTensor, activation: Activation) {
        self.inner.gate(out, gate_up, activation);
    }
}
