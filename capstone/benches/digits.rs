//! The digits CNN in fewer bits: how many held-out digits it still reads, how many bytes its weights take, and the time of a digit.
//!
//! Weights alone are rounded and widened again, in three granularities. W8A8 and its narrower sisters round the activations too, and
//! run in integers; so does the network in bfloat16 run on its own instruction. Networks take turns, on one core, a digit at a time.

#[path = "../tests/support/held_out.rs"]
mod held_out;

use benches::Bench;
use fastserve::digits::narrow::{NarrowCnn, Number};
use fastserve::digits::{CLASSES, weights};
use fastserve::embedded::DIGITS;
use half::bf16;
use held_out::{held_out, most_likely};
use memory_hierarchy::conv::{Algorithm, Cnn, CnnWeights};
use memory_hierarchy::{Isa, Pool};
use numerics::quant::{Granularity, Mapping, Scheme};
use std::hint::black_box;
use std::time::{Duration, Instant};

const GRANULARITIES: [(&str, Granularity); 3] = [
    ("tensor", Granularity::PerTensor),
    ("channel", Granularity::PerChannel),
    ("32", Granularity::Block(32)),
];
/// Images that the f32 network takes at a time.
const BATCH: usize = 100;
/// Rounds in which each network is timed once, over this many digits.
const ROUNDS: usize = 31;
const TIMED: usize = 50;

fn main() {
    // `cargo test --benches` asks only whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut bench = Bench::new(
        "capstone --bench digits",
        "02-digits",
        "The digits CNN in fewer bits: 1,000 held-out digits, bytes of the weights, time of a digit on one core",
        &[
            "capstone/src/digits",
            "stages/01-memory-hierarchy/src/conv",
            "stages/02-numerics/src/quant",
        ],
    );
    let (digits, weights) = (held_out(), weights(&DIGITS).unwrap());
    let mut row = |name: &str, of_digits: Judged, bytes: f64| {
        println!("{name}: {of_digits:?}, {bytes} kB");
        bench.count(&format!("accuracy/{name}"), "%", of_digits.accuracy);
        bench.count(&format!("loss/{name}"), "nats", of_digits.loss);
        bench.count(&format!("bytes/{name}"), "kB", bytes);
    };
    let numbers = matrices(&weights)
        .iter()
        .map(|(it, _)| it.len())
        .sum::<usize>();
    row("f32", float(&weights, &digits), numbers as f64 * 4e-3);
    let mut network = NarrowCnn::<bf16>::new(&weights);
    row("bf16", narrow(&mut network, &digits), numbers as f64 * 2e-3);
    for bits in [8, 4, 3, 2] {
        for (name, granularity) in GRANULARITIES {
            let scheme = int(bits).grouped(granularity);
            let (rounded, bytes) = rounded(&weights, scheme);
            row(
                &format!("int{bits}/{name}"),
                float(&rounded, &digits),
                bytes,
            );
            if let Ok(mut network) = NarrowCnn::<i8>::new(&weights, scheme) {
                let name = format!("w{bits}a8/{name}");
                row(&name, narrow(&mut network, &digits), bytes);
            }
        }
    }
    time(&mut bench, &weights, &digits);
    bench.finish();
}

/// Integers that use all their codes where there are few, with scales in f32.
fn int(bits: u32) -> Scheme {
    Scheme::int(bits).mapped(if bits < 8 {
        Mapping::Furthest
    } else {
        Mapping::Symmetric
    })
}

/// What a network makes of the held-out digits.
#[derive(Debug)]
struct Judged {
    /// Per cent.
    accuracy: f64,
    /// Mean `-ln p` of the right class: it moves before the accuracy does.
    loss: f64,
}

impl Judged {
    fn of<'a>(logits: impl IntoIterator<Item = (&'a [f32], usize)>) -> Self {
        let (mut right, mut loss, mut count) = (0, 0.0, 0);
        for (logits, label) in logits {
            right += usize::from(most_likely(logits) == label);
            let sum: f64 = logits.iter().map(|&it| f64::from(it).exp()).sum();
            loss += sum.ln() - f64::from(logits[label]);
            count += 1;
        }
        let count = f64::from(count);
        Self {
            accuracy: 100.0 * right as f64 / count,
            loss: loss / count,
        }
    }
}

