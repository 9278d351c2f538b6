//! A config.json with something wrong in it gives an error that names the file and the field.

mod folder;

use attention_variants::hf::{LoadError, Source};
use folder::minimal::{deepseek, families, gpt2, llama, parse, qwen3_moe};
use folder::{message, source};
use serde_json::{Value, json};

#[test]
fn a_config_that_is_no_config() {
    message(source(&[]).config(), &["config.json", "not found"]);
    let missing = Source::Dir("no/such/folder".into());
    message(
        missing.config(),
        &["no/such/folder/config.json", "not found"],
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("config.json")).unwrap();
    let error = Source::Dir(folder.path().to_path_buf())
        .config()
        .unwrap_err();
    assert!(matches!(error, LoadError::Io { .. }), "{error}");
    for garbage in [
        "",
        "{",
        "\u{0}",
        "{\"model_type\": \"llama\",}",
        "\u{feff}{}",
    ] {
        assert!(
            matches!(parse(garbage.as_bytes()), Err(LoadError::Json { .. })),
            "{garbage:?}"
        );
    }
    assert!(
        matches!(parse(&[b'['; 100_000]), Err(LoadError::Json { .. })),
        "deep nesting"
    );
    for other in ["[]", "3", "null", "\"llama\""] {
        let error = parse(other.as_bytes()).unwrap_err();
        assert!(matches!(error, LoadError::WrongType { .. }), "{error}");
        message::<()>(Err(error), &["config.json", "object"]);
    }
    message(parse(b"{}"), &["config.json", "model_type", "missing"]);
    message(
        parse(b"{\"model_type\": 3}"),
        &["config.json", "model_type", "string"],
    );
    let error = parse(b"{\"model_type\": \"mamba\"}").unwrap_err();
    assert!(matches!(error, LoadError::UnknownFamily { .. }));
    message::<()>(
        Err(error),
        &["config.json", "model_type", "mamba", "llama", "deepseek_v3"],
    );
}

/// Every field of these minimal configurations is needed, except where null has the documented meaning.
#[test]
fn each_needed_field_is_missed_by_name() {
    let optional = [
        "rope_theta",
        "num_key_value_heads",
        "model_type",
        "norm_topk_prob",
        "topk_method",
        "head_dim",
    ];
    for config in families() {
        parse(config.to_string().as_bytes()).unwrap();
        for (name, value) in config.as_object().unwrap() {
            if optional.contains(&name.as_str()) {
                continue;
            }
            let mut without = config.clone();
            without.as_object_mut().unwrap().remove(name);
            let error = parse(without.to_string().as_bytes()).unwrap_err();
            assert!(
                matches!(&error, LoadError::MissingField { field, .. } if field == name),
                "{name}: {error}"
            );
            let wrong = if value.is_string() {
                json!(17)
            } else {
                json!("seventeen")
            };
            without[name] = wrong;
            let error = parse(without.to_string().as_bytes()).unwrap_err();
            assert!(
                matches!(&error, LoadError::WrongType { field, .. } if field == name),
                "{name}: {error}"
            );
        }
    }
}

/// Changes one configuration and expects an error that names the field.
fn refused(config: &Value, changes: Value, field: &str) -> LoadError {
    let mut config = config.clone();
    config
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    let error = parse(config.to_string().as_bytes()).expect_err(&changes.to_string());
    let message = error.to_string();
    assert!(
        message.contains(&format!("`{field}`")) && message.contains("config.json"),
        "{changes}: {message}"
    );
    error
}

