//! The digits CNN in 16 and in 8 bits: bfloat16, and integers of eight bits or fewer on both sides of every product (W8A8).
//!
//! A layer rounds its whole input before it makes patches of it: a pixel is rounded once, though it lies in nine patches. Integers have
//! a scale for each image, found anew, and one for each output channel; neither changes along a sum, so that the sum is exact and
//! one multiplication makes it a number. The linear layer is a convolution whose filter is as large as its image.

use half::bf16;
use memory_hierarchy::Pool;
use memory_hierarchy::conv::{CnnWeights, Conv, max_pool, relu};
use memory_hierarchy::gemm::{NarrowPanels, multiply_bf16, multiply_i8};
use memory_hierarchy::simd::dot::{DotIsa, Narrow};
use numerics::quant::{Format, Granularity, Mapping, QuantError, Scheme};

/// Numbers that layers are computed in.
pub trait Number: Narrow + Default {
    /// Sums of products.
    type Sum: Copy + Default;

    /// Rounds the input of a layer; returns what one unit stands for.
    fn round(values: &[f32], to: &mut Vec<Self>) -> f32;

    /// `out [rows, n]` of `x [rows, k]` and the weight `[n, k]`.
    fn multiply(
        pool: &Pool,
        out: &mut [Self::Sum],
        x: &[Self],
        rows: usize,
        weight: &NarrowPanels<Self>,
    );

    /// A sum as a number.
    fn widen(sum: Self::Sum) -> f32;
}

impl Number for i8 {
    type Sum = i32;

    fn round(values: &[f32], to: &mut Vec<i8>) -> f32 {
        let largest = values.iter().fold(0.0f32, |most, it| most.max(it.abs()));
        // An image of zeros has no scale, and needs none.
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        // To the nearest; a cast cuts off what is behind the point, and costs less than a call of `round`.
        let nearest = |it: &f32| (it * inverse + 0.5f32.copysign(*it)) as i8;
        to.extend(values.iter().map(nearest));
        largest / 127.0
    }

    fn multiply(pool: &Pool, out: &mut [i32], x: &[i8], rows: usize, weight: &NarrowPanels<i8>) {
        multiply_i8(pool, DotIsa::detect::<i8>(), out, x, rows, weight);
    }

    fn widen(sum: i32) -> f32 {
        sum as f32
    }
}

impl Number for bf16 {
    type Sum = f32;

    fn round(values: &[f32], to: &mut Vec<bf16>) -> f32 {
        to.extend(values.iter().map(|it| bf16::from_f32(*it)));
        1.0
    }

    fn multiply(
        pool: &Pool,
        out: &mut [f32],
        x: &[bf16],
        rows: usize,
        weight: &NarrowPanels<bf16>,
    ) {
        multiply_bf16(pool, DotIsa::detect::<bf16>(), out, x, rows, weight);
    }

    fn widen(sum: f32) -> f32 {
        sum
    }
}

/// A convolution, or the linear layer.
struct Layer<N> {
    conv: Conv,
    /// `[outputs, size, size, inputs]`
    filters: NarrowPanels<N>,
    /// What one unit of each output channel's weights stands for.
    scales: Vec<f32>,
    bias: Vec<f32>,
}

/// The network, ready to read one image at a time.
pub struct NarrowCnn<N: Number> {
    layers: Vec<Layer<N>>,
    /// The numbers between layers, channels last, and the same rounded.
    values: Vec<f32>,
    rounded: Vec<N>,
    padded: Vec<N>,
    patches: Vec<N>,
    sums: Vec<N::Sum>,
}

impl NarrowCnn<i8> {
    /// Weights in integers of `scheme`, which has one scale for a layer or one for each output channel, and at most eight bits.
    ///
    /// # Errors
    /// A scheme of other scales or more bits, or weights that are not finite.
    ///
    /// # Panics
    /// If the weights do not fit one another.
    pub fn new(weights: &CnnWeights, scheme: Scheme) -> Result<Self, QuantError> {
        let fits = matches!(scheme.format, Format::Int(..=8) | Format::Binary)
            && scheme.mapping != Mapping::Asymmetric
            && matches!(
                scheme.granularity,
                Granularity::PerTensor | Granularity::PerChannel
            );
        if !fits {
            let why = "signed codes of at most 8 bits, one scale for a layer or a channel";
            return Err(QuantError::Scheme(why));
        }
        let layer = |(conv, rows, bias): (Conv, Vec<f32>, Vec<f32>)| {
            let shape = [conv.outputs, conv.patch_len()];
            let quantised = scheme.quantise(&rows, shape)?;
            let codes: Vec<i8> = quantised.codes.iter().map(|code| *code as i8).collect();
            let scale = |channel| quantised.scales[scheme.granularity.group(shape[1], channel, 0)];
            Ok(Layer {
                conv,
                filters: NarrowPanels::<i8>::pack(&codes, shape[0], shape[1]),
                scales: (0..conv.outputs).map(scale).collect(),
                bias,
            })
        };
        let layers: Result<_, QuantError> = convolutions(weights).into_iter().map(layer).collect();
        Ok(Self::of(layers?))
    }
}

