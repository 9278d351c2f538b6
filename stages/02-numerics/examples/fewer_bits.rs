//! A number, a block of weights and a product, in fewer bits: `cargo run -p stage-02 --example fewer_bits`.

use memory_hierarchy::Pool;
use numerics::blocks::{BLOCK, Q4, Q8};
use numerics::float::{BF16, E4M3, E5M2, F16, Overflow};
use numerics::matmul::{Activations, IntIsa, PackedBlocks, multiply};
use numerics::quant::Scheme;
use numerics::quant::error::sqnr;

fn main() {
    numbers();
    let weights: [f32; BLOCK] = std::array::from_fn(|i| ((i * 37 + 5) % 61) as f32 / 50.0 - 0.6);
    println!(
        "\n32 weights from {:.2} to {:.2}",
        least(&weights),
        most(&weights)
    );
    block(&weights);
    let mut outlier = weights;
    outlier[5] = 9.0;
    println!("\nthe same with one weight of 9");
    block(&outlier);
    product(&weights);
}

/// What small floats make of a number.
fn numbers() {
    println!("number  f16               bf16              e4m3           e5m2");
    for value in [0.1, 1.0625, 300.0, 1000.0, 1e-3] {
        let rounded = [F16, BF16, E4M3, E5M2].map(|format| {
            let code = format.encode(value, Overflow::Saturate);
            let digits = if format.bits() == 16 { 4 } else { 2 };
            let decoded = format.decode(code);
            format!("{code:0digits$x} {decoded:<12.6}")
        });
        println!("{value:<8}{}", rounded.join(" ").trim_end());
    }
}

/// A block in 8 and 4 bits: scale, codes, error.
fn block(weights: &[f32; BLOCK]) {
    let (q8, q4) = (Q8::quantise(weights), Q4::quantise(weights));
    let codes: Vec<i32> = q8.quants.iter().map(|&quant| quant.into()).collect();
    show("Q8", q8.scales[0].to_f32(), &codes, &q8.block(0), weights);
    let codes: Vec<i32> = (0..BLOCK).map(|at| i32::from(q4.quant(at)) - 8).collect();
    show("Q4", q4.scales[0].to_f32(), &codes, &q4.block(0), weights);
}

fn show(name: &str, scale: f32, codes: &[i32], back: &[f32], weights: &[f32]) {
    let off = |(back, weight): (&f32, &f32)| (back - weight).abs();
    let off = back.iter().zip(weights).map(off).fold(0.0, f32::max);
    let codes: Vec<_> = codes.iter().map(i32::to_string).collect();
    println!("{name}: scale {scale:.5}, codes {}", codes.join(" "));
    let decibels = sqnr(back, weights);
    println!("    off by {off:.5} at most, signal to noise {decibels:.1} dB");
}

/// One output of a layer of 32 inputs, step by step, and then by the engine's product.
fn product(weights: &[f32; BLOCK]) {
    let inputs: [f32; BLOCK] = std::array::from_fn(|i| ((i * 23 + 7) % 41) as f32 / 8.0 - 2.5);
    let w = Q8::quantise(weights);
    let x = Scheme::int(8).quantise(&inputs, [1, BLOCK]);
    let x = x.expect("finite numbers");
    let pairs = || w.quants.iter().map(|&w| i32::from(w)).zip(&x.codes);
    let dot: i32 = pairs().map(|(w, x)| w * x).sum();
    let unsigned: i32 = pairs().map(|(w, x)| (w + 128) * x).sum();
    let sum: i32 = x.codes.iter().sum();
    assert_eq!(unsigned - 128 * sum, dot);
    let (w_scale, x_scale) = (w.scales[0].to_f32(), x.scales[0]);
    let exact: f64 = weights
        .iter()
        .zip(&inputs)
        .map(|(w, x)| f64::from(*w) * f64::from(*x))
        .sum();
    println!(
        "\na product with 32 activations from {:.2} to {:.2}",
        least(&inputs),
        most(&inputs)
    );
    let step = |what: &str, value: String| println!("{what:<44}{value}");
    step("sum of w x, both in codes", dot.to_string());
    step(
        "as the instruction sums it, (w + 128) x",
        unsigned.to_string(),
    );
    let corrected = unsigned - 128 * sum;
    step(
        &format!("less 128 * {sum}, the sum of x"),
        corrected.to_string(),
    );
    let scaled = corrected as f32 * (w_scale * x_scale);
    let scales = format!("times the scales {w_scale:.6} and {x_scale:.6}");
    step(&scales, format!("{scaled:.5}"));
    step("in double precision", format!("{exact:.5}"));
    let (pool, isa) = (Pool::new(1), IntIsa::Portable);
    let mut activations = Activations::default();
    activations.quantise(&pool, isa, &inputs, BLOCK, 1, BLOCK);
    let mut out = [f32::NAN];
    let packed = PackedBlocks::from_q8(&w, 1, BLOCK);
    multiply(&pool, isa, &mut out, 1, &activations, &packed, None);
    step("the engine's product", format!("{:.5}", out[0]));
}

fn least(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::INFINITY, f32::min)
}

fn most(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}
