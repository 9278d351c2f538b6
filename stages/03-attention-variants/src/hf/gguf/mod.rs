//! GGUF: one file that holds a model's configuration, tokenizer, chat template and weights, as llama.cpp publishes them.
//!
//! Nothing of the engine knows the format: metadata are turned into the description that config.json gives, into the parts of a
//! tokenizer.json, and tensors into the names and matrices of a checkpoint. What a file says in its own way (neighbouring
//! pairs in RoPE, a table of rotation factors) is said in [`config`]; the blocks of its tensors are read in [`blocks`].

mod blocks;
mod config;
mod reader;
mod tokenizer;
mod types;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

pub(super) use blocks::decode as decode_blocks;
pub(super) use types::GgmlType;

use super::LoadError;
use super::checkpoint::{Entry, Weights};
use super::fields::Fields;
use super::source::{Bytes, map};
use super::tensor::{Dtype, Tensor};

/// A GGUF file whose header has been read and checked. It stays mapped; nothing may write to it meanwhile.
#[derive(Debug)]
pub struct Gguf {
    /// How messages name it.
    file: String,
    bytes: Arc<Bytes>,
    /// `general.architecture` and the like. Numbers that JSON has not (infinities) are null.
    metadata: Map<String, Value>,
    /// The tensors under the names that they have in the file, each within it.
    tensors: Vec<Entry>,
}

impl Gguf {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or its header is truncated or breaks the format's rules.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = path.display().to_string();
        match map(path) {
            Ok(bytes) => Self::parse(file, bytes),
            Err(source) => Err(LoadError::Io { file, source }),
        }
    }

    /// A file that is part of the program; `name` is for messages.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self, LoadError> {
        Self::parse(format!("(embedded) {name}"), Bytes::Embedded(bytes))
    }

    fn parse(file: String, bytes: Bytes) -> Result<Self, LoadError> {
        let (metadata, tensors) = reader::read(&file, &bytes)?;
        Ok(Self {
            file,
            bytes: Arc::new(bytes),
            metadata,
            tensors,
        })
    }

    /// The weights, under the names that a Hugging Face checkpoint would have.
    pub(super) fn weights(&self) -> Result<Weights, LoadError> {
        let entries = self
            .tensors
            .iter()
            .filter(|entry| entry.name != ROPE_FACTORS);
        let renamed = entries.map(|entry| Entry {
            name: checkpoint_name(&entry.name),
            ..entry.clone()
        });
        Weights::of_file(self.file.clone(), self.bytes.clone(), renamed)
    }

    /// How messages name it.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    fn fields(&self) -> Fields<'_> {
        Fields::over(&self.file, &self.metadata)
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.tensors.iter().find(|entry| entry.name == name)
    }

    /// The divisors of RoPE's frequencies, where the file has them.
    fn rope_factors(&self) -> Option<Vec<f32>> {
        let entry = self.entry(ROPE_FACTORS)?;
        let tensor = Tensor {
            dtype: Dtype::from_name(&entry.dtype)?,
            shape: entry.shape.clone(),
            file: self.bytes.clone(),
            range: entry.range.clone(),
        };
        Some(tensor.to_f32())
    }
}

/// `[head_dim / 2]`: what converters of Llama 3.1 compute from its `rope_scaling`.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The name of a tensor in a Hugging Face checkpoint; one that has none keeps its own, and is refused as superfluous later.
fn checkpoint_name(name: &str) -> String {
    const PARTS: [(&str, &str); 11] = [
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ];
    match name {
        "token_embd.weight" => return "model.embed_tokens.weight".to_owned(),
        "output_norm.weight" => return "model.norm.weight".to_owned(),
        "output.weight" => return "lm_head.weight".to_owned(),
        _ => {}
    }
    let in_layer = || {
        let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        let (part, kind) = rest.rsplit_once('.')?;
        let (_, ours) = PARTS.iter().find(|(theirs, _)| *theirs == part)?;
        Some(format!("model.layers.{layer}.{ours}.{kind}"))
    };
    in_layer().unwrap_or_else(|| name.to_owned())
}
