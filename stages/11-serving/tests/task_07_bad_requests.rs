//! Task 7: what is wrong with a request is said in OpenAI's shape, with the field; the server goes on.

mod common;

use common::{CONTEXT, Script, Server, chat, completion, serve, start};
use serde_json::{Value, json};
use serving::Limits;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

async fn error_of(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let error = &body["error"];
    assert!(!error["message"].as_str().unwrap().is_empty(), "{body}");
    assert!(
        error["type"].is_string() && error.get("param").is_some() && error.get("code").is_some()
    );
    (status, error.clone())
}

/// Asserts that a request is refused for a field, and that the next good one is answered.
async fn refused(server: &Server, path: &str, body: Value, status: u16, param: &str, part: &str) {
    let (found, error) = error_of(server.post(path, &body).await).await;
    assert_eq!(found, status, "{body}: {error}");
    assert_eq!(error["param"], param, "{body}: {error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(part), "{body}: {message}");
    server.ask(TEXT, &completion(json!({}))).await;
}

#[tokio::test]
async fn fields_out_of_range_or_of_the_wrong_type() {
    let server = serve(Script::says("a")).await;
    for (change, param, part) in [
        (json!({"max_tokens": -1}), "max_tokens", "-1"),
        (json!({"max_tokens": 0}), "max_tokens", "from 1"),
        (json!({"max_tokens": "ten"}), "max_tokens", "invalid type"),
        (json!({"max_tokens": 1e30}), "max_tokens", "invalid type"),
        (json!({"n": 0}), "n", "from 1 to 64"),
        (json!({"n": 65}), "n", "from 1 to 64"),
        (json!({"temperature": 2.5}), "temperature", "2.5"),
        (json!({"temperature": 1e300}), "temperature", "from 0 to 2"),
        (json!({"temperature": "hot"}), "temperature", "invalid type"),
        (json!({"top_p": 0}), "top_p", "greater than 0"),
        (json!({"top_k": -2}), "top_k", "-2"),
        (json!({"min_p": 1.5}), "min_p", "1.5"),
        (json!({"presence_penalty": -3}), "presence_penalty", "-3"),
        (json!({"frequency_penalty": 3}), "frequency_penalty", "3"),
        (
            json!({"repetition_penalty": 0}),
            "repetition_penalty",
            "above 0",
        ),
        (json!({"logit_bias": {"x": 1}}), "logit_bias", "\"x\""),
        (json!({"logit_bias": {"999": 1}}), "logit_bias", "999"),
        (json!({"logit_bias": {"1": 101}}), "logit_bias", "101"),
        (json!({"stop": 3}), "stop", "a string or a list of strings"),
        (json!({"stop": ["a", ""]}), "stop", "empty"),
        (json!({"stop": vec!["a"; 17]}), "stop", "17"),
        (json!({"stop_token_ids": [257]}), "stop_token_ids", "257"),
        (
            json!({"stream_options": {"include_usage": true}}),
            "stream_options",
            "stream",
        ),
        (
            json!({"min_tokens": 3, "max_tokens": 2}),
            "min_tokens",
            "max_tokens",
        ),
        (json!({"timeout": 0}), "timeout", "above 0"),
        (json!({"timeout": -1.5}), "timeout", "-1.5"),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
            "not supported",
        ),
        (json!({"model": 3}), "model", "invalid type"),
        (json!({"model": null}), "model", "required"),
    ] {
        refused(&server, TEXT, completion(change.clone()), 400, param, part).await;
        refused(&server, CHAT, chat(change), 400, param, part).await;
    }
}

#[tokio::test]
async fn fields_of_chat() {
    let server = serve(Script::says("a")).await;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:"}}]);
    for (change, param, part) in [
        (json!({"messages": null}), "messages", "required"),
        (json!({"messages": []}), "messages", "at least one"),
        (json!({"messages": "hi"}), "messages", "invalid type"),
        (json!({"messages": [3]}), "messages[0]", "invalid type"),
        (
            json!({"messages": [{"content": "a"}]}),
            "messages[0].role",
            "required",
        ),
        (
            json!({"messages": [{"role": "king", "content": "a"}]}),
            "messages[0].role",
            "king",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages[0].content",
            "required",
        ),
        (
            json!({"messages": [{"role": "user", "content": 5}]}),
            "messages[0].content",
            "5",
        ),
        (
            json!({"messages": [{"role": "user", "content": image}]}),
            "messages[0].content[0].type",
            "text only",
        ),
        (
            json!({"top_logprobs": 2}),
            "top_logprobs",
            "logprobs is true",
        ),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
            "from 0 to 20",
        ),
        (json!({"logprobs": 3}), "logprobs", "invalid type"),
        (
            json!({"max_completion_tokens": 0}),
            "max_completion_tokens",
            "from 1",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            "tools",
            "not supported",
        ),
        (
            json!({"tool_choice": "required"}),
            "tool_choice",
            "not supported",
        ),
        (
            json!({"function_call": "auto"}),
            "function_call",
            "not supported",
        ),
        (json!({"audio": {}}), "audio", "not supported"),
        (
            json!({"modalities": ["text", "audio"]}),
            "modalities",
            "not supported",
        ),
        (json!({"echo": true}), "echo", "not supported"),
    ] {
        refused(&server, CHAT, chat(change), 400, param, part).await;
    }
    let fine = json!({"tools": [], "tool_choice": "none", "modalities": ["text"], "store": false, "user": "u",
        "metadata": {}, "service_tier": "auto", "response_format": {"type": "text"}, "never_heard_of": 1,
        "max_tokens": null, "stop": null, "seed": null, "top_k": -1});
    server.ask(CHAT, &chat(fine)).await;
}

