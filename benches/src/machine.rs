//! What the machine says of itself, as far as it can be read without other programs.

use crate::record::{Machine, Source};
use std::path::Path;
use std::process::Command;

impl Machine {
    /// The machine that this process runs on.
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            device: cpu(&cpuinfo),
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

/// The first CPU of `/proc/cpuinfo`: its name, and what tells generations apart where a host has shortened the name.
fn cpu(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(field, _)| field.trim() == name);
        found.map(|(_, value)| value.trim())
    };
    let name = field("model name").unwrap_or("an unnamed CPU");
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{name}, family {family}, model {model}"),
        _ => name.to_owned(),
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
    fn a_cpu_has_its_generation_beside_its_name() {
        let two = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t\t: 2\n";
        assert_eq!(cpu(two), "AMD EPYC, family 25, model 1");
        assert_eq!(cpu("model name : Other\n"), "Other");
        assert_eq!(cpu(""), "an unnamed CPU");
    }

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
