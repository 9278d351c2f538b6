//! Convolution as its definition reads: six loops and a sum.
//!
//! Every output is the sum over the patch beneath the filter. It is the reference that the fast ones are held to, and their floor in
//! the bench: it reads a weight for each multiplication.

use super::Conv;

/// Convolves `images [batch, height, width, inputs]` with `filters [outputs, inputs, size, size]`, adds `bias [outputs]`, and
/// writes `out [batch, out_height, out_width, outputs]`. As in every framework, the filter is not turned round.
///
/// # Panics
/// If a slice has another length than its shape says.
pub fn direct(conv: &Conv, images: &[f32], filters: &[f32], bias: &[f32], out: &mut [f32]) {
    conv.check_weights(filters, bias);
    conv.batch(images, out);
    let size = conv.size;
    for (index, pixel) in out.chunks_exact_mut(conv.outputs).enumerate() {
        let (image, place) = (index / conv.out_pixels(), index % conv.out_pixels());
        let image = &images[image * conv.image_len()..][..conv.image_len()];
        let (y, x) = (place / conv.out_width(), place % conv.out_width());
        for (o, out) in pixel.iter_mut().enumerate() {
            let mut sum = bias[o];
            for dy in 0..size {
                for dx in 0..size {
                    let patch = conv.pixel(image, y * conv.stride + dy, x * conv.stride + dx);
                    for (c, value) in patch.into_iter().flatten().enumerate() {
                        sum += value * filters[((o * conv.inputs + c) * size + dy) * size + dx];
                    }
                }
            }
            *out = sum;
        }
    }
}
