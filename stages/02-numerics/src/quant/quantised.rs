//! A quantised matrix: codes, and the steps of its groups.

use super::{Calibration, Format, Granularity, Mapping, QuantError, Scheme, Step};
use crate::integer;

/// A matrix `[rows, cols]` of codes with a step for each group.
///
/// A code takes an i32 here, whatever its bits: this is the form to compute with and to test against. [`Quantised::packed`] is what
/// is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// How it was made.
    pub scheme: Scheme,
    /// `[rows, cols]`.
    pub shape: [usize; 2],
    /// `[rows, cols]`, each within [`Scheme::code_range`].
    pub codes: Vec<i32>,
    /// `[groups]`, in the order of [`Granularity::group`].
    pub scales: Vec<f32>,
    /// `[groups]`, the codes of zero.
    pub zero_points: Vec<i32>,
}

impl Scheme {
    /// A step for each group of the matrix `[rows, cols]`.
    ///
    /// # Errors
    /// If the numbers do not fill the shape, one is not finite, or the scheme means nothing.
    pub fn calibrate(&self, values: &[f32], shape: [usize; 2]) -> Result<Vec<Step>, QuantError> {
        self.check(values, shape)?;
        let mut groups = vec![Vec::new(); self.granularity.groups(shape)];
        for (at, &value) in values.iter().enumerate() {
            let (row, col) = (at / shape[1], at % shape[1]);
            groups[self.granularity.group(shape[1], row, col)].push(value);
        }
        Ok(groups.iter().map(|group| self.fit(group)).collect())
    }

    /// The matrix in codes, with steps of its own.
    ///
    /// # Errors
    /// As [`Scheme::calibrate`].
    pub fn quantise(&self, values: &[f32], shape: [usize; 2]) -> Result<Quantised, QuantError> {
        let steps = self.calibrate(values, shape)?;
        self.quantise_with(values, shape, &steps)
    }

    /// The matrix in codes, with steps that were found before, on other data: numbers beyond their range are clipped.
    ///
    /// # Errors
    /// As [`Scheme::calibrate`], and if there is not one step a group.
    pub fn quantise_with(
        &self,
        values: &[f32],
        shape: [usize; 2],
        steps: &[Step],
    ) -> Result<Quantised, QuantError> {
        self.check(values, shape)?;
        let groups = self.granularity.groups(shape);
        if steps.len() != groups {
            let found = steps.len();
            return Err(QuantError::Steps { groups, found });
        }
        let code = |(at, &value): (usize, &f32)| {
            let group = self
                .granularity
                .group(shape[1], at / shape[1], at % shape[1]);
            self.encode(value, steps[group])
        };
        Ok(Quantised {
            scheme: *self,
            shape,
            codes: values.iter().enumerate().map(code).collect(),
            scales: steps.iter().map(|step| step.scale).collect(),
            zero_points: steps.iter().map(|step| step.zero_point).collect(),
        })
    }

    /// Whether codes count from a zero point.
    pub(super) fn is_asymmetric(&self) -> bool {
        matches!(self.format, Format::Int(_)) && self.mapping == Mapping::Asymmetric
    }

    fn check(&self, values: &[f32], [rows, cols]: [usize; 2]) -> Result<(), QuantError> {
        if matches!(self.format, Format::Int(bits) if !(2..=16).contains(&bits)) {
            return Err(QuantError::Scheme("integer codes have 2 to 16 bits"));
        }
        if self.granularity == Granularity::Block(0) {
            return Err(QuantError::Scheme("a block has at least one number"));
        }
        match self.calibration {
            Calibration::Percentile(percent) if !(percent > 0.0 && percent <= 100.0) => {
                return Err(QuantError::Scheme(
                    "a percentile is above 0 and at most 100",
                ));
            }
            Calibration::Mse { tried: 0 } => {
                return Err(QuantError::Scheme(
                    "the least error is sought among one or more ranges",
                ));
            }
            _ => {}
        }
        if values.len() != rows * cols {
            let found = values.len();
            return Err(QuantError::Shape { rows, cols, found });
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(QuantError::NotFinite {
                at,
                value: values[at],
            }),
            None => Ok(()),
        }
    }
}

impl Quantised {
    /// The step of an element's group.
    #[inline]
    pub fn step(&self, row: usize, col: usize) -> Step {
        let group = self.scheme.granularity.group(self.shape[1], row, col);
        Step {
            scale: self.scales[group],
            zero_point: self.zero_points[group],
        }
    }

    /// What the element at `row` and `col` stands for.
    #[inline]
    pub fn value(&self, row: usize, col: usize) -> f32 {
        let code = self.codes[row * self.shape[1] + col];
        self.scheme.decode(code, self.step(row, col))
    }

    /// All that the codes stand for, `[rows, cols]`.
    pub fn dequantise(&self) -> Vec<f32> {
        let row = |row| (0..self.shape[1]).map(move |col| self.value(row, col));
        (0..self.shape[0]).flat_map(row).collect()
    }

    /// The codes as they are stored, each row in whole bytes: see [`integer::pack`]. Signed codes are in two's complement, a sign is
    /// the bit 1 for +1, and codes of more than 8 bits are two bytes, the low one first.
    pub fn packed(&self) -> Vec<u8> {
        let bits = match self.scheme.bits() {
            1 => 1,
            2 => 2,
            3 | 4 => 4,
            5..=8 => 8,
            _ => {
                return self
                    .codes
                    .iter()
                    .flat_map(|&code| (code as u16).to_le_bytes())
                    .collect();
            }
        };
        let byte = |&code: &i32| match self.scheme.format {
            Format::Binary => u8::from(code > 0),
            _ => code as u8,
        };
        let rows = self.codes.chunks(self.shape[1].max(1));
        rows.flat_map(|row| integer::pack(bits, &row.iter().map(byte).collect::<Vec<_>>()))
            .collect()
    }

    /// Bytes that the matrix takes in memory: packed codes, a scale for each group of 4 or 2 bytes, and a byte for a zero point.
    pub fn bytes(&self) -> usize {
        let scale = if self.scheme.f16_scales { 2 } else { 4 };
        let zero_point =
            usize::from(self.scheme.is_asymmetric()) * self.scheme.bits().div_ceil(8) as usize;
        self.packed().len() + self.scales.len() * (scale + zero_point)
    }
}
