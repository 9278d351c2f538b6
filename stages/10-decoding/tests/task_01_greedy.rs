//! Task 1: temperature 0 takes the largest logit, whatever else is in the row.

mod common;

use common::{Case, coarse_logits, random_logits, rank, rng};
use decoding::{SamplingParams, greedy};
use rand::RngExt;

const NAN: f32 = f32::NAN;
const LOW: f32 = f32::NEG_INFINITY;
const HIGH: f32 = f32::INFINITY;

/// The token that no other comes before: larger, or equal with a lower id. NaN counts as `-inf`.
fn reference(logits: &[f32]) -> u32 {
    let logits: Vec<f64> = logits
        .iter()
        .map(|x| f64::from(if x.is_nan() { LOW } else { *x }))
        .collect();
    (0..logits.len())
        .find(|token| rank(&logits, *token) == 0)
        .unwrap() as u32
}

fn sampled(logits: &[f32]) -> u32 {
    let params = SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    };
    Case::new(logits.to_vec(), params).sample(0).token
}

#[test]
fn the_largest_logit_wins_at_every_size() {
    let mut rng = rng();
    for len in 1..200 {
        let logits = random_logits(&mut rng, len);
        assert_eq!(greedy(&logits), reference(&logits), "{logits:?}");
        assert_eq!(sampled(&logits), reference(&logits), "{logits:?}");
    }
}

#[test]
fn the_lowest_id_wins_among_equals() {
    let mut rng = rng();
    for _ in 0..200 {
        let len = rng.random_range(50..300); // more tokens than values: ties are sure
        let logits = coarse_logits(&mut rng, len);
        assert_eq!(greedy(&logits), reference(&logits), "{logits:?}");
        assert_eq!(sampled(&logits), reference(&logits), "{logits:?}");
    }
    assert_eq!(greedy(&[1.0, 2.0, 2.0]), 1);
    assert_eq!(greedy(&[-0.0, 0.0]), 0);
    assert_eq!(greedy(&[0.0, -0.0]), 0);
}

#[test]
fn what_is_not_a_number_never_wins() {
    let rows: [(&[f32], u32); 8] = [
        (&[NAN, -5.0, 1.0], 2),
        (&[1.0, NAN, 0.0], 0),
        (&[-5.0, NAN], 0),
        (&[NAN, NAN, -1e30], 2),
        (&[LOW, -1e30, LOW], 1),
        (&[NAN, LOW, 3.0, NAN], 2),
        (&[0.0, HIGH, NAN, HIGH], 1),
        (&[f32::MIN, LOW], 0),
    ];
    for (logits, expected) in rows {
        assert_eq!(greedy(logits), expected, "{logits:?}");
        assert_eq!(sampled(logits), expected, "{logits:?}");
    }
}

/// Alone it gives even `-inf` the precedence; in the sampler, where it counts as `-inf`, the two are equals.
#[test]
fn what_is_not_a_number_gives_way_to_minus_infinity() {
    assert_eq!(greedy(&[NAN, LOW]), 1);
    assert_eq!(greedy(&[LOW, NAN]), 0);
    assert_eq!(greedy(&[NAN, NAN, LOW, LOW, NAN]), 2);
}

#[test]
fn a_row_without_any_number_gives_the_first_token() {
    for logits in [&[LOW; 5], &[NAN; 5]] {
        assert_eq!(greedy(logits), 0, "{logits:?}");
        assert_eq!(sampled(logits), 0, "{logits:?}");
    }
}

#[test]
fn neither_seed_nor_position_nor_truncation_matters() {
    let mut rng = rng();
    for _ in 0..200 {
        let logits = random_logits(&mut rng, 31);
        let expected = reference(&logits);
        let params = SamplingParams {
            temperature: 0.0,
            top_k: rng.random_range(0..40),
            top_p: rng.random_range(0.01..1.0),
            min_p: rng.random_range(0.0..1.0),
            seed: rng.random(),
            ..SamplingParams::default()
        };
        let case = Case::new(logits, params);
        assert_eq!(case.sample(rng.random()).token, expected, "{case:?}");
    }
}

#[test]
fn suppressed_tokens_leave_the_next_best() {
    let mut rng = rng();
    for _ in 0..100 {
        let mut case = Case::new(random_logits(&mut rng, 9), SamplingParams::default());
        case.params.temperature = 0.0;
        for left in (1..9).rev() {
            case.suppressed.push(case.sample(0).token);
            let next = case.sample(0).token;
            let better = (0..9).filter(|at| case.logits[*at] > case.logits[next as usize]);
            assert_eq!(better.count(), 9 - left, "{case:?}");
            assert!(!case.suppressed.contains(&next), "{case:?}");
        }
    }
}
