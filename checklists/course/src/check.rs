//! Proves the exercises: each task alone blank compiles and fails its own test with its own message; in order they unlock one another;
//! the tests kill every mutant; and the outputs that the book prints are what the examples print.

use crate::cargo::{Program, Run, build_examples, build_tests, run};
use crate::error::{Error, Result, read, write};
use crate::scratch::Scratch;
use crate::stage::{Mutant, Stage, Task};
use crate::workspace::{Workspace, file_name, files};
use std::process::Command;
use std::time::Duration;

/// A single target takes seconds; a wrong solution that loops is ended after this.
const TARGET_LIMIT: Duration = Duration::from_secs(60);
/// A target that is no task's, or an example.
const STAGE_LIMIT: Duration = Duration::from_secs(900);

/// What the emulator says of a kernel that the host's compiler refuses.
const REFUSED: &str = "does not compile for host";

/// What was found.
#[derive(Debug, Default)]
pub struct Summary {
    /// Tasks that were checked.
    pub tasks: usize,
    /// Mutants that the tests killed.
    pub killed: usize,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
}

/// Checks the stages of these numbers, or all.
///
/// # Errors
/// If there is a problem, or no task at all: an empty course must not read as a sound one.
pub fn check(
    workspace: &Workspace,
    numbers: &[String],
    mut say: impl FnMut(&str),
) -> Result<Summary> {
    let stages = match numbers {
        [] => workspace.stages()?,
        numbers => numbers
            .iter()
            .map(|number| workspace.stage(number))
            .collect::<Result<_>>()?,
    };
    let mut summary = Summary::default();
    let scratch = Scratch::of(workspace)?;
    for stage in &stages {
        summary.problems.extend(stage.problems.clone());
        if stage.problems.is_empty() {
            check_stage(&scratch, stage, &mut summary, &mut say)?;
        }
        check_outputs(&scratch, &workspace.root, stage, &mut summary.problems)?;
    }
    if summary.tasks == 0 {
        summary.problems.push("no task was checked".to_owned());
    }
    Error::all(&summary.problems)?;
    Ok(summary)
}

fn check_stage(
    scratch: &Scratch,
    stage: &Stage,
    summary: &mut Summary,
    say: &mut impl FnMut(&str),
) -> Result<()> {
    if stage
        .tasks
        .iter()
        .any(|task| task.is_blank(&scratch.workspace, stage).unwrap_or(true))
    {
        summary.problems.push(format!(
            "stage {}: a region is blank; check runs on the reference",
            stage.number
        ));
        return Ok(());
    }
    for task in &stage.tasks {
        let name = format!("{}/{}", stage.number, task.name);
        let mut problems = Vec::new();
        if let Some(problem) = reference_fails(scratch, stage, task)? {
            problems.push(format!("{name}: the reference {problem}"));
        }
        if let Some(problem) = blank_passes(scratch, stage, task)? {
            problems.push(format!("{name}: blank, it {problem}"));
        }
        let mut killed = 0;
        for mutant in &task.mutants {
            match survives(scratch, stage, task, mutant)? {
                Some(problem) => problems.push(format!("{name}: mutant {} {problem}", mutant.name)),
                None => killed += 1,
            }
        }
        let state = if problems.is_empty() { "ok" } else { "FAILED" };
        say(&format!(
            "{name:<32} {state:<6} {} hints, {killed} of {} mutants killed by {}",
            task.hints.len(),
            task.mutants.len(),
            task.test
        ));
        summary.tasks += 1;
        summary.killed += killed;
        summary.problems.extend(problems);
    }
    if let Some(problem) = order_fails(scratch, stage)? {
        summary
            .problems
            .push(format!("stage {}: {problem}", stage.number));
    } else {
        say(&format!(
            "{}: {} tasks unlock one another in order",
            stage.number,
            stage.tasks.len()
        ));
    }
    Ok(())
}

/// Builds test targets of the workspace and keeps those of the stage.
fn tests_of(scratch: &Scratch, stage: &Stage, selection: &[&str]) -> Result<Vec<Program>> {
    let selection = [&["--workspace"], selection].concat();
    let mut built = build_tests(&scratch.workspace.root, &scratch.target, &selection)?;
    built.retain(|program| program.package == stage.package());
    Ok(built)
}

/// Builds and runs the task's own target; an error means that it does not compile.
fn judge(scratch: &Scratch, stage: &Stage, task: &Task) -> Result<Run> {
    match &tests_of(scratch, stage, &["--test", &task.test])?[..] {
        [program] => program.run(&[], TARGET_LIMIT),
        other => Err(Error(format!(
            "{} is not one test target but {}",
            task.test,
            other.len()
        ))),
    }
}

fn reference_fails(scratch: &Scratch, stage: &Stage, task: &Task) -> Result<Option<String>> {
    Ok(match judge(scratch, stage, task) {
        Err(error) => Some(error.to_string()),
        Ok(run) if !run.success => Some(format!("fails {}:\n{}", task.test, run.output)),
        Ok(run) if run.output.contains("running 0 tests") => {
            Some(format!("is judged by {}, which has no tests", task.test))
        }
        Ok(_) => None,
    })
}

