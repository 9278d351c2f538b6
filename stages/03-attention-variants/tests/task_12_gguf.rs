//! GGUF files against the `gguf` package: every element type, the configuration, the vocabulary and the template.
//!
//! gguf/make_gguf.py has made the files and what is expected of them. That whole models compute the same from GGUF as from
//! safetensors is in task_17_families.rs, and here for one whose every part is quantised in another way.

mod support;

use attention_variants::config::RopeScaling;
use attention_variants::hf::{ChatTemplate, Source, Weights};
use attention_variants::matrix::{Elements, Matrix};
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::Reference;
use attention_variants::step::{StepInputs, StepLimits};
use safetensors::SafeTensors;
use serde_json::{Map, json};
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    let root =
        std::env::var("CARGO_MANIFEST_DIR").expect("cargo and nextest say where the crate lies");
    PathBuf::from(root).join("tests").join(name)
}

fn source(name: &str) -> Source {
    Source::at(&path(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// A tensor of types.gguf, and what the package takes it for.
fn tensor(weights: &mut Weights, name: &str) -> (Matrix, Vec<f32>) {
    let bytes = std::fs::read(path("gguf/types.safetensors")).expect("the fixture is there");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let expected = tensors.tensor(name).expect(name).data();
    let expected = expected
        .as_chunks()
        .0
        .iter()
        .map(|word| f32::from_le_bytes(*word));
    let matrix = weights
        .matrix(name, 3, 512)
        .unwrap_or_else(|error| panic!("{error}"));
    (matrix, expected.collect())
}

/// Types whose numbers the engine's blocks hold as they are.
#[test]
fn plain_types_come_out_to_the_bit() {
    let mut weights = source("gguf/types.gguf").weights().unwrap();
    for name in ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0"] {
        let (matrix, expected) = tensor(&mut weights, name);
        let as_stored = match name {
            "F32" => matches!(matrix.elements, Elements::F32(_)),
            "F16" => matches!(matrix.elements, Elements::F16(_)),
            "BF16" => matches!(matrix.elements, Elements::Bf16(_)),
            "Q8_0" | "Q5_0" => matches!(matrix.elements, Elements::Q8(_)),
            "Q4_0" => matches!(&matrix.elements, Elements::Q4(blocks) if blocks.offsets.is_none()),
            _ => matches!(&matrix.elements, Elements::Q4(blocks) if blocks.offsets.is_some()),
        };
        assert!(as_stored, "{name} became another type");
        assert_eq!(matrix.to_f32(), expected, "{name}");
        for (row, col) in [(0, 0), (1, 511), (2, 17)] {
            assert_eq!(matrix.get(row, col), expected[row * 512 + col], "{name}");
        }
    }
}

/// `d sc` and `-dmin m` are rounded to 11 bits, and the error is no more than that makes of it.
#[test]
fn four_bit_super_blocks_keep_their_quants() {
    let mut weights = source("gguf/types.gguf").weights().unwrap();
    let (matrix, expected) = tensor(&mut weights, "Q4_K");
    let Elements::Q4(blocks) = &matrix.elements else {
        panic!("Q4_K did not stay at 4 bits");
    };
    let offsets = blocks.offsets.as_ref().expect("minima");
    for (at, (got, want)) in matrix.to_f32().iter().zip(&expected).enumerate() {
        let (scale, offset) = (blocks.scales[at / 32].to_f32(), offsets[at / 32].to_f32());
        let bound = 2f32.powi(-11) * (15.0 * scale.abs() + offset.abs()) + 2f32.powi(-18);
        assert!(
            (got - want).abs() <= bound,
            "element {at}: {got}, not {want}"
        );
    }
}

/// Five and six bits go to eight, rounded to the block's 127th.
#[test]
fn five_and_six_bits_are_rounded_to_eight() {
    let mut weights = source("gguf/types.gguf").weights().unwrap();
    for name in ["Q5_1", "Q5_K", "Q6_K"] {
        let (matrix, expected) = tensor(&mut weights, name);
        assert!(matches!(matrix.elements, Elements::Q8(_)), "{name}");
        let got = matrix.to_f32();
        for (at, (got, want)) in got.chunks(32).zip(expected.chunks(32)).enumerate() {
            let largest = want
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            let bound = largest / 253.0 + 2f32.powi(-18);
            for (got, want) in got.iter().zip(want) {
                assert!(
                    (got - want).abs() <= bound,
                    "{name}, block {at}: {got}, not {want}"
                );
            }
        }
    }
}

/// Projections that run as one may be stored in different types: they stay in blocks, and lose what eight bits lose at most.
#[test]
fn parts_of_different_types_stay_in_blocks() {
    let mut weights = source("gguf/types.gguf").weights().unwrap();
    let mut stack = |names: &[&str]| {
        let parts: Vec<_> = names
            .iter()
            .map(|name| tensor(&mut weights, name))
            .collect();
        let values: Vec<f32> = parts
            .iter()
            .flat_map(|(_, values)| values.clone())
            .collect();
        let parts = parts.into_iter().map(|(matrix, _)| matrix).collect();
        (Matrix::stack(parts), values)
    };
    let (stacked, values) = stack(&["Q4_0", "Q4_1"]);
    assert!(matches!(&stacked.elements, Elements::Q4(blocks) if blocks.offsets.is_some()));
    assert_eq!(stacked.to_f32(), values);
    let (stacked, values) = stack(&["Q5_0", "Q4_0", "Q8_0"]);
    assert!(matches!(stacked.elements, Elements::Q8(_)));
    assert_eq!(stacked.to_f32(), values);
    let (stacked, values) = stack(&["Q4_1", "Q6_K"]);
    assert!(matches!(stacked.elements, Elements::Q8(_)));
    let got = stacked.to_f32();
    for (got, want) in got.chunks(32).zip(values.chunks(32)) {
        let largest = want
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs()));
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= largest / 253.0 + 2f32.powi(-18));
        }
    }
}

