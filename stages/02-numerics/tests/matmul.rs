//! Products with quantised weights, on every instruction set of this machine, against double precision.

use half::f16;
use memory_hierarchy::Pool;
use numerics::blocks::{BLOCK, Q4, Q8};
use numerics::matmul::{Activations, IntIsa, PackedBlocks, multiply};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn rng() -> StdRng {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn values(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A weight in each format, with what it stands for.
fn weights(rng: &mut StdRng, n: usize, k: usize) -> Vec<(PackedBlocks, Vec<f32>)> {
    let numbers = values(rng, n * k);
    let q8 = Q8::quantise(&numbers);
    let q4 = Q4::quantise(&numbers);
    let offsets = (0..n * k / BLOCK)
        .map(|_| f16::from_f32(rng.random_range(-1.0..1.0)))
        .collect();
    let q4_offsets = Q4 {
        offsets: Some(offsets),
        ..q4.clone()
    };
    let all = |blocks: usize, block: &dyn Fn(usize) -> [f32; BLOCK]| -> Vec<f32> {
        (0..blocks).flat_map(block).collect()
    };
    let blocks = n * k / BLOCK;
    vec![
        (
            PackedBlocks::from_q8(&q8, n, k),
            all(blocks, &|i| q8.block(i)),
        ),
        (
            PackedBlocks::from_q4(&q4, n, k),
            all(blocks, &|i| q4.block(i)),
        ),
        (
            PackedBlocks::from_q4(&q4_offsets, n, k),
            all(blocks, &|i| q4_offsets.block(i)),
        ),
    ]
}

#[test]
fn equals_double_precision_on_what_was_rounded() {
    let rng = &mut rng();
    let pool = Pool::new(2);
    for (rows, n, k) in [
        (0, 5, 32),
        (1, 1, 32),
        (1, 33, 64),
        (2, 40, 96),
        (3, 31, 32),
        (5, 64, 320),
        (7, 100, 128),
        (8, 65, 64),
        (13, 32, 0),
        (19, 300, 512),
    ] {
        let spare = rng.random_range(0..4);
        let x = values(rng, rows * (k + spare));
        let bias = values(rng, n);
        for (weight, want) in weights(rng, n, k) {
            for isa in IntIsa::available() {
                for bias in [None, Some(&bias[..])] {
                    let mut activations = Activations::default();
                    activations.quantise(&pool, isa, &x, k + spare, rows, k);
                    let stride = n + spare;
                    let mut out = vec![f32::NAN; rows * stride];
                    multiply(&pool, isa, &mut out, stride, &activations, &weight, bias);
                    for r in 0..rows {
                        let x = activations.row(r);
                        for j in 0..n {
                            let products = || {
                                let w = &want[j * k..(j + 1) * k];
                                x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w))
                            };
                            let exact: f64 =
                                products().sum::<f64>() + bias.map_or(0.0, |b| f64::from(b[j]));
                            let size: f64 = products().map(f64::abs).sum::<f64>() + 1.0;
                            let got = f64::from(out[r * stride + j]);
                            assert!(
                                (got - exact).abs() <= 1e-6 * size,
                                "{isa:?} {:?} {rows}x{n}x{k}, ({r}, {j}): {got}, not {exact}",
                                weight.format()
                            );
                        }
                        for spare in &out[r * stride + n..(r + 1) * stride] {
                            assert!(spare.is_nan(), "what lies between rows is left alone");
                        }
                    }
                }
            }
        }
    }
}

/// Sums of pairs stay in 16 bits on AVX2: no block may be too large for them.
#[test]
fn the_largest_quants_fit_the_sums() {
    let pool = Pool::new(1);
    let (n, k) = (35, 96);
    let scales = vec![f16::ONE; n * k / BLOCK];
    for (x, limit) in [(1.0f32, 127.0), (-1.0, -127.0)] {
        for (low, high) in [(-127i8, 0u8), (127, 15)] {
            let q8 = Q8 {
                quants: vec![low; n * k],
                scales: scales.clone(),
            };
            let q4 = |offsets| Q4 {
                quants: vec![high | high << 4; n * k / 2],
                scales: scales.clone(),
                offsets,
            };
            let (without, with) = (q4(None), q4(Some(scales.clone())));
            for (weight, w) in [
                (PackedBlocks::from_q8(&q8, n, k), f32::from(low)),
                (PackedBlocks::from_q4(&without, n, k), f32::from(high) - 8.0),
                (PackedBlocks::from_q4(&with, n, k), f32::from(high) + 1.0),
            ] {
                for isa in IntIsa::available() {
                    for rows in 1..=5 {
                        let mut activations = Activations::default();
                        activations.quantise(&pool, isa, &vec![x * 127.0; rows * k], k, rows, k);
                        let mut out = vec![f32::NAN; rows * n];
                        multiply(&pool, isa, &mut out, n, &activations, &weight, None);
                        let want = k as f32 * limit * w;
                        assert!(
                            out.iter().all(|got| *got == want),
                            "{isa:?} {:?}, {rows} rows of {limit} by {w}: {out:?}, not {want}",
                            weight.format()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    let rng = &mut rng();
    let (rows, n, k) = (17, 333, 640);
    let x = values(rng, rows * k);
    for (weight, _) in weights(rng, n, k) {
        for isa in IntIsa::available() {
            let product = |threads: usize, x: &[f32]| {
                let pool = Pool::new(threads);
                let mut activations = Activations::default();
                activations.quantise(&pool, isa, x, k, x.len() / k, k);
                let mut out = vec![f32::NAN; x.len() / k * n];
                multiply(&pool, isa, &mut out, n, &activations, &weight, None);
                out
            };
            let together = product(3, &x);
            for (x, together) in x.chunks_exact(k).zip(together.chunks_exact(n)) {
                assert_eq!(product(1, x), together, "{isa:?}");
            }
        }
    }
}

#[test]
fn a_packed_row_is_the_row_that_was_packed() {
    let rng = &mut rng();
    for (n, k) in [(1, 32), (37, 96), (64, 64)] {
        for (weight, want) in weights(rng, n, k) {
            for (row, want) in want.chunks_exact(k).enumerate() {
                let mut got = vec![f32::NAN; k];
                weight.row(row, &mut got);
                for (got, want) in got.iter().zip(want) {
                    assert!((got - want).abs() <= 1e-5, "{:?}", weight.format());
                }
            }
        }
    }
}

#[test]
fn activations_are_rounded_to_the_nearest_step_and_keep_what_is_no_number() {
    let rng = &mut rng();
    let pool = Pool::new(1);
    let mut x = values(rng, 4 * BLOCK);
    x[..BLOCK].fill(0.0);
    x[BLOCK] = 1e-42;
    x[2 * BLOCK + 3] = f32::NAN;
    x[3 * BLOCK + 30] = f32::INFINITY;
    for isa in IntIsa::available() {
        let mut activations = Activations::default();
        activations.quantise(&pool, isa, &x, x.len(), 1, x.len());
        let got = activations.row(0);
        let blocks = x.chunks_exact(BLOCK).zip(got.chunks_exact(BLOCK));
        for (block, (x, got)) in blocks.enumerate() {
            let largest = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for (x, got) in x.iter().zip(got) {
                if block < 2 {
                    assert!(
                        (x - got).abs() <= largest / 254.0 * 1.001,
                        "{x} became {got}"
                    );
                } else {
                    assert!(got.is_nan(), "{x} became {got}");
                }
            }
        }
    }
}
