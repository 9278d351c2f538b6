//! config.json of every family, as published and as `transformers` 5 writes it, becomes exactly the expected description.

mod folder;

use attention_variants::config::*;
use attention_variants::hf::{LoadError, Source};
use serde_json::{Value, json};

fn parse(config: &Value) -> Result<ModelConfig, LoadError> {
    folder::source(&[("config.json", config.to_string().as_bytes())]).config()
}

/// The same configuration with some fields replaced; null removes a field.
fn with(config: &Value, changes: Value) -> Value {
    let mut config = config.clone();
    let object = config.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value == &json!("ABSENT") {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    config
}

fn dense(intermediate: usize) -> Mlp {
    Mlp::Dense {
        intermediate,
        gated: true,
        bias: false,
    }
}

fn plain(theta: f32) -> Option<Rope> {
    Some(Rope {
        theta,
        scaling: RopeScaling::Plain,
        interleaved: false,
    })
}

fn all_layers(depth: usize, mlp: Mlp) -> Vec<Layer> {
    vec![
        Layer {
            sliding_window: None,
            mlp
        };
        depth
    ]
}

fn heads(heads: usize, kv_heads: usize, head_dim: usize) -> Grouped {
    Grouped {
        heads,
        kv_heads,
        head_dim,
        qkv_bias: false,
        out_bias: false,
        qk_norm: false,
    }
}

fn gpt2() -> Value {
    json!({
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
        "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "resid_pdrop": 0.1, "summary_type": "cls_index", "vocab_size": 50257
    })
}

#[test]
fn gpt2_as_published() {
    let expected = ModelConfig {
        family: Family::Gpt2,
        vocab_size: 50257,
        hidden_size: 768,
        max_positions: 1024,
        tied_embeddings: true,
        norm_eps: 1e-5,
        activation: Activation::GeluTanh,
        attention: Attention::Grouped(Grouped {
            qkv_bias: true,
            out_bias: true,
            ..heads(12, 12, 64)
        }),
        rope: None,
        layers: all_layers(
            12,
            Mlp::Dense {
                intermediate: 3072,
                gated: false,
                bias: true,
            },
        ),
        eos_token_ids: vec![50256],
    };
    assert_eq!(parse(&gpt2()).unwrap(), expected);
    let wider = with(
        &gpt2(),
        json!({"n_inner": 1000, "activation_function": "gelu", "tie_word_embeddings": false}),
    );
    let layers = all_layers(
        12,
        Mlp::Dense {
            intermediate: 1000,
            gated: false,
            bias: true,
        },
    );
    let expected = ModelConfig {
        activation: Activation::Gelu,
        tied_embeddings: false,
        layers,
        ..expected
    };
    assert_eq!(parse(&wider).unwrap(), expected);
}

/// Llama 3.2 1B as published.
fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
        "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072,
        "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.45.0", "use_cache": true, "vocab_size": 128256
    })
}

fn llama_expected() -> ModelConfig {
    let scaling = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 8192,
    };
    ModelConfig {
        family: Family::Llama,
        vocab_size: 128256,
        hidden_size: 2048,
        max_positions: 131072,
        tied_embeddings: true,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        attention: Attention::Grouped(heads(32, 8, 64)),
        rope: Some(Rope {
            theta: 500000.0,
            scaling,
            interleaved: false,
        }),
        layers: all_layers(16, dense(8192)),
        eos_token_ids: vec![128001, 128008, 128009],
    }
}

#[test]
fn llama_in_both_styles() {
    assert_eq!(parse(&llama()).unwrap(), llama_expected());
    let mut parameters = llama()["rope_scaling"].clone();
    parameters["rope_theta"] = json!(500000.0);
    let current = json!({"rope_scaling": "ABSENT", "rope_theta": "ABSENT", "torch_dtype": "ABSENT",
                         "dtype": "bfloat16", "rope_parameters": parameters});
    assert_eq!(parse(&with(&llama(), current)).unwrap(), llama_expected());
}

