//! Makes the record of a run of GPU tests: which of the tests that need a GPU ran there, and passed.
//!
//! `cargo nextest run -p kernels -p stage-05 --run-ignored only -E 'test(/./)' 2>&1 | gpu_tests "NVIDIA H200"`, with the packages whose
//! tests are recorded. Reads nextest's lines, writes `benches/records/gpu-tests.json`, and fails if a test failed or none ran.

use benches::Series;
use std::io::Read;
use std::process::ExitCode;

/// What the tests run: all that a digest must cover for the record to stay fresh.
const SOURCES: &[&str] = &[
    "kernels/gemm",
    "kernels/include",
    "kernels/src",
    "kernels/tests",
    "stages/05-gemm/src",
    "stages/05-gemm/tests",
];

fn main() -> ExitCode {
    let device = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "an unnamed GPU".to_owned());
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .expect("the run's output is text");
    let (passed, failed) = outcomes(&text);
    for test in &failed {
        println!("failed: {test}");
    }
    println!("{} passed, {} failed", passed.len(), failed.len());
    if passed.is_empty() || !failed.is_empty() {
        return ExitCode::FAILURE;
    }
    let driver = benches::gpu::driver();
    let command = "cargo nextest run -p kernels -p stage-05 --run-ignored only";
    let mut record = benches::gpu::record(
        "gpu-tests",
        "Tests that need a GPU",
        command,
        &device,
        &driver,
        SOURCES,
    );
    record.series.push(Series {
        name: "passed".to_owned(),
        unit: "tests".to_owned(),
        floor: None,
        samples: vec![passed.len() as f64],
    });
    record.tests_passed = passed;
    let path = record
        .save(&benches::gpu::root())
        .expect("the record can be written");
    println!("wrote {}", path.display());
    ExitCode::SUCCESS
}

/// Tests that passed and tests that did not, as `stage-05::gpu_gemm::bf16_is_right`, from lines like
/// `PASS [   0.123s] (3/9) stage-05::gpu_gemm bf16_is_right`.
fn outcomes(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((state, rest)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let Some((_, rest)) = rest.split_once("s] ") else {
            continue;
        };
        let words: Vec<&str> = rest
            .split_whitespace()
            .filter(|word| !word.starts_with('('))
            .collect();
        let [binary, test] = words[..] else { continue };
        let name = format!("{binary}::{test}");
        let list = match state {
            "PASS" => &mut passed,
            "FAIL" | "ABORT" | "SIGSEGV" | "SIGABRT" | "TIMEOUT" => &mut failed,
            _ => continue,
        };
        // A failure is told again in nextest's summary.
        if !list.contains(&name) {
            list.push(name);
        }
    }
    (passed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_nextest_are_told_apart() {
        let text = "    Starting 3 tests across 2 binaries\n        PASS [   0.123s] (1/3) stage-05::gpu_gemm bf16_is_right\n        FAIL [  12.5s] kernels::gemm_gpu k09\n  TIMEOUT [  60.0s] (3/3) kernels tests::x\n     Summary [   1.0s] 3 tests run\n        FAIL [  12.5s] kernels::gemm_gpu k09\n";
        let (passed, failed) = outcomes(text);
        assert_eq!(passed, ["stage-05::gpu_gemm::bf16_is_right"]);
        assert_eq!(failed, ["kernels::gemm_gpu::k09", "kernels::tests::x"]);
    }
}
