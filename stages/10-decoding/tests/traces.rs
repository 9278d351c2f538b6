//! The drawing of the chapter: which tokens of one distribution each truncation leaves, found by drawing.

mod common;

use benches::trace::{Cell, Grid, check};
use common::Case;
use decoding::SamplingParams;

/// Logits of twenty tokens, falling: a likely few and a tail.
fn logits() -> Vec<f32> {
    (0..20)
        .map(|token| 4.0 - 1.2 * (token as f32).sqrt() - 0.12 * token as f32)
        .collect()
}

#[test]
fn what_each_truncation_leaves() {
    let plain = SamplingParams {
        seed: 1,
        ..SamplingParams::default()
    };
    let settings: [(&str, SamplingParams); 9] = [
        ("plain", plain.clone()),
        (
            "top-k 5",
            SamplingParams {
                top_k: 5,
                ..plain.clone()
            },
        ),
        (
            "top-p 0.9",
            SamplingParams {
                top_p: 0.9,
                ..plain.clone()
            },
        ),
        (
            "min-p 0.1",
            SamplingParams {
                min_p: 0.1,
                ..plain.clone()
            },
        ),
        (
            "hot",
            SamplingParams {
                temperature: 1.8,
                ..plain.clone()
            },
        ),
        (
            "hot, top-k 5",
            SamplingParams {
                temperature: 1.8,
                top_k: 5,
                ..plain.clone()
            },
        ),
        (
            "hot, top-p 0.9",
            SamplingParams {
                temperature: 1.8,
                top_p: 0.9,
                ..plain.clone()
            },
        ),
        (
            "hot, min-p 0.1",
            SamplingParams {
                temperature: 1.8,
                min_p: 0.1,
                ..plain.clone()
            },
        ),
        (
            "cold, top-p 0.9",
            SamplingParams {
                temperature: 0.4,
                top_p: 0.9,
                ..plain
            },
        ),
    ];
    let mut cells = Vec::new();
    for (name, params) in &settings {
        let case = Case::new(logits(), params.clone());
        let exact = case.exact();
        // Drawn often enough that no surviving token stays unseen.
        let counts = case.counts(50_000);
        let row = exact.iter().zip(&counts).map(|(p, count)| {
            assert_eq!(
                *p > 0.0,
                *count > 0,
                "{name}: what survives is what is drawn"
            );
            let percent = (100.0 * p).round();
            let text = if percent >= 1.0 {
                format!("{percent}")
            } else {
                String::new()
            };
            if *p > 0.0 {
                Cell::new(0, text)
            } else {
                Cell::new(1, "")
            }
        });
        cells.push(row.collect());
    }
    let grid = Grid {
        title: "Twenty tokens, the likeliest first, under nine settings; a cell has the percentage with which its token is drawn".to_owned(),
        row_axis: "setting".to_owned(),
        column_axis: "token".to_owned(),
        rows: settings.iter().map(|(name, _)| (*name).to_owned()).collect(),
        columns: (0..20).map(|token| token.to_string()).collect(),
        legend: ["can be drawn", "cut off"].map(str::to_owned).to_vec(),
        cells,
    };
    check("10-truncation", &grid);
}
