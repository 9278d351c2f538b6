//! Real vocabularies in GGUF: the ids that `transformers` gives, for all texts that llama.cpp tests its own tokenizers with.
//!
//! The files are in `models/` of llama.cpp's sources (and of the sdist of llama-cpp-python): NAME.gguf, NAME.gguf.inp with the
//! texts and NAME.gguf.out with a line of ids for each. They are too large to have here:
//!
//! ```text
//! VOCABULARIES=…/llama.cpp/models cargo test -p stage-03 --test task_13_gguf_vocabularies -- --ignored
//! ```

use attention_variants::hf::Source;
use std::path::PathBuf;

fn check(name: &str) {
    let folder = PathBuf::from(std::env::var("VOCABULARIES").expect("VOCABULARIES is a folder"));
    let read = |ending: &str| {
        let path = folder.join(format!("ggml-vocab-{name}.gguf{ending}"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let source = Source::at(&folder.join(format!("ggml-vocab-{name}.gguf"))).unwrap();
    let tokenizer = source.tokenizer().unwrap_or_else(|error| panic!("{error}"));
    let texts = read(".inp");
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let expected = read(".out");
    let expected: Vec<Vec<u32>> = expected
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(|id| id.parse().expect("an id"))
                .collect()
        })
        .collect();
    assert!(expected.len() > 40 && texts.len() >= expected.len());
    let mut wrong = 0;
    for (text, want) in texts.iter().zip(&expected) {
        let got = tokenizer.encode(text, false).unwrap();
        if got != *want {
            wrong += 1;
            println!("{text:?}: {got:?}, not {want:?}");
        }
        let back = tokenizer.decode(&got, false).unwrap();
        if back != *text {
            println!("{text:?} came back as {back:?}");
        }
    }
    println!("{name}: {} of {}", expected.len() - wrong, expected.len());
    assert_eq!(wrong, 0, "{name}");
}

macro_rules! vocabularies {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] #[ignore = "needs llama.cpp's vocabularies"] fn $test() { check($name); })*
    };
}

vocabularies! {
    llama_bpe: "llama-bpe",
    qwen2: "qwen2",
    gpt_2: "gpt-2",
    llama_spm: "llama-spm",
    phi_3: "phi-3",
}
