//! config.json of each family into the one description of [`crate::config`].
//!
//! A field that changes the arithmetic must be there and be understood. The only fields that may be absent are those that
//! published checkpoints leave out, and then they mean what `transformers` takes them for:
//!
//! | field | absent or null means |
//! | --- | --- |
//! | `tie_word_embeddings` | false; in GPT-2 true |
//! | `head_dim` | `hidden_size / num_attention_heads` (Llama, Mistral, Mixtral, Qwen2, Qwen3-MoE) |
//! | `num_key_value_heads` | `num_attention_heads` (Llama, DeepSeek) |
//! | `attention_bias`, `mlp_bias` | false |
//! | `rope_theta` | 10,000; in Mixtral 1,000,000 |
//! | `rope_scaling`, `rope_parameters` | no scaling |
//! | `original_max_position_embeddings` | `max_position_embeddings` |
//! | `beta_fast`, `beta_slow`, `truncate` of YaRN | 32, 1, true |
//! | `attention_factor` of YaRN | `0.1 ln(factor) + 1`, or the ratio that `mscale` and `mscale_all_dim` give |
//! | `use_sliding_window` (Qwen) | false |
//! | `sliding_window` (Mixtral) | none; Mistral must say null |
//! | `mlp_only_layers` (Qwen3-MoE) | none |
//! | `n_inner` (GPT-2) | `4 n_embd` |
//! | `norm_topk_prob` (DeepSeek-V2) | false |
//! | `rope_interleave` (DeepSeek) | true |
//! | `eos_token_id` | no token ends a generation |

mod deepseek;
mod dense;
mod moe;
mod rope;

use serde_json::Value;

use super::fields::{Fields, parse_json};
use super::quantised::Scheme;
use super::{LoadError, Source};
use crate::config::{Activation, Attention, Family, Grouped, Layer, Mlp, ModelConfig, Rope};

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";

/// More layers or experts than this are a mistake in the file, not a model.
const MAX_LAYERS: usize = 1 << 16;

impl Source {
    /// Reads config.json, and the tokens that end a generation from generation_config.json too.
    ///
    /// # Errors
    /// A file is missing or not JSON; the family is unknown; a field is missing, of the wrong type, impossible or not
    /// supported.
    pub fn config(&self) -> Result<ModelConfig, LoadError> {
        if let Source::Gguf(gguf) = self {
            return gguf.config();
        }
        let bytes = self.require(
            CONFIG,
            "a model folder needs its config.json; check the path",
        )?;
        let file = self.name_of(CONFIG);
        let mut config = parse(&file, &bytes)?;
        if let Some(bytes) = self.open(GENERATION)? {
            let file = self.name_of(GENERATION);
            let value = parse_json(&file, &bytes)?;
            add_eos(&mut config.eos_token_ids, &Fields::of(&file, &value)?)?;
        }
        Ok(config)
    }
}

fn parse(file: &str, bytes: &[u8]) -> Result<ModelConfig, LoadError> {
    let value = parse_json(file, bytes)?;
    from_fields(&Fields::of(file, &value)?)
}

/// The description of a family from its fields.
pub(super) fn from_fields(fields: &Fields) -> Result<ModelConfig, LoadError> {
    type Read = fn(&Fields) -> Result<ModelConfig, LoadError>;
    const FAMILIES: [(&str, Read); 9] = [
        ("gpt2", dense::gpt2),
        ("llama", dense::llama),
        ("mistral", dense::mistral),
        ("mixtral", moe::mixtral),
        ("qwen2", dense::qwen2),
        ("qwen3", dense::qwen3),
        ("qwen3_moe", moe::qwen3_moe),
        ("deepseek_v2", deepseek::v2),
        ("deepseek_v3", deepseek::v3),
    ];
    let model_type = fields
        .text_opt("model_type")?
        .ok_or_else(|| fields.missing("model_type"))?;
    let Some((_, read)) = FAMILIES.iter().find(|(name, _)| *name == model_type) else {
        return Err(LoadError::UnknownFamily {
            file: fields.file().to_string(),
            model_type: model_type.to_string(),
            known: FAMILIES.map(|(name, _)| name).join(", "),
        });
    };
    refuse_unsupported(fields)?;
    let mut config = read(fields)?;
    add_eos(&mut config.eos_token_ids, fields)?;
    Ok(config)
}

