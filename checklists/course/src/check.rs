//! Proves the exercises: each task, blank with those behind it, compiles and fails its own test with its own message; in order tasks unlock
//! one another; the tests kill every mutant; and the outputs that the book prints are what the examples print.

use crate::cargo::{Program, Run, build_examples, build_tests, run};
use crate::error::{Error, Result, read, write};
use crate::scratch::Scratch;
use crate::stage::{Mutant, Stage, Task};
use crate::workspace::{Workspace, file_name, files};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// A task's target takes seconds; a wrong solution that loops is ended after this.
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
    let mut sound = Vec::new();
    for stage in &stages {
        let mut problems = stage.problems.clone();
        for task in &stage.tasks {
            if task.is_blank(&scratch.workspace, stage).unwrap_or(true) {
                let (number, name) = (&stage.number, &task.name);
                problems.push(format!(
                    "stage {number}: {name} is blank; check runs on the reference"
                ));
            }
        }
        if problems.is_empty() {
            sound.push(stage);
        }
        summary.problems.extend(problems);
    }
    let found = unit_tests_fail(&scratch, &sound)?;
    summary.problems.extend(found);
    for stage in sound {
        check_stage(&scratch, stage, &mut summary, &mut say)?;
    }
    for stage in &stages {
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
    let mut out_of_order = order_fails(scratch, stage)?;
    let in_order = out_of_order.is_empty();
    let mut wrong = references_fail(scratch, stage)?;
    for task in &stage.tasks {
        let mut problems = Vec::from_iter(out_of_order.remove(&task.name));
        problems.extend(wrong.remove(&task.name));
        let mut killed = 0;
        for mutant in &task.mutants {
            match survives(scratch, stage, task, mutant)? {
                Some(problem) => problems.push(format!("mutant {} {problem}", mutant.name)),
                None => killed += 1,
            }
        }
        let name = format!("{}/{}", stage.number, task.name);
        let state = if problems.is_empty() { "ok" } else { "FAILED" };
        say(&format!(
            "{name:<32} {state:<6} {} hints, {killed} of {} mutants killed by {}",
            task.hints.len(),
            task.mutants.len(),
            task.test
        ));
        summary.tasks += 1;
        summary.killed += killed;
        let named = problems.iter().map(|problem| format!("{name}: {problem}"));
        summary.problems.extend(named);
    }
    if in_order {
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

/// Runs each task's target with all solved, and says whose fails.
fn references_fail(scratch: &Scratch, stage: &Stage) -> Result<BTreeMap<String, String>> {
    let mut problems = BTreeMap::new();
    for task in &stage.tasks {
        let found = match judge(scratch, stage, task) {
            Err(error) => Some(error.to_string()),
            Ok(run) => (!run.success).then_some(run.output),
        };
        let fault = |found| format!("the reference fails {}:\n{found}", task.test);
        problems.extend(found.map(|found| (task.name.clone(), fault(found))));
    }
    Ok(problems)
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

/// A learner's `cargo test -p stage-NN` begins with the unit tests, so that these must do without any task. Cargo cannot build those of one
/// stage with the dependencies that the workspace's have, and building all takes long: they are built once, with the tasks of all stages blank.
fn unit_tests_fail(scratch: &Scratch, stages: &[&Stage]) -> Result<Vec<String>> {
    let tasks: Vec<_> = stages
        .iter()
        .flat_map(|&stage| stage.tasks.iter().map(move |task| (stage, task)))
        .collect();
    let blank = |&(stage, task): &_| scratch.blank(stage, task);
    let originals: Vec<_> = tasks.iter().map(blank).collect::<Result<_>>()?;
    let (root, target) = (&scratch.workspace.root, &scratch.target);
    let built = build_tests(root, target, &["--workspace", "--lib"]);
    for ((_, task), original) in tasks.iter().zip(&originals) {
        scratch.put_back(task, original)?;
    }
    let programs = match built {
        Ok(programs) => programs,
        Err(error) => return Ok(vec![format!("with all tasks blank, a library {error}")]),
    };
    let mut problems = Vec::new();
    for stage in stages {
        let own = |program: &&Program| program.package == stage.package();
        let problem = match programs.iter().find(own) {
            None => Some("has no library".to_owned()),
            Some(program) => {
                let run = program.run(&[], STAGE_LIMIT)?;
                (!run.success).then(|| format!("a unit test needs a task:\n{}", run.output))
            }
        };
        problems.extend(problem.map(|problem| format!("stage {}: {problem}", stage.number)));
    }
    Ok(problems)
}

/// Walks the learner's way: all blank, then solved one by one. Each time the stage's tests must stop at the first unfinished task, whose
/// target comes after those of the solved ones, and say which it is. The answer is what is wrong, by the task's name.
///
/// A target that has passed once came to no blank, so that solving more changes nothing that it does: each is run at the first step that it
/// must pass at, and once more when all is solved. And a test that has met its task's blank met none behind it, so that it meets this one as
/// well where it alone is blank.
fn order_fails(scratch: &Scratch, stage: &Stage) -> Result<BTreeMap<String, String>> {
    let blank = |task| scratch.blank(stage, task);
    let originals: Vec<_> = stage.tasks.iter().map(blank).collect::<Result<_>>()?;
    let mut problems = BTreeMap::new();
    let mut first = String::new();
    for (task, original) in stage.tasks.iter().zip(&originals) {
        let found = match tests_between(scratch, stage, &first, &task.test) {
            Err(error) => Some(format!("blank with all after it, the stage {error}")),
            Ok((last, run)) if last != task.test => Some(format!(
                "with the tasks before it solved, `cargo test -p {}` stops at {last}:\n{}",
                stage.package(),
                run.output
            )),
            Ok((last, run)) if run.success => Some(format!("blank, it passes {last}")),
            Ok((last, run)) => {
                let message = task.message(stage);
                (!run.output.contains(&message)).then(|| {
                    format!(
                        "blank, it fails {last} without the message {message:?}:\n{}",
                        run.output
                    )
                })
            }
        };
        problems.extend(found.map(|problem| (task.name.clone(), problem)));
        first.clone_from(&task.test);
        scratch.put_back(task, original)?;
    }
    Ok(problems)
}

/// Runs the stage's test targets from `first` to `last` as cargo does, in the order of their names up to the first that fails. The answer is
/// the target that ran last, and its run.
fn tests_between(
    scratch: &Scratch,
    stage: &Stage,
    first: &str,
    last: &str,
) -> Result<(String, Run)> {
    let tests = scratch.workspace.root.join(&stage.folder).join("tests");
    let targets: Vec<_> = files(&tests, "rs")
        .iter()
        .filter(|file| file.parent() == Some(&tests))
        .map(|file| file_name(file).trim_end_matches(".rs").to_owned())
        .filter(|target| (first..=last).contains(&target.as_str()))
        .collect();
    let selection: Vec<_> = targets
        .iter()
        .flat_map(|target| ["--test", target])
        .collect();
    let mut programs = tests_of(scratch, stage, &selection)?;
    programs.sort_by(|a, b| a.target.cmp(&b.target));
    let mut outcome = Err(Error(format!("has no target up to {last}")));
    for program in programs {
        let of_task = stage.tasks.iter().any(|task| task.test == program.target);
        let limit = if of_task { TARGET_LIMIT } else { STAGE_LIMIT };
        let run = program.run(&[], limit)?;
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
