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
    /// The commit that stands in `root`, and whether the files at `paths` differ from it.
    pub fn of(root: &Path, paths: &[String], digest: String) -> Self {
        let mut status = vec!["status", "--porcelain", "--"];
        status.extend(paths.iter().map(String::as_str));
        Self {
            commit: output("git", &["rev-parse", "HEAD"], root),
            dirty: !output("git", &status, root).is_empty(),
            paths: paths.to_vec(),
            digest,
        }
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
