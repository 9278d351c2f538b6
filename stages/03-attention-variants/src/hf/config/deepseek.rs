//! DeepSeek-V2 and V3: multi-head latent attention, and experts chosen by groups beside shared ones.

use super::moe::expert_counts;
use super::rope::rope;
use super::{check_width, decoder, depth, gated};
use crate::config::{Attention, Family, Latent, Layer, Mlp, ModelConfig, Moe, Scoring};
use crate::hf::LoadError;
use crate::hf::fields::Fields;

pub(super) fn v2(f: &Fields) -> Result<ModelConfig, LoadError> {
    if f.flag_opt("mlp_bias")? == Some(true) {
        return Err(f.unsupported("mlp_bias", "experts have no biases"));
    }
    if f.flag_opt("norm_topk_prob")? == Some(true) {
        return Err(f.unsupported(
            "norm_topk_prob",
            "published code disagrees on what it means in DeepSeek-V2",
        ));
    }
    expect_text(f, "scoring_func", "softmax")?;
    if f.flag_opt("rope_interleave")? == Some(false) {
        return Err(f.unsupported(
            "rope_interleave",
            "DeepSeek-V2 always turns neighbouring pairs",
        ));
    }
    let limited = match f
        .text_opt("topk_method")?
        .ok_or_else(|| f.missing("topk_method"))?
    {
        "greedy" => false,
        "group_limited_greedy" => true,
        _ => return Err(f.unsupported("topk_method", "known are greedy and group_limited_greedy")),
    };
    let moe = experts(f, Scoring::Softmax, limited, false)?;
    model(f, Family::DeepseekV2, true, moe)
}

pub(super) fn v3(f: &Fields) -> Result<ModelConfig, LoadError> {
    expect_text(f, "scoring_func", "sigmoid")?;
    expect_text(f, "topk_method", "noaux_tc")?;
    let renormalise = f
        .flag_opt("norm_topk_prob")?
        .ok_or_else(|| f.missing("norm_topk_prob"))?;
    let moe = experts(f, Scoring::SigmoidWithBias, true, renormalise)?;
    model(
        f,
        Family::DeepseekV3,
        f.flag_opt("rope_interleave")?.unwrap_or(true),
        moe,
    )
}

fn model(
    f: &Fields,
    family: Family,
    interleaved: bool,
    moe: Moe,
) -> Result<ModelConfig, LoadError> {
    if f.count_opt("moe_layer_freq")?
        .is_some_and(|every| every != 1)
    {
        return Err(f.unsupported(
            "moe_layer_freq",
            "experts are in every layer from first_k_dense_replace up",
        ));
    }
    let first_sparse = f.count("first_k_dense_replace")?;
    let dense = gated(f, false)?;
    let layer = |index| {
        let mlp = if index < first_sparse {
            dense.clone()
        } else {
            Mlp::Moe(moe.clone())
        };
        Layer {
            sliding_window: None,
            mlp,
        }
    };
    let layers = (0..depth(f, "num_hidden_layers")?).map(layer).collect();
    decoder(
        f,
        family,
        Attention::Latent(latent(f)?),
        rope(f, 1e4, interleaved, true)?,
        layers,
    )
}

fn latent(f: &Fields) -> Result<Latent, LoadError> {
    let heads = f.size("num_attention_heads")?;
    if f.size_opt("num_key_value_heads")?
        .is_some_and(|kv_heads| kv_heads != heads)
    {
        return Err(f.bad(
            "num_key_value_heads",
            format!("num_attention_heads, {heads}: each head has its own projection"),
        ));
    }
    if !f.has("q_lora_rank") {
        return Err(f.missing("q_lora_rank"));
    }
    let (nope_dim, rope_dim, v_dim) = (
        f.size("qk_nope_head_dim")?,
        f.size("qk_rope_head_dim")?,
        f.size("v_head_dim")?,
    );
    if !rope_dim.is_multiple_of(2) {
        return Err(f.bad("qk_rope_head_dim", "even, as RoPE turns pairs"));
    }
    check_width(f, "num_attention_heads", heads, nope_dim + rope_dim)?;
    check_width(f, "num_attention_heads", heads, nope_dim + v_dim)?;
    Ok(Latent {
        heads,
        q_lora_rank: f.size_opt("q_lora_rank")?,
        kv_lora_rank: f.size("kv_lora_rank")?,
        nope_dim,
        rope_dim,
        v_dim,
        bias: f.flag_opt("attention_bias")?.unwrap_or(false),
    })
}

fn experts(
    f: &Fields,
    scoring: Scoring,
    limited: bool,
    renormalise: bool,
) -> Result<Moe, LoadError> {
    let (experts, top_k) = expert_counts(f, "n_routed_experts")?;
    let intermediate = f.size("moe_intermediate_size")?;
    let shared = f.count("n_shared_experts")?;
    check_width(f, "n_shared_experts", shared, intermediate)?;
    let (groups, top_groups) = if limited {
        groups(f, experts, top_k, scoring)?
    } else {
        (1, 1)
    };
    Ok(Moe {
        experts,
        top_k,
        intermediate,
        shared_intermediate: shared * intermediate,
        scoring,
        renormalise,
        scale: f.positive("routed_scaling_factor")? as f32,
        groups,
        top_groups,
    })
}

/// `n_group` and `topk_group`, which must leave enough experts to choose from.
fn groups(
    f: &Fields,
    experts: usize,
    top_k: usize,
    scoring: Scoring,
) -> Result<(usize, usize), LoadError> {
    let (groups, top_groups) = (f.size("n_group")?, f.size("topk_group")?);
    if !experts.is_multiple_of(groups) {
        return Err(f.bad(
            "n_group",
            format!("a divisor of n_routed_experts, {experts}"),
        ));
    }
    let per_group = experts / groups;
    if scoring == Scoring::SigmoidWithBias && per_group < 2 {
        return Err(f.bad(
            "n_group",
            "such that a group has at least the two experts that its score is made of",
        ));
    }
    if top_groups > groups {
        return Err(f.bad("topk_group", format!("at most n_group, {groups}")));
    }
    if top_k > top_groups * per_group {
        return Err(f.bad(
            "num_experts_per_tok",
            format!(
                "at most the {} experts of topk_group groups",
                top_groups * per_group
            ),
        ));
    }
    Ok((groups, top_groups))
}

/// A field that, where it is there, can only say what the family does.
fn expect_text(f: &Fields, name: &str, only: &'static str) -> Result<(), LoadError> {
    match f.text_opt(name)? {
        Some(text) if text != only => {
            Err(f.unsupported(name, "this family has one way only; see its other fields"))
        }
        _ => Ok(()),
    }
}
