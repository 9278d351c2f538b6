//! Weights with zeros left out: which to leave out, how the rest lies in memory, and products with it.
//!
//! - [`prune`]: which weights stay, as a mask. [`shrink`]: whole channels removed, so that what is left is dense.
//! - [`csr`], [`bitmap`], [`block`], [`two_four`]: four formats, from the freest pattern of zeros to the strictest.
//! - [`mod@multiply`]: `out = x weight^T` for a weight in any of them.
//!
//! # What to expect
//!
//! A dense weight of f32 is 4 bytes whatever its value. Where a product waits for memory (one row of `x`, a weight larger than the
//! caches) a format should win below the density at which it holds as many bytes as the dense weight:
//!
//! | format | bytes a weight at density `d` | equal at |
//! | --- | --- | --- |
//! | CSR | `8 d` | 1/2 |
//! | bitmap | `4 d + 1/8` | 31/32 |
//! | blocks of 16 x 1 | `4 d + d / 4` | 16/17 |
//! | 2:4 | 2 1/8 | (its density is 1/2: 17/32 of the bytes) |
//!
//! Where a product waits for arithmetic (the weight in a cache, or many rows) count instructions instead. Dense code does a vector
//! of 16 multiply-adds with one load of the weight. For one row CSR loads a column, a value and a number of `x` for a single
//! multiply-add, so that it should win only at a density of a tenth or less. The bitmap's work for 16 places is the same at every
//! density: it can save memory traffic and never arithmetic. Blocks run at the dense code's speed. With 16 rows the vector lies
//! across the rows, and every format fills it; but a multiply-add then takes two loads, the weight and its vector of `x`, where the
//! dense tile uses each load for several. Half of the weights gone, as in 2:4, is about what this costs; only blocks, whose 16 outputs
//! share the vector of `x`, are free of it.
//!
//! The record `02-sparse` holds what came of this.
//!
//! Each format is checked when it is made: its parts may come from a file, and the kernels read where the parts say.

pub mod bitmap;
pub mod block;
pub mod csr;
pub mod multiply;
pub mod prune;
pub mod shrink;
pub mod two_four;

pub use bitmap::Bitmap;
pub use block::Blocks;
pub use csr::Csr;
pub use multiply::{Weight, multiply};
pub use two_four::TwoFour;

/// Parts that make no weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A part has the wrong length.
    #[error("{part} has {found} elements; the weight's shape asks for {expected}")]
    Length {
        /// Which part.
        part: &'static str,
        /// What the shape and the other parts ask for.
        expected: usize,
        /// What it has.
        found: usize,
    },
    /// The starts do not begin at 0, fall, or do not end at the number of entries.
    #[error("the start of row {row} is out of order: starts rise from 0 to the number of entries")]
    Start {
        /// Which start; a row of blocks for a block format.
        row: usize,
    },
    /// A column lies outside the weight, or not after the one before it.
    #[error("row {row} has a column outside the weight, or columns that do not rise")]
    Column {
        /// Which row; a row of blocks for a block format.
        row: usize,
    },
    /// Two positions of a group of four do not rise, or bits past the last column are set.
    #[error("row {row} has positions that do not rise, or bits set past its last column")]
    Bits {
        /// Which row.
        row: usize,
    },
    /// The shape does not suit the format.
    #[error("{0}")]
    Shape(&'static str),
    /// A group of four has more than two numbers that are not zero.
    #[error("group {group} of row {row} has more than two non-zero weights: prune it to 2:4 first")]
    NotTwoOfFour {
        /// Which row.
        row: usize,
        /// Which four columns.
        group: usize,
    },
}

/// Errs unless a part has the length that the others ask for.
fn check_length(part: &'static str, found: usize, expected: usize) -> Result<(), FormatError> {
    if found == expected {
        return Ok(());
    }
    Err(FormatError::Length {
        part,
        expected,
        found,
    })
}

/// Checks what CSR and blocks share: `rows + 1` starts that rise from 0 to the number of columns, and in each row columns that rise
/// and stay below `limit`.
fn check_rows(
    starts: &[u32],
    columns: &[u32],
    rows: usize,
    limit: usize,
) -> Result<(), FormatError> {
    check_length("starts", starts.len(), rows + 1)?;
    if starts[0] != 0 {
        return Err(FormatError::Start { row: 0 });
    }
    for (row, pair) in starts.windows(2).enumerate() {
        let (start, end) = (pair[0] as usize, pair[1] as usize);
        if start > end || end > columns.len() {
            return Err(FormatError::Start { row: row + 1 });
        }
        let columns = &columns[start..end];
        let rise = columns.windows(2).all(|pair| pair[0] < pair[1]);
        if !rise || columns.last().is_some_and(|last| *last as usize >= limit) {
            return Err(FormatError::Column { row });
        }
    }
    if starts[rows] as usize != columns.len() {
        return Err(FormatError::Start { row: rows });
    }
    Ok(())
}

/// The number of entries so far as a start of 32 bits.
fn start(entries: usize) -> u32 {
    u32::try_from(entries).expect("fewer than 2^32 entries in a weight")
}
