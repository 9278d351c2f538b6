//! Keys and values in 8 and 4 bits: no number is off by more than half a step, and no output of attention by more than that implies.

mod common;

use common::{gauss, rng};
use numerics::float::{E4M3, F16};
use numerics::kv::{GROUP, KvFormat, attend};
use rand::RngExt;
use rand::rngs::StdRng;

const FORMATS: [KvFormat; 3] = [KvFormat::Int8, KvFormat::E4m3, KvFormat::Int4];

/// Half a step at each number, from the slot's numbers alone: scales are at most one f16 above the exact ones.
fn half_steps(format: KvFormat, values: &[f32]) -> Vec<f64> {
    let up = 1.0 + 2.0_f64.powi(-10);
    let tiny = f64::from(F16.smallest());
    let most = values
        .iter()
        .fold(0.0f64, |most, &v| most.max(f64::from(v).abs()));
    let spread = |group: &[f32]| {
        let [low, high] =
            [f32::min, f32::max].map(|pick| f64::from(group.iter().copied().reduce(pick).unwrap()));
        // The offset is rounded down, which widens the range by up to an f16 at its size.
        high - low + low.abs() / 1024.0 + tiny
    };
    let half = |at: usize| match format {
        KvFormat::Int8 => (most / 127.0 * up + tiny) / 2.0,
        KvFormat::E4m3 => {
            // Within a binade steps are 2^-3 of its begin; below 2^-6 of the scale they are those of the subnormals.
            let least = (most / 448.0 * up + tiny) * f64::from(E4M3.smallest());
            (f64::from(values[at]).abs() / 8.0).max(least) / 2.0
        }
        KvFormat::Int4 => {
            (spread(values.chunks(GROUP).nth(at / GROUP).unwrap()) / 15.0 * up + tiny) / 2.0
        }
    };
    (0..values.len()).map(half).collect()
}

fn slots(rng: &mut StdRng, tokens: usize, head_dim: usize) -> Vec<f32> {
    // Channels with means of their own, as keys have, and tokens of different size.
    let means: Vec<f32> = (0..head_dim).map(|_| 3.0 * gauss(rng)).collect();
    let sizes: Vec<f32> = (0..tokens).map(|_| rng.random_range(0.1..2.0)).collect();
    (0..tokens * head_dim)
        .map(|at| sizes[at / head_dim] * (gauss(rng) + means[at % head_dim]))
        .collect()
}

#[test]
fn a_slot_takes_the_bytes_that_it_says() {
    assert_eq!(
        FORMATS.map(|format| format.slot_bytes(128)),
        [130, 130, 64 + 16]
    );
    assert_eq!(
        FORMATS.map(|format| format.slot_bytes(33)),
        [35, 35, 17 + 8]
    );
    assert_eq!(FORMATS.map(|format| format.slot_bytes(0)), [2, 2, 0]);
}

#[test]
fn no_number_is_off_by_more_than_half_a_step() {
    let rng = &mut rng();
    for format in FORMATS {
        for head_dim in [1, 2, 31, 32, 33, 64, 80, 128] {
            for power in [-30, -8, 0, 10] {
                let size = 2.0f32.powi(power);
                let values: Vec<f32> = slots(rng, 1, head_dim)
                    .iter()
                    .map(|value| value * size)
                    .collect();
                let back = format.round_trip(&values);
                for (at, half) in half_steps(format, &values).into_iter().enumerate() {
                    let error = (f64::from(back[at]) - f64::from(values[at])).abs();
                    assert!(
                        error <= half * 1.0001,
                        "{format:?}, {head_dim}, 2^{power}: {} became {}, half a step is {half}",
                        values[at],
                        back[at]
                    );
                }
            }
        }
    }
}

#[test]
fn numbers_far_from_zero_and_close_together() {
    // The offset's own rounding is larger than their distance from each other.
    let values: Vec<f32> = (0..32).map(|at| 100.0 + at as f32 / 310.0).collect();
    for sign in [1.0, -1.0] {
        let values: Vec<f32> = values.iter().map(|value| value * sign).collect();
        let back = KvFormat::Int4.round_trip(&values);
        for (at, half) in half_steps(KvFormat::Int4, &values).into_iter().enumerate() {
            assert!(
                (f64::from(back[at]) - f64::from(values[at])).abs() <= half * 1.0001,
                "{} became {}",
                values[at],
                back[at]
            );
        }
    }
}

