//! The kernel for 2:4 weights: that the tensor cores read the metadata as it was packed, and products against f64 of the pruned weights.

#[path = "common/readings.rs"]
mod readings;

use gemm::{SPARSE_CONFIGS, Sparse24, SparseGemm, SparseOperands, SparsePlan, sparse_plans};
use half::bf16;
use kernels::Device;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use readings::{READINGS, Reading, read};

fn random(seed: u64) -> StdRng {
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

fn fresh() -> u64 {
    rand::rng().next_u64()
}

/// Runs a plan into poisoned results, twice in a row into two outputs: the second finds the flags as the first left them. Results, and
/// that nothing behind them was touched.
fn run(
    device: &Device,
    gemm: &SparseGemm,
    size: (usize, usize, usize),
    plan: &SparsePlan,
    tokens: &[u16],
    weights: &Sparse24,
) -> Vec<u16> {
    let (m, n, _) = size;
    let guard = 4096;
    let a = device.upload(tokens).unwrap();
    let values = device.upload(&weights.values).unwrap();
    let metadata = device.upload(&weights.metadata()).unwrap();
    let outputs = [0, 1].map(|_| device.allocate((m * n + guard) * 2).unwrap());
    for c in &outputs {
        device.fill(c, 0xff).unwrap();
    }
    for c in &outputs {
        let operands = SparseOperands {
            a: a.address(),
            values: values.address(),
            metadata: metadata.address(),
            c: c.address(),
        };
        gemm.prepare(size, plan, &operands).unwrap().run().unwrap();
    }
    let [mut first, second] = outputs
        .each_ref()
        .map(|c| device.download::<u16>(c, m * n + guard).unwrap());
    assert!(first == second, "{size:?} {plan:?} does not repeat");
    assert!(first[m * n..].iter().all(|bits| *bits == 0xffff));
    first.truncate(m * n);
    first
}

/// Weights with both places of every four random, and different values at them.
fn scattered(n: usize, k: usize, random: &mut StdRng) -> Sparse24 {
    let mut dense = vec![0; n * k];
    for four in dense.chunks_exact_mut(4) {
        let first = random.random_range(0..4_usize);
        let second = (first + random.random_range(1..4_usize)) % 4;
        for place in [first, second] {
            let value: f32 = random.random_range(0.5..1.0);
            four[place] = bf16::from_f32(value).to_bits();
        }
    }
    Sparse24::prune(&dense, n, k)
}

#[test]
fn readings_can_be_told_apart() {
    let (n, k) = (128, 128);
    let weights = scattered(n, k, &mut random(fresh()));
    let metadata = weights.metadata();
    for (i, reading) in READINGS.iter().enumerate() {
        let right = |at: &usize| {
            let (row, column) = (at / k, at % k);
            read(reading, &weights, &metadata, row, column) == weights.weight(row, column)
        };
        let right = (0..n * k).filter(right).count();
        // Of random pairs a sixth is the same; of those, and of zeros, much is right by chance.
        assert_eq!(i == 0, right == n * k, "{}: {right}", reading.name);
        assert!(
            i == 0 || right < n * k * 9 / 10,
            "{}: {right}",
            reading.name
        );
    }
}

/// With the identity for tokens, the result is the matrix that the tensor cores saw. Where it is not the one that was packed, this says
/// by which reading it would be, and for each selector how much of it is right.
#[test]
#[ignore = "needs a CUDA GPU"]
fn the_tensor_cores_see_what_was_packed() {
    let device = Device::open().unwrap();
    let gemm = SparseGemm::new(&device).unwrap();
    let (m, n, k) = (256, 256, 256);
    let mut random = random(fresh());
    let weights = scattered(n, k, &mut random);
    let metadata = weights.metadata();
    let one = bf16::ONE.to_bits();
    let identity: Vec<u16> = (0..m * k)
        .map(|at| if at / k == at % k { one } else { 0 })
        .collect();
    let mut wrong = Vec::new();
    for &config in SPARSE_CONFIGS {
        let plan = SparsePlan {
            config,
            workers: 1,
            whole: n.div_ceil(config.rows * config.cluster) * m.div_ceil(config.tokens),
        };
        let found = run(&device, &gemm, (m, n, k), &plan, &identity, &weights);
        let is = |reading: &Reading, row: usize, column: usize| {
            let seen = bf16::from_bits(found[column * n + row]).to_f64();
            seen == read(reading, &weights, &metadata, row, column)
        };
        let right = |reading: &Reading, selector: Option<usize>, warp: Option<usize>| {
            let chosen = (0..n * k)
                .map(|at| (at / k, at % k))
                .filter(|(row, column)| {
                    selector.is_none_or(|s| column / 32 % 2 == s)
                        && warp.is_none_or(|w| row / 16 % 4 == w)
                });
            let all: Vec<bool> = chosen
                .map(|(row, column)| is(reading, row, column))
                .collect();
            all.iter().filter(|right| **right).count() as f64 / all.len() as f64
        };
        if right(&READINGS[0], None, None) == 1.0 {
            continue;
        }
        println!("{config:?} is wrong. Of its elements are right, if the metadata were read:");
        for reading in READINGS {
            let [all, zero, one] = [None, Some(0), Some(1)].map(|s| right(reading, s, None));
            println!(
                "  {all:.3} (selector 0 {zero:.3}, 1 {one:.3}) {}",
                reading.name
            );
        }
        let warps: Vec<f64> = (0..4).map(|w| right(&READINGS[0], None, Some(w))).collect();
        println!("  by warps, as the ISA has it: {warps:.3?}");
        for row in [0, 8, 16, 64] {
            let seen = |column: usize| bf16::from_bits(found[column * n + row]).to_f64();
            let wanted = |column: usize| weights.weight(row, column);
            println!(
                "  row {row} seen   {:.3?}",
                (0..16).map(seen).collect::<Vec<_>>()
            );
            println!(
                "  row {row} packed {:.3?}",
                (0..16).map(wanted).collect::<Vec<_>>()
            );
        }
        wrong.push(config);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

struct Case {
    tokens: Vec<u16>,
    weights: Sparse24,
    exact: Vec<f64>,
}

impl Case {
    fn new(size: (usize, usize, usize), random: &mut StdRng) -> Self {
        let (m, n, k) = size;
        let mut draw = |count: usize| -> Vec<u16> {
            let value = |_| bf16::from_f32(random.random_range(-1.0..1.0)).to_bits();
            (0..count).map(value).collect()
        };
        let tokens = draw(m * k);
        let weights = Sparse24::prune(&draw(n * k), n, k);
        let wide = |bits: &u16| bf16::from_bits(*bits).to_f64();
        let of_tokens: Vec<f64> = tokens.iter().map(wide).collect();
        let mut exact = vec![0.0; m * n];
        for column in 0..n {
            let row: Vec<f64> = (0..k).map(|i| weights.weight(column, i)).collect();
            for token in 0..m {
                let of_token = &of_tokens[token * k..][..k];
                exact[token * n + column] = of_token.iter().zip(&row).map(|(a, b)| a * b).sum();
            }
        }
        Self {
            tokens,
            weights,
            exact,
        }
    }

    /// Relative Frobenius error, and the largest error in units of the result's root mean square; NaN counts as the worst.
    fn errors(&self, found: &[u16]) -> (f64, f64) {
        let (mut off, mut size, mut most) = (0.0, 0.0, 0.0_f64);
        for (bits, exact) in found.iter().zip(&self.exact) {
            let difference = (bf16::from_bits(*bits).to_f64() - exact).abs();
            if difference.is_nan() {
                return (f64::INFINITY, f64::INFINITY);
            }
            off += difference * difference;
            size += exact * exact;
            most = most.max(difference - exact.abs() / 256.0);
        }
        let mean = (size / found.len() as f64).sqrt();
        ((off / size).sqrt(), most / mean)
    }
}

/// Runs every plan of every size.
fn check(sizes: &[(usize, usize, usize)]) {
    let device = Device::open().unwrap();
    let gemm = SparseGemm::new(&device).unwrap();
    let sms = device.multiprocessors() as usize;
    let mut random = random(fresh());
    for &size in sizes {
        let (m, n, k) = size;
        let case = Case::new(size, &mut random);
        for plan in sparse_plans(m, n, k, sms) {
            let found = run(&device, &gemm, size, &plan, &case.tokens, &case.weights);
            let (error, most) = case.errors(&found);
            println!("{m},{n},{k} {plan:?}: error {error:.2e}, at most {most:.2e}");
            assert!(error <= 1e-2 && most <= 1e-2, "{m},{n},{k} {plan:?}");
        }
    }
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn small_and_odd_sizes_are_right() {
    let mut sizes = Vec::new();
    for m in [1, 3, 8, 9, 17, 33, 65, 129, 257] {
        // One unit; k that ends within a unit, a stage and what is filled up; rows that fill no block; many steps of few rows.
        let of = [(64, 64), (320, 272), (200, 400), (136, 16), (72, 2048)];
        sizes.extend(of.map(|(n, k)| (m, n, k)));
    }
    check(&sizes);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn sizes_of_models_are_right() {
    check(&[
        (1, 6144, 4096),
        (16, 4096, 4096),
        (33, 10240, 1024),
        (64, 4096, 2048),
        (250, 4096, 1024),
        (1000, 2560, 512),
    ]);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn sizes_that_tma_cannot_address_are_refused() {
    let device = Device::open().unwrap();
    let gemm = SparseGemm::new(&device).unwrap();
    for (n, k) in [(64, 24), (60, 64)] {
        let plan = sparse_plans(1, n, k, 132)[0];
        let operands = SparseOperands {
            a: 0,
            values: 0,
            metadata: 0,
            c: 0,
        };
        let error = gemm.prepare((1, n, k), &plan, &operands).err().unwrap();
        assert!(error.to_string().contains("multiple of 8"), "{error}");
    }
}
