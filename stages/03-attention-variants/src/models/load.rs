//! From a checkpoint's tensors to a decoder: which names each family gives its weights.

use super::attention::{AttentionBlock, GroupedBlock, LatentBlock, LatentQuery};
use super::decoder::{Buffers, Decoder, DecoderLayer};
use super::mlp::{GatedMlp, MlpBlock, MlpKind};
use crate::config::{Attention, Family, Grouped, Latent, Mlp, ModelConfig, Moe, Scoring};
use crate::hf::{LoadError, Weights};
use crate::matrix::Matrix;
use crate::ops::{AttentionShape, LatentShape, NormKind, Ops};
use crate::rope::{RopeTable, softmax_factor};
use crate::step::StepLimits;

/// Epsilon of the norms inside latent attention, which the configuration does not name: DeepSeek's own code fixes it.
const LATENT_NORM_EPS: f32 = 1e-6;

/// Builds a decoder on a device and allocates everything that a step within `limits` needs.
///
/// # Errors
/// A tensor that is missing, superfluous, or of another shape or type than the configuration says.
pub fn load<O: Ops>(
    ops: O,
    config: ModelConfig,
    mut weights: Weights,
    limits: StepLimits,
) -> Result<Decoder<O>, LoadError> {
    let mut loader = Loader {
        ops: &ops,
        config: &config,
        weights: &mut weights,
    };
    let names = Names::of(config.family);
    let hidden = config.hidden_size;
    let embedding = loader.linear(names.embedding, config.vocab_size, hidden, false)?;
    let positions = names
        .positions
        .map(|name| loader.linear(name, config.max_positions, hidden, false))
        .transpose()?;
    let layers = (0..config.layers.len())
        .map(|index| loader.layer(index))
        .collect::<Result<Vec<_>, _>>()?;
    let norm = loader.norm(names.final_norm, hidden)?;
    let lm_head = if config.tied_embeddings {
        None
    } else {
        Some(loader.linear("lm_head", config.vocab_size, hidden, false)?)
    };
    weights.finish(&config)?;

    let (key_width, value_width) = config.kv_widths();
    let kv = layers
        .iter()
        .map(|_| ops.kv(limits.blocks, limits.block_size, key_width, value_width))
        .collect();
    let rope = config.rope.as_ref().map(|rope| {
        ops.rope(
            RopeTable::new(rope, config.attention.rotated_width(), limits.positions),
            rope.interleaved,
        )
    });
    let buffers = Buffers::new(&ops, &config, &limits);
    Ok(Decoder {
        ops,
        config,
        limits,
        embedding,
        positions,
        rope,
        layers,
        norm,
        lm_head,
        kv,
        buffers,
    })
}

/// Names outside the layers.
struct Names {
    embedding: &'static str,
    positions: Option<&'static str>,
    final_norm: &'static str,
}

impl Names {
    fn of(family: Family) -> Self {
        match family {
            Family::Gpt2 => Self {
                embedding: "transformer.wte",
                positions: Some("transformer.wpe"),
                final_norm: "transformer.ln_f",
            },
            _ => Self {
                embedding: "model.embed_tokens",
                positions: None,
                final_norm: "model.norm",
            },
        }
    }
}

struct Loader<'a, O: Ops> {
    ops: &'a O,
    config: &'a ModelConfig,
    weights: &'a mut Weights,
}

