//! A small convolutional network: 3x3 convolutions, each rectified and pooled, and a linear layer that reads what is left.
//!
//! The invariant: everything that [`Cnn::forward`] writes was allocated by [`Cnn::new`], for the largest batch that was asked for.

use super::{Conv, Im2col, Winograd, max_pool, relu};
use crate::gemm::{Panels, Rows, multiply};
use crate::pool::Pool;
use crate::simd::Isa;

/// How the convolutions are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// As one product.
    Im2col,
    /// As sixteen products, F(2x2, 3x3).
    Winograd,
}

/// Weights of a convolution.
#[derive(Clone, Debug)]
pub struct ConvWeights {
    /// `[outputs, inputs, 3, 3]`
    pub filters: Vec<f32>,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

/// Weights of a [`Cnn`], in the layout of PyTorch.
#[derive(Clone, Debug)]
pub struct CnnWeights {
    /// Rows, and columns, of an image of one channel.
    pub side: usize,
    /// In order; each takes the channels that the one before it gives.
    pub convolutions: Vec<ConvWeights>,
    /// `[classes, channels * rows * columns]` of what the last convolution leaves, pooled.
    pub linear: Vec<f32>,
    /// `[classes]`
    pub linear_bias: Vec<f32>,
}

enum Layer {
    Im2col(Im2col),
    Winograd(Winograd),
}

/// A network ready to run.
pub struct Cnn {
    layers: Vec<(Conv, Layer)>,
    linear: Panels<f32>,
    linear_bias: Vec<f32>,
    side: usize,
    batch: usize,
    /// What a convolution gives.
    wide: Vec<f32>,
    /// What is left of it when it is pooled.
    pooled: Vec<f32>,
    /// `[batch, classes]`
    logits: Vec<f32>,
}

impl Cnn {
    /// A network for batches of up to `batch` images, on `pool`.
    ///
    /// # Panics
    /// If the weights do not fit one another.
    pub fn new(weights: &CnnWeights, algorithm: Algorithm, batch: usize, pool: &Pool) -> Self {
        let (mut side, mut channels) = (weights.side, 1);
        let mut layers = Vec::new();
        for ConvWeights { filters, bias } in &weights.convolutions {
            let conv = Conv::three(side, side, channels, bias.len());
            let layer = match algorithm {
                Algorithm::Im2col => Layer::Im2col(Im2col::new(conv, filters, bias, pool)),
                Algorithm::Winograd => Layer::Winograd(Winograd::new(conv, filters, bias, pool)),
            };
            layers.push((conv, layer));
            (side, channels) = (side / 2, bias.len());
        }
        let flat = side * side * channels;
        let classes = weights.linear_bias.len();
        // Each row from channels first, as it is stored, to channels last.
        let linear: Vec<f32> = weights
            .linear
            .chunks_exact(flat)
            .flat_map(|row| {
                (0..flat).map(move |at| row[at % channels * side * side + at / channels])
            })
            .collect();
        let widest =
            |len: fn(&Conv) -> usize| layers.iter().map(|(conv, _)| len(conv)).max().unwrap_or(0);
        Self {
            linear: Panels::pack(&linear, classes, flat),
            linear_bias: weights.linear_bias.clone(),
            side: weights.side,
            batch,
            wide: vec![0.0; batch * widest(Conv::out_len)],
            pooled: vec![0.0; batch * widest(Conv::out_len).max(weights.side * weights.side)],
            logits: vec![0.0; batch * classes],
            layers,
        }
    }

    /// Classes that the network tells apart.
    pub fn classes(&self) -> usize {
        self.linear.n()
    }

    /// Elements of one image: rows of pixels.
    pub fn image_len(&self) -> usize {
        self.side * self.side
    }

    /// Logits `[n, classes]` of `images [n, side, side]`.
    ///
    /// # Panics
    /// If the slice holds no whole number of images, or more than the network was made for.
    pub fn forward(&mut self, pool: &Pool, isa: Isa, images: &[f32]) -> &[f32] {
        let n = images.len() / self.image_len();
        assert!(images.len() == n * self.image_len() && n <= self.batch);
        self.pooled[..images.len()].copy_from_slice(images);
        for (conv, layer) in &self.layers {
            let input = &self.pooled[..n * conv.image_len()];
            let wide = &mut self.wide[..n * conv.out_len()];
            match layer {
                Layer::Im2col(layer) => layer.forward(pool, isa, input, wide),
                Layer::Winograd(layer) => layer.forward(pool, isa, input, wide),
            }
            relu(wide);
            let left = n * (conv.height / 2) * (conv.width / 2) * conv.outputs;
            max_pool(
                wide,
                conv.height,
                conv.width,
                conv.outputs,
                &mut self.pooled[..left],
            );
        }
        let (classes, flat) = (self.linear.n(), self.linear.k());
        let rows = Rows {
            values: &self.pooled[..n * flat],
            stride: flat,
            rows: n,
        };
        let logits = &mut self.logits[..n * classes];
        multiply(
            pool,
            isa,
            logits,
            classes,
            rows,
            &self.linear,
            Some(&self.linear_bias),
        );
        logits
    }
}
