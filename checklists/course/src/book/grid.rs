//! Traces as drawings: one coloured cell a step. Colours come from the page's style sheet, so that they suit light and dark.

use super::Context;
use super::links::escape;
use crate::error::{Error, Result, read};
use benches::trace::{Grid, path};
use std::fmt::Write as _;

const CELL: usize = 22;
const LINE: usize = 20;

pub(super) fn trace(context: &Context<'_>, name: &str) -> Result<String> {
    let path = path(&context.workspace.root, name);
    let grid: Grid =
        serde_json::from_str(&read(&path)?).map_err(|error| Error::at(&path, error))?;
    Ok(draw(&grid))
}

fn draw(grid: &Grid) -> String {
    // Seven pixels a letter is wide enough for the font that the style sheet sets.
    let letters = |labels: &[String]| {
        labels
            .iter()
            .map(|label| label.chars().count())
            .max()
            .unwrap_or(0)
    };
    let row_axis = grid.row_axis.chars().count() + 2;
    let left = 14 + 7 * letters(&grid.rows).max(row_axis);
    let top = 2 * LINE + 4;
    let per_row = ((grid.columns.len() * CELL + left).max(420) / 150).max(1);
    let width = (left + grid.columns.len() * CELL + 8).max(left + 320);
    let legend_rows = grid.legend.len().div_ceil(per_row);
    let bottom = top + grid.rows.len() * CELL;
    let height = bottom + 12 + legend_rows * LINE + 4;
    let mut svg = format!(
        "<figure class=\"trace\"><svg class=\"drawn grid\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&grid.title)
    );
    let mut text = |x: usize, y: usize, anchor: &str, words: &str| {
        writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
            escape(words)
        )
        .expect("a string takes all");
    };
    text(left, 14, "start", &format!("{} →", grid.column_axis));
    text(4, 14 + LINE, "start", &format!("{} ↓", grid.row_axis));
    // Long labels would run into one another; then only every few are shown.
    let every = (7 * letters(&grid.columns) + 4).div_ceil(CELL).max(1);
    for (index, label) in grid.columns.iter().enumerate().step_by(every) {
        text(left + index * CELL + CELL / 2, 14 + LINE, "middle", label);
    }
    for (index, label) in grid.rows.iter().enumerate() {
        text(left - 6, top + index * CELL + CELL - 7, "end", label);
    }
    for (row, cells) in grid.cells.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let (x, y) = (left + column * CELL, top + row * CELL);
            let class = cell
                .as_ref()
                .map_or("none".to_owned(), |cell| format!("c{}", cell.class));
            writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\"/>",
                CELL - 1,
                CELL - 1
            )
            .expect("a string takes all");
            if let Some(cell) = cell.as_ref().filter(|cell| !cell.text.is_empty()) {
                writeln!(
                    svg,
                    "<text class=\"cell\" x=\"{}\" y=\"{}\">{}</text>",
                    x + CELL / 2,
                    y + CELL - 7,
                    escape(&cell.text)
                )
                .expect("a string takes all");
            }
        }
    }
    for (index, meaning) in grid.legend.iter().enumerate() {
        let (x, y) = (
            4 + index % per_row * 150,
            bottom + 12 + index / per_row * LINE,
        );
        writeln!(svg, "<rect class=\"c{index}\" x=\"{x}\" y=\"{y}\" width=\"14\" height=\"14\"/><text x=\"{}\" y=\"{}\">{}</text>", x + 20, y + 12, escape(meaning)).expect("a string takes all");
    }
    format!(
        "{svg}</svg><figcaption>{}</figcaption></figure>\n",
        escape(&grid.title)
    )
}