fn blank_passes(scratch: &Scratch, stage: &Stage, task: &Task) -> Result<Option<String>> {
    let original = scratch.blank(stage, task)?;
    let judged = judge(scratch, stage, task);
    scratch.put_back(task, &original)?;
    Ok(match judged {
        Err(error) => Some(error.to_string()),
        Ok(run) if run.success => Some(format!("passes {}", task.test)),
        Ok(run) if !run.output.contains(&task.message(stage)) => Some(format!(
            "fails {} without the message {:?}:\n{}",
            task.test,
            task.message(stage),
            run.output
        )),
        Ok(_) => None,
    })
}

fn survives(
    scratch: &Scratch,
    stage: &Stage,
    task: &Task,
    mutant: &Mutant,
) -> Result<Option<String>> {
    let original = scratch.edit(task, |region, text| mutant.apply(&region.body(text)))?;
    let judged = judge(scratch, stage, task);
    scratch.put_back(task, &original)?;
    Ok(match judged {
        Err(error) => Some(error.to_string()),
        Ok(run) if run.success => Some(format!("survives {}", task.test)),
        // A kernel is compiled by the test that runs it. A mutant that no compiler takes shows nothing.
        Ok(run) if run.output.contains(REFUSED) => {
            Some(format!("does not compile:\n{}", run.output))
        }
        Ok(_) => None,
    })
}

/// Walks the learner's way: all blank, then solved one by one. Each time the stage's tests must stop at the first unfinished task, whose
/// target comes after those of the solved ones. A target that has passed once ran into no blank, so that solving more changes nothing that
/// it does: each is run at the first step that it must pass at.
fn order_fails(scratch: &Scratch, stage: &Stage) -> Result<Option<String>> {
    let blank = |task| scratch.blank(stage, task);
    let originals: Vec<_> = stage.tasks.iter().map(blank).collect::<Result<_>>()?;
    let mut problem = None;
    let mut solved = None;
    for (task, original) in stage.tasks.iter().zip(&originals) {
        if problem.is_none() {
            let found = match test_between(scratch, stage, solved.replace(&task.test), &task.test) {
                Err(error) => Some(error.to_string()),
                Ok((last, run)) if last == task.test && !run.success => {
                    (!run.output.contains(&task.message(stage))).then_some(run.output)
                }
                Ok((last, run)) => Some(format!("the last that ran is {last}:\n{}", run.output)),
            };
            problem = found.map(|found| {
                format!(
                    "with the tasks before {} solved, `cargo test -p {}` does not stop at {}: {found}",
                    task.name,
                    stage.package(),
                    task.test,
                )
            });
        }
        scratch.put_back(task, original)?;
    }
    Ok(problem)
}

/// What a learner runs, `cargo test -p stage-NN`, from the target of the last solved task, or from the unit tests, to the target `last`:
/// cargo runs the unit tests, then targets in the order of their names, and stops at the first that fails, so those behind need not be
/// built. The answer is the target that ran last, and its run.
fn test_between(
    scratch: &Scratch,
    stage: &Stage,
    solved: Option<&String>,
    last: &str,
) -> Result<(String, Run)> {
    let first = solved.map_or("", String::as_str);
    let tests = scratch.workspace.root.join(&stage.folder).join("tests");
    let targets: Vec<_> = files(&tests, "rs")
        .iter()
        .filter(|file| file.parent() == Some(&tests))
        .map(|file| file_name(file).trim_end_matches(".rs").to_owned())
        .filter(|target| (first..=last).contains(&target.as_str()))
        .collect();
    let mut selection = Vec::new();
    if solved.is_none() {
        selection.push("--lib");
    }
    selection.extend(targets.iter().flat_map(|target| ["--test", target]));
    let mut programs = tests_of(scratch, stage, &selection)?;
    programs.sort_by_key(|program| (program.target != "lib", program.target.clone()));
    let mut outcome = Err(Error(format!("there is no target up to {last}")));
    for program in programs {
        let run = program.run(&[], STAGE_LIMIT)?;
        let failed = !run.success;
        outcome = Ok((program.target, run));
        if failed {
            break;
        }
    }
    outcome
}

/// Holds `book/outputs/NN-EXAMPLE.txt` to what the example prints. With the environment variable `UPDATE_OUTPUTS` set, writes it.
fn check_outputs(
    scratch: &Scratch,
    root: &std::path::Path,
    stage: &Stage,
    problems: &mut Vec<String>,
) -> Result<()> {
    for file in files(&root.join("book/outputs"), "txt") {
        let name = file_name(&file);
        let Some(example) = name
            .strip_prefix(&format!("{}-", stage.number))
            .and_then(|rest| rest.strip_suffix(".txt"))
        else {
            continue;
        };
        let mut built = match build_examples(&scratch.workspace.root, &scratch.target, example) {
            Ok(built) => built,
            Err(error) => {
                problems.push(format!("book/outputs/{name}: the example {error}"));
                continue;
            }
        };
        built.retain(|program| program.package == stage.package());
        let [program] = &built[..] else {
            problems.push(format!("book/outputs/{name} is of no example"));
            continue;
        };
        let mut command = Command::new(&program.executable);
        command.current_dir(&scratch.workspace.root);
        let run = run(command, STAGE_LIMIT)?;
        if std::env::var_os("UPDATE_OUTPUTS").is_some() && run.success {
            write(&file, &run.stdout)?;
        } else if !run.success || run.stdout != read(&file)? {
            problems.push(format!("book/outputs/{name} is not what the example prints; look, then check with UPDATE_OUTPUTS=1:\n{}", run.output));
        }
    }
    Ok(())
}
