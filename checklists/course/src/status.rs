//! One screen: stages and tasks, items proven.

use crate::error::Result;
use crate::learn::key;
use crate::progress::Progress;
use crate::snapshot::{Snapshot, State};
use crate::workspace::{Workspace, file_name};
use std::fmt::Write as _;

/// The table.
///
/// # Errors
/// If a stage or a checklist cannot be read.
pub fn status(workspace: &Workspace) -> Result<String> {
    let progress = Progress::load(workspace)?;
    let mut text = format!("{:<26} {:>5}  {:<12} next task\n", "stage", "tasks", "done");
    for stage in workspace.stages()? {
        let (mut done, mut revealed, mut next) = (0, 0, String::new());
        for task in &stage.tasks {
            if !task.is_blank(workspace, &stage)? {
                done += 1;
                revealed += usize::from(progress.revealed.contains(&key(&stage, task)));
            } else if next.is_empty() {
                next = format!("{}: {}", task.name, task.title);
            }
        }
        let begun = progress.reference.contains_key(&stage.number);
        let count = if begun {
            format!("{done}/{}", stage.tasks.len())
        } else {
            "reference".to_owned()
        };
        let count = if revealed > 0 {
            format!("{count} ({revealed} seen)")
        } else {
            count
        };
        writeln!(
            text,
            "{:<26} {:>5}  {count:<12} {next}",
            file_name(&stage.folder),
            stage.tasks.len()
        )
        .expect("a string takes all");
    }
    // Without a snapshot nothing is proven yet.
    let snapshot = Snapshot::load(workspace).unwrap_or_default();
    writeln!(
        text,
        "\n{:<26} {:>6} {:>8} {:>6} {:>5} {:>5}",
        "checklist", "proven", "in part", "stale", "open", "all"
    )
    .expect("a string takes all");
    let mut sums = [0; 5];
    for checklist in workspace.checklists()? {
        let [proven, part, stale, open] = snapshot.counts(&checklist);
        let counts = [proven, part, stale, open, checklist.items.len()];
        row(&mut text, &checklist.name, counts);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    row(&mut text, "all", sums);
    writeln!(
        text,
        "\n{} means: every part of the item is shown; checklists/proofs.txt says by what",
        State::Proven
    )
    .expect("a string takes all");
    Ok(text)
}

fn row(text: &mut String, name: &str, [proven, part, stale, open, all]: [usize; 5]) {
    writeln!(
        text,
        "{name:<26} {proven:>6} {part:>8} {stale:>6} {open:>5} {all:>5}"
    )
    .expect("a string takes all");
}