impl<O: Ops> Loader<'_, O> {
    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        self.weights.matrix(&format!("{name}.weight"), rows, cols)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.weights.vector(name, len)
    }

    /// `name.weight`, `[rows, cols]`, and `name.bias`.
    fn linear(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        bias: bool,
    ) -> Result<O::Linear, LoadError> {
        self.stacked(&[(name, rows)], cols, bias)
    }

    /// Several linear layers on one input as one: their weights one below another.
    fn stacked(
        &mut self,
        parts: &[(&str, usize)],
        cols: usize,
        bias: bool,
    ) -> Result<O::Linear, LoadError> {
        let mut matrices = Vec::new();
        let mut biases = Vec::new();
        for &(name, rows) in parts {
            matrices.push(self.matrix(name, rows, cols)?);
            if bias {
                biases.extend(self.vector(&format!("{name}.bias"), rows)?);
            }
        }
        Ok(self
            .ops
            .linear(Matrix::stack(matrices), bias.then_some(biases)))
    }

    /// GPT-2 keeps its linear layers as `[in, out]`.
    fn transposed(&mut self, name: &str, rows: usize, cols: usize) -> Result<O::Linear, LoadError> {
        let weight = self.matrix(name, cols, rows)?.transposed();
        let bias = self.vector(&format!("{name}.bias"), rows)?;
        Ok(self.ops.linear(weight, Some(bias)))
    }

    /// A norm of the residual stream: a layer norm in GPT-2, RMS elsewhere.
    fn norm(&mut self, name: &str, width: usize) -> Result<O::Norm, LoadError> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        if self.config.family == Family::Gpt2 {
            let bias = self.vector(&format!("{name}.bias"), width)?;
            return Ok(self
                .ops
                .norm(NormKind::Layer, weight, Some(bias), self.config.norm_eps));
        }
        Ok(self
            .ops
            .norm(NormKind::Rms, weight, None, self.config.norm_eps))
    }

    fn rms_norm(&mut self, name: &str, width: usize, eps: f32) -> Result<O::Norm, LoadError> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        Ok(self.ops.norm(NormKind::Rms, weight, None, eps))
    }

    fn layer(&mut self, index: usize) -> Result<DecoderLayer<O>, LoadError> {
        let hidden = self.config.hidden_size;
        if self.config.family == Family::Gpt2 {
            return self.gpt2_layer(index);
        }
        let at = format!("model.layers.{index}");
        Ok(DecoderLayer {
            attention_norm: self.norm(&format!("{at}.input_layernorm"), hidden)?,
            attention: match &self.config.attention {
                Attention::Grouped(shape) => self.grouped(&at, index, shape)?,
                Attention::Latent(shape) => self.latent(&at, index, shape)?,
            },
            mlp_norm: self.norm(&format!("{at}.post_attention_layernorm"), hidden)?,
            mlp: self.mlp(&at, index)?,
        })
    }

    fn gpt2_layer(&mut self, index: usize) -> Result<DecoderLayer<O>, LoadError> {
        let at = format!("transformer.h.{index}");
        let (config, hidden) = (self.config, self.config.hidden_size);
        let (Attention::Grouped(shape), Mlp::Dense { intermediate, .. }) =
            (&config.attention, &config.layers[index].mlp)
        else {
            unreachable!(
                "the configuration of GPT-2 is read as grouped attention and dense blocks"
            );
        };
        let up = self.transposed(&format!("{at}.mlp.c_fc"), *intermediate, hidden)?;
        let down = self.transposed(&format!("{at}.mlp.c_proj"), hidden, *intermediate)?;
        Ok(DecoderLayer {
            attention_norm: self.norm(&format!("{at}.ln_1"), hidden)?,
            attention: AttentionBlock::Grouped(GroupedBlock {
                qkv: self.transposed(&format!("{at}.attn.c_attn"), 3 * hidden, hidden)?,
                qk_norm: None,
                out: self.transposed(&format!("{at}.attn.c_proj"), hidden, hidden)?,
                shape: self.attention_shape(
                    index,
                    shape.heads,
                    shape.kv_heads,
                    shape.head_dim,
                    shape.head_dim,
                ),
            }),
            mlp_norm: self.norm(&format!("{at}.ln_2"), hidden)?,
            mlp: MlpBlock {
                kind: MlpKind::Plain { up, down },
                activation: config.activation,
            },
        })
    }

    fn attention_shape(
        &self,
        layer: usize,
        heads: usize,
        kv_heads: usize,
        key_dim: usize,
        value_dim: usize,
    ) -> AttentionShape {
        let stretch = self.config.rope.as_ref().map_or(1.0, softmax_factor);
        let scale = (key_dim as f32).sqrt().recip() * stretch;
        AttentionShape {
            heads,
            kv_heads,
            key_dim,
            value_dim,
            scale,
            window: self.config.layers[layer].sliding_window,
        }
    }

    fn grouped(
        &mut self,
        at: &str,
        layer: usize,
        shape: &Grouped,
    ) -> Result<AttentionBlock<O>, LoadError> {
        let Grouped {
            heads,
            kv_heads,
            head_dim,
            ..
        } = *shape;
        let name = |part: &str| format!("{at}.self_attn.{part}");
        let (q, kv) = (heads * head_dim, kv_heads * head_dim);
        let parts = [
            (&*name("q_proj"), q),
            (&*name("k_proj"), kv),
            (&*name("v_proj"), kv),
        ];
        let qkv = self.stacked(&parts, self.config.hidden_size, shape.qkv_bias)?;
        let eps = self.config.norm_eps;
        let qk_norm = if shape.qk_norm {
            Some((
                self.rms_norm(&name("q_norm"), head_dim, eps)?,
                self.rms_norm(&name("k_norm"), head_dim, eps)?,
            ))
        } else {
            None
        };
        Ok(AttentionBlock::Grouped(GroupedBlock {
            qkv,
            qk_norm,
            out: self.linear(&name("o_proj"), self.config.hidden_size, q, shape.out_bias)?,
            shape: self.attention_shape(layer, heads, kv_heads, head_dim, head_dim),
        }))
    }

    fn latent(
        &mut self,
        at: &str,
        layer: usize,
        shape: &Latent,
    ) -> Result<AttentionBlock<O>, LoadError> {
        let Latent {
            heads,
            kv_lora_rank: latent_dim,
            nope_dim,
            rope_dim,
            v_dim,
            bias,
            ..
        } = *shape;
        let hidden = self.config.hidden_size;
        let name = |part: &str| format!("{at}.self_attn.{part}");
        let q_width = heads * (nope_dim + rope_dim);
        let query = match shape.q_lora_rank {
            None => LatentQuery::Direct(self.linear(&name("q_proj"), q_width, hidden, false)?),
            Some(rank) => LatentQuery::Compressed {
                down: self.linear(&name("q_a_proj"), rank, hidden, bias)?,
                norm: self.rms_norm(&name("q_a_layernorm"), rank, LATENT_NORM_EPS)?,
                up: self.linear(&name("q_b_proj"), q_width, rank, false)?,
            },
        };
        let up = self.matrix(&name("kv_b_proj"), heads * (nope_dim + v_dim), latent_dim)?;
        let head_rows = |head: usize, from: usize, len: usize| {
            let start = head * (nope_dim + v_dim) + from;
            up.slice_rows(start, start + len)
        };
        let absorb = (0..heads)
            .map(|head| head_rows(head, 0, nope_dim).transposed())
            .collect();
        let value_up = (0..heads)
            .map(|head| head_rows(head, nope_dim, v_dim))
            .collect();
        let scale = self
            .attention_shape(layer, heads, 1, nope_dim + rope_dim, v_dim)
            .scale;
        Ok(AttentionBlock::Latent(LatentBlock {
            query,
            down: self.linear(
                &name("kv_a_proj_with_mqa"),
                latent_dim + rope_dim,
                hidden,
                bias,
            )?,
            latent_norm: self.rms_norm(&name("kv_a_layernorm"), latent_dim, LATENT_NORM_EPS)?,
            absorb: self.ops.head_linear(absorb),
            value_up: self.ops.head_linear(value_up),
            out: self.linear(&name("o_proj"), hidden, heads * v_dim, bias)?,
            widths: LatentShape {
                heads,
                nope_dim,
                rope_dim,
                latent_dim,
            },
            // In the absorbed form the scale is still that of the head's own width.
            shape: AttentionShape {
                scale,
                ..self.attention_shape(layer, heads, 1, latent_dim + rope_dim, latent_dim)
            },
        }))
    }

    fn mlp(&mut self, at: &str, layer: usize) -> Result<MlpBlock<O>, LoadError> {
        let kind = match &self.config.layers[layer].mlp {
            Mlp::Dense {
                intermediate, bias, ..
            } => MlpKind::Gated(self.gated(&format!("{at}.mlp"), *intermediate, *bias)?),
            Mlp::Moe(moe) => self.moe(at, moe)?,
        };
        Ok(MlpBlock {
            kind,
            activation: self.config.activation,
        })
    }

    fn gated(
        &mut self,
        at: &str,
        intermediate: usize,
        bias: bool,
    ) -> Result<GatedMlp<O>, LoadError> {
        let (gate, up) = (format!("{at}.gate_proj"), format!("{at}.up_proj"));
        let hidden = self.config.hidden_size;
        Ok(GatedMlp {
            gate_up: self.stacked(&[(&gate, intermediate), (&up, intermediate)], hidden, bias)?,
            down: self.linear(&format!("{at}.down_proj"), hidden, intermediate, bias)?,
        })
    }

    fn moe(&mut self, at: &str, moe: &Moe) -> Result<MlpKind<O>, LoadError> {
        let hidden = self.config.hidden_size;
        let (block, [gate, up, down]) = match self.config.family {
            Family::Mixtral => (format!("{at}.block_sparse_moe"), ["w1", "w3", "w2"]),
            _ => (format!("{at}.mlp"), ["gate_proj", "up_proj", "down_proj"]),
        };
        let router = self.matrix(&format!("{block}.gate"), moe.experts, hidden)?;
        let bias = match moe.scoring {
            Scoring::Softmax => None,
            Scoring::SigmoidWithBias => Some(self.vector(
                &format!("{block}.gate.e_score_correction_bias"),
                moe.experts,
            )?),
        };
        let mut gate_ups = Vec::with_capacity(moe.experts);
        let mut downs = Vec::with_capacity(moe.experts);
        for expert in 0..moe.experts {
            let at = format!("{block}.experts.{expert}");
            gate_ups.push(Matrix::stack(vec![
                self.matrix(&format!("{at}.{gate}"), moe.intermediate, hidden)?,
                self.matrix(&format!("{at}.{up}"), moe.intermediate, hidden)?,
            ]));
            downs.push(self.matrix(&format!("{at}.{down}"), hidden, moe.intermediate)?);
        }
        let shared = if moe.shared_intermediate > 0 {
            Some(self.gated(
                &format!("{block}.shared_experts"),
                moe.shared_intermediate,
                false,
            )?)
        } else {
            None
        };
        Ok(MlpKind::Moe {
            router: self.ops.router(router, bias, moe),
            experts: self.ops.experts(gate_ups, downs),
            shared,
        })
    }
}
