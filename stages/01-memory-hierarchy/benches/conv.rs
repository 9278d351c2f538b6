//! 3x3 convolutions three ways at layers of several sizes, and the time of one digit.
//!
//! The effective rate counts the multiplications of the definition, whatever the algorithm does: a rate above the machine's peak is
//! Winograd's point. The algorithms take turns, so that a machine that slows down does so for both.

use benches::Bench;
use memory_hierarchy::conv::{
    Algorithm, Cnn, CnnWeights, Conv, ConvWeights, Im2col, Winograd, direct,
};
use memory_hierarchy::{Isa, Pool};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Side, inputs and outputs of the layers.
const LAYERS: [[usize; 3]; 7] = [
    [28, 1, 16],
    [14, 16, 32],
    [28, 32, 64],
    [56, 64, 64],
    [28, 128, 128],
    [14, 256, 256],
    [7, 512, 512],
];
/// Rounds in which each algorithm is timed once.
const ROUNDS: usize = 31;
/// Time of one sample at least: several runs of a small layer.
const SAMPLE: Duration = Duration::from_millis(5);

fn main() {
    let mut bench = Bench::new(
        "stage-01",
        "01-conv",
        "3x3 convolutions of one image: direct, im2col and Winograd F(2x2, 3x3)",
        &[
            "stages/01-memory-hierarchy/src/conv",
            "stages/01-memory-hierarchy/src/gemm",
            "stages/01-memory-hierarchy/src/simd",
        ],
    );
    let mut rng = StdRng::seed_from_u64(1);
    for [side, inputs, outputs] in LAYERS {
        layer(
            &mut bench,
            &mut rng,
            Conv::three(side, side, inputs, outputs),
        );
    }
    network(&mut bench, &mut rng);
    bench.finish();
}

/// One layer: the definition on one core, the fast algorithms on all.
fn layer(bench: &mut Bench, rng: &mut StdRng, conv: Conv) {
    let (pool, isa) = (Pool::global(), Isa::detect());
    let images = values(rng, conv.image_len());
    let filters = values(rng, conv.outputs * conv.patch_len());
    let bias = values(rng, conv.outputs);
    let by_im2col = Im2col::new(conv, &filters, &bias, pool);
    let by_winograd = Winograd::new(conv, &filters, &bias, pool);
    let mut outs = [const { Vec::new() }; 3].map(|_: Vec<f32>| vec![0.0; conv.out_len()]);
    let [of_direct, of_im2col, of_winograd] = &mut outs;
    // A few samples tell enough of six loops.
    let slow: Vec<f64> = (0..3)
        .map(|_| time(|| direct(&conv, black_box(&images), &filters, &bias, of_direct)))
        .collect();
    let (mut im2col, mut winograd) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        im2col.push(time(|| {
            by_im2col.forward(pool, isa, black_box(&images), of_im2col)
        }));
        winograd.push(time(|| {
            by_winograd.forward(pool, isa, black_box(&images), of_winograd)
        }));
    }
    for fast in [of_im2col, of_winograd] {
        for (fast, definition) in fast.iter().zip(&*of_direct) {
            let bound = 1e-4 * (conv.patch_len() as f32).sqrt();
            assert!(
                (fast - definition).abs() < bound,
                "{fast}, not {definition}"
            );
        }
    }
    let name = format!("{0}x{0}x{1}-{2}", conv.height, conv.inputs, conv.outputs);
    let ratio = im2col.iter().zip(&winograd).map(|(i, w)| i / w).collect();
    for (algorithm, samples) in [("direct", slow), ("im2col", im2col), ("winograd", winograd)] {
        let rate: Vec<f64> = samples
            .iter()
            .map(|us| conv.flops() as f64 / us / 1e3)
            .collect();
        println!(
            "{name:<16} {algorithm:<8} {:9.1} us {:7.1} GFLOP/s",
            median(&samples),
            median(&rate)
        );
        bench.push(&format!("{algorithm}/{name}"), "us", samples);
        bench.push(&format!("{algorithm}-rate/{name}"), "GFLOP/s", rate);
    }
    bench.push(&format!("im2col-over-winograd/{name}"), "x", ratio);
}

/// The digits CNN's shape, one image and a batch, on one core; time for one digit.
fn network(bench: &mut Bench, rng: &mut StdRng) {
    let (pool, isa) = (Pool::new(1), Isa::detect());
    let mut convolution = |inputs, outputs| ConvWeights {
        filters: values(rng, outputs * inputs * 9),
        bias: values(rng, outputs),
    };
    let convolutions = vec![convolution(1, 16), convolution(16, 32)];
    let weights = CnnWeights {
        side: 28,
        convolutions,
        linear: values(rng, 10 * 32 * 49),
        linear_bias: values(rng, 10),
    };
    for batch in [1, 64] {
        let images = values(rng, batch * 28 * 28);
        let algorithms = [Algorithm::Im2col, Algorithm::Winograd];
        let mut networks = algorithms.map(|it| Cnn::new(&weights, it, batch, &pool));
        let mut samples = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            for (network, samples) in networks.iter_mut().zip(&mut samples) {
                let us = time(|| _ = black_box(network.forward(&pool, isa, black_box(&images))));
                samples.push(us / batch as f64);
            }
        }
        for (algorithm, samples) in ["im2col", "winograd"].into_iter().zip(samples) {
            println!(
                "digit, {algorithm}, batch {batch}: {:.1} us",
                median(&samples)
            );
            bench.push(&format!("digit-{algorithm}/{batch}"), "us", samples);
        }
    }
}

/// Microseconds of one run: the mean over as many as [`SAMPLE`] takes, after one that warms up.
fn time(mut run: impl FnMut()) -> f64 {
    run();
    let (began, mut runs) = (Instant::now(), 0);
    while began.elapsed() < SAMPLE {
        run();
        runs += 1;
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn values(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}
