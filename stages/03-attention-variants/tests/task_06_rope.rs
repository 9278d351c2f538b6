//! Task 6: rotary embedding: what it promises, and the frequencies of every scaling against `transformers`.

mod support;

use attention_variants::config::{Rope, RopeScaling};
use attention_variants::rope::{
    RopeTable, inverse_frequencies, rotate_half, rotate_interleaved, softmax_factor,
};
use serde_json::Value;
use support::{assert_close, rng, values};

fn plain(theta: f32) -> Rope {
    Rope {
        theta,
        scaling: RopeScaling::Plain,
        interleaved: false,
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// The score of a rotated query and a rotated key depends on how far apart they are, not on where they stand.
#[test]
fn scores_depend_on_the_distance() {
    let rng = &mut rng();
    for dim in [2, 6, 64] {
        let table = RopeTable::new(&plain(10_000.0), dim, 400);
        let (q, k) = (values(rng, dim), values(rng, dim));
        for rotate in [rotate_half, rotate_interleaved] {
            let turned = |x: &[f32], position: usize| {
                let mut x = x.to_vec();
                let (cos, sin) = table.row(position);
                rotate(&mut x, cos, sin);
                x
            };
            let near = dot(&turned(&q, 17), &turned(&k, 5));
            let far = dot(&turned(&q, 399), &turned(&k, 387));
            assert!(
                (near - far).abs() < 1e-4 * dim as f64,
                "{near} at 17 and 5, {far} at 399 and 387"
            );
            assert_close(&turned(&q, 0), &q, 0.0, "position 0 turns nothing");
            let length = dot(&turned(&q, 311), &turned(&q, 311));
            assert!(
                (length - dot(&q, &q)).abs() < 1e-4 * length,
                "turning keeps the length"
            );
        }
    }
}

/// The two layouts turn the same pairs: one is the other with the head's numbers rearranged.
#[test]
fn layouts_are_rearrangements() {
    let rng = &mut rng();
    let dim = 10;
    let table = RopeTable::new(&plain(500.0), dim, 30);
    let (cos, sin) = table.row(29);
    let interleaved = values(rng, dim);
    let halves = |x: &[f32]| -> Vec<f32> {
        x.iter()
            .step_by(2)
            .chain(x.iter().skip(1).step_by(2))
            .copied()
            .collect()
    };
    let (mut a, mut b) = (interleaved.clone(), halves(&interleaved));
    rotate_interleaved(&mut a, cos, sin);
    rotate_half(&mut b, cos, sin);
    assert_eq!(halves(&a), b);
}

#[test]
fn plain_frequencies_are_powers() {
    let frequencies = inverse_frequencies(&plain(10_000.0), 8);
    for (got, want) in frequencies.iter().zip([1.0, 0.1, 0.01, 0.001]) {
        assert!((got - want).abs() < 1e-12, "{got} is not {want}");
    }
}

fn scaling(parameters: &Value, attention_factor: f32) -> RopeScaling {
    let number = |name: &str, default: f64| parameters[name].as_f64().unwrap_or(default) as f32;
    let original_max_positions = parameters["original_max_position_embeddings"]
        .as_u64()
        .unwrap_or(0) as usize;
    let factor = number("factor", 1.0);
    match parameters["rope_type"].as_str() {
        Some("linear") => RopeScaling::Linear { factor },
        Some("llama3") => RopeScaling::Llama3 {
            factor,
            low_freq_factor: number("low_freq_factor", 0.0),
            high_freq_factor: number("high_freq_factor", 0.0),
            original_max_positions,
        },
        Some("yarn") => RopeScaling::Yarn {
            factor,
            beta_fast: number("beta_fast", 32.0),
            beta_slow: number("beta_slow", 1.0),
            original_max_positions,
            attention_factor,
            softmax_factor: 1.0,
            truncate: parameters["truncate"].as_bool().unwrap_or(true),
        },
        other => panic!("no case for {other:?}"),
    }
}

#[test]
fn scaled_frequencies_are_those_of_transformers() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("rope_golden.json")).expect("the golden file is JSON");
    assert_eq!(cases.len(), 6);
    for case in &cases {
        let parameters = &case["parameters"];
        let theta = parameters["rope_theta"].as_f64().expect("a base") as f32;
        let attention_factor = case["attention_factor"].as_f64().expect("a factor") as f32;
        let rope = Rope {
            theta,
            scaling: scaling(parameters, attention_factor),
            interleaved: false,
        };
        let dim = case["dim"].as_u64().expect("a width") as usize;
        let got: Vec<f32> = inverse_frequencies(&rope, dim)
            .iter()
            .map(|f| *f as f32)
            .collect();
        let want: Vec<f32> = case["frequencies"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|f| f.as_f64().expect("a number") as f32)
            .collect();
        for (pair, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!(
                (got - want).abs() <= 2e-6 * want,
                "{parameters}, pair {pair}: {got} is not {want}"
            );
        }
        assert_eq!(got.len(), want.len());
        let table = RopeTable::new(&rope, dim, 2);
        assert_close(
            &table.row(0).0[..1],
            &[attention_factor],
            1e-6,
            "the attention factor stands on the cosine",
        );
    }
}

fn yarn(original_max_positions: usize, beta_fast: f32, beta_slow: f32) -> Rope {
    Rope {
        scaling: RopeScaling::Yarn {
            factor: 4.0,
            beta_fast,
            beta_slow,
            original_max_positions,
            attention_factor: 1.25,
            softmax_factor: 1.5,
            truncate: true,
        },
        ..plain(10_000.0)
    }
}

/// Both ends of the ramp fall on pair 0: it is kept and all others are slowed.
#[test]
fn a_ramp_of_no_length_is_a_step() {
    let got = inverse_frequencies(&yarn(16, 4.0, 2.6), 8);
    for (got, want) in got.iter().zip([1.0, 0.025, 0.0025, 0.000_25]) {
        assert!((got - want).abs() < 1e-12, "{got} is not {want}");
    }
}

/// The attention factor stands on the sine too; the softmax factor is beside the table, and 1 where nothing asks for it.
#[test]
fn factors_stand_where_they_belong() {
    let rope = yarn(4096, 32.0, 1.0);
    let table = RopeTable::new(&rope, 8, 2);
    let want = 1.25 * inverse_frequencies(&rope, 8)[0].sin();
    assert!((f64::from(table.row(1).1[0]) - want).abs() < 1e-6);
    assert_eq!(softmax_factor(&rope), 1.5);
    assert_eq!(softmax_factor(&plain(10_000.0)), 1.0);
}