impl NarrowCnn<bf16> {
    /// Weights in bfloat16.
    ///
    /// # Panics
    /// If the weights do not fit one another.
    pub fn new(weights: &CnnWeights) -> Self {
        let layer = |(conv, rows, bias): (Conv, Vec<f32>, Vec<f32>)| {
            let codes: Vec<bf16> = rows.iter().map(|it| bf16::from_f32(*it)).collect();
            Layer {
                filters: NarrowPanels::<bf16>::pack(&codes, conv.outputs, conv.patch_len()),
                scales: vec![1.0; conv.outputs],
                bias,
                conv,
            }
        };
        Self::of(convolutions(weights).into_iter().map(layer).collect())
    }
}

/// The layers as convolutions: their shape, filters `[outputs, size, size, inputs]`, and biases.
fn convolutions(weights: &CnnWeights) -> Vec<(Conv, Vec<f32>, Vec<f32>)> {
    let (mut side, mut inputs) = (weights.side, 1);
    let mut layers = Vec::new();
    for convolution in &weights.convolutions {
        let conv = Conv::three(side, side, inputs, convolution.bias.len());
        layers.push((conv, &convolution.filters, &convolution.bias));
        (side, inputs) = (side / 2, conv.outputs);
    }
    let linear = Conv {
        size: side,
        padding: 0,
        ..Conv::three(side, side, inputs, weights.linear_bias.len())
    };
    layers.push((linear, &weights.linear, &weights.linear_bias));
    let channels_last = |(conv, filters, bias): (Conv, &Vec<f32>, &Vec<f32>)| {
        let taps = conv.size * conv.size;
        let filters = filters.chunks_exact(conv.patch_len());
        let rows = filters.flat_map(|it| (0..taps).flat_map(|tap| it[tap..].iter().step_by(taps)));
        (conv, rows.copied().collect(), bias.clone())
    };
    layers.into_iter().map(channels_last).collect()
}

impl<N: Number> NarrowCnn<N> {
    fn of(layers: Vec<Layer<N>>) -> Self {
        Self {
            layers,
            values: Vec::new(),
            rounded: Vec::new(),
            padded: Vec::new(),
            patches: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Logits `[classes]` of an image `[side, side]`, ink at 1.
    ///
    /// # Panics
    /// If the image has another size.
    pub fn logits(&mut self, pool: &Pool, image: &[f32]) -> &[f32] {
        self.values.clear();
        self.values.extend_from_slice(image);
        let last = self.layers.len() - 1;
        for (at, layer) in self.layers.iter().enumerate() {
            let conv = &layer.conv;
            assert_eq!(self.values.len(), conv.image_len(), "an input of {conv:?}");
            self.rounded.clear();
            let unit = N::round(&self.values, &mut self.rounded);
            padded(conv, &self.rounded, &mut self.padded);
            patches(conv, &self.padded, &mut self.patches);
            self.sums.resize(conv.out_len(), N::Sum::default());
            N::multiply(
                pool,
                &mut self.sums,
                &self.patches,
                conv.out_pixels(),
                &layer.filters,
            );
            self.values.clear();
            for pixel in self.sums.chunks_exact(conv.outputs) {
                let outputs = pixel.iter().zip(&layer.scales).zip(&layer.bias);
                self.values.extend(
                    outputs.map(|((sum, scale), bias)| N::widen(*sum) * (unit * scale) + bias),
                );
            }
            if at < last {
                relu(&mut self.values);
                let (height, width) = (conv.out_height(), conv.out_width());
                let mut pooled = vec![0.0; (height / 2) * (width / 2) * conv.outputs];
                max_pool(&self.values, height, width, conv.outputs, &mut pooled);
                self.values = pooled;
            }
        }
        &self.values
    }
}

/// The image with its padding around it.
fn padded<N: Copy + Default>(conv: &Conv, image: &[N], to: &mut Vec<N>) {
    let border = conv.padding * conv.inputs;
    let row = conv.width * conv.inputs + 2 * border;
    to.clear();
    to.resize((conv.height + 2 * conv.padding) * row, N::default());
    let rows = to.chunks_exact_mut(row).skip(conv.padding);
    for (to, from) in rows.zip(image.chunks_exact(conv.width * conv.inputs)) {
        to[border..row - border].copy_from_slice(from);
    }
}

/// The patch beneath each place of the filter, a row each: [`memory_hierarchy::conv::im2col`] of numbers that are no f32. In a padded
/// image each row of a patch is one slice.
fn patches<N: Copy>(conv: &Conv, padded: &[N], rows: &mut Vec<N>) {
    let (width, patch) = (conv.width + 2 * conv.padding, conv.size * conv.inputs);
    rows.clear();
    for y in 0..conv.out_height() {
        for x in 0..conv.out_width() {
            for dy in 0..conv.size {
                let at = ((y + dy) * width + x) * conv.inputs;
                rows.extend_from_slice(&padded[at..at + patch]);
            }
        }
    }
}
