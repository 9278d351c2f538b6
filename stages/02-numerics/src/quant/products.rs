//! Matrix products on codes, in plain Rust: what the fast kernels are held to.
//!
//! All compute `y[t][o] = Σ_k x[t][k] · w[o][k]` of tokens `[tokens, k]` and weights `[out, k]`, both a row after the other, as weights
//! of linear layers lie in memory. The invariant: within a group the sum of codes is exact, in integers; scales come in once for each
//! group, and groups are added in f64.

use super::{Format, Granularity, Quantised};
use crate::float::SmallFloat;
use std::ops::Range;

/// W8A8, W4A8 and whatever else has integer codes on both sides; `[tokens, out]`.
///
/// # Panics
/// If the rows differ in length, or a format is floating.
pub fn integer(x: &Quantised, w: &Quantised) -> Vec<f32> {
    for side in [x, w] {
        let floating = matches!(side.scheme.format, Format::Float(_));
        assert!(!floating, "integer codes on both sides");
    }
    let segments = segments(&[x, w]);
    product(x.shape, w.shape, |token, out| {
        let group = |span: &Range<usize>| {
            let (a, b) = (x.step(token, span.start), w.step(out, span.start));
            let (xs, ws) = (x.span(token, span), w.span(out, span));
            let dot = xs
                .iter()
                .zip(ws)
                .map(|(&x, &w)| i64::from(x) * i64::from(w));
            let sum = |codes: &[i32]| codes.iter().map(|&code| i64::from(code)).sum();
            let zeros = [a.zero_point, b.zero_point].map(i64::from);
            let exact = corrected(dot.sum(), [sum(xs), sum(ws)], zeros, span.len());
            exact as f64 * f64::from(a.scale) * f64::from(b.scale)
        };
        segments.iter().map(group).sum()
    })
}

/// `Σ (x - x_zero) · (w - w_zero)` over `count` codes, of the plain `Σ x · w` and the sums of either side (Jacob et al. 2018,
/// equation 7). The inner loop stays free of zero points, and the weights' sums are known beforehand.
pub fn corrected(
    dot: i64,
    [x_sum, w_sum]: [i64; 2],
    [x_zero, w_zero]: [i64; 2],
    count: usize,
) -> i64 {
    // ANCHOR: solve-corrected
    let (of_x, of_w) = (w_zero * x_sum, x_zero * w_sum);
    let of_both = count as i64 * x_zero * w_zero;
    dot - of_x - of_w + of_both
    // ANCHOR_END: solve-corrected
}

/// fp8 on both sides, e4m3 and e5m2 in any combination; `[tokens, out]`.
///
/// A code is an integer of the format's smallest number, so that sums are exact in an i128 (Kulisch's accumulator).
///
/// # Panics
/// If the rows differ in length, or a format is none of floating numbers with at most 5 exponent bits.
pub fn float(x: &Quantised, w: &Quantised) -> Vec<f32> {
    let (x_format, w_format) = (float_format(x), float_format(w));
    let unit = f64::from(x_format.smallest()) * f64::from(w_format.smallest());
    let segments = segments(&[x, w]);
    product(x.shape, w.shape, |token, out| {
        let group = |span: &Range<usize>| {
            let pairs = x.span(token, span).iter().zip(w.span(out, span));
            let dot = pairs.map(|(&x, &w)| fixed_point(x_format, x) * fixed_point(w_format, w));
            let scales = [x.step(token, span.start), w.step(out, span.start)];
            let [a, b] = scales.map(|step| f64::from(step.scale));
            dot.sum::<i128>() as f64 * unit * a * b
        };
        segments.iter().map(group).sum()
    })
}

/// W4A16 and other products of quantised weights with activations `[tokens, k]` of 16 bits, widened to f32, which is exact.
///
/// `Σ x · (w - zero)` is `Σ x · w - zero · Σ x`: the weights are never turned into numbers one by one, and the second sum is one for
/// all outputs.
///
/// # Panics
/// If the activations do not fill whole rows, or the weights' codes are floating.
pub fn weight_only(x: &[f32], w: &Quantised) -> Vec<f32> {
    let [_, k] = w.shape;
    let floating = matches!(w.scheme.format, Format::Float(_));
    assert!(!floating, "integer codes of weights");
    assert!(k > 0 && x.len().is_multiple_of(k), "rows of {k}");
    let segments = segments(&[w]);
    product([x.len() / k, k], w.shape, |token, out| {
        let group = |span: &Range<usize>| {
            let xs = &x[token * k..][span.clone()];
            let pairs = xs.iter().zip(w.span(out, span));
            let dot: f64 = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            let sum: f64 = xs.iter().map(|&x| f64::from(x)).sum();
            let step = w.step(out, span.start);
            f64::from(step.scale) * (dot - f64::from(step.zero_point) * sum)
        };
        segments.iter().map(group).sum()
    })
}

/// The value of a code in units of the format's smallest number.
fn fixed_point(format: SmallFloat, code: i32) -> i128 {
    (f64::from(format.decode(code as u16)) / f64::from(format.smallest())) as i128
}

fn float_format(side: &Quantised) -> SmallFloat {
    match side.scheme.format {
        Format::Float(format) if format.exponent_bits <= 5 => format,
        other => panic!("a floating format of at most 5 exponent bits, not {other:?}"),
    }
}

fn product(
    [tokens, k]: [usize; 2],
    [outs, w_k]: [usize; 2],
    dot: impl Fn(usize, usize) -> f64,
) -> Vec<f32> {
    assert_eq!(k, w_k, "tokens and weights are of one width");
    let row = |token| (0..outs).map(move |out| (token, out));
    let cells = (0..tokens).flat_map(row);
    cells.map(|(token, out)| dot(token, out) as f32).collect()
}

/// The spans of a row in which no side's step changes.
fn segments(sides: &[&Quantised]) -> Vec<Range<usize>> {
    let k = sides[0].shape[1];
    let begins = |side: &&Quantised, col: usize| match side.scheme.granularity {
        Granularity::PerTensor | Granularity::PerChannel => col == 0,
        Granularity::PerColumn => true,
        Granularity::Block(size) => col.is_multiple_of(size),
    };
    let starts = (0..k).filter(|&col| sides.iter().any(|side| begins(side, col)));
    let starts: Vec<usize> = starts.collect();
    let ends = starts.iter().copied().skip(1).chain([k]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| start..end)
        .collect()
}

impl Quantised {
    /// Codes of a row.
    fn span(&self, row: usize, span: &Range<usize>) -> &[i32] {
        &self.codes[row * self.shape[1]..][span.clone()]
    }
}
