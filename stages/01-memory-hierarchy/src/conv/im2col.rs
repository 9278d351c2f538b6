//! Convolution as one product: the patch beneath each place of the filter becomes a row of a matrix (im2col).
//!
//! A pixel is copied into up to `size^2` rows. That is cheap beside the multiplications, and the rows are made a strip at a time, as many
//! as stay in the second-level cache until the product has read them. The filters are packed once.
//!
//! The invariant: element `(tap, channel)` of a row meets element `(tap, channel)` of a filter, taps in reading order; padding is zero.

use super::Conv;
use super::shared::{Parts, Workspaces};
use crate::gemm::{Panels, Rows, multiply};
use crate::pool::Pool;
use crate::simd::Isa;
use std::ops::Range;

/// Elements of a strip, about: 256 KiB, which leaves room in the second-level cache for the filters.
const STRIP: usize = 64 * 1024;

/// A convolution by im2col, with its filters packed and its working memory allocated.
pub struct Im2col {
    conv: Conv,
    /// `[outputs, size * size * inputs]`
    filters: Panels<f32>,
    bias: Vec<f32>,
    /// Pixels of a strip.
    strip: usize,
    columns: Workspaces,
}

impl Im2col {
    /// Packs `filters [outputs, inputs, size, size]` and `bias [outputs]` for use on `pool`.
    ///
    /// # Panics
    /// If a slice has another length than `conv` says.
    pub fn new(conv: Conv, filters: &[f32], bias: &[f32], pool: &Pool) -> Self {
        conv.check_weights(filters, bias);
        let taps = conv.size * conv.size;
        let mut rows = Vec::with_capacity(filters.len());
        for filter in filters.chunks_exact(conv.patch_len()) {
            // [inputs, taps] to [taps, inputs]
            rows.extend((0..taps).flat_map(|tap| filter[tap..].iter().step_by(taps)));
        }
        let strip = (STRIP / conv.patch_len()).max(16);
        Self {
            conv,
            filters: Panels::pack(&rows, conv.outputs, conv.patch_len()),
            bias: bias.to_vec(),
            strip,
            columns: Workspaces::new(pool, strip * conv.patch_len()),
        }
    }

    /// Convolves `images [batch, height, width, inputs]` into `out [batch, out_height, out_width, outputs]`, on the pool that it was
    /// made for.
    ///
    /// # Panics
    /// If a slice has another length than the shape says, or the pool has more threads than that one.
    pub fn forward(&self, pool: &Pool, isa: Isa, images: &[f32], out: &mut [f32]) {
        let (conv, outputs) = (&self.conv, self.conv.outputs);
        let pixels = conv.batch(images, out) * conv.out_pixels();
        let out = Parts::of(out);
        self.columns
            .for_each(pool, pixels.div_ceil(self.strip), |strip, columns| {
                let strip = strip * self.strip..pixels.min((strip + 1) * self.strip);
                let columns = &mut columns[..strip.len() * conv.patch_len()];
                im2col(conv, images, strip.clone(), columns);
                // SAFETY: each strip of pixels is one piece of work.
                let out = unsafe { out.part(strip.start * outputs..strip.end * outputs) };
                let rows = Rows {
                    values: columns,
                    stride: conv.patch_len(),
                    rows: strip.len(),
                };
                multiply(
                    pool,
                    isa,
                    out,
                    outputs,
                    rows,
                    &self.filters,
                    Some(&self.bias),
                );
            });
    }
}

/// Writes the patches of `pixels` of the result, counted over the whole batch, as rows of `columns [pixels, size * size * inputs]`.
pub fn im2col(conv: &Conv, images: &[f32], pixels: Range<usize>, columns: &mut [f32]) {
    // ANCHOR: solve-im2col
    for (pixel, row) in pixels.zip(columns.chunks_exact_mut(conv.patch_len())) {
        let (image, place) = (pixel / conv.out_pixels(), pixel % conv.out_pixels());
        let image = &images[image * conv.image_len()..][..conv.image_len()];
        let y = place / conv.out_width() * conv.stride;
        let x = place % conv.out_width() * conv.stride;
        for (tap, to) in row.chunks_exact_mut(conv.inputs).enumerate() {
            match conv.pixel(image, y + tap / conv.size, x + tap % conv.size) {
                Some(channels) => to.copy_from_slice(channels),
                None => to.fill(0.0),
            }
        }
    }
    // ANCHOR_END: solve-im2col
}
