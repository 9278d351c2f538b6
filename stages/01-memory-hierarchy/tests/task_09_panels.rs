//! Task 9: products with a packed weight, in every element type, on every instruction set, for every cut of the work.

mod common;

use half::{bf16, f16};
use memory_hierarchy::buffer::Plain;
use memory_hierarchy::gemm::{Panels, Rows, k07_threads, multiply};
use memory_hierarchy::simd::Element;
use memory_hierarchy::{Isa, Pool};
use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::LazyLock;

static POOLS: LazyLock<[Pool; 2]> = LazyLock::new(|| [Pool::new(1), Pool::new(3)]);

/// Shapes `[rows, n, k]` at and around the edges of tiles, panels, groups and blocks.
const SHAPES: [[usize; 3]; 27] = [
    [30, 5, 0],
    [1, 1, 0],
    [3, 40, 0],
    [0, 5, 3],
    [2, 0, 3],
    [1, 1, 1],
    [5, 33, 1],
    [1, 31, 7],
    [1, 32, 255],
    [1, 129, 256],
    [1, 290, 700],
    [2, 65, 257],
    [2, 160, 64],
    [3, 95, 31],
    [4, 32, 513],
    [5, 64, 100],
    [6, 96, 300],
    [7, 97, 33],
    [8, 63, 1000],
    [9, 70, 260],
    [12, 64, 257],
    [13, 37, 511],
    [24, 33, 512],
    [25, 100, 513],
    [61, 129, 300],
    [250, 40, 270],
    [300, 300, 37],
];

struct Case<E> {
    rows: usize,
    n: usize,
    k: usize,
    stride: usize,
    x: Vec<f32>,
    weight: Vec<E>,
    bias: Option<Vec<f32>>,
}

impl<E: Element + Plain> Case<E> {
    fn new(rng: &mut StdRng, [rows, n, k]: [usize; 3], narrow: fn(f32) -> E) -> Self {
        let stride = k + rng.random_range(0..4);
        Self {
            rows,
            n,
            k,
            stride,
            x: common::values(rng, rows * stride),
            weight: common::values(rng, n * k).into_iter().map(narrow).collect(),
            bias: rng.random::<bool>().then(|| common::values(rng, n)),
        }
    }

    fn rows(&self, first: usize, rows: usize) -> Rows<'_> {
        Rows {
            values: &self.x[(first * self.stride).min(self.x.len())..],
            stride: self.stride,
            rows,
        }
    }

    /// The product of some rows, at an address off a vector's alignment, with poison around and between the rows.
    fn product(&self, pool: &Pool, isa: Isa, first: usize, rows: usize) -> Vec<f32> {
        let panels = Panels::pack(&self.weight, self.n, self.k);
        let stride = self.n + 3;
        let mut out = vec![f32::NAN; 1 + rows * stride];
        multiply(
            pool,
            isa,
            &mut out[1..],
            stride,
            self.rows(first, rows),
            &panels,
            self.bias.as_deref(),
        );
        let mut kept = Vec::new();
        assert!(out[0].is_nan());
        for row in out[1..].chunks(stride) {
            assert!(row[self.n..].iter().all(|value| value.is_nan()));
            kept.extend(&row[..self.n]);
        }
        kept
    }

    /// Checks against sums in double precision: a sum of `k` products in f32 is off by at most `k` roundings of the sum of their sizes.
    fn check(&self, out: &[f32]) {
        for r in 0..self.rows {
            for c in 0..self.n {
                let (mut sum, mut size) = (0.0f64, 0.0f64);
                for i in 0..self.k {
                    let w: f32 = self.weight[c * self.k + i].into();
                    let product = f64::from(self.x[r * self.stride + i]) * f64::from(w);
                    sum += product;
                    size += product.abs();
                }
                let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[c]));
                let error = (f64::from(out[r * self.n + c]) - sum - bias).abs();
                let bound = (self.k as f64 + 2.0) * f64::from(f32::EPSILON) * (size + bias.abs());
                assert!(
                    error <= bound,
                    "({r}, {c}): off by {error}, {bound} allowed"
                );
            }
        }
    }
}

fn holds_on_every_shape<E: Element + Plain>(narrow: fn(f32) -> E) {
    let mut rng = common::rng();
    for shape in SHAPES {
        let case = Case::new(&mut rng, shape, narrow);
        for isa in Isa::available() {
            let [one, three] = &*POOLS;
            let out = case.product(one, isa, 0, case.rows);
            println!("{shape:?} {isa:?}");
            case.check(&out);
            let shared = case.product(three, isa, 0, case.rows);
            assert_eq!(bits(&out), bits(&shared), "threads change a result");
            // Any part of the batch comes out as it does in the whole.
            for _ in 0..3 {
                let first = rng.random_range(0..=case.rows);
                let rows = rng.random_range(0..=case.rows - first);
                let part = case.product(three, isa, first, rows);
                let whole = &out[first * case.n..][..rows * case.n];
                assert_eq!(bits(&part), bits(whole), "the batch changes a result");
            }
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn f32_weights() {
    holds_on_every_shape(|value| value);
}

#[test]
fn f16_weights() {
    holds_on_every_shape(f16::from_f32);
}

#[test]
fn bf16_weights() {
    holds_on_every_shape(bf16::from_f32);
}

#[test]
fn columns_on_all_cores() {
    for pool in &*POOLS {
        common::holds("threads", |c, a, b, m, n, k| {
            k07_threads::multiply_on(pool, c, a, b, m, n, k);
        });
    }
}
