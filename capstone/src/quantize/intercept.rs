//! A device that computes as another does, and shows somebody the inputs of every linear layer before it multiplies them.
//!
//! Model code does not know of it, and it does not know the model: a linear layer is told by its weight, which holds the rows of the
//! tensors that it was made of.

use attention_variants::config::Activation;
use attention_variants::matrix::Matrix;
use attention_variants::ops::{
    Arithmetic, AttentionShape, HostKv, HostLinear, HostNorm, HostTensor, Step,
};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

/// A linear layer: a digest of each row of its weight.
pub(super) type Layer = Arc<[u64]>;

/// Arithmetic whose every [`Arithmetic::project`] passes its layer and inputs to `look`, and multiplies what that returns, if anything,
/// in their place.
pub(super) struct Intercepted<A, F> {
    inner: A,
    look: F,
    /// By the place of the weight, which does not move while the model runs.
    layers: Mutex<HashMap<usize, Layer>>,
}

impl<A: Arithmetic, F> Intercepted<A, F> {
    pub(super) fn new(inner: A, look: F) -> Self {
        Self {
            inner,
            look,
            layers: Mutex::default(),
        }
    }

    /// The layer `[n, k]` of a weight.
    fn layer(&self, weight: &A::Weight, [n, k]: [usize; 2]) -> Layer {
        let place = std::ptr::from_ref(weight).addr();
        let mut layers = self.layers.lock().expect("no digest panicked");
        let digest = || {
            let mut rows = vec![0.0; n * k];
            for (row, out) in rows.chunks_exact_mut(k).enumerate() {
                self.inner.read_row(weight, row, out);
            }
            digests(&rows, k).into()
        };
        Arc::clone(layers.entry(place).or_insert_with(digest))
    }
}

/// A digest of each row.
pub(super) fn digests(values: &[f32], cols: usize) -> Vec<u64> {
    let digest = |row: &[f32]| {
        let mut hasher = DefaultHasher::new();
        row.iter()
            .for_each(|value| value.to_bits().hash(&mut hasher));
        hasher.finish()
    };
    values.chunks_exact(cols).map(digest).collect()
}

impl<A, F> Arithmetic for Intercepted<A, F>
where
    A: Arithmetic,
    F: Fn(&Layer, &HostTensor) -> Option<HostTensor> + Send + Sync + 'static,
{
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
        let layer = self.layer(&linear.weight, [out.cols(), x.cols()]);
        let instead = (self.look)(&layer, x);
        self.inner
            .project(out, instead.as_ref().unwrap_or(x), linear);
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
