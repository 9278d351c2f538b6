//! Every family against `transformers`: logits of a prompt and 32 greedy tokens, computed in one prefill, in chunks, and token by
//! token through a paged cache whose blocks are scattered; and rows whose logits are asked for alone.
//!
//! The fixtures are made by fixtures/make_fixtures.py; what is expected was computed in double precision. gguf/make_gguf.py has
//! made GGUF files of some of them, which must compute the same.

mod support;

use attention_variants::hf::Source;
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::{Cpu, Isa, Ops, Reference, Vectorised};
use attention_variants::step::{StepInputs, StepLimits};
use memory_hierarchy::Pool;
use rand::RngExt;
use rand::rngs::StdRng;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use support::assert_close;

const TOLERANCE: f64 = 1e-4;
const BLOCK: usize = 3;
const POSITIONS: usize = 60;

struct Expected {
    prompt: Vec<u32>,
    /// `[prompt, vocab]`.
    logits: Vec<f32>,
    greedy: Vec<u32>,
}

fn fixtures() -> PathBuf {
    let root =
        std::env::var("CARGO_MANIFEST_DIR").expect("cargo and nextest say where the crate lies");
    Path::new(&root).join("tests/fixtures")
}

fn expected(folder: &Path) -> Expected {
    let bytes = std::fs::read(folder.join("expected.safetensors"))
        .expect("the fixture says what is expected");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tokens = |name: &str| -> Vec<u32> {
        let data = tensors.tensor(name).expect(name).data();
        data.chunks_exact(8)
            .map(|word| i64::from_le_bytes(word.try_into().expect("8 bytes")) as u32)
            .collect()
    };
    let logits = tensors.tensor("logits").expect("logits").data();
    let logits = logits
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes(word.try_into().expect("4 bytes")))
        .collect();
    Expected {
        prompt: tokens("prompt"),
        logits,
        greedy: tokens("greedy"),
    }
}

fn model<O: Ops>(path: &Path, ops: O) -> Box<dyn LanguageModel> {
    let source = Source::at(path).unwrap_or_else(|error| panic!("{error}"));
    let config = source.config().unwrap_or_else(|error| panic!("{error}"));
    let limits = StepLimits {
        tokens: 40,
        logit_rows: 40,
        blocks: 31,
        block_size: BLOCK,
        positions: POSITIONS,
    };
    let weights = source.weights().unwrap_or_else(|error| panic!("{error}"));
    Box::new(load(ops, config, weights, limits).unwrap_or_else(|error| panic!("{error}")))
}

/// A sequence whose pages lie in reverse order with gaps between.
struct Paged {
    model: Box<dyn LanguageModel>,
    table: Vec<u32>,
    seen: usize,
}

impl Paged {
    fn new(model: Box<dyn LanguageModel>) -> Self {
        let blocks = POSITIONS.div_ceil(BLOCK) as u32;
        Self {
            model,
            table: (0..blocks).map(|block| 30 - block - block / 3).collect(),
            seen: 0,
        }
    }

    /// Logits of all given tokens, `[tokens, vocab]`.
    fn step(&mut self, tokens: &[u32]) -> Vec<f32> {
        let all: Vec<u32> = (0..tokens.len() as u32).collect();
        self.step_for(tokens, &all)
    }

    /// Logits of some of the given tokens, `[outputs, vocab]`.
    fn step_for(&mut self, tokens: &[u32], outputs: &[u32]) -> Vec<f32> {
        let positions: Vec<u32> = (self.seen as u32..).take(tokens.len()).collect();
        let slot = |p: &u32| self.table[*p as usize / BLOCK] * BLOCK as u32 + p % BLOCK as u32;
        let slots: Vec<u32> = positions.iter().map(slot).collect();
        self.model.forward(&StepInputs {
            tokens,
            positions: &positions,
            slots: &slots,
            query_starts: &[0, tokens.len() as u32],
            block_tables: &self.table,
            blocks_per_sequence: self.table.len(),
            block_copies: &[],
            outputs,
        });
        self.seen += tokens.len();
        self.model.logits(0..outputs.len()).to_vec()
    }

    /// Takes the prompt in chunks, compares its logits, then continues greedily and compares the tokens.
    fn hold_to(mut self, want: &Expected, chunk: usize, what: &str) {
        let vocab = self.model.config().vocab_size;
        let logits: Vec<f32> = want
            .prompt
            .chunks(chunk)
            .flat_map(|chunk| self.step(chunk))
            .collect();
        for (at, (got, want)) in logits
            .chunks_exact(vocab)
            .zip(want.logits.chunks_exact(vocab))
            .enumerate()
        {
            assert_close(
                got,
                want,
                TOLERANCE,
                &format!("{what}, chunks of {chunk}, position {at}"),
            );
        }
        let mut last = logits[logits.len() - vocab..].to_vec();
        let mut greedy = Vec::new();
        while greedy.len() < want.greedy.len() {
            let best = (0..vocab)
                .max_by(|a, b| last[*a].total_cmp(&last[*b]))
                .expect("a vocabulary") as u32;
            greedy.push(best);
            last = self.step(&[best]);
        }
        assert_eq!(greedy, want.greedy, "{what}, chunks of {chunk}");
    }

