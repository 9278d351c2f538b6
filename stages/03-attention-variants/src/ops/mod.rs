//! The operations that a device implements, and nothing finer.
//!
//! Coarse, fused operations with out-parameters. A model allocates its tensors once, when it is built, and a step only
//! writes into them, so that every address is fixed: on a GPU the same model code can be captured in a graph and replayed, on a
//! CPU no step allocates. What an operation needs to know of the batch (positions, slots, page tables) is given once, by
//! [`Ops::begin`]; weight formats live inside [`Ops::Linear`] and model code never names them.
//!
//! Two devices are here: [`Reference`], scalar and in double precision where it matters, which is right because it is plain; and
//! [`Cpu`], which is fast and held to the reference.

mod cpu;
mod device;
mod host;
mod kv;
mod reference;
mod rotate;
mod routing;

pub use cpu::{Cpu, Isa, RowType, Vectorised, Weight};
pub use device::{Arithmetic, Host};
pub use host::{HostLinear, HostNorm, HostTensor, Step};
pub use kv::{HostKv, KvType};
pub use reference::{Reference, Scalar};
pub use rotate::HostRope;
pub use routing::{HostExperts, HostRouter, HostRouting};

use crate::config::{Activation, Moe};
use crate::matrix::Matrix;
use crate::rope::RopeTable;
use crate::step::StepInputs;
use std::ops::Range;

/// How a norm normalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square (Zhang and Sennrich, 2019).
    Rms,
    /// Mean and variance (Ba et al., 2016).
    Layer,
}

/// The shape of an attention operation. Queries `[tokens, heads, key_dim]` see the cached keys of their own sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a query and of a key.
    pub key_dim: usize,
    /// Width of a value.
    pub value_dim: usize,
    /// Factor on the scores before the softmax.
    pub scale: f32,
    /// Keys further back than this many positions are not seen.
    pub window: Option<usize>,
}

/// What happens to queries and keys between their projection and the cache.
pub struct HeadRotation<'a, O: Ops> {
    /// Cosines and sines; `None` where positions are learned.
    pub rope: Option<&'a O::Rope>,
    /// RMSNorm of each query head and each key head, before the rotation (Qwen3).
    pub qk_norm: Option<(&'a O::Norm, &'a O::Norm)>,
}

/// The widths of multi-head latent attention, as [`Ops::latent_store`] needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatentShape {
    /// Heads.
    pub heads: usize,
    /// Part of a query head without position.
    pub nope_dim: usize,
    /// Part of a query head that is rotated, and the width of the shared rotated key.
    pub rope_dim: usize,
    /// Width of the cached latent.
    pub latent_dim: usize,
}

