//! Products with quantised weights: bytes a second with one row, operations a second with many, beside f32 in the same run.
//!
//! One row reads the weight once, so its floor is the bandwidth of DRAM: what the same threads read from as much memory, in the same turn,
//! both the best of three passes. The weights are rotated through more memory than any cache holds. Many rows are bound by arithmetic.

use benches::Bench;
use memory_hierarchy::gemm::{self, Panels, Rows};
use memory_hierarchy::probe::bandwidth::{Traffic, WorkingSet};
use memory_hierarchy::probe::fastest;
use memory_hierarchy::{Isa, Pool};
use numerics::blocks::{Q4, Q8};
use numerics::matmul::{Activations, IntIsa, PackedBlocks, multiply};
use std::time::{Duration, Instant};

/// Outputs and inputs of a weight: an up-projection of a model of a billion parameters.
const N: usize = 8192;
const K: usize = 2048;
/// Weights that take turns: together beyond any cache.
const COPIES: usize = 24;
const ROWS: usize = 512;
const SAMPLES: usize = 15;

fn main() {
    let pool = Pool::global();
    pool.pin_caller();
    let isa = IntIsa::detect();
    // Without VNNI the instructions are others: a record of its own.
    let record = match isa {
        #[cfg(target_arch = "x86_64")]
        IntIsa::Vnni => "02-matmul".to_owned(),
        other => format!("02-matmul-{other:?}").to_lowercase(),
    };
    let mut bench = Bench::new(
        "stage-02 --bench matmul",
        &record,
        "Products with weights of 8 and 4 bits, on all cores",
        &[
            "stages/01-memory-hierarchy/src",
            "stages/02-numerics/src",
            "stages/02-numerics/benches/matmul.rs",
        ],
    );
    bench.count("cores", "cores", pool.threads() as f64);
    let values: Vec<f32> = (0..N * K)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u16 as f32 / 32768.0 - 1.0)
        .collect();
    let x: Vec<f32> = values.iter().rev().take(ROWS * K).copied().collect();
    let mut out = vec![0.0f32; ROWS * N];

    // Samples of everything are taken in turns, so that a slow moment of the machine hits all.
    let (q8, q4) = (Q8::quantise(&values), Q4::quantise(&values));
    let weights = [
        (
            "q8",
            (0..COPIES)
                .map(|_| PackedBlocks::from_q8(&q8, N, K))
                .collect::<Vec<_>>(),
        ),
        (
            "q4",
            (0..COPIES)
                .map(|_| PackedBlocks::from_q4(&q4, N, K))
                .collect(),
        ),
    ];
    let f32s = Panels::pack(&values, N, K);
    let mut activations = Activations::with_capacity(ROWS * K);
    let mut series: Vec<(String, &str, Vec<f64>)> = Vec::new();
    let mut keep = |name: &str, unit: &'static str, value: f64| match series
        .iter_mut()
        .find(|series| series.0 == name)
    {
        Some(series) => series.2.push(value),
        None => series.push((name.to_owned(), unit, vec![value])),
    };
    let set = WorkingSet::new(pool, COPIES * weights[0].1[0].bytes() / pool.threads());
    for _ in 0..SAMPLES {
        for (name, weights) in &weights {
            let bandwidth = set.gb_s(pool, Traffic::Read, Duration::ZERO);
            keep(&format!("dram-read-{name}"), "GB/s", bandwidth);
            let mut product = |rows: usize, weight: &PackedBlocks| {
                activations.quantise(pool, isa, &x, K, rows, K);
                multiply(pool, isa, &mut out, N, &activations, weight, None);
            };
            let ns = fastest(Duration::ZERO, || {
                weights.iter().for_each(|weight| product(1, weight));
            });
            let rate = (COPIES * weights[0].bytes()) as f64 / ns;
            keep(&format!("gemv-{name}"), "GB/s", rate);
            keep(&format!("gemv-{name}-of-dram"), "x", rate / bandwidth);
            let started = Instant::now();
            product(ROWS, &weights[0]);
            let rate = 2.0 * (ROWS * N * K) as f64 / started.elapsed().as_secs_f64() / 1e9;
            keep(&format!("gemm-{name}"), "GOP/s", rate);
        }
        let rows = Rows {
            values: &x,
            stride: K,
            rows: ROWS,
        };
        let started = Instant::now();
        gemm::multiply(pool, Isa::detect(), &mut out, N, rows, &f32s, None);
        let rate = 2.0 * (ROWS * N * K) as f64 / started.elapsed().as_secs_f64() / 1e9;
        keep("gemm-f32", "GFLOP/s", rate);
    }
    let of = |name: &str| {
        series
            .iter()
            .find(|series| series.0 == name)
            .map(|series| series.2.clone())
    };
    for name in ["q8", "q4"] {
        let (ints, floats) = (of(&format!("gemm-{name}")), of("gemm-f32"));
        let pairs = ints.iter().flatten().zip(floats.iter().flatten());
        let ratios = pairs.map(|(ints, floats)| ints / floats).collect();
        bench.push(&format!("gemm-{name}-over-f32"), "x", ratios);
    }
    for (name, unit, samples) in series {
        bench.push(&name, unit, samples);
    }
    bench.finish();
}
