//! What convolutions are held to: the sum over places and taps, scattered from the pixels in double precision.
#![allow(dead_code)] // each task file uses its part

use crate::common;
use memory_hierarchy::Pool;
use memory_hierarchy::conv::Conv;
use rand::rngs::StdRng;
use std::sync::LazyLock;

pub static POOLS: LazyLock<[Pool; 2]> = LazyLock::new(|| [Pool::new(1), Pool::new(3)]);

/// A convolution of random images.
pub struct Case {
    pub conv: Conv,
    pub images: Vec<f32>,
    pub filters: Vec<f32>,
    pub bias: Vec<f32>,
    pub batch: usize,
}

impl Case {
    pub fn new(rng: &mut StdRng, conv: Conv, batch: usize) -> Self {
        Self {
            conv,
            images: common::values(rng, batch * conv.image_len()),
            filters: common::values(rng, conv.outputs * conv.patch_len()),
            bias: common::values(rng, conv.outputs),
            batch,
        }
    }

    /// An output of the right size, poisoned.
    pub fn poisoned(&self) -> Vec<f32> {
        vec![f32::NAN; self.batch * self.conv.out_len()]
    }

    /// Fails unless `out` is near enough to the reference, everywhere: `factor` roundings of the largest sum of sizes.
    #[track_caller]
    pub fn check(&self, out: &[f32], factor: f64, what: &str) {
        let (expected, largest) = reference(&self.conv, &self.images, &self.filters, &self.bias);
        assert_eq!(out.len(), expected.len());
        let bound = factor * f64::from(f32::EPSILON) * largest;
        for (at, (out, expected)) in out.iter().zip(&expected).enumerate() {
            let error = (f64::from(*out) - expected).abs();
            assert!(
                error <= bound,
                "{what} {:?}: {at} is {out}, not {expected}",
                self.conv
            );
        }
    }
}

/// The convolution in double precision, and the largest sum of the sizes of what one output adds up.
pub fn reference(conv: &Conv, images: &[f32], filters: &[f32], bias: &[f32]) -> (Vec<f64>, f64) {
    let Conv {
        height,
        width,
        inputs,
        outputs,
        size,
        stride,
        padding,
    } = *conv;
    let (out_height, out_width) = (conv.out_height(), conv.out_width());
    let batch = images.len() / (height * width * inputs);
    let mut sums: Vec<(f64, f64)> = (0..batch * out_height * out_width * outputs)
        .map(|at| f64::from(bias[at % outputs]))
        .map(|bias| (bias, bias.abs()))
        .collect();
    for (at, value) in images.iter().enumerate() {
        let (c, x, y) = (
            at % inputs,
            at / inputs % width,
            at / inputs / width % height,
        );
        let image = at / inputs / width / height;
        for tap in 0..size * size {
            let (dy, dx) = (tap / size, tap % size);
            let (Some(top), Some(left)) =
                ((y + padding).checked_sub(dy), (x + padding).checked_sub(dx))
            else {
                continue;
            };
            let (row, col) = (top / stride, left / stride);
            if top % stride != 0 || left % stride != 0 || row >= out_height || col >= out_width {
                continue;
            }
            for o in 0..outputs {
                let product =
                    f64::from(*value) * f64::from(filters[(o * inputs + c) * size * size + tap]);
                let sum = &mut sums[((image * out_height + row) * out_width + col) * outputs + o];
                *sum = (sum.0 + product, sum.1 + product.abs());
            }
        }
    }
    let largest = sums.iter().map(|sum| sum.1).fold(0.0, f64::max);
    (sums.iter().map(|sum| sum.0).collect(), largest)
}
