//! GPTQ (Frantar et al., 2022), in the layout of AutoGPTQ and GPTQModel: integers packed along the inputs, zero points along the
//! outputs, from the low bits of a word up.
//!
//! The first version stores every zero point less one (`checkpoint_format: gptq`, or none); `gptq_v2` stores it as it is.

use super::{Fields, Grouped, LoadError, NOT_BITS, Scheme, Weights, group_size, order, packed};
use crate::matrix::Matrix;

pub(super) fn scheme(q: &Fields) -> Result<Scheme, LoadError> {
    let bits = q.size("bits")?;
    if bits != 4 && bits != 8 {
        return Err(q.unsupported("bits", NOT_BITS));
    }
    let format = "checkpoint_format";
    let zero_offset = match q.text_opt(format)? {
        None | Some("gptq") => 1,
        Some("gptq_v2") => 0,
        Some(_) => return Err(q.unsupported(format, "known are gptq and gptq_v2; save it as one")),
    };
    Ok(Scheme::Gptq {
        bits,
        group: group_size(q)?,
        zero_offset,
    })
}

pub(super) fn matrix(
    weights: &mut Weights,
    name: &str,
    rows: usize,
    cols: usize,
    bits: usize,
    group: Option<usize>,
    zero_offset: u32,
) -> Result<Option<Matrix>, LoadError> {
    let part = |part: &str| format!("{name}.{part}");
    if !weights.contains(&part("qweight")) {
        return Ok(None);
    }
    let each = 32 / bits;
    let group = group.unwrap_or(cols);
    let groups = cols.div_ceil(group);
    let words = weights.words(&part("qweight"), &[cols.div_ceil(each), rows])?;
    let packed_zeros = weights.words(&part("qzeros"), &[groups, rows.div_ceil(each)])?;
    let by_group = weights.floats(&part("scales"), &[groups, rows])?;
    let order = order(weights, &part("g_idx"), cols, group)?;
    let mask = (1 << bits) - 1;
    let mut quants = Vec::with_capacity(rows * cols);
    let (mut scales, mut zeros) = (Vec::new(), Vec::new());
    for row in 0..rows {
        for col in 0..cols {
            let word = words[col / each * rows + row];
            quants.push((word >> (bits * (col % each)) & mask) as u8);
        }
        for (line, scales_of) in packed_zeros
            .chunks(rows.div_ceil(each))
            .zip(by_group.chunks(rows))
        {
            // The sum is of as many bits as the number: a zero point of 0 is stored as all ones.
            zeros.push(((u32::from(packed(line, bits, row)) + zero_offset) & mask) as u8);
            scales.push(scales_of[row]);
        }
    }
    Ok(Some(
        Grouped {
            rows,
            cols,
            bits,
            quants,
            scales,
            zeros: Some(zeros),
            order,
        }
        .into_matrix(),
    ))
}
