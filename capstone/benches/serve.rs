//! fastserve under its own load generator: both are the built program, over a real socket, on the embedded model.
//!
//! Server and client share the machine's cores, as they do for whoever tries it on a laptop.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fastserve");
const REQUESTS_A_STREAM: usize = 8;

fn main() {
    // `cargo test --benches` asks only whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let sources = [
        "capstone/src",
        "stages/03-attention-variants/src",
        "stages/08-paged-kv/src",
        "stages/09-scheduling/src",
        "stages/10-decoding/src",
        "stages/11-serving/src",
    ];
    let mut bench = benches::Bench::new(
        "capstone",
        "capstone-serve",
        "fastserve on the embedded model, prompts of 128 tokens, answers of 64",
        &sources,
    );
    let (mut server, url) = start();
    load(&url, 8, 16);
    for concurrency in [1usize, 4, 16, 64] {
        let requests = (concurrency * REQUESTS_A_STREAM).clamp(32, 128);
        let report = load(&url, concurrency, requests);
        let seconds = |value: &Value| value.as_f64().expect("a time in seconds") * 1e9;
        let (mut first, mut between, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for request in report["requests"].as_array().expect("a list of requests") {
            let pieces: Vec<f64> = request["pieces"]
                .as_array()
                .expect("a list of times")
                .iter()
                .map(seconds)
                .collect();
            first.extend(pieces.first());
            between.extend(pieces.windows(2).map(|pair| (pair[1] - pair[0]).round()));
            whole.push(seconds(&request["seconds"]));
        }
        let rate = report["output_tokens_per_second"].as_f64().expect("a rate");
        let mut series: Vec<(String, &str, Vec<f64>)> = Vec::new();
        for (q, name) in [(0.5, "p50"), (0.9, "p90"), (0.99, "p99")] {
            series.push((
                format!("time-to-first-token-{name}/{concurrency}"),
                "ns",
                vec![quantile(&first, q)],
            ));
            series.push((
                format!("inter-token-latency-{name}/{concurrency}"),
                "ns",
                vec![quantile(&between, q)],
            ));
            series.push((
                format!("whole-request-{name}/{concurrency}"),
                "ns",
                vec![quantile(&whole, q)],
            ));
        }
        series.push((format!("time-to-first-token/{concurrency}"), "ns", first));
        series.push((format!("output-rate/{concurrency}"), "tokens/s", vec![rate]));
        for (name, unit, samples) in series {
            bench.push(&name, unit, samples);
        }
    }
    server
        .kill()
        .and_then(|()| server.wait())
        .expect("the server can be stopped");
    bench.finish();
}

/// A server on a free port, and where it listens.
fn start() -> (Child, String) {
    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--port", "0"])
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped());
    let mut server = command.spawn().expect("the program starts");
    let mut log = BufReader::new(server.stderr.take().expect("standard error is piped"))
        .lines()
        .map_while(Result::ok);
    let line = log
        .find(|line| line.contains("listening on "))
        .expect("it listens");
    let url = line
        .split("listening on ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    // Somebody must go on reading, or the log would fill the pipe.
    std::thread::spawn(move || log.for_each(drop));
    (server, url.expect("an address").to_owned())
}

/// One run of `fastserve bench`.
fn load(url: &str, concurrency: usize, requests: usize) -> Value {
    let file = std::env::temp_dir().join(format!("fastserve-bench-{}.json", std::process::id()));
    let mut command = Command::new(PROGRAM);
    command.args([
        "bench",
        "--url",
        url,
        "--prompt-tokens",
        "128",
        "--output-tokens",
        "64",
    ]);
    command
        .args([
            "--concurrency",
            &concurrency.to_string(),
            "--requests",
            &requests.to_string(),
            "--json",
        ])
        .arg(&file);
    let output = command.output().expect("the program runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = std::fs::read_to_string(&file).expect("it wrote its report");
    std::fs::remove_file(&file).expect("the report can be removed");
    serde_json::from_str(&report).expect("the report is JSON")
}

/// The nearest-rank percentile.
fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((q * sorted.len() as f64).ceil() as usize).saturating_sub(1)]
}