/// A device: its memory, and the fused operations on it.
///
/// A tensor has a fixed capacity and a current number of rows. [`Ops::embed`] sets the rows of its output to the tokens of the
/// step; every other operation sets those of its output to those of its input.
pub trait Ops: Send + Sync + 'static {
    /// Activations, `[rows, cols]`.
    type Tensor: Send;
    /// Scale, shift and epsilon of a norm.
    type Norm: Send;
    /// A weight matrix in whatever format it is kept, with its bias.
    type Linear: Send;
    /// One linear map per head.
    type HeadLinear: Send;
    /// A layer's router: its weight, and a bias that only the choice sees.
    type Router: Send;
    /// The routed experts of one layer.
    type Experts: Send;
    /// Which experts each token visits, with what weight, and the room to compute it.
    type Routing: Send;
    /// One layer's paged cache.
    type Kv: Send;
    /// Cosines and sines by position.
    type Rope: Send;

    // Building: called while a model loads, never in a step.

    /// A tensor with room for `rows` rows of `cols`.
    fn tensor(&self, rows: usize, cols: usize) -> Self::Tensor;
    /// A norm over vectors as long as `weight`.
    fn norm(
        &self,
        kind: NormKind,
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
        eps: f32,
    ) -> Self::Norm;
    /// A linear layer, weight `[out, in]`, bias `[out]`.
    fn linear(&self, weight: Matrix, bias: Option<Vec<f32>>) -> Self::Linear;
    /// A linear layer per head, each `[out, in]`.
    fn head_linear(&self, heads: Vec<Matrix>) -> Self::HeadLinear;
    /// A router, weight `[experts, hidden]`, bias `[experts]`.
    fn router(&self, weight: Matrix, bias: Option<Vec<f32>>, moe: &Moe) -> Self::Router;
    /// Routed experts: for each, gate and up stacked `[2 * intermediate, hidden]`, and down `[hidden, intermediate]`.
    fn experts(&self, gate_up: Vec<Matrix>, down: Vec<Matrix>) -> Self::Experts;
    /// Routing for at most `rows` tokens of width `hidden`.
    fn routing(&self, rows: usize, hidden: usize, moe: &Moe) -> Self::Routing;
    /// A cache of `blocks * block_size` slots; a slot holds `key_width` and, beside it, `value_width` numbers (0 where values are
    /// a part of the keys, as in multi-head latent attention).
    fn kv(
        &self,
        blocks: usize,
        block_size: usize,
        key_width: usize,
        value_width: usize,
    ) -> Self::Kv;
    /// A rotation table; `interleaved` pairs are neighbours in a head, others are half a head apart.
    fn rope(&self, table: RopeTable, interleaved: bool) -> Self::Rope;

    // A step.

    /// Takes the batch of a step; what follows refers to it until the next call.
    fn begin(&mut self, step: &StepInputs<'_>);
    /// Executes the step's block copies on a cache.
    fn copy_blocks(&self, kv: &mut Self::Kv);
    /// `out[t] = table[token(t)] (+ positions[position(t)])`.
    fn embed(&self, out: &mut Self::Tensor, table: &Self::Linear, positions: Option<&Self::Linear>);
    /// `out = norm(x)`.
    fn normalise(&self, out: &mut Self::Tensor, x: &Self::Tensor, norm: &Self::Norm);
    /// `residual += x; out = norm(residual)`.
    fn add_normalise(
        &self,
        out: &mut Self::Tensor,
        residual: &mut Self::Tensor,
        x: &Self::Tensor,
        norm: &Self::Norm,
    );
    /// `out += x`.
    fn add(&self, out: &mut Self::Tensor, x: &Self::Tensor);
    /// `out = x weight^T + bias`.
    fn project(&self, out: &mut Self::Tensor, x: &Self::Tensor, linear: &Self::Linear);
    /// Per head `h`: `out[:, h, ..out_dim] = x[:, h, ..in_dim] weight_h^T`. The heads of `x` and `out` may be wider than the map:
    /// the rest of a head is neither read nor written.
    fn project_heads(&self, out: &mut Self::Tensor, x: &Self::Tensor, linear: &Self::HeadLinear);
    /// Splits `qkv` `[tokens, (heads + 2 kv_heads) * head_dim]`: queries are normalised and rotated in place, keys are normalised,
    /// rotated and written to the cache, values are written to the cache.
    fn rotate_store(
        &self,
        qkv: &mut Self::Tensor,
        kv: &mut Self::Kv,
        rotation: HeadRotation<'_, Self>,
        shape: &AttentionShape,
    ) where
        Self: Sized;
    /// The same for latent attention. `latent` `[tokens, latent_dim + rope_dim]` is normalised and rotated into the cache; the
    /// rotated part of each head of `q` `[tokens, heads, nope_dim + rope_dim]` goes behind the absorbed part of each head of
    /// `absorbed` `[tokens, heads, latent_dim + rope_dim]`, whose first part [`Ops::project_heads`] writes.
    fn latent_store(
        &self,
        absorbed: &mut Self::Tensor,
        q: &Self::Tensor,
        latent: &Self::Tensor,
        kv: &mut Self::Kv,
        norm: &Self::Norm,
        rope: &Self::Rope,
        shape: &LatentShape,
    );
    /// Causal attention of every query to the cached keys and values of its sequence. Queries are the first
    /// `heads * key_dim` columns of `q`; `out` is `[tokens, heads * value_dim]`.
    fn attend(
        &self,
        out: &mut Self::Tensor,
        q: &Self::Tensor,
        kv: &Self::Kv,
        shape: &AttentionShape,
    );
    /// `x = activation(x)`.
    fn activate(&self, x: &mut Self::Tensor, activation: Activation);
    /// `out = activation(gate) * up`, with `gate_up` `[tokens, 2 * intermediate]`.
    fn gate(&self, out: &mut Self::Tensor, gate_up: &Self::Tensor, activation: Activation);
    /// Chooses each token's experts.
    fn route(&self, routing: &mut Self::Routing, x: &Self::Tensor, router: &Self::Router);
    /// `out[t] = sum over the experts e of token t, in order of e, of weight(t, e) * expert_e(x[t])`.
    fn mix_experts(
        &self,
        out: &mut Self::Tensor,
        x: &Self::Tensor,
        routing: &mut Self::Routing,
        experts: &Self::Experts,
        activation: Activation,
    );
    /// `x[i] = x[outputs[i]]`, with the outputs of the step; no other row is kept.
    fn keep_outputs(&self, x: &mut Self::Tensor);
    /// `out = x[rows]`.
    fn take_rows(&self, out: &mut Self::Tensor, x: &Self::Tensor, rows: Range<usize>);
    /// The tensor's rows, on the host.
    fn read<'a>(&'a self, x: &'a Self::Tensor) -> &'a [f32];
}
