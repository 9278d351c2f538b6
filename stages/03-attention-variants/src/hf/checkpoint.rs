//! The weights of a model: one safetensors file, or shards and the index that says which tensor is in which.
//!
//! Every tensor must be wanted and every wanted tensor must be there: a model takes its tensors by name and shape, and
//! [`Weights::finish`] refuses what is left over, for a checkpoint that holds more than the model uses is another model.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use super::LoadError;
pub(super) use super::safetensors::Entry;
use super::safetensors::read_header;
use super::source::{Bytes, Source};
use super::tensor::{Dtype, Tensor};
use crate::config::{Family, ModelConfig};
use crate::matrix::Matrix;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a checkpoint, in mapped files.
///
/// Names are those of the whole model (`model.layers.0.…`, `transformer.h.0.…`). A checkpoint that was saved without the
/// leading `model.` or `transformer.`, as the published GPT-2 was, is found by the same names.
pub struct Weights {
    /// The file that messages name for the checkpoint as a whole.
    file: String,
    tensors: HashMap<String, Stored>,
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

impl Source {
    /// Opens `model.safetensors` or, where there is none, the shards of `model.safetensors.index.json`, and checks the headers
    /// of all of them. Elements are not read yet.
    ///
    /// # Errors
    /// A file that is missing, truncated or malformed; an index that does not agree with its shards.
    pub fn weights(&self) -> Result<Weights, LoadError> {
        if let Source::Gguf(gguf) = self {
            return gguf.weights();
        }
        if let Some(bytes) = self.open(SINGLE)? {
            let mut weights = Weights {
                file: self.name_of(SINGLE),
                tensors: HashMap::new(),
                progress: None,
            };
            weights.add_shard(weights.file.clone(), bytes)?;
            return Ok(weights);
        }
        let advice = "a model needs model.safetensors, or model.safetensors.index.json and its shards; \
                      convert PyTorch .bin files with `save_pretrained`";
        let index = self.require(INDEX, advice)?;
        self.sharded(&parse_index(&self.name_of(INDEX), &index)?)
    }

    fn sharded(&self, map: &BTreeMap<String, String>) -> Result<Weights, LoadError> {
        let mut weights = Weights {
            file: self.name_of(INDEX),
            tensors: HashMap::new(),
            progress: None,
        };
        for file in map.values().collect::<std::collections::BTreeSet<_>>() {
            let bytes = self.require(
                file,
                "the index names this shard; download it into the same folder",
            )?;
            weights.add_shard(self.name_of(file), bytes)?;
        }
        check_index(&weights, map, |file| self.name_of(file))?;
        Ok(weights)
    }
}

impl Weights {
    /// The tensors of one file, `entries` within `bytes`.
    pub(super) fn of_file(
        file: String,
        bytes: Arc<Bytes>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, LoadError> {
        let mut weights = Self {
            file: file.clone(),
            tensors: HashMap::new(),
            progress: None,
        };
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

    /// Takes a tensor of shape `[rows, cols]`, in the type that it is stored in.
    ///
    /// # Errors
    /// The tensor is missing, of another shape, or not of f32, f16 or bf16.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
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
        let mut extra: Vec<&str> = self
            .tensors
            .iter()
            .filter(|(_, stored)| !stored.taken)
            .map(|(name, _)| &**name)
            .collect();
        extra
            .retain(|name| !self.tensors[*name].entry.range.is_empty() && !is_unused(name, config));
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

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let missing = || LoadError::MissingTensor {
            file: self.file.clone(),
            name: name.to_string(),
        };
        let stored_name = self.stored_name(name).ok_or_else(missing)?;
        let stored = self
            .tensors
            .get_mut(stored_name)
            .expect("stored_name finds only names that are there");
        let Stored {
            entry,
            shard,
            taken,
        } = stored;
        let (file, name) = (shard.name.clone(), entry.name.clone());
        if entry.shape != shape {
            return Err(LoadError::WrongShape {
                file,
                name,
                expected: shape.to_vec(),
                found: entry.shape.clone(),
            });
        }
        let Some(dtype) = Dtype::from_name(&entry.dtype) else {
            return Err(LoadError::WrongDtype {
                file,
                name,
                found: entry.dtype.clone(),
            });
        };
        *taken = true;
        if let Some(report) = &mut self.progress {
            report(entry.range.len() as u64);
        }
        Ok(Tensor {
            dtype,
            shape: shape.to_vec(),
            file: shard.bytes.clone(),
            range: entry.range.clone(),
        })
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

/// `weight_map` of the index: the file of each tensor.
fn parse_index(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, String>, LoadError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(bytes).map_err(|error| LoadError::Json {
        file: file.to_string(),
        message: error.to_string(),
    })?;
    for (name, shard) in &index.weight_map {
        // A shard is a file of the same folder: nothing here may lead out of it.
        if shard.is_empty() || shard.contains(['/', '\\', '\0']) || shard.starts_with('.') {
            let problem = format!(
                "tensor `{name}` is said to be in `{shard}`, which is no file of this folder"
            );
            return Err(LoadError::BadIndex {
                file: file.to_string(),
                problem,
            });
        }
    }
    Ok(index.weight_map)
}

/// Checks that index and shards hold the same tensors, each in the shard that the index says.
fn check_index(
    weights: &Weights,
    map: &BTreeMap<String, String>,
    name_of: impl Fn(&str) -> String,
) -> Result<(), LoadError> {
    let error = |problem| {
        Err(LoadError::BadIndex {
            file: weights.file.clone(),
            problem,
        })
    };
    for (name, shard) in map {
        let found = weights.tensors.get(name).map(|stored| &stored.shard.name);
        if found != Some(&name_of(shard)) {
            return error(format!("tensor `{name}` is not in {shard}"));
        }
    }
    let listed: HashSet<&String> = map.keys().collect();
    match weights
        .tensors
        .values()
        .find(|stored| !listed.contains(&stored.entry.name))
    {
        Some(stored) => error(format!(
            "tensor `{}` of {} is not listed",
            stored.entry.name, stored.shard.name
        )),
        None => Ok(()),
    }
}
