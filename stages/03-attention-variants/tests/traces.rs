//! The drawings of the chapter, from real attention: which keys each query reads, found by giving every key a value of its own.

use attention_variants::variants::{HeadShape, KvCache, Visibility, attention, decode, prefill};
use benches::trace::{Cell, Grid, check};

const LEN: usize = 12;

/// The weights with which queries `first..first + queries` read `LEN` keys: with one-hot values, the output is the weights.
fn weights(first: usize, queries: usize, visibility: Visibility) -> Vec<Vec<f32>> {
    let one_hot: Vec<f32> = (0..LEN * LEN)
        .map(|at| if at / LEN == at % LEN { 1.0 } else { 0.0 })
        .collect();
    let (q, k) = (vec![0.5; queries * 2], vec![0.25; LEN * 2]);
    let mut out = vec![f32::NAN; queries * LEN];
    attention(&mut out, &q, &k, &one_hot, 2, 1.0, first, visibility);
    out.chunks(LEN).map(<[f32]>::to_vec).collect()
}

fn cells(weights: &[Vec<f32>], class: usize) -> Vec<Vec<Option<Cell>>> {
    let cell = |weight: &f32| {
        if *weight > 0.0 {
            Cell::new(class, "")
        } else {
            None
        }
    };
    weights
        .iter()
        .map(|row| row.iter().map(cell).collect())
        .collect()
}

/// Three masks side by side, an empty column between them.
#[test]
fn masks() {
    let causal = cells(&weights(0, LEN, Visibility::Causal), 0);
    let window = cells(&weights(0, LEN, Visibility::SlidingWindow(4)), 1);
    // A chunk in the middle of a prompt: queries 4 to 7 of twelve positions, of which the last four are not there yet.
    let chunk = weights(4, 4, Visibility::Causal);
    let mut chunks = vec![vec![None; LEN]; LEN];
    for (row, weights) in chunk.iter().enumerate() {
        chunks[4 + row] = cells(std::slice::from_ref(weights), 2).remove(0);
    }
    let rows: Vec<Vec<_>> = (0..LEN)
        .map(|row| {
            let gap = || vec![None];
            [
                causal[row].clone(),
                gap(),
                window[row].clone(),
                gap(),
                chunks[row].clone(),
            ]
            .concat()
        })
        .collect();
    // What was computed is what the definition says.
    for (row, cells) in causal.iter().enumerate() {
        assert_eq!(cells.iter().flatten().count(), row + 1);
    }
    let label = |column: usize| {
        if column % (LEN + 1) == LEN {
            String::new()
        } else {
            (column % (LEN + 1)).to_string()
        }
    };
    let grid = Grid {
        title: "Which keys (columns) each query (rows) reads: causal, with a window of four, and a chunk of queries 4 to 7".to_owned(),
        row_axis: "query".to_owned(),
        column_axis: "key".to_owned(),
        rows: (0..LEN).map(|row| row.to_string()).collect(),
        columns: (0..rows[0].len()).map(label).collect(),
        legend: ["causal", "window of 4", "chunk"].map(str::to_owned).to_vec(),
        cells: rows,
    };
    check("03-masks", &grid);
}

/// What a prompt in two chunks and three decoded tokens read from the cache, compute, and leave in it.
#[test]
fn cache_over_steps() {
    let shape = HeadShape {
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
    };
    let mut cache = KvCache::default();
    let mut columns = Vec::new();
    for new in [5, 4, 1, 1, 1] {
        let before = cache.len(shape);
        let (q, kv) = (vec![0.5; new * 2], vec![0.25; new * 2]);
        let mut out = vec![f32::NAN; new * 2];
        if new == 1 {
            decode(&mut out, &q, &kv, &kv, &mut cache, shape, None);
        } else {
            prefill(
                &mut out,
                &q,
                &kv,
                &kv,
                &mut cache,
                shape,
                Visibility::Causal,
            );
        }
        assert!(out.iter().all(|x| x.is_finite()) && cache.len(shape) == before + new);
        let cell = |position: usize| match position {
            _ if position < before => Cell::new(0, "r"),
            _ if position < before + new => Cell::new(1, "w"),
            _ => None,
        };
        columns.push((0..LEN).map(cell).collect::<Vec<_>>());
    }
    let grid = Grid {
        title: "Five steps of one sequence: a prompt of nine in two chunks, then three tokens; each step writes its own positions and reads all before".to_owned(),
        row_axis: "position".to_owned(),
        column_axis: "step".to_owned(),
        rows: (0..LEN).map(|row| row.to_string()).collect(),
        columns: (1..=columns.len()).map(|step| step.to_string()).collect(),
        legend: ["read from the cache", "computed, written"].map(str::to_owned).to_vec(),
        cells: (0..LEN).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect(),
    };
    check("03-cache", &grid);
}
