//! Task 9: GPTQ lets the columns that are left repay each rounding error, as Optimal Brain Surgeon says.

mod common;
#[path = "common/layer.rs"]
mod layer;

use common::rng;
use layer::{correlated, outliers, product, squared, weight};
use numerics::algorithms::Inputs;
use numerics::algorithms::gptq::Gptq;
use numerics::algorithms::linear_algebra::{invert_upper, upper_cholesky};
use numerics::quant::{Granularity, Mapping, Scheme};

const INT4: Scheme = Scheme::int(4).mapped(Mapping::Furthest);

/// The inverse by Gauss and Jordan, without pivoting: `h` is positive definite.
fn inverse(h: &[f64], n: usize) -> Vec<f64> {
    let mut left = h.to_vec();
    let mut right: Vec<f64> = (0..n * n)
        .map(|at| f64::from(u8::from(at / n == at % n)))
        .collect();
    for pivot in 0..n {
        let by = left[pivot * n + pivot];
        for col in 0..n {
            left[pivot * n + col] /= by;
            right[pivot * n + col] /= by;
        }
        for row in (0..n).filter(|&row| row != pivot) {
            let factor = left[row * n + pivot];
            for col in 0..n {
                left[row * n + col] -= factor * left[pivot * n + col];
                right[row * n + col] -= factor * right[pivot * n + col];
            }
        }
    }
    right
}

/// The paper's equation 2, column by column, with a fresh inverse of what is left of the Hessian each time.
fn surgeon(w: &[f32], cols: usize, x: &[f32], damping: f64, width: usize) -> Vec<f32> {
    let mut h = vec![0.0; cols * cols];
    for row in x.chunks_exact(cols) {
        for i in 0..cols {
            for j in 0..cols {
                h[i * cols + j] += 2.0 * f64::from(row[i]) * f64::from(row[j]);
            }
        }
    }
    let mean = (0..cols).map(|j| h[j * cols + j]).sum::<f64>() / cols as f64;
    (0..cols).for_each(|j| h[j * cols + j] += damping * mean);
    let mut out = Vec::new();
    for row in w.chunks_exact(cols) {
        let mut row: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        let mut step = INT4.fit(&[]);
        for at in 0..cols {
            if at % width == 0 {
                let group: Vec<f32> = row[at..cols.min(at + width)]
                    .iter()
                    .map(|&value| value as f32)
                    .collect();
                step = INT4.fit(&group);
            }
            let n = cols - at;
            let left: Vec<f64> = (0..n * n)
                .map(|k| h[(at + k / n) * cols + at + k % n])
                .collect();
            let inverse = inverse(&left, n);
            let rounded = f64::from(INT4.decode(INT4.encode(row[at] as f32, step), step));
            let error = row[at] - rounded;
            for k in 1..n {
                row[at + k] -= error * inverse[k] / inverse[0];
            }
            row[at] = rounded;
        }
        out.extend(row.iter().map(|&value| value as f32));
    }
    out
}

#[test]
fn the_factor_is_that_of_the_inverse() {
    let mut rng = rng();
    for n in [0, 1, 2, 7, 40] {
        let inputs = (n > 0).then(|| Inputs::of(&correlated(&mut rng, 2 * n + 3, n), n));
        let h: Vec<f64> = (0..n * n)
            .map(|at| inputs.as_ref().unwrap().gram(at / n, at % n))
            .collect();
        let r = upper_cholesky(&h, n).expect("more tokens than channels");
        let u = invert_upper(&r, n);
        for i in 0..n {
            for j in 0..n {
                let below = i > j;
                assert!(!below || (r[i * n + j], u[i * n + j]) == (0.0, 0.0));
                let product: f64 = (0..n).map(|k| r[i * n + k] * r[j * n + k]).sum();
                assert!(
                    (product - h[i * n + j]).abs() < 1e-9 * h[i * n + i].max(h[j * n + j]),
                    "R Rᵀ at {i}, {j}"
                );
                let one: f64 = (0..n).map(|k| r[i * n + k] * u[k * n + j]).sum();
                assert!(
                    (one - f64::from(u8::from(i == j))).abs() < 1e-9,
                    "R U at {i}, {j}: {one}"
                );
            }
        }
    }
    assert_eq!(upper_cholesky(&[1.0, 2.0, 2.0, 1.0], 2), None);
    assert_eq!(upper_cholesky(&[f64::NAN], 1), None);
}

#[test]
fn the_columns_left_repay_as_the_definition_says() {
    let mut rng = rng();
    for (rows, cols, width) in [(1, 2, 2), (3, 5, 5), (4, 24, 24), (4, 24, 8), (2, 19, 8)] {
        let (x, w) = (correlated(&mut rng, 64, cols), weight(&mut rng, rows, cols));
        let wanted = surgeon(&w, cols, &x, 0.01, width);
        let scheme = INT4.blocks(width);
        let got = Gptq::default()
            .quantise(&w, [rows, cols], &Inputs::of(&x, cols), &scheme)
            .unwrap();
        assert_eq!(
            got.dequantise(),
            wanted,
            "{rows} x {cols} in groups of {width}"
        );
    }
}

