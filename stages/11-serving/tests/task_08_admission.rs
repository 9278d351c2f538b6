//! Task 8: who gets in, who is let go, and how the server ends: queue limit, cancellation, time limits, draining.

mod common;

use common::{
    Script, chat, completion, eventually, serve, start, with_hanging_engine, without_engine,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use serving::{Drained, Limits};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap()
}

#[tokio::test]
async fn a_full_queue_answers_429_with_retry_after() {
    let script = Script::says("a");
    let hold = script.hold.clone();
    hold.store(true, Ordering::Release);
    let server = start(script, Limits::default(), 2).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let request = server.client.post(format!("{}/v1/completions", server.url));
            tokio::spawn(request.json(&completion(json!({}))).send())
        })
        .collect();
    eventually("both wait", || server.prompts.lock().unwrap().len() == 2).await;
    let response = server.post("/v1/chat/completions", &chat(json!({}))).await;
    assert_eq!(response.status(), 429);
    let seconds = response.headers()["retry-after"].to_str().unwrap();
    assert!(seconds.parse::<u32>().unwrap() > 0);
    let body: Value = response.json().await.unwrap();
    assert_eq!(code(&body), "rate_limit_exceeded");
    hold.store(false, Ordering::Release);
    for request in waiting {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    server.ask("/v1/completions", &completion(json!({}))).await;
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("fastserve_requests_rejected_total{reason=\"queue_full\"} 1"));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_every_choice_of_its_stream() {
    let server = serve(Script::endless(TICK)).await;
    let body = completion(json!({"stream": true, "n": 3}));
    let response = server.post("/v1/completions", &body).await;
    let mut bytes = response.bytes_stream();
    bytes.next().await.unwrap().unwrap();
    assert_eq!(server.cancelled.load(Ordering::Acquire), 0);
    drop(bytes);
    eventually("cancelled", || {
        server.cancelled.load(Ordering::Acquire) == 3
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_an_answer_in_the_making() {
    let server = serve(Script::endless(TICK)).await;
    let request = server.client.post(format!("{}/v1/completions", server.url));
    let request = request.json(&completion(json!({}))).timeout(20 * TICK);
    assert!(request.send().await.unwrap_err().is_timeout());
    eventually("cancelled", || {
        server.cancelled.load(Ordering::Acquire) == 1
    })
    .await;
}

#[tokio::test]
async fn a_stop_string_frees_the_choice() {
    let server = serve(Script::endless(TICK)).await;
    let answer = server
        .ask("/v1/completions", &completion(json!({"stop": "xxx"})))
        .await;
    assert_eq!(answer["choices"][0]["text"], "");
    eventually("cancelled", || {
        server.cancelled.load(Ordering::Acquire) == 1
    })
    .await;
}

#[tokio::test]
async fn time_limits_end_requests_and_free_them() {
    let limits = Limits {
        request_time: Duration::from_millis(400),
        ..Limits::default()
    };
    let server = start(Script::endless(TICK), limits, 64).await;
    let begun = Instant::now();
    let response = server.post("/v1/completions", &completion(json!({}))).await;
    assert_eq!(response.status(), 504);
    assert_eq!(code(&response.json().await.unwrap()), "timeout");
    assert!(begun.elapsed() >= limits.request_time);
    let request = server.client.post(format!("{}/v1/completions", server.url));
    let request = request
        .header("x-request-timeout-ms", "50")
        .json(&completion(json!({})));
    let begun = Instant::now();
    assert_eq!(request.send().await.unwrap().status(), 504);
    assert!(begun.elapsed() < limits.request_time);
    let body = completion(json!({"stream": true, "timeout": 0.05}));
    let chunks = server.stream("/v1/completions", &body).await;
    assert!(chunks.len() > 1);
    assert_eq!(code(chunks.last().unwrap()), "timeout");
    eventually("all freed", || {
        server.cancelled.load(Ordering::Acquire) == 3
    })
    .await;
    let request = server.client.post(format!("{}/v1/completions", server.url));
    let request = request
        .header("x-request-timeout-ms", "soon")
        .json(&completion(json!({})));
    assert_eq!(request.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn draining_refuses_new_requests_and_finishes_running_ones() {
    let mut server = serve(Script::endless(TICK)).await;
    let request = server.client.post(format!("{}/v1/completions", server.url));
    let body = completion(json!({"max_tokens": 150}));
    let running = tokio::spawn(request.json(&body).send());
    eventually("it runs", || !server.prompts.lock().unwrap().is_empty()).await;
    server.stop.take().unwrap().send(()).unwrap();
    eventually("draining", || server.app.engine.is_draining()).await;
    assert_eq!(server.get("/ready").await.status(), 503);
    assert_eq!(server.get("/health").await.status(), 200);
    let refused = server.post("/v1/completions", &completion(json!({}))).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let answer: Value = running.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["choices"][0]["text"], "x".repeat(150));
    assert_eq!(server.ended.await.unwrap().unwrap(), Drained::Clean);
}

#[tokio::test]
async fn draining_has_an_end() {
    let limits = Limits {
        drain_time: Duration::from_millis(100),
        ..Limits::default()
    };
    let mut server = start(Script::endless(TICK), limits, 4).await;
    let body = completion(json!({"stream": true}));
    let response = server.post("/v1/completions", &body).await;
    server.stop.take().unwrap().send(()).unwrap();
    let text = response.text().await.unwrap();
    assert!(text.contains("shutting_down"), "{text}");
    assert_eq!(server.ended.await.unwrap().unwrap(), Drained::Cut(1));
    eventually("cancelled", || {
        server.cancelled.load(Ordering::Acquire) == 1
    })
    .await;
}

#[tokio::test]
async fn health_tells_of_an_engine_that_is_gone() {
    let server = without_engine().await;
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).await.status(), 503, "{path}");
    }
    let response = server.post("/v1/completions", &completion(json!({}))).await;
    assert_eq!(response.status(), 503);
    assert_eq!(code(&response.json().await.unwrap()), "engine_stopped");
}

/// An engine that is busy and has not begun a step for too long hangs; an idle one may rest as long as it likes.
#[tokio::test]
async fn health_tells_of_an_engine_that_hangs() {
    let limits = Limits {
        step_time: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = with_hanging_engine(limits).await;
    tokio::time::sleep(2 * limits.step_time).await;
    assert_eq!(server.get("/health").await.status(), 200, "it is idle");
    let request = server.client.post(format!("{}/v1/completions", server.url));
    let _asked = tokio::spawn(request.json(&completion(json!({}))).send());
    tokio::time::sleep(5 * limits.step_time).await;
    let response = server.get("/health").await;
    assert_eq!(response.status(), 503);
    assert_eq!(code(&response.json().await.unwrap()), "engine_stopped");
}

#[tokio::test]
async fn concurrent_streams_do_not_mix() {
    let mut script = Script::says("");
    script.tokens = std::sync::Arc::new(|request, _| request.prompt.repeat(5));
    script.delay = Duration::from_millis(1);
    let server = serve(script).await;
    let asks = (0..32).map(|index| {
        let prompt = format!("prompt {index};");
        let body =
            completion(json!({"prompt": prompt, "stream": true, "max_tokens": prompt.len() * 5}));
        let server = &server;
        async move {
            let chunks = server.stream("/v1/completions", &body).await;
            let text: String = chunks
                .iter()
                .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
                .collect();
            assert_eq!(text, prompt.repeat(5));
        }
    });
    futures_util::future::join_all(asks).await;
}