#[test]
fn zeros_and_extremes_stay_finite() {
    for format in FORMATS {
        assert_eq!(format.round_trip(&[0.0; 40]), [0.0; 40]);
        for values in [
            [60_000.0, -60_000.0],
            [f32::MAX, f32::MIN],
            [1e-42, -1e-42],
            [f32::MIN, 0.0],
        ] {
            let back = format.round_trip(&values);
            assert!(
                back.iter().all(|value| value.is_finite()),
                "{format:?}: {values:?} became {back:?}"
            );
        }
        assert!(format.round_trip(&[]).is_empty());
    }
}

#[test]
fn attention_is_off_by_no_more_than_the_steps_imply() {
    let rng = &mut rng();
    for format in FORMATS {
        for (tokens, head_dim) in [(1, 32), (7, 33), (100, 64), (300, 128)] {
            let (keys, values) = (slots(rng, tokens, head_dim), slots(rng, tokens, head_dim));
            let query: Vec<f32> = (0..head_dim).map(|_| gauss(rng) / 4.0).collect();
            let through = |all: &[f32]| {
                all.chunks(head_dim)
                    .flat_map(|slot| format.round_trip(slot))
                    .collect::<Vec<_>>()
            };
            let halves = |all: &[f32]| {
                all.chunks(head_dim)
                    .map(|slot| half_steps(format, slot))
                    .collect::<Vec<_>>()
            };
            let (got, wanted) = (
                attend(&query, &through(&keys), &through(&values)),
                attend(&query, &keys, &values),
            );
            // A logit is off by Σ |q| · half step / √d at most; if all are off by ε at most, each weight is off by a factor of at
            // most e^2ε, and all weights together by (e^2ε - 1), half of which was taken from some tokens and given to others.
            let key_off = |halves: &Vec<f64>| {
                query
                    .iter()
                    .zip(halves)
                    .map(|(q, half)| f64::from(q.abs()) * half)
                    .sum::<f64>()
            };
            let epsilon =
                halves(&keys).iter().map(key_off).fold(0.0, f64::max) / (head_dim as f64).sqrt();
            let moved = ((2.0 * epsilon).exp() - 1.0) / 2.0;
            let value_halves = halves(&values);
            for at in 0..head_dim {
                let column = || (0..tokens).map(|token| f64::from(values[token * head_dim + at]));
                let spread = column().fold(f64::MIN, f64::max) - column().fold(f64::MAX, f64::min);
                let half = value_halves
                    .iter()
                    .map(|halves| halves[at])
                    .fold(0.0, f64::max);
                // Values are averaged with weights that sum to 1, so half a step of the worst bounds their part.
                let bound = half + moved.min(1.0) * spread;
                let error = (got[at] - wanted[at]).abs();
                assert!(
                    error <= bound * 1.001,
                    "{format:?} {tokens} x {head_dim}: {error} is over {bound}"
                );
            }
        }
    }
}

#[test]
fn eight_bits_are_nearer_than_four() {
    let rng = &mut rng();
    let (tokens, head_dim) = (256, 64);
    let (keys, values) = (slots(rng, tokens, head_dim), slots(rng, tokens, head_dim));
    let query: Vec<f32> = (0..head_dim).map(|_| gauss(rng)).collect();
    let wanted = attend(&query, &keys, &values);
    let [int8, e4m3, int4] = FORMATS.map(|format| {
        let back = |all: &[f32]| {
            all.chunks(head_dim)
                .flat_map(|slot| format.round_trip(slot))
                .collect::<Vec<_>>()
        };
        let got = attend(&query, &keys, &back(&values));
        got.iter()
            .zip(&wanted)
            .map(|(got, wanted)| (got - wanted).powi(2))
            .sum::<f64>()
    });
    assert!(
        int8 > 0.0 && int8 < e4m3 && int8 * 4.0 < int4,
        "{int8} {e4m3} {int4}"
    );
}