#[test]
fn correlated_inputs_let_it_beat_the_nearest() {
    let mut rng = rng();
    for (cols, granularity) in [
        (64, Granularity::PerChannel),
        (64, Granularity::Block(32)),
        (96, Granularity::Block(32)),
        (100, Granularity::Block(32)),
    ] {
        for act_order in [false, true] {
            let (x, w) = (
                correlated(&mut rng, 4 * cols, cols),
                weight(&mut rng, 16, cols),
            );
            let (shape, scheme) = ([16, cols], INT4.grouped(granularity));
            let exact = product(&x, &w, cols);
            let error = |rounded: &[f32]| squared(&product(&x, rounded, cols), &exact);
            let nearest = error(&scheme.quantise(&w, shape).unwrap().dequantise());
            let gptq = Gptq {
                act_order,
                ..Gptq::default()
            };
            let inputs = Inputs::of(&x, cols);
            let rounded = gptq
                .quantise(&w, shape, &inputs, &scheme)
                .unwrap()
                .dequantise();
            let repaid = error(&rounded);
            println!(
                "{cols} {granularity:?} {act_order}: {:.3} of the error is left",
                repaid / nearest
            );
            assert!(
                repaid < 0.5 * nearest,
                "{cols} columns, {granularity:?}, act order {act_order}: {repaid} of {nearest}"
            );
            // What the statistics say is what the outputs show.
            let told = inputs.output_error(&w, &rounded);
            assert!((told / repaid - 1.0).abs() < 1e-6, "{told} is not {repaid}");
        }
    }
}

#[test]
fn without_correlation_it_is_rounding_to_the_nearest() {
    let mut rng = rng();
    for cols in [1, 7, 64] {
        // One channel a token: the Hessian is diagonal, with a different weight for each channel.
        let mut x = vec![0.0; cols * cols];
        (0..cols).for_each(|j| x[j * cols + j] = 1.0 + j as f32);
        let w = weight(&mut rng, 5, cols);
        for act_order in [false, true] {
            for scheme in [
                INT4,
                INT4.blocks(8),
                Scheme::int(3).asymmetric().blocks(32),
                Scheme::e4m3(),
            ] {
                let gptq = Gptq {
                    act_order,
                    ..Gptq::default()
                };
                let got = gptq
                    .quantise(&w, [5, cols], &Inputs::of(&x, cols), &scheme)
                    .unwrap();
                assert_eq!(
                    got,
                    scheme.quantise(&w, [5, cols]).unwrap(),
                    "{cols} columns, {scheme:?}"
                );
            }
        }
    }
}

#[test]
fn silent_channels_and_no_tokens_are_no_trouble() {
    let mut rng = rng();
    let (cols, shape) = (40, [32, 40]);
    let w = weight(&mut rng, 32, cols);
    let scheme = INT4.blocks(8);
    let nearest = scheme.quantise(&w, shape).unwrap();
    let none = Gptq::default()
        .quantise(&w, shape, &Inputs::new(cols), &scheme)
        .unwrap();
    assert_eq!(none, nearest, "nothing is known of the inputs");
    // The first group of channels is silent: it must come out rounded to the nearest, and the rest as without it.
    let mut x = correlated(&mut rng, 100, cols);
    x.chunks_exact_mut(cols).for_each(|row| row[..8].fill(0.0));
    let got = Gptq::default()
        .quantise(&w, shape, &Inputs::of(&x, cols), &scheme)
        .unwrap();
    for row in 0..32 {
        let range = row * cols..row * cols + 8;
        assert_eq!(got.codes[range.clone()], nearest.codes[range], "row {row}");
    }
    let error = |codes: &numerics::quant::Quantised| {
        Inputs::of(&x, cols).output_error(&w, &codes.dequantise())
    };
    assert!(error(&got) < 0.8 * error(&nearest));
}

#[test]
fn fewer_tokens_than_channels_are_enough() {
    let mut rng = rng();
    for damping in [0.01, 0.0] {
        let (x, w) = (outliers(&mut rng, 3, 64, 10.0), weight(&mut rng, 48, 64));
        let inputs = Inputs::of(&x, 64);
        let gptq = Gptq {
            damping,
            act_order: true,
        };
        let rounded = gptq
            .quantise(&w, [48, 64], &inputs, &INT4)
            .unwrap()
            .dequantise();
        let nearest = INT4.quantise(&w, [48, 64]).unwrap().dequantise();
        assert!(inputs.output_error(&w, &rounded) < 0.5 * inputs.output_error(&w, &nearest));
    }
}
