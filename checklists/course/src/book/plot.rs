//! Plots of records: each series `LABEL/X` is a point, each label a line. Drawn as SVG in the page's own text colour, so that it reads in
//! light and dark.

use super::Context;
use super::figures::caption;
use crate::error::{Error, Result};
use benches::{Quantity, Record};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use std::ops::Range;

/// Middle tones that stand out from white and from navy.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x2f, 0x81, 0xc9),
    RGBColor(0xd9, 0x6b, 0x1c),
    RGBColor(0x2f, 0x9e, 0x6b),
    RGBColor(0xb0, 0x5f, 0xc4),
    RGBColor(0xc7, 0x4a, 0x5a),
    RGBColor(0x8a, 0x85, 0x3a),
];

/// A line through measured points.
struct Line {
    label: String,
    points: Vec<(f64, f64)>,
}

/// A plot a unit, of the lines of these labels, or of all.
pub(super) fn plot(context: &Context<'_>, record: &str, labels: &str) -> Result<String> {
    let record = context.record(record)?;
    let labels: Vec<_> = labels.split_whitespace().collect();
    if let Some(label) = labels.iter().find(|label| !has_line(&record, label)) {
        return Err(Error(format!("the record has no line {label}")));
    }
    let mut plots = String::new();
    for unit in units(&record) {
        let mut lines = lines(&record, &unit);
        lines.retain(|line| labels.is_empty() || labels.contains(&line.label.as_str()));
        if lines.iter().any(|line| line.points.len() > 1) {
            plots += &draw(&lines, &unit)?;
        }
    }
    if plots.is_empty() {
        return Err(Error::new(
            "no series of the record is a point LABEL/NUMBER of a line",
        ));
    }
    Ok(format!(
        "<figure class=\"plot\">\n{plots}</figure>\n\n{}\n",
        caption(context, &record)
    ))
}

fn has_line(record: &Record, label: &str) -> bool {
    let mut series = record.series.iter();
    series.any(|series| {
        series
            .name
            .rsplit_once('/')
            .is_some_and(|(own, _)| own == label)
    })
}

fn units(record: &Record) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    for series in &record.series {
        if !units.contains(&series.unit) {
            units.push(series.unit.clone());
        }
    }
    units
}

fn lines(record: &Record, unit: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for series in record.series.iter().filter(|series| series.unit == unit) {
        let Some((label, x)) = series.name.rsplit_once('/') else {
            continue;
        };
        let Ok(x) = x.parse() else { continue };
        let point = (x, series.median());
        match lines.iter_mut().find(|line| line.label == label) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                label: label.to_owned(),
                points: vec![point],
            }),
        }
    }
    lines.retain(|line| line.points.len() > 1);
    lines
}

fn draw(lines: &[Line], unit: &str) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let bounds = |pick: fn(&(f64, f64)) -> f64| {
        points().map(pick).fold(f64::INFINITY..0.0, |range, value| {
            range.start.min(value)..f64::max(range.end, value)
        })
    };
    let (x, y) = (bounds(|point| point.0), bounds(|point| point.1));
    let (mut x, y) = (Axis::new(x), Axis::new(y));
    // Where something was measured is what a reader wants to read off.
    x.labels = points().map(|point| point.0).collect();
    x.labels.sort_by(f64::total_cmp);
    x.labels.dedup();
    let mut svg = String::new();
    render(&mut svg, lines, unit, &x, &y).map_err(Error::new)?;
    // Plotters writes text and axes in black; the page's own colour reads on any background.
    let svg = svg.replace("#000000", "currentColor");
    let svg = svg.replacen("<svg ", "<svg class=\"drawn\" role=\"img\" ", 1);
    // A blank line would end the HTML block in Markdown.
    Ok(svg
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join("\n")
        + "\n")
}

fn render(
    svg: &mut String,
    lines: &[Line],
    unit: &str,
    x: &Axis,
    y: &Axis,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (720, 340)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(78)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let show = |value: &f64| {
        Quantity {
            value: *value,
            unit: unit.to_owned(),
        }
        .to_string()
    };
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    let plain = |value: &f64| {
        Quantity {
            value: *value,
            unit: String::new(),
        }
        .to_string()
    };
    chart
        .configure_mesh()
        .bold_line_style(RGBColor(0x80, 0x80, 0x80).mix(0.25))
        .light_line_style(TRANSPARENT)
        .axis_style(RGBColor(0x80, 0x80, 0x80))
        .label_style(text(13))
        .x_label_formatter(&plain)
        .y_label_formatter(&show)
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let series = chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        let sample = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style);
        series.label(line.label.replace('-', " ")).legend(sample);
        chart.draw_series(
            line.points
                .iter()
                .map(|&point| Circle::new(point, 3, colour.filled())),
        )?;
    }
    if lines.len() > 1 || !lines[0].label.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(text(13))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

/// An axis that is logarithmic where its values span more than a factor of twenty, and from zero otherwise.
#[derive(Clone)]
struct Axis {
    range: Range<f64>,
    logarithmic: bool,
    /// Where its labels stand; chosen by the axis if there are none.
    labels: Vec<f64>,
}

impl Axis {
    fn new(range: Range<f64>) -> Self {
        let logarithmic = range.start > 0.0 && range.end / range.start > 20.0;
        let range = if logarithmic {
            range.start * 0.8..range.end * 2.0
        } else {
            0.0..range.end * 1.2
        };
        Self {
            range,
            logarithmic,
            labels: Vec::new(),
        }
    }

    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let (low, high) = (scale(self.range.start), scale(self.range.end));
        (scale(value) - low) / (high - low)
    }

    /// Round numbers, one, two and five times the powers of ten; on a logarithmic axis all of them, or the powers alone where these are many.
    fn round_numbers(&self, most: usize) -> Vec<f64> {
        let range = &self.range;
        if self.logarithmic {
            let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
            let factors: &[f64] = if decades.clone().count() > 4 {
                &[1.0]
            } else {
                &[1.0, 2.0, 5.0]
            };
            let points = decades.flat_map(|decade| {
                factors
                    .iter()
                    .map(move |factor| factor * 10f64.powi(decade))
            });
            return points.filter(|point| range.contains(point)).collect();
        }
        let rough = range.end / most as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
        let step = steps
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let points = (0..).map(|index| step * f64::from(index));
        points.take_while(|point| *point <= range.end).collect()
    }
}

impl Ranged for Axis {
    type ValueType = f64;
    type FormatOption = DefaultFormatting;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (f64::from(limit.1 - limit.0) * self.place(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if self.labels.is_empty() {
            self.round_numbers(hint.max_num_points().clamp(2, 8))
        } else {
            self.labels.clone()
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}
