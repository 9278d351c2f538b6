//! The families with softmax-routed experts behind grouped attention: Mixtral and Qwen3-MoE.

use super::dense::check_uniform;
use super::rope::rope;
use super::{KvHeads, MAX_LAYERS, decoder, depth, gated, heads};
use crate::config::{Attention, Family, Grouped, Layer, Mlp, ModelConfig, Moe, Scoring};
use crate::hf::LoadError;
use crate::hf::fields::Fields;

pub(super) fn mixtral(f: &Fields) -> Result<ModelConfig, LoadError> {
    let attention = Attention::Grouped(heads(f, KvHeads::Required)?);
    let moe = softmax_experts(f, "num_local_experts", "intermediate_size", true)?;
    let layer = Layer {
        sliding_window: f.size_opt("sliding_window")?,
        mlp: Mlp::Moe(moe),
    };
    let layers = vec![layer; depth(f, "num_hidden_layers")?];
    check_uniform(f, &layers)?;
    decoder(
        f,
        Family::Mixtral,
        attention,
        rope(f, 1e6, false, false)?,
        layers,
    )
}

pub(super) fn qwen3_moe(f: &Fields) -> Result<ModelConfig, LoadError> {
    let bias = f.flag_opt("attention_bias")?.unwrap_or(false);
    let attention = Grouped {
        qkv_bias: bias,
        out_bias: bias,
        qk_norm: true,
        ..heads(f, KvHeads::Required)?
    };
    let sliding_window = match f.flag_opt("use_sliding_window")? {
        Some(true) => f.size_opt("sliding_window")?,
        _ => None,
    };
    let dense_only = dense_only(f)?;
    let step = f.size("decoder_sparse_step")?;
    let renormalise = f
        .flag_opt("norm_topk_prob")?
        .ok_or_else(|| f.missing("norm_topk_prob"))?;
    // The library that writes these files renamed the field; both names are in use.
    let experts = if f.get("num_local_experts").is_some() {
        "num_local_experts"
    } else {
        "num_experts"
    };
    if f.get("num_experts").is_some() && f.get("num_experts") != f.get(experts) {
        return Err(f.bad("num_experts", "the same as num_local_experts, or absent"));
    }
    let moe = softmax_experts(f, experts, "moe_intermediate_size", renormalise)?;
    let layer = |index: usize| -> Result<Layer, LoadError> {
        let sparse = !dense_only.contains(&(index as u64)) && (index + 1).is_multiple_of(step);
        Ok(Layer {
            sliding_window,
            mlp: if sparse {
                Mlp::Moe(moe.clone())
            } else {
                gated(f, false)?
            },
        })
    };
    let layers = (0..depth(f, "num_hidden_layers")?)
        .map(layer)
        .collect::<Result<Vec<_>, _>>()?;
    check_uniform(f, &layers)?;
    decoder(
        f,
        Family::Qwen3Moe,
        Attention::Grouped(attention),
        rope(f, 1e4, false, false)?,
        layers,
    )
}

/// `mlp_only_layers`: indices of layers without experts.
fn dense_only(f: &Fields) -> Result<Vec<u64>, LoadError> {
    let list = f.list_opt("mlp_only_layers")?.into_iter().flatten();
    list.map(|index| {
        index
            .as_u64()
            .ok_or_else(|| f.wrong_type("mlp_only_layers", "a list of layer indices"))
    })
    .collect()
}

/// Experts without groups, shared experts or scale.
fn softmax_experts(
    f: &Fields,
    count: &str,
    width: &str,
    renormalise: bool,
) -> Result<Moe, LoadError> {
    let (experts, top_k) = expert_counts(f, count)?;
    Ok(Moe {
        experts,
        top_k,
        intermediate: f.size(width)?,
        shared_intermediate: 0,
        scoring: Scoring::Softmax,
        renormalise,
        scale: 1.0,
        groups: 1,
        top_groups: 1,
    })
}

/// How many experts there are and how many of them a token visits.
pub(super) fn expert_counts(f: &Fields, count: &str) -> Result<(usize, usize), LoadError> {
    let (experts, top_k) = (f.size(count)?, f.size("num_experts_per_tok")?);
    if experts > MAX_LAYERS {
        return Err(f.bad(count, format!("at most {MAX_LAYERS}")));
    }
    if top_k > experts {
        return Err(f.bad(
            "num_experts_per_tok",
            format!("at most the number of experts, {experts}"),
        ));
    }
    Ok((experts, top_k))
}
