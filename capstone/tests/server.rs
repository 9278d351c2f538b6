//! The built server, over real sockets, with the embedded model.

mod support;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Server, chat, events, text_of};

const MODEL: &str = fastserve::embedded::NAME;

fn rng() -> StdRng {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Questions about the library, some the same, some with a common beginning.
fn question(index: usize) -> String {
    const ITEMS: [&str; 8] = [
        "vec::Vec::push",
        "string::String::len",
        "option::Option::map",
        "fs::read",
        "mem::swap",
        "vec::Vec::fly",
        "iter::zip",
        "thread::spawn",
    ];
    let item = ITEMS[index % ITEMS.len()];
    match index / ITEMS.len() % 3 {
        0 => format!("What does `std::{item}` do?"),
        1 => format!("Explain `std::{item}`."),
        _ => format!("Please tell me, number {index}: what does `std::{item}` do?"),
    }
}

async fn stream_text(server: &Server, mut body: Value) -> String {
    body["stream"] = json!(true);
    let response = server
        .post("/v1/chat/completions", &body)
        .send()
        .await
        .expect("the server answers");
    assert_eq!(response.status(), 200);
    let (events, done) = events(&response.text().await.expect("the stream is text"));
    assert!(done, "a stream ends in [DONE]");
    text_of(&events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_streams_get_their_solo_answers() {
    let server = Server::start(&[]);
    let mut solo = Vec::new();
    for index in 0..64 {
        let (status, answer) = server
            .ask("/v1/chat/completions", &chat(&question(index), 32))
            .await;
        assert_eq!(status, 200, "{answer}");
        solo.push(
            answer["choices"][0]["message"]["content"]
                .as_str()
                .expect("text")
                .to_owned(),
        );
    }
    let together = futures_util::future::join_all(
        (0..64).map(|index| stream_text(&server, chat(&question(index), 32))),
    );
    assert_eq!(together.await, solo);
    let batched = server.metric("fastserve_step_tokens_sum").await
        / server.metric("fastserve_steps_total").await;
    println!("{batched:.1} tokens a step");
    server.wait_until_idle(Duration::from_secs(5)).await;
}

/// Reads some of an answer, or all of it.
async fn ask_and_leave(server: &Server, body: Value, chunks: Option<usize>) {
    let response = loop {
        let response = server
            .post("/v1/chat/completions", &body)
            .send()
            .await
            .expect("the server answers");
        if response.status() != 429 {
            break response;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(response.status(), 200);
    let mut stream = response.bytes_stream();
    let mut left = chunks.unwrap_or(usize::MAX);
    while left > 0 && stream.next().await.is_some() {
        left -= 1;
    }
    // Dropping the stream closes the connection.
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_of_which_a_third_leave_free_every_block() {
    let mut rng = rng();
    let server = Server::start(&["--max-sequences", "32", "--max-queue", "48"]);
    let mut under_way = FuturesUnordered::new();
    for index in 0..1000 {
        let mut body = chat(&question(index), rng.random_range(4..24));
        body["stream"] = json!(true);
        body["n"] = json!(1 + index % 2);
        let leave = (index % 3 == 0).then(|| rng.random_range(0..6));
        under_way.push(ask_and_leave(&server, body, leave));
        if under_way.len() >= 64 {
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
    server.wait_until_idle(Duration::from_secs(10)).await;
    assert_eq!(server.metric("fastserve_requests_waiting").await, 0.0);
    let (status, _) = server
        .ask("/v1/chat/completions", &chat(&question(0), 4))
        .await;
    assert_eq!(status, 200, "the server goes on");
}

/// The counters are what clients were told, and every latency is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_what_clients_got() {
    let server = Server::start(&[]);
    let (mut prompt, mut generated) = (0.0, 0.0);
    for index in 0..6 {
        let (status, answer) = server
            .ask("/v1/chat/completions", &chat(&question(index), 3 + index))
            .await;
        assert_eq!(status, 200);
        let usage = |field: &str| answer["usage"][field].as_f64().expect("a count");
        prompt += usage("prompt_tokens");
        generated += usage("completion_tokens");
    }
    server.wait_until_idle(Duration::from_secs(5)).await;
    assert_eq!(server.metric("fastserve_prompt_tokens_total").await, prompt);
    // A stop token is generated and is not part of the answer.
    let counted = server.metric("fastserve_generated_tokens_total").await;
    assert!(
        (generated..=generated + 6.0).contains(&counted),
        "{counted}, told {generated}"
    );
    for latency in ["queue", "time_to_first_token", "request"] {
        let name = format!("fastserve_{latency}_seconds_count");
        assert_eq!(server.metric(&name).await, 6.0, "{name}");
    }
    let between = server.metric("fastserve_inter_token_seconds_count").await;
    assert!(
        (generated - 6.0..=counted).contains(&between),
        "{between} gaps of {generated} tokens"
    );
}

/// The gauges of the cache while a sequence holds blocks, and after it left its content behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_follow_the_blocks() {
    let server = Server::start(&[]);
    let total = server.metric("fastserve_kv_blocks_total").await;
    assert!(total > 0.0);
    assert_eq!(server.metric("fastserve_kv_blocks_in_use").await, 0.0);
    let mut body = chat(&question(1), 400);
    body["stream"] = json!(true);
    body["ignore_eos"] = json!(true);
    let response = server
        .post("/v1/chat/completions", &body)
        .send()
        .await
        .expect("an answer");
    let mut bytes = response.bytes_stream();
    for _ in 0..40 {
        bytes.next().await.expect("more").expect("a piece");
    }
    let held = server.metric("fastserve_kv_blocks_in_use").await;
    // 40 tokens behind a prompt of a dozen, in blocks of at most 16.
    assert!((3.0..total).contains(&held), "{held} blocks are held");
    assert_eq!(server.metric("fastserve_requests_running").await, 1.0);
    drop(bytes);
    server.wait_until_idle(Duration::from_secs(5)).await;
    let cached = server.metric("fastserve_kv_blocks_cached").await;
    assert!(
        (2.0..total).contains(&cached),
        "{cached} blocks keep their content"
    );
}

/// Each bad request gets a 4xx that names what is wrong, and the server goes on.
#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let server = Server::start(&[]);
    let with = |key: &str, value: Value| {
        let mut body = chat("What does `std::mem::swap` do?", 4);
        body[key] = value;
        body
    };
    let long = "word ".repeat(4000);
    let cases = [
        (with("model", json!("gpt-17")), 404, "model"),
        (with("max_tokens", json!(-3)), 400, "max_tokens"),
        (with("max_tokens", json!("many")), 400, "max_tokens"),
        (with("max_tokens", json!(100_000)), 400, "max"),
        (with("temperature", json!(9)), 400, "temperature"),
        (with("temperature", json!("hot")), 400, "temperature"),
        (with("top_p", json!(0)), 400, "top_p"),
        (with("n", json!(0)), 400, "n"),
        (with("messages", json!([])), 400, "messages"),
        (with("messages", json!("hello")), 400, "messages"),
        (
            with("messages", json!([{"role": "wizard", "content": "hi"}])),
            400,
            "role",
        ),
        (
            with("messages", json!([{"role": "user", "content": long}])),
            400,
            "context",
        ),
        (with("logit_bias", json!({"9999999": 1})), 400, "logit_bias"),
        (with("stop", json!(7)), 400, "stop"),
        (with("stream", json!("yes")), 400, "stream"),
        (
            with("response_format", json!({"type": "json_object"})),
            400,
            "response_format",
        ),
        (json!([1, 2, 3]), 400, ""),
    ];
    for (body, status, named) in cases {
        let (got, answer) = server.ask("/v1/chat/completions", &body).await;
        let error = &answer["error"];
        assert_eq!(got, status, "{error}");
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{answer}"
        );
        assert!(
            error.to_string().contains(named),
            "{error} does not speak of {named}"
        );
    }
    let tokens = json!({"model": MODEL, "prompt": [1, 2, 4_000_000], "max_tokens": 1});
    let (status, answer) = server.ask("/v1/completions", &tokens).await;
    assert_eq!(
        (status, answer["error"]["param"].as_str()),
        (400, Some("prompt"))
    );

    let url = format!("{}/v1/chat/completions", server.url);
    let raw = |body: String| {
        server
            .client
            .post(&url)
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    let malformed = raw("{\"model\": ".to_owned())
        .await
        .expect("the server answers");
    assert_eq!(malformed.status(), 400);
    let huge = raw(format!("{{\"model\": \"{}\"}}", "x".repeat(10 << 20)))
        .await
        .expect("the server answers");
    assert_eq!(huge.status(), 413);
    assert!(huge.json::<Value>().await.expect("JSON")["error"]["message"].is_string());
    assert_eq!(server.status("/v1/nothing").await, 404);
    assert_eq!(server.status("/v1/chat/completions").await, 405);
    assert_eq!(
        server
            .ask("/v1/chat/completions", &chat("hello", 2))
            .await
            .0,
        200,
        "the server goes on"
    );
}

/// More than the server may queue is refused with 429 and a time to come back; what was taken is answered.
#[tokio::test]
async fn a_full_queue_refuses() {
    let server = Server::start(&["--max-sequences", "1", "--max-queue", "1"]);
    let answers = (0..12).map(|index| {
        let mut body = chat(&question(index), 60);
        body["ignore_eos"] = json!(true);
        server.post("/v1/chat/completions", &body).send()
    });
    let answers = futures_util::future::join_all(answers).await;
    let mut statuses = Vec::new();
    for answer in answers {
        let answer = answer.expect("the server answers");
        let status = answer.status().as_u16();
        assert_eq!(answer.headers().contains_key("retry-after"), status == 429);
        statuses.push(status);
    }
    assert!(
        statuses.contains(&200) && statuses.contains(&429),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| [200, 429].contains(status)),
        "{statuses:?}"
    );
}

/// A request that takes longer than it may is ended, and its blocks are free.
#[tokio::test]
async fn slow_requests_time_out() {
    let server = Server::start(&[]);
    let mut body = chat(&question(0), 900);
    body["ignore_eos"] = json!(true);
    body["timeout"] = json!(0.05);
    let (status, answer) = server.ask("/v1/chat/completions", &body).await;
    assert!(status == 504 || status == 408, "{status} {answer}");
    assert!(answer["error"]["message"].is_string());
    server.wait_until_idle(Duration::from_secs(5)).await;
}

/// SIGTERM: not ready at once, nothing new is taken, what runs is finished, the process ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_told_server_drains() {
    let mut server = Server::start(&[]);
    let mut body = chat(&question(3), 200);
    body["ignore_eos"] = json!(true);
    body["stream"] = json!(true);
    let response = server
        .post("/v1/chat/completions", &body)
        .send()
        .await
        .expect("the server answers");
    let mut stream = response.bytes_stream();
    let mut text = Vec::new();
    text.extend(
        stream
            .next()
            .await
            .expect("a first chunk")
            .expect("the stream goes on"),
    );
    server.terminate();
    while server.status("/ready").await == 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.status("/ready").await, 503);
    assert_eq!(
        server
            .ask("/v1/chat/completions", &chat("hello", 2))
            .await
            .0,
        503
    );
    while let Some(chunk) = stream.next().await {
        text.extend(chunk.expect("the stream is not cut"));
    }
    let (events, done) = events(std::str::from_utf8(&text).expect("the stream is text"));
    assert!(done);
    let reason = events
        .iter()
        .find_map(|event| event["choices"][0]["finish_reason"].as_str());
    assert_eq!(reason, Some("length"));
    assert!(server.wait(Duration::from_secs(10)).success());
}
