//! What each format loses on three kinds of data, counted, and what a conversion costs, measured.
//!
//! Losses are SQNR in dB, from fixed seeds: the same on every machine. Times are those of the conversions that read as the definition,
//! on one core; `half`'s, which use the CPU's instructions, stand beside them.

use benches::Bench;
use half::slice::HalfFloatSliceExt;
use numerics::blocks::{Q4, Q8};
use numerics::float::{BF16, E4M3, E5M2, F16, Overflow, SmallFloat};
use numerics::kv::{KvFormat, attend};
use numerics::quant::error::sqnr;
use numerics::quant::products::integer;
use numerics::quant::{Calibration, Format, Granularity, Mapping, Scheme};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;

const SHAPE: [usize; 2] = [256, 1024];

fn main() {
    let mut bench = Bench::new(
        "stage-02 --bench formats",
        "02-formats",
        "What number formats lose, and what conversions cost",
        &[
            "stages/02-numerics/src/blocks.rs",
            "stages/02-numerics/src/float",
            "stages/02-numerics/src/integer",
            "stages/02-numerics/src/kv.rs",
            "stages/02-numerics/src/quant",
        ],
    );
    for (name, values) in data() {
        count_formats(&mut bench, name, &values);
        count_calibrations(&mut bench, name, &values);
    }
    count_activations(&mut bench);
    count_attention(&mut bench);
    time_conversions(&mut bench);
    bench.finish();
}

/// Numbers of the standard normal distribution (Box and Muller).
fn gauss(rng: &mut StdRng) -> f32 {
    let (radius, angle): (f64, f64) = (rng.random_range(1e-12..1.0), rng.random());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}

