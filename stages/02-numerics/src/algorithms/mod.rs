//! Quantising a linear layer by what flows through it.
//!
//! Rounding each weight to the nearest code minimises `‖W - Ŵ‖`, but what a model sees is `‖(W - Ŵ) Xᵀ‖`, over inputs `X` whose channels
//! are correlated and of very different sizes. Three algorithms use that: [`smooth`] moves the outliers of the activations into
//! the weights, [`gptq`] makes later columns repay the error of earlier ones, [`awq`] gives the weights of loud channels finer
//! steps. All three know the inputs only by [`Inputs`], statistics of fixed size, and round by a [`Scheme`](crate::quant::Scheme);
//! the invariant is that each leaves plain rounding as it is where the inputs give no reason to do better.

pub mod awq;
pub mod gptq;
mod inputs;
pub mod linear_algebra;
pub mod smooth;

pub use inputs::Inputs;

/// Multiplies column `j` of a matrix with rows of `factors.len()` by `factors[j]`.
///
/// # Panics
/// If the matrix is not of whole rows.
pub fn scale_columns(matrix: &mut [f32], factors: &[f32]) {
    assert!(matrix.len().is_multiple_of(factors.len().max(1)));
    for row in matrix.chunks_exact_mut(factors.len().max(1)) {
        for (value, factor) in row.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}
