//! The course's own tool: exercises that check themselves, checklists whose items prove themselves, and the book.
//!
//! Everything is read from the checkout: learner regions stand between `// ANCHOR: solve-TASK` comments in the stage crates and in kernels, with
//! `hints.toml`, `mutants.toml` and `interview.toml` beside them; items stand in `checklists/*.toml`; chapters in `book/src`. There is no
//! second copy of anything that could drift.

pub mod book;
pub mod cargo;
pub mod check;
pub mod checklist;
pub mod drill;
pub mod error;
pub mod git;
pub mod interview;
pub mod language;
pub mod learn;
pub mod progress;
pub mod proofs;
pub mod region;
pub mod scratch;
pub mod snapshot;
pub mod stage;
pub mod status;
pub mod workspace;

pub use error::{Error, Result};
pub use workspace::Workspace;
