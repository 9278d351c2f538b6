//! Task 9: log-probabilities in both of OpenAI's shapes, with and without the prompt's.

mod common;

use common::{Script, chat, completion, serve};
use serde_json::{Value, json};

#[tokio::test]
async fn chat_lists_tokens_bytes_and_alternatives() {
    let server = serve(Script::says("aé")).await;
    let body = chat(json!({"logprobs": true, "top_logprobs": 2}));
    let answer = server.ask("/v1/chat/completions", &body).await;
    let content = answer["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    assert_eq!(content.len(), 3);
    let top = json!([{"token": "A", "logprob": 0.0, "bytes": [65]}, {"token": "B", "logprob": -1.0, "bytes": [66]}]);
    let logprob = -97.0 / 256.0;
    assert_eq!(
        content[0],
        json!({"token": "a", "logprob": logprob, "bytes": [97], "top_logprobs": top})
    );
    assert_eq!(content[1]["bytes"], json!([0xC3]));
    assert_eq!(content[2]["bytes"], json!([0xA9]));
    let plain = chat(json!({"logprobs": true}));
    let answer = server.ask("/v1/chat/completions", &plain).await;
    assert_eq!(
        answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"],
        json!([])
    );
}

#[tokio::test]
async fn completions_list_four_columns() {
    let server = serve(Script::says("aé!")).await;
    let answer = server
        .ask("/v1/completions", &completion(json!({"logprobs": 1})))
        .await;
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"][0], "a");
    assert_eq!(logprobs["token_logprobs"][0], -97.0 / 256.0);
    assert_eq!(
        logprobs["top_logprobs"][0],
        json!({"A": 0.0, "a": -97.0 / 256.0})
    );
    // The two halves of a character begin where it begins.
    assert_eq!(logprobs["text_offset"], json!([0, 1, 1, 2]));
}

#[tokio::test]
async fn echo_begins_with_the_prompt() {
    let server = serve(Script::says("c")).await;
    let body = completion(json!({"prompt": ["ab", "x"], "n": 2, "echo": true, "logprobs": 0}));
    let answer = server.ask("/v1/completions", &body).await;
    let choices = answer["choices"].as_array().unwrap();
    let texts: Vec<&Value> = choices.iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["abc", "abc", "xc", "xc"]);
    for choice in &choices[..2] {
        let logprobs = &choice["logprobs"];
        assert_eq!(logprobs["tokens"], json!(["a", "b", "c"]));
        assert_eq!(
            logprobs["token_logprobs"],
            json!([null, -98.0 / 256.0, -99.0 / 256.0])
        );
        assert_eq!(logprobs["text_offset"], json!([0, 1, 2]));
    }
    let plain = completion(json!({"prompt": "ab", "echo": true}));
    let answer = server.ask("/v1/completions", &plain).await;
    assert_eq!(answer["choices"][0]["text"], "abc");
    assert_eq!(answer["choices"][0]["logprobs"], Value::Null);
}

/// The columns of a stream, joined, are those of the whole answer.
#[tokio::test]
async fn streamed_logprobs_are_the_whole_answers() {
    let server = serve(Script::says("añb stop more")).await;
    let change = json!({"prompt": "pq", "echo": true, "logprobs": 2, "stop": "stop"});
    let mut body = completion(change);
    let whole = server.ask("/v1/completions", &body).await;
    body["stream"] = json!(true);
    let chunks = server.stream("/v1/completions", &body).await;
    for column in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let parts = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["logprobs"][column].as_array());
        let joined: Vec<Value> = parts.flatten().cloned().collect();
        assert_eq!(
            whole["choices"][0]["logprobs"][column],
            json!(joined),
            "{column}"
        );
    }
}

#[tokio::test]
async fn token_ids_are_returned_on_request() {
    let server = serve(Script::says("ab")).await;
    let answer = server
        .ask(
            "/v1/completions",
            &completion(json!({"return_token_ids": true})),
        )
        .await;
    assert_eq!(answer["choices"][0]["token_ids"], json!([97, 98]));
    let answer = server
        .ask(
            "/v1/chat/completions",
            &chat(json!({"return_token_ids": true})),
        )
        .await;
    assert_eq!(answer["choices"][0]["token_ids"], json!([97, 98]));
}
