//! Task 6: the range of the least squared error; percentiles; what clipping is worth, and where it is worth nothing.

mod common;

use common::{gauss, rng};
use numerics::quant::{Calibration, Format, Mapping, Scheme};
use rand::RngExt;

const SEARCH: Calibration = Calibration::Mse { tried: 80 };

fn error(scheme: Scheme, values: &[f32]) -> f64 {
    scheme.squared_error(values, scheme.fit(values))
}

#[test]
fn no_range_that_was_tried_is_better() {
    let rng = &mut rng();
    for scheme in [
        Scheme::int(3),
        Scheme::int(4),
        Scheme::int(4).asymmetric(),
        Scheme::int(4).mapped(Mapping::Furthest),
        Scheme::e4m3(),
    ] {
        for tried in [1, 2, 7, 80] {
            let mut values: Vec<f32> = (0..300).map(|_| gauss(rng)).collect();
            values[rng.random_range(0..300)] = 9.0;
            let found = error(scheme.calibrated(Calibration::Mse { tried }), &values);
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            for share in 1..=tried {
                let share = share as f32 / tried as f32;
                let step = scheme.step([low * share, 9.0 * share]);
                let other = scheme.squared_error(&values, step);
                assert!(
                    found <= other,
                    "{scheme:?}, {tried} tried: {found}, and {other} at {share}"
                );
            }
        }
    }
}

#[test]
fn an_outlier_is_clipped() {
    // A thousand small numbers and one large, on either side: with 4 bits the whole range has no code for any but the large one.
    let rng = &mut rng();
    let mut values: Vec<f32> = (0..1000).map(|_| rng.random_range(-1.0..1.0)).collect();
    for outlier in [20.0, -20.0] {
        values[500] = outlier;
        for full in [Scheme::int(4), Scheme::int(4).asymmetric()] {
            let search = full.calibrated(SEARCH);
            let (whole, least) = (error(full, &values), error(search, &values));
            assert!(
                least < 0.9 * whole,
                "{outlier}: {least} is not much less than {whole}"
            );
            assert!(search.fit(&values).scale < full.fit(&values).scale * 0.9);
        }
    }
}

#[test]
fn without_need_nothing_is_clipped() {
    // These are codes already: the whole range has no error, any other some.
    let values: Vec<f32> = (-7..=7).map(|at| at as f32).collect();
    let step = Scheme::int(4).calibrated(SEARCH).fit(&values);
    assert_eq!(step.scale, 1.0);
    assert_eq!(Scheme::int(4).calibrated(SEARCH).fit(&[]).scale, 0.0);
    assert_eq!(Scheme::int(4).calibrated(SEARCH).fit(&[0.0; 5]).scale, 0.0);
}

#[test]
fn a_percentile_cuts_what_it_says() {
    let percentile = |scheme: Scheme, percent| scheme.calibrated(Calibration::Percentile(percent));
    // Magnitudes 1 to 1000, in any order and with any sign.
    let values: Vec<f32> = (0..1000)
        .map(|at| (at * 7 % 1000 + 1) as f32 * if at % 3 == 0 { -1.0 } else { 1.0 })
        .collect();
    for (percent, limit) in [
        (100.0, 1000.0),
        (99.9, 999.0),
        (99.0, 990.0),
        (50.0, 500.0),
        (0.01, 1.0),
    ] {
        let step = percentile(Scheme::int(8), percent).fit(&values);
        assert_eq!(step.scale, limit / 127.0, "{percent} %");
    }
    // 0 to 1000: of 90 %, 50 are cut at either end; the range is then widened to zero.
    let values: Vec<f32> = (0..=1000).map(|at| (at * 8 % 1001) as f32).collect();
    let step = percentile(Scheme::int(8).asymmetric(), 90.0).fit(&values);
    assert_eq!((step.scale, step.zero_point), (950.0 / 255.0, 0));
    let low: Vec<f32> = values.iter().map(|value| -value).collect();
    let step = percentile(Scheme::int(8).asymmetric(), 90.0).fit(&low);
    assert_eq!((step.scale, step.zero_point), (950.0 / 255.0, 255));
    assert_eq!(percentile(Scheme::int(8), 50.0).fit(&[]).scale, 0.0);
}

#[test]
fn steps_found_before_clip_what_comes_later() {
    let scheme = Scheme::int(8).per_tensor();
    let steps = scheme.calibrate(&[-1.0, 0.5], [1, 2]).unwrap();
    let later = scheme
        .quantise_with(&[4.0, -0.5, 1.0, -9.0], [2, 2], &steps)
        .unwrap();
    assert_eq!(later.codes, [127, -64, 127, -127]);
    // Steps found anew for each token lose less on tokens of different size, and have no range to leave.
    let rng = &mut rng();
    let tokens: Vec<f32> = (0..64 * 128)
        .map(|at| gauss(rng) * 4.0f32.powi(at / 128 % 4))
        .collect();
    // Of the smallest tokens, sixteen: in a single one, rounding can by chance be kinder to the longer step.
    let smallest = |all: &[f32]| -> Vec<f32> {
        let tokens = all.chunks_exact(128).step_by(4);
        tokens.flatten().copied().collect()
    };
    let wrong = |scheme: Scheme| {
        let made = scheme.quantise(&tokens, [64, 128]).unwrap();
        numerics::quant::error::mse(&smallest(&made.dequantise()), &smallest(&tokens))
    };
    assert!(wrong(Scheme::int(8)) * 100.0 < wrong(Scheme::int(8).per_tensor()));
    assert!(wrong(Scheme::int(8).blocks(32)) < wrong(Scheme::int(8)));
}

#[test]
fn signs_have_the_best_scale() {
    let rng = &mut rng();
    let values: Vec<f32> = (0..500).map(|_| gauss(rng)).collect();
    let scheme = Scheme::of(Format::Binary);
    let step = scheme.fit(&values);
    let least = scheme.squared_error(&values, step);
    for share in [0.5, 0.9, 0.99, 1.01, 1.1, 2.0] {
        let other = numerics::quant::Step {
            scale: step.scale * share,
            ..step
        };
        assert!(scheme.squared_error(&values, other) > least);
    }
}
