//! A device that looks on: it computes as another does, and keeps statistics of what flows into each linear layer.
//!
//! Model code does not know of it, and it does not know the model: a linear layer is told by its weight, which holds the rows of the
//! tensors that it was made of.

use attention_variants::config::{Activation, ModelConfig};
use attention_variants::hf::{LoadError, Weights};
use attention_variants::matrix::Matrix;
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
    /// By the place of the weight, which does not move while the model runs.
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

impl<A: Arithmetic> Arithmetic for Observed<A> {
    type Weight = A::Weight;

    fn prepare(&self, weight: Matrix) -> A::Weight {
        self.inner.prepare(weight)
    }

    fn prepare_head(&self, weight: Matrix) -> A::Weight {
        self.inner.prepare_head(weight)
    }

    fn reserve(&self, rows: usize, cols: usize) {
        self.inner.reserve(rows, cols);
    }

    fn read_row(&self, weight: &A::Weight, row: usize, out: &mut [f32]) {
        self.inner.read_row(weight, row, out);
    }

    fn project(&self, out: &mut HostTensor, x: &HostTensor, linear: &HostLinear<A::Weight>) {
        let (n, k) = (out.cols(), x.cols());
        let place = std::ptr::from_ref(&linear.weight).addr();
        {
            let mut seen = self.seen.lock().expect("no observer panicked");
            let entry = seen.entry(place).or_insert_with(|| {
                let mut weight = vec![0.0; n * k];
                for (row, out) in weight.chunks_exact_mut(k).enumerate() {
                    self.inner.read_row(&linear.weight, row, out);
                }
                Seen {
                    rows: digests(&weight, k),
                    inputs: Inputs::new(k),
                }
            });
            entry.inputs.add(x.values());
        }
        self.inner.project(out, x, linear);
    }

    fn normalise(&self, out: &mut HostTensor, x: &HostTensor, norm: &HostNorm) {
        self.inner.normalise(out, x, norm);
    }

    fn project_heads(&self, out: &mut HostTensor, x: &HostTensor, heads: &[A::Weight]) {
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
