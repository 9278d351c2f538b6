//! Task 7: products on codes, exactly those of the numbers that the codes stand for.

mod common;

use common::{gauss, rng};
use half::bf16;
use numerics::quant::products::{corrected, float, integer, weight_only};
use numerics::quant::{Granularity, Quantised, Scheme};
use rand::RngExt;
use rand::rngs::StdRng;

const SHAPES: [[usize; 3]; 7] = [
    [1, 1, 1],
    [0, 3, 5],
    [3, 0, 5],
    [3, 2, 0],
    [2, 3, 31],
    [3, 5, 64],
    [2, 3, 200],
];

#[test]
fn the_correction_is_the_sum_with_zero_points() {
    let rng = &mut rng();
    for count in [0, 1, 2, 63, 1000] {
        let codes = |rng: &mut StdRng| {
            (0..count)
                .map(|_| rng.random_range(0..256))
                .collect::<Vec<i64>>()
        };
        let (x, w) = (codes(rng), codes(rng));
        for zeros in [[0, 0], [128, 0], [0, 128], [1, 255], [255, 17]] {
            let terms = x
                .iter()
                .zip(&w)
                .map(|(x, w)| (x - zeros[0]) * (w - zeros[1]));
            let dot = x.iter().zip(&w).map(|(x, w)| x * w).sum();
            let sums = [x.iter().sum(), w.iter().sum()];
            assert_eq!(
                corrected(dot, sums, zeros, count as usize),
                terms.sum::<i64>(),
                "{count} codes, zeros {zeros:?}"
            );
        }
    }
}

/// The product of what the codes stand for, in f64.
fn dequantised(x: &Quantised, w: &Quantised) -> Vec<f64> {
    let [tokens, k] = x.shape;
    let dot = |token, out| {
        (0..k)
            .map(|at| f64::from(x.value(token, at)) * f64::from(w.value(out, at)))
            .sum::<f64>()
    };
    (0..tokens * w.shape[0])
        .map(|at| dot(at / w.shape[0], at % w.shape[0]))
        .collect()
}

fn matrix(rng: &mut StdRng, scheme: Scheme, shape: [usize; 2]) -> Quantised {
    let shift = rng.random_range(-1.0..1.0f32);
    let values: Vec<f32> = (0..shape[0] * shape[1])
        .map(|_| gauss(rng) + shift)
        .collect();
    scheme.quantise(&values, shape).unwrap()
}

/// The same codes with scales that are powers of two: then numbers, products and sums are exact in f64, and so must the result be.
fn with_exact_scales(rng: &mut StdRng, mut made: Quantised) -> Quantised {
    for scale in &mut made.scales {
        *scale = 2.0f32.powi(rng.random_range(-3..4));
    }
    made
}

fn check(
    rng: &mut StdRng,
    x: Scheme,
    w: Scheme,
    product: impl Fn(&Quantised, &Quantised) -> Vec<f32>,
) {
    for [tokens, outs, k] in SHAPES {
        let (a, b) = (matrix(rng, x, [tokens, k]), matrix(rng, w, [outs, k]));
        for (got, wanted) in product(&a, &b).into_iter().zip(dequantised(&a, &b)) {
            // Scales times codes were rounded to f32 in the reference.
            let most = 1e-6 * (wanted.abs() + k as f64 * 4.0);
            assert!(
                (f64::from(got) - wanted).abs() <= most,
                "{x:?} {w:?} k {k}: {got}, not {wanted}"
            );
        }
        let (a, b) = (with_exact_scales(rng, a), with_exact_scales(rng, b));
        let wanted: Vec<f32> = dequantised(&a, &b)
            .into_iter()
            .map(|value| value as f32)
            .collect();
        let got = product(&a, &b);
        assert_eq!(got.len(), tokens * outs);
        assert!(got == wanted, "{x:?} {w:?} k {k}: {got:?}, not {wanted:?}");
    }
}

#[test]
fn integer_codes() {
    let rng = &mut rng();
    let w8 = [
        Scheme::int(8),
        Scheme::int(8).asymmetric(),
        Scheme::int(8).per_tensor(),
        Scheme::int(8).blocks(32),
    ];
    let w4 = [
        Scheme::int(4).blocks(32),
        Scheme::int(4).blocks(64).asymmetric(),
        Scheme::int(4).blocks(20),
        Scheme::int(2),
        Scheme::binary(),
    ];
    for x in [
        Scheme::int(8),
        Scheme::int(8).asymmetric(),
        Scheme::int(8).blocks(64),
        Scheme::int(8).grouped(Granularity::PerColumn),
    ] {
        for w in w8.into_iter().chain(w4) {
            check(rng, x, w, integer);
        }
    }
}

#[test]
fn floating_codes() {
    let rng = &mut rng();
    for x in [Scheme::e4m3(), Scheme::e5m2(), Scheme::e4m3().blocks(128)] {
        for w in [
            Scheme::e4m3().per_tensor(),
            Scheme::e5m2(),
            Scheme::e4m3().blocks(64),
        ] {
            check(rng, x, w, float);
        }
    }
}

#[test]
fn every_pair_of_e4m3_is_exact() {
    let scheme = Scheme::e4m3();
    let codes: Vec<i32> = (0..256).filter(|code| code & 0x7F != 0x7F).collect();
    let column = |codes: &[i32]| Quantised {
        scheme,
        shape: [codes.len(), 1],
        codes: codes.to_vec(),
        scales: vec![1.0; codes.len()],
        zero_points: vec![0; codes.len()],
    };
    let (x, w) = (column(&codes), column(&codes));
    let wanted: Vec<f32> = dequantised(&x, &w)
        .into_iter()
        .map(|value| value as f32)
        .collect();
    assert_eq!(float(&x, &w), wanted);
}

#[test]
fn weights_only() {
    let rng = &mut rng();
    for w in [
        Scheme::int(4).blocks(32),
        Scheme::int(4).blocks(128).asymmetric(),
        Scheme::int(8),
        Scheme::int(2).blocks(64),
    ] {
        for [tokens, outs, k] in SHAPES.into_iter().filter(|shape| shape[2] > 0) {
            let weights = matrix(rng, w, [outs, k]);
            let weights = with_exact_scales(rng, weights);
            let x: Vec<f32> = (0..tokens * k)
                .map(|_| bf16::from_f32(gauss(rng)).to_f32())
                .collect();
            let got = weight_only(&x, &weights);
            assert_eq!(got.len(), tokens * outs);
            for (at, &got) in got.iter().enumerate() {
                let (token, out) = (at / outs, at % outs);
                let wanted: f64 = (0..k)
                    .map(|i| f64::from(x[token * k + i]) * f64::from(weights.value(out, i)))
                    .sum();
                assert_eq!(got, wanted as f32, "{w:?} k {k}");
            }
        }
    }
}
