//! Ways in which sparse wgmma might read metadata: the ISA's, and what it would be if one thing were otherwise. Where a GPU's results are not
//! those of the first, the one that fits says what to change.

use gemm::{Sparse24, metadata_words};
use half::bf16;

/// A way in which the instruction might read metadata: the thread and the lowest bit of the four bits for row `row` of 64 and the `four`th
/// four columns of 32, where the kernel gives selector `selector`; and whether the second position stands low.
pub struct Reading {
    pub name: &'static str,
    place: fn(row: usize, four: usize, selector: usize) -> (usize, usize),
    turned: bool,
}

fn quad(row: usize) -> usize {
    row / 16 * 32 + row % 8 * 4
}

/// The PTX ISA's reading first; then what it would be if one thing were otherwise.
pub const READINGS: &[Reading] = &[
    Reading {
        name: "as the ISA has it",
        place: |row, four, s| {
            (
                quad(row) + 2 * s + four / 4,
                row / 8 % 2 * 16 + four % 4 * 4,
            )
        },
        turned: false,
    },
    Reading {
        name: "selectors exchanged",
        place: |row, four, s| {
            (
                quad(row) + 2 - 2 * s + four / 4,
                row / 8 % 2 * 16 + four % 4 * 4,
            )
        },
        turned: false,
    },
    Reading {
        name: "always selector 0",
        place: |row, four, _| (quad(row) + four / 4, row / 8 % 2 * 16 + four % 4 * 4),
        turned: false,
    },
    Reading {
        name: "selector takes lanes s and s + 2",
        place: |row, four, s| {
            (
                quad(row) + s + four / 4 * 2,
                row / 8 % 2 * 16 + four % 4 * 4,
            )
        },
        turned: false,
    },
    Reading {
        name: "halves of a word exchanged: the row 8 further in bits 0 to 15",
        place: |row, four, s| {
            (
                quad(row) + 2 * s + four / 4,
                (1 - row / 8 % 2) * 16 + four % 4 * 4,
            )
        },
        turned: false,
    },
    Reading {
        name: "lanes exchanged: the first has columns 16 to 31",
        place: |row, four, s| {
            (
                quad(row) + 2 * s + 1 - four / 4,
                row / 8 % 2 * 16 + four % 4 * 4,
            )
        },
        turned: false,
    },
    Reading {
        name: "the lane says which row, the half of a word which 16 columns",
        place: |row, four, s| {
            (
                quad(row) + 2 * s + row / 8 % 2,
                four / 4 * 16 + four % 4 * 4,
            )
        },
        turned: false,
    },
    Reading {
        name: "fours from the highest bits down",
        place: |row, four, s| {
            (
                quad(row) + 2 * s + four / 4,
                row / 8 % 2 * 16 + 12 - four % 4 * 4,
            )
        },
        turned: false,
    },
    Reading {
        name: "the second position low",
        place: |row, four, s| {
            (
                quad(row) + 2 * s + four / 4,
                row / 8 % 2 * 16 + four % 4 * 4,
            )
        },
        turned: true,
    },
];

/// The weight at `row` and `column` that a reading makes of values and metadata.
pub fn read(
    reading: &Reading,
    weights: &Sparse24,
    metadata: &[u32],
    row: usize,
    column: usize,
) -> f64 {
    let units = metadata_words(64, weights.k) / 128;
    let (selector, four) = (column / 32 % 2, column % 32 / 4);
    let (thread, bit) = (reading.place)(row % 64, four, selector);
    let word = metadata[(row / 64 * units + column / 64) * 128 + thread];
    let pair = [word >> bit & 3, word >> bit >> 2 & 3];
    let pair = if reading.turned {
        [pair[1], pair[0]]
    } else {
        pair
    };
    let first = row * (weights.k / 2) + column / 4 * 2;
    let value = |i: usize| bf16::from_bits(weights.values[first + i]).to_f64();
    let stands = |i: &usize| pair[*i] as usize == column % 4;
    (0..2).filter(stands).map(value).sum()
}
