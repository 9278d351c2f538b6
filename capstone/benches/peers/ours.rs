//! Our side: the steps that the engine would plan, one after another, greedy.

use attention_variants::hf::Source;
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::{Cpu, Isa, KvType, Vectorised};
use attention_variants::step::{StepInputs, StepLimits};
use memory_hierarchy::Pool;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

const BLOCK_SIZE: usize = 16;
/// Tokens of a prompt in one step.
const CHUNK: usize = 512;

/// Tokens a second.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Of prompts, all sequences together.
    pub prompt: f64,
    /// Of answers, all sequences together.
    pub generation: f64,
}

/// A model on a thread of its own, pinned as the engine's is. (The thread that starts peers must not be: they would inherit its core.)
pub struct Ours {
    work: Sender<[usize; 3]>,
    speeds: Receiver<Speed>,
}

impl Ours {
    /// Loads a GGUF file or a folder onto `threads` threads, with a cache for `sequences` sequences of `positions` tokens.
    pub fn load(path: &Path, threads: usize, sequences: usize, positions: usize) -> Self {
        let (work, orders) = channel::<[usize; 3]>();
        let (results, speeds) = channel();
        let pool = Arc::new(Pool::new(threads));
        let mut steps = Steps::load(path, pool.clone(), sequences, positions);
        std::thread::spawn(move || {
            pool.pin_caller();
            for [sequences, prompt, generate] in orders {
                let speed = steps.run(sequences, prompt, generate);
                results.send(speed).expect("who ordered it waits");
            }
        });
        Self { work, speeds }
    }

    /// `sequences` prompts of `prompt` random tokens, then `generate` tokens of each.
    pub fn run(&mut self, sequences: usize, prompt: usize, generate: usize) -> Speed {
        let order = [sequences, prompt, generate];
        self.work.send(order).expect("the thread listens");
        self.speeds.recv().expect("the thread did not panic")
    }
}

/// The model and its cache.
struct Steps {
    model: Box<dyn LanguageModel>,
    /// Blocks of a sequence.
    blocks: usize,
    vocab: u32,
}

impl Steps {
    /// The cache is in f16, as llama.cpp's is; rows meet weights in bf16 as they do in the server.
    fn load(path: &Path, pool: Arc<Pool>, sequences: usize, positions: usize) -> Self {
        let source = Source::at(path).expect("the file is a model");
        let config = source.config().expect("a configuration");
        let weights = source.weights().expect("weights");
        let blocks = positions.div_ceil(BLOCK_SIZE);
        let limits = StepLimits {
            tokens: CHUNK,
            logit_rows: sequences,
            blocks: blocks * sequences,
            block_size: BLOCK_SIZE,
            positions,
        };
        let vocab = config.vocab_size as u32;
        let isa = Isa::detect();
        let operations = Vectorised::fastest(isa, pool);
        let cpu = Cpu::new(operations).with_kv(KvType::F16);
        let model = load(cpu, config, weights, limits).expect("the model loads");
        Self {
            model: Box::new(model),
            blocks,
            vocab,
        }
    }

    fn run(&mut self, sequences: usize, prompt: usize, generate: usize) -> Speed {
        let mut last = vec![0u32; sequences];
        let started = Instant::now();
        for sequence in 0..sequences {
            for from in (0..prompt).step_by(CHUNK) {
                let tokens: Vec<u32> = (from..prompt.min(from + CHUNK))
                    .map(|at| (at * 7919 + sequence * 104_729) as u32 % self.vocab)
                    .collect();
                let rows = self.step(&[sequence], &tokens, from);
                last[sequence] = rows[0];
            }
        }
        let prompts = started.elapsed().as_secs_f64();
        let all: Vec<usize> = (0..sequences).collect();
        let started = Instant::now();
        for token in 0..generate {
            last = self.step(&all, &last, prompt + token);
        }
        let answers = started.elapsed().as_secs_f64();
        Speed {
            prompt: (sequences * prompt) as f64 / prompts,
            generation: (sequences * generate) as f64 / answers,
        }
    }

    /// One step: all of `tokens` belong to one sequence, or one to each; returns the likeliest next token of each sequence.
    fn step(&mut self, sequences: &[usize], tokens: &[u32], first: usize) -> Vec<u32> {
        let each = tokens.len() / sequences.len();
        let positions: Vec<u32> = (0..tokens.len())
            .map(|i| (first + i % each) as u32)
            .collect();
        let slots: Vec<u32> = positions
            .iter()
            .enumerate()
            .map(|(i, at)| (sequences[i / each] * self.blocks * BLOCK_SIZE) as u32 + at)
            .collect();
        let starts: Vec<u32> = (0..=sequences.len()).map(|s| (s * each) as u32).collect();
        let tables: Vec<u32> = sequences
            .iter()
            .flat_map(|s| (s * self.blocks..(s + 1) * self.blocks).map(|block| block as u32))
            .collect();
        let rows: Vec<u32> = starts[1..].iter().map(|end| end - 1).collect();
        self.model.forward(&StepInputs {
            tokens,
            positions: &positions,
            slots: &slots,
            query_starts: &starts,
            block_tables: &tables,
            blocks_per_sequence: self.blocks,
            block_copies: &[],
            outputs: &rows,
        });
        let vocab = self.vocab as usize;
        let logits = self.model.logits(0..rows.len());
        logits.chunks_exact(vocab).map(likeliest).collect()
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        assert!(logit.is_finite(), "a logit is no number");
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}
