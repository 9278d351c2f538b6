//! The weights of a model: one safetensors file, or shards and the index that says which tensor is in which.
//!
//! Every tensor must be wanted and every wanted tensor must be there: a model takes its tensors by name and shape, and
//! [`Weights::finish`] refuses what is left over, for a checkpoint that holds more than the model uses is another model.

mod folder;

use std::collections::HashMap;
use std::sync::Arc;

use super::LoadError;
use super::quantised::Scheme;
pub(super) use super::safetensors::Entry;
use super::safetensors::read_header;
use super::source::Bytes;
use super::tensor::{Dtype, Tensor};
use crate::config::{Family, ModelConfig};
use crate::matrix::{Elements, Matrix};

/// The tensors of a checkpoint, in mapped files.
///
/// Names are those of the whole model (`model.layers.0.…`, `transformer.h.0.…`). A checkpoint that was saved without the
/// leading `model.` or `transformer.`, as the published GPT-2 was, is found by the same names.
pub struct Weights {
    /// The file that messages name for the checkpoint as a whole.
    file: String,
    tensors: HashMap<String, Stored>,
    /// How linear layers are stored, if they are quantised.
    scheme: Option<Scheme>,
    /// Matrices that no block format holds as they are stored.
    widened: usize,
    progress: Option<Box<dyn FnMut(u64) + Send>>,
}

/// A tensor that is waiting to be taken.
struct Stored {
    entry: Entry,
    shard: Arc<Shard>,
    taken: bool,
}

/// One safetensors or GGUF file.
struct Shard {
    name: String,
    bytes: Arc<Bytes>,
}

impl Weights {
    fn empty(file: String) -> Self {
        Self {
            file,
            tensors: HashMap::new(),
            scheme: None,
            widened: 0,
            progress: None,
        }
    }

    /// The tensors of one file, `entries` within `bytes`.
    pub(super) fn of_file(
        file: String,
        bytes: Arc<Bytes>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, LoadError> {
        let mut weights = Self::empty(file.clone());
        weights.add_entries(Arc::new(Shard { name: file, bytes }), entries)?;
        Ok(weights)
    }

    /// Bytes of all tensors, for a progress bar.
    pub fn total_bytes(&self) -> u64 {
        self.tensors
            .values()
            .map(|stored| stored.entry.range.len() as u64)
            .sum()
    }

    /// Calls `report` with the size of each tensor as it is taken; the sizes add up to about [`Weights::total_bytes`].
    pub fn on_progress(mut self, report: impl FnMut(u64) + Send + 'static) -> Self {
        self.progress = Some(Box::new(report));
        self
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.stored_name(name).is_some()
    }

    /// Takes a tensor of shape `[rows, cols]`, in the type that it is stored in, or what quantisation has put in its place.
    ///
    /// # Errors
    /// The tensor is missing, of another shape, or of a type that does not load.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        if let (Some(scheme), Some(base)) = (self.scheme.clone(), name.strip_suffix(".weight"))
            && let Some(matrix) = scheme.matrix(self, base, rows, cols)?
        {
            let blocks = matches!(matrix.elements, Elements::Q8(_) | Elements::Q4(_));
            self.widened += usize::from(!blocks);
            return Ok(matrix);
        }
        Ok(self.take(name, &[rows, cols])?.to_matrix())
    }

