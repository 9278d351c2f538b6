//! AWQ (Lin et al., 2023), in the layout of AutoAWQ's `gemm` kernels: eight outputs in a word, the even ones in its low half.

use super::{Fields, Grouped, LoadError, Order, Scheme, Weights, group_size};
use crate::matrix::Matrix;

/// Where in a word the output `i` of eight lies, in steps of four bits: the word holds outputs 0, 2, 4, 6, 1, 3, 5, 7.
const PLACE: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

pub(super) fn scheme(q: &Fields) -> Result<Scheme, LoadError> {
    if q.size("bits")? != 4 {
        return Err(q.unsupported(
            "bits",
            "AWQ loads with 4 bits; use such a checkpoint, or one in 16",
        ));
    }
    match q.text_opt("version")? {
        None => {}
        Some(version) if version.eq_ignore_ascii_case("gemm") => {}
        Some(_) => {
            return Err(q.unsupported("version", "known is gemm; save the checkpoint in that"));
        }
    }
    if q.flag_opt("zero_point")? == Some(false) {
        return Err(q.unsupported("zero_point", "AWQ's gemm layout has zero points"));
    }
    Ok(Scheme::Awq {
        group: group_size(q)?,
    })
}

pub(super) fn matrix(
    weights: &mut Weights,
    name: &str,
    rows: usize,
    cols: usize,
    group: Option<usize>,
) -> Result<Option<Matrix>, LoadError> {
    let part = |part: &str| format!("{name}.{part}");
    if !weights.contains(&part("qweight")) {
        return Ok(None);
    }
    let group = group.unwrap_or(cols);
    let (groups, width) = (cols.div_ceil(group), rows.div_ceil(8));
    let words = weights.words(&part("qweight"), &[cols, width])?;
    let packed_zeros = weights.words(&part("qzeros"), &[groups, width])?;
    let by_group = weights.floats(&part("scales"), &[groups, rows])?;
    let quant = |words: &[u32], line: usize, row: usize| {
        (words[line * width + row / 8] >> (4 * PLACE[row % 8]) & 15) as u8
    };
    let mut quants = Vec::with_capacity(rows * cols);
    let (mut scales, mut zeros) = (Vec::new(), Vec::new());
    for row in 0..rows {
        quants.extend((0..cols).map(|col| quant(&words, col, row)));
        zeros.extend((0..groups).map(|group| quant(&packed_zeros, group, row)));
        scales.extend((0..groups).map(|group| by_group[group * rows + row]));
    }
    Ok(Some(
        Grouped {
            rows,
            cols,
            bits: 4,
            quants,
            scales,
            zeros: Some(zeros),
            order: Order::Plain(group),
        }
        .into_matrix(),
    ))
}
