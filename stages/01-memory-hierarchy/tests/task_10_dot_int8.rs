//! Task 10: whole numbers come out exact although the instruction wants one factor unsigned; and bfloat16 on the same path.

mod common;

use half::bf16;
use memory_hierarchy::Pool;
use memory_hierarchy::gemm::{
    NarrowPanels, Rows, multiply_bf16, multiply_i8, multiply_rounded, offset_correction,
};
use memory_hierarchy::simd::dot::DotIsa;
use rand::RngExt;

/// `[rows, n, k]` at and around the edges of tiles, panels, words and blocks.
const SHAPES: [[usize; 3]; 16] = [
    [0, 3, 5],
    [2, 0, 5],
    [3, 40, 0],
    [1, 5, 0],
    [1, 1, 1],
    [3, 5, 1],
    [1, 129, 63],
    [2, 65, 64],
    [3, 33, 2],
    [5, 31, 257],
    [12, 64, 1001],
    [13, 32, 129],
    [33, 70, 65],
    [100, 97, 66],
    [1, 300, 4201],
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

/// A product that rounds: of rows `stride` apart, to rows that are apart, too, at addresses off a vector's alignment.
struct Product<'a> {
    isa: DotIsa,
    n: usize,
    k: usize,
    /// Rows begin at the second number.
    x: &'a [f32],
    stride: usize,
    panels: NarrowPanels<bf16>,
    bias: Option<&'a [f32]>,
}

impl Product<'_> {
    fn of(&self, pool: &Pool, first: usize, rows: usize) -> Vec<f32> {
        let x = Rows {
            values: &self.x[(1 + first * self.stride).min(self.x.len())..],
            stride: self.stride,
            rows,
        };
        let stride = self.n + 3;
        let mut out = vec![f32::NAN; 1 + rows * stride];
        multiply_rounded(
            pool,
            self.isa,
            &mut out[1..],
            stride,
            x,
            &self.panels,
            self.bias,
        );
        assert!(out[0].is_nan());
        let rows = out[1..].chunks(stride).flat_map(|row| {
            assert!(row[self.n..].iter().all(|value| value.is_nan()));
            &row[..self.n]
        });
        rows.copied().collect()
    }

    /// Checks against sums in double precision of the rounded numbers. Their products are exact in f32; each addition rounds once.
    fn check(&self, out: &[f32], weight: &[bf16]) {
        for (at, out) in out.iter().enumerate() {
            let (r, c) = (at / self.n, at % self.n);
            let (mut sum, mut size) = (0.0f64, 0.0f64);
            for i in 0..self.k {
                let x = bf16::from_f32(self.x[1 + r * self.stride + i]).to_f64();
                let product = x * weight[c * self.k + i].to_f64();
                sum += product;
                size += product.abs();
            }
            if let Some(bias) = self.bias {
                sum += f64::from(bias[c]);
                size += f64::from(bias[c].abs());
            }
            let bound = (self.k as f64 + 2.0) * f64::from(f32::EPSILON) * size;
            let error = (f64::from(*out) - sum).abs();
            assert!(
                error <= bound,
                "({r}, {c}): off by {error}, {bound} allowed"
            );
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn rounded_is_close_on(isa: DotIsa) {
    let (mut rng, [one, three]) = (common::rng(), [Pool::new(1), Pool::new(3)]);
    for [rows, n, k] in SHAPES {
        println!("rounded to bf16 on {isa:?}, {rows} x {n} x {k}");
        let stride = k + rng.random_range(0..4);
        let x = common::values(&mut rng, 1 + rows * stride);
        let weight = common::values(&mut rng, n * k);
        let weight: Vec<bf16> = weight.into_iter().map(bf16::from_f32).collect();
        let bias = common::values(&mut rng, n);
        let product = Product {
            isa,
            n,
            k,
            x: &x,
            stride,
            panels: NarrowPanels::<bf16>::pack(&weight, n, k),
            bias: rng.random::<bool>().then_some(&bias),
        };
        let out = product.of(&one, 0, rows);
        product.check(&out, &weight);
        assert_eq!(
            bits(&out),
            bits(&product.of(&three, 0, rows)),
            "threads change a result"
        );
        // Any part of the batch comes out as it does in the whole.
        for _ in 0..3 {
            let first = rng.random_range(0..=rows);
            let part = rng.random_range(0..=rows - first);
            let whole = &out[first * n..][..part * n];
            let part = product.of(&three, first, part);
            assert_eq!(bits(&part), bits(whole), "the batch changes a result");
        }
        let mut row = vec![f32::NAN; k];
        for c in 0..n {
            product.panels.row(c, &mut row);
            let wide: Vec<f32> = weight[c * k..][..k].iter().map(|w| w.to_f32()).collect();
            assert_eq!(bits(&row), bits(&wide));
        }
    }
}

/// Rows are rounded to the nearest, ties to even, wherever in a vector a number stands. A weight of ones and zeros shows them one by one.
fn rounds_to_even_on(isa: DotIsa) {
    println!("rounding on {isa:?}");
    let (mut rng, pool, k) = (common::rng(), Pool::new(1), 71);
    let x: Vec<f32> = (0..3 * k)
        .map(|at| {
            // Every third lies halfway between two bfloat16; exponents are those of normal numbers.
            let bits = rng.random::<u32>() & 0x8fff_ffff | 0x3000_0000;
            f32::from_bits(if at % 3 == 0 {
                bits & 0xffff_0000 | 0x8000
            } else {
                bits
            })
        })
        .collect();
    let ones: Vec<bf16> = (0..k * k)
        .map(|at| {
            if at / k == at % k {
                bf16::ONE
            } else {
                bf16::ZERO
            }
        })
        .collect();
    let panels = NarrowPanels::<bf16>::pack(&ones, k, k);
    for rows in [1, 3] {
        let mut out = vec![f32::NAN; rows * k];
        let x = Rows {
            values: &x,
            stride: k,
            rows,
        };
        multiply_rounded(&pool, isa, &mut out, k, x, &panels, None);
        for (at, (out, x)) in out.iter().zip(x.values).enumerate() {
            let rounded = bf16::from_f32(*x).to_f32();
            assert_eq!(*out, rounded, "{at}: {x:e}");
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
        rounded_is_close_on(isa);
        rounds_to_even_on(isa);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "needs AMX"]
fn tiles_compute_the_same() {
    bytes_are_exact_on(DotIsa::Amx);
    bf16_is_close_on(DotIsa::Amx);
    rounded_is_close_on(DotIsa::Amx);
    rounds_to_even_on(DotIsa::Amx);
}