    /// Takes a tensor of shape `[len]`, widened.
    ///
    /// # Errors
    /// As [`Weights::matrix`].
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        Ok(self.take(name, &[len])?.to_f32())
    }

    /// Declares that the model has all it wants.
    ///
    /// # Errors
    /// Tensors are left that the family is not known to carry along without use, or a tied output projection that differs
    /// from the embedding.
    pub fn finish(self, config: &ModelConfig) -> Result<(), LoadError> {
        if config.tied_embeddings {
            self.check_tied(config.family)?;
        }
        if self.widened > 0 {
            let (file, widened) = (&self.file, self.widened);
            tracing::info!(
                "{file}: {widened} quantised matrices are held in 16 bits or more, for their format or order has no blocks here"
            );
        }
        let mut extra: Vec<&str> = self
            .tensors
            .iter()
            .filter(|(_, stored)| !stored.taken)
            .map(|(name, _)| &**name)
            .collect();
        extra.retain(|name| {
            let bytes = self.tensors[*name].bytes();
            let left_out = |scheme: &Scheme| scheme.leaves_out(name, bytes);
            !(bytes.is_empty()
                || is_unused(name, config)
                || self.scheme.as_ref().is_some_and(left_out))
        });
        extra.sort_unstable();
        if extra.is_empty() {
            return Ok(());
        }
        let names = extra[..extra.len().min(3)].join(", ");
        Err(LoadError::ExtraTensors {
            file: self.file.clone(),
            count: extra.len(),
            names,
        })
    }

    fn add_shard(&mut self, name: String, bytes: Bytes) -> Result<(), LoadError> {
        let entries = read_header(&name, &bytes)?;
        let bytes = Arc::new(bytes);
        self.add_entries(Arc::new(Shard { name, bytes }), entries)
    }

    fn add_entries(
        &mut self,
        shard: Arc<Shard>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), LoadError> {
        for entry in entries {
            if let Some(other) = self.tensors.get(&entry.name) {
                let problem = format!(
                    "tensor `{}` is in {} and in {}",
                    entry.name, other.shard.name, shard.name
                );
                return Err(LoadError::BadIndex {
                    file: self.file.clone(),
                    problem,
                });
            }
            self.tensors.insert(
                entry.name.clone(),
                Stored {
                    entry,
                    shard: shard.clone(),
                    taken: false,
                },
            );
        }
        Ok(())
    }

    /// The name under which a tensor is stored: with the base model's prefix or without.
    fn stored_name<'a>(&self, name: &'a str) -> Option<&'a str> {
        let bare = name
            .strip_prefix("model.")
            .or_else(|| name.strip_prefix("transformer."));
        std::iter::once(name)
            .chain(bare)
            .find(|name| self.tensors.contains_key(*name))
    }

    /// The stored type of a tensor, if there is one of this name.
    pub(super) fn dtype(&self, name: &str) -> Option<&str> {
        Some(&self.tensors[self.stored_name(name)?].entry.dtype)
    }

    /// The stored shape of a tensor, if there is one of this name.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.tensors[self.stored_name(name)?].entry.shape)
    }

    /// Takes the bytes of a tensor of type `dtype`.
    pub(super) fn raw(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: &str,
    ) -> Result<Vec<u8>, LoadError> {
        let stored = self.take_stored(name, shape)?;
        if stored.entry.dtype != dtype {
            return Err(stored.wrong_dtype());
        }
        Ok(stored.bytes().to_vec())
    }

    /// Takes a tensor of 32-bit integers.
    pub(super) fn words(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u32>, LoadError> {
        let stored = self.take_stored(name, shape)?;
        if stored.entry.dtype != "I32" {
            return Err(stored.wrong_dtype());
        }
        let words = stored.bytes().as_chunks().0.iter();
        Ok(words.map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// Takes a tensor of any shape, widened.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        Ok(self.take(name, shape)?.to_f32())
    }

    /// The error of a tensor that is not there.
    pub(super) fn missing(&self, name: &str) -> LoadError {
        LoadError::MissingTensor {
            file: self.file.clone(),
            name: name.to_string(),
        }
    }

    /// The error of a tensor whose content cannot be.
    pub(super) fn damaged(&self, name: &str, what: &str) -> LoadError {
        LoadError::BadSafetensors {
            file: self.file.clone(),
            problem: format!("tensor `{name}` has {what}"),
        }
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let stored = self.take_stored(name, shape)?;
        Ok(Tensor {
            dtype: Dtype::from_name(&stored.entry.dtype).ok_or_else(|| stored.wrong_dtype())?,
            shape: shape.to_vec(),
            file: stored.shard.bytes.clone(),
            range: stored.entry.range.clone(),
        })
    }

    /// Finds a tensor, checks its shape and marks it as taken.
    fn take_stored(&mut self, name: &str, shape: &[usize]) -> Result<&Stored, LoadError> {
        let stored_name = self.stored_name(name).ok_or_else(|| self.missing(name))?;
        let stored = self
            .tensors
            .get_mut(stored_name)
            .expect("stored_name finds only names that are there");
        if stored.entry.shape != shape {
            return Err(LoadError::WrongShape {
                file: stored.shard.name.clone(),
                name: stored.entry.name.clone(),
                expected: shape.to_vec(),
                found: stored.entry.shape.clone(),
            });
        }
        stored.taken = true;
        if let Some(report) = &mut self.progress {
            report(stored.entry.range.len() as u64);
        }
        Ok(stored)
    }

    /// A tied checkpoint may carry the output projection all the same; it must be the embedding.
    fn check_tied(&self, family: Family) -> Result<(), LoadError> {
        let embedding = if family == Family::Gpt2 {
            "transformer.wte.weight"
        } else {
            "model.embed_tokens.weight"
        };
        let head = "lm_head.weight";
        let (Some(embedding), Some(stored)) = (self.stored_name(embedding), self.tensors.get(head))
        else {
            return Ok(());
        };
        let embedding = &self.tensors[embedding];
        let same = stored.entry.dtype == embedding.entry.dtype
            && stored.entry.shape == embedding.entry.shape
            && stored.bytes() == embedding.bytes();
        if same {
            Ok(())
        } else {
            Err(LoadError::NotTied {
                file: stored.shard.name.clone(),
                name: head.to_string(),
            })
        }
    }
}

impl Stored {
    fn wrong_dtype(&self) -> LoadError {
        LoadError::WrongDtype {
            file: self.shard.name.clone(),
            name: self.entry.name.clone(),
            found: self.entry.dtype.clone(),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.shard.bytes[self.entry.range.clone()]
    }
}

/// Tensors that published checkpoints of a family carry and no model uses: frequencies that are computed anyway, GPT-2's causal
/// masks, the output projection where it is the embedding, and DeepSeek-V3's layer for multi-token prediction.
fn is_unused(name: &str, config: &ModelConfig) -> bool {
    let bare = name
        .strip_prefix("model.")
        .or_else(|| name.strip_prefix("transformer."))
        .unwrap_or(name);
    let in_layer = |prefix: &str| {
        let (number, rest) = bare.strip_prefix(prefix)?.split_once('.')?;
        Some((number.parse::<usize>().ok()?, rest))
    };
    match config.family {
        Family::Gpt2
            if in_layer("h.")
                .is_some_and(|(_, rest)| rest == "attn.bias" || rest == "attn.masked_bias") =>
        {
            true
        }
        Family::DeepseekV3
            if in_layer("layers.").is_some_and(|(number, _)| number == config.layers.len()) =>
        {
            true
        }
        _ => {
            name.ends_with(".rotary_emb.inv_freq")
                || (config.tied_embeddings && name == "lm_head.weight")
        }
    }
}
