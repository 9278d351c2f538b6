//! The peers' side: programs of theirs, a process a run.

use super::ours::Speed;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that measures itself.
pub struct Peer {
    /// As it stands in the record.
    pub name: &'static str,
    kind: Kind,
    program: PathBuf,
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    LlamaCpp,
    Candle,
    PyTorch,
}

impl Peer {
    /// Those that the environment names.
    pub fn from_environment(threads: usize) -> Vec<Self> {
        let all = [
            ("llama.cpp", Kind::LlamaCpp, "LLAMA_CPP"),
            ("candle", Kind::Candle, "CANDLE"),
            ("pytorch", Kind::PyTorch, "PYTORCH"),
        ];
        let named = all.into_iter().filter_map(|(name, kind, variable)| {
            let mut program = PathBuf::from(std::env::var_os(variable)?);
            if kind == Kind::LlamaCpp {
                program.push("llama-batched-bench");
            }
            assert!(program.is_file(), "{} is not there", program.display());
            Some(Self {
                name,
                kind,
                program,
                threads,
            })
        });
        named.collect()
    }

    /// Whether it takes part with models in this format and so many sequences. Candle's quantised Llama fails on a batch of prompts: its
    /// product wants contiguous rows, and the last position of each sequence is none.
    pub fn takes(&self, format: &str, sequences: usize) -> bool {
        match self.kind {
            Kind::PyTorch => format == "bf16",
            Kind::Candle => format != "bf16" && sequences == 1,
            Kind::LlamaCpp => format != "bf16",
        }
    }

    /// `sequences` prompts of `prompt` tokens, then `generate` tokens of each; everything else as it is by default.
    pub fn run(&self, model: &Path, sequences: usize, prompt: usize, generate: usize) -> Speed {
        let mut command = Command::new(&self.program);
        let numbers = [sequences, prompt, generate].map(|number| number.to_string());
        match self.kind {
            Kind::LlamaCpp => {
                let context = (sequences * (prompt + generate)).to_string();
                let threads = self.threads.to_string();
                let [sequences, prompt, generate] = &numbers;
                command.arg("-m").arg(model).args(["-c", &context]).args([
                    "-t",
                    &threads,
                    "-npp",
                    prompt,
                    "-ntg",
                    generate,
                    "-npl",
                    sequences,
                    "--output-format",
                    "jsonl",
                ]);
            }
            Kind::Candle => {
                command.env("RAYON_NUM_THREADS", self.threads.to_string());
                command.arg(model).args(&numbers);
            }
            Kind::PyTorch => {
                let script = benches::checkout().join("capstone/benches/peers/torch_bf16.py");
                let threads = OsString::from(self.threads.to_string());
                command.arg(script).arg("run").arg(model).args(&numbers);
                command.arg(threads);
            }
        }
        let output = command.output().expect("the peer's program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        self.speed(&text).unwrap_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("{} printed no result:\n{text}\n{said}", self.name)
        })
    }

    /// What a program printed: llama.cpp a line of JSON, the others `PROMPT GENERATION` in tokens a second on their last line.
    fn speed(&self, text: &str) -> Option<Speed> {
        if self.kind == Kind::LlamaCpp {
            let line = text.lines().find(|line| line.starts_with('{'))?;
            let result: serde_json::Value = serde_json::from_str(line).ok()?;
            return Some(Speed {
                prompt: result["speed_pp"].as_f64()?,
                generation: result["speed_tg"].as_f64()?,
            });
        }
        let (prompt, generation) = text.lines().last()?.split_once(' ')?;
        Some(Speed {
            prompt: prompt.parse().ok()?,
            generation: generation.parse().ok()?,
        })
    }
}
