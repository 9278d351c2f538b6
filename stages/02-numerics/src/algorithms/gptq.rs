//! GPTQ (Frantar et al., 2022): columns are rounded one after another, and those still to come repay the error of each.
//!
//! The error of a layer's outputs is quadratic in the weights, with the Hessian `H = 2 Xᵀ X`. Once a column is rounded, the best
//! change of the others is known in closed form (Optimal Brain Surgeon, Hassibi and Stork, 1993): column `k` moves by the error
//! times `H⁻¹[j, k] / H⁻¹[j, j]`. What that needs of the inverse, restricted to the columns left, is row `j` of the upper triangular `U`
//! with `Uᵀ U = H⁻¹`, and `U` is the same for all rows of the weight. With uncorrelated inputs `U` is diagonal, nothing moves, and
//! GPTQ is rounding to the nearest.

use super::Inputs;
use super::linear_algebra::{invert_upper, upper_cholesky};
use crate::quant::{Granularity, QuantError, Quantised, Scheme, Step};

/// How GPTQ goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gptq {
    /// Added to the diagonal, as a fraction of its mean: what the calibration has not seen is not taken for certain.
    pub damping: f64,
    /// Columns of the largest inputs first, while many are left to repay them. Steps are then those of the weights as they were, so
    /// that the columns of a group can stay together in memory (static groups).
    pub act_order: bool,
}

impl Default for Gptq {
    fn default() -> Self {
        Self {
            damping: 0.01,
            act_order: false,
        }
    }
}

impl Gptq {
    /// The weight `[rows, cols]` in codes of `scheme`, for these inputs. Scales must not be shared between rows.
    ///
    /// # Errors
    /// As [`Scheme::quantise`].
    ///
    /// # Panics
    /// If the weight is not as wide as the inputs.
    pub fn quantise(
        &self,
        weight: &[f32],
        shape: [usize; 2],
        inputs: &Inputs,
        scheme: &Scheme,
    ) -> Result<Quantised, QuantError> {
        let [rows, cols] = shape;
        assert_eq!(cols, inputs.cols(), "a weight as wide as its inputs");
        let width = match scheme.granularity {
            Granularity::PerChannel => cols,
            Granularity::Block(size) => size,
            _ => return Err(QuantError::Scheme("GPTQ needs scales within a row")),
        };
        // Checks the arguments, and has a place for each step.
        let mut steps = scheme.calibrate(weight, shape)?;
        let order = self.order(inputs);
        let factor = inverse_factor(inputs, &order, self.damping);
        let mut rounded = vec![0.0f32; weight.len()];
        let groups = cols.div_ceil(width);
        for row in 0..rows {
            let steps = &mut steps[row * groups..][..groups];
            let weight = &weight[row * cols..][..cols];
            let mut left: Vec<f64> = order.iter().map(|&col| f64::from(weight[col])).collect();
            repay(&mut left, &factor, |at, left| {
                let step = &mut steps[order[at] / width];
                if !self.act_order && at % width == 0 {
                    // The group as it is by now: it has repaid what was rounded before it.
                    *step = refit(scheme, &left[at..cols.min(at + width)]);
                }
                let code = scheme.encode(left[at] as f32, *step);
                f64::from(scheme.decode(code, *step))
            });
            for (at, &col) in order.iter().enumerate() {
                rounded[row * cols + col] = left[at] as f32;
            }
        }
        // The numbers are codes' values already: this finds the codes.
        scheme.quantise_with(&rounded, shape, &steps)
    }

    /// Columns in the order in which they are rounded.
    fn order(&self, inputs: &Inputs) -> Vec<usize> {
        let mut order: Vec<usize> = (0..inputs.cols()).collect();
        if self.act_order {
            order.sort_by(|&a, &b| inputs.gram(b, b).total_cmp(&inputs.gram(a, a)));
        }
        order
    }
}

/// Rounds a row from left to right by `round(at, row)`. After each column the columns to its right repay its error:
/// `row[k] -= (row[at] - rounded) / u[at, at] · u[at, k]`, with the upper triangular `u` `[cols, cols]`, `uᵀ u = H⁻¹`. Leaves the rounded
/// numbers in the row.
fn repay(row: &mut [f64], u: &[f64], mut round: impl FnMut(usize, &[f64]) -> f64) {
    let cols = row.len();
    // ANCHOR: solve-repay
    for at in 0..cols {
        let rounded = round(at, row);
        let factors = &u[at * cols..][..cols];
        let error = (row[at] - rounded) / factors[at];
        row[at] = rounded;
        for (value, factor) in row[at + 1..].iter_mut().zip(&factors[at + 1..]) {
            *value -= error * factor;
        }
    }
    // ANCHOR_END: solve-repay
}

/// The upper triangular `U` with `Uᵀ U = H⁻¹`, columns in `order`. From `H = R Rᵀ` follows `U = R⁻¹`: the inverse of `H` itself is never
/// made.
fn inverse_factor(inputs: &Inputs, order: &[usize], damping: f64) -> Vec<f64> {
    let n = order.len();
    let diagonal: f64 = (0..n).map(|j| 2.0 * inputs.gram(j, j)).sum();
    let mut added = damping * diagonal / n as f64;
    loop {
        let mut h = vec![0.0; n * n];
        for (i, &a) in order.iter().enumerate() {
            for (j, &b) in order.iter().enumerate() {
                h[i * n + j] = 2.0 * inputs.gram(a, b);
            }
            // A channel that was never active has no say in any other: it is rounded to the nearest.
            let dead = f64::from(u8::from(h[i * n + i] == 0.0));
            h[i * n + i] += added + dead;
        }
        if let Some(r) = upper_cholesky(&h, n) {
            return invert_upper(&r, n);
        }
        // Singular up to rounding: fewer tokens than channels, and too little damping.
        added = (10.0 * added).max(1e-9 * diagonal / n as f64);
    }
}

fn refit(scheme: &Scheme, group: &[f64]) -> Step {
    let group: Vec<f32> = group.iter().map(|&value| value as f32).collect();
    scheme.fit(&group)
}
