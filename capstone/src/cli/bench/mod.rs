//! `fastserve bench`: a load generator for any server that speaks OpenAI's completions API.
//!
//! Every request is a prompt of random tokens, fresh in each run, so that no cache helps, and is streamed, so that the time of each
//! piece is seen.
//! The server is told to ignore its end of sequence, so that all answers are equally long.

mod event_stream;
mod report;

use self::event_stream::EventStream;
use self::report::{Outcome, Report};
use super::CliError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::Client;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options of `bench`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// The model's name. Default: the first that the server lists.
    #[arg(long)]
    model: Option<String>,
    /// Requests in all.
    #[arg(long, default_value_t = 64)]
    requests: usize,
    /// Requests under way at most.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Requests that begin in a second on average, at random times (a Poisson process). Without it, one begins when one ends.
    #[arg(long)]
    rate: Option<f64>,
    /// Tokens of each prompt.
    #[arg(long, default_value_t = 128)]
    prompt_tokens: usize,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 64)]
    output_tokens: usize,
    /// Prompts are random ids below this; every tokenizer of a language model has as many.
    #[arg(long, default_value_t = 4096)]
    vocabulary: u32,
    /// Fixes the random prompts and arrivals. Default: fresh ones. A server that has seen a seed may answer from its cache.
    #[arg(long)]
    seed: Option<u64>,
    /// Writes all figures and every sample to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Puts the load on, and prints what it took.
pub(super) async fn run(args: BenchArgs) -> Result<(), CliError> {
    if args.concurrency == 0
        || args.requests == 0
        || args.prompt_tokens == 0
        || args.output_tokens == 0
    {
        return Err(CliError::Other(
            "--requests, --concurrency and token counts must be above 0".to_owned(),
        ));
    }
    if args
        .rate
        .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
    {
        return Err(CliError::Other("--rate must be above 0".to_owned()));
    }
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let client = Client::new();
    let model = match &args.model {
        Some(model) => model.clone(),
        None => first_model(&client, &args.url).await?,
    };
    let began = Instant::now();
    let mut under_way = FuturesUnordered::new();
    let mut outcomes = Vec::new();
    let mut due = Duration::ZERO;
    for index in 0..args.requests {
        while under_way.len() >= args.concurrency {
            outcomes.extend(under_way.next().await);
        }
        if let Some(rate) = args.rate {
            due += Duration::from_secs_f64(-(1.0 - random(seed, index, 0)).ln() / rate);
            let until = tokio::time::Instant::from_std(began + due);
            // Answers are read while the next arrival is waited for.
            while tokio::time::Instant::now() < until {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    Some(outcome) = under_way.next() => outcomes.push(outcome),
                }
            }
        }
        under_way.push(ask(&client, &args, &model, seed, index));
    }
    while let Some(outcome) = under_way.next().await {
        outcomes.push(outcome);
    }
    let report = Report::new(&outcomes, began.elapsed());
    println!("{}seed {seed}", report.table());
    if let Some(path) = &args.json {
        let text = report.json(&outcomes, &model).to_string();
        std::fs::write(path, text).map_err(CliError::io(path.display().to_string()))?;
    }
    match report.failed {
        0 => Ok(()),
        failed => {
            let first = outcomes
                .iter()
                .find_map(|outcome| outcome.error.as_deref())
                .unwrap_or("no reason");
            Err(CliError::Other(format!(
                "{failed} of {} requests failed; the first: {first}",
                args.requests
            )))
        }
    }
}

async fn first_model(client: &Client, url: &str) -> Result<String, CliError> {
    let failed =
        |error: reqwest::Error| CliError::Other(format!("asking {url} for its models: {error}"));
    let answer = client
        .get(format!("{url}/v1/models"))
        .send()
        .await
        .map_err(failed)?;
    let models: Value = answer.json().await.map_err(failed)?;
    let name = models["data"][0]["id"].as_str();
    name.map(str::to_owned)
        .ok_or_else(|| CliError::Other(format!("{url} lists no model; name one with --model")))
}

/// One request from its sending to its end.
async fn ask(client: &Client, args: &BenchArgs, model: &str, seed: u64, index: usize) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    if let Err(error) = stream(client, args, model, (seed, index), began, &mut outcome).await {
        outcome.error = Some(error);
    }
    outcome.total = began.elapsed();
    outcome
}

async fn stream(
    client: &Client,
    args: &BenchArgs,
    model: &str,
    (seed, index): (u64, usize),
    began: Instant,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let token = |at: usize| (random(seed, index, at + 1) * f64::from(args.vocabulary)) as u32;
    let body = json!({
        "model": model,
        "prompt": (0..args.prompt_tokens).map(token).collect::<Vec<_>>(),
        "max_tokens": args.output_tokens,
        "temperature": 0,
        "ignore_eos": true,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let answer = client
        .post(format!("{}/v1/completions", args.url))
        .json(&body)
        .send()
        .await;
    let answer = answer.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        let status = answer.status();
        return Err(format!(
            "{status}: {}",
            answer.text().await.unwrap_or_default()
        ));
    }
    let mut bytes = answer.bytes_stream();
    let mut events = EventStream::default();
    while let Some(chunk) = bytes.next().await {
        for data in events.push(&chunk.map_err(|error| error.to_string())?) {
            if data == "[DONE]" {
                return Ok(());
            }
            outcome.note(&data, began.elapsed())?;
        }
    }
    Err("the stream ended before [DONE]".to_owned())
}

/// A seed that no earlier run had.
fn fresh_seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// A number from `[0, 1)` by request and place, equal for equal seeds.
fn random(seed: u64, request: usize, place: usize) -> f64 {
    decoding::philox::uniform(seed, (request as u64) << 32 | place as u64)
}
