//! The drawings of the chapter, made from runs of the model: which lines of `b` a product asks for, and which of them are there.

use benches::trace::{Cell, Grid, check};
use memory_hierarchy::cache_model::{CacheModel, Order};

/// Rows and columns of the matrices.
const SIZE: usize = 8;
/// Elements of a line, and lines of a row of `b`.
const LINE: usize = 4;
const LINES: usize = SIZE / LINE;
/// Multiplications that are drawn.
const STEPS: usize = 24;

/// The first steps of a product: a row a line of `b`, a column a step. The cache has room for six lines and sees `b` alone.
fn draw(order: Order, title: &str) -> (Grid, usize) {
    let mut cache = CacheModel::new(1, 6, LINE);
    let mut cells = vec![vec![None; STEPS]; SIZE * LINES];
    let mut at = 0;
    order.walk(SIZE, |_, j, l| {
        if at < STEPS {
            let place = l * SIZE + j;
            let class = usize::from(cache.touch(place));
            cells[place / LINE][at] = Cell::new(class, j);
            at += 1;
        }
    });
    let grid = Grid {
        title: title.to_owned(),
        row_axis: "line of b".to_owned(),
        column_axis: "multiplication".to_owned(),
        rows: (0..SIZE * LINES)
            .map(|line| format!("row {} {}", line / LINES, ["left", "right"][line % LINES]))
            .collect(),
        columns: (1..=STEPS).map(|step| step.to_string()).collect(),
        legend: ["fetched", "found in the cache"]
            .map(str::to_owned)
            .to_vec(),
        cells,
    };
    (grid, cache.fetched)
}

#[test]
fn lines_by_columns() {
    let (grid, fetched) = draw(
        Order::Columns,
        "Down the columns of b: every multiplication fetches a line (the number is the column)",
    );
    assert_eq!(fetched, STEPS);
    check("01-columns", &grid);
}

#[test]
fn lines_by_rows() {
    let (grid, fetched) = draw(
        Order::Rows,
        "Along the rows of b: a line is fetched once and used whole (the number is the column)",
    );
    assert_eq!(fetched, STEPS / LINE);
    check("01-rows", &grid);
}