#[tokio::test]
async fn fields_of_completions() {
    let server = serve(Script::says("a")).await;
    for (change, param, part) in [
        (json!({"prompt": null}), "prompt", "required"),
        (json!({"prompt": ""}), "prompt", "no tokens"),
        (json!({"prompt": []}), "prompt", "no tokens"),
        (json!({"prompt": [[97], []]}), "prompt", "no tokens"),
        (json!({"prompt": [-1]}), "prompt", "a string, a list"),
        (json!({"prompt": [257]}), "prompt", "257"),
        (json!({"prompt": vec!["a"; 65]}), "prompt", "65 prompts"),
        (json!({"logprobs": -1}), "logprobs", "-1"),
        (json!({"suffix": "b"}), "suffix", "not supported"),
        (json!({"best_of": 2}), "best_of", "not supported"),
    ] {
        refused(&server, TEXT, completion(change), 400, param, part).await;
    }
}

#[tokio::test]
async fn prompts_over_the_context() {
    let server = serve(Script::says("a")).await;
    let long = "x".repeat(CONTEXT);
    for (change, requested) in [
        (json!({"prompt": long}), CONTEXT + 1),
        (json!({"max_tokens": CONTEXT}), CONTEXT + 2),
    ] {
        let response = server.post(TEXT, &completion(change)).await;
        let (status, error) = error_of(response).await;
        assert_eq!(status, 400);
        assert_eq!(error["code"], "context_length_exceeded");
        let message = error["message"].as_str().unwrap();
        for number in [CONTEXT, requested] {
            assert!(message.contains(&number.to_string()), "{message}");
        }
    }
    server
        .ask(TEXT, &completion(json!({"max_tokens": CONTEXT - 2})))
        .await;
}

#[tokio::test]
async fn unknown_models_routes_and_methods() {
    let server = serve(Script::says("a")).await;
    refused(
        &server,
        TEXT,
        completion(json!({"model": "gpt"})),
        404,
        "model",
        "gpt",
    )
    .await;
    let (_, error) = error_of(server.post(CHAT, &chat(json!({"model": "gpt"}))).await).await;
    assert_eq!(error["code"], "model_not_found");
    assert_eq!(error_of(server.get("/v1/nothing").await).await.0, 404);
    assert_eq!(error_of(server.get(CHAT).await).await.0, 405);
    assert_eq!(
        error_of(server.post("/health", &json!({})).await).await.0,
        405
    );
}

#[tokio::test]
async fn bodies_that_are_no_requests() {
    let server = serve(Script::says("a")).await;
    let send = |body: Vec<u8>, kind: &'static str| {
        let request = server.client.post(format!("{}{CHAT}", server.url));
        request.header("content-type", kind).body(body).send()
    };
    for body in ["", "{", "[]", "3", "{\"model\": \"bytes\",}", "\u{0}"] {
        let response = send(body.into(), "application/json").await.unwrap();
        let (status, error) = error_of(response).await;
        assert_eq!(
            (status, &error["code"]),
            (400, &json!("invalid_json")),
            "{body:?}"
        );
    }
    let nested = "[".repeat(100_000).into_bytes();
    assert_eq!(
        error_of(send(nested, "application/json").await.unwrap())
            .await
            .0,
        400
    );
    let good = chat(json!({})).to_string();
    let wrong_kind = send(good.clone().into(), "text/plain").await.unwrap();
    assert_eq!(error_of(wrong_kind).await.0, 415);
    let right_kind = send(good.into(), "application/json; charset=utf-8").await;
    assert_eq!(right_kind.unwrap().status(), 200);
    let huge = send(vec![b' '; 10 << 20], "application/json")
        .await
        .unwrap();
    assert_eq!(error_of(huge).await.0, 413);
    server.ask(TEXT, &completion(json!({}))).await;
}

#[tokio::test]
async fn the_body_limit_is_exact() {
    let body = completion(json!({}));
    let limits = Limits {
        body_bytes: body.to_string().len(),
        ..Limits::default()
    };
    let server = start(Script::says("a"), limits, 4).await;
    server.ask(TEXT, &body).await;
    let longer = completion(json!({"prompt": "hi!"}));
    assert_eq!(error_of(server.post(TEXT, &longer).await).await.0, 413);
}
