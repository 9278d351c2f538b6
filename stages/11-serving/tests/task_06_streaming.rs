//! Task 6: streams: framing, chunks, usage, and the same text as the whole answer.

mod common;

use common::{END, Script, chat, completion, serve};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

fn seed() -> u64 {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    seed
}

/// Concatenates a field of the choices with an index.
fn joined(chunks: &[Value], index: usize, pointer: &str) -> String {
    let choices = chunks
        .iter()
        .flat_map(|chunk| chunk["choices"].as_array().unwrap());
    choices
        .filter(|choice| choice["index"] == index)
        .filter_map(|choice| choice.pointer(pointer)?.as_str())
        .collect()
}

#[tokio::test]
async fn chat_stream_has_role_deltas_reason_usage() {
    let server = serve(Script::says("añ")).await;
    let body = chat(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let chunks = server.stream("/v1/chat/completions", &body).await;
    let deltas: Vec<Value> = chunks
        .iter()
        .map(|chunk| chunk["choices"][0]["delta"].clone())
        .collect();
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "content": ""}),
            json!({"content": "a"}),
            json!({"content": "ñ"}),
            json!({}),
            Value::Null
        ]
    );
    let ids: Vec<&Value> = chunks.iter().map(|chunk| &chunk["id"]).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk")
    );
    assert!(chunks[..4].iter().all(|chunk| chunk["usage"].is_null()));
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[4]["choices"], json!([]));
    assert_eq!(chunks[4]["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn without_include_usage_there_is_none() {
    let server = serve(Script::says("a")).await;
    let chunks = server
        .stream("/v1/completions", &completion(json!({"stream": true})))
        .await;
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    assert!(
        chunks
            .iter()
            .all(|chunk| !chunk["choices"].as_array().unwrap().is_empty())
    );
}

#[tokio::test]
async fn a_failure_midway_is_an_error_event() {
    let mut script = Script::says("abcdef");
    script.fail_after = Some(3);
    let server = serve(script).await;
    let chunks = server
        .stream("/v1/completions", &completion(json!({"stream": true})))
        .await;
    let (error, text) = chunks.split_last().unwrap();
    assert_eq!(joined(text, 0, "/text"), "abc");
    assert_eq!(error["error"]["code"], "engine_failed");
    let response = server.post("/v1/completions", &completion(json!({}))).await;
    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn stop_strings_across_token_borders() {
    let server = serve(Script::says("one, two; three")).await;
    for (stop, include, text) in [
        (json!("two"), false, "one, "),
        (json!(["; thr", "zzz"]), true, "one, two; thr"),
        (json!(["threes"]), false, "one, two; three"),
    ] {
        let change = json!({"stop": stop, "include_stop_str_in_output": include});
        let answer = server.ask("/v1/completions", &completion(change)).await;
        assert_eq!(answer["choices"][0]["text"], text);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }
}

/// Random bytes (many of them no characters), stop strings, choices, lengths: the stream says what the whole answer says.
#[tokio::test]
async fn stream_equals_whole_answer() {
    let mut rng = StdRng::seed_from_u64(seed());
    let tokens: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
    let scripted = Arc::clone(&tokens);
    let mut script = Script::says("");
    script.tokens = Arc::new(move |_, choice| scripted.lock().unwrap()[choice].clone());
    let server = serve(script).await;
    let pieces = ["a", "b", "ab", "é", "😀", "\u{FFFD}", " "];
    for _ in 0..60 {
        let n = rng.random_range(1..4);
        let choice = |rng: &mut StdRng| {
            let mut bytes: Vec<u8> = Vec::new();
            for _ in 0..rng.random_range(0..30) {
                let piece = pieces[rng.random_range(0..pieces.len())].as_bytes();
                let cut = rng.random_range(0..8usize);
                bytes.extend(&piece[usize::from(cut == 0).min(piece.len() - 1)..]);
            }
            bytes
                .into_iter()
                .map(u32::from)
                .chain([END])
                .collect::<Vec<u32>>()
        };
        *tokens.lock().unwrap() = (0..n).map(|_| choice(&mut rng)).collect();
        let stops = ["aba", "é😀", "bb", " a"];
        let change = json!({"n": n, "stop": stops[..rng.random_range(0..4)],
            "include_stop_str_in_output": rng.random_bool(0.5), "max_tokens": rng.random_range(1..40)});
        let mut body = completion(change);
        let whole = server.ask("/v1/completions", &body).await;
        body["stream"] = json!(true);
        let chunks = server.stream("/v1/completions", &body).await;
        for index in 0..n {
            let choice = &whole["choices"][index];
            assert_eq!(
                joined(&chunks, index, "/text"),
                choice["text"].as_str().unwrap()
            );
            let reason = joined(&chunks, index, "/finish_reason");
            assert_eq!(reason, choice["finish_reason"].as_str().unwrap());
        }
        let plain = body["stop"].as_array().unwrap().is_empty();
        if plain && body["max_tokens"].as_u64().unwrap() >= tokens.lock().unwrap()[0].len() as u64 {
            let bytes: Vec<u8> = tokens.lock().unwrap()[0]
                .iter()
                .filter(|t| **t != END)
                .map(|t| *t as u8)
                .collect();
            assert_eq!(
                whole["choices"][0]["text"],
                *String::from_utf8_lossy(&bytes)
            );
        }
    }
}
