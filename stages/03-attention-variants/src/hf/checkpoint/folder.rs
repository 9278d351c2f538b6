//! The weights of a folder: one file, or shards and an index that must agree with them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;

use super::Weights;
use crate::hf::quantised::Scheme;
use crate::hf::{LoadError, Source};

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

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
        let scheme = match self.open(CONFIG)? {
            Some(bytes) => Scheme::of_config(&self.name_of(CONFIG), &bytes)?,
            None => None,
        };
        if let Some(bytes) = self.open(SINGLE)? {
            let mut weights = Weights::empty(self.name_of(SINGLE));
            weights.scheme = scheme;
            weights.add_shard(weights.file.clone(), bytes)?;
            return Ok(weights);
        }
        let advice = "a model needs model.safetensors, or model.safetensors.index.json and its shards; \
                      convert PyTorch .bin files with `save_pretrained`";
        let index = self.require(INDEX, advice)?;
        let mut weights = self.sharded(&parse_index(&self.name_of(INDEX), &index)?)?;
        weights.scheme = scheme;
        Ok(weights)
    }

    fn sharded(&self, map: &BTreeMap<String, String>) -> Result<Weights, LoadError> {
        let mut weights = Weights::empty(self.name_of(INDEX));
        for file in map.values().collect::<BTreeSet<_>>() {
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
