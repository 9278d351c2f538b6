//! The families without experts: GPT-2, Llama, Mistral, Qwen2 and Qwen3.

use super::rope::rope;
use super::{KvHeads, activation, decoder, depth, gated, head_share, heads};
use crate::config::{Attention, Family, Grouped, Layer, Mlp, ModelConfig};
use crate::hf::LoadError;
use crate::hf::fields::Fields;

pub(super) fn gpt2(f: &Fields) -> Result<ModelConfig, LoadError> {
    if f.flag_opt("scale_attn_weights")? == Some(false) {
        return Err(f.unsupported(
            "scale_attn_weights",
            "scores are always divided by the root of the head's width",
        ));
    }
    if f.flag_opt("scale_attn_by_inverse_layer_idx")? == Some(true) {
        return Err(f.unsupported(
            "scale_attn_by_inverse_layer_idx",
            "scores are scaled alike in every layer",
        ));
    }
    let (hidden_size, heads) = (f.size("n_embd")?, f.size("n_head")?);
    let intermediate = match f.size_opt("n_inner")? {
        Some(width) => width,
        None => 4 * hidden_size,
    };
    let head_dim = head_share(f, "n_embd", "n_head")?;
    let attention = Grouped {
        heads,
        kv_heads: heads,
        head_dim,
        qkv_bias: true,
        out_bias: true,
        qk_norm: false,
    };
    let layer = Layer {
        sliding_window: None,
        mlp: Mlp::Dense {
            intermediate,
            gated: false,
            bias: true,
        },
    };
    Ok(ModelConfig {
        family: Family::Gpt2,
        vocab_size: f.size("vocab_size")?,
        hidden_size,
        max_positions: f.size("n_positions")?,
        tied_embeddings: f.flag_opt("tie_word_embeddings")?.unwrap_or(true),
        norm_eps: f.positive("layer_norm_epsilon")? as f32,
        activation: activation(f, "activation_function")?,
        attention: Attention::Grouped(attention),
        rope: None,
        layers: vec![layer; depth(f, "n_layer")?],
        eos_token_ids: Vec::new(),
    })
}

pub(super) fn llama(f: &Fields) -> Result<ModelConfig, LoadError> {
    let bias = f.flag_opt("attention_bias")?.unwrap_or(false);
    let attention = Grouped {
        qkv_bias: bias,
        out_bias: bias,
        ..heads(f, KvHeads::SameAsHeads)?
    };
    let mlp = gated(f, f.flag_opt("mlp_bias")?.unwrap_or(false))?;
    let layers = vec![
        Layer {
            sliding_window: None,
            mlp
        };
        depth(f, "num_hidden_layers")?
    ];
    decoder(
        f,
        Family::Llama,
        Attention::Grouped(attention),
        rope(f, 1e4, false, false)?,
        layers,
    )
}

pub(super) fn mistral(f: &Fields) -> Result<ModelConfig, LoadError> {
    let attention = Attention::Grouped(heads(f, KvHeads::Required)?);
    if !f.has("sliding_window") {
        return Err(f.missing("sliding_window"));
    }
    let layer = Layer {
        sliding_window: f.size_opt("sliding_window")?,
        mlp: gated(f, false)?,
    };
    let layers = vec![layer; depth(f, "num_hidden_layers")?];
    check_uniform(f, &layers)?;
    decoder(
        f,
        Family::Mistral,
        attention,
        rope(f, 1e4, false, false)?,
        layers,
    )
}

pub(super) fn qwen2(f: &Fields) -> Result<ModelConfig, LoadError> {
    let attention = Grouped {
        qkv_bias: true,
        ..heads(f, KvHeads::Required)?
    };
    let layers = windowed_layers(f)?;
    decoder(
        f,
        Family::Qwen2,
        Attention::Grouped(attention),
        rope(f, 1e4, false, false)?,
        layers,
    )
}

pub(super) fn qwen3(f: &Fields) -> Result<ModelConfig, LoadError> {
    // A head of Qwen3 is no share of the residual stream: the family's default of 128 would be a guess.
    f.size("head_dim")?;
    let bias = f.flag_opt("attention_bias")?.unwrap_or(false);
    let attention = Grouped {
        qkv_bias: bias,
        out_bias: bias,
        qk_norm: true,
        ..heads(f, KvHeads::Required)?
    };
    let layers = windowed_layers(f)?;
    decoder(
        f,
        Family::Qwen3,
        Attention::Grouped(attention),
        rope(f, 1e4, false, false)?,
        layers,
    )
}

/// Layers of Qwen2 and Qwen3: `layer_types` says which have a window; without it, those from `max_window_layers` up have one.
fn windowed_layers(f: &Fields) -> Result<Vec<Layer>, LoadError> {
    let depth = depth(f, "num_hidden_layers")?;
    let window = match f.flag_opt("use_sliding_window")? {
        Some(true) => f.size_opt("sliding_window")?,
        _ => None,
    };
    let windowed = match (layer_types(f, depth)?, window) {
        (Some(types), _) => types,
        (None, None) => vec![false; depth],
        (None, Some(_)) => {
            let first = f.count("max_window_layers")?;
            (0..depth).map(|layer| layer >= first).collect()
        }
    };
    if window.is_none() && windowed.contains(&true) {
        return Err(f.bad(
            "layer_types",
            "without sliding_attention, or with use_sliding_window and a sliding_window",
        ));
    }
    let mlp = gated(f, false)?;
    let layer = |has: bool| Layer {
        sliding_window: window.filter(|_| has),
        mlp: mlp.clone(),
    };
    Ok(windowed.into_iter().map(layer).collect())
}

/// For each layer, whether `layer_types` gives it a window.
fn layer_types(f: &Fields, depth: usize) -> Result<Option<Vec<bool>>, LoadError> {
    let Some(list) = f.list_opt("layer_types")? else {
        return Ok(None);
    };
    if list.len() != depth {
        return Err(f.bad(
            "layer_types",
            format!("a list of num_hidden_layers, {depth}, entries"),
        ));
    }
    let windowed = list.iter().map(|kind| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(f.unsupported(
            "layer_types",
            "known are full_attention and sliding_attention",
        )),
    });
    windowed.collect::<Result<_, _>>().map(Some)
}

/// Families whose layers are all alike ignore `layer_types`: one that says otherwise is refused.
pub(super) fn check_uniform(f: &Fields, layers: &[Layer]) -> Result<(), LoadError> {
    let Some(types) = layer_types(f, layers.len())? else {
        return Ok(());
    };
    if types
        .iter()
        .zip(layers)
        .any(|(&windowed, layer)| windowed != layer.sliding_window.is_some())
    {
        return Err(f.unsupported(
            "layer_types",
            "in this family all layers have sliding_window, or none if it is null",
        ));
    }
    Ok(())
}
