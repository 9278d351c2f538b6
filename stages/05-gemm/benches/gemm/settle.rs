//! A clock that stays.

use kernels::Result;
use std::time::{Duration, Instant};

/// What a GPU at its power limit needs until its clock stays: an H200's goes on falling for a tenth of a second after a pause.
const SETTLING: Duration = Duration::from_millis(150);

/// Repeats `work` until the clock is the one that this work keeps, as on a server under load, which never rests.
pub fn settle(mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < SETTLING {
        work()?;
    }
    Ok(())
}
