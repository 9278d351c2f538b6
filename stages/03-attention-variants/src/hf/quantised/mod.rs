//! Quantised checkpoints in safetensors: `quantization_config` of config.json, and what lies in place of a layer's `weight`.
//!
//! | `quant_method` | tensors of a layer `[out, in]` |
//! | --- | --- |
//! | `gptq` | `qweight` `[in / 8, out]`, `qzeros` `[groups, out / 8]`, `scales` `[groups, out]`, `g_idx` `[in]` |
//! | `awq` | `qweight` `[in, out / 8]`, `qzeros` `[groups, out / 8]`, `scales` `[groups, out]` |
//! | `compressed-tensors` | `weight_packed` `[out, in / 8]`, or `weight` in int8 or fp8; `weight_scale`, `weight_zero_point` |
//! | `fp8` | `weight` in fp8, and `weight_scale_inv` for each block, or one `weight_scale` |
//!
//! The lists of modules that were left as they are (`ignore`, `modules_to_not_convert`) are not needed: such a module has a
//! plain `weight`, and that is what tells. [`Grouped`] is what all the integer formats unpack to.

mod awq;
mod compressed;
mod gptq;
mod grouped;

use serde_json::Value;

use super::LoadError;
use super::checkpoint::Weights;
use super::fields::{Fields, parse_json};
use crate::matrix::Matrix;

pub(super) use grouped::{Grouped, Order, narrow};

const FIELD: &str = "quantization_config";
const PATH: &str = "quantization_config.";
const NOT_BITS: &str = "4 and 8 bits load; quantise again, or use the checkpoint in 16 bits";

/// How a checkpoint's linear layers are stored.
#[derive(Clone, Debug)]
pub(super) enum Scheme {
    /// GPTQ (Frantar et al., 2022) as AutoGPTQ and GPTQModel write it.
    Gptq {
        /// 4 or 8.
        bits: usize,
        /// Inputs that share a scale; `None` is all of them.
        group: Option<usize>,
        /// What is added to a stored zero point: 1 in the first version of the format.
        zero_offset: u32,
    },
    /// AWQ (Lin et al., 2023) as AutoAWQ's `gemm` kernels want it: 4 bits.
    Awq {
        /// Inputs that share a scale; `None` is all of them.
        group: Option<usize>,
    },
    /// compressed-tensors, as llm-compressor writes it. What a layer has says the rest.
    Compressed {
        /// Rows and columns that share a scale, where fp8 has blocks.
        block: Option<[usize; 2]>,
    },
    /// The format of DeepSeek-V3: e4m3 with a scale for each block, or for each tensor.
    Fp8 {
        /// Rows and columns that share a scale.
        block: Option<[usize; 2]>,
    },
}

impl Scheme {
    /// The scheme that config.json names, if any.
    pub fn of(f: &Fields) -> Result<Option<Self>, LoadError> {
        let Some(q) = f.object(PATH)? else {
            return if f.get(FIELD).is_some() {
                Err(f.wrong_type(FIELD, "an object"))
            } else {
                Ok(None)
            };
        };
        let method = "quant_method";
        match q.text_opt(method)?.ok_or_else(|| q.missing(method))? {
            "gptq" => gptq::scheme(&q),
            "awq" => awq::scheme(&q),
            "compressed-tensors" => compressed::scheme(&q),
            "fp8" => compressed::fp8(&q),
            _ => Err(q.unsupported(
                method,
                "known are compressed-tensors, gptq, awq and fp8; use a checkpoint in one of these, in GGUF, or in 16 bits",
            )),
        }
        .map(Some)
    }

    /// The scheme of a folder, by its config.json.
    pub fn of_config(file: &str, bytes: &[u8]) -> Result<Option<Self>, LoadError> {
        let value: Value = parse_json(file, bytes)?;
        Self::of(&Fields::of(file, &value)?)
    }

    /// Takes the matrix `name.weight`, if it is quantised.
    pub fn matrix(
        &self,
        weights: &mut Weights,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Option<Matrix>, LoadError> {
        match *self {
            Self::Gptq {
                bits,
                group,
                zero_offset,
            } => gptq::matrix(weights, name, rows, cols, bits, group, zero_offset),
            Self::Awq { group } => awq::matrix(weights, name, rows, cols, group),
            Self::Compressed { block } => compressed::matrix(weights, name, rows, cols, block),
            Self::Fp8 { block } => compressed::fp8_matrix(weights, name, rows, cols, block),
        }
    }

    /// Whether a tensor is of no use here: scales of activations and caches, which stay in f32, and the biases that AutoGPTQ
    /// gave to layers without one, which are zero.
    pub fn leaves_out(&self, name: &str, bytes: &[u8]) -> bool {
        const PARTS: [&str; 7] = [
            ".weight_shape",
            ".input_scale",
            ".input_zero_point",
            ".q_scale",
            ".k_scale",
            ".v_scale",
            ".output_scale",
        ];
        let zero_bias = || name.ends_with(".bias") && bytes.iter().all(|&byte| byte == 0);
        PARTS.iter().any(|part| name.ends_with(part))
            || matches!(self, Self::Gptq { .. }) && zero_bias()
    }
}

/// `group_size`: a number of inputs, or -1 for all.
fn group_size(q: &Fields) -> Result<Option<usize>, LoadError> {
    const NAME: &str = "group_size";
    if q.get(NAME).and_then(Value::as_i64) == Some(-1) {
        return Ok(None);
    }
    q.size_opt(NAME)?.map(Some).ok_or_else(|| q.missing(NAME))
}

/// The field `at` of width `bits` in each row of `words`, `[lines, width]` packed along the width from the low bits up.
fn packed(words: &[u32], bits: usize, at: usize) -> u8 {
    let each = 32 / bits;
    (words[at / each] >> (bits * (at % each)) & ((1 << bits) - 1)) as u8
}

/// The order of the inputs: what tensor `name` says if there is one, groups of `group` neighbours otherwise.
fn order(weights: &mut Weights, name: &str, cols: usize, group: usize) -> Result<Order, LoadError> {
    if !weights.contains(name) {
        return Ok(Order::Plain(group));
    }
    let table = weights.words(name, &[cols])?;
    let plain = table
        .iter()
        .enumerate()
        .all(|(col, &of)| of as usize == col / group);
    // -1 throughout is a table that was never set.
    if plain || table.iter().all(|&of| of == u32::MAX) {
        return Ok(Order::Plain(group));
    }
    let table: Vec<usize> = table.into_iter().map(|of| of as usize).collect();
    if table.iter().any(|&of| of >= cols.div_ceil(group)) {
        return Err(weights.damaged(name, "groups that have no scale"));
    }
    Ok(Order::Table(table))
}