    /// Takes the prompt in chunks and asks for some rows of each, or none; they must have the logits that `whole`, which is asked for
    /// all, gives them, to the last bit.
    fn hold_outputs_to(mut self, mut whole: Self, prompt: &[u32], rng: &mut StdRng, what: &str) {
        let vocab = self.model.config().vocab_size;
        for chunk in prompt.chunks(5) {
            let share = [0.0, 0.3, 0.7][rng.random_range(0..3)];
            let rows = 0..chunk.len() as u32;
            let outputs: Vec<u32> = rows.filter(|_| rng.random_bool(share)).collect();
            let logits = whole.step(chunk);
            let want = outputs
                .iter()
                .flat_map(|row| &logits[*row as usize * vocab..][..vocab]);
            let got = self.step_for(chunk, &outputs);
            assert_eq!(got.len(), outputs.len() * vocab, "{what}: {outputs:?}");
            let same = got
                .iter()
                .zip(want)
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{what}: {outputs:?} of {}", chunk.len());
        }
    }
}

fn check(name: &str) {
    let folder = fixtures().join(name);
    let want = expected(&folder);
    assert_eq!(want.greedy.len(), 32);
    hold_to(&folder, &want);
    // Some have the same weights as a GGUF file too.
    let gguf = as_gguf(&folder);
    if gguf.exists() {
        hold_to(&gguf, &want);
    }
}

/// The GGUF file of a folder, where it has one.
fn as_gguf(folder: &Path) -> PathBuf {
    let name = folder.file_name().expect("a folder").to_string_lossy();
    folder.with_file_name(format!("../gguf/{name}.gguf"))
}

fn hold_to(path: &Path, want: &Expected) {
    let name = path.display();
    let mut rng = support::rng();
    let on_reference = || Paged::new(model(path, Reference::default()));
    let on_cpu = |isa| {
        let operations = Vectorised::new(isa, Pool::global().clone());
        Paged::new(model(path, Cpu::new(operations)))
    };
    for chunk in [want.prompt.len(), 1, 4] {
        on_reference().hold_to(want, chunk, &format!("{name} on the reference"));
        for isa in Isa::available() {
            on_cpu(isa).hold_to(want, chunk, &format!("{name} on {isa:?}"));
        }
    }
    let what = format!("{name} on the reference");
    on_reference().hold_outputs_to(on_reference(), &want.prompt, &mut rng, &what);
    for isa in Isa::available() {
        let what = format!("{name} on {isa:?}");
        on_cpu(isa).hold_outputs_to(on_cpu(isa), &want.prompt, &mut rng, &what);
    }
}

macro_rules! families {
    ($($test:ident: $folder:literal,)*) => {
        $(#[test] fn $test() { check($folder); })*

        /// A fixture that no test reads proves nothing.
        #[test]
        fn every_fixture_is_checked() {
            let listed = [$($folder),*];
            for entry in std::fs::read_dir(fixtures()).expect("the fixtures lie beside the tests") {
                let entry = entry.expect("a readable folder");
                let name = entry.file_name().into_string().expect("a plain name");
                assert!(!entry.path().is_dir() || listed.contains(&name.as_str()), "{name} is not checked");
            }
            let gguf = ["llama3", "llama-biases", "qwen2", "qwen3", "qwen3-yarn"];
            assert!(gguf.iter().all(|name| listed.contains(name) && as_gguf(&fixtures().join(name)).exists()));
        }
    };
}

families! {
    gpt2: "gpt2",
    llama2: "llama2",
    llama3: "llama3",
    llama_with_biases: "llama-biases",
    mistral: "mistral",
    qwen2: "qwen2",
    qwen2_with_windows: "qwen2-window",
    qwen3: "qwen3",
    qwen3_with_yarn: "qwen3-yarn",
    mixtral: "mixtral",
    qwen3_moe: "qwen3-moe",
    qwen3_moe_not_renormalised: "qwen3-moe-raw",
    deepseek_v2_lite: "deepseek-v2-lite",
    deepseek_v2: "deepseek-v2",
    deepseek_v3: "deepseek-v3",
    deepseek_v3_plain: "deepseek-v3-plain",
}

#[test]
#[should_panic(expected = "outputs do not ascend")]
fn outputs_ascend() {
    let llama = model(&fixtures().join("llama3"), Cpu::default());
    Paged::new(llama).step_for(&[1, 2, 3], &[2, 1]);
}

#[test]
#[should_panic(expected = "out of range")]
fn outputs_are_rows_of_the_step() {
    let llama = model(&fixtures().join("llama3"), Cpu::default());
    Paged::new(llama).step_for(&[1, 2, 3], &[1, 3]);
}
