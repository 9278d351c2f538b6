//! Traces: what a run did, step by step, as data that the book draws.
//!
//! A test makes the trace from the real code and holds it to the committed file, so a drawing in the book shows what the code does
//! now, not what it did once.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A table of coloured cells: blocks over steps, sequences over steps, queries over keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// What is to be seen, in one sentence; also the text for those who cannot see it.
    pub title: String,
    /// What the rows are.
    pub row_axis: String,
    /// What the columns are.
    pub column_axis: String,
    /// A label a row.
    pub rows: Vec<String>,
    /// A label a column.
    pub columns: Vec<String>,
    /// What the colours mean; at most eight.
    pub legend: Vec<String>,
    /// `[rows][columns]`; an empty cell is `None`.
    pub cells: Vec<Vec<Option<Cell>>>,
}

/// One cell of a [`Grid`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Index in the legend.
    pub class: usize,
    /// A few characters to stand in the cell, or none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl Cell {
    /// A cell of colour `class` with `text` in it.
    pub fn new(class: usize, text: impl ToString) -> Option<Self> {
        Some(Self {
            class,
            text: text.to_string(),
        })
    }
}

/// Where the trace of that name lies in the checkout at `root`.
pub fn path(root: &Path, name: &str) -> PathBuf {
    root.join("book/traces").join(format!("{name}.json"))
}

/// Holds `grid` to the committed trace `name`. With the environment variable `UPDATE_TRACES` set, writes it instead.
///
/// # Panics
/// If the trace is not as it was committed, or its cells do not fit its rows, columns and legend.
pub fn check(name: &str, grid: &Grid) {
    assert_eq!(
        grid.cells.len(),
        grid.rows.len(),
        "{name}: a row of cells for each row"
    );
    for row in &grid.cells {
        assert_eq!(
            row.len(),
            grid.columns.len(),
            "{name}: a cell for each column"
        );
        assert!(
            row.iter()
                .flatten()
                .all(|cell| cell.class < grid.legend.len()),
            "{name}: a class outside the legend"
        );
    }
    let path = path(&crate::checkout(), name);
    if std::env::var_os("UPDATE_TRACES").is_some() {
        let text = serde_json::to_string(grid).expect("a grid is plain data") + "\n";
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let committed: Grid =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        committed == *grid,
        "the run is not what {} shows: look, then run again with UPDATE_TRACES=1",
        path.display()
    );
}
