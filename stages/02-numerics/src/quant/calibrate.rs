//! From the numbers of a group to its range: what to clip so that the rest has finer steps.

use super::{Format, Scheme, Step};

/// How the range of a group is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calibration {
    /// From the least to the greatest: nothing is clipped, and one outlier makes every step coarse.
    MinMax,
    /// What this percentage of the numbers lie in. The rest is clipped: by magnitude with a symmetric mapping, otherwise half of it
    /// at either end.
    Percentile(f64),
    /// Of so many evenly spaced shares of the full range, down to none of it, the one of the least squared error.
    Mse {
        /// Ranges that are tried; 1 is [`Calibration::MinMax`].
        tried: usize,
    },
    /// The numbers as they are: scale 1, for f16 and bf16, which have range enough.
    Unscaled,
}

impl Scheme {
    /// The step for a group of finite numbers.
    pub fn fit(&self, group: &[f32]) -> Step {
        if self.format == Format::Binary {
            // The scale of the least squared error between the numbers and their signs.
            let sum: f64 = group.iter().map(|value| f64::from(value.abs())).sum();
            let mean = (sum / group.len().max(1) as f64) as f32;
            return self.step([-mean, mean]);
        }
        match self.calibration {
            Calibration::MinMax => self.step(range(group)),
            Calibration::Percentile(percent) => self.step(self.percentile(group, percent)),
            Calibration::Mse { tried } => self.least_error(group, tried),
            Calibration::Unscaled => Step {
                scale: 1.0,
                zero_point: 0,
            },
        }
    }

    /// Squared error of the group's numbers with this step, summed.
    pub fn squared_error(&self, group: &[f32], step: Step) -> f64 {
        let error = |&value: &f32| {
            let back = self.decode(self.encode(value, step), step);
            (f64::from(back) - f64::from(value)).powi(2)
        };
        group.iter().map(error).sum()
    }

    /// The step, of `tried` shares of the full range, at which the squared error is least.
    fn least_error(&self, group: &[f32], tried: usize) -> Step {
        // ANCHOR: solve-least-error
        let full = range(group);
        let mut best = (self.step(full), f64::INFINITY);
        for share in (1..=tried).rev() {
            let share = share as f32 / tried as f32;
            let step = self.step(full.map(|end| end * share));
            let error = self.squared_error(group, step);
            if error < best.1 {
                best = (step, error);
            }
        }
        best.0
        // ANCHOR_END: solve-least-error
    }

    /// The range that holds `percent` of the numbers, by nearest rank.
    fn percentile(&self, group: &[f32], percent: f64) -> [f32; 2] {
        if group.is_empty() {
            return [0.0, 0.0];
        }
        let mut sorted = group.to_vec();
        let rank = |share: f64| {
            // 99.9 % of 1000 is a little more than 999 in binary, and must not become 1000.
            let rank = (share * group.len() as f64 - 1e-6).ceil() as usize;
            rank.clamp(1, group.len()) - 1
        };
        if self.is_asymmetric() {
            sorted.sort_by(f32::total_cmp);
            let cut = (1.0 - percent / 100.0) / 2.0;
            let high = rank(1.0 - cut);
            // The same number from either end.
            return [sorted[group.len() - 1 - high], sorted[high]];
        }
        sorted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let limit = sorted[rank(percent / 100.0)].abs();
        // The mapping may ask on which side the furthest number lies.
        range(group).map(|end| end.clamp(-limit, limit))
    }
}

/// The least and the greatest; zeros for none.
fn range(group: &[f32]) -> [f32; 2] {
    let Some(&first) = group.first() else {
        return [0.0, 0.0];
    };
    group.iter().fold([first; 2], |[low, high], &value| {
        [low.min(value), high.max(value)]
    })
}
