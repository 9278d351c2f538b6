//! Task 1: one head of attention against a reference in double precision with another loop structure.

mod support;

use attention_variants::variants::{Visibility, attention};
use rand::RngExt;
use support::{assert_close, rng, values};

/// Attention by columns: numerator and denominator of each output number are summed key by key, without a row of scores.
fn reference(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    dims: (usize, usize),
    scale: f32,
    first: usize,
    seen: impl Fn(usize, usize) -> bool,
) -> Vec<f32> {
    let (key_dim, value_dim) = dims;
    let mut out = Vec::new();
    for (i, query) in q.chunks_exact(key_dim).enumerate() {
        for d in 0..value_dim {
            let (mut above, mut below) = (0.0f64, 0.0f64);
            for (j, key) in k
                .chunks_exact(key_dim)
                .enumerate()
                .filter(|(j, _)| seen(first + i, *j))
            {
                let score: f64 = query
                    .iter()
                    .zip(key)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                let weight = (score * f64::from(scale)).exp();
                above += weight * f64::from(v[j * value_dim + d]);
                below += weight;
            }
            out.push((above / below) as f32);
        }
    }
    out
}

fn check(visibility: Visibility, seen: impl Fn(usize, usize) -> bool + Copy) {
    let rng = &mut rng();
    for (queries, keys, key_dim, value_dim) in [
        (1, 1, 1, 1),
        (0, 4, 3, 3),
        (5, 5, 7, 3),
        (3, 9, 8, 8),
        (17, 17, 16, 5),
    ] {
        let first = keys - queries;
        let (q, k, v) = (
            values(rng, queries * key_dim),
            values(rng, keys * key_dim),
            values(rng, keys * value_dim),
        );
        let scale = rng.random_range(0.1..3.0);
        let mut out = vec![f32::NAN; queries * value_dim];
        attention(&mut out, &q, &k, &v, key_dim, scale, first, visibility);
        let want = reference(&q, &k, &v, (key_dim, value_dim), scale, first, seen);
        assert_close(
            &out,
            &want,
            1e-6,
            &format!("{visibility:?} {queries}x{keys}x{key_dim}x{value_dim}"),
        );
    }
}

#[test]
fn full_attention_sees_everything() {
    check(Visibility::Full, |_, _| true);
}

#[test]
fn causal_attention_sees_the_past() {
    check(Visibility::Causal, |query, key| key <= query);
}

#[test]
fn a_window_sees_the_near_past() {
    for window in [1, 2, 4, 100] {
        check(Visibility::SlidingWindow(window), |query, key| {
            key + window > query && key <= query
        });
    }
}

/// What is not seen has no part, not even if it is not a number.
#[test]
fn the_future_cannot_leak() {
    let rng = &mut rng();
    let (q, mut k, mut v) = (values(rng, 6 * 4), values(rng, 6 * 4), values(rng, 6 * 4));
    let run = |k: &[f32], v: &[f32]| {
        let mut out = vec![f32::NAN; 6 * 4];
        attention(&mut out, &q, k, v, 4, 0.5, 0, Visibility::Causal);
        out
    };
    let want = run(&k, &v);
    k[5 * 4..].fill(f32::NAN);
    v[5 * 4..].fill(f32::NAN);
    assert_eq!(run(&k, &v)[..5 * 4], want[..5 * 4]);
}

/// Scores of any size: the softmax shifts by the largest before it exponentiates.
#[test]
fn large_scores_do_not_overflow() {
    let mut out = [f32::NAN; 2];
    attention(
        &mut out,
        &[1000.0],
        &[1.0, 2.0],
        &[3.0, 4.0, 5.0, 6.0],
        1,
        1.0,
        1,
        Visibility::Full,
    );
    assert_eq!(out, [5.0, 6.0], "the far larger score takes all");
}

/// A query that is not a number gives nothing that looks like a result.
#[test]
fn what_is_not_a_number_is_not_hidden() {
    let mut out = [0.0; 2];
    attention(
        &mut out,
        &[f32::NAN],
        &[1.0, 2.0],
        &[3.0, 4.0, 5.0, 6.0],
        1,
        1.0,
        1,
        Visibility::Full,
    );
    assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
}
