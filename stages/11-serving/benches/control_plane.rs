//! What the control plane adds to a token: decoding, stop strings, and the whole way over a socket with an engine that costs nothing.

#[path = "../tests/common/mod.rs"]
mod common;

use benches::Bench;
use common::{Script, completion, serve};
use futures_util::StreamExt;
use serde_json::json;
use serving::detokenize::{Decode, Detokenizer};
use serving::stop::StopScanner;
use std::hint::black_box;
use std::time::Instant;

const TOKENS: usize = 256;
const TEXT: &str =
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all. ";

/// A byte a token.
#[derive(Clone)]
struct Bytes;

impl Decode for Bytes {
    fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn main() {
    let mut bench = Bench::new(
        "stage-11",
        "11-serving",
        "What the control plane adds to a token, with an engine that costs nothing",
        &["stages/11-serving/src"],
    );
    let tokens: Vec<u32> = TEXT.bytes().cycle().take(TOKENS).map(u32::from).collect();
    bench.measure("detokenize", TOKENS, |b| {
        b.iter(|| {
            let mut detokenizer = Detokenizer::new(Bytes, &[]);
            tokens
                .iter()
                .map(|token| detokenizer.push(black_box(*token)).len())
                .sum::<usize>()
        })
    });
    for stops in [1usize, 4, 16] {
        let stop: Vec<String> = (0..stops)
            .map(|index| format!("<|stop {index}|>"))
            .collect();
        bench.measure(&format!("stop-strings/{stops}"), TOKENS, |b| {
            b.iter(|| {
                let mut scanner = StopScanner::new(stop.clone(), false);
                let pieces = TEXT.as_bytes().chunks(4).cycle().take(TOKENS);
                pieces
                    .map(|piece| {
                        scanner
                            .push(std::str::from_utf8(black_box(piece)).expect("ASCII"))
                            .emit
                            .len()
                    })
                    .sum::<usize>()
            })
        });
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(over_sockets(&mut bench));
    bench.finish();
}

/// Streams of [`TOKENS`] tokens, some at once; client and server share the cores.
async fn over_sockets(bench: &mut Bench) {
    let mut script = Script::says("");
    script.tokens = std::sync::Arc::new(|request, _| vec![u32::from(b'x'); request.max_new_tokens]);
    let server = serve(script).await;
    for streams in [1usize, 8, 64] {
        let (mut per_token, mut per_request) = (Vec::new(), Vec::new());
        // The first round warms connections up.
        for round in 0..12 {
            let began = Instant::now();
            let requests = (0..streams).map(|_| async {
                let began = Instant::now();
                let body = completion(json!({"stream": true, "max_tokens": TOKENS}));
                let mut bytes = server.post("/v1/completions", &body).await.bytes_stream();
                while let Some(piece) = bytes.next().await {
                    black_box(piece.expect("the stream is whole"));
                }
                began.elapsed().as_nanos() as f64
            });
            let times = futures_util::future::join_all(requests).await;
            if round > 0 {
                per_token.push(began.elapsed().as_nanos() as f64 / (streams * TOKENS) as f64);
                per_request.extend(times);
            }
        }
        bench.push(&format!("over-http-per-token/{streams}"), "ns", per_token);
        bench.push(
            &format!("over-http-per-request/{streams}"),
            "ns",
            per_request,
        );
    }
}
