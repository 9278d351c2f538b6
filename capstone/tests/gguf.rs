//! A GGUF file is all that a command needs: configuration, weights in blocks, tokenizer and template.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs `fastserve generate` with a model of stage 03's fixtures.
fn generate(model: &str, args: &[&str]) -> Output {
    let root =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../stages/03-attention-variants/tests");
    Command::new(env!("CARGO_BIN_EXE_fastserve"))
        .args([
            "generate",
            "--threads",
            "1",
            "--max-tokens",
            "12",
            "--model",
        ])
        .arg(root.join(model))
        .args(args)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary starts")
}

/// What a run printed.
fn text(output: Output) -> String {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    String::from_utf8(output.stdout).expect("the answer is text")
}

#[test]
fn a_file_generates_alone_and_always_the_same() {
    let first = text(generate("gguf/mixed.gguf", &["hello world"]));
    assert!(!first.trim().is_empty());
    assert_eq!(first, text(generate("gguf/mixed.gguf", &["hello world"])));
    let chat = text(generate("gguf/mixed.gguf", &["--chat", "hello world"]));
    assert_ne!(first, chat, "the template is in the file too");
}

#[test]
fn a_file_that_does_not_load_is_named() {
    for (model, words) in [
        ("gguf/llama3.gguf", "tokenizer.ggml.tokens` is missing"),
        ("gguf/none.gguf", "cannot be read"),
    ] {
        let output = generate(model, &["hello"]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(log.contains(words) && log.contains(model), "{log}");
    }
}
