//! config.json of the families with experts, as published and as `transformers` 5 writes it, becomes exactly the expected
//! description.

mod folder;

use attention_variants::config::*;
use folder::expected::{all_layers, dense, heads, parse, plain, with};
use serde_json::{Value, json};

fn softmax_experts(experts: usize, top_k: usize, intermediate: usize, renormalise: bool) -> Moe {
    let scoring = Scoring::Softmax;
    let shared_intermediate = 0;
    Moe {
        experts,
        top_k,
        intermediate,
        shared_intermediate,
        scoring,
        renormalise,
        scale: 1.0,
        groups: 1,
        top_groups: 1,
    }
}

#[test]
fn mixtral_experts() {
    let config = json!({
        "architectures": ["MixtralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral",
        "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_key_value_heads": 8,
        "num_local_experts": 8, "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.02, "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 32000
    });
    let expected = ModelConfig {
        family: Family::Mixtral,
        vocab_size: 32000,
        hidden_size: 4096,
        max_positions: 32768,
        tied_embeddings: false,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        attention: Attention::Grouped(heads(32, 8, 128)),
        rope: plain(1000000.0),
        layers: all_layers(2, Mlp::Moe(softmax_experts(8, 2, 14336, true))),
        eos_token_ids: vec![2],
    };
    assert_eq!(parse(&config).unwrap(), expected);
    assert_eq!(
        parse(&with(&config, json!({"rope_theta": "ABSENT"}))).unwrap(),
        expected
    );
}

#[test]
fn qwen3_moe_layers() {
    let config = json!({
        "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "bos_token_id": 151643,
        "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048,
        "intermediate_size": 6144, "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [],
        "model_type": "qwen3_moe", "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32,
        "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 6, "num_key_value_heads": 4,
        "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000.0, "sliding_window": null,
        "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936
    });
    let moe = Mlp::Moe(softmax_experts(128, 8, 768, true));
    let expected = ModelConfig {
        family: Family::Qwen3Moe,
        vocab_size: 151936,
        hidden_size: 2048,
        max_positions: 40960,
        tied_embeddings: false,
        norm_eps: 1e-6,
        activation: Activation::Silu,
        attention: Attention::Grouped(Grouped {
            qk_norm: true,
            ..heads(32, 4, 128)
        }),
        rope: plain(1000000.0),
        layers: all_layers(6, moe.clone()),
        eos_token_ids: vec![151645],
    };
    assert_eq!(parse(&config).unwrap(), expected);
    let renamed = with(
        &config,
        json!({"num_experts": "ABSENT", "num_local_experts": 128}),
    );
    assert_eq!(parse(&renamed).unwrap(), expected);
    // Experts in every second layer, counted from one, but never in layer 3.
    let sparse = with(
        &config,
        json!({"decoder_sparse_step": 2, "mlp_only_layers": [3], "norm_topk_prob": false}),
    );
    let moe = Mlp::Moe(softmax_experts(128, 8, 768, false));
    let mlps: Vec<Mlp> = parse(&sparse)
        .unwrap()
        .layers
        .into_iter()
        .map(|layer| layer.mlp)
        .collect();
    assert_eq!(
        mlps,
        [
            dense(6144),
            moe.clone(),
            dense(6144),
            dense(6144),
            dense(6144),
            moe
        ]
    );
}

fn deepseek_v2_lite() -> Value {
    json!({
        "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "aux_loss_alpha": 0.001,
        "bos_token_id": 100000, "eos_token_id": 100001, "first_k_dense_replace": 1, "hidden_act": "silu",
        "hidden_size": 2048, "intermediate_size": 10944, "kv_lora_rank": 512, "max_position_embeddings": 163840,
        "model_type": "deepseek_v2", "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1,
        "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": false, "num_attention_heads": 16,
        "num_experts_per_tok": 6, "num_hidden_layers": 3, "num_key_value_heads": 16, "pretraining_tp": 1,
        "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
                         "original_max_position_embeddings": 4096, "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax", "seq_aux": true,
        "tie_word_embeddings": false, "topk_group": 1, "topk_method": "greedy", "v_head_dim": 128, "vocab_size": 102400
    })
}

fn yarn(softmax_factor: f32, original_max_positions: usize) -> RopeScaling {
    RopeScaling::Yarn {
        factor: 40.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_max_positions,
        attention_factor: 1.0,
        softmax_factor,
        truncate: true,
    }
}

fn deepseek_layers(depth: usize, dense_layers: usize, intermediate: usize, moe: Moe) -> Vec<Layer> {
    let mlp = |index| {
        if index < dense_layers {
            dense(intermediate)
        } else {
            Mlp::Moe(moe.clone())
        }
    };
    (0..depth)
        .map(|index| Layer {
            sliding_window: None,
            mlp: mlp(index),
        })
        .collect()
}

#[test]
fn deepseek_v2_lite_and_full() {
    let moe = Moe {
        shared_intermediate: 2816,
        ..softmax_experts(64, 6, 1408, false)
    };
    // (0.1 * 0.707 ln(40) + 1)^2
    let rope = Rope {
        theta: 10000.0,
        scaling: yarn(1.589_626_2, 4096),
        interleaved: true,
    };
    let latent = Latent {
        heads: 16,
        q_lora_rank: None,
        kv_lora_rank: 512,
        nope_dim: 128,
        rope_dim: 64,
        v_dim: 128,
        bias: false,
    };
    let expected = ModelConfig {
        family: Family::DeepseekV2,
        vocab_size: 102400,
        hidden_size: 2048,
        max_positions: 163840,
        tied_embeddings: false,
        norm_eps: 1e-6,
        activation: Activation::Silu,
        attention: Attention::Latent(latent.clone()),
        rope: Some(rope),
        layers: deepseek_layers(3, 1, 10944, moe.clone()),
        eos_token_ids: vec![100001],
    };
    assert_eq!(parse(&deepseek_v2_lite()).unwrap(), expected);
    let full = with(
        &deepseek_v2_lite(),
        json!({"q_lora_rank": 1536, "topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3,
               "routed_scaling_factor": 16.0}),
    );
    let moe = Moe {
        groups: 8,
        top_groups: 3,
        scale: 16.0,
        ..moe
    };
    let layers = deepseek_layers(3, 1, 10944, moe);
    let attention = Attention::Latent(Latent {
        q_lora_rank: Some(1536),
        ..latent
    });
    assert_eq!(
        parse(&full).unwrap(),
        ModelConfig {
            layers,
            attention,
            ..expected
        }
    );
    // Null projects queries directly; absence says nothing.
    folder::message(
        parse(&with(&full, json!({"q_lora_rank": "ABSENT"}))),
        &["config.json", "q_lora_rank"],
    );
}

#[test]
fn deepseek_v3() {
    let config = json!({
        "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "bos_token_id": 0, "eos_token_id": 1,
        "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168,
        "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
        "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
        "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 128,
        "num_experts_per_tok": 8, "num_hidden_layers": 5, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
        "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
                         "original_max_position_embeddings": 4096, "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": false,
        "topk_group": 4, "topk_method": "noaux_tc", "v_head_dim": 128, "vocab_size": 129280
    });
    let moe = Moe {
        experts: 256,
        top_k: 8,
        intermediate: 2048,
        shared_intermediate: 2048,
        scoring: Scoring::SigmoidWithBias,
        renormalise: true,
        scale: 2.5,
        groups: 8,
        top_groups: 4,
    };
    let latent = Latent {
        heads: 128,
        q_lora_rank: Some(1536),
        kv_lora_rank: 512,
        nope_dim: 128,
        rope_dim: 64,
        v_dim: 128,
        bias: false,
    };
    let expected = ModelConfig {
        family: Family::DeepseekV3,
        vocab_size: 129280,
        hidden_size: 7168,
        max_positions: 163840,
        tied_embeddings: false,
        norm_eps: 1e-6,
        activation: Activation::Silu,
        attention: Attention::Latent(latent),
        // (0.1 ln(40) + 1)^2
        rope: Some(Rope {
            theta: 10000.0,
            scaling: yarn(1.873_854_2, 4096),
            interleaved: true,
        }),
        layers: deepseek_layers(5, 3, 18432, moe),
        eos_token_ids: vec![1],
    };
    assert_eq!(parse(&config).unwrap(), expected);
    // As transformers 5 writes it: one object, both names of the kind, and the pairing spelt out.
    let mut parameters = config["rope_scaling"].clone();
    parameters["rope_type"] = json!("yarn");
    parameters["rope_theta"] = json!(10000);
    let changes = json!({"rope_scaling": "ABSENT", "rope_theta": "ABSENT", "rope_parameters": parameters,
                         "rope_interleave": false, "scoring_func": "ABSENT", "topk_method": "ABSENT"});
    let rope = expected.rope.clone().map(|rope| Rope {
        interleaved: false,
        ..rope
    });
    assert_eq!(
        parse(&with(&config, changes)).unwrap(),
        ModelConfig { rope, ..expected }
    );
}
