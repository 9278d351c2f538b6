//! llama.cpp's side: its own `llama-batched-bench`, a process a run.

use super::ours::Speed;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A build of llama.cpp.
pub struct LlamaCpp {
    program: PathBuf,
    threads: usize,
}

impl LlamaCpp {
    /// The build whose programs lie in `bin`.
    pub fn new(bin: &Path, threads: usize) -> Self {
        let program = bin.join("llama-batched-bench");
        assert!(program.is_file(), "{} is not there", program.display());
        Self { program, threads }
    }

    /// `sequences` prompts of `prompt` tokens, then `generate` tokens of each; its default batch sizes, cache type and attention.
    pub fn run(&self, model: &Path, sequences: usize, prompt: usize, generate: usize) -> Speed {
        let context = sequences * (prompt + generate);
        let mut command = Command::new(&self.program);
        command.arg("-m").arg(model).args([
            "-c",
            &context.to_string(),
            "-t",
            &self.threads.to_string(),
            "-npp",
            &prompt.to_string(),
            "-ntg",
            &generate.to_string(),
            "-npl",
            &sequences.to_string(),
            "--output-format",
            "jsonl",
        ]);
        let output = command.output().expect("llama-batched-bench runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with('{'));
        let Some(line) = line else {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("llama-batched-bench printed no result:\n{text}\n{said}");
        };
        let result: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let number = |field: &str| result[field].as_f64().expect("a number");
        Speed {
            prompt: number("speed_pp"),
            generation: number("speed_tg"),
        }
    }
}
