//! Task 4: the symmetric step, and what follows from it: bounds of errors, SQNR a bit, and the blocks that the CPU computes on.

mod common;

use common::{gauss, rng};
use half::f16;
use numerics::blocks::{BLOCK, Q4, Q8};
use numerics::integer::unpack_signed;
use numerics::quant::error::{cosine, mse, sqnr};
use numerics::quant::{Mapping, Scheme, Step};

#[test]
fn the_larger_magnitude_takes_the_highest_code() {
    let step = |range, highest| Step::symmetric(range, highest);
    let is = |scale| Step {
        scale,
        zero_point: 0,
    };
    assert_eq!(step([-1.0, 127.0], 127.0), is(1.0));
    assert_eq!(step([-254.0, 127.0], 127.0), is(2.0));
    assert_eq!(step([-7.0, -3.0], 7.0), is(1.0));
    assert_eq!(step([0.0, 0.0], 127.0), is(0.0));
    assert_eq!(step([0.0, 448.0], 448.0), is(1.0));
}

#[test]
fn no_number_is_off_by_more_than_half_a_step() {
    let rng = &mut rng();
    for bits in [2, 4, 8, 16] {
        let values: Vec<f32> = (0..999).map(|_| gauss(rng)).collect();
        let made = Scheme::int(bits).quantise(&values, [1, 999]).unwrap();
        let half = f64::from(made.scales[0]) / 2.0;
        let mut worst: f64 = 0.0;
        for (back, value) in made.dequantise().iter().zip(&values) {
            worst = worst.max((f64::from(*back) - f64::from(*value)).abs());
        }
        assert!(
            worst <= half * 1.0001 + 1e-6,
            "{bits} bits: {worst} is over {half}"
        );
        assert!(
            worst > half * 0.9,
            "{bits} bits: {worst} of {half} is too good"
        );
    }
}

#[test]
fn each_bit_gives_six_decibels() {
    let rng = &mut rng();
    let values: Vec<f32> = (0..10_000).map(|_| gauss(rng)).collect();
    let quality = |bits| {
        let made = Scheme::int(bits).quantise(&values, [1, 10_000]).unwrap();
        sqnr(&made.dequantise(), &values)
    };
    // The noise of even steps is step² / 12, and a step is the largest magnitude over the codes of one side.
    let most = f64::from(
        values
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs())),
    );
    let power: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 10_000.0;
    for bits in 4..=12 {
        let step = most / f64::from((1 << (bits - 1)) - 1);
        let theory = 10.0 * (power / (step * step / 12.0)).log10();
        let got = quality(bits);
        assert!(
            (got - theory).abs() < 0.5,
            "{bits} bits: {got} dB, {theory} in theory"
        );
    }
}

#[test]
fn measures_of_error() {
    assert_eq!(mse(&[1.0, 2.0], &[1.0, 4.0]), 2.0);
    assert_eq!(sqnr(&[11.0, 0.0], &[10.0, 0.0]), 20.0);
    assert_eq!(sqnr(&[1.0], &[1.0]), f64::INFINITY);
    assert_eq!(cosine(&[2.0, 0.0], &[7.0, 0.0]), 1.0);
    assert_eq!(cosine(&[1.0, 0.0], &[0.0, 1.0]), 0.0);
    assert_eq!(cosine(&[1.0], &[-3.0]), -1.0);
    assert_eq!(
        (mse(&[], &[]), cosine(&[], &[]), cosine(&[0.0], &[1.0])),
        (0.0, 1.0, 0.0)
    );
}

#[test]
fn a_matrix_takes_the_bytes_of_its_bits() {
    let values: Vec<f32> = (0..3 * 33).map(|at| at as f32 - 40.0).collect();
    let bytes = |scheme: Scheme| scheme.quantise(&values, [3, 33]).unwrap().packed();
    assert_eq!(bytes(Scheme::int(8)).len(), 3 * 33);
    assert_eq!(bytes(Scheme::int(4)).len(), 3 * 17);
    assert_eq!(bytes(Scheme::int(2)).len(), 3 * 9);
    assert_eq!(bytes(Scheme::binary()).len(), 3 * 5);
    assert_eq!(bytes(Scheme::int(16)).len(), 3 * 66);
    let made = Scheme::int(4).quantise(&values, [3, 33]).unwrap();
    let rows = made.packed();
    for (row, codes) in rows.chunks(17).zip(made.codes.chunks(33)) {
        let back: Vec<i32> = unpack_signed(4, row, 33)
            .into_iter()
            .map(i32::from)
            .collect();
        assert_eq!(back, codes);
    }
    // Four bits, and a scale of 4 bytes for each of 3 rows.
    assert_eq!(made.bytes(), 3 * 17 + 3 * 4);
}

/// [`Q8`] and [`Q4`] are two of the schemes, but for numbers on the edge between two codes.
#[test]
fn blocks_round_as_their_schemes() {
    let rng = &mut rng();
    let values: Vec<f32> = (0..64 * BLOCK)
        .map(|at| gauss(rng) * 10.0f32.powi((at / BLOCK % 5) as i32 - 2))
        .collect();
    let shape = [8, 8 * BLOCK];
    let q8 = Q8::quantise(&values);
    let q4 = Q4::quantise(&values);
    let q8_codes: Vec<i32> = q8.quants.iter().map(|&quant| i32::from(quant)).collect();
    let q4_codes: Vec<i32> = (0..values.len())
        .map(|at| i32::from(q4.quant(at)) - 8)
        .collect();
    let blocks = |scheme: Scheme| scheme.blocks(BLOCK).with_f16_scales();
    let schemes = [
        (blocks(Scheme::int(8)), q8.scales, q8_codes),
        (
            blocks(Scheme::int(4).mapped(Mapping::Furthest)),
            q4.scales,
            q4_codes,
        ),
    ];
    for (scheme, scales, codes) in schemes {
        let made = scheme.quantise(&values, shape).unwrap();
        assert_eq!(
            made.scales,
            scales.iter().copied().map(f16::to_f32).collect::<Vec<_>>()
        );
        for (at, (&ours, &theirs)) in made.codes.iter().zip(&codes).enumerate() {
            let steps = f64::from(values[at]) / f64::from(made.scales[at / BLOCK]);
            let edge = (steps - steps.floor() - 0.5).abs() < 1e-4;
            assert!(
                ours == theirs || edge && (ours - theirs).abs() == 1,
                "{at}: {steps} is {ours} and {theirs}"
            );
        }
    }
}