#[test]
fn llama_with_defaults_and_biases() {
    // The first Llama's file has no rope_theta, no num_key_value_heads, no head_dim and no biases.
    let bare = json!({
        "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 2, "rms_norm_eps": 1e-06,
        "rope_scaling": null, "vocab_size": 32000, "eos_token_id": 2, "bos_token_id": 1
    });
    let expected = ModelConfig {
        vocab_size: 32000,
        hidden_size: 4096,
        max_positions: 4096,
        tied_embeddings: false,
        norm_eps: 1e-6,
        attention: Attention::Grouped(heads(32, 32, 128)),
        rope: plain(10000.0),
        layers: all_layers(2, dense(11008)),
        eos_token_ids: vec![2],
        ..llama_expected()
    };
    assert_eq!(parse(&bare).unwrap(), expected);
    let biased = parse(&with(
        &bare,
        json!({"attention_bias": true, "mlp_bias": true}),
    ))
    .unwrap();
    let attention = Attention::Grouped(Grouped {
        qkv_bias: true,
        out_bias: true,
        ..heads(32, 32, 128)
    });
    let layers = all_layers(
        2,
        Mlp::Dense {
            intermediate: 11008,
            gated: true,
            bias: true,
        },
    );
    assert_eq!(
        biased,
        ModelConfig {
            attention,
            layers,
            ..expected
        }
    );
}

#[test]
fn linear_scaling_by_its_old_name() {
    let linear = with(
        &llama(),
        json!({"rope_scaling": {"type": "linear", "factor": 2}}),
    );
    assert_eq!(
        parse(&linear).unwrap().rope.unwrap().scaling,
        RopeScaling::Linear { factor: 2.0 }
    );
    let default = with(
        &llama(),
        json!({"rope_scaling": {"rope_type": "default", "type": "default"}}),
    );
    assert_eq!(parse(&default).unwrap().rope, plain(500000.0));
}

#[test]
fn mistral_windows() {
    let config = json!({
        "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
        "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768,
        "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 3, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32000
    });
    let expected = ModelConfig {
        family: Family::Mistral,
        vocab_size: 32000,
        hidden_size: 4096,
        max_positions: 32768,
        tied_embeddings: false,
        norm_eps: 1e-5,
        activation: Activation::Silu,
        attention: Attention::Grouped(heads(32, 8, 128)),
        rope: plain(10000.0),
        layers: vec![
            Layer {
                sliding_window: Some(4096),
                mlp: dense(14336)
            };
            3
        ],
        eos_token_ids: vec![2],
    };
    assert_eq!(parse(&config).unwrap(), expected);
    // Mistral Nemo's heads are no share of the residual stream, and it has no window.
    let nemo = parse(&with(
        &config,
        json!({"sliding_window": null, "head_dim": 160}),
    ))
    .unwrap();
    let attention = Attention::Grouped(heads(32, 8, 160));
    assert_eq!(
        nemo,
        ModelConfig {
            attention,
            layers: all_layers(3, dense(14336)),
            ..expected
        }
    );
    folder::message(
        parse(&with(&config, json!({"sliding_window": "ABSENT"}))),
        &["config.json", "sliding_window"],
    );
}

fn qwen2() -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
        "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
        "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 3, "model_type": "qwen2",
        "num_attention_heads": 14, "num_hidden_layers": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "use_cache": true, "use_sliding_window": false, "vocab_size": 151936
    })
}

fn windows(config: &Value) -> Vec<Option<usize>> {
    parse(config)
        .unwrap()
        .layers
        .iter()
        .map(|layer| layer.sliding_window)
        .collect()
}

