//! Task 8: SmoothQuant shares the difficulty between activations and weights, and changes no product.

mod common;
#[path = "common/layer.rs"]
mod layer;

use common::{gauss, rng};
use layer::{outliers, product, squared, weight};
use numerics::algorithms::scale_columns;
use numerics::algorithms::smooth::{largest_weights, smoothing};
use numerics::quant::{Scheme, products};
use rand::RngExt;

/// Activations divided and weights multiplied by the scales for `alpha`.
fn smoothed(x: &[f32], w: &[f32], cols: usize, alpha: f32) -> (Vec<f32>, Vec<f32>) {
    let scales = smoothing(
        &largest_weights(&[x], cols),
        &largest_weights(&[w], cols),
        alpha,
    );
    let (mut x, mut w) = (x.to_vec(), w.to_vec());
    scale_columns(&mut w, &scales);
    let inverse: Vec<f32> = scales.iter().map(|scale| 1.0 / scale).collect();
    scale_columns(&mut x, &inverse);
    (x, w)
}

/// The error of the W8A8 product, a scale for each token and for each output.
fn w8a8_error(x: &[f32], w: &[f32], cols: usize, exact: &[f64]) -> f64 {
    let codes = |values: &[f32]| {
        Scheme::int(8)
            .quantise(values, [values.len() / cols, cols])
            .unwrap()
    };
    let got: Vec<f64> = products::integer(&codes(x), &codes(w))
        .into_iter()
        .map(f64::from)
        .collect();
    squared(&got, exact)
}

#[test]
fn a_scale_is_the_quotient_of_powers() {
    let mut rng = rng();
    for alpha in [0.0f32, 0.25, 0.5, 0.8, 1.0] {
        let activation: Vec<f32> = (0..33).map(|_| rng.random_range(0.01..100.0)).collect();
        let weight: Vec<f32> = (0..33).map(|_| rng.random_range(0.001..1.0)).collect();
        for ((a, w), scale) in
            activation
                .iter()
                .zip(&weight)
                .zip(smoothing(&activation, &weight, alpha))
        {
            let wanted = (f64::from(alpha) * f64::from(*a).ln()
                - (1.0 - f64::from(alpha)) * f64::from(*w).ln())
            .exp();
            let off = (f64::from(scale) / wanted - 1.0).abs();
            assert!(
                off < 1e-5,
                "alpha {alpha}, {a} and {w}: {scale} is not {wanted}"
            );
        }
    }
}

#[test]
fn the_ends_level_one_side_and_the_middle_makes_both_alike() {
    let mut rng = rng();
    let cols = 48;
    let (x, w) = (
        outliers(&mut rng, 40, cols, 70.0),
        weight(&mut rng, 24, cols),
    );
    let levels = |alpha: f32| {
        let (x, w) = smoothed(&x, &w, cols, alpha);
        (largest_weights(&[&x], cols), largest_weights(&[&w], cols))
    };
    let close = |a: f32, b: f32| (a / b - 1.0).abs() < 1e-4;
    let (even, _) = levels(1.0);
    assert!(even.iter().all(|&most| close(most, 1.0)), "{even:?}");
    let (_, even) = levels(0.0);
    assert!(even.iter().all(|&most| close(most, 1.0)), "{even:?}");
    let (left, right) = levels(0.5);
    assert!(
        left.iter().zip(&right).all(|(&a, &b)| close(a, b)),
        "{left:?} and {right:?}"
    );
}

#[test]
fn the_product_stays_what_it_was() {
    let mut rng = rng();
    for (tokens, rows, cols) in [(1, 1, 1), (3, 5, 7), (17, 9, 64)] {
        let (x, w) = (
            outliers(&mut rng, tokens, cols, 100.0),
            weight(&mut rng, rows, cols),
        );
        let exact = product(&x, &w, cols);
        for alpha in [0.0, 0.5, 0.9] {
            let (x, w) = smoothed(&x, &w, cols, alpha);
            let error = squared(&product(&x, &w, cols), &exact);
            let size = squared(&exact, &vec![0.0; exact.len()]);
            assert!(
                error <= 1e-10 * size.max(1e-20),
                "{tokens} x {rows} x {cols}, alpha {alpha}: {error} of {size}"
            );
        }
    }
}

#[test]
fn outliers_cost_integers_less_once_they_are_shared() {
    let mut rng = rng();
    for cols in [64, 100, 256] {
        let (x, w) = (
            outliers(&mut rng, 48, cols, 100.0),
            weight(&mut rng, 32, cols),
        );
        let exact = product(&x, &w, cols);
        let plain = w8a8_error(&x, &w, cols, &exact);
        let (x, w) = smoothed(&x, &w, cols, 0.5);
        let shared = w8a8_error(&x, &w, cols, &exact);
        println!("{cols} columns: {:.3} of the error is left", shared / plain);
        assert!(
            shared < 0.25 * plain,
            "{cols} columns: {shared} is not well below {plain}"
        );
    }
}

#[test]
fn a_silent_channel_is_left_as_it_is() {
    let mut rng = rng();
    let full: Vec<f32> = (0..8).map(|_| gauss(&mut rng).abs() + 0.1).collect();
    for alpha in [0.0, 0.5, 1.0] {
        for silent in 0..8 {
            let mut half = full.clone();
            half[silent] = 0.0;
            assert_eq!(
                smoothing(&half, &full, alpha)[silent],
                1.0,
                "no activations, alpha {alpha}"
            );
            assert_eq!(
                smoothing(&full, &half, alpha)[silent],
                1.0,
                "no weights, alpha {alpha}"
            );
            // What overflows would silence a channel for good.
            half[silent] = 1e-42;
            let scales = smoothing(&full, &half, alpha);
            assert!(scales.iter().all(|scale| scale.is_normal()), "{scales:?}");
        }
    }
    assert!(smoothing(&[], &[], 0.5).is_empty());
}
