//! compressed-tensors, as llm-compressor writes it, and the fp8 of DeepSeek-V3.
//!
//! - `pack-quantized`: signed integers of 4 or 8 bits plus `2^(bits - 1)`, packed along the inputs from the low bits of a word up.
//!   Zero points are packed likewise, but along the outputs; older files have them as int8.
//! - `int-quantized`, `naive-quantized`: `weight` in int8.
//! - `float-quantized`: `weight` in fp8 (e4m3).
//!
//! Scales are for the tensor, each output, each group of inputs or, in fp8, each block: their shape says which.

use numerics::float::E4M3;
use serde_json::Value;

use super::{Fields, Grouped, LoadError, NOT_BITS, Scheme, Weights, narrow, order, packed};
use crate::matrix::Matrix;

const FORMATS: [&str; 5] = [
    "pack-quantized",
    "int-quantized",
    "naive-quantized",
    "float-quantized",
    "dense",
];

pub(super) fn scheme(q: &Fields) -> Result<Scheme, LoadError> {
    let known = "known are pack-quantized, int-quantized, naive-quantized and float-quantized; use a checkpoint in 16 bits";
    let check_format = |q: &Fields| match q.text_opt("format")? {
        Some(format) if !FORMATS.contains(&format) => Err(q.unsupported("format", known)),
        _ => Ok(()),
    };
    if q.text_opt("format")? != Some("mixed-precision") {
        check_format(q)?;
    }
    let sparse = q
        .get("sparsity_config")
        .and_then(|config| config.get("format"));
    if sparse
        .and_then(Value::as_str)
        .is_some_and(|format| format != "dense")
    {
        return Err(q.unsupported(
            "sparsity_config",
            "sparse weights do not load; use dense ones",
        ));
    }
    if q.get("transform_config")
        .is_some_and(|config| config.as_object().is_none_or(|it| !it.is_empty()))
    {
        return Err(q.unsupported("transform_config", "activations are not rotated here"));
    }
    let mut block = None;
    let groups = q.get("config_groups").and_then(Value::as_object);
    for (name, group) in groups.into_iter().flatten() {
        let path = format!("quantization_config.config_groups.{name}.");
        if let Some(group) = group.as_object() {
            check_format(&Fields::at(q.file(), &path, group))?;
        }
        let path = format!("{path}weights.");
        if let Some(weights) = group.get("weights").and_then(Value::as_object) {
            let weights = Fields::at(q.file(), &path, weights);
            let bits = weights.size("num_bits")?;
            let kind = weights.text_opt("type")?.unwrap_or("int");
            if kind == "float" && bits != 8 {
                return Err(weights.unsupported("num_bits", "fp8 loads; use such a checkpoint"));
            }
            if bits != 4 && bits != 8 {
                return Err(weights.unsupported("num_bits", NOT_BITS));
            }
            block = block.or(pair(&weights, "block_structure")?);
        }
    }
    Ok(Scheme::Compressed { block })
}

pub(super) fn matrix(
    weights: &mut Weights,
    name: &str,
    rows: usize,
    cols: usize,
    block: Option<[usize; 2]>,
) -> Result<Option<Matrix>, LoadError> {
    let part = |part: &str| format!("{name}.{part}");
    let plain = part("weight");
    if weights.contains(&part("weight_packed")) {
        return integers(weights, name, rows, cols, true).map(Some);
    }
    match weights.dtype(&plain) {
        Some("I8") => integers(weights, name, rows, cols, false).map(Some),
        Some("F8_E4M3") => {
            let values = weights.raw(&plain, &[rows, cols], "F8_E4M3")?;
            let scales = scales(weights, &part("weight_scale"), rows, cols, block)?;
            Ok(Some(scaled(&values, rows, cols, &scales)))
        }
        _ => Ok(None),
    }
}

fn integers(
    weights: &mut Weights,
    name: &str,
    rows: usize,
    cols: usize,
    is_packed: bool,
) -> Result<Matrix, LoadError> {
    let part = |part: &str| format!("{name}.{part}");
    let scales = scales(weights, &part("weight_scale"), rows, cols, None)?;
    let (bits, quants) = if is_packed {
        let name = part("weight_packed");
        let width = weights.shape(&name).and_then(|shape| shape.get(1).copied());
        let bits = if width == Some(cols.div_ceil(4)) {
            8
        } else {
            4
        };
        let width = cols.div_ceil(32 / bits);
        let words = weights.words(&name, &[rows, width])?;
        let lines = words.chunks(width.max(1));
        let quants = lines.flat_map(|line| (0..cols).map(move |col| packed(line, bits, col)));
        (bits, quants.collect())
    } else {
        let raw = weights.raw(&part("weight"), &[rows, cols], "I8")?;
        (8, raw.iter().map(|quant| quant ^ 0x80).collect())
    };
    let zeros = zeros(weights, &part("weight_zero_point"), bits, rows, &scales)?;
    let order = order(weights, &part("weight_g_idx"), cols, scales.width)?;
    let groups = scales.per_line;
    let by_row = (0..rows).flat_map(|row| (0..groups).map(move |group| (row, group)));
    let scales = by_row.map(|(row, group)| scales.at(row, group)).collect();
    Ok(Grouped {
        rows,
        cols,
        bits,
        quants,
        scales,
        zeros,
        order,
    }
    .into_matrix())
}