/// Fields of any family that would change the arithmetic and that no definition here follows.
fn refuse_unsupported(f: &Fields) -> Result<(), LoadError> {
    Scheme::of(f)?;
    let present = [
        ("attn_logit_softcapping", "scores are not capped here"),
        ("final_logit_softcapping", "logits are not capped here"),
        (
            "dual_chunk_attention_config",
            "dual chunk attention is not implemented; remove it for ordinary contexts",
        ),
    ];
    if let Some((name, why)) = present.into_iter().find(|(name, _)| f.get(name).is_some()) {
        return Err(f.unsupported(name, why));
    }
    let flags = [
        ("is_encoder_decoder", "only decoders load"),
        ("add_cross_attention", "there is no encoder to attend to"),
        ("use_mrope", "positions have one dimension here"),
    ];
    for (name, why) in flags {
        if f.flag_opt(name)? == Some(true) {
            return Err(f.unsupported(name, why));
        }
    }
    if f.positive_opt("partial_rotary_factor")?
        .is_some_and(|factor| factor != 1.0)
    {
        return Err(f.unsupported("partial_rotary_factor", "RoPE turns whole heads here"));
    }
    if f.count_opt("pretraining_tp")?
        .is_some_and(|ranks| ranks > 1)
    {
        return Err(f.unsupported(
            "pretraining_tp",
            "sliced linear layers are not implemented; 1 gives the same model",
        ));
    }
    Ok(())
}

/// Adds `eos_token_id`: a number, a list or null.
fn add_eos(ids: &mut Vec<u32>, f: &Fields) -> Result<(), LoadError> {
    let listed = match f.get("eos_token_id") {
        None => &[],
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    for value in listed {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| f.wrong_type("eos_token_id", "a token id or a list of them"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(())
}

/// What all families but GPT-2 spell the same.
fn decoder(
    f: &Fields,
    family: Family,
    attention: Attention,
    rope: Rope,
    layers: Vec<Layer>,
) -> Result<ModelConfig, LoadError> {
    Ok(ModelConfig {
        family,
        vocab_size: f.size("vocab_size")?,
        hidden_size: f.size("hidden_size")?,
        max_positions: f.size("max_position_embeddings")?,
        tied_embeddings: f.flag_opt("tie_word_embeddings")?.unwrap_or(false),
        norm_eps: f.positive("rms_norm_eps")? as f32,
        activation: activation(f, "hidden_act")?,
        attention,
        rope: Some(rope),
        layers,
        eos_token_ids: Vec::new(),
    })
}

/// Number of layers.
fn depth(f: &Fields, name: &str) -> Result<usize, LoadError> {
    match f.size(name)? {
        depth if depth > MAX_LAYERS => Err(f.bad(name, format!("at most {MAX_LAYERS}"))),
        depth => Ok(depth),
    }
}

fn activation(f: &Fields, name: &str) -> Result<Activation, LoadError> {
    match f.text_opt(name)?.ok_or_else(|| f.missing(name))? {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        _ => Err(f.unsupported(name, "known are silu, gelu, gelu_new and gelu_pytorch_tanh")),
    }
}

/// Where a family's configuration leaves the number of key/value heads to be understood.
enum KvHeads {
    /// It must be there.
    Required,
    /// As many as query heads.
    SameAsHeads,
}

/// Heads of grouped attention, without biases and norms of q and k.
fn heads(f: &Fields, kv: KvHeads) -> Result<Grouped, LoadError> {
    let heads = f.size("num_attention_heads")?;
    let kv_heads = match (f.size_opt("num_key_value_heads")?, kv) {
        (Some(kv_heads), _) => kv_heads,
        (None, KvHeads::SameAsHeads) => heads,
        (None, KvHeads::Required) => return Err(f.missing("num_key_value_heads")),
    };
    if !heads.is_multiple_of(kv_heads) {
        return Err(f.bad(
            "num_key_value_heads",
            format!("a divisor of num_attention_heads, {heads}"),
        ));
    }
    let head_dim = match f.size_opt("head_dim")? {
        Some(head_dim) => head_dim,
        None => head_share(f, "hidden_size", "num_attention_heads")?,
    };
    if !head_dim.is_multiple_of(2) {
        return Err(f.bad(
            "head_dim",
            format!("even, as RoPE turns pairs, but a head is {head_dim} wide"),
        ));
    }
    check_width(f, "num_attention_heads", heads, head_dim)?;
    Ok(Grouped {
        heads,
        kv_heads,
        head_dim,
        qkv_bias: false,
        out_bias: false,
        qk_norm: false,
    })
}

/// The width of a head that is a share of the residual stream.
fn head_share(f: &Fields, hidden: &str, heads: &str) -> Result<usize, LoadError> {
    let (width, count) = (f.size(hidden)?, f.size(heads)?);
    if !width.is_multiple_of(count) {
        return Err(f.bad(
            heads,
            format!("a divisor of {hidden}, {width}, where no head_dim is given"),
        ));
    }
    Ok(width / count)
}

/// Checks that all heads together have a width that a tensor can have.
fn check_width(f: &Fields, name: &str, heads: usize, width: usize) -> Result<(), LoadError> {
    match heads.checked_mul(width) {
        Some(total) if total <= 1 << 30 => Ok(()),
        _ => Err(f.bad(
            name,
            format!("small enough that {heads} times {width} is at most 2^30"),
        )),
    }
}

/// `intermediate_size` as a gated block.
fn gated(f: &Fields, bias: bool) -> Result<Mlp, LoadError> {
    Ok(Mlp::Dense {
        intermediate: f.size("intermediate_size")?,
        gated: true,
        bias,
    })
}