#[test]
fn qwen2_biases_and_windows() {
    let expected = ModelConfig {
        family: Family::Qwen2,
        vocab_size: 151936,
        hidden_size: 896,
        max_positions: 32768,
        tied_embeddings: true,
        norm_eps: 1e-6,
        activation: Activation::Silu,
        attention: Attention::Grouped(Grouped {
            qkv_bias: true,
            ..heads(14, 2, 64)
        }),
        rope: plain(1000000.0),
        layers: all_layers(4, dense(4864)),
        eos_token_ids: vec![151645],
    };
    assert_eq!(parse(&qwen2()).unwrap(), expected);
    let (all, used) = (
        json!(vec!["full_attention"; 4]),
        json!({"use_sliding_window": true}),
    );
    assert_eq!(
        parse(&with(&qwen2(), json!({"layer_types": all}))).unwrap(),
        expected
    );
    let windowed = with(&qwen2(), used);
    assert_eq!(windows(&windowed), [None, None, None, Some(32768)]);
    let types = json!({"layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]});
    assert_eq!(
        windows(&with(&windowed, types.clone())),
        [Some(32768), None, Some(32768), None]
    );
    // A window that the switch turns off, but that the layers ask for, is a contradiction.
    folder::message(
        parse(&with(&qwen2(), types)),
        &["config.json", "layer_types"],
    );
}

#[test]
fn qwen3_norms_and_yarn() {
    let config = json!({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "bos_token_id": 151643,
        "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
        "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
        "num_attention_heads": 16, "num_hidden_layers": 2, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
        "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936
    });
    let expected = ModelConfig {
        family: Family::Qwen3,
        vocab_size: 151936,
        hidden_size: 1024,
        max_positions: 40960,
        tied_embeddings: true,
        norm_eps: 1e-6,
        activation: Activation::Silu,
        attention: Attention::Grouped(Grouped {
            qk_norm: true,
            ..heads(16, 8, 128)
        }),
        rope: plain(1000000.0),
        layers: all_layers(2, dense(3072)),
        eos_token_ids: vec![151645],
    };
    assert_eq!(parse(&config).unwrap(), expected);
    let yarn =
        json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768});
    let scaling = RopeScaling::Yarn {
        factor: 4.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_max_positions: 32768,
        attention_factor: 1.138_629_4, // 0.1 ln(4) + 1
        softmax_factor: 1.0,
        truncate: true,
    };
    let rope = Some(Rope {
        theta: 1e6,
        scaling,
        interleaved: false,
    });
    assert_eq!(
        parse(&with(&config, json!({"rope_scaling": yarn}))).unwrap(),
        ModelConfig { rope, ..expected }
    );
    folder::message(
        parse(&with(&config, json!({"head_dim": "ABSENT"}))),
        &["config.json", "head_dim"],
    );
}

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

#[test]
fn end_tokens_of_both_files() {
    let files = |config: Value, generation: Value| -> Source {
        let config = with(&llama(), config).to_string();
        folder::source(&[
            ("config.json", config.as_bytes()),
            ("generation_config.json", generation.to_string().as_bytes()),
        ])
    };
    let ids = |source: Source| source.config().unwrap().eos_token_ids;
    assert_eq!(
        ids(files(
            json!({"eos_token_id": 7}),
            json!({"eos_token_id": [8, 7, 9]})
        )),
        [7, 8, 9]
    );
    assert_eq!(
        ids(files(
            json!({"eos_token_id": null}),
            json!({"eos_token_id": 3})
        )),
        [3]
    );
    assert_eq!(ids(files(json!({"eos_token_id": [4, 4]}), json!({}))), [4]);
    assert!(ids(files(json!({"eos_token_id": "ABSENT"}), json!({}))).is_empty());
    for bad in [
        json!("x"),
        json!(-1),
        json!([1, "x"]),
        json!(1.5),
        json!(1u64 << 32),
    ] {
        let source = files(json!({}), json!({"eos_token_id": bad}));
        folder::message(source.config(), &["generation_config.json", "eos_token_id"]);
    }
}
