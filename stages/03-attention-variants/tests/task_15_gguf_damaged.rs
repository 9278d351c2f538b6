//! Whatever is in a GGUF file, reading it ends in a model's parts or an error that names the file; nothing panics, and no length
//! in the file makes anyone allocate what the file does not hold.

mod folder;

use attention_variants::hf::{Gguf, LoadError, Source};
use folder::message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The largest allocation of the whole program.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Watched;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A metadata pair of type `kind`.
fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(key), &kind.to_le_bytes()[..], value].concat()
}

fn list(kind: u32, items: &[Vec<u8>]) -> Vec<u8> {
    [
        &kind.to_le_bytes()[..],
        &(items.len() as u64).to_le_bytes(),
        &items.concat(),
    ]
    .concat()
}

fn info(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let shape: Vec<u8> = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
    let dimensions = (shape.len() as u32 / 8).to_le_bytes();
    [
        &string(name),
        &dimensions[..],
        &shape,
        &kind.to_le_bytes(),
        &offset.to_le_bytes(),
    ]
    .concat()
}

/// A file of these parts, with `data` bytes behind.
fn file(version: u32, pairs: &[Vec<u8>], infos: &[Vec<u8>], data: usize) -> Vec<u8> {
    let counts = [
        (infos.len() as u64).to_le_bytes(),
        (pairs.len() as u64).to_le_bytes(),
    ];
    let mut file = [b"GGUF", &version.to_le_bytes()[..], &counts.concat()].concat();
    file.extend(pairs.concat());
    file.extend(infos.concat());
    file.resize(file.len().next_multiple_of(32) + data, 7);
    file
}

fn number(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// A small file of every kind of value, with a vocabulary and tensors of three types.
fn whole() -> Vec<u8> {
    let llama = |name: &str, value: u32| pair(&format!("llama.{name}"), 4, &number(value));
    let tokens: Vec<_> = ["<unk>", "<s>", "a", "b", "ab", "▁"].map(string).to_vec();
    let scores: Vec<_> = [0.0f32, 0.0, -3.0, -2.0, -1.0, -4.0]
        .map(|x| x.to_le_bytes().to_vec())
        .to_vec();
    let kinds: Vec<_> = [2u32, 3, 1, 1, 1, 1].map(number).to_vec();
    let pairs = [
        pair("general.architecture", 8, &string("llama")),
        pair("general.alignment", 4, &number(32)),
        llama("context_length", 64),
        llama("embedding_length", 32),
        llama("block_count", 1),
        llama("feed_forward_length", 32),
        llama("attention.head_count", 2),
        pair(
            "llama.attention.layer_norm_rms_epsilon",
            6,
            &1e-5f32.to_le_bytes(),
        ),
        pair("a.byte", 0, &[1]),
        pair("a.flag", 7, &[1]),
        pair("a.double", 12, &1.5f64.to_le_bytes()),
        pair("a.long", 10, &5u64.to_le_bytes()),
        pair("tokenizer.ggml.model", 8, &string("llama")),
        pair("tokenizer.ggml.tokens", 9, &list(8, &tokens)),
        pair("tokenizer.ggml.scores", 9, &list(6, &scores)),
        pair("tokenizer.ggml.token_type", 9, &list(5, &kinds)),
        pair("tokenizer.ggml.bos_token_id", 4, &number(1)),
        pair(
            "tokenizer.chat_template",
            8,
            &string("{{ messages[0].content }}"),
        ),
    ];
    let infos = [
        info("token_embd.weight", &[32, 6], 8, 0),
        info("output_norm.weight", &[32], 0, 224),
        info("blk.0.attn_q.weight", &[32, 2], 2, 352),
    ];
    file(3, &pairs, &infos, 388)
}

/// Reads all that a file has.
fn read(bytes: &[u8]) -> Result<(), LoadError> {
    let gguf = Gguf::embedded("small.gguf", bytes.to_vec().leak())?;
    let source = Source::Gguf(Arc::new(gguf));
    source.config()?;
    source.tokenizer()?;
    source.chat_template()?;
    let mut weights = source.weights()?;
    weights.matrix("model.embed_tokens.weight", 6, 32)?;
    weights.vector("model.norm.weight", 32)?;
    weights.matrix("model.layers.0.self_attn.q_proj.weight", 2, 32)?;
    Ok(())
}

#[test]
fn every_truncation_is_refused() {
    let bytes = whole();
    read(&bytes).unwrap_or_else(|error| panic!("{error}"));
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err("a file without its end");
        assert!(
            matches!(error, LoadError::Truncated { .. }),
            "{length} bytes: {error}"
        );
        assert!(error.to_string().contains("small.gguf"), "{error}");
    }
}