/// The description is the folder's, but for the two things that GGUF says in its own way.
#[test]
fn configurations_are_those_of_the_folders() {
    for name in ["llama3", "llama-biases", "qwen2", "qwen3", "qwen3-yarn"] {
        let mut want = source(&format!("fixtures/{name}")).config().unwrap();
        let got = source(&format!("gguf/{name}.gguf")).config().unwrap();
        let rope = want.rope.as_mut().unwrap();
        rope.interleaved = name.starts_with("llama");
        if name == "llama3" {
            let table = &got.rope.as_ref().unwrap().scaling;
            let RopeScaling::Table { factors } = table else {
                panic!("{table:?} is not the file's table");
            };
            assert_eq!(factors[0], 1.0, "the fastest pair is kept");
            assert_eq!(
                *factors.last().unwrap(),
                8.0,
                "the slowest pair is slowed by the whole factor"
            );
            rope.scaling = table.clone();
        }
        assert_eq!(got, want, "{name}");
    }
}

/// Greedy tokens and logits of a model.
fn generate(name: &str) -> (Vec<u32>, Vec<f32>) {
    let source = source(name);
    let limits = StepLimits {
        tokens: 8,
        logit_rows: 8,
        blocks: 5,
        block_size: 16,
        positions: 80,
    };
    let weights = source.weights().unwrap();
    let config = source.config().unwrap();
    let mut model = load(Reference::default(), config, weights, limits).unwrap();
    let (mut tokens, mut logits, mut seen) = (vec![267, 104, 30, 200], Vec::new(), 0);
    while tokens.len() < 36 {
        let new = &tokens[seen..];
        let positions: Vec<u32> = (seen as u32..tokens.len() as u32).collect();
        model.forward(&StepInputs {
            tokens: new,
            positions: &positions,
            slots: &positions,
            query_starts: &[0, new.len() as u32],
            block_tables: &[0, 1, 2, 3, 4],
            blocks_per_sequence: 5,
            block_copies: &[],
            outputs: &[new.len() as u32 - 1],
        });
        logits = model.logits(0..1).to_vec();
        seen = tokens.len();
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
        tokens.push(best.expect("a vocabulary") as u32);
    }
    (tokens, logits)
}

/// Quantised parts, stacked parts of different types among them, compute what their numbers in f32 compute.
#[test]
fn quantised_weights_generate_what_their_numbers_do() {
    let (tokens, logits) = generate("gguf/mixed.gguf");
    let (want_tokens, want_logits) = generate("gguf/mixed");
    support::assert_close(&logits, &want_logits, 1e-5, "logits after 32 tokens");
    assert_eq!(tokens, want_tokens);
}

#[test]
fn the_vocabulary_is_a_byte_level_tokenizer() {
    let source = source("gguf/mixed.gguf");
    let tokenizer = source.tokenizer().unwrap_or_else(|error| panic!("{error}"));
    let ids = |text: &str| tokenizer.encode(text, false).unwrap();
    // By hand from the merges: `he ll o`, a word with the space before it, digits in threes, a byte at a time elsewhere.
    let space = tokenizer.token_to_id("Ġ").unwrap();
    let byte = |byte: char| tokenizer.token_to_id(&byte.to_string()).unwrap();
    assert_eq!(ids("hello world"), [259, 264]);
    assert_eq!(ids("1234"), [266, byte('4')]);
    assert_eq!(ids(" hello"), [space, 259]);
    assert_eq!(ids("<|eot_id|>he<tool>"), [268, 256, 269]);
    assert_eq!(tokenizer.encode("he", true).unwrap(), [267, 256]);
    assert!(tokenizer.is_special(268) && !tokenizer.is_special(269));
    assert_eq!(
        tokenizer.token_to_id("[PAD]"),
        None,
        "an unused token has no text"
    );
    for text in ["hello world 123", "naïve 文字 \u{1f600}\n\n\t x", ""] {
        assert_eq!(tokenizer.decode(&ids(text), true).unwrap(), text);
    }
    assert_eq!(source.config().unwrap().eos_token_ids, [268]);
}

#[test]
fn the_template_knows_the_special_tokens() {
    let template: ChatTemplate = source("gguf/mixed.gguf").chat_template().unwrap().unwrap();
    let messages = [json!({"role": "user", "content": "hello"})];
    let text = template.render(&messages, true, &Map::new()).unwrap();
    assert_eq!(text, "<|begin_of_text|>user: hello<|eot_id|>");
}
