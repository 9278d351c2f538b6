//! The engine on the CPU beside llama.cpp, candle and PyTorch, on the same files, threads and work, in turns.
//!
//! ```text
//! bash capstone/benches/peers/table.sh    # builds the peers, writes the models, and runs this
//! ```
//!
//! `MODELS` holds `{llama-3.2-1b,qwen2.5-0.5b}-{q8_0,q4_0}.gguf` and folders `…-bf16`; what is not there is passed over. Prompts of 512
//! tokens, answers of 128, one and eight sequences. Peers are programs, named by `LLAMA_CPP` (the folder of its own
//! `llama-batched-bench`, built with native flags), `CANDLE` (peers/candle) and `PYTORCH` (a Python with torch and transformers); each
//! side runs `RUNS` times, one after the other, and the record keeps the ratio of each pair. An argument restricts the cases to those
//! whose name has it.

mod peers {
    pub mod ours;
    pub mod programs;
}

use attention_variants::ops::Isa;
use benches::{Bench, checkout};
use peers::ours::{Ours, Speed};
use peers::programs::Peer;
use std::path::PathBuf;

const PROMPT: usize = 512;
const GENERATE: usize = 128;
const SEQUENCES: [usize; 2] = [1, 8];

fn main() {
    let Some(models) = std::env::var_os("MODELS").map(PathBuf::from) else {
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
    let only = std::env::args().nth(1).filter(|it| !it.starts_with("--"));
    let all = Peer::from_environment(threads);
    // A CPU without AVX-512 is another race: a record of its own.
    let record = match Isa::detect() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => "capstone-cpu".to_owned(),
        other => format!("capstone-cpu-{other:?}").to_lowercase(),
    };
    let mut bench = Bench::new(
        "capstone --bench peers",
        &record,
        "fastserve's CPU backend beside its peers, prompts of 512 tokens, answers of 128",
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
        for format in ["q8_0", "q4_0", "bf16"] {
            let name = format!("{model}-{format}");
            let ending = if format == "bf16" { "" } else { ".gguf" };
            let path = models.join(format!("{name}{ending}"));
            if !path.exists() || only.as_ref().is_some_and(|only| !name.contains(only)) {
                continue;
            }
            for sequences in SEQUENCES {
                let taking = all.iter().filter(|peer| peer.takes(format, sequences));
                let peers: Vec<&Peer> = taking.collect();
                let mut ours = Ours::load(&path, threads, sequences, PROMPT + GENERATE);
                // Once over everything: pages, threads, scratch.
                ours.run(1, 32, 4);
                let mut rounds = Vec::new();
                for _ in 0..runs {
                    let mine = ours.run(sequences, PROMPT, GENERATE);
                    println!("{name} x{sequences}: ours {mine:.1?}");
                    let theirs = peers.iter().map(|peer| {
                        let speed = peer.run(&path, sequences, PROMPT, GENERATE);
                        println!("{name} x{sequences}: {} {speed:.1?}", peer.name);
                        speed
                    });
                    rounds.push((mine, theirs.collect::<Vec<_>>()));
                }
                keep(&mut bench, &format!("{name}/{sequences}"), &peers, &rounds);
            }
        }
    }
    bench.finish();
}

/// The series of one case: each side's speeds, and our ratio to each peer, run by run.
fn keep(bench: &mut Bench, case: &str, peers: &[&Peer], rounds: &[(Speed, Vec<Speed>)]) {
    for (phase, of) in [
        (
            "prompt",
            (|speed: &Speed| speed.prompt) as fn(&Speed) -> f64,
        ),
        ("generation", |speed: &Speed| speed.generation),
    ] {
        let ours: Vec<f64> = rounds.iter().map(|(ours, _)| of(ours)).collect();
        for (at, peer) in peers.iter().enumerate() {
            let theirs: Vec<f64> = rounds.iter().map(|(_, all)| of(&all[at])).collect();
            let pairs = ours.iter().zip(&theirs);
            let ratios = pairs.map(|(ours, theirs)| ours / theirs).collect();
            // llama.cpp is who everybody compares with.
            let ratio = match peer.name {
                "llama.cpp" => format!("{phase}-ratio-{case}"),
                name => format!("{phase}-over-{name}-{case}"),
            };
            bench.push(&format!("{}-{phase}-{case}", peer.name), "tokens/s", theirs);
            bench.push(&ratio, "x", ratios);
        }
        bench.push(&format!("{phase}-{case}"), "tokens/s", ours);
    }
}
