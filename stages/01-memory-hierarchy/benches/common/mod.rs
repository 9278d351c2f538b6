//! Contenders take turns, so that a change of the clock, or a neighbour on the machine, meets them all.
#![allow(dead_code)]

use benches::Bench;
use memory_hierarchy::simd::{Isa, Kernel, Simd};
use std::hint::black_box;
use std::time::Instant;

/// One that is timed: its name, its work in units of 10^9 a ns, and a run of it.
pub struct Contender<'a> {
    pub name: String,
    pub work: f64,
    pub run: Box<dyn FnMut() + 'a>,
}

impl<'a> Contender<'a> {
    pub fn new(name: impl Into<String>, work: f64, run: impl FnMut() + 'a) -> Self {
        Self {
            name: name.into(),
            work,
            run: Box::new(run),
        }
    }
}

/// Lets all run in turn, `rounds` times, the best of `tries` each; the first round warms up and does not count. Returns work a ns, by
/// contender and round.
pub fn take_turns(contenders: &mut [Contender<'_>], rounds: usize, tries: usize) -> Vec<Vec<f64>> {
    let (rounds, tries) = if std::env::args().any(|arg| arg == "--test") {
        (1, 1)
    } else {
        (rounds, tries)
    };
    let mut rates = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
            let time = |_| {
                let start = Instant::now();
                (contender.run)();
                start.elapsed().as_secs_f64() * 1e9
            };
            let best = (0..tries).map(time).fold(f64::MAX, f64::min);
            if round > 0 {
                rates.push(contender.work / best);
            }
        }
    }
    rates
}

/// Adds the rates to the record, and prints their medians.
pub fn push(bench: &mut Bench, unit: &str, contenders: &[Contender<'_>], rates: &[Vec<f64>]) {
    for (contender, rates) in contenders.iter().zip(rates) {
        push_one(bench, &contender.name, unit, rates.clone());
    }
}

/// Adds a ratio, round by round.
pub fn push_ratio(bench: &mut Bench, name: &str, of: &[f64], to: &[f64]) {
    let ratios = of.iter().zip(to).map(|(of, to)| of / to).collect();
    push_one(bench, name, "ratio", ratios);
}

pub fn push_one(bench: &mut Bench, name: &str, unit: &str, samples: Vec<f64>) {
    println!("{name:40} {:10.3} {unit}", median(&samples));
    bench.push(name, unit, samples);
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Multiply-adds on registers alone.
pub struct Peak(pub usize);

/// Sums under way: three times as many as an FMA has cycles of latency.
pub const CHAINS: usize = 12;

impl Kernel for Peak {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `Isa::run` chose S; no memory is touched.
        unsafe {
            let (b, c) = (S::splat(black_box(0.5)), S::splat(black_box(0.25)));
            let mut sums = [S::splat(black_box(1.0)); CHAINS];
            for _ in 0..self.0 {
                for sum in &mut sums {
                    *sum = Simd::mul_add(*sum, b, c);
                }
            }
            for sum in sums {
                black_box(sum.sum());
            }
        }
    }
}

/// Reads a part of memory as `STREAMS` streams, which must divide it.
pub struct Read<'a, const STREAMS: usize>(pub &'a [f32]);

impl<const STREAMS: usize> Kernel for Read<'_, STREAMS> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let len = self.0.len() / STREAMS;
        // SAFETY: `Isa::run` chose S; streams of whole steps lie inside the slice.
        unsafe {
            let mut sums = [[S::splat(0.0); 2]; STREAMS];
            for at in (0..len).step_by(2 * S::LANES) {
                for (stream, sums) in sums.iter_mut().enumerate() {
                    for (half, sum) in sums.iter_mut().enumerate() {
                        let from = self.0.as_ptr().add(stream * len + at + half * S::LANES);
                        *sum = Simd::add(*sum, Simd::load(from));
                    }
                }
            }
            for sum in sums.as_flattened() {
                black_box(sum.sum());
            }
        }
    }
}

/// GFLOP/s-work of `steps` of [`Peak`].
pub fn peak_work(isa: Isa, steps: usize) -> f64 {
    2.0 * (steps * CHAINS * isa.lanes()) as f64
}
