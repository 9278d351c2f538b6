//! e4m3 on the host: conversion both ways, and quantisation with DeepSeek-V3's scales.
//!
//! An e4m3 has a sign, 4 exponent bits with bias 7 and 3 mantissa bits, no infinity, and one NaN a sign: from 2^-9 to 448. Activations
//! have a scale for each row and [`GROUP`] columns, so that one outlier costs the precision of 128 values; weights one for each
//! [`GROUP`] × [`GROUP`] block, which is known beforehand.

/// Values of k that share a scale.
pub const GROUP: usize = 128;

/// The largest e4m3.
pub const LARGEST: f32 = 448.0;

/// The e4m3 next to `value`, of two as near the even one. What is beyond the largest becomes the largest; NaN stays NaN.
pub fn to_e4m3(value: f32) -> u8 {
    let sign = (value.to_bits() >> 24 & 0x80) as u8;
    let size = value.abs();
    if size.is_nan() {
        return sign | 0x7F;
    }
    if size >= LARGEST {
        return sign | 0x7E;
    }
    // Neighbours lie 2^-3 of their power of two apart, from 2^-6 down always 2^-9. Dividing by a power of two and counting in steps are
    // exact, and so is the carry into the next exponent: codes of one sign are numbered as their values are ordered.
    let exponent = ((size.to_bits() >> 23) as i32 - 127).max(-6);
    let steps = (size * power(3 - exponent)).round_ties_even() as i32;
    sign | ((exponent + 6) * 8 + steps) as u8
}

/// What an e4m3 stands for.
pub fn from_e4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let size = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * power(-9),
        _ => (8.0 + mantissa) * power(exponent - 10),
    };
    if code & 0x80 == 0 { size } else { -size }
}

/// 2 to the power of `exponent`, which is a normal f32's.
fn power(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// A matrix in e4m3 with a scale for each of its blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    /// `[rows, k]`.
    pub codes: Vec<u8>,
    /// Of tokens `[k / 128, stride]`, of weights `[rows / 128, k / 128]`, both rounded up.
    pub scales: Vec<f32>,
    /// Columns of the tokens' scales: rows, rounded up to the multiple of 4 that TMA needs. 0 for weights.
    pub stride: usize,
    rows: usize,
    k: usize,
}

impl Quantised {
    /// Tokens `[rows, k]`, a scale for each row and 128 columns.
    ///
    /// # Panics
    /// If `values` are not `rows · k`.
    pub fn tokens(values: &[f32], rows: usize, k: usize) -> Self {
        let stride = rows.next_multiple_of(4);
        Self::blocks(values, [rows, k], 1, stride)
    }

    /// Weights `[rows, k]`, a scale for each block of 128 × 128.
    ///
    /// # Panics
    /// If `values` are not `rows · k`.
    pub fn weights(values: &[f32], rows: usize, k: usize) -> Self {
        Self::blocks(values, [rows, k], GROUP, 0)
    }

    fn blocks(values: &[f32], [rows, k]: [usize; 2], height: usize, stride: usize) -> Self {
        assert_eq!(values.len(), rows * k, "{rows} x {k} values");
        let groups = k.div_ceil(GROUP);
        let count = groups * stride.max(rows.div_ceil(height) * usize::from(stride == 0));
        let mut made = Self {
            codes: vec![0; values.len()],
            scales: vec![0.0; count],
            stride,
            rows,
            k,
        };
        for top in (0..rows).step_by(height) {
            for left in (0..k).step_by(GROUP) {
                let lines = top..(top + height).min(rows);
                let spans = lines.map(|row| row * k + left..row * k + (left + GROUP).min(k));
                let all = spans.clone().flat_map(|span| &values[span]);
                let most = all.fold(0.0_f32, |most, value| most.max(value.abs()));
                // A block of zeros has any scale but 0: 0 divided by it must be 0.
                let scale = if most > 0.0 { most / LARGEST } else { 1.0 };
                for at in spans.flatten() {
                    made.codes[at] = to_e4m3(values[at] / scale);
                }
                let place = made.place(top, left);
                made.scales[place] = scale;
            }
        }
        made
    }

    /// Where the scale of an element stands.
    fn place(&self, row: usize, column: usize) -> usize {
        match self.stride {
            0 => row / GROUP * self.k.div_ceil(GROUP) + column / GROUP,
            stride => column / GROUP * stride + row,
        }
    }

