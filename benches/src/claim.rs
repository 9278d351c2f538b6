//! Claims: what a record is said to show, as an expression over the medians of its series.

use crate::record::Record;
use std::fmt;

/// The value of an expression over a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    /// The number.
    pub value: f64,
    /// Its unit; empty for a ratio.
    pub unit: String,
}

/// `SERIES >= NUMBER` or `SERIES / SERIES >= NUMBER`; also `<=`, `>`, `<` and `==`.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    expression: String,
    relation: Relation,
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Relation {
    AtLeast,
    AtMost,
    More,
    Less,
    Equal,
}

/// A claim or expression cannot be read or evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// The text is no claim.
    #[error(
        "{0:?} is not a claim: write `SERIES >= NUMBER` or `SERIES / SERIES >= NUMBER`, with spaces between"
    )]
    Syntax(String),
    /// The record has no such series.
    #[error("record {record} has no series {series:?}")]
    UnknownSeries {
        /// Name of the record.
        record: String,
        /// Name that was asked for.
        series: String,
    },
    /// Quantities of different units were divided.
    #[error("{0:?} divides quantities of different units")]
    Units(String),
}

impl Quantity {
    /// `SERIES` or `SERIES / SERIES`, from the medians of `record`.
    ///
    /// # Errors
    /// If the expression is malformed or names a series that the record lacks.
    pub fn evaluate(record: &Record, expression: &str) -> Result<Self, ClaimError> {
        let median = |name: &str| {
            let series = record
                .series(name)
                .ok_or_else(|| ClaimError::UnknownSeries {
                    record: record.name.clone(),
                    series: name.to_owned(),
                });
            series.map(|series| Self {
                value: series.median(),
                unit: series.unit.clone(),
            })
        };
        match expression.split_whitespace().collect::<Vec<_>>()[..] {
            [name] => median(name),
            [above, "/", below] => {
                let (above, below) = (median(above)?, median(below)?);
                if above.unit != below.unit {
                    return Err(ClaimError::Units(expression.to_owned()));
                }
                Ok(Self {
                    value: above.value / below.value,
                    unit: String::new(),
                })
            }
            _ => Err(ClaimError::Syntax(expression.to_owned())),
        }
    }
}

impl fmt::Display for Quantity {
    /// Three significant digits; times in the unit that reads best.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (0.0, "ns")];
        let (value, unit) = if self.unit == "ns" {
            let (scale, unit) = times[times
                .iter()
                .position(|(from, _)| self.value >= *from)
                .unwrap_or(3)];
            (self.value / f64::max(scale, 1.0), unit)
        } else {
            (self.value, self.unit.as_str())
        };
        let text = significant(value);
        match unit {
            "" => write!(f, "{text}"),
            "%" => write!(f, "{text} %"),
            unit => write!(f, "{text} {unit}"),
        }
    }
}

/// Three significant digits, whole numbers whole, thousands parted.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        let digits = format!("{:.0}", value.abs());
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return if value < 0.0 {
            format!("-{grouped}")
        } else {
            grouped
        };
    }
    let decimals = (2 - value.abs().log10().floor() as i32).max(0) as usize;
    format!("{value:.decimals$}")
}

impl std::str::FromStr for Claim {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let syntax = || ClaimError::Syntax(text.to_owned());
        let words: Vec<_> = text.split_whitespace().collect();
        let [expression @ .., relation, bound] = &words[..] else {
            return Err(syntax());
        };
        let relation = match *relation {
            ">=" => Relation::AtLeast,
            "<=" => Relation::AtMost,
            ">" => Relation::More,
            "<" => Relation::Less,
            "==" => Relation::Equal,
            _ => return Err(syntax()),
        };
        if !matches!(expression, [_] | [_, "/", _]) {
            return Err(syntax());
        }
        Ok(Self {
            expression: expression.join(" "),
            relation,
            bound: bound.parse().map_err(|_| syntax())?,
        })
    }
}

impl Claim {
    /// Whether the record's samples bear the claim out, and the value that they give.
    ///
    /// # Errors
    /// If the claim names a series that the record lacks.
    pub fn holds(&self, record: &Record) -> Result<(bool, Quantity), ClaimError> {
        let quantity = Quantity::evaluate(record, &self.expression)?;
        let value = quantity.value;
        let holds = match self.relation {
            Relation::AtLeast => value >= self.bound,
            Relation::AtMost => value <= self.bound,
            Relation::More => value > self.bound,
            Relation::Less => value < self.bound,
            Relation::Equal => value == self.bound,
        };
        Ok((holds, quantity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Machine, Series, Source};

    fn record() -> Record {
        let series = |name: &str, unit: &str, samples: &[f64]| Series {
            name: name.to_owned(),
            unit: unit.to_owned(),
            floor: None,
            samples: samples.to_vec(),
        };
        Record {
            name: "r".to_owned(),
            title: String::new(),
            command: String::new(),
            date: String::new(),
            machine: Machine::here(),
            source: Source {
                commit: String::new(),
                dirty: false,
                paths: vec![],
                digest: String::new(),
            },
            tests_passed: vec![],
            series: vec![
                series("slow/8", "ns", &[30.0, 50.0, 40.0]),
                series("fast", "ns", &[20.0, 20.0, 90.0]),
                series("waste", "%", &[75.0]),
                series("none", "ns", &[0.0]),
            ],
        }
    }

    fn holds(claim: &str) -> Result<bool, ClaimError> {
        claim
            .parse::<Claim>()?
            .holds(&record())
            .map(|(holds, _)| holds)
    }

    #[test]
    fn claims_are_about_medians() {
        assert_eq!(holds("slow/8 / fast >= 2"), Ok(true));
        assert_eq!(holds("slow/8 / fast > 2"), Ok(false));
        assert_eq!(holds("slow/8 <= 39.9"), Ok(false));
        assert_eq!(holds("waste == 75"), Ok(true));
        assert_eq!(holds("waste < 75"), Ok(false));
        // 0/0 is not a number, and no claim about it holds.
        assert_eq!(holds("none / none >= 0"), Ok(false));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_a_no() {
        for text in [
            "",
            "fast",
            "fast 2",
            "fast => 2",
            "fast >= two",
            "a b >= 2",
            "fast / >= 2",
        ] {
            assert!(matches!(holds(text), Err(ClaimError::Syntax(_))), "{text}");
        }
        assert!(matches!(
            holds("gone >= 2"),
            Err(ClaimError::UnknownSeries { .. })
        ));
        assert!(matches!(
            holds("waste / fast >= 2"),
            Err(ClaimError::Units(_))
        ));
    }

    #[test]
    fn quantities_read_well() {
        let show = |value: f64, unit: &str| {
            Quantity {
                value,
                unit: unit.to_owned(),
            }
            .to_string()
        };
        assert_eq!(show(0.0, "ns"), "0 ns");
        assert_eq!(show(12.345, "ns"), "12.3 ns");
        assert_eq!(show(1234.5, "ns"), "1.23 µs");
        assert_eq!(show(22_345_678.0, "ns"), "22.3 ms");
        assert_eq!(show(2_500_000_000.0, "ns"), "2.50 s");
        assert_eq!(show(2.345, ""), "2.35");
        assert_eq!(show(74.84, "%"), "74.8 %");
        assert_eq!(show(12345.6, "tokens/s"), "12,346 tokens/s");
        assert_eq!(show(131_072.0, "bytes"), "131,072 bytes");
        assert_eq!(show(0.01234, ""), "0.0123");
    }
}
