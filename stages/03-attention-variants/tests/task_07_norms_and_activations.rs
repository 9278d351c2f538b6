//! Task 7: norms, activations and the softmax against double precision and known values.

mod support;

use attention_variants::activation::{activate, erf, gelu, gelu_tanh, silu, softmax};
use attention_variants::config::Activation;
use attention_variants::norm::{layer_norm, rms_norm};
use support::{assert_close, rng, values};

#[test]
fn norms_follow_their_definitions() {
    let rng = &mut rng();
    for width in [1, 2, 33, 500] {
        let (x, weight, bias) = (values(rng, width), values(rng, width), values(rng, width));
        let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let n = width as f64;
        let square = wide.iter().map(|x| x * x).sum::<f64>() / n;
        let mean = wide.iter().sum::<f64>() / n;
        // Var(x) = E(x^2) - E(x)^2: another way than the one under test.
        let variance = square - mean * mean;
        let want_rms: Vec<f32> = wide
            .iter()
            .zip(&weight)
            .map(|(x, w)| (x / (square + 1e-3).sqrt() * f64::from(*w)) as f32)
            .collect();
        let want_layer: Vec<f32> = wide
            .iter()
            .zip(weight.iter().zip(&bias))
            .map(|(x, (w, b))| {
                ((x - mean) / (variance + 1e-3).sqrt() * f64::from(*w) + f64::from(*b)) as f32
            })
            .collect();
        let mut out = vec![f32::NAN; width];
        rms_norm(&mut out, &x, &weight, 1e-3);
        assert_close(&out, &want_rms, 1e-6, "RMS norm");
        out.fill(f32::NAN);
        layer_norm(&mut out, &x, &weight, Some(&bias), 1e-3);
        assert_close(&out, &want_layer, 1e-5, "layer norm");
        let mut bare = vec![f32::NAN; width];
        layer_norm(&mut bare, &x, &weight, None, 1e-3);
        layer_norm(&mut out, &x, &weight, Some(&vec![0.0; width]), 1e-3);
        assert_eq!(bare, out, "no bias is a bias of zero");
    }
}

/// The error function is an integral: Simpson's rule over 2,000 intervals knows it to far more than is asked.
#[test]
fn erf_is_its_integral() {
    let density = |t: f64| 2.0 / std::f64::consts::PI.sqrt() * (-t * t).exp();
    for x in [
        -7.0f64, -3.1, -2.5, -1.0, -1e-9, 0.0, 0.1, 0.7, 2.499_999, 2.5, 4.0, 5.9, 6.1,
    ] {
        let h = x / 2000.0;
        let inner: f64 = (1..2000)
            .map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        let want = h / 3.0 * (density(0.0) + inner + density(x));
        assert!(
            (erf(x) - want).abs() < 1e-11,
            "erf({x}) = {} is not {want}",
            erf(x)
        );
    }
}

#[test]
fn activations_have_their_known_values() {
    // From tables of the normal distribution: P(X <= 1) = 0.841345, P(X <= -0.5) = 0.308538.
    for (x, want) in [
        (1.0, 0.841_345),
        (-0.5, -0.154_269),
        (0.0, 0.0),
        (20.0, 20.0),
    ] {
        assert!((gelu(x) - want).abs() < 1e-6, "gelu({x}) = {}", gelu(x));
        assert!(
            (gelu_tanh(x) - want).abs() < 1e-3,
            "gelu_tanh({x}) = {}",
            gelu_tanh(x)
        );
    }
    for x in [-30.0f32, -2.0, 0.0, 0.5, 9.0, 200.0] {
        let want = f64::from(x) / (1.0 + (-f64::from(x)).exp());
        assert!(
            (f64::from(silu(x)) - want).abs() <= 1e-6 * want.abs().max(1e-6),
            "silu({x}) = {}",
            silu(x)
        );
    }
    assert_eq!(silu(-200.0), -0.0, "no overflow on the left");
}

#[test]
fn softmax_is_a_distribution() {
    let rng = &mut rng();
    for len in [1, 2, 31] {
        let x: Vec<f32> = values(rng, len).iter().map(|x| x * 50.0).collect();
        let below: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
        let want: Vec<f32> = x
            .iter()
            .map(|x| (f64::from(*x).exp() / below) as f32)
            .collect();
        let mut got = x;
        softmax(&mut got);
        assert_close(&got, &want, 1e-5, "softmax");
    }
    let mut masked = [f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY];
    softmax(&mut masked);
    assert_eq!(masked, [0.0, 1.0, 0.0]);
    let mut huge = [1e38, 1e38];
    softmax(&mut huge);
    assert_eq!(huge, [0.5, 0.5]);
}

/// Nothing seen is no distribution, and no division by zero either.
#[test]
fn softmax_of_nothing_is_left_alone() {
    softmax(&mut []);
    let mut unseen = [f32::NEG_INFINITY; 3];
    softmax(&mut unseen);
    assert_eq!(unseen, [f32::NEG_INFINITY; 3]);
}

/// The tanh approximation by its formula in double precision, and each activation by its name.
#[test]
fn activations_are_told_apart() {
    for x in [-3.0f32, -1.0, -0.1, 0.4, 1.0, 2.0] {
        let wide = f64::from(x);
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
        let want = 0.5 * wide * (1.0 + inner.tanh());
        assert!(
            (f64::from(gelu_tanh(x)) - want).abs() < 1e-6,
            "gelu_tanh({x})"
        );
        assert_eq!(activate(Activation::Silu, x), silu(x));
        assert_eq!(activate(Activation::Gelu, x), gelu(x));
        assert_eq!(activate(Activation::GeluTanh, x), gelu_tanh(x));
    }
}
