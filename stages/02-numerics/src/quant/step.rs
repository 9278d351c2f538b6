//! One group's scale and zero point: found from a range, and applied to numbers.

use super::{Format, Mapping, Scheme};
use crate::float::{F16, Overflow};

/// What turns the codes of a group into numbers: `scale · (code - zero_point)`, or `scale · decode(code)` of a floating code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The distance of neighbouring integer codes. 0 for a group of zeros; below 0 only of [`Mapping::Furthest`].
    pub scale: f32,
    /// The code of zero; 0 unless the mapping is asymmetric.
    pub zero_point: i32,
}

impl Step {
    /// The step at which `highest` is the larger magnitude of the range.
    pub fn symmetric([low, high]: [f32; 2], highest: f32) -> Self {
        // ANCHOR: solve-symmetric
        Self {
            scale: low.abs().max(high.abs()) / highest,
            zero_point: 0,
        }
        // ANCHOR_END: solve-symmetric
    }

    /// The step at which codes 0 to `highest` span the range, widened to hold zero, and a code is exactly zero.
    pub fn asymmetric([low, high]: [f32; 2], highest: i32) -> Self {
        // ANCHOR: solve-zero-point
        // In f64, since the width of a range of f32 may be more than an f32.
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = (high - low) / f64::from(highest);
        let zero_point = match scale > 0.0 {
            true => (-low / scale).round_ties_even() as i32,
            false => 0,
        };
        Self {
            scale: scale as f32,
            zero_point,
        }
        // ANCHOR_END: solve-zero-point
    }
}

impl Scheme {
    /// The step for numbers of the range `[low, high]`.
    pub fn step(&self, range: [f32; 2]) -> Step {
        let [lowest, highest] = self.code_range();
        let step = match (self.format, self.mapping) {
            (Format::Float(float), _) => Step::symmetric(range, float.largest()),
            (Format::Binary, _) | (_, Mapping::Symmetric) => Step::symmetric(range, highest as f32),
            (_, Mapping::Furthest) => {
                let [low, high] = range;
                let furthest = if low.abs() > high.abs() { low } else { high };
                Step {
                    scale: furthest / lowest as f32,
                    zero_point: 0,
                }
            }
            (_, Mapping::Asymmetric) => Step::asymmetric(range, highest),
        };
        match self.f16_scales {
            true => Step {
                scale: F16.round(step.scale, Overflow::Saturate),
                ..step
            },
            false => step,
        }
    }

    /// The code nearest to `value`; what lies beyond the range takes the code at its end.
    #[inline]
    pub fn encode(&self, value: f32, step: Step) -> i32 {
        let [lowest, highest] = self.code_range();
        // A scale of 0 stands for numbers that are 0 or nearly so; dividing by it would make them NaN or the end of the range.
        let scaled = match step.scale {
            0.0 => 0.0,
            scale => value / scale,
        };
        match self.format {
            Format::Int(_) => {
                let code = scaled.round_ties_even() as i32;
                code.saturating_add(step.zero_point).clamp(lowest, highest)
            }
            Format::Binary if value < 0.0 => -1,
            Format::Binary => 1,
            Format::Float(float) => i32::from(float.encode(scaled, Overflow::Saturate)),
        }
    }

    /// What `code` stands for.
    #[inline]
    pub fn decode(&self, code: i32, step: Step) -> f32 {
        match self.format {
            Format::Float(float) => step.scale * float.decode(code as u16),
            // A zero point is rounded, so that the end of a range may lie half a step outside, and outside of f32.
            _ => (step.scale * (code - step.zero_point) as f32).clamp(f32::MIN, f32::MAX),
        }
    }
}
