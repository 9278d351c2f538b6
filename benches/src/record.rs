//! A record: what was measured, on what, with which sources, sample by sample.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One measurement as it is kept in `benches/records/NAME.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// File name without `.json`; begins with the number of its stage.
    pub name: String,
    /// What the record is of, as a heading of its table.
    pub title: String,
    /// The command that measures it again.
    pub command: String,
    /// Day of the measurement, as `YYYY-MM-DD`.
    pub date: String,
    /// Where it was measured.
    pub machine: Machine,
    /// What was measured.
    pub source: Source,
    /// Tests that ran and passed in the same run; how a test that needs a GPU shows that it ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests_passed: Vec<String>,
    /// The series, in the order in which tables show them.
    pub series: Vec<Series>,
}

/// The samples of one quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// A name without spaces. `LABEL/X` is the point `X` of the line `LABEL` in a plot.
    pub name: String,
    /// `ns` for times, which are shown in the unit that reads best; any other unit is shown as it is.
    pub unit: String,
    /// What the quantity cannot be better than, in its unit, worked out beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// All samples, in the order in which they were taken. A counted quantity has one.
    pub samples: Vec<f64>,
}

/// Where a record was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU or GPU by its own name.
    pub device: String,
    /// Logical CPU cores that the process could use.
    pub cores: usize,
    /// Operating system.
    pub os: String,
    /// Compiler, and driver where there is one.
    pub toolchain: String,
}

/// What a record measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Commit of the checkout.
    pub commit: String,
    /// Whether the measured files differed from that commit.
    pub dirty: bool,
    /// Files and folders whose code the figures depend on, relative to the checkout.
    pub paths: Vec<String>,
    /// Their [`digest`](crate::digest).
    pub digest: String,
}

/// A record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file is missing or unreadable.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is no record.
    #[error("{} is not a record: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        error: serde_json::Error,
    },
    /// The record contradicts itself.
    #[error("{}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Record {
    /// Where the record of that name lies in the checkout at `root`.
    pub fn path(root: &Path, name: &str) -> PathBuf {
        root.join("benches/records").join(format!("{name}.json"))
    }

    /// Reads a record and checks it.
    ///
    /// # Errors
    /// If the file is missing, is no record, or its samples cannot be right: none, not finite, negative, or better than the floor.
    pub fn load(root: &Path, name: &str) -> Result<Self, RecordError> {
        let path = Self::path(root, name);
        let text = std::fs::read_to_string(&path).map_err(|error| RecordError::Io {
            path: path.clone(),
            error,
        })?;
        let record: Self = serde_json::from_str(&text).map_err(|error| RecordError::Parse {
            path: path.clone(),
            error,
        })?;
        match record.fault(name) {
            Some(why) => Err(RecordError::Invalid { path, why }),
            None => Ok(record),
        }
    }

    /// Writes the record to its place under `root`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, root: &Path) -> Result<PathBuf, RecordError> {
        let path = Self::path(root, &self.name);
        let text = serde_json::to_string_pretty(self).expect("a record is plain data");
        let text = samples_in_a_line(&text);
        match std::fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(error) => Err(RecordError::Io { path, error }),
        }
    }

    /// The series of that name.
    pub fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// Whether the measured sources under `root` have changed since.
    pub fn is_stale(&self, root: &Path) -> bool {
        crate::digest(root, &self.source.paths).ok().as_deref() != Some(&self.source.digest)
    }

    fn fault(&self, name: &str) -> Option<String> {
        if self.name != name {
            return Some(format!("the record calls itself {:?}", self.name));
        }
        if self.series.is_empty() {
            return Some("there is no series".to_owned());
        }
        self.series.iter().find_map(|series| {
            let bad = |sample: &f64| !sample.is_finite() || *sample < 0.0;
            let name = &series.name;
            if series.samples.is_empty() || series.samples.iter().any(bad) {
                Some(format!("series {name} has no samples, or impossible ones"))
            } else if series.name.contains(char::is_whitespace) {
                Some(format!("series {name:?} has a space in its name"))
            } else if series.unit == "ns"
                && series.floor.is_some_and(|floor| series.median() < floor)
            {
                Some(format!(
                    "series {name} is faster than its floor: the measurement or the floor is wrong"
                ))
            } else {
                None
            }
        })
    }
}

/// Thousands of samples a line each would bury the rest of the record.
fn samples_in_a_line(pretty: &str) -> String {
    let mut text = String::new();
    let mut within = false;
    for line in pretty.lines() {
        within &= !line.trim_start().starts_with(']');
        text.push_str(if within { line.trim_start() } else { line });
        within |= line.ends_with("\"samples\": [");
        text.push_str(if within { "" } else { "\n" });
    }
    text
}

impl Series {
    /// The middle sample, or the mean of the two middle ones.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The sample below which the fraction `q` (0 to 1) of the samples lies, interpolated between neighbours.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let at = q * (sorted.len() - 1) as f64;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(samples: &[f64]) -> Series {
        Series {
            name: "one".to_owned(),
            unit: "ns".to_owned(),
            floor: None,
            samples: samples.to_vec(),
        }
    }

    #[test]
    fn samples_stand_in_one_line_and_read_back() {
        let one = series(&[1.5, 2.0, 3.25]);
        let pretty = serde_json::to_string_pretty(&one).unwrap();
        let text = samples_in_a_line(&pretty);
        assert!(text.contains("[1.5,2.0,3.25  ]"), "{text}");
        assert_eq!(serde_json::from_str::<Series>(&text).unwrap(), one);
    }

    #[test]
    fn quantiles_interpolate() {
        let four = series(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(four.median(), 2.5);
        assert_eq!(four.quantile(0.0), 1.0);
        assert_eq!(four.quantile(1.0), 4.0);
        assert_eq!(series(&[7.0]).quantile(0.9), 7.0);
    }
}
