//! The time that a step of the embedded model takes, by the format of its linear layers: one token after 128 others, with its logits, and
//! a prompt of 512. The formats that have kernels; narrower ones are stored in fewer bytes and run as these. Models take turns.

use attention_variants::hf::Source;
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::{Cpu, Isa, Vectorised};
use attention_variants::step::StepInputs;
use benches::Bench;
use fastserve::embedded::SOURCE;
use fastserve::quantize::checkpoint::Checkpoint;
use fastserve::quantize::evaluate::{LIMITS, forward};
use fastserve::quantize::packed;
use fastserve::quantize::recipe::{Method, quantise};
use fastserve::quantize::text::Sequence;
use fastserve::quantize::units::units;
use memory_hierarchy::Pool;
use std::time::Instant;

const ROUNDS: usize = 31;
/// Steps of one token in a sample.
const STEPS: usize = 20;
/// Tokens of a prompt, and tokens before a step of one.
const PROMPT: usize = 512;
const CONTEXT: usize = 128;

fn main() {
    // `cargo test --benches` asks only whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut bench = Bench::new(
        "capstone --bench quantised_speed",
        "02-embedded-speed",
        "The embedded model by the format of its linear layers: milliseconds of a step of one token, and of a prompt",
        &[
            "stages/02-numerics/src/matmul",
            "stages/03-attention-variants/src/ops",
        ],
    );
    let whole = Checkpoint::read(&SOURCE).expect("the embedded model is there");
    let units = units(whole.tensors.keys());
    let in_bits = |bits| {
        let scheme = packed::scheme(bits, 32).expect("a width of the format");
        let model = quantise(whole.clone(), &units, None, Method::Rtn, |_| Some(scheme));
        packed::pack(model.expect("finite weights")).expect("whole groups")
    };
    let formats = [
        ("bf16", whole.clone()),
        ("int8", in_bits(8)),
        ("int4", in_bits(4)),
    ];
    let mut models = formats.map(|(name, checkpoint)| (name, loaded(&checkpoint)));
    let mut samples = [const { [Vec::new(), Vec::new()] }; 3];
    for _ in 0..ROUNDS {
        for ((_, model), [one, prompt]) in models.iter_mut().zip(&mut samples) {
            one.push(steps(&mut **model));
            prompt.push(reading(&mut **model));
        }
    }
    for ((name, _), [one, prompt]) in models.iter().zip(samples) {
        bench.push(&format!("step/{name}"), "ms", one);
        bench.push(&format!("prompt/{name}"), "ms", prompt);
    }
    bench.finish();
}

fn loaded(checkpoint: &Checkpoint) -> Box<dyn LanguageModel> {
    let folder = tempfile::tempdir().unwrap();
    checkpoint.write(folder.path()).unwrap();
    let source = Source::Dir(folder.path().to_owned());
    let (config, weights) = (source.config().unwrap(), source.weights().unwrap());
    // As the server multiplies them.
    let operations = Vectorised::fastest(Isa::detect(), Pool::global().clone());
    Box::new(load(Cpu::new(operations), config, weights, LIMITS).unwrap())
}

/// Milliseconds of a step of one token.
fn steps(model: &mut dyn LanguageModel) -> f64 {
    let blocks: Vec<u32> = (0..=(CONTEXT / LIMITS.block_size) as u32).collect();
    let began = Instant::now();
    for _ in 0..STEPS {
        model.forward(&StepInputs {
            tokens: &[17],
            positions: &[CONTEXT as u32],
            slots: &[CONTEXT as u32],
            query_starts: &[0, 1],
            block_tables: &blocks,
            blocks_per_sequence: blocks.len(),
            block_copies: &[],
            outputs: &[0],
        });
        std::hint::black_box(model.logits(0..1));
    }
    began.elapsed().as_secs_f64() * 1e3 / STEPS as f64
}

/// Milliseconds of a prompt, with the logits of one row: those that predict its last token.
fn reading(model: &mut dyn LanguageModel) -> f64 {
    let prompt = [Sequence {
        tokens: (0..PROMPT as u32).collect(),
        from: PROMPT - 1,
    }];
    let began = Instant::now();
    forward(model, &prompt, Sequence::predicting, |model, _| {
        std::hint::black_box(model.logits(0..1));
    });
    began.elapsed().as_secs_f64() * 1e3
}
