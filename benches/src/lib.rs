//! How WaveBoost measures.
//!
//! A [`Record`] holds everything that a figure in the book rests on: all samples, the machine, the command, and a digest of the
//! sources that were measured, so that a figure whose code has changed since is seen to be stale. A [`Claim`] is evaluated on a
//! record's samples, never on a number that somebody typed. [`Bench`] runs criterion and writes a record; a [`trace`] is what a run
//! did, for the book to draw.

mod bench;
mod claim;
mod digest;
pub mod gpu;
mod machine;
mod record;
pub mod trace;

pub use bench::Bench;
pub use claim::{Claim, ClaimError, Quantity};
pub use digest::digest;
pub use record::{Machine, Record, RecordError, Series, Source};

use std::path::{Path, PathBuf};

/// The root of the checkout that this crate was built from.
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the crate lies in the checkout")
        .to_path_buf()
}
