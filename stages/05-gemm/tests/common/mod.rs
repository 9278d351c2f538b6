//! What the task files share: seeded inputs, a reference in f64, and launches on the emulator.
#![allow(dead_code, reason = "each test target uses a part")]

use kernels::{Argument, Counts, Emulated, Values};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Sizes [M, N, K]: one, odd, beside and on the edges of tiles, longer than wide and the reverse.
pub const SIZES: &[[usize; 3]] = &[
    [1, 1, 1],
    [1, 7, 3],
    [5, 1, 33],
    [33, 31, 1],
    [32, 32, 32],
    [17, 129, 8],
    [130, 67, 36],
    [31, 200, 65],
    [257, 3, 130],
];

/// Seeds from TEST_SEED, or anew; prints the seed so that a failure can be run again.
pub fn rng() -> StdRng {
    let given = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

/// Values between -1 and 1.
pub fn random(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Random bf16, and what they stand for.
pub fn random_bf16(rng: &mut StdRng, count: usize) -> (Vec<u16>, Vec<f32>) {
    let bits: Vec<u16> = random(rng, count)
        .iter()
        .map(|x| (x.to_bits() >> 16) as u16)
        .collect();
    let value = |bits: &u16| f32::from_bits(u32::from(*bits) << 16);
    let values = bits.iter().map(value).collect();
    (bits, values)
}

/// Holds `c` to `A[m, k] · B[n, k]ᵀ` in f64. The error of any order of summing is below `k` roundings of the sum of the products' sizes.
pub fn assert_product(c: &[f32], a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) {
    assert_eq!(c.len(), m * n);
    for (i, found) in c.iter().enumerate() {
        let (row, col) = (i / n, i % n);
        let products = (0..k).map(|k0| f64::from(a[row * k + k0]) * f64::from(b[col * k + k0]));
        let (sum, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + f64::abs(x)));
        let allowed = size * (k + 1) as f64 * f64::from(f32::EPSILON) / 2.0;
        // Written so that NaN fails.
        assert!(
            (f64::from(*found) - sum).abs() <= allowed,
            "{m} x {n} x {k}: C[{row}, {col}] is {found}, not {sum}"
        );
    }
}

/// A kernel of the ladder with these parameters, for the host. It needs a C++ compiler.
pub fn build(path: &str, changes: &[(&str, i64)]) -> Emulated {
    let changes = changes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    let changes: Values = changes.collect();
    Emulated::build(path, &changes).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a GEMM kernel; the output is poisoned first.
pub fn gemm(kernel: &Emulated, a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> (Vec<f32>, Counts) {
    let mut c = vec![f32::NAN; m * n];
    let outcome = kernel.run(&[
        Argument::input("a", a),
        Argument::input("b", b),
        Argument::output("c", &mut c),
        Argument::integer("M", m),
        Argument::integer("N", n),
        Argument::integer("K", k),
    ]);
    let counts = outcome.unwrap_or_else(|error| panic!("{m} x {n} x {k}: {error}"));
    (c, counts)
}

/// Runs a GEMM kernel over all [`SIZES`] and holds it to the reference.
pub fn is_right_at_every_size(path: &str, changes: &[(&str, i64)]) {
    let (kernel, mut rng) = (build(path, changes), rng());
    for &size in SIZES {
        let [m, n, k] = size;
        let (a, b) = (random(&mut rng, m * k), random(&mut rng, n * k));
        let (c, _) = gemm(&kernel, &a, &b, size);
        assert_product(&c, &a, &b, size);
    }
}

/// What a GEMM kernel asks of memory at a size.
pub fn counts(path: &str, changes: &[(&str, i64)], size: [usize; 3]) -> Counts {
    let [m, n, k] = size;
    let (a, b) = (vec![1.0; m * k], vec![1.0; n * k]);
    let (c, counts) = gemm(&build(path, changes), &a, &b, size);
    assert!(c.iter().all(|x| *x == k as f32));
    counts
}