#[test]
fn values_that_cannot_be() {
    let bad = |config: &Value, changes: Value, field: &str| {
        let error = refused(config, changes, field);
        assert!(matches!(error, LoadError::BadValue { .. }), "{error}");
    };
    let (llama, v2, v3) = (llama(), deepseek("deepseek_v2"), deepseek("deepseek_v3"));
    for name in [
        "vocab_size",
        "hidden_size",
        "num_attention_heads",
        "num_hidden_layers",
        "max_position_embeddings",
    ] {
        bad(&llama, json!({name: 0}), name);
        bad(&llama, json!({name: u64::MAX}), name);
        bad(&llama, json!({name: (1u64 << 30) + 1}), name);
    }
    bad(
        &llama,
        json!({"num_hidden_layers": 1 << 30}),
        "num_hidden_layers",
    );
    bad(
        &llama,
        json!({"num_attention_heads": 1 << 20, "num_key_value_heads": 1, "head_dim": 1 << 20}),
        "num_attention_heads",
    );
    bad(
        &llama,
        json!({"num_key_value_heads": 3}),
        "num_key_value_heads",
    );
    bad(
        &llama,
        json!({"num_attention_heads": 6, "num_key_value_heads": 3}),
        "num_attention_heads",
    );
    bad(&llama, json!({"head_dim": 9}), "head_dim");
    bad(&llama, json!({"hidden_size": 36}), "head_dim");
    for epsilon in [json!(0), json!(-1e-5), json!(1e300), json!(1e-300)] {
        bad(&llama, json!({"rms_norm_eps": epsilon}), "rms_norm_eps");
    }
    bad(&llama, json!({"rope_theta": 1.0}), "rope_theta");
    bad(
        &llama,
        json!({"rope_parameters": {"rope_theta": 5000.0}}),
        "rope_theta",
    );
    bad(
        &llama,
        json!({"rope_scaling": {"type": "linear", "rope_type": "yarn", "factor": 2}}),
        "rope_scaling.type",
    );
    bad(
        &llama,
        json!({"rope_scaling": {"type": "linear", "factor": 0}}),
        "rope_scaling.factor",
    );
    bad(
        &llama,
        json!({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {}}),
        "rope_scaling",
    );
    let llama3 =
        json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4});
    bad(
        &llama,
        json!({"rope_scaling": llama3}),
        "rope_scaling.high_freq_factor",
    );
    let yarn = json!({"rope_type": "yarn", "factor": 8, "beta_fast": 1, "beta_slow": 2});
    bad(
        &llama,
        json!({"rope_parameters": yarn}),
        "rope_parameters.beta_fast",
    );
    bad(
        &v2,
        json!({"num_key_value_heads": 1}),
        "num_key_value_heads",
    );
    bad(&v2, json!({"qk_rope_head_dim": 5}), "qk_rope_head_dim");
    bad(&v2, json!({"n_group": 3}), "n_group");
    bad(&v2, json!({"topk_group": 5}), "topk_group");
    bad(
        &v2,
        json!({"num_experts_per_tok": 5}),
        "num_experts_per_tok",
    );
    bad(
        &v2,
        json!({"num_experts_per_tok": 9}),
        "num_experts_per_tok",
    );
    bad(
        &v2,
        json!({"n_routed_experts": 1 << 20}),
        "n_routed_experts",
    );
    bad(
        &v2,
        json!({"n_shared_experts": 1 << 20, "moe_intermediate_size": 1 << 20}),
        "n_shared_experts",
    );
    bad(&v3, json!({"n_group": 8}), "n_group");
    let missing = refused(
        &qwen3_moe(),
        json!({"num_key_value_heads": null}),
        "num_key_value_heads",
    );
    assert!(matches!(missing, LoadError::MissingField { .. }));
    bad(&qwen3_moe(), json!({"num_local_experts": 9}), "num_experts");
    bad(
        &qwen3_moe(),
        json!({"num_experts_per_tok": 9}),
        "num_experts_per_tok",
    );
    bad(&gpt2(), json!({"n_head": 7}), "n_head");
    let wrong = refused(
        &qwen3_moe(),
        json!({"mlp_only_layers": [-1]}),
        "mlp_only_layers",
    );
    assert!(matches!(wrong, LoadError::WrongType { .. }));
    let missing = refused(
        &llama,
        json!({"rope_scaling": {"type": "yarn"}}),
        "rope_scaling.factor",
    );
    assert!(matches!(missing, LoadError::MissingField { .. }));
}

#[test]
fn arithmetic_that_is_not_implemented() {
    let unsupported = |config: &Value, changes: Value, field: &str| {
        let error = refused(config, changes, field);
        assert!(matches!(error, LoadError::Unsupported { .. }), "{error}");
    };
    let (llama, v2, v3) = (llama(), deepseek("deepseek_v2"), deepseek("deepseek_v3"));
    unsupported(&llama, json!({"hidden_act": "relu"}), "hidden_act");
    unsupported(
        &llama,
        json!({"quantization_config": {"quant_method": "bitsandbytes"}}),
        "quantization_config.quant_method",
    );
    unsupported(
        &llama,
        json!({"partial_rotary_factor": 0.5}),
        "partial_rotary_factor",
    );
    unsupported(&llama, json!({"pretraining_tp": 2}), "pretraining_tp");
    unsupported(
        &llama,
        json!({"attn_logit_softcapping": 50.0}),
        "attn_logit_softcapping",
    );
    unsupported(
        &llama,
        json!({"final_logit_softcapping": 30.0}),
        "final_logit_softcapping",
    );
    for (name, kind) in [
        ("rope_type", "dynamic"),
        ("rope_type", "longrope"),
        ("type", "su"),
        ("type", "mrope"),
    ] {
        let field = format!("rope_scaling.{name}");
        unsupported(
            &llama,
            json!({"rope_scaling": {name: kind, "factor": 2}}),
            &field,
        );
    }
    let sections = json!({"type": "default", "mrope_section": [1, 2]});
    unsupported(
        &llama,
        json!({"rope_scaling": sections}),
        "rope_scaling.mrope_section",
    );
    let layered = json!({"full_attention": {"rope_theta": 1e4}});
    unsupported(
        &llama,
        json!({"rope_parameters": layered}),
        "rope_parameters.full_attention",
    );
    let partial = json!({"rope_type": "default", "partial_rotary_factor": 0.25});
    unsupported(
        &llama,
        json!({"rope_parameters": partial}),
        "rope_parameters.partial_rotary_factor",
    );
    unsupported(&v2, json!({"topk_method": "noaux_tc"}), "topk_method");
    unsupported(&v2, json!({"scoring_func": "sigmoid"}), "scoring_func");
    unsupported(&v2, json!({"norm_topk_prob": true}), "norm_topk_prob");
    unsupported(&v2, json!({"moe_layer_freq": 2}), "moe_layer_freq");
    unsupported(&v2, json!({"mlp_bias": true}), "mlp_bias");
    unsupported(
        &v2,
        json!({"rope_scaling": {"type": "linear", "factor": 2, "mscale_all_dim": 1}}),
        "rope_scaling.mscale_all_dim",
    );
    unsupported(&v3, json!({"scoring_func": "softmax"}), "scoring_func");
    unsupported(&v3, json!({"topk_method": "greedy"}), "topk_method");
    unsupported(
        &gpt2(),
        json!({"scale_attn_weights": false}),
        "scale_attn_weights",
    );
    unsupported(
        &gpt2(),
        json!({"scale_attn_by_inverse_layer_idx": true}),
        "scale_attn_by_inverse_layer_idx",
    );
    unsupported(
        &gpt2(),
        json!({"add_cross_attention": true}),
        "add_cross_attention",
    );
    unsupported(
        &qwen3_moe(),
        json!({"layer_types": ["sliding_attention", "full_attention"]}),
        "layer_types",
    );
}
