//! Task 12: 3x3 filters with 16 multiplications for four outputs, and a network of them.

mod common;
mod convolution;

use convolution::{Case, POOLS, reference};
use memory_hierarchy::Isa;
use memory_hierarchy::conv::{
    Algorithm, Cnn, CnnWeights, Conv, ConvWeights, Winograd, filter_tile, input_tile, output_tile,
};
use rand::RngExt;

/// In whole numbers nothing is rounded, so the four outputs are exact.
#[test]
fn a_tile_is_exact() {
    let mut rng = common::rng();
    for _ in 0..50 {
        let mut whole = || rng.random_range(-9..=9) as f32;
        let d: [[f32; 4]; 4] = std::array::from_fn(|_| std::array::from_fn(|_| whole()));
        let g: [[f32; 3]; 3] = std::array::from_fn(|_| std::array::from_fn(|_| whole()));
        let (inputs, filter) = (input_tile(d), filter_tile(g));
        let products =
            std::array::from_fn(|y| std::array::from_fn(|x| inputs[y][x] * filter[y][x]));
        let out = output_tile(products);
        for y in 0..2 {
            for x in 0..2 {
                let taps = (0..9).map(|tap| (tap / 3, tap % 3));
                let sum: f32 = taps.map(|(dy, dx)| d[y + dy][x + dx] * g[dy][dx]).sum();
                assert_eq!(out[y][x], sum, "output ({y}, {x})");
            }
        }
    }
}

/// Height, width, inputs, outputs, padding and batch: odd edges, nothing to compute, channels off a vector's width, several groups of
/// tiles, the last one smaller.
const CASES: [[usize; 6]; 11] = [
    [1, 1, 1, 1, 1, 1],
    [2, 2, 1, 1, 0, 1],
    [3, 3, 2, 5, 0, 2],
    [4, 4, 1, 16, 1, 0],
    [4, 4, 1, 16, 1, 2],
    [5, 7, 3, 4, 1, 3],
    [6, 5, 17, 33, 0, 2],
    [9, 8, 16, 8, 1, 2],
    [14, 14, 16, 32, 1, 3],
    [25, 27, 37, 62, 1, 2],
    [26, 22, 64, 64, 0, 1],
];

#[test]
fn sixteen_products_are_the_convolution() {
    let mut rng = common::rng();
    for [height, width, inputs, outputs, padding, batch] in CASES {
        let conv = Conv {
            padding,
            ..Conv::three(height, width, inputs, outputs)
        };
        let case = Case::new(&mut rng, conv, batch);
        for pool in &*POOLS {
            let layer = Winograd::new(conv, &case.filters, &case.bias, pool);
            for isa in Isa::available() {
                let mut out = case.poisoned();
                layer.forward(pool, isa, &case.images, &mut out);
                // The transforms add and take away, so an output is rounded by the size of its whole tile.
                case.check(
                    &out,
                    2.0 * conv.patch_len() as f64 + 40.0,
                    &format!("{isa:?}"),
                );
            }
        }
    }
}

#[test]
#[should_panic(expected = "F(2x2, 3x3) is not for")]
fn a_stride_is_refused() {
    let conv = Conv {
        stride: 2,
        ..Conv::three(4, 4, 1, 1)
    };
    Winograd::new(conv, &[0.0; 9], &[0.0], &POOLS[0]);
}

/// The network in double precision: scattered convolutions, then rectified and pooled at once.
fn network(weights: &CnnWeights, image: &[f32]) -> Vec<f64> {
    let (mut side, mut channels, mut x) = (weights.side, 1, image.to_vec());
    for ConvWeights { filters, bias } in &weights.convolutions {
        let conv = Conv::three(side, side, channels, bias.len());
        let (wide, _) = reference(&conv, &x, filters, bias);
        channels = bias.len();
        let half = side / 2;
        x = (0..half * half * channels)
            .map(|at| {
                let (c, col, row) = (at % channels, at / channels % half, at / channels / half);
                let pixel = |dy, dx| wide[((2 * row + dy) * side + 2 * col + dx) * channels + c];
                [pixel(0, 1), pixel(1, 0), pixel(1, 1)]
                    .into_iter()
                    .fold(pixel(0, 0).max(0.0), f64::max) as f32
            })
            .collect();
        side = half;
    }
    let rows = weights.linear.chunks(x.len()).zip(&weights.linear_bias);
    rows.map(|(row, bias)| {
        // The file has channels first.
        let products = row.iter().enumerate().map(|(at, w)| {
            let (c, pixel) = (at / (side * side), at % (side * side));
            f64::from(*w) * f64::from(x[pixel * channels + c])
        });
        products.sum::<f64>() + f64::from(*bias)
    })
    .collect()
}

#[test]
fn a_network_gives_the_same_logits_whatever_the_algorithm_and_the_batch() {
    let mut rng = common::rng();
    for (side, widths, classes) in [(13, [3, 7], 10), (28, [16, 32], 10), (6, [1, 17], 3)] {
        let mut inputs = 1;
        let convolutions = widths.map(|outputs| {
            let filters = common::values(&mut rng, outputs * inputs * 9);
            inputs = outputs;
            ConvWeights {
                filters,
                bias: common::values(&mut rng, outputs),
            }
        });
        let flat = (side / 4) * (side / 4) * inputs;
        let weights = CnnWeights {
            side,
            convolutions: convolutions.to_vec(),
            linear: common::values(&mut rng, classes * flat),
            linear_bias: common::values(&mut rng, classes),
        };
        let images = common::values(&mut rng, 5 * side * side);
        let expected: Vec<f64> = images
            .chunks(side * side)
            .flat_map(|image| network(&weights, image))
            .collect();
        let size = expected
            .iter()
            .fold(1.0, |size: f64, logit| size.max(logit.abs()));
        for algorithm in [Algorithm::Im2col, Algorithm::Winograd] {
            let pool = &POOLS[0];
            let mut cnn = Cnn::new(&weights, algorithm, 5, pool);
            for isa in Isa::available() {
                // The batch of five last: whatever a larger one leaves in the buffers must not reach a smaller one.
                for batch in [5, 1, 0, 3, 5] {
                    let logits = cnn.forward(pool, isa, &images[..batch * side * side]);
                    assert_eq!(logits.len(), batch * classes);
                    for (logit, expected) in logits.iter().zip(&expected) {
                        let error = (f64::from(*logit) - expected).abs();
                        assert!(
                            error <= 1e-5 * size,
                            "{algorithm:?} {isa:?}: {logit}, not {expected}"
                        );
                    }
                }
            }
        }
    }
}
