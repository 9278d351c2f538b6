//! The attention blocks: grouped-query, and multi-head latent.

use crate::config::{Attention, Grouped, Latent, ModelConfig};
use crate::ops::{AttentionShape, HeadRotation, LatentShape, Ops};

/// One layer's attention.
pub(super) enum AttentionBlock<O: Ops> {
    Grouped(GroupedBlock<O>),
    Latent(LatentBlock<O>),
}

/// Multi-head, grouped-query and multi-query attention.
pub(super) struct GroupedBlock<O: Ops> {
    /// Queries, keys and values in one projection, `[(heads + 2 kv_heads) * head_dim, hidden]`.
    pub qkv: O::Linear,
    /// Norms of each query head and each key head (Qwen3).
    pub qk_norm: Option<(O::Norm, O::Norm)>,
    pub out: O::Linear,
    pub shape: AttentionShape,
}

/// Multi-head latent attention in its absorbed form. A head's key is `W_uk c` for the cached latent `c`, so its score
/// `q . W_uk c` equals `(W_uk^T q) . c`: the query is taken to the latent instead of every cached latent to the head, and the
/// heads become queries on one shared key. The values are taken up from the latent after the mixing.
pub(super) struct LatentBlock<O: Ops> {
    pub query: LatentQuery<O>,
    /// The latent and the shared rotated key, `[latent_dim + rope_dim, hidden]`.
    pub down: O::Linear,
    pub latent_norm: O::Norm,
    /// `W_uk^T` per head, `[latent_dim, nope_dim]`.
    pub absorb: O::HeadLinear,
    /// `W_uv` per head, `[v_dim, latent_dim]`.
    pub value_up: O::HeadLinear,
    pub out: O::Linear,
    pub widths: LatentShape,
    pub shape: AttentionShape,
}

/// How latent attention makes its queries.
pub(super) enum LatentQuery<O: Ops> {
    /// Directly, `[heads * (nope_dim + rope_dim), hidden]`.
    Direct(O::Linear),
    /// Through a compressed query of its own.
    Compressed {
        down: O::Linear,
        norm: O::Norm,
        up: O::Linear,
    },
}

/// What an attention block writes on the way.
pub(super) enum AttentionBuffers<O: Ops> {
    Grouped {
        qkv: O::Tensor,
        mixed: O::Tensor,
    },
    Latent {
        /// The compressed query, before and after its norm; empty where queries are direct.
        query_latent: O::Tensor,
        query_normed: O::Tensor,
        /// `[tokens, heads, nope_dim + rope_dim]`.
        q: O::Tensor,
        /// `[tokens, latent_dim + rope_dim]`.
        latent: O::Tensor,
        /// `[tokens, heads, latent_dim + rope_dim]`.
        absorbed: O::Tensor,
        /// `[tokens, heads, latent_dim]`.
        mixed_latent: O::Tensor,
        /// `[tokens, heads, v_dim]`.
        mixed: O::Tensor,
    },
}

impl<O: Ops> AttentionBuffers<O> {
    pub(super) fn new(ops: &O, config: &ModelConfig, tokens: usize) -> Self {
        match &config.attention {
            Attention::Grouped(Grouped {
                heads,
                kv_heads,
                head_dim,
                ..
            }) => Self::Grouped {
                qkv: ops.tensor(tokens, (heads + 2 * kv_heads) * head_dim),
                mixed: ops.tensor(tokens, heads * head_dim),
            },
            Attention::Latent(Latent {
                heads,
                q_lora_rank,
                kv_lora_rank,
                nope_dim,
                rope_dim,
                v_dim,
                ..
            }) => {
                let q_rank = q_lora_rank.unwrap_or(0);
                Self::Latent {
                    query_latent: ops.tensor(tokens, q_rank),
                    query_normed: ops.tensor(tokens, q_rank),
                    q: ops.tensor(tokens, heads * (nope_dim + rope_dim)),
                    latent: ops.tensor(tokens, kv_lora_rank + rope_dim),
                    absorbed: ops.tensor(tokens, heads * (kv_lora_rank + rope_dim)),
                    mixed_latent: ops.tensor(tokens, heads * kv_lora_rank),
                    mixed: ops.tensor(tokens, heads * v_dim),
                }
            }
        }
    }
}

impl<O: Ops> AttentionBlock<O> {
    /// `out = attention(x)`; writes the step's keys and values to `kv`.
    pub(super) fn forward(
        &self,
        ops: &O,
        buffers: &mut AttentionBuffers<O>,
        out: &mut O::Tensor,
        x: &O::Tensor,
        kv: &mut O::Kv,
        rope: Option<&O::Rope>,
    ) {
        match (self, buffers) {
            (Self::Grouped(block), AttentionBuffers::Grouped { qkv, mixed }) => {
                ops.project(qkv, x, &block.qkv);
                let qk_norm = block.qk_norm.as_ref().map(|(q, k)| (q, k));
                ops.rotate_store(qkv, kv, HeadRotation { rope, qk_norm }, &block.shape);
                ops.attend(mixed, qkv, kv, &block.shape);
                ops.project(out, mixed, &block.out);
            }
            (
                Self::Latent(block),
                AttentionBuffers::Latent {
                    query_latent,
                    query_normed,
                    q,
                    latent,
                    absorbed,
                    mixed_latent,
                    mixed,
                },
            ) => {
                match &block.query {
                    LatentQuery::Direct(linear) => ops.project(q, x, linear),
                    LatentQuery::Compressed { down, norm, up } => {
                        ops.project(query_latent, x, down);
                        ops.normalise(query_normed, query_latent, norm);
                        ops.project(q, query_normed, up);
                    }
                }
                ops.project(latent, x, &block.down);
                let rope = rope.expect("latent attention is always rotary");
                ops.project_heads(absorbed, q, &block.absorb);
                ops.latent_store(
                    absorbed,
                    q,
                    latent,
                    kv,
                    &block.latent_norm,
                    rope,
                    &block.widths,
                );
                ops.attend(mixed_latent, absorbed, kv, &block.shape);
                ops.project_heads(mixed, mixed_latent, &block.value_up);
                ops.project(out, mixed, &block.out);
            }
            _ => unreachable!("a decoder's blocks and buffers are made from one configuration"),
        }
    }
}
