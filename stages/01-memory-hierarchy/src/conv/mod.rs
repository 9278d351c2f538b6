//! Convolutions of images on the products of this crate.
//!
//! - [`direct`]: the definition, and the reference of the others.
//! - [`Im2col`]: every patch of the image becomes a row, and the convolution one product.
//! - [`Winograd`]: 3x3 filters at 2.25 multiplications fewer, as sixteen smaller products.
//! - [`Cnn`]: a small network of them, the one that reads digits.
//!
//! The invariant: images are channels-last, `[batch, height, width, channels]`, so that the channels of a pixel are one slice, a row
//! of a product's output is a pixel, and padding is a slice that is not there ([`Conv::pixel`]), never a copy of the image.

mod cnn;
mod direct;
mod im2col;
mod layers;
mod shared;
mod winograd;

pub use cnn::{Algorithm, Cnn, CnnWeights, ConvWeights};
pub use direct::direct;
pub use im2col::{Im2col, im2col};
pub use layers::{max_pool, relu, softmax};
pub use winograd::{Winograd, filter_tile, input_tile, output_tile};

/// The shape of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Rows of the image.
    pub height: usize,
    /// Pixels in a row of the image.
    pub width: usize,
    /// Channels of the image.
    pub inputs: usize,
    /// Channels of the result: filters.
    pub outputs: usize,
    /// Rows, and columns, of a filter.
    pub size: usize,
    /// Pixels from one application of the filters to the next.
    pub stride: usize,
    /// Pixels of zero around the image.
    pub padding: usize,
}

impl Conv {
    /// 3x3 filters at every pixel; with a padding of 1, the result is as large as the image.
    pub fn three(height: usize, width: usize, inputs: usize, outputs: usize) -> Self {
        Self {
            height,
            width,
            inputs,
            outputs,
            size: 3,
            stride: 1,
            padding: 1,
        }
    }

    /// Rows of the result.
    pub fn out_height(&self) -> usize {
        self.places(self.height)
    }

    /// Pixels in a row of the result.
    pub fn out_width(&self) -> usize {
        self.places(self.width)
    }

    /// Elements of one image.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.inputs
    }

    /// Pixels of one result.
    pub fn out_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Elements of one result.
    pub fn out_len(&self) -> usize {
        self.out_pixels() * self.outputs
    }

    /// Elements that a filter is applied to: `size * size * inputs`.
    pub fn patch_len(&self) -> usize {
        self.size * self.size * self.inputs
    }

    /// Operations by the definition, on one image: two for each weight and place.
    pub fn flops(&self) -> usize {
        2 * self.out_len() * self.patch_len()
    }

    /// The channels of the pixel at row `y` and column `x` of the padded image; `None` in the padding, or beyond it.
    #[inline(always)]
    pub fn pixel<'a>(&self, image: &'a [f32], y: usize, x: usize) -> Option<&'a [f32]> {
        let (y, x) = (y.checked_sub(self.padding)?, x.checked_sub(self.padding)?);
        let at = (y * self.width + x) * self.inputs;
        (y < self.height && x < self.width).then(|| &image[at..at + self.inputs])
    }

    /// Places where a filter fits along a side.
    fn places(&self, side: usize) -> usize {
        (side + 2 * self.padding)
            .checked_sub(self.size)
            .map_or(0, |room| room / self.stride + 1)
    }

    /// Images in a batch, whose slices must fit.
    fn batch(&self, images: &[f32], out: &[f32]) -> usize {
        assert!(
            self.image_len() > 0 && images.len().is_multiple_of(self.image_len()),
            "{} elements are no images of {self:?}",
            images.len()
        );
        let batch = images.len() / self.image_len();
        assert_eq!(out.len(), batch * self.out_len(), "a result of {self:?}");
        batch
    }

    fn check_weights(&self, filters: &[f32], bias: &[f32]) {
        assert!(self.outputs > 0 && self.size > 0 && self.stride > 0);
        assert_eq!(
            filters.len(),
            self.outputs * self.patch_len(),
            "filters of {self:?}"
        );
        assert_eq!(bias.len(), self.outputs, "biases of {self:?}");
    }
}
