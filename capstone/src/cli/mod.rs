//! The command line: `serve` (the default), `generate`, `chat`, `classify`, `quantize` and `bench`.

mod bench;
mod chat;
mod classify;
mod generate;
mod quantize;
mod serve;
mod start;

use crate::model::ModelError;
use crate::quantize::QuantizeError;
use attention_variants::hf::LoadError;
use clap::{Parser, Subcommand};
use scheduling::ConfigError;
use serving::ApiError;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Serves a Hugging Face model over OpenAI's API. Without arguments: the embedded model, on 127.0.0.1:8000.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve over HTTP.
    Serve(Box<serve::ServeArgs>),
    /// Continue a text, or answer one question with --chat.
    Generate(Box<generate::GenerateArgs>),
    /// Talk to the model in the terminal.
    Chat(Box<chat::ChatArgs>),
    /// Say which digit a picture shows.
    Classify(classify::ClassifyArgs),
    /// Put a load on a server and measure it.
    Bench(Box<bench::BenchArgs>),
    /// Write a model with fewer bits.
    Quantize(Box<quantize::QuantizeArgs>),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Limits(#[from] ConfigError),
    #[error(transparent)]
    Classify(#[from] classify::ClassifyError),
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Other(String),
}

impl CliError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let command = cli.command.unwrap_or(Command::Serve(Box::new(cli.serve)));
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&CliError::io("starting the asynchronous runtime")(error)),
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Generate(args) => generate::run(*args).await,
            Command::Chat(args) => chat::run(*args).await,
            Command::Classify(args) => classify::run(&args),
            Command::Bench(args) => bench::run(*args).await,
            Command::Quantize(args) => quantize::run(&args),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &CliError) -> ExitCode {
    eprintln!("fastserve: {error}");
    ExitCode::FAILURE
}
