//! The published `compressed-tensors` format, as `llm-compressor` writes it: "pack-quantized", integers of 4 or 8 bits in groups.
//!
//! A weight `[rows, cols]` becomes three tensors: `weight_packed` `[rows, cols · bits / 32]` of int32, whose lowest bits are the first
//! column; `weight_scale` `[rows, groups]`; and `weight_shape`. A code is stored with `2^(bits - 1)` added, and stands for
//! `scale · code`. What was quantised how is in config.json, and everything else in the folder stays as it was.

use super::QuantizeError;
use super::checkpoint::{Checkpoint, Tensor, bytes};
use super::recipe::QuantisedModel;
use half::f16;
use numerics::quant::{Format, Granularity, Mapping, Quantised, Scheme};
use safetensors::Dtype;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const CONFIG: &str = "config.json";
const BITS: &str = "the format holds integers of 4 or 8 bits";

/// The scheme of so many bits in groups of `group` that this format holds.
///
/// # Errors
/// Neither 4 nor 8 bits, or no group.
pub fn scheme(bits: u32, group: usize) -> Result<Scheme, QuantizeError> {
    let mapping = match bits {
        // All 16 codes: with so few, the one at the end counts.
        4 => Mapping::Furthest,
        8 => Mapping::Symmetric,
        _ => return Err(QuantizeError::Unsupported(format!("{bits} bits: {BITS}"))),
    };
    if group == 0 {
        return Err(QuantizeError::Unsupported(
            "a group has at least one number".to_owned(),
        ));
    }
    Ok(Scheme::int(bits)
        .mapped(mapping)
        .blocks(group)
        .with_f16_scales())
}

/// The folder to write.
///
/// # Errors
/// A scheme that [`scheme`] does not make, a width that is not of whole groups and whole integers, or a config.json that is no object.
pub fn pack(model: QuantisedModel) -> Result<Checkpoint, QuantizeError> {
    let QuantisedModel {
        mut checkpoint,
        codes,
    } = model;
    for (name, codes) in &codes {
        let at = name.strip_suffix(".weight").unwrap_or(name);
        let tensors = tensors(name, codes)?;
        checkpoint.tensors.remove(name);
        for (part, tensor) in tensors {
            checkpoint.tensors.insert(format!("{at}.{part}"), tensor);
        }
    }
    let content = checkpoint
        .files
        .get(CONFIG)
        .map_or(&[][..], |content| content);
    let mut config: Map<String, Value> = serde_json::from_slice(content)
        .map_err(|error| QuantizeError::Unsupported(format!("{CONFIG}: {error}")))?;
    config.insert(
        "quantization_config".to_owned(),
        quantization_config(&checkpoint, &codes),
    );
    let text = serde_json::to_string_pretty(&config).expect("JSON is text");
    checkpoint
        .files
        .insert(CONFIG.to_owned(), (text + "\n").into_bytes().into());
    Ok(checkpoint)
}

/// Group size of a scheme that the format holds.
fn group(scheme: &Scheme) -> Option<usize> {
    match scheme.granularity {
        Granularity::Block(size) if scheme.mapping != Mapping::Asymmetric => Some(size),
        _ => None,
    }
}

fn tensors(name: &str, codes: &Quantised) -> Result<[(&'static str, Tensor); 3], QuantizeError> {
    let unsupported = |why: &str| QuantizeError::Unsupported(format!("{name}: {why}"));
    let [rows, cols] = codes.shape;
    let bits = codes.scheme.bits();
    if !matches!(codes.scheme.format, Format::Int(4 | 8)) {
        return Err(unsupported(BITS));
    }
    let each = 32 / bits as usize;
    let Some(group) = group(&codes.scheme).filter(|group| cols.is_multiple_of(*group)) else {
        return Err(unsupported(&format!(
            "{cols} columns are not of whole groups; choose another --group"
        )));
    };
    if !cols.is_multiple_of(each) {
        return Err(unsupported(&format!(
            "{cols} columns do not fill integers of {each} codes"
        )));
    }
    let word = |codes: &[i32]| {
        let code =
            |(at, &code): (usize, &i32)| ((code + (1 << (bits - 1))) as u32) << (at as u32 * bits);
        codes
            .iter()
            .enumerate()
            .map(code)
            .fold(0, |word, code| word | code)
    };
    // Rows are of whole integers, so none spans two rows.
    let words: Vec<u32> = codes.codes.chunks_exact(each).map(word).collect();
    let tensor = |dtype, shape: [usize; 2], bytes| Tensor {
        dtype,
        shape: shape.to_vec(),
        bytes,
    };
    let shape = codes.shape.map(|len| len as i64);
    Ok([
        (
            "weight_packed",
            tensor(
                Dtype::I32,
                [rows, cols / each],
                bytes(&words, u32::to_le_bytes),
            ),
        ),
        (
            "weight_scale",
            tensor(
                Dtype::F16,
                [rows, cols / group],
                bytes(&codes.scales, |it| f16::from_f32(it).to_le_bytes()),
            ),
        ),
        (
            "weight_shape",
            Tensor {
                dtype: Dtype::I64,
                shape: vec![2],
                bytes: bytes(&shape, i64::to_le_bytes),
            },
        ),
    ])
}

/// `quantization_config` of config.json: a group for each scheme, with the layers that have it, and the layers that have none.
fn quantization_config(checkpoint: &Checkpoint, codes: &BTreeMap<String, Quantised>) -> Value {
    let module = |name: &String| name.strip_suffix(".weight").unwrap_or(name).to_owned();
    let mut by_scheme: BTreeMap<(u32, usize), Vec<String>> = BTreeMap::new();
    for (name, codes) in codes {
        let key = (
            codes.scheme.bits(),
            group(&codes.scheme).unwrap_or_default(),
        );
        by_scheme.entry(key).or_default().push(module(name));
    }
    let uniform = by_scheme.len() == 1;
    let groups: Map<String, Value> = by_scheme
        .into_iter()
        .enumerate()
        .map(|(index, ((bits, group), modules))| {
            let targets = if uniform {
                vec!["Linear".to_owned()]
            } else {
                modules
            };
            (
                format!("group_{index}"),
                config_group(bits, group, &targets),
            )
        })
        .collect();
    // The output projection is named even where it is the embedding.
    let left = checkpoint.tensors.iter().filter(|(name, tensor)| {
        tensor.shape.len() == 2 && name.ends_with(".weight") && !name.contains("embed_tokens")
    });
    let mut ignore: BTreeSet<String> = left.map(|(name, _)| module(name)).collect();
    ignore.insert("lm_head".to_owned());
    json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ignore,
        "kv_cache_scheme": null,
        "global_compression_ratio": null,
    })
}

fn config_group(bits: u32, group: usize, targets: &[String]) -> Value {
    json!({
        "targets": targets,
        "weights": {
            "num_bits": bits,
            "type": "int",
            "symmetric": true,
            "strategy": "group",
            "group_size": group,
            "dynamic": false,
            "actorder": null,
            "block_structure": null,
            "observer": "minmax",
            "observer_kwargs": {},
        },
        "input_activations": null,
        "output_activations": null,
    })
}
