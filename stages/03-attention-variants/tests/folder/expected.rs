//! Short words for the parts of an expected configuration.

use attention_variants::config::*;
use attention_variants::hf::LoadError;
use serde_json::{Value, json};

/// Reads a configuration.
pub fn parse(config: &Value) -> Result<ModelConfig, LoadError> {
    super::source(&[("config.json", config.to_string().as_bytes())]).config()
}

/// The same configuration with some fields replaced; "ABSENT" removes one.
pub fn with(config: &Value, changes: Value) -> Value {
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

/// A gated block.
pub fn dense(intermediate: usize) -> Mlp {
    Mlp::Dense {
        intermediate,
        gated: true,
        bias: false,
    }
}

/// RoPE without scaling.
pub fn plain(theta: f32) -> Option<Rope> {
    Some(Rope {
        theta,
        scaling: RopeScaling::Plain,
        interleaved: false,
    })
}

/// Layers that are all alike and see everything.
pub fn all_layers(depth: usize, mlp: Mlp) -> Vec<Layer> {
    vec![
        Layer {
            sliding_window: None,
            mlp
        };
        depth
    ]
}

/// Heads without biases and norms.
pub fn heads(heads: usize, kv_heads: usize, head_dim: usize) -> Grouped {
    Grouped {
        heads,
        kv_heads,
        head_dim,
        qkv_bias: false,
        out_bias: false,
        qk_norm: false,
    }
}
