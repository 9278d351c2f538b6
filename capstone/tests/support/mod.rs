//! A server process for a test, on a free port, stopped when the test ends.
#![allow(dead_code, reason = "each test target uses its own part")]

use reqwest::Client;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

unsafe extern "C" {
    /// The C library's, so that the test needs no other program.
    fn kill(pid: i32, signal: i32) -> i32;
}

/// A running `fastserve`.
pub struct Server {
    process: Child,
    pub url: String,
    pub client: Client,
}

impl Server {
    /// Starts the built binary with the embedded model and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fastserve"))
            .args(["serve", "--port", "0"])
            .args(args)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut log =
            BufReader::new(process.stderr.take().expect("standard error is piped")).lines();
        let url = loop {
            let line = log
                .next()
                .expect("the server listens before it ends")
                .expect("the log is text");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest
                    .split_whitespace()
                    .next()
                    .expect("an address follows")
                    .to_owned();
            }
        };
        // Somebody must go on reading, or the server's log would fill the pipe.
        std::thread::spawn(move || log.for_each(drop));
        Self {
            process,
            url,
            client: Client::new(),
        }
    }

    pub fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).json(body)
    }

    /// A JSON answer with its status.
    pub async fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self
            .post(path, body)
            .send()
            .await
            .expect("the server answers");
        let status = response.status().as_u16();
        (status, response.json().await.expect("answers are JSON"))
    }

    pub async fn status(&self, path: &str) -> u16 {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .expect("the server answers")
            .status()
            .as_u16()
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self
            .client
            .get(format!("{}/metrics", self.url))
            .send()
            .await
            .expect("metrics");
        let text = text.text().await.expect("metrics are text");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no metric {name}"))
            .parse()
            .expect("a number")
    }

    /// Waits until no sequence holds a block.
    pub async fn wait_until_idle(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let blocks = self.metric("fastserve_kv_blocks_in_use").await;
            let running = self.metric("fastserve_requests_running").await;
            if blocks == 0.0 && running == 0.0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{blocks} blocks are in use, {running} sequences run"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        const SIGTERM: i32 = 15;
        let pid = self.process.id() as i32;
        // SAFETY: the C library's `kill` takes any two numbers; the process is our child and has not been waited for.
        assert_eq!(unsafe { kill(pid, SIGTERM) }, 0, "the signal is sent");
    }

    /// Waits for the process to end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self
                .process
                .try_wait()
                .expect("the process can be waited for")
            {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A greedy chat request to the embedded model.
pub fn chat(question: &str, max_tokens: usize) -> Value {
    json!({
        "model": fastserve::embedded::NAME,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": max_tokens,
    })
}

/// The events of a stream so far, and whether it has said `[DONE]`.
pub fn events(text: &str) -> (Vec<Value>, bool) {
    let data: Vec<&str> = text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .collect();
    let done = data.last() == Some(&"[DONE]");
    let events = data
        .iter()
        .filter(|event| **event != "[DONE]")
        .filter_map(|event| serde_json::from_str(event).ok());
    (events.collect(), done)
}

/// The text of a chat stream.
pub fn text_of(events: &[Value]) -> String {
    let deltas = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    deltas.collect()
}
