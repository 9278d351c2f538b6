//! What a simulated run is judged by.

use super::{CostModel, Request};

/// Three quantiles, in seconds; NaN if nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Nine tenths are at most this.
    pub p90: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

impl Percentiles {
    /// By nearest rank.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |fraction: f64| {
            let rank = (fraction * samples.len() as f64).ceil() as usize;
            samples
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or(f64::NAN)
        };
        Self {
            p50: at(0.50),
            p90: at(0.90),
            p99: at(0.99),
        }
    }
}

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// When each token of each request was generated, `[requests][output]`, in seconds.
    pub emitted: Vec<Vec<f64>>,
    /// When each request arrived, in seconds.
    pub arrivals: Vec<f64>,
    /// When the last step ended, in seconds.
    pub makespan: f64,
    /// Steps executed.
    pub steps: usize,
    /// Tokens computed, padding included.
    pub computed_tokens: usize,
    /// Tokens computed that belong to no request.
    pub padded_tokens: usize,
    /// Sequences that had to be recomputed.
    pub preemptions: u64,
}

impl Report {
    pub(super) fn new(requests: &[Request]) -> Self {
        Self {
            emitted: vec![Vec::new(); requests.len()],
            arrivals: requests.iter().map(|request| request.arrival).collect(),
            ..Self::default()
        }
    }

    /// Spends the time of a step.
    pub(super) fn step(&mut self, cost: &CostModel, tokens: usize, padding: usize) {
        self.makespan += cost.step(tokens + padding);
        self.steps += 1;
        self.computed_tokens += tokens + padding;
        self.padded_tokens += padding;
    }

    /// Notes that a request got a token now.
    pub(super) fn emit(&mut self, request: usize) {
        self.emitted[request].push(self.makespan);
    }

    /// Lets time pass until `time`, if it is not there yet.
    pub(super) fn wait_until(&mut self, time: f64) {
        self.makespan = self.makespan.max(time);
    }

    /// Generated tokens a second over the whole run.
    pub fn throughput(&self) -> f64 {
        self.emitted.iter().map(Vec::len).sum::<usize>() as f64 / self.makespan
    }

    /// Padding in all that was computed, from 0 to 1.
    pub fn padding_waste(&self) -> f64 {
        self.padded_tokens as f64 / self.computed_tokens.max(1) as f64
    }

    /// From a request's arrival to its first token.
    pub fn time_to_first_token(&self) -> Percentiles {
        let firsts = self.emitted.iter().zip(&self.arrivals);
        Percentiles::of(
            firsts
                .filter_map(|(times, arrival)| Some(times.first()? - arrival))
                .collect(),
        )
    }

    /// From one token of a request to its next.
    pub fn token_latency(&self) -> Percentiles {
        Percentiles::of(self.gaps().collect())
    }

    /// The longest time that a request waited for a token after its first.
    pub fn longest_gap(&self) -> f64 {
        self.gaps().fold(0.0, f64::max)
    }

    fn gaps(&self) -> impl Iterator<Item = f64> + '_ {
        self.emitted
            .iter()
            .flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0]))
    }
}
