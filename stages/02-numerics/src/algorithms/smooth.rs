//! SmoothQuant (Xiao et al., 2022): outliers of the activations move into the weights, where steps are many.
//!
//! Activations of a few channels are a hundred times as large as the rest, in every token. They set the step of the whole token, and
//! the rest rounds to nothing. Since `X Wᵀ = (X / s) (W · s)ᵀ` for any `s > 0` of each input channel, the product is the same and the
//! difficulty is shared; the division is folded into the norm or the layer before, so that it costs nothing.

/// `s[j] = activation[j]^alpha / weight[j]^(1 - alpha)` (equation 4), of the largest magnitudes of each input channel. `alpha` 1 makes
/// all channels of the activations equally large, 0 those of the weights; 0.5 divides the difficulty.
///
/// A channel without activations or weights has nothing to share, and is left as it is. So is one whose scale is no normal number.
///
/// # Panics
/// If the two are not of one length.
pub fn smoothing(activation: &[f32], weight: &[f32], alpha: f32) -> Vec<f32> {
    assert_eq!(activation.len(), weight.len(), "one channel each");
    // ANCHOR: solve-smoothing
    let scale = |(&activation, &weight): (&f32, &f32)| {
        let scale = activation.powf(alpha) / weight.powf(1.0 - alpha);
        if activation > 0.0 && weight > 0.0 && scale.is_normal() {
            scale
        } else {
            1.0
        }
    };
    activation.iter().zip(weight).map(scale).collect()
    // ANCHOR_END: solve-smoothing
}

/// The largest magnitude of each column of matrices `[rows, cols]` that read the same input.
///
/// # Panics
/// If a matrix is not of whole rows.
pub fn largest_weights(weights: &[&[f32]], cols: usize) -> Vec<f32> {
    let mut largest = vec![0.0f32; cols];
    for weight in weights {
        assert!(weight.len().is_multiple_of(cols), "rows of {cols}");
        for row in weight.chunks_exact(cols) {
            for (most, value) in largest.iter_mut().zip(row) {
                *most = most.max(value.abs());
            }
        }
    }
    largest
}
