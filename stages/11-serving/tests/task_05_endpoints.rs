//! Task 5: every endpoint answers in its published shape.

mod common;

use common::{CONTEXT, Script, chat, completion, serve};
use serde_json::{Value, json};

#[tokio::test]
async fn chat_answers_in_openai_shape() {
    let server = serve(Script::says("hello")).await;
    let answer = server.ask("/v1/chat/completions", &chat(json!({}))).await;
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["object"], "chat.completion");
    assert!(answer["created"].as_u64().unwrap() > 1_600_000_000);
    assert_eq!(answer["model"], "bytes");
    let choice = json!({"index": 0, "finish_reason": "stop", "logprobs": null,
        "message": {"role": "assistant", "content": "hello", "refusal": null}});
    assert_eq!(answer["choices"], json!([choice]));
    let prompt = "[user]hi\n[assistant]".len();
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": prompt, "completion_tokens": 5, "total_tokens": prompt + 5,
            "prompt_tokens_details": {"cached_tokens": 1}})
    );
}

#[tokio::test]
async fn completions_take_every_kind_of_prompt() {
    let server = serve(Script::says("ok")).await;
    for (prompt, count) in [
        (json!("ab"), 1),
        (json!(["ab", "c"]), 2),
        (json!([97, 98]), 1),
        (json!([[97], [98, 99]]), 2),
    ] {
        let body = completion(json!({"prompt": prompt, "n": 3}));
        let answer = server.ask("/v1/completions", &body).await;
        assert_eq!(answer["object"], "text_completion");
        let choices = answer["choices"].as_array().unwrap();
        assert_eq!(choices.len(), 3 * count);
        for (index, choice) in choices.iter().enumerate() {
            assert_eq!(choice["index"], index);
            assert_eq!(choice["text"], "ok");
        }
        assert_eq!(answer["usage"]["completion_tokens"], 6 * count);
    }
}

#[tokio::test]
async fn batches_keep_their_order_and_length_ends_them() {
    let mut script = Script::says("");
    script.tokens = std::sync::Arc::new(|request, choice| {
        let digit = u32::from(b'0') + choice as u32;
        [request.prompt.to_vec(), vec![digit; 9]].concat()
    });
    let server = serve(script).await;
    let body = completion(json!({"prompt": ["ab", "cd"], "n": 2, "max_tokens": 3}));
    let answer = server.ask("/v1/completions", &body).await;
    let texts: Vec<&Value> = answer["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["text"])
        .collect();
    assert_eq!(texts, ["ab0", "ab1", "cd0", "cd1"]);
    assert_eq!(answer["choices"][3]["finish_reason"], "length");
    assert_eq!(answer["usage"]["prompt_tokens"], 4);
}

#[tokio::test]
async fn message_forms_reach_the_template() {
    let server = serve(Script::says("")).await;
    let messages = json!([
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]);
    for (change, text) in [
        (
            json!({}),
            "[system]a\nb\n[user]c\n[assistant]d\n[assistant]",
        ),
        (
            json!({"add_generation_prompt": false}),
            "[system]a\nb\n[user]c\n[assistant]d\n",
        ),
        (
            json!({"continue_final_message": true}),
            "[system]a\nb\n[user]c\n[assistant]d",
        ),
    ] {
        let mut body = chat(change);
        body["messages"] = messages.clone();
        server.ask("/v1/chat/completions", &body).await;
        let prompt = server.prompts.lock().unwrap().pop().unwrap();
        let bytes: Vec<u8> = prompt.iter().map(|token| *token as u8).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
}

#[tokio::test]
async fn models_health_and_page() {
    let server = serve(Script::says("")).await;
    let list: Value = server.get("/v1/models").await.json().await.unwrap();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "bytes");
    let one: Value = server.get("/v1/models/bytes").await.json().await.unwrap();
    assert_eq!(one, list["data"][0]);
    assert_eq!(server.get("/v1/models/other/model").await.status(), 404);
    assert_eq!(server.get("/health").await.status(), 200);
    assert_eq!(server.get("/ready").await.status(), 200);
    let version: Value = server.get("/version").await.json().await.unwrap();
    assert_eq!(version, json!({"version": "0.0.0"}));
    assert!(server.get("/").await.text().await.unwrap().contains("page"));
}

#[tokio::test]
async fn metrics_count_answers_by_route() {
    let server = serve(Script::says("")).await;
    server.ask("/v1/completions", &completion(json!({}))).await;
    server.get("/nowhere").await;
    let response = server.get("/metrics").await;
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    for line in [
        r#"fastserve_http_requests_total{route="/v1/completions",status="200"} 1"#,
        r#"fastserve_http_requests_total{route="unmatched",status="404"} 1"#,
        "fastserve_kv_blocks_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn tokenize_and_detokenize() {
    let server = serve(Script::says("")).await;
    let body = json!({"model": "bytes", "prompt": "aé", "return_token_strs": true});
    let answer = server.ask("/tokenize", &body).await;
    assert_eq!(
        answer,
        json!({"count": 3, "max_model_len": CONTEXT, "tokens": [97, 0xC3, 0xA9], "token_strs": ["a", "Ã", "©"]})
    );
    let body = json!({"messages": [{"role": "user", "content": "a"}]});
    let answer = server.ask("/tokenize", &body).await;
    assert_eq!(answer["count"], "[user]a\n[assistant]".len());
    assert_eq!(answer["token_strs"], Value::Null);
    let body = json!({"model": "bytes", "tokens": [97, 0xC3, 0xA9]});
    assert_eq!(
        server.ask("/detokenize", &body).await,
        json!({"prompt": "aé"})
    );
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let server = serve(Script::says("")).await;
    let request = server.client.get(format!("{}/health", server.url));
    let response = request.header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine");
    let made = server.get("/nowhere").await.headers()["x-request-id"].clone();
    assert!(made.to_str().unwrap().starts_with("req-"));
}
