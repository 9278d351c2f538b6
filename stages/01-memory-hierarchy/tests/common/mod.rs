//! A seeded generator for the task files, and what they compare with.
#![allow(dead_code)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Seeds from TEST_SEED, or anew; prints the seed so that a failure can be run again.
pub fn rng() -> StdRng {
    let given = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// Values around zero.
pub fn values(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A rung of the ladder: `c = a b`, row-major.
pub type Rung = fn(&mut [f32], &[f32], &[f32], usize, usize, usize);

/// Holds a rung to sums in double precision, on odd, empty and blocked shapes, with slices off a vector's alignment.
pub fn holds(name: &str, rung: impl Fn(&mut [f32], &[f32], &[f32], usize, usize, usize)) {
    let mut rng = rng();
    let edges = [0, 1, 2, 3, 7, 13, 31, 33, 64, 70];
    let mut shapes: Vec<[usize; 3]> = (0..60)
        .map(|_| std::array::from_fn(|_| edges[rng.random_range(0..edges.len())]))
        .collect();
    shapes.extend([
        [2, 3, 0],
        [1, 1, 1],
        [3, 1030, 259],
        [13, 33, 1029],
        [25, 65, 130],
    ]);
    for [m, n, k] in shapes {
        let (a, b) = (values(&mut rng, m * k + 1), values(&mut rng, k * n + 1));
        let (a, b) = (&a[1..], &b[1..]);
        let mut c = vec![f32::NAN; m * n + 2];
        rung(&mut c[1..=m * n], a, b, m, n, k);
        assert!(c[0].is_nan() && c[m * n + 1].is_nan());
        for (at, c) in c[1..=m * n].iter().enumerate() {
            let (i, j) = (at / n, at % n);
            let (mut sum, mut size) = (0.0f64, 0.0f64);
            for l in 0..k {
                let product = f64::from(a[i * k + l]) * f64::from(b[l * n + j]);
                sum += product;
                size += product.abs();
            }
            let bound = (k as f64 + 1.0) * f64::from(f32::EPSILON) * size;
            let error = (f64::from(*c) - sum).abs();
            assert!(
                error <= bound,
                "{name} of {m} x {n} x {k} at ({i}, {j}): off by {error}, {bound} allowed"
            );
        }
    }
}
