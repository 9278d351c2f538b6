//! config.json of the families without experts, as published and as `transformers` 5 writes it, becomes exactly the expected
//! description.

mod folder;

use attention_variants::config::*;
use attention_variants::hf::Source;
use folder::expected::{all_layers, dense, heads, parse, plain, with};
use serde_json::{Value, json};

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
    // DeepSeek's magnitudes move cosines and sines here too, but the softmax only in DeepSeek's own attention:
    // (0.1 * 1 * ln(4) + 1) / (0.1 * 0.5 * ln(4) + 1).
    let magnitudes = json!({"type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16});
    let rope = parse(&with(&config, json!({"rope_scaling": magnitudes})))
        .unwrap()
        .rope
        .unwrap();
    let expected = RopeScaling::Yarn {
        factor: 4.0,
        beta_fast: 16.0,
        beta_slow: 1.0,
        original_max_positions: 40960,
        attention_factor: 1.064_821_6,
        softmax_factor: 1.0,
        truncate: true,
    };
    assert_eq!(rope.scaling, expected);
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