/// `[256, 1024]` each: plain, with heavy tails, and with 8 columns fifty times as large, as the activations of language models have.
fn data() -> [(&'static str, Vec<f32>); 3] {
    let rng = &mut StdRng::seed_from_u64(2);
    let len = SHAPE[0] * SHAPE[1];
    let gaussian = (0..len).map(|_| gauss(rng)).collect();
    // Student's t with 4 degrees of freedom: a normal number over the root of a mean of 4 squares.
    let student = |_| {
        let squares: f32 = (0..4).map(|_| gauss(rng).powi(2)).sum();
        gauss(rng) / (squares / 4.0).sqrt()
    };
    let student = (0..len).map(student).collect();
    let outliers = outliers(rng, SHAPE);
    [
        ("gaussian", gaussian),
        ("student", student),
        ("outliers", outliers),
    ]
}

fn outliers(rng: &mut StdRng, [rows, cols]: [usize; 2]) -> Vec<f32> {
    let size = |col| if col % 128 == 77 { 50.0 } else { 1.0 };
    (0..rows * cols)
        .map(|at| size(at % cols) * gauss(rng))
        .collect()
}

fn loss(scheme: Scheme, values: &[f32], shape: [usize; 2]) -> f64 {
    let made = scheme.quantise(values, shape).expect("finite numbers");
    sqnr(&made.dequantise(), values)
}

fn count_formats(bench: &mut Bench, data: &str, values: &[f32]) {
    for (name, format) in [("f16", F16), ("bf16", BF16)] {
        let scheme = Scheme::of(Format::Float(format)).calibrated(Calibration::Unscaled);
        let value = loss(scheme.per_tensor(), values, SHAPE);
        bench.count(&format!("{data}/{name}"), "dB", value);
    }
    let schemes = [
        ("e4m3", Scheme::e4m3()),
        ("e5m2", Scheme::e5m2()),
        ("int16", Scheme::int(16)),
        ("int8", Scheme::int(8)),
        ("int8-asymmetric", Scheme::int(8).asymmetric()),
        ("int4", Scheme::int(4)),
        ("int4-furthest", Scheme::int(4).mapped(Mapping::Furthest)),
        ("int4-asymmetric", Scheme::int(4).asymmetric()),
        ("int2", Scheme::int(2)),
        ("int2-asymmetric", Scheme::int(2).asymmetric()),
        ("binary", Scheme::binary()),
    ];
    let granularities = [
        ("tensor", Granularity::PerTensor),
        ("channel", Granularity::PerChannel),
        ("column", Granularity::PerColumn),
        ("128", Granularity::Block(128)),
        ("64", Granularity::Block(64)),
        ("32", Granularity::Block(32)),
    ];
    for (name, scheme) in schemes {
        for (group, granularity) in granularities {
            let value = loss(scheme.grouped(granularity), values, SHAPE);
            bench.count(&format!("{data}/{name}/{group}"), "dB", value);
        }
    }
    // What blocks cost: bits for a number, with a scale of f16 each.
    if data == "gaussian" {
        for size in [32, 64, 128] {
            let scheme = Scheme::int(4).blocks(size).with_f16_scales();
            let made = scheme.quantise(values, SHAPE).expect("finite numbers");
            let bits = 8.0 * made.bytes() as f64 / values.len() as f64;
            bench.count(&format!("int4-bits/{size}"), "bits", bits);
        }
    }
}

fn count_calibrations(bench: &mut Bench, data: &str, values: &[f32]) {
    for bits in [8, 4] {
        for (name, calibration) in [
            ("percentile-99.99", Calibration::Percentile(99.99)),
            ("percentile-99.9", Calibration::Percentile(99.9)),
            ("percentile-99", Calibration::Percentile(99.0)),
            ("mse", Calibration::Mse { tried: 40 }),
        ] {
            let scheme = Scheme::int(bits).per_tensor().calibrated(calibration);
            let value = loss(scheme, values, SHAPE);
            bench.count(&format!("{data}/int{bits}/tensor/{name}"), "dB", value);
        }
    }
}

/// Products of tokens with outlier channels and int8 weights: what the granularity of the tokens' scales is worth where it counts.
fn count_activations(bench: &mut Bench) {
    let rng = &mut StdRng::seed_from_u64(3);
    let [tokens, outs, k] = [32, 64, 1024];
    // Tokens differ in size, as those of a text do.
    let mut x = outliers(rng, [tokens, k]);
    for (at, value) in x.iter_mut().enumerate() {
        *value *= 4.0f32.powi((at / k % 4) as i32 - 2);
    }
    let w: Vec<f32> = (0..outs * k).map(|_| gauss(rng)).collect();
    let dot = |token: usize, out: usize| -> f64 {
        let (x, w) = (&x[token * k..][..k], &w[out * k..][..k]);
        let product = |(&x, &w): (&f32, &f32)| f64::from(x) * f64::from(w);
        x.iter().zip(w).map(product).sum()
    };
    let wanted: Vec<f32> = (0..tokens * outs)
        .map(|at| dot(at / outs, at % outs) as f32)
        .collect();
    let weights = |scheme: Scheme| scheme.quantise(&w, [outs, k]).expect("finite numbers");
    let (w8, w4) = (
        weights(Scheme::int(8)),
        weights(Scheme::int(4).blocks(32).asymmetric()),
    );
    for (group, granularity) in [
        ("tensor", Granularity::PerTensor),
        ("token", Granularity::PerChannel),
        ("128", Granularity::Block(128)),
        ("32", Granularity::Block(32)),
        ("column", Granularity::PerColumn),
    ] {
        let scheme = Scheme::int(8).grouped(granularity);
        let made = scheme.quantise(&x, [tokens, k]).expect("finite numbers");
        for (name, w) in [("w8a8", &w8), ("w4a8", &w4)] {
            // Each token by itself: the loud ones must not hide what the quiet ones lose.
            let got = integer(&made, w);
            let rows = got.chunks(outs).zip(wanted.chunks(outs));
            let mean = rows.map(|(got, wanted)| sqnr(got, wanted)).sum::<f64>() / tokens as f64;
            bench.count(&format!("{name}/{group}"), "dB", mean);
        }
    }
}

/// Outputs of attention over a cache whose keys have channels far from zero.
fn count_attention(bench: &mut Bench) {
    let rng = &mut StdRng::seed_from_u64(4);
    let (tokens, head_dim) = (512, 128);
    let means: Vec<f32> = (0..head_dim).map(|_| 2.0 * gauss(rng)).collect();
    let keys: Vec<f32> = (0..tokens * head_dim)
        .map(|at| gauss(rng) + means[at % head_dim])
        .collect();
    let values: Vec<f32> = (0..tokens * head_dim).map(|_| gauss(rng)).collect();
    let queries: Vec<f32> = (0..64 * head_dim).map(|_| gauss(rng)).collect();
    let outputs = |keys: &[f32], values: &[f32]| -> Vec<f32> {
        let attend = |query| attend(query, keys, values);
        let all = queries.chunks(head_dim).flat_map(attend);
        all.map(|value| value as f32).collect()
    };
    let wanted = outputs(&keys, &values);
    for (name, format) in [
        ("int8", KvFormat::Int8),
        ("e4m3", KvFormat::E4m3),
        ("int4", KvFormat::Int4),
    ] {
        let through = |all: &[f32]| -> Vec<f32> {
            let slots = all.chunks(head_dim);
            slots.flat_map(|slot| format.round_trip(slot)).collect()
        };
        let got = outputs(&through(&keys), &through(&values));
        bench.count(&format!("kv/{name}"), "dB", sqnr(&got, &wanted));
        let bits = 8.0 * format.slot_bytes(head_dim) as f64 / head_dim as f64;
        bench.count(&format!("kv-bits/{name}"), "bits", bits);
    }
}

/// Of numbers that lie in the first-level cache.
fn time_conversions(bench: &mut Bench) {
    const LEN: usize = 2048;
    let rng = &mut StdRng::seed_from_u64(5);
    let values: Vec<f32> = (0..LEN).map(|_| gauss(rng)).collect();
    let mut codes = vec![0u16; LEN];
    let mut encode = |bench: &mut Bench, name: &str, encode: fn(&[f32], &mut [u16])| {
        bench.measure(&format!("encode/{name}"), LEN, |b| {
            b.iter(|| encode(black_box(&values), black_box(&mut codes)))
        });
    };
    // A function for each, so that the format is a constant of its loop.
    fn all(format: SmallFloat, values: &[f32], codes: &mut [u16]) {
        for (code, value) in codes.iter_mut().zip(values) {
            *code = format.encode(*value, Overflow::Saturate);
        }
    }
    encode(bench, "f16", |values, codes| all(F16, values, codes));
    encode(bench, "bf16", |values, codes| all(BF16, values, codes));
    encode(bench, "e4m3", |values, codes| all(E4M3, values, codes));
    encode(bench, "e5m2", |values, codes| all(E5M2, values, codes));
    encode(bench, "int8", |values, codes| {
        let scheme = Scheme::int(8);
        let step = scheme.step([-4.0, 4.0]);
        for (code, value) in codes.iter_mut().zip(values) {
            *code = scheme.encode(*value, step) as u16;
        }
    });
    let mut halves = vec![half::f16::ZERO; LEN];
    bench.measure("encode/half-f16", LEN, |b| {
        b.iter(|| halves.convert_from_f32_slice(black_box(&values)))
    });
    let mut halves = vec![half::bf16::ZERO; LEN];
    bench.measure("encode/half-bf16", LEN, |b| {
        b.iter(|| halves.convert_from_f32_slice(black_box(&values)))
    });
    bench.measure("blocks/q8", LEN, |b| {
        b.iter(|| Q8::quantise(black_box(&values)))
    });
    bench.measure("blocks/q4", LEN, |b| {
        b.iter(|| Q4::quantise(black_box(&values)))
    });
    let mut back = vec![0.0f32; LEN];
    let bytes: Vec<u16> = (0..LEN as u16).map(|at| at % 0x7F).collect();
    bench.measure("decode/e4m3", LEN, |b| {
        b.iter(|| {
            for (value, code) in back.iter_mut().zip(black_box(&bytes)) {
                *value = E4M3.decode(*code);
            }
        })
    });
}
