//! Records of a GPU: measured by programs of their own, often far from the checkout and without git.

use crate::record::{Machine, Record, Source};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty record of a GPU bench; the caller pushes series and saves it under [`root`].
///
/// `sources` are the files and folders, relative to the checkout, whose code is measured. Where they are missing the digest stays
/// empty, and the record reads as stale rather than being lost with its samples.
pub fn record(
    name: &str,
    title: &str,
    command: &str,
    device_name: &str,
    driver: &str,
    sources: &[&str],
) -> Record {
    let paths: Vec<String> = sources.iter().map(|path| (*path).to_owned()).collect();
    let root = root();
    let digest = crate::digest(&root, &paths).unwrap_or_else(|error| {
        eprintln!(
            "the measured sources cannot be read, so the record is stale from the start: {error}"
        );
        String::new()
    });
    let here = Machine::here();
    let toolchain = [here.toolchain, driver.to_owned()];
    Record {
        name: name.to_owned(),
        title: title.to_owned(),
        command: command.to_owned(),
        date: crate::bench::today(),
        machine: Machine {
            device: device_name.to_owned(),
            toolchain: toolchain
                .iter()
                .filter(|part| !part.is_empty())
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
            ..here
        },
        source: Source::of(&root, &paths, digest),
        tests_passed: Vec::new(),
        series: Vec::new(),
    }
}

/// Runs the built programs of tests that `GPU_TESTS` names, the ignored tests too, and returns the names of those that passed, for
/// [`Record::tests_passed`]. The form is `stage-05::gpu_gemm=path …`, a name being what a test's own name is appended to. Words of
/// `GPU_TESTS_SKIP` are left out.
pub fn tests() -> Vec<String> {
    let words = |name: &str| std::env::var(name).unwrap_or_default();
    let skip = words("GPU_TESTS_SKIP");
    let mut passed = Vec::new();
    for word in words("GPU_TESTS").split_whitespace() {
        let (name, program) = word.split_once('=').expect("GPU_TESTS is NAME=PATH …");
        let mut command = Command::new(program);
        command.args(["--ignored", "--test-threads=4"]);
        skip.split_whitespace().for_each(|word| {
            command.args(["--skip", word]);
        });
        let output = command.output();
        let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let said = said.unwrap_or_else(|error| panic!("{program}: {error}"));
        let result = said.lines().rfind(|line| line.starts_with("test result"));
        println!("{name}: {}", result.unwrap_or("the tests did not end"));
        let ok = said
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... ok"));
        passed.extend(ok.map(|test| format!("{name}::{test}")));
    }
    passed
}

/// The checkout's root: `WAVEBOOST_ROOT` if it is set, since the program may run on another machine than it was built on.
pub fn root() -> PathBuf {
    std::env::var_os("WAVEBOOST_ROOT").map_or_else(crate::checkout, PathBuf::from)
}

/// The GPU driver's version by `nvidia-smi`, by the kernel module where that is missing, or nothing.
pub fn driver() -> String {
    let query = ["--query-gpu=driver_version", "--format=csv,noheader"];
    let output = Command::new("nvidia-smi").args(query).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let first = said.ok().and_then(|said| {
        let line = said.lines().next()?.trim().to_owned();
        line.starts_with(|c: char| c.is_ascii_digit())
            .then_some(line)
    });
    first
        .or_else(|| module_version(Path::new("/proc/driver/nvidia/version")))
        .unwrap_or_default()
}

/// `580.159.04` out of `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build …`.
fn module_version(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.lines().next()?.split_whitespace();
    let version =
        |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    words.find(version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_module_names_its_version() {
        let path = std::env::temp_dir().join(format!("nvidia-{}", std::process::id()));
        let line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (x)\nGCC version: 14.2.0\n";
        std::fs::write(&path, line).unwrap();
        assert_eq!(module_version(&path).as_deref(), Some("580.159.04"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(module_version(&path), None);
    }

    #[test]
    fn a_record_without_sources_is_stale_and_not_lost() {
        let made = record("n", "t", "c", "a GPU", "driver 1.2", &["no such file"]);
        assert!(made.source.digest.is_empty() && made.is_stale(&root()));
        assert_eq!(made.machine.device, "a GPU");
        assert!(made.machine.toolchain.ends_with("driver 1.2"));
        let kept = record("n", "t", "c", "a GPU", "", &["benches/src/gpu.rs"]);
        assert!(!kept.is_stale(&root()));
    }
}