#[test]
fn mutated_files_never_panic_nor_allocate_without_end() {
    let mut rng = StdRng::seed_from_u64(folder::seed());
    let (whole, mut good, mut refused) = (whole(), 0, 0);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..5u8) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8u8),
                1 => bytes[at] = rng.random(),
                2 => bytes[at] = 0xff,
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].fill(rng.random());
                }
            }
        }
        match read(&bytes) {
            Ok(()) => good += 1,
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("small.gguf"), "{error}");
            }
        }
    }
    assert!(
        good > 500 && refused > 500,
        "{good} loaded, {refused} were refused"
    );
    let largest = LARGEST.load(Ordering::Relaxed);
    // The description of 2^16 layers, the most that a configuration may have, takes five million bytes.
    assert!(
        largest < 8 << 20,
        "{largest} bytes were allocated at once for a file of two thousand"
    );
}

#[test]
fn broken_rules_are_named() {
    let alone = |info: Vec<u8>| file(3, &[], &[info], 64);
    let long = |count: u64| [&number(8)[..], &count.to_le_bytes()].concat();
    let key = |kind, value: &[u8]| file(3, &[pair("key", kind, value)], &[], 64);
    for (bytes, names) in [
        (
            b"GGML".repeat(8),
            ["not a valid GGUF file", "does not begin"],
        ),
        (file(1, &[], &[], 0), ["version is 1", "2 and 3"]),
        (file(4, &[], &[], 0), ["version is 4", "2 and 3"]),
        (
            file(3, &[pair("key", 0, &[1]), pair("key", 0, &[2])], &[], 0),
            ["`key`", "twice"],
        ),
        (key(13, &[]), ["`key`", "unknown type 13"]),
        (key(9, &long(u64::MAX)), ["ends after", "key"]),
        (key(9, &long(1 << 61)), ["ends after", "key"]),
        (key(9, &list(9, &[])), ["`key`", "list of lists"]),
        (key(8, &u64::MAX.to_le_bytes()), ["ends after", "key"]),
        (
            key(8, &[&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat()),
            ["key", "UTF-8"],
        ),
        (
            file(3, &[pair("general.alignment", 4, &number(0))], &[], 0),
            ["general.alignment", "power of two"],
        ),
        (alone(info("t", &[1], 99, 0)), ["`t`", "unknown type 99"]),
        (alone(info("t", &[256], 10, 0)), ["`t`", "Q2_K"]),
        (alone(info("t", &[31], 8, 0)), ["`t`", "no multiple of 32"]),
        (
            alone(info("t", &[1 << 33, 1 << 33], 0, 0)),
            ["`t`", "no size"],
        ),
        (alone(info("t", &[0, u64::MAX], 0, 0)), ["`t`", "no size"]),
        (alone(info("t", &[1; 5], 0, 0)), ["`t`", "5 dimensions"]),
        (alone(info("t", &[64], 0, 0)), ["ends after", "`t`"]),
        (alone(info("t", &[1], 0, 1 << 62)), ["ends after", "`t`"]),
        (
            alone(info("t", &[1], 0, u64::MAX - 31)),
            ["ends after", "`t`"],
        ),
        (alone(info("t", &[1], 0, 4)), ["`t`", "not aligned"]),
        (
            file(3, &[], &[info("t", &[1], 0, 0), info("t", &[1], 0, 32)], 64),
            ["`t`", "twice"],
        ),
    ] {
        message(read(&bytes), &[names[0], names[1], "small.gguf"]);
    }
}

/// Fields of a model are named as the file has them.
#[test]
fn fields_are_named_as_in_the_file() {
    let with = |pairs: &[Vec<u8>]| {
        let architecture = pair("general.architecture", 8, &string("llama"));
        let pairs = [&[architecture], pairs].concat();
        read(&file(
            3,
            &pairs,
            &[info("token_embd.weight", &[32, 6], 8, 0)],
            256,
        ))
    };
    let llama = |name: &str, value: u32| pair(&format!("llama.{name}"), 4, &number(value));
    let rest = [
        llama("context_length", 64),
        llama("embedding_length", 32),
        llama("block_count", 1),
        llama("feed_forward_length", 32),
    ];
    message(with(&[]), &["small.gguf", "missing", "llama."]);
    let heads = [&rest[..], &[llama("attention.head_count", 0)]].concat();
    message(with(&heads), &["llama.attention.head_count", "at least 1"]);
    let heads = [
        &rest[..],
        &[
            llama("attention.head_count", 4),
            llama("attention.head_count_kv", 3),
        ],
    ]
    .concat();
    message(with(&heads), &["llama.attention.head_count_kv", "divisor"]);
    message(
        with(&[llama("expert_count", 8)]),
        &["llama.expert_count", "safetensors"],
    );
    let other = file(
        3,
        &[pair("general.architecture", 8, &string("mamba"))],
        &[],
        0,
    );
    message(read(&other), &["general.architecture", "mamba", "qwen3"]);
}
