//! GGUF metadata into the description of [`crate::config`], by way of the fields that config.json would have.
//!
//! So there is one reader of each family, and its checks hold here too; its errors are given back the names that the fields have
//! in the file. What GGUF says otherwise than config.json is said here:
//!
//! - The output projection is the embedding where there is no `output.weight`, and biases are there if the first layer has them.
//! - Converters of the `llama` architecture reorder the rows of q and k so that RoPE turns neighbouring pairs.
//! - The scaling of Llama 3.1 comes as a table of divisors, in a tensor.

use serde_json::{Map, Value, json};

use super::{Gguf, ROPE_FACTORS};
use crate::config::{ModelConfig, RopeScaling};
use crate::hf::LoadError;
use crate::hf::config::from_fields;
use crate::hf::fields::Fields;

/// Fields of config.json, and in GGUF after the architecture's name.
const FIELDS: [(&str, &str); 15] = [
    ("max_position_embeddings", "context_length"),
    ("hidden_size", "embedding_length"),
    ("num_hidden_layers", "block_count"),
    ("intermediate_size", "feed_forward_length"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("sliding_window", "attention.sliding_window"),
    ("rope_theta", "rope.freq_base"),
    ("rope_scaling.rope_type", "rope.scaling.type"),
    ("rope_scaling.factor", "rope.scaling.factor"),
    (
        "rope_scaling.original_max_position_embeddings",
        "rope.scaling.original_context_length",
    ),
    ("rope_scaling.beta_fast", "rope.scaling.yarn_beta_fast"),
    ("rope_scaling.beta_slow", "rope.scaling.yarn_beta_slow"),
];

/// Tokens that end a turn whatever the metadata say, as llama.cpp has them: files name one end, and chat models have two.
const ENDS: [&str; 6] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
];

impl Gguf {
    /// What the model is.
    pub(in crate::hf) fn config(&self) -> Result<ModelConfig, LoadError> {
        let meta = self.fields();
        let architecture = "general.architecture";
        let name = meta
            .text_opt(architecture)?
            .ok_or_else(|| meta.missing(architecture))?;
        if !["llama", "qwen2", "qwen3"].contains(&name) {
            return Err(meta.unsupported(architecture, "known are llama, qwen2 and qwen3"));
        }
        self.refuse_unsupported(name)?;
        let config = self.as_json(name);
        let config = from_fields(&Fields::over(&self.file, &config));
        let mut config = config.map_err(|error| error.renamed(|field| in_gguf(name, field)))?;
        let rope = config.rope.as_mut().expect("these families have RoPE");
        rope.interleaved = name == "llama";
        if let Some(factors) = self.rope_factors() {
            rope.scaling = self.factors(factors, config.attention.rotated_width())?;
        }
        config.eos_token_ids = self.ends()?;
        Ok(config)
    }

    /// The fields that config.json would have.
    fn as_json(&self, architecture: &str) -> Map<String, Value> {
        let mut config = Map::new();
        for (ours, theirs) in FIELDS {
            let Some(value) = self.metadata.get(&format!("{architecture}.{theirs}")) else {
                continue;
            };
            match ours.split_once('.') {
                None => config.insert(ours.to_owned(), value.clone()),
                Some((outer, inner)) => {
                    let value = if value == "none" {
                        &json!("default")
                    } else {
                        value
                    };
                    config.entry(outer).or_insert_with(|| json!({}))[inner] = value.clone();
                    None
                }
            };
        }
        if let Some(scaling) = config
            .get_mut("rope_scaling")
            .and_then(Value::as_object_mut)
        {
            scaling
                .entry("rope_type")
                .or_insert_with(|| "linear".into());
        }
        // GGUF has no architecture of its own for Mistral, which is Llama with a window.
        let windowed = architecture == "llama" && config.contains_key("sliding_window");
        let family = if windowed { "mistral" } else { architecture };
        config.insert("model_type".into(), family.into());
        if architecture == "llama" {
            let bias = |part| self.entry(&format!("blk.0.{part}.bias")).is_some();
            config.insert("attention_bias".into(), bias("attn_q").into());
            config.insert("mlp_bias".into(), bias("ffn_up").into());
        }
        if let Some(embedding) = self.entry("token_embd.weight") {
            config.insert("vocab_size".into(), embedding.shape[0].into());
        }
        let tied = self.entry("output.weight").is_none();
        config.insert("tie_word_embeddings".into(), tied.into());
        config.insert("hidden_act".into(), "silu".into());
        config
    }

