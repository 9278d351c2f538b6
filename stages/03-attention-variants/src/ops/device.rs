//! The devices whose memory is the host's: storage and bookkeeping once, arithmetic behind [`Arithmetic`].

use super::host::{self, HostLinear, HostNorm, HostTensor, Step};
use super::kv::{HostKv, KvType};
use super::rotate::{self, HostRope};
use super::routing::{HostExperts, HostRouter, HostRouting};
use super::{AttentionShape, HeadRotation, LatentShape, NormKind, Ops};
use crate::config::{Activation, Moe};
use crate::matrix::Matrix;
use crate::rope::RopeTable;
use crate::step::StepInputs;
use std::ops::Range;
use std::sync::Mutex;

/// The operations that do arithmetic, on tensors in host memory. Each sets the rows of its output to those of its input.
pub trait Arithmetic: Send + Sync + 'static {
    /// A weight in the form that this arithmetic computes with.
    type Weight: Send + Sync;

    /// Brings a weight into that form, once, while the model loads.
    fn prepare(&self, weight: Matrix) -> Self::Weight;
    /// The same for one of several heads' maps.
    fn prepare_head(&self, weight: Matrix) -> Self::Weight {
        self.prepare(weight)
    }
    /// Told of each tensor that the model allocates, so that what a product needs beside it is allocated now and not in a step.
    fn reserve(&self, _rows: usize, _cols: usize) {}
    /// Row `row` of a weight, as numbers.
    fn read_row(&self, weight: &Self::Weight, row: usize, out: &mut [f32]);
    /// See [`Ops::normalise`].
    fn normalise(&self, out: &mut HostTensor, x: &HostTensor, norm: &HostNorm);
    /// See [`Ops::add_normalise`].
    fn add_normalise(
        &self,
        out: &mut HostTensor,
        residual: &mut HostTensor,
        x: &HostTensor,
        norm: &HostNorm,
    ) {
        host::add(residual.values_mut(), x.values());
        self.normalise(out, residual, norm);
    }
    /// See [`Ops::project`].
    fn project(&self, out: &mut HostTensor, x: &HostTensor, linear: &HostLinear<Self::Weight>);
    /// See [`Ops::project_heads`].
    fn project_heads(&self, out: &mut HostTensor, x: &HostTensor, heads: &[Self::Weight]);
    /// See [`Ops::attend`].
    fn attend(
        &self,
        step: &Step,
        out: &mut HostTensor,
        q: &HostTensor,
        kv: &HostKv,
        shape: &AttentionShape,
    );
    /// See [`Ops::activate`].
    fn activate(&self, x: &mut HostTensor, activation: Activation);
    /// See [`Ops::gate`].
    fn gate(&self, out: &mut HostTensor, gate_up: &HostTensor, activation: Activation);
}

/// A device in host memory.
#[derive(Debug, Default)]
pub struct Host<A> {
    arithmetic: A,
    step: Step,
    /// Room for one row of learned positions.
    position: Mutex<Vec<f32>>,
    kv_type: KvType,
}

impl<A: Arithmetic> Host<A> {
    /// A device that computes with `arithmetic`.
    pub fn new(arithmetic: A) -> Self {
        Self {
            arithmetic,
            step: Step::default(),
            position: Mutex::default(),
            kv_type: KvType::default(),
        }
    }

    /// The same device with caches of another type.
    pub fn with_kv(self, kv_type: KvType) -> Self {
        Self { kv_type, ..self }
    }
}

impl<A: Arithmetic> Ops for Host<A> {
    type Tensor = HostTensor;
    type Norm = HostNorm;
    type Linear = HostLinear<A::Weight>;
    type HeadLinear = Vec<A::Weight>;
    type Router = HostRouter<A::Weight>;
    type Experts = HostExperts<A::Weight>;
    type Routing = HostRouting;
    type Kv = HostKv;
    type Rope = HostRope;

    fn tensor(&self, rows: usize, cols: usize) -> HostTensor {
        self.arithmetic.reserve(rows, cols);
        HostTensor::new(rows, cols)
    }

    fn norm(&self, kind: NormKind, weight: Vec<f32>, bias: Option<Vec<f32>>, eps: f32) -> HostNorm {
        HostNorm {
            kind,
            weight,
            bias,
            eps,
        }
    }

    fn linear(&self, weight: Matrix, bias: Option<Vec<f32>>) -> HostLinear<A::Weight> {
        HostLinear {
            weight: self.arithmetic.prepare(weight),
            bias,
        }
    }

    fn head_linear(&self, heads: Vec<Matrix>) -> Vec<A::Weight> {
        heads
            .into_iter()
            .map(|head| self.arithmetic.prepare_head(head))
            .collect()
    }

    fn router(&self, weight: Matrix, bias: Option<Vec<f32>>, moe: &Moe) -> HostRouter<A::Weight> {
        HostRouter {
            linear: self.linear(weight, None),
            bias,
            moe: moe.clone(),
        }
    }

    fn experts(&self, gate_up: Vec<Matrix>, down: Vec<Matrix>) -> HostExperts<A::Weight> {
        let all = |weights: Vec<Matrix>| {
            let linear = weights.into_iter().map(|weight| self.linear(weight, None));
            linear.collect()
        };
        HostExperts {
            gate_up: all(gate_up),
            down: all(down),
        }
    }