/// Zero points by row and group, shifted like the integers.
fn zeros(
    weights: &mut Weights,
    name: &str,
    bits: usize,
    rows: usize,
    scales: &Scales,
) -> Result<Option<Vec<u8>>, LoadError> {
    let shift = 1 << (bits - 1);
    let (lines, groups) = (rows.div_ceil(scales.height), scales.per_line);
    let by_row = |zero: &dyn Fn(usize, usize) -> u8| {
        let places = (0..rows).flat_map(|row| (0..groups).map(move |group| (row, group)));
        Some(
            places
                .map(|(row, group)| zero(row / scales.height, group))
                .collect(),
        )
    };
    Ok(match weights.dtype(name) {
        None => None,
        Some("I32") => {
            let each = 32 / bits;
            let words = weights.words(name, &[lines.div_ceil(each), groups])?;
            by_row(&|line, group| {
                (words[line / each * groups + group] >> (bits * (line % each)) & ((1 << bits) - 1))
                    as u8
            })
        }
        Some(_) => {
            let shape = scales.shape.clone();
            let raw = weights.raw(name, &shape, "I8")?;
            by_row(&|line, group| (raw[line * groups + group] as i8 as i32 + shift) as u8)
        }
    })
}

/// Scales and the size of what shares one.
struct Scales {
    values: Vec<f32>,
    shape: Vec<usize>,
    /// Scales of a row.
    per_line: usize,
    /// Rows that share one.
    height: usize,
    /// Columns that share one.
    width: usize,
}

impl Scales {
    fn at(&self, row: usize, group: usize) -> f32 {
        self.values[row / self.height * self.per_line + group]
    }
}

/// The scales of a matrix: one (`[]`, `[1]`), one a row (`[rows]`, `[rows, 1]`), one a row and group of columns
/// (`[rows, groups]`), or one a block.
fn scales(
    weights: &mut Weights,
    name: &str,
    rows: usize,
    cols: usize,
    block: Option<[usize; 2]>,
) -> Result<Scales, LoadError> {
    let shape = weights.shape(name).map(<[usize]>::to_vec);
    let shape = shape.ok_or_else(|| weights.missing(name))?;
    let (height, width) = match (&shape[..], block) {
        ([] | [1] | [1, 1], _) => (rows, cols),
        ([lines], _) if *lines == rows => (1, cols),
        ([lines, groups], None)
            if *lines == rows && *groups > 0 && cols.is_multiple_of(*groups) =>
        {
            (1, cols / groups)
        }
        ([lines, groups], Some([height, width]))
            if *lines == rows.div_ceil(height) && *groups == cols.div_ceil(width) =>
        {
            (height, width)
        }
        _ => return Err(weights.damaged(name, "a shape that does not fit its weight")),
    };
    Ok(Scales {
        values: weights.floats(name, &shape)?,
        per_line: cols.div_ceil(width),
        shape,
        height,
        width,
    })
}

/// The scheme of DeepSeek-V3's fp8.
pub(super) fn fp8(q: &Fields) -> Result<Scheme, LoadError> {
    if q.text_opt("fmt")?.is_some_and(|format| format != "e4m3") {
        return Err(q.unsupported(
            "fmt",
            "known is e4m3; use such a checkpoint, or one in 16 bits",
        ));
    }
    Ok(Scheme::Fp8 {
        block: pair(q, "weight_block_size")?,
    })
}

/// Rows and columns of a block: a list, or in older files `"128x128"`.
fn pair(f: &Fields, name: &str) -> Result<Option<[usize; 2]>, LoadError> {
    let sizes: Vec<Option<u64>> = match f.get(name) {
        None => return Ok(None),
        Some(Value::String(text)) => text.split('x').map(|size| size.parse().ok()).collect(),
        Some(value) => value
            .as_array()
            .into_iter()
            .flatten()
            .map(Value::as_u64)
            .collect(),
    };
    let fits = |size: u64| (1..=1 << 20).contains(&size);
    match sizes[..] {
        [Some(rows), Some(cols)] if fits(rows) && fits(cols) => {
            Ok(Some([rows as usize, cols as usize]))
        }
        _ => Err(f.bad(name, "a list of two numbers from 1")),
    }
}

pub(super) fn fp8_matrix(
    weights: &mut Weights,
    name: &str,
    rows: usize,
    cols: usize,
    block: Option<[usize; 2]>,
) -> Result<Option<Matrix>, LoadError> {
    let (weight, inverse) = (format!("{name}.weight"), format!("{name}.weight_scale_inv"));
    if weights.dtype(&weight) != Some("F8_E4M3") {
        return Ok(None);
    }
    let name = if block.is_some() {
        inverse
    } else {
        format!("{name}.weight_scale")
    };
    let scales = scales(weights, &name, rows, cols, block)?;
    let values = weights.raw(&weight, &[rows, cols], "F8_E4M3")?;
    Ok(Some(scaled(&values, rows, cols, &scales)))
}

/// Numbers in fp8 times their scales.
fn scaled(values: &[u8], rows: usize, cols: usize, scales: &Scales) -> Matrix {
    let table: [f32; 256] = std::array::from_fn(|code| E4M3.decode(code as u16));
    let value = |(at, &bits): (usize, &u8)| {
        table[bits as usize] * scales.at(at / cols, at % cols / scales.width)
    };
    Matrix {
        rows,
        cols,
        elements: narrow(values.iter().enumerate().map(value).collect()),
    }
}
