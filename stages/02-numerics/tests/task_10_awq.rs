//! Task 10: AWQ finds the scales that leave the outputs the least error, and none where there is nothing to gain.

mod common;
#[path = "common/layer.rs"]
mod layer;

use common::rng;
use layer::{outliers, product, squared, weight};
use numerics::algorithms::Inputs;
use numerics::algorithms::awq::{channel_scales, clip, rounded, search};
use numerics::quant::{Mapping, Scheme};

const INT4: Scheme = Scheme::int(4).mapped(Mapping::Furthest);

#[test]
fn the_best_exponent_of_the_grid_is_found() {
    let mut rng = rng();
    for cols in [16, 33, 64] {
        let x = outliers(&mut rng, 50, cols, 30.0);
        let (one, two) = (weight(&mut rng, 8, cols), weight(&mut rng, 3, cols));
        let scheme = INT4.blocks(16);
        let found = search(&[&one, &two], &Inputs::of(&x, cols), &scheme, 10).unwrap();
        // All exponents anew, by the outputs themselves.
        let mut magnitude = vec![0.0f64; cols];
        for row in x.chunks_exact(cols) {
            magnitude
                .iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += f64::from(value.abs()) / 50.0);
        }
        let magnitude: Vec<f32> = magnitude.iter().map(|&mean| mean as f32).collect();
        let errors: Vec<f64> = (0..10)
            .map(|step| {
                let scales = channel_scales(&magnitude, step as f32 / 10.0);
                let error = |w: &[f32]| {
                    let got = rounded(w, &scales, &scheme).unwrap();
                    squared(&product(&x, &got, cols), &product(&x, w, cols))
                };
                error(&one) + error(&two)
            })
            .collect();
        let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
        let at = errors[(found.alpha * 10.0).round() as usize];
        assert!(
            (at / least - 1.0).abs() < 1e-6,
            "{cols} columns: alpha {} of {errors:?}",
            found.alpha
        );
        assert!(
            (found.error / least - 1.0).abs() < 1e-6,
            "{} is told, {least} is right",
            found.error
        );
        assert_eq!(
            found.scales,
            channel_scales(&Inputs::of(&x, cols).mean_magnitude(), found.alpha)
        );
    }
}

#[test]
fn loud_channels_let_it_beat_the_nearest() {
    let mut rng = rng();
    for (cols, scheme) in [
        (64, INT4.blocks(32)),
        (128, INT4.blocks(64)),
        (96, INT4),
        (64, Scheme::int(3).blocks(32)),
    ] {
        let (x, w) = (
            outliers(&mut rng, 80, cols, 50.0),
            weight(&mut rng, 64, cols),
        );
        let inputs = Inputs::of(&x, cols);
        let found = search(&[&w], &inputs, &scheme, 20).unwrap();
        let nearest =
            inputs.output_error(&w, &scheme.quantise(&w, [64, cols]).unwrap().dequantise());
        println!(
            "{cols} {scheme:?}: {:.3} of the error is left, alpha {}",
            found.error / nearest,
            found.alpha
        );
        assert!(
            found.error < 0.8 * nearest,
            "{cols} columns: {} of {nearest}",
            found.error
        );
        assert!(found.alpha > 0.0);
    }
}

#[test]
fn without_a_search_it_is_rounding_to_the_nearest() {
    let mut rng = rng();
    let (x, w) = (outliers(&mut rng, 20, 48, 50.0), weight(&mut rng, 4, 48));
    let scheme = INT4.blocks(16);
    let nearest = scheme.quantise(&w, [4, 48]).unwrap().dequantise();
    // Exponent 0 alone, channels that are all alike, and no inputs at all.
    let alike = vec![2.5f32; 48 * 20];
    for (inputs, tried) in [
        (Inputs::of(&x, 48), 1),
        (Inputs::of(&alike, 48), 20),
        (Inputs::new(48), 20),
    ] {
        let found = search(&[&w], &inputs, &scheme, tried).unwrap();
        assert_eq!(found.scales, vec![1.0; 48]);
        assert_eq!(rounded(&w, &found.scales, &scheme).unwrap(), nearest);
    }
}

#[test]
fn a_silent_channel_is_left_as_it_is() {
    let mut rng = rng();
    let mut x = outliers(&mut rng, 30, 32, 50.0);
    x.chunks_exact_mut(32).for_each(|row| row[5] = 0.0);
    let w = weight(&mut rng, 6, 32);
    let found = search(&[&w], &Inputs::of(&x, 32), &INT4, 20).unwrap();
    assert_eq!(found.scales[5], 1.0);
    assert!(
        found.scales.iter().all(|scale| scale.is_normal()),
        "{:?}",
        found.scales
    );
    let one = search(&[&[0.3, -0.7]], &Inputs::of(&[4.0], 1), &INT4, 20).unwrap();
    assert_eq!(
        one.scales,
        [1.0],
        "one column has nothing to be louder than"
    );
}

#[test]
fn clipping_never_costs_a_group_alone() {
    let mut rng = rng();
    let mut gained = 0;
    for _ in 0..8 {
        let cols = 32;
        let (x, mut w) = (outliers(&mut rng, 60, cols, 3.0), weight(&mut rng, 6, cols));
        // One weight far out: the rest gains by giving it up, if its channel is quiet.
        w.iter_mut().step_by(cols).for_each(|value| *value *= 6.0);
        let inputs = Inputs::of(&x, cols);
        let scheme = Scheme::int(3);
        let steps = clip(&w, [6, cols], &inputs, &scheme, 20).unwrap();
        let clipped = scheme
            .quantise_with(&w, [6, cols], &steps)
            .unwrap()
            .dequantise();
        let nearest = scheme.quantise(&w, [6, cols]).unwrap().dequantise();
        for row in 0..6 {
            let part = row * cols..(row + 1) * cols;
            let error = |got: &[f32]| inputs.output_error(&w[part.clone()], &got[part.clone()]);
            assert!(error(&clipped) <= error(&nearest) * (1.0 + 1e-9));
            gained += usize::from(error(&clipped) < 0.99 * error(&nearest));
        }
    }
    assert!(gained > 8, "only {gained} of 48 rows gained");
}
