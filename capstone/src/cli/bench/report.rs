//! What a load took: percentiles over requests and tokens.

use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// One request.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// From sending to each piece of the answer.
    pub pieces: Vec<Duration>,
    /// Tokens by the server's count.
    pub tokens: u64,
    /// From sending to the end.
    pub total: Duration,
    /// Why it failed.
    pub error: Option<String>,
}

impl Outcome {
    /// Takes one event of the stream.
    pub(super) fn note(&mut self, data: &str, at: Duration) -> Result<(), String> {
        let event: Value =
            serde_json::from_str(data).map_err(|error| format!("an event is not JSON: {error}"))?;
        if !event["error"].is_null() {
            return Err(event["error"].to_string());
        }
        // The event that says why an answer ended has no text, and is no token.
        if event["choices"][0]["text"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
        {
            self.pieces.push(at);
        }
        self.tokens = event["usage"]["completion_tokens"]
            .as_u64()
            .unwrap_or(self.tokens);
        Ok(())
    }
}

/// P50, P90 and P99, and the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
}

/// The smallest sample that at least `share` of all samples do not exceed (the nearest-rank percentile); 0 of none.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

impl Summary {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        // From 0.0, since the empty sum of floats is -0.0 and would print so.
        let sum = samples.iter().fold(0.0, |sum, sample| sum + sample);
        let mean = sum / samples.len().max(1) as f64;
        let at = |share| percentile(&samples, share);
        Self {
            mean,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
        }
    }
}

/// The figures of a run. Times are in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub failed: usize,
    finished: usize,
    seconds: f64,
    tokens: u64,
    first_token: Summary,
    between_tokens: Summary,
    whole: Summary,
}

impl Report {
    pub(super) fn new(outcomes: &[Outcome], elapsed: Duration) -> Self {
        let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
        let good: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.error.is_none())
            .collect();
        let first = good
            .iter()
            .filter_map(|outcome| outcome.pieces.first())
            .map(milliseconds)
            .collect();
        let between = good.iter().flat_map(|outcome| outcome.pieces.windows(2));
        let between = between
            .map(|pair| milliseconds(&(pair[1] - pair[0])))
            .collect();
        Self {
            failed: outcomes.len() - good.len(),
            finished: good.len(),
            seconds: elapsed.as_secs_f64(),
            tokens: good.iter().map(|outcome| outcome.tokens).sum(),
            first_token: Summary::of(first),
            between_tokens: Summary::of(between),
            whole: Summary::of(
                good.iter()
                    .map(|outcome| milliseconds(&outcome.total))
                    .collect(),
            ),
        }
    }

    fn rows(&self) -> [(&'static str, Summary); 3] {
        [
            ("time to first token", self.first_token),
            ("inter-token latency", self.between_tokens),
            ("whole request", self.whole),
        ]
    }

    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        let _ = writeln!(
            table,
            "{} requests in {:.2} s, {} failed: {:.2} requests/s, {:.1} output tokens/s\n",
            self.finished + self.failed,
            self.seconds,
            self.failed,
            self.finished as f64 / self.seconds,
            self.tokens as f64 / self.seconds
        );
        let _ = writeln!(
            table,
            "{:<20} {:>10} {:>10} {:>10} {:>10}",
            "milliseconds", "mean", "P50", "P90", "P99"
        );
        for (
            name,
            Summary {
                mean,
                p50,
                p90,
                p99,
            },
        ) in self.rows()
        {
            let _ = writeln!(
                table,
                "{name:<20} {mean:>10.2} {p50:>10.2} {p90:>10.2} {p99:>10.2}"
            );
        }
        table
    }

    pub(super) fn json(&self, outcomes: &[Outcome], model: &str) -> Value {
        let summary =
            |s: Summary| json!({"mean": s.mean, "p50": s.p50, "p90": s.p90, "p99": s.p99});
        let rows = self
            .rows()
            .map(|(name, row)| (format!("{} ms", name.replace(' ', "_")), summary(row)));
        let request = |outcome: &Outcome| {
            let pieces: Vec<f64> = outcome.pieces.iter().map(Duration::as_secs_f64).collect();
            json!({"seconds": outcome.total.as_secs_f64(), "tokens": outcome.tokens, "pieces": pieces, "error": outcome.error})
        };
        json!({
            "model": model,
            "seconds": self.seconds,
            "finished": self.finished,
            "failed": self.failed,
            "output_tokens_per_second": self.tokens as f64 / self.seconds,
            "summary": Value::Object(rows.into_iter().collect()),
            "requests": outcomes.iter().map(request).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Report, percentile};
    use std::time::Duration;

    /// By the definition: the first sample such that enough samples are not above it.
    fn naive(samples: &[f64], share: f64) -> f64 {
        let enough = |x: f64| {
            samples.iter().filter(|sample| **sample <= x).count() as f64
                >= share * samples.len() as f64
        };
        samples
            .iter()
            .copied()
            .filter(|x| enough(*x))
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn percentiles_follow_their_definition() {
        for len in 1..120 {
            let mut samples: Vec<f64> = (0..len).map(|i| f64::from(i * 37 % 101)).collect();
            samples.sort_by(f64::total_cmp);
            for share in [0.01, 0.5, 0.9, 0.99, 1.0] {
                assert_eq!(
                    percentile(&samples, share),
                    naive(&samples, share),
                    "{share} of {len}"
                );
            }
        }
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn failures_are_counted_and_not_averaged() {
        let times = |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let good = Outcome {
            pieces: times(&[10, 14, 20]),
            tokens: 3,
            total: Duration::from_millis(20),
            error: None,
        };
        let bad = Outcome {
            total: Duration::from_secs(9),
            error: Some("gone".into()),
            ..Outcome::default()
        };
        let report = Report::new(&[good, bad], Duration::from_secs(2));
        assert_eq!((report.failed, report.finished, report.tokens), (1, 1, 3));
        assert_eq!(
            (
                report.first_token.p50,
                report.between_tokens.p99,
                report.whole.mean
            ),
            (10.0, 6.0, 20.0)
        );
        assert!(
            report
                .table()
                .contains("1 failed: 0.50 requests/s, 1.5 output tokens/s"),
            "{}",
            report.table()
        );
    }

    #[test]
    fn a_run_without_success_prints_zeros() {
        let report = Report::new(&[], Duration::from_secs(1));
        assert!(!report.table().contains("-0"), "{}", report.table());
    }

    #[test]
    fn events_are_noted() {
        let mut outcome = Outcome::default();
        outcome
            .note(r#"{"choices": [{"text": "a"}]}"#, Duration::from_millis(1))
            .expect("a piece");
        outcome
            .note(
                r#"{"choices": [{"text": "", "finish_reason": "length"}]}"#,
                Duration::from_millis(2),
            )
            .expect("the end");
        outcome
            .note(
                r#"{"choices": [], "usage": {"completion_tokens": 7}}"#,
                Duration::ZERO,
            )
            .expect("the usage");
        assert_eq!((outcome.pieces.len(), outcome.tokens), (1, 7));
        assert!(
            outcome
                .note(r#"{"error": {"message": "no"}}"#, Duration::ZERO)
                .is_err()
        );
        assert!(outcome.note("nonsense", Duration::ZERO).is_err());
    }
}