    fn routing(&self, rows: usize, hidden: usize, moe: &Moe) -> HostRouting {
        self.arithmetic.reserve(rows, hidden.max(moe.intermediate));
        HostRouting::new(rows, hidden, moe)
    }

    fn kv(&self, blocks: usize, block_size: usize, key_width: usize, value_width: usize) -> HostKv {
        HostKv::new(self.kv_type, blocks, block_size, key_width, value_width)
    }

    fn rope(&self, table: RopeTable, interleaved: bool) -> HostRope {
        HostRope { table, interleaved }
    }

    fn begin(&mut self, step: &StepInputs<'_>) {
        self.step.set(step);
    }

    fn copy_blocks(&self, kv: &mut HostKv) {
        kv.copy_blocks(&self.step.block_copies);
    }

    fn embed(&self, out: &mut HostTensor, table: &Self::Linear, positions: Option<&Self::Linear>) {
        let width = out.cols();
        let rows = out.resize(self.step.tokens.len());
        let mut position = self.position.lock().expect("nothing panics with it");
        position.resize(width, 0.0);
        for (t, row) in rows.chunks_exact_mut(width).enumerate() {
            let read = |weight, index: u32, out| {
                self.arithmetic.read_row(weight, index as usize, out);
            };
            read(&table.weight, self.step.tokens[t], row);
            if let Some(positions) = positions {
                read(&positions.weight, self.step.positions[t], &mut position);
                for (value, position) in row.iter_mut().zip(&*position) {
                    *value += position;
                }
            }
        }
    }

    fn normalise(&self, out: &mut HostTensor, x: &HostTensor, norm: &HostNorm) {
        self.arithmetic.normalise(out, x, norm);
    }

    fn add_normalise(
        &self,
        out: &mut HostTensor,
        residual: &mut HostTensor,
        x: &HostTensor,
        norm: &HostNorm,
    ) {
        self.arithmetic.add_normalise(out, residual, x, norm);
    }

    fn add(&self, out: &mut HostTensor, x: &HostTensor) {
        host::add(out.values_mut(), x.values());
    }

    fn project(&self, out: &mut HostTensor, x: &HostTensor, linear: &Self::Linear) {
        self.arithmetic.project(out, x, linear);
    }

    fn project_heads(&self, out: &mut HostTensor, x: &HostTensor, heads: &Self::HeadLinear) {
        self.arithmetic.project_heads(out, x, heads);
    }

    fn rotate_store(
        &self,
        qkv: &mut HostTensor,
        kv: &mut HostKv,
        rotation: HeadRotation<'_, Self>,
        shape: &AttentionShape,
    ) {
        rotate::rotate_store(&self.step, qkv, kv, rotation.rope, rotation.qk_norm, shape);
    }

    fn latent_store(
        &self,
        absorbed: &mut HostTensor,
        q: &HostTensor,
        latent: &HostTensor,
        kv: &mut HostKv,
        norm: &HostNorm,
        rope: &HostRope,
        shape: &LatentShape,
    ) {
        rotate::latent_store(&self.step, absorbed, q, latent, kv, norm, rope, shape);
    }

    fn attend(&self, out: &mut HostTensor, q: &HostTensor, kv: &HostKv, shape: &AttentionShape) {
        self.arithmetic.attend(&self.step, out, q, kv, shape);
    }

    fn activate(&self, x: &mut HostTensor, activation: Activation) {
        self.arithmetic.activate(x, activation);
    }

    fn gate(&self, out: &mut HostTensor, gate_up: &HostTensor, activation: Activation) {
        self.arithmetic.gate(out, gate_up, activation);
    }

    fn route(&self, routing: &mut HostRouting, x: &HostTensor, router: &Self::Router) {
        self.arithmetic
            .project(&mut routing.logits, x, &router.linear);
        routing.choose(router.bias.as_deref(), &router.moe);
    }

    fn mix_experts(
        &self,
        out: &mut HostTensor,
        x: &HostTensor,
        routing: &mut HostRouting,
        experts: &Self::Experts,
        activation: Activation,
    ) {
        out.resize(x.rows()).fill(0.0);
        for (expert, (gate_up, down)) in experts.gate_up.iter().zip(&experts.down).enumerate() {
            routing.gather_visits(expert as u32, x);
            self.arithmetic
                .project(&mut routing.gate_up, &routing.gathered, gate_up);
            self.arithmetic
                .gate(&mut routing.gated, &routing.gate_up, activation);
            self.arithmetic
                .project(&mut routing.gathered, &routing.gated, down);
            routing.scatter_visits(out);
        }
    }

    fn keep_outputs(&self, x: &mut HostTensor) {
        x.keep_rows(&self.step.outputs);
    }

    fn take_rows(&self, out: &mut HostTensor, x: &HostTensor, rows: Range<usize>) {
        let taken = &x.values()[rows.start * x.cols()..rows.end * x.cols()];
        out.resize(rows.len()).copy_from_slice(taken);
    }

    fn read<'a>(&'a self, x: &'a HostTensor) -> &'a [f32] {
        x.values()
    }
}