    /// What the element at `row` and `column` stands for.
    pub fn value(&self, row: usize, column: usize) -> f64 {
        let code = self.codes[row * self.k + column];
        f64::from(from_e4m3(code)) * f64::from(self.scales[self.place(row, column)])
    }

    /// All that the codes stand for, `[rows, k]`.
    pub fn values(&self) -> Vec<f64> {
        let row = |row| (0..self.k).map(move |column| self.value(row, column));
        (0..self.rows).flat_map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, with nothing of the code above: the nearest of all codes, the even one of two.
    fn nearest(value: f64) -> u8 {
        let codes = (0..=0x7E_u8).map(|code| {
            let (exponent, mantissa) = (i32::from(code / 8), f64::from(code % 8) / 8.0);
            let size = match exponent {
                0 => mantissa * 2.0_f64.powi(-6),
                _ => (1.0 + mantissa) * 2.0_f64.powi(exponent - 7),
            };
            ((size - value.abs()).abs(), code % 2, code)
        });
        let least = codes.min_by(|a, b| a.partial_cmp(b).unwrap()).unwrap().2;
        least | if value.is_sign_negative() { 0x80 } else { 0 }
    }

    #[test]
    fn every_code_comes_back() {
        assert_eq!(from_e4m3(0x7E), 448.0);
        assert_eq!(from_e4m3(0x01), 2.0_f32.powi(-9));
        assert_eq!(from_e4m3(0xB8), -1.0);
        for code in 0..=255_u8 {
            let value = from_e4m3(code);
            assert_eq!(value.is_nan(), code & 0x7F == 0x7F, "{code:#x}");
            if !value.is_nan() {
                assert_eq!(to_e4m3(value), code, "{code:#x} is {value}");
            }
        }
        assert_eq!(to_e4m3(f32::NAN) & 0x7F, 0x7F);
    }

    #[test]
    fn rounds_to_the_nearest_and_ties_to_even() {
        for code in 0..0x7E_u8 {
            let (low, high) = (from_e4m3(code), from_e4m3(code + 1));
            let middle = (low + high) / 2.0;
            for value in [middle.next_down(), middle, middle.next_up()] {
                assert_eq!(to_e4m3(value), nearest(f64::from(value)), "{value}");
                assert_eq!(to_e4m3(-value), nearest(-f64::from(value)), "-{value}");
            }
            assert_eq!(to_e4m3(middle), code + code % 2, "{middle} is a tie");
        }
        for value in [448.1, 464.0, 1e9, f32::INFINITY, f32::MAX] {
            assert_eq!((to_e4m3(value), to_e4m3(-value)), (0x7E, 0xFE));
        }
        for value in [f32::MIN_POSITIVE, 1e-45, 2.0_f32.powi(-10)] {
            assert_eq!((to_e4m3(value), to_e4m3(-value)), (0, 0x80));
        }
    }

    #[test]
    fn each_block_uses_the_whole_range() {
        // Sizes that differ a thousandfold from block to block: with a wrong scale, or one that is shared, the error is not small.
        let (rows, k) = (261, 272);
        let value = |row: usize, column: usize| {
            let noise = ((row * 7919 + column * 104_729) % 2003) as f32 / 1001.5 - 1.0;
            noise * 10.0_f32.powi(((row / 128 + column / 128) % 3) as i32 * 3)
        };
        let cells = |row| (0..k).map(move |column| value(row, column));
        let values: Vec<f32> = (0..rows).flat_map(cells).collect();
        let (tokens, weights) = (
            Quantised::tokens(&values, rows, k),
            Quantised::weights(&values, rows, k),
        );
        assert_eq!((tokens.stride, tokens.scales.len()), (264, 3 * 264));
        assert_eq!(weights.scales.len(), 3 * 3);
        for made in [&tokens, &weights] {
            for (index, (got, wanted)) in made.values().iter().zip(&values).enumerate() {
                // Half a step of 2^-3 at most, or half the least step of the block.
                let block = 10.0_f64.powi(((index / k / 128 + index % k / 128) % 3) as i32 * 3);
                let wanted = f64::from(*wanted);
                let most = (wanted.abs() / 16.0).max(block / 448.0 / 1024.0) * 1.000_01;
                assert!((got - wanted).abs() <= most, "{index}: {got} for {wanted}");
            }
        }
        let zeros = Quantised::weights(&[0.0; 16], 1, 16);
        assert_eq!(zeros.values(), [0.0; 16]);
    }
}
