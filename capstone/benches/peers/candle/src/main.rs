//! candle's side: `peer-candle MODEL.gguf SEQUENCES PROMPT GENERATE` runs its quantised model as its examples do and prints tokens a
//! second of prompts and of answers, all sequences together. Sequences go in step as one batch. `RAYON_NUM_THREADS` is its threads.

use candle_core::quantized::gguf_file::Content;
use candle_core::{D, Device, Result, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

enum Model {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
}

impl Model {
    fn load(path: &str) -> Result<(Self, u32)> {
        let mut file = BufReader::new(File::open(path)?);
        let content = Content::read(&mut file)?;
        let vocab = content.tensor_infos["token_embd.weight"].shape.dims()[0] as u32;
        let family = content.metadata["general.architecture"]
            .to_string()?
            .clone();
        let model = if family == "llama" {
            let model = quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
            Self::Llama(model)
        } else {
            let model = quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
            Self::Qwen2(model)
        };
        Ok((model, vocab))
    }

    /// The likeliest next token of each sequence, `[sequences, 1]`, after `tokens` `[sequences, n]` at positions from `first` on.
    fn step(&mut self, tokens: &Tensor, first: usize) -> Result<Tensor> {
        let logits = match self {
            Self::Llama(model) => model.forward(tokens, first)?,
            Self::Qwen2(model) => model.forward(tokens, first)?,
        };
        logits.argmax(D::Minus1)?.reshape((tokens.dim(0)?, 1))
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments[at].parse::<usize>().expect("a number");
    let (sequences, prompt, generate) = (number(1), number(2), number(3));
    let (mut model, vocab) = Model::load(&arguments[0])?;
    let tokens: Vec<u32> = (0..sequences * prompt)
        .map(|at| (at * 7919) as u32 % vocab)
        .collect();
    let tokens = Tensor::from_vec(tokens, (sequences, prompt), &Device::Cpu)?;
    // Once over the weights: pages, threads.
    model.step(&tokens.narrow(1, 0, 8)?, 0)?;
    let started = Instant::now();
    let mut last = model.step(&tokens, 0)?;
    let prompts = started.elapsed().as_secs_f64();
    let started = Instant::now();
    for token in 0..generate {
        last = model.step(&last, prompt + token)?;
    }
    last.to_vec2::<u32>()?;
    let answers = started.elapsed().as_secs_f64();
    println!(
        "{} {}",
        (sequences * prompt) as f64 / prompts,
        (sequences * generate) as f64 / answers
    );
    Ok(())
}
