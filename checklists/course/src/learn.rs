//! What a learner does: start, hint, reveal, diff, next.

use crate::error::{Error, Result, read, write};
use crate::git;
use crate::progress::Progress;
use crate::region::Region;
use crate::stage::{Stage, Task};
use crate::workspace::Workspace;
use std::fmt::Write as _;

/// Blanks the regions of a stage, or of one task of it, and says what to do next.
///
/// # Errors
/// On the branch `main` and on a tree with changes, unless `force`d: the reference on main is what the project is built from, and
/// blanking would overwrite work that no commit holds.
pub fn start(
    workspace: &Workspace,
    number: &str,
    task: Option<&str>,
    force: bool,
) -> Result<String> {
    let stage = workspace.stage(number)?;
    let chosen: Vec<&Task> = match task {
        Some(name) => vec![stage.task(name)?],
        None => stage.tasks.iter().collect(),
    };
    let mut said = String::new();
    let refusals = [
        (
            ["main", "master"].contains(&git::branch(&workspace.root)?.as_str()),
            "this is the main branch: make one of your own with `git switch -c learn`",
        ),
        (
            git::is_dirty(&workspace.root)?,
            "files have changes that no commit holds: commit them first",
        ),
    ];
    for (_, why) in refusals.iter().filter(|(applies, _)| *applies) {
        if !force {
            return Err(Error(format!("{why} (or `--force` to go on regardless)")));
        }
        writeln!(said, "forced, although {why}").expect("a string takes all");
    }
    let mut progress = Progress::load(workspace)?;
    // A stage that is begun again keeps its first reference: the head may hold the learner's own solution by now.
    let head = git::head(&workspace.root)?;
    progress
        .reference
        .entry(stage.number.clone())
        .or_insert(head);
    for task in &chosen {
        edit(workspace, task, |region, text| {
            Ok(region.blank(text, &stage.number, task.language()))
        })?;
        progress.revealed.remove(&key(&stage, task));
        progress.hints.remove(&key(&stage, task));
        writeln!(
            said,
            "blank: {}  {} in {}",
            task.name,
            task.title,
            task.file.display()
        )
        .expect("a string takes all");
    }
    progress.save(workspace)?;
    let chapter = stage.chapter();
    writeln!(said, "\nRead book/src/{chapter}, then run\n  cargo test -p {}\nIt stops at the first unfinished task and says how to get a hint.", stage.package()).expect("a string takes all");
    Ok(said)
}

/// The next hint of a task.
///
/// # Errors
/// If there is no such task.
pub fn hint(workspace: &Workspace, number: &str, task: &str) -> Result<String> {
    let stage = workspace.stage(number)?;
    let task = stage.task(task)?;
    let mut progress = Progress::load(workspace)?;
    let shown = progress.hints.entry(key(&stage, task)).or_insert(0);
    *shown = (*shown + 1).min(task.hints.len());
    let (count, total) = (*shown, task.hints.len());
    progress.save(workspace)?;
    let mut said = format!(
        "{}: hint {count} of {total}\n\n{}\n",
        task.title,
        task.hints[count - 1].trim()
    );
    if count == total {
        write!(
            said,
            "\nThat was the last one. The solution: cargo course reveal {} {}\n",
            stage.number, task.name
        )
        .expect("a string takes all");
    }
    Ok(said)
}

/// Puts the reference into a task's region and notes that it was looked up.
///
/// # Errors
/// If there is no such task, or the commit of the reference is gone.
pub fn reveal(workspace: &Workspace, number: &str, task: &str) -> Result<String> {
    let stage = workspace.stage(number)?;
    let task = stage.task(task)?;
    let mut progress = Progress::load(workspace)?;
    let reference = reference(workspace, &progress, &stage, task)?;
    edit(workspace, task, |_, _| Ok(reference.clone()))?;
    progress.revealed.insert(key(&stage, task));
    progress.save(workspace)?;
    Ok(format!(
        "{} now has the reference of {}; it counts as revealed until you start the task again.\n",
        task.file.display(),
        task.name
    ))
}

/// The learner's solution against the reference, as a unified diff; empty where they are equal.
///
/// # Errors
/// If the task is still blank: then there is nothing to compare, and the reference would be given away.
pub fn diff(workspace: &Workspace, number: &str, task: &str) -> Result<String> {
    let stage = workspace.stage(number)?;
    let task = stage.task(task)?;
    if task.is_blank(workspace, &stage)? {
        return Err(Error(format!(
            "task {} is not solved yet: cargo course hint {} {0}, or reveal",
            task.name, stage.number
        )));
    }
    let progress = Progress::load(workspace)?;
    let text = read(&workspace.root.join(&task.file))?;
    let yours = Region::find(&text, &task.name)?.body(&text);
    let reference = reference(workspace, &progress, &stage, task)?;
    if yours == reference {
        return Ok("yours is the reference, letter for letter\n".to_owned());
    }
    let folder = workspace.root.join(".course");
    let ending = task.file.extension().unwrap_or_default().to_string_lossy();
    let names = ["reference", "yours"].map(|name| format!("{name}.{ending}"));
    write(&folder.join(&names[0]), &reference)?;
    write(&folder.join(&names[1]), &yours)?;
    // Git's exit status is 1 where files differ, which is the case here.
    let mut command = std::process::Command::new("git");
    command
        .args(["diff", "--no-index", "--no-prefix", "--"])
        .args(&names);
    let output = command.current_dir(&folder).output().map_err(Error::new)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first unfinished task of the first stage that has one.
///
/// # Errors
/// If a stage cannot be read.
pub fn next(workspace: &Workspace) -> Result<String> {
    for stage in workspace.stages()? {
        for task in &stage.tasks {
            if task.is_blank(workspace, &stage)? {
                let text = read(&workspace.root.join(&task.file))?;
                let line = Region::find(&text, &task.name)?.first + 1;
                let (number, name) = (&stage.number, &task.name);
                return Ok(format!(
                    "{number}/{name}: {}\n  write  {}:{line}\n  read   book/src/{}#task-{name}\n  check  cargo test -p {} --test {}\n  hint   cargo course hint {number} {name}\n",
                    task.title,
                    task.file.display(),
                    stage.chapter(),
                    stage.package(),
                    task.test,
                ));
            }
        }
    }
    Ok("no task is blank: `cargo test --workspace` says whether all is right; `cargo course start NN` begins a stage\n".to_owned())
}

/// How progress names a task.
pub fn key(stage: &Stage, task: &Task) -> String {
    format!("{}/{}", stage.number, task.name)
}

/// The body that the region had when the stage was begun, or has at the head if it never was.
fn reference(
    workspace: &Workspace,
    progress: &Progress,
    stage: &Stage,
    task: &Task,
) -> Result<String> {
    let commit = progress
        .reference
        .get(&stage.number)
        .map_or("HEAD", String::as_str);
    let text = git::show(&workspace.root, commit, &task.file)?;
    let region = Region::find(&text, &task.name)?;
    if region.is_blank(&text, &stage.number, task.language()) {
        return Err(Error(format!(
            "task {} is blank at {commit} too; the reference is on main",
            task.name
        )));
    }
    Ok(region.body(&text))
}

/// Replaces the body of a task's region.
fn edit(
    workspace: &Workspace,
    task: &Task,
    body: impl FnOnce(&Region, &str) -> Result<String>,
) -> Result<()> {
    let path = workspace.root.join(&task.file);
    let text = read(&path)?;
    let region = Region::find(&text, &task.name)?;
    let body = body(&region, &text)?;
    write(&path, &region.replaced(&text, &body))
}
