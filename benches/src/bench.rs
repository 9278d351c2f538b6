//! A criterion run that becomes a record.
//!
//! Criterion warms up, chooses iteration counts and compares with the last run; it leaves all samples in its output folder, from
//! which they are taken over.

use crate::record::{Machine, Record, Series, Source};
use criterion::{Bencher, Criterion};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One bench target: measured series, and counted ones.
pub struct Bench {
    criterion: Criterion,
    record: Record,
}

/// What criterion keeps of a run: in the i-th sample, `iters[i]` iterations took `times[i]` ns together.
#[derive(Deserialize)]
struct Samples {
    iters: Vec<f64>,
    times: Vec<f64>,
}

impl Bench {
    /// A bench of `package` that writes the record `name`; `sources` are the files and folders, relative to the checkout, whose code
    /// is measured.
    pub fn new(package: &str, name: &str, title: &str, sources: &[&str]) -> Self {
        let sources: Vec<String> = sources.iter().map(|path| (*path).to_owned()).collect();
        let root = crate::checkout();
        let digest = crate::digest(&root, &sources).expect("the measured sources exist");
        let record = Record {
            name: name.to_owned(),
            title: title.to_owned(),
            command: format!("RECORD=1 cargo bench -p {package}"),
            date: today(),
            machine: Machine::here(),
            source: Source::of(&root, &sources, digest),
            tests_passed: Vec::new(),
            series: Vec::new(),
        };
        // Twenty samples of a tenth of a second: a record in a minute, steady enough for ratios.
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(std::time::Duration::from_millis(300))
            .measurement_time(std::time::Duration::from_secs(2))
            .without_plots();
        Self {
            criterion: criterion.configure_from_args(),
            record,
        }
    }

    /// Measures `routine`, whose every iteration does `units` units of work (tokens, blocks); the series is ns for one unit.
    pub fn measure(&mut self, series: &str, units: usize, routine: impl FnMut(&mut Bencher)) {
        let mut group = self.criterion.benchmark_group(&self.record.name);
        group.bench_function(series, routine);
        group.finish();
        // Criterion keeps nothing when it only tests that benches run, or when a filter passes this one over.
        let Ok(samples) = std::fs::read_to_string(self.kept(series)) else {
            return;
        };
        let samples: Samples = serde_json::from_str(&samples).expect("criterion's own format");
        let per_unit = samples
            .iters
            .iter()
            .zip(&samples.times)
            .map(|(iters, times)| times / iters / units as f64);
        self.push(series, "ns", per_unit.collect());
    }

    /// Adds a quantity that is counted, not timed.
    pub fn count(&mut self, series: &str, unit: &str, value: f64) {
        self.push(series, unit, vec![value]);
    }

    /// Adds a series whose samples were taken elsewhere.
    pub fn push(&mut self, series: &str, unit: &str, samples: Vec<f64>) {
        self.record.series.push(Series {
            name: series.to_owned(),
            unit: unit.to_owned(),
            floor: None,
            samples,
        });
    }

    /// Prints criterion's summary and, if the environment variable `RECORD` is set, writes the record.
    pub fn finish(self) {
        self.criterion.final_summary();
        if std::env::var_os("RECORD").is_some() {
            let path = self
                .record
                .save(&crate::checkout())
                .expect("the record can be written");
            println!("wrote {}", path.display());
        }
    }

    /// Where criterion leaves the samples of a series. It writes `/` and other characters that no file name may have as `_`.
    fn kept(&self, series: &str) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| crate::checkout().join("target"), PathBuf::from);
        let safe =
            |name: &str| name.replace(['?', '"', '/', '\\', '*', '<', '>', ':', '|', '^'], "_");
        let group = target.join("criterion").join(safe(&self.record.name));
        group.join(safe(series)).join("new").join("sample.json")
    }
}

/// The date by the system's clock, or nothing if it has none.
pub(crate) fn today() -> String {
    let date = Command::new("date")
        .arg("+%Y-%m-%d")
        .current_dir(Path::new("/"))
        .output();
    date.map(|date| String::from_utf8_lossy(&date.stdout).trim().to_owned())
        .unwrap_or_default()
}
