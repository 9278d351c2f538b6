//! Task 5: the code of zero; and schemes of every kind, in which each number takes the nearest of all codes.

mod common;

use common::{gauss, rng};
use numerics::float::{E4M3, E5M2};
use numerics::quant::{Calibration, Format, Granularity, Mapping, QuantError, Scheme, Step};
use rand::RngExt;

/// All formats with all mappings that mean something for them.
fn schemes() -> Vec<Scheme> {
    let mut made = vec![Scheme::binary(), Scheme::e4m3(), Scheme::e5m2()];
    for bits in [2, 3, 4, 5, 8, 16] {
        for mapping in [Mapping::Symmetric, Mapping::Furthest, Mapping::Asymmetric] {
            made.push(Scheme::int(bits).mapped(mapping));
        }
    }
    let f16 = made.clone().into_iter().map(Scheme::with_f16_scales);
    made.extend(f16);
    made
}

const GRANULARITIES: [Granularity; 7] = [
    Granularity::PerTensor,
    Granularity::PerChannel,
    Granularity::PerColumn,
    Granularity::Block(1),
    Granularity::Block(32),
    Granularity::Block(64),
    Granularity::Block(128),
];

#[test]
fn zero_is_a_code_and_the_range_is_spanned() {
    let step = |range| Step::asymmetric(range, 255);
    let is = |scale, zero_point| Step { scale, zero_point };
    assert_eq!(step([0.0, 255.0]), is(1.0, 0));
    assert_eq!(step([-255.0, 0.0]), is(1.0, 255));
    assert_eq!(step([-51.0, 204.0]), is(1.0, 51));
    // 51.6 steps are below zero: the nearest code, not the one before.
    assert_eq!(step([-51.6, 203.4]).zero_point, 52);
    // A range without zero is widened to it.
    assert_eq!(step([10.0, 510.0]), is(2.0, 0));
    assert_eq!(step([-510.0, -10.0]), is(2.0, 255));
    assert_eq!(step([0.0, 0.0]), is(0.0, 0));
    // Wider than an f32.
    let widest = step([f32::MIN, f32::MAX]);
    assert!(
        widest.scale.is_finite() && widest.zero_point == 128,
        "{widest:?}"
    );
}

#[test]
fn one_sided_numbers_gain_a_bit() {
    // After a ReLU half of the symmetric codes stand for nothing.
    let rng = &mut rng();
    let values: Vec<f32> = (0..4096).map(|_| gauss(rng).abs()).collect();
    let quality = |scheme: Scheme| {
        let made = scheme.quantise(&values, [1, 4096]).unwrap();
        numerics::quant::error::sqnr(&made.dequantise(), &values)
    };
    let gain = quality(Scheme::int(8).asymmetric()) - quality(Scheme::int(8));
    assert!((gain - 6.0).abs() < 0.7, "{gain} dB");
}

#[test]
fn every_number_takes_the_nearest_code() {
    let rng = &mut rng();
    for scheme in schemes() {
        for granularity in GRANULARITIES {
            let scheme = scheme.grouped(granularity);
            for shape in [[0, 0], [0, 5], [3, 0], [1, 1], [3, 33], [2, 130]] {
                let shift = rng.random_range(-2.0..2.0f32);
                let values: Vec<f32> = (0..shape[0] * shape[1])
                    .map(|_| gauss(rng) + shift)
                    .collect();
                let made = scheme.quantise(&values, shape).unwrap();
                assert_eq!(made.scales.len(), granularity.groups(shape));
                // All numbers that the codes of a group stand for, for few codes; a step's arithmetic for many.
                let [low, high] = scheme.code_range();
                for (at, &value) in values.iter().enumerate() {
                    let (row, col) = (at / shape[1], at % shape[1]);
                    let step = made.step(row, col);
                    let code = made.codes[at];
                    let near = (code - 20).max(low)..=(code + 20).min(high);
                    let all = if high - low < 300 { low..=high } else { near };
                    let valid = |code: &i32| scheme.format != Format::Binary || *code != 0;
                    let distance =
                        |code: i32| (f64::from(scheme.decode(code, step)) - f64::from(value)).abs();
                    let least = all
                        .filter(valid)
                        .map(distance)
                        .filter(|d| !d.is_nan())
                        .fold(f64::INFINITY, f64::min);
                    let got = distance(code);
                    // Two codes are as near within the rounding of an f32.
                    let slack = f64::from(value.abs()) * 1e-6 + f64::from(step.scale.abs()) * 1e-5;
                    assert!(
                        got <= least + slack,
                        "{scheme:?} {shape:?} {at}: {value} became {code}, off by {got}, not {least}"
                    );
                    assert!(valid(&code) && (low..=high).contains(&code));
                    assert_eq!(made.value(row, col), made.dequantise()[at]);
                }
            }
        }
    }
}

