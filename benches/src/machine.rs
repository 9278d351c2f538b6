//! What the machine says of itself, as far as it can be read without other programs.

use crate::record::{Machine, Source};
use std::path::Path;
use std::process::Command;

impl Machine {
    /// The machine that this process runs on.
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let device = model
            .and_then(|line| line.split_once(':'))
            .map_or("an unnamed CPU", |(_, name)| name.trim());
        Self {
            device: device.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            os: std::env::consts::OS.to_owned(),
            toolchain: output("rustc", &["--version"], Path::new(".")),
        }
    }
}

impl Source {
    /// The commit that stands in `root`, and whether the files at `paths` differ from it. The environment variables `COMMIT` and `DIRTY`
    /// (`0` or `1`) stand in for git where the program runs without it.
    pub fn of(root: &Path, paths: &[String], digest: String) -> Self {
        let mut status = vec!["status", "--porcelain", "--"];
        status.extend(paths.iter().map(String::as_str));
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let git = Self {
            commit: output("git", &["rev-parse", "HEAD"], root),
            dirty: !output("git", &status, root).is_empty(),
            paths: paths.to_vec(),
            digest,
        };
        told(git, set("COMMIT"), set("DIRTY"))
    }
}

/// What git said of the sources, unless the environment says otherwise. Without either, nobody knows: dirty.
fn told(git: Source, commit: Option<String>, dirty: Option<String>) -> Source {
    let known = !git.commit.is_empty() || commit.is_some();
    let dirty = match dirty.as_deref() {
        Some(told) => !matches!(told, "0" | "false"),
        None => git.dirty || !known,
    };
    Source {
        commit: commit.unwrap_or(git.commit),
        dirty,
        ..git
    }
}

/// What a program prints, or nothing if it cannot be run.
fn output(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_stands_in_for_git() {
        let git = |commit: &str, dirty| Source {
            commit: commit.to_owned(),
            dirty,
            paths: vec!["a".to_owned()],
            digest: "d".to_owned(),
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told(git("c", true), None, None), git("c", true));
        assert_eq!(told(git("", false), None, None), git("", true));
        assert_eq!(told(git("", false), some("e"), some("0")), git("e", false));
        assert_eq!(told(git("c", false), None, some("1")), git("c", true));
        assert_eq!(
            told(git("", true), some("e"), some("false")),
            git("e", false)
        );
    }
}
