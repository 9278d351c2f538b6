//! Contenders take turns, so that a change of the clock, or a neighbour on the machine, meets them all.
#![allow(dead_code)]

use benches::Bench;
use memory_hierarchy::probe::fastest;
use std::time::Duration;

/// One that is measured: its name, and what takes a sample of its rate, in 10^9 units of work a second.
pub struct Contender<'a> {
    pub name: String,
    pub sample: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contender<'a> {
    /// One whose `run` does `work` units; a sample is the best of three.
    pub fn new(name: impl Into<String>, work: f64, mut run: impl FnMut() + 'a) -> Self {
        Self::sampled(name, move || work / fastest(Duration::ZERO, &mut run))
    }

    /// One that measures itself.
    pub fn sampled(name: impl Into<String>, sample: impl FnMut() -> f64 + 'a) -> Self {
        Self {
            name: name.into(),
            sample: Box::new(sample),
        }
    }
}

/// Lets all in turn take a sample, `rounds` times; a round before warms up and does not count. Pushes the rates into the record and returns
/// them by contender.
pub fn take_turns(
    bench: &mut Bench,
    unit: &str,
    mut contenders: Vec<Contender<'_>>,
    rounds: usize,
) -> Vec<(String, Vec<f64>)> {
    let mut rates = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
            let rate = (contender.sample)();
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let names = contenders.into_iter().map(|it| it.name);
    let rates: Vec<_> = names.zip(rates).collect();
    for (name, rates) in &rates {
        push(bench, name, unit, rates.clone());
    }
    rates
}

/// Adds the ratio of two contenders, round by round, if both took part.
pub fn push_ratio(bench: &mut Bench, name: &str, rates: &[(String, Vec<f64>)], of: &str, to: &str) {
    let rate = |name: &str| rates.iter().find(|it| it.0 == name).map(|it| &it.1);
    if let (Some(of), Some(to)) = (rate(of), rate(to)) {
        let ratios = of.iter().zip(to).map(|(of, to)| of / to).collect();
        push(bench, name, "ratio", ratios);
    }
}

/// Adds a series, and prints its median.
pub fn push(bench: &mut Bench, name: &str, unit: &str, samples: Vec<f64>) {
    let mut sorted = samples.clone();
    sorted.sort_by(f64::total_cmp);
    println!("{name:<32} {:>10.3} {unit}", sorted[sorted.len() / 2]);
    bench.push(name, unit, samples);
}