#[test]
fn a_range_is_spanned_whole() {
    let values = [-1.0, 0.0, 0.5, 3.0];
    for bits in [2, 4, 8] {
        let most = (1 << (bits - 1)) - 1;
        let codes = |scheme: Scheme| scheme.quantise(&values, [1, 4]).unwrap().codes;
        assert_eq!(codes(Scheme::int(bits))[3], most);
        assert_eq!(
            codes(Scheme::int(bits).mapped(Mapping::Furthest))[3],
            -most - 1
        );
        let asymmetric = codes(Scheme::int(bits).asymmetric());
        assert_eq!((asymmetric[0], asymmetric[3]), (0, 2 * most + 1));
    }
    let fp8 = Scheme::e4m3().quantise(&values, [1, 4]).unwrap();
    assert_eq!(fp8.codes[3], i32::from(E4M3.largest_code()));
    let fp8 = Scheme::e5m2().quantise(&values, [1, 4]).unwrap();
    assert_eq!(fp8.codes[3], i32::from(E5M2.largest_code()));
    let signs = Scheme::binary().quantise(&values, [1, 4]).unwrap();
    assert_eq!(
        (signs.codes, signs.scales),
        (vec![-1, 1, 1, 1], vec![1.125])
    );
}

#[test]
fn each_group_has_its_own_range() {
    // Element (row, col) has a magnitude that tells its group.
    let shape = [2, 70];
    let values: Vec<f32> = (0..140)
        .map(|at| (at / 70 * 100 + at % 70 + 1) as f32)
        .collect();
    let scales = |granularity| {
        Scheme::int(8)
            .grouped(granularity)
            .quantise(&values, shape)
            .unwrap()
            .scales
    };
    let most = |ends: &[i32]| {
        ends.iter()
            .map(|&end| end as f32 / 127.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(scales(Granularity::PerTensor), most(&[170]));
    assert_eq!(scales(Granularity::PerChannel), most(&[70, 170]));
    assert_eq!(
        scales(Granularity::Block(32)),
        most(&[32, 64, 70, 132, 164, 170])
    );
    assert_eq!(
        scales(Granularity::PerColumn),
        most(&(101..=170).collect::<Vec<_>>())
    );
}

#[test]
fn edges_of_f32_stay_finite() {
    let tiny = f32::from_bits(1);
    for scheme in schemes() {
        for values in [
            [0.0, -0.0],
            [f32::MAX, f32::MIN],
            [tiny, -tiny],
            [f32::MAX, tiny],
            [0.0, f32::MAX],
        ] {
            let made = scheme.quantise(&values, [1, 2]).unwrap();
            for (back, value) in made.dequantise().iter().zip(values) {
                assert!(back.is_finite(), "{scheme:?}: {value} became {back}");
                let zero = scheme.format != Format::Binary && value == 0.0;
                assert!(!zero || *back == 0.0, "{scheme:?}: zero became {back}");
            }
        }
    }
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    let scheme = Scheme::int(8);
    let refused =
        |scheme: Scheme, values: &[f32], shape| scheme.quantise(values, shape).unwrap_err();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = refused(scheme, &[0.0, value], [1, 2]);
        assert!(matches!(error, QuantError::NotFinite { at: 1, .. }));
    }
    assert_eq!(
        refused(scheme, &[0.0], [1, 2]),
        QuantError::Shape {
            rows: 1,
            cols: 2,
            found: 1
        }
    );
    let error = scheme.quantise_with(&[0.0; 4], [2, 2], &[]).unwrap_err();
    assert_eq!(
        error,
        QuantError::Steps {
            groups: 2,
            found: 0
        }
    );
    let meaningless = [
        Scheme::int(1),
        Scheme::int(17),
        scheme.blocks(0),
        scheme.calibrated(Calibration::Percentile(0.0)),
        scheme.calibrated(Calibration::Percentile(f64::NAN)),
        scheme.calibrated(Calibration::Percentile(100.1)),
        scheme.calibrated(Calibration::Mse { tried: 0 }),
    ];
    for scheme in meaningless {
        assert!(
            matches!(refused(scheme, &[0.0], [1, 1]), QuantError::Scheme(_)),
            "{scheme:?}"
        );
    }
}
