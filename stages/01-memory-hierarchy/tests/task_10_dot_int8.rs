//! Task 10: whole numbers come out exact although the instruction wants one factor unsigned; and bfloat16 on the same path.

mod common;

use half::bf16;
use memory_hierarchy::Pool;
use memory_hierarchy::gemm::{NarrowPanels, multiply_bf16, multiply_i8, offset_correction};
use memory_hierarchy::simd::dot::DotIsa;
use rand::RngExt;

/// `[rows, n, k]` at and around the edges of tiles, panels, words and blocks.
const SHAPES: [[usize; 3]; 13] = [
    [0, 3, 5],
    [2, 0, 5],
    [3, 40, 0],
    [1, 1, 1],
    [1, 129, 63],
    [2, 65, 64],
    [3, 33, 2],
    [5, 31, 257],
    [12, 64, 1001],
    [13, 32, 129],
    [33, 70, 65],
    [100, 97, 66],
    [4, 33, 4200],
];

#[test]
fn the_correction_takes_off_what_the_shift_added() {
    let mut rng = common::rng();
    for (n, k) in [(0, 3), (1, 0), (1, 1), (3, 5), (7, 64)] {
        let weight: Vec<i8> = (0..n * k).map(|_| rng.random()).collect();
        let x: Vec<i8> = (0..k).map(|_| rng.random()).collect();
        let correction = offset_correction(&weight, n, k);
        assert_eq!(correction.len(), n);
        for row in 0..n {
            let products = || x.iter().zip(&weight[row * k..]);
            let shifted: i32 = products()
                .map(|(x, w)| (i32::from(*x) + 128) * i32::from(*w))
                .sum();
            let plain: i32 = products().map(|(x, w)| i32::from(*x) * i32::from(*w)).sum();
            assert_eq!(shifted + correction[row], plain, "row {row} of {n} by {k}");
        }
    }
}

fn bytes_are_exact_on(isa: DotIsa) {
    println!("int8 on {isa:?}");
    let (mut rng, pools) = (common::rng(), [Pool::new(1), Pool::new(3)]);
    for [rows, n, k] in SHAPES {
        // All bytes, the extremes often.
        let mut bytes = |len: usize| -> Vec<i8> {
            (0..len)
                .map(|_| match rng.random_range(0..4) {
                    0 => -128,
                    1 => 127,
                    _ => rng.random(),
                })
                .collect()
        };
        let (x, weight) = (bytes(rows * k), bytes(n * k));
        let panels = NarrowPanels::<i8>::pack(&weight, n, k);
        for pool in &pools {
            let mut out = vec![i32::MIN; rows * n + 1];
            multiply_i8(pool, isa, &mut out, &x, rows, &panels);
            assert_eq!(out.pop(), Some(i32::MIN));
            for (at, out) in out.iter().enumerate() {
                let (r, c) = (at / n, at % n);
                let products = x[r * k..][..k].iter().zip(&weight[c * k..]);
                let sum: i64 = products.map(|(x, w)| i64::from(*x) * i64::from(*w)).sum();
                assert_eq!(i64::from(*out), sum, "{rows} x {n} x {k} at ({r}, {c})");
            }
        }
    }
}

fn bf16_is_close_on(isa: DotIsa) {
    println!("bf16 on {isa:?}");
    let (mut rng, pools) = (common::rng(), [Pool::new(1), Pool::new(3)]);
    for [rows, n, k] in SHAPES {
        let mut narrow = |len: usize| -> Vec<bf16> {
            common::values(&mut rng, len)
                .into_iter()
                .map(bf16::from_f32)
                .collect()
        };
        let (x, weight) = (narrow(rows * k), narrow(n * k));
        let panels = NarrowPanels::<bf16>::pack(&weight, n, k);
        for pool in &pools {
            let mut out = vec![f32::NAN; rows * n + 1];
            multiply_bf16(pool, isa, &mut out, &x, rows, &panels);
            assert!(out.pop().is_some_and(f32::is_nan));
            for (at, out) in out.iter().enumerate() {
                let (r, c) = (at / n, at % n);
                let (mut sum, mut size) = (0.0f64, 0.0f64);
                for (x, w) in x[r * k..][..k].iter().zip(&weight[c * k..]) {
                    let product = x.to_f64() * w.to_f64();
                    sum += product;
                    size += product.abs();
                }
                // The products are exact in f32; each addition rounds once.
                let bound = (k as f64 + 2.0) * f64::from(f32::EPSILON) * size;
                let error = (f64::from(*out) - sum).abs();
                assert!(error <= bound, "{rows} x {n} x {k} at ({r}, {c}): {error}");
            }
        }
    }
}

/// AMX has a test of its own below, which must be asked for: what did not run must not read as passed.
fn without_tiles(available: Vec<DotIsa>) -> impl Iterator<Item = DotIsa> {
    let isas = available.into_iter();
    #[cfg(target_arch = "x86_64")]
    let isas = isas.filter(|isa| *isa != DotIsa::Amx);
    isas
}

#[test]
fn bytes_are_exact_wherever_they_are_multiplied() {
    for isa in without_tiles(DotIsa::available::<i8>()) {
        bytes_are_exact_on(isa);
    }
}

#[test]
fn bf16_is_close_wherever_it_is_multiplied() {
    for isa in without_tiles(DotIsa::available::<bf16>()) {
        bf16_is_close_on(isa);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "needs AMX"]
fn tiles_compute_the_same() {
    bytes_are_exact_on(DotIsa::Amx);
    bf16_is_close_on(DotIsa::Amx);
}
