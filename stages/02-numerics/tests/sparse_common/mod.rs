//! Random sparse weights, and products held to double precision on every instruction set.
#![allow(dead_code)] // each test file uses its part

use memory_hierarchy::{Isa, Pool};
use numerics::sparse::{Weight, multiply};
use rand::RngExt;
use rand::rngs::StdRng;

/// Numbers within -1 to 1, none of them zero.
pub fn numbers(rng: &mut StdRng, len: usize) -> Vec<f32> {
    let number = |_| {
        let magnitude = rng.random_range(0.01f32..1.0);
        if rng.random() { magnitude } else { -magnitude }
    };
    (0..len).map(number).collect()
}

/// As [`numbers`], each zero but with a chance of `density`.
pub fn sparse(rng: &mut StdRng, len: usize, density: f64) -> Vec<f32> {
    let mut values = numbers(rng, len);
    for value in &mut values {
        if !rng.random_bool(density) {
            *value = 0.0;
        }
    }
    values
}

/// Holds products of one row and of several with `weight` to `dense` (`[n, k]`), which it must stand for, in double precision.
pub fn check_products(rng: &mut StdRng, weight: &impl Weight, dense: &[f32]) {
    let (n, k) = weight.shape();
    assert_eq!(dense.len(), n * k);
    let pool = Pool::new(2);
    for rows in [0, 1, 3, 4, 7, 16, 17, 33] {
        let x = numbers(rng, rows * k);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; rows * n];
            multiply(weight, isa, &pool, &x, rows, &mut out);
            for (at, out) in out.iter().enumerate() {
                let (row, output) = (at / n, at % n);
                let terms =
                    (0..k).map(|i| f64::from(x[row * k + i]) * f64::from(dense[output * k + i]));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), term| {
                    (sum + term, size + term.abs())
                });
                let error = (f64::from(*out) - sum).abs();
                assert!(
                    error <= size * 1e-5,
                    "{isa:?} [{n}, {k}] row {row} of {rows}, output {output}: {out} for {sum}"
                );
            }
        }
    }
}

/// Shapes with empty, odd and unaligned sides.
pub const SHAPES: [(usize, usize); 10] = [
    (0, 0),
    (0, 8),
    (5, 0),
    (1, 1),
    (16, 64),
    (17, 65),
    (3, 130),
    (70, 31),
    (33, 128),
    (129, 19),
];