type Digit = (Vec<f32>, usize);

fn float(weights: &CnnWeights, digits: &[Digit]) -> Judged {
    let (pool, isa) = (Pool::new(1), Isa::detect());
    let mut cnn = Cnn::new(weights, Algorithm::Im2col, BATCH, &pool);
    let mut logits = Vec::new();
    for batch in digits.chunks(BATCH) {
        let images: Vec<f32> = batch.iter().flat_map(|(image, _)| image).copied().collect();
        logits.extend_from_slice(cnn.forward(&pool, isa, &images));
    }
    let labels = digits.iter().map(|(_, label)| *label);
    Judged::of(logits.chunks_exact(CLASSES).zip(labels))
}

fn narrow<N: Number>(network: &mut NarrowCnn<N>, digits: &[Digit]) -> Judged {
    let pool = Pool::new(1);
    let logits: Vec<f32> = digits
        .iter()
        .flat_map(|(image, _)| network.logits(&pool, image).to_vec())
        .collect();
    let labels = digits.iter().map(|(_, label)| *label);
    Judged::of(logits.chunks_exact(CLASSES).zip(labels))
}

/// The weights, biases not counted, each as a matrix with a row for each output.
fn matrices(weights: &CnnWeights) -> Vec<(&[f32], [usize; 2])> {
    let shape = |values: &[f32], outputs: usize| [outputs, values.len() / outputs];
    let filters = weights.convolutions.iter();
    filters
        .map(|it| (&it.filters[..], shape(&it.filters, it.bias.len())))
        .chain([(&weights.linear[..], shape(&weights.linear, CLASSES))])
        .collect()
}

/// The numbers that the weights stand for once they are codes, and the kB that codes and scales take.
fn rounded(weights: &CnnWeights, scheme: Scheme) -> (CnnWeights, f64) {
    let mut bits = 0;
    let mut round = |(values, shape): (&[f32], [usize; 2])| {
        let codes = scheme.quantise(values, shape).expect("finite weights");
        bits += codes.codes.len() * scheme.bits() as usize + 32 * codes.scales.len();
        codes.dequantise()
    };
    let mut numbers: Vec<Vec<f32>> = matrices(weights).into_iter().map(&mut round).collect();
    let mut rounded = weights.clone();
    rounded.linear = numbers.pop().expect("the linear layer");
    for (layer, filters) in rounded.convolutions.iter_mut().zip(numbers) {
        layer.filters = filters;
    }
    (rounded, bits as f64 / 8e3)
}

/// Microseconds a digit, of networks that take turns.
fn time(bench: &mut Bench, weights: &CnnWeights, digits: &[Digit]) {
    let (pool, isa) = (Pool::new(1), Isa::detect());
    let mut float = Cnn::new(weights, Algorithm::Im2col, 1, &pool);
    let mut half = NarrowCnn::<bf16>::new(weights);
    let mut bytes = NarrowCnn::<i8>::new(weights, int(8)).expect("eight bits");
    let mut samples = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let times = [
            timed(digits, |image| {
                _ = black_box(float.forward(&pool, isa, image))
            }),
            timed(digits, |image| _ = black_box(half.logits(&pool, image))),
            timed(digits, |image| _ = black_box(bytes.logits(&pool, image))),
        ];
        for (samples, time) in samples.iter_mut().zip(times) {
            samples.push(time.as_secs_f64() * 1e6 / TIMED as f64);
        }
    }
    let ratio = samples[0].iter().zip(&samples[2]).map(|(f, i)| f / i);
    bench.push("f32-over-w8a8", "x", ratio.collect());
    for (name, samples) in ["f32", "bf16", "w8a8"].into_iter().zip(samples) {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        println!("{name}: {:.1} us a digit", sorted[ROUNDS / 2]);
        bench.push(&format!("digit/{name}"), "us", samples);
    }
}

fn timed(digits: &[Digit], mut read: impl FnMut(&[f32])) -> Duration {
    let began = Instant::now();
    for (image, _) in digits
        .iter()
        .cycle()
        .step_by(digits.len() / TIMED)
        .take(TIMED)
    {
        read(black_box(image));
    }
    began.elapsed()
}
