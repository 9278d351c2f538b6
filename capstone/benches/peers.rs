//! The engine on the CPU beside llama.cpp, on the same files, threads and work, in turns.
//!
//! ```text
//! LLAMA_CPP=folder-of-llama-batched-bench MODELS=folder RECORD=1 cargo bench -p capstone --bench peers
//! ```
//!
//! `MODELS` holds `{llama-3.2-1b,qwen2.5-0.5b}-{q8_0,q4_0}.gguf`, written by `peers/make_model.py`. Prompts of 512 tokens, answers of
//! 128, one and eight sequences. llama.cpp is its own `llama-batched-bench`, built with native flags; each side runs `RUNS` times, one
//! after the other, and the record keeps the ratio of each pair.

mod peers {
    pub mod llama_cpp;
    pub mod ours;
}

use benches::{Bench, checkout};
use peers::llama_cpp::LlamaCpp;
use peers::ours::{Ours, Speed};
use std::path::PathBuf;

const PROMPT: usize = 512;
const GENERATE: usize = 128;
const SEQUENCES: [usize; 2] = [1, 8];

fn main() {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let Some(models) = folder("MODELS") else {
        println!(
            "nothing is measured: MODELS names no folder (see {})",
            file!()
        );
        return;
    };
    let runs = std::env::var("RUNS").map_or(3, |runs| runs.parse().expect("RUNS is a number"));
    let threads = std::env::var("THREADS").map_or_else(
        |_| memory_hierarchy::Pool::global().threads(),
        |threads| threads.parse().expect("THREADS is a number"),
    );
    let peer = folder("LLAMA_CPP").map(|bin| LlamaCpp::new(&bin, threads));
    let mut bench = Bench::new(
        "capstone --bench peers",
        "capstone-cpu",
        "fastserve's CPU backend beside llama.cpp, prompts of 512 tokens, answers of 128",
        &[
            "stages/01-memory-hierarchy/src",
            "stages/02-numerics/src",
            "stages/03-attention-variants/src",
            "capstone/benches/peers.rs",
            "capstone/benches/peers",
        ],
    );
    assert!(checkout().is_dir());
    for model in ["llama-3.2-1b", "qwen2.5-0.5b"] {
        for format in ["q8_0", "q4_0"] {
            let name = format!("{model}-{format}");
            let path = models.join(format!("{name}.gguf"));
            if std::env::args()
                .nth(1)
                .is_some_and(|only| !only.starts_with("--") && !name.contains(&only))
            {
                continue;
            }
            for sequences in SEQUENCES {
                let mut ours = Ours::load(&path, threads, sequences, PROMPT + GENERATE);
                // Once over everything: pages, threads, scratch.
                ours.run(1, 32, 4);
                let mut pairs = Vec::new();
                for _ in 0..runs {
                    let mine = ours.run(sequences, PROMPT, GENERATE);
                    let theirs = peer
                        .as_ref()
                        .map(|peer| peer.run(&path, sequences, PROMPT, GENERATE));
                    println!("{name} x{sequences}: ours {mine:.1?}, llama.cpp {theirs:.1?}");
                    pairs.push((mine, theirs));
                }
                keep(&mut bench, &format!("{name}/{sequences}"), &pairs);
            }
        }
    }
    bench.finish();
}

/// The series of one case: both sides' speeds, and their ratio run by run.
fn keep(bench: &mut Bench, case: &str, pairs: &[(Speed, Option<Speed>)]) {
    for (phase, of) in [
        (
            "prompt",
            (|speed: &Speed| speed.prompt) as fn(&Speed) -> f64,
        ),
        ("generation", |speed: &Speed| speed.generation),
    ] {
        let ours: Vec<f64> = pairs.iter().map(|(ours, _)| of(ours)).collect();
        let theirs: Vec<f64> = pairs
            .iter()
            .filter_map(|(_, theirs)| theirs.as_ref().map(of))
            .collect();
        let ratios: Vec<f64> = ours
            .iter()
            .zip(&theirs)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        bench.push(&format!("{phase}-{case}"), "tokens/s", ours);
        if !theirs.is_empty() {
            bench.push(&format!("llama.cpp-{phase}-{case}"), "tokens/s", theirs);
            bench.push(&format!("{phase}-ratio-{case}"), "x", ratios);
        }
    }
}
