//! What stands between convolutions: the rectifier, the maximum of four, and at the end the softmax.

/// `max(x, 0)`, in place. NaN stays NaN: a network that has gone wrong must not look right.
pub fn relu(values: &mut [f32]) {
    for value in values {
        *value = if *value < 0.0 { 0.0 } else { *value };
    }
}

/// The maximum over each 2x2 of `images [batch, height, width, channels]`; an odd last row or column is left out.
/// Writes `out [batch, height / 2, width / 2, channels]`.
///
/// # Panics
/// If `out` has another length.
pub fn max_pool(images: &[f32], height: usize, width: usize, channels: usize, out: &mut [f32]) {
    let (rows, cols, row) = (height / 2, width / 2, width * channels);
    if rows * cols * channels == 0 {
        return assert!(out.is_empty());
    }
    let batch = images.len() / (height * row);
    assert_eq!(out.len(), batch * rows * cols * channels);
    for (index, out) in out.chunks_exact_mut(cols * channels).enumerate() {
        let top = index / rows * height + index % rows * 2;
        let (top, bottom) = images[top * row..][..2 * row].split_at(row);
        for (x, out) in out.chunks_exact_mut(channels).enumerate() {
            let at = 2 * x * channels;
            for (c, out) in out.iter_mut().enumerate() {
                let upper = maximum(top[at + c], top[at + channels + c]);
                let lower = maximum(bottom[at + c], bottom[at + channels + c]);
                *out = maximum(upper, lower);
            }
        }
    }
}

/// The larger, or NaN if either is; `f32::max` would hide it.
fn maximum(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// Turns logits into probabilities, in place.
pub fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for logit in logits.iter_mut() {
        *logit = (*logit - largest).exp();
    }
    let sum: f32 = logits.iter().sum();
    for logit in logits {
        *logit /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_four_survives_and_odd_edges_are_left_out() {
        // Two channels: 100 more, and turned round.
        let pixels = [[1.0, 8.0, 9.0], [4.0, 2.0, 9.0], [9.0, 9.0, 9.0f32]];
        let image: Vec<f32> = pixels
            .as_flattened()
            .iter()
            .flat_map(|p| [100.0 + p, -p])
            .collect();
        let mut out = [f32::NAN; 4];
        max_pool(&[&image[..], &image[..]].concat(), 3, 3, 2, &mut out);
        assert_eq!(out, [108.0, -1.0, 108.0, -1.0]);
        max_pool(&image[..6], 1, 3, 2, &mut []);
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for at in 0..4 {
            let mut image = [1.0, 2.0, 3.0, 4.0];
            image[at] = f32::NAN;
            let mut out = [0.0];
            max_pool(&image, 2, 2, 1, &mut out);
            assert!(out[0].is_nan());
            relu(&mut image);
            assert!(image[at].is_nan());
        }
    }

    #[test]
    fn probabilities_add_up_and_large_logits_do_not_overflow() {
        let mut p = [1000.0, 1000.0 + 2f32.ln(), -1000.0];
        softmax(&mut p);
        for (p, expected) in p.iter().zip([1.0 / 3.0, 2.0 / 3.0, 0.0]) {
            assert!((p - expected).abs() < 1e-4, "{p}");
        }
        let mut negative = [-1.0, 0.0, 2.0];
        relu(&mut negative);
        assert_eq!(negative, [0.0, 0.0, 2.0]);
    }
}
