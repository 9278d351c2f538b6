//! The smallest configurations and weights that load, to break one thing in.

use attention_variants::config::ModelConfig;
use attention_variants::hf::LoadError;
use serde_json::{Value, json};

/// The name of a file of weights.
pub const FILE: &str = "model.safetensors";

/// Reads a configuration.
pub fn parse(config: &[u8]) -> Result<ModelConfig, LoadError> {
    super::source(&[("config.json", config)]).config()
}

/// Opens a file of weights.
pub fn open(file: &[u8]) -> Result<(), LoadError> {
    super::source(&[(FILE, file)]).weights().map(|_| ())
}

/// Two tensors of two types.
pub fn small_file() -> Vec<u8> {
    super::safetensors(&[
        ("a", "F32", &[2, 2], &[7; 16]),
        ("b", "BF16", &[3], &[8; 6]),
    ])
}

/// The fields that Llama needs, and its base frequency.
pub fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 97, "hidden_size": 40, "intermediate_size": 56, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "rope_theta": 10000.0
    })
}

/// The fields that DeepSeek-V2 or V3 needs.
pub fn deepseek(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "vocab_size": 97, "hidden_size": 40, "intermediate_size": 56,
        "moe_intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 5, "num_key_value_heads": 5,
        "n_shared_experts": 2, "n_routed_experts": 8, "routed_scaling_factor": 1.5, "kv_lora_rank": 16,
        "q_lora_rank": 12, "qk_rope_head_dim": 6, "v_head_dim": 7, "qk_nope_head_dim": 10, "n_group": 4,
        "topk_group": 2, "num_experts_per_tok": 3, "first_k_dense_replace": 1,
        "norm_topk_prob": model_type == "deepseek_v3", "hidden_act": "silu", "max_position_embeddings": 64,
        "topk_method": if model_type == "deepseek_v3" { "noaux_tc" } else { "group_limited_greedy" },
        "rms_norm_eps": 1e-6
    })
}

/// The fields that Qwen3-MoE needs, with experts in every second layer.
pub fn qwen3_moe() -> Value {
    json!({
        "model_type": "qwen3_moe", "vocab_size": 97, "hidden_size": 40, "intermediate_size": 56, "head_dim": 10,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "num_experts": 8, "num_experts_per_tok": 2,
        "moe_intermediate_size": 24, "decoder_sparse_step": 2, "norm_topk_prob": true
    })
}

/// The fields that GPT-2 needs.
pub fn gpt2() -> Value {
    json!({
        "model_type": "gpt2", "vocab_size": 97, "n_embd": 40, "n_head": 4, "n_layer": 2, "n_positions": 64,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"
    })
}

/// One of each kind.
pub fn families() -> [Value; 5] {
    [
        llama(),
        deepseek("deepseek_v2"),
        deepseek("deepseek_v3"),
        qwen3_moe(),
        gpt2(),
    ]
}