    /// Fields that would change the arithmetic and that no definition here follows.
    fn refuse_unsupported(&self, architecture: &str) -> Result<(), LoadError> {
        let meta = self.fields();
        let field = |name: &str| format!("{architecture}.{name}");
        let parts = "split.count";
        if meta.count_opt(parts)?.is_some_and(|count| count > 1) {
            return Err(meta.unsupported(parts, "join the parts with llama.cpp's gguf-split"));
        }
        let experts = field("expert_count");
        if meta.count_opt(&experts)?.is_some_and(|count| count > 0) {
            let why = "experts load from safetensors only";
            return Err(meta.unsupported(&experts, why));
        }
        let (key, value) = (
            field("attention.key_length"),
            field("attention.value_length"),
        );
        let key = meta.size_opt(&key)?;
        if meta
            .size_opt(&value)?
            .is_some_and(|width| Some(width) != key)
            && key.is_some()
        {
            return Err(meta.unsupported(&value, "keys and values are equally wide here"));
        }
        let rotated = field("rope.dimension_count");
        let width = match key {
            Some(width) => Some(width),
            None => {
                let heads = meta.size_opt(&field("attention.head_count"))?;
                let hidden = meta.size_opt(&field("embedding_length"))?;
                hidden.zip(heads).map(|(hidden, heads)| hidden / heads)
            }
        };
        if meta
            .size_opt(&rotated)?
            .is_some_and(|turned| Some(turned) != width)
        {
            return Err(meta.unsupported(&rotated, "RoPE turns whole heads here"));
        }
        let window = field("attention.sliding_window");
        if architecture != "llama" && meta.get(&window).is_some() {
            let why = "which layers have the window is not said; use the safetensors checkpoint";
            return Err(meta.unsupported(&window, why));
        }
        let mrope = field("rope.dimension_sections");
        if meta.get(&mrope).is_some() {
            return Err(meta.unsupported(&mrope, "positions have one dimension here"));
        }
        for factor in ["rope.scale_linear", "rope.scaling.attn_factor"].map(&field) {
            if meta
                .positive_opt(&factor)?
                .is_some_and(|factor| factor != 1.0)
            {
                return Err(meta.unsupported(&factor, "known are rope.scaling.type and its factor"));
            }
        }
        Ok(())
    }

    /// The table of divisors, checked: one a pair, above 0.
    fn factors(&self, factors: Vec<f32>, width: usize) -> Result<RopeScaling, LoadError> {
        if factors.len() != width / 2 || !factors.iter().all(|&f| f > 0.0 && f.is_finite()) {
            return Err(LoadError::BadGguf {
                file: self.file.clone(),
                problem: format!(
                    "tensor `{ROPE_FACTORS}` must hold {} numbers above 0",
                    width / 2
                ),
            });
        }
        Ok(RopeScaling::Table { factors })
    }

    /// The tokens that end a generation.
    fn ends(&self) -> Result<Vec<u32>, LoadError> {
        let meta = self.fields();
        let mut ids = Vec::new();
        for name in ["eos", "eot", "eom"] {
            ids.extend(meta.count_opt(&format!("tokenizer.ggml.{name}_token_id"))?);
        }
        let tokens = meta.list_opt("tokenizer.ggml.tokens")?;
        let named = tokens.into_iter().flatten().enumerate();
        let is_end = |token: &Value| token.as_str().is_some_and(|text| ENDS.contains(&text));
        ids.extend(named.filter(|(_, token)| is_end(token)).map(|(id, _)| id));
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.into_iter().map(|id| id as u32).collect())
    }
}

/// The name in GGUF of a field of config.json.
fn in_gguf(architecture: &str, field: &str) -> String {
    match FIELDS.iter().find(|(ours, _)| *ours == field) {
        Some((_, theirs)) => format!("{architecture}.{theirs}"),
        None if field == "vocab_size" => "token_embd.weight".to_owned(),
        None => field.to_owned(),
    }
}
