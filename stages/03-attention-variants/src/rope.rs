//! Rotary position embedding (Su et al., 2021): pairs of a head's dimensions are turned by an angle that grows with the position.
//!
//! A pair `i` turns by `position * f_i` with `f_i = theta^(-2i / dim)`. The scalings change the frequencies so that positions
//! beyond the trained context turn pairs no further than training did.

use crate::config::{Rope, RopeScaling};
use std::f64::consts::TAU;

/// The frequency of each of the `dim / 2` pairs, in radians a position.
pub fn inverse_frequencies(rope: &Rope, dim: usize) -> Vec<f64> {
    let theta = f64::from(rope.theta);
    (0..dim / 2)
        .map(|pair| {
            let plain = theta.powf(-2.0 * pair as f64 / dim as f64);
            match rope.scaling {
                RopeScaling::Plain => plain,
                RopeScaling::Table { ref factors } => plain / f64::from(factors[pair]),
                RopeScaling::Linear { factor } => plain / f64::from(factor),
                RopeScaling::Llama3 {
                    factor,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_positions,
                } => llama3(
                    plain,
                    factor,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_positions,
                ),
                RopeScaling::Yarn {
                    factor,
                    beta_fast,
                    beta_slow,
                    original_max_positions,
                    truncate,
                    ..
                } => {
                    let ramp = yarn_ramp(
                        pair,
                        dim,
                        theta,
                        beta_fast,
                        beta_slow,
                        original_max_positions,
                        truncate,
                    );
                    plain / f64::from(factor) * ramp + plain * (1.0 - ramp)
                }
            }
        })
        .collect()
}

/// Llama 3.1's rule: pairs that turn often within the trained context are kept, those that do not complete a turn are slowed by
/// the factor, and between the two the frequency is interpolated.
fn llama3(plain: f64, factor: f32, low: f32, high: f32, original_max_positions: usize) -> f64 {
    let turns = original_max_positions as f64 * plain / TAU;
    let (low, high, slowed) = (f64::from(low), f64::from(high), plain / f64::from(factor));
    if turns < low {
        slowed
    } else if turns > high {
        plain
    } else {
        let smooth = (turns - low) / (high - low);
        (1.0 - smooth) * slowed + smooth * plain
    }
}

/// YaRN's "NTK by parts" (Peng et al., 2023): 0 where a pair keeps its frequency, 1 where it is slowed by the whole factor, a
/// linear ramp over the pair's index between the pairs that turn `beta_fast` and `beta_slow` times in the trained context.
fn yarn_ramp(
    pair: usize,
    dim: usize,
    theta: f64,
    beta_fast: f32,
    beta_slow: f32,
    original_max_positions: usize,
    truncate: bool,
) -> f64 {
    let pair_that_turns = |turns: f32| {
        dim as f64 * (original_max_positions as f64 / (f64::from(turns) * TAU)).ln()
            / (2.0 * theta.ln())
    };
    let (mut low, mut high) = (pair_that_turns(beta_fast), pair_that_turns(beta_slow));
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
    if low == high {
        high += 0.001; // no step of infinite steepness
    }
    ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0)
}

/// What the scaling puts on the softmax scale beside `1 / sqrt(dim)`.
pub fn softmax_factor(rope: &Rope) -> f32 {
    match rope.scaling {
        RopeScaling::Yarn { softmax_factor, .. } => softmax_factor,
        _ => 1.0,
    }
}

/// Cosines and sines for every position, `[positions, half]` each.
#[derive(Clone, Debug)]
pub struct RopeTable {
    /// Cosines, with the scaling's attention factor in them.
    pub cos: Vec<f32>,
    /// Sines, likewise.
    pub sin: Vec<f32>,
    /// Pairs in a head.
    pub half: usize,
}

impl RopeTable {
    /// The table of a head `dim` wide for positions `0..positions`.
    pub fn new(rope: &Rope, dim: usize, positions: usize) -> Self {
        let frequencies = inverse_frequencies(rope, dim);
        let factor = match rope.scaling {
            RopeScaling::Yarn {
                attention_factor, ..
            } => f64::from(attention_factor),
            _ => 1.0,
        };
        let angles = || {
            (0..positions).flat_map(|position| frequencies.iter().map(move |f| position as f64 * f))
        };
        Self {
            cos: angles()
                .map(|angle| (angle.cos() * factor) as f32)
                .collect(),
            sin: angles()
                .map(|angle| (angle.sin() * factor) as f32)
                .collect(),
            half: dim / 2,
        }
    }

    /// The cosines and sines of one position, `[half]` each.
    pub fn row(&self, position: usize) -> (&[f32], &[f32]) {
        let row = position * self.half..(position + 1) * self.half;
        (&self.cos[row.clone()], &self.sin[row])
    }
}

/// Turns pairs `(i, i + dim / 2)` of a head where it lies.
pub fn rotate_half(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    // ANCHOR: solve-rope
    let (first, second) = head.split_at_mut(cos.len());
    for i in 0..cos.len() {
        let (a, b) = (first[i], second[i]);
        first[i] = a * cos[i] - b * sin[i];
        second[i] = b * cos[i] + a * sin[i];
    }
    // ANCHOR_END: solve-rope
}

/// Turns neighbouring pairs `(2i, 2i + 1)` of a head where it lies.
pub fn rotate_interleaved(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    for (i, pair) in head.chunks_exact_mut(2).enumerate() {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * cos[i] - b * sin[i];
        pair[1] = b * cos[i] + a * sin[i];
    }
}
