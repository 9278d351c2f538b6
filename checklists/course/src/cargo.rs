//! Tests and examples: built through cargo, then run one by one with a time limit.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A test target or an example, built.
#[derive(Debug, Clone)]
pub struct Program {
    /// `stage-08`.
    pub package: String,
    /// `task_01_alloc`, or an example's name; `lib` or `bin` for unit tests.
    pub target: String,
    /// The program.
    pub executable: PathBuf,
    /// Folder of the package, which tests are run in.
    pub folder: PathBuf,
}

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and passed.
    Passed,
    /// It ran and failed.
    Failed,
    /// It is there and marked as ignored.
    Ignored,
}

/// How a run of a program ended.
#[derive(Debug)]
pub struct Run {
    /// Whether it ended in time with success.
    pub success: bool,
    /// Whether it was ended for taking too long.
    pub timed_out: bool,
    /// What it printed on its standard output.
    pub stdout: String,
    /// All that it printed, errors after the rest.
    pub output: String,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

/// The name of the package whose `Cargo.toml` this is.
///
/// # Errors
/// If it cannot be read, or names none.
pub(crate) fn package_name(manifest: &Path) -> Result<String> {
    crate::error::read_toml(manifest).map(|manifest: Manifest| manifest.package.name)
}

/// Cargo in `root` with this target folder.
fn cargo(root: &Path, target: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_TERM_COLOR", "never")
        .env("RUST_BACKTRACE", "0");
    command
}

/// Builds the test targets that `selection` names (`--workspace --test task_01_alloc`). A package selected by itself has dependencies with
/// fewer features than in the workspace, which cargo builds apart; so who has built the workspace's tests saves time by selecting from it.
///
/// # Errors
/// If they do not compile; the message is the compiler's.
pub fn build_tests(root: &Path, target: &Path, selection: &[&str]) -> Result<Vec<Program>> {
    let is_test = |_: &str, profile: &Profile| profile.test;
    build(
        root,
        target,
        &[&["test", "--no-run"], selection].concat(),
        is_test,
    )
}

/// Builds the examples of this name.
///
/// # Errors
/// If they do not compile, or there is none.
pub fn build_examples(root: &Path, target: &Path, name: &str) -> Result<Vec<Program>> {
    let is_example = |kind: &str, _: &Profile| kind == "example";
    build(
        root,
        target,
        &["build", "--workspace", "--example", name],
        is_example,
    )
}

fn build(
    root: &Path,
    target: &Path,
    arguments: &[&str],
    wanted: impl Fn(&str, &Profile) -> bool,
) -> Result<Vec<Program>> {
    let mut command = cargo(root, target);
    command.args(arguments).args([
        "--locked",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    let output = command
        .output()
        .map_err(|error| Error(format!("cargo cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(Error(format!(
            "does not compile:\n{}",
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    let mut programs = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            continue;
        };
        let (Some(profile), Some(executable), Some(manifest), Some(target)) = (
            message.profile,
            message.executable,
            message.manifest_path,
            message.target,
        ) else {
            continue;
        };
        let kind = target.kind.first().map_or("", String::as_str);
        if message.reason != "compiler-artifact" || !wanted(kind, &profile) {
            continue;
        }
        programs.push(Program {
            package: package_name(&manifest)?,
            target: match kind {
                "test" | "example" => target.name,
                "bin" => "bin".to_owned(),
                _ => "lib".to_owned(),
            },
            executable,
            folder: manifest.parent().unwrap_or(root).to_path_buf(),
        });
    }
    Ok(programs)
}

impl Program {
    /// Runs it with these arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, arguments: &[&str], limit: Duration) -> Result<Run> {
        let mut command = Command::new(&self.executable);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("RUST_BACKTRACE", "0");
        run(command, limit)
    }

    /// How each of these tests ended; a test that the program does not have is missing from the answer.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn outcomes(&self, tests: &[&str], limit: Duration) -> Result<BTreeMap<String, Outcome>> {
        let mut arguments = vec!["--exact"];
        arguments.extend(tests);
        Ok(parse_outcomes(&self.run(&arguments, limit)?.output))
    }
}

/// Reads the lines `test NAME ... ok` of the standard test harness.
pub fn parse_outcomes(output: &str) -> BTreeMap<String, Outcome> {
    let line = |line: &str| {
        let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        let name = name.strip_suffix(" - should panic").unwrap_or(name);
        let outcome = match end.split([',', ' ']).next()? {
            "ok" => Outcome::Passed,
            "ignored" => Outcome::Ignored,
            "FAILED" => Outcome::Failed,
            // Something else was printed into the line.
            _ => return None,
        };
        Some((name.to_owned(), outcome))
    };
    output.lines().filter_map(line).collect()
}

/// Reads what `cargo test` printed, errors and output in one: how the tests of each program ended, by the program's file name.
pub fn parse_test_run(output: &str) -> BTreeMap<String, BTreeMap<String, Outcome>> {
    let program = |line: &str| {
        let (_, path) = line.trim().strip_prefix("Running ")?.rsplit_once('(')?;
        let name = Path::new(path.strip_suffix(')')?).file_name()?;
        Some(name.to_string_lossy().into_owned())
    };
    let mut found: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let mut current = None;
    for line in output.lines() {
        // After the tests comes what those that failed have printed, which may be anything.
        if ["failures:", "test result: ", "   Doc-tests "]
            .iter()
            .any(|end| line.starts_with(end))
        {
            current = None;
        } else if let Some(name) = program(line) {
            current = Some(name);
        } else if let Some(name) = &current {
            let outcomes = parse_outcomes(line);
            found.entry(name.clone()).or_default().extend(outcomes);
        }
    }
    found
}

/// Runs a program to its end, or ends it after `limit`. Its output is drained while it runs, so that a full pipe cannot stop it.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut command: Command, limit: Duration) -> Result<Run> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Error(format!(
            "{}: {error}",
            command.get_program().to_string_lossy()
        ))
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let stdout = scope.spawn(move || drain(stdout));
        let stderr = scope.spawn(move || drain(stderr));
        let (success, timed_out) = wait(&mut child, limit)?;
        let join =
            |reader: std::thread::ScopedJoinHandle<'_, String>| reader.join().unwrap_or_default();
        let stdout = join(stdout);
        Ok(Run {
            success,
            timed_out,
            output: stdout.clone() + &join(stderr),
            stdout,
        })
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<(bool, bool)> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(Error::new)? {
            return Ok((status.success(), false));
        }
        if started.elapsed() > limit {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(Error::new)?;
            return Ok((false, true));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn drain(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // A pipe that breaks has no more to say; what it said is kept.
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_harness_prints() {
        let output = "running 4 tests\ntest a::one ... ok\ntest two - should panic ... ok\ntest three ... ignored, needs a CUDA GPU\ntest four ... FAILED\n\ntest result: FAILED. 2 passed\n";
        let found = parse_outcomes(output);
        assert_eq!(found.len(), 4);
        assert_eq!(found["a::one"], Outcome::Passed);
        assert_eq!(found["two"], Outcome::Passed);
        assert_eq!(found["three"], Outcome::Ignored);
        assert_eq!(found["four"], Outcome::Failed);
    }

    #[test]
    fn reads_which_program_ran_which_test() {
        let output = "   Compiling tiny v0.1.0\n     Running unittests src/lib.rs (target/debug/deps/tiny-1a)\n\nrunning 1 test\ntest one ... ok\n\n     Running tests/two.rs (target/debug/deps/two-2b)\ntest one ... FAILED\ntest two ... ok\ntest three ... noise\nok\n\nfailures:\n\n---- one stdout ----\ntest one ... ok\n   Doc-tests tiny\ntest src/lib.rs - one (line 3) ... ok\n";
        let found = parse_test_run(output);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found["tiny-1a"],
            [("one".to_owned(), Outcome::Passed)].into()
        );
        assert_eq!(found["two-2b"].len(), 2);
        assert_eq!(found["two-2b"]["one"], Outcome::Failed);
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("30");
        let run = run(command, Duration::from_millis(50)).unwrap();
        assert!(run.timed_out && !run.success);
    }
}
