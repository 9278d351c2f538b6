//! `fastserve generate`: one prompt, its continuation on standard output.

use super::CliError;
use super::start::{EngineArgs, Started, start};
use crate::model::ModelArgs;
use decoding::SamplingParams;
use serde_json::{Map, json};
use serving::generate::{ChoiceEvent, Generation};
use serving::prompt::{Conversation, encode};
use serving::validate::Options;
use serving::{App, Limits};
use std::io::Write;
use std::sync::Arc;

/// How to sample, for the commands that generate in this process.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SamplingArgs {
    /// Tokens to generate at most. Default: the rest of the context.
    #[arg(long, short = 'n', value_name = "TOKENS")]
    max_tokens: Option<usize>,
    /// 0 is greedy.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Only the K likeliest tokens; 0 is off.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Only the likeliest tokens that together have this probability.
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Names the random stream.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl SamplingArgs {
    /// The options of a request to the server that asks the same.
    pub(super) fn options(&self, app: &App) -> Result<Options, CliError> {
        let params = SamplingParams {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
            ..SamplingParams::default()
        };
        params
            .validate(app.model.vocab_size)
            .map_err(|error| CliError::Other(format!("--{error}")))?;
        Ok(Options {
            n: 1,
            params,
            max_tokens: self.max_tokens,
            min_tokens: 0,
            stop_token_ids: app.model.eos_token_ids.clone(),
            stop: Vec::new(),
            include_stop: false,
            skip_special: true,
            stream: true,
            include_usage: false,
            return_token_ids: false,
            priority: 0,
            cache_salt: 0,
            time_limit: None,
        })
    }
}

/// Options of `generate`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Ask the prompt as a question, through the chat template.
    #[arg(long)]
    chat: bool,
    /// The text to continue.
    prompt: String,
}

/// Prints the continuation as it comes.
pub(super) async fn run(args: GenerateArgs) -> Result<(), CliError> {
    let Started { app, engine } = start(&args.model, &args.engine, Limits::default(), None)?;
    let options = args.sampling.options(&app)?;
    let prompt = if args.chat {
        conversation_tokens(&app, vec![message("user", &args.prompt)])?
    } else {
        encode(&app.model.tokenizer, &args.prompt, true)?
    };
    print_answer(&app, &options, prompt).await?;
    drop(app);
    engine
        .join()
        .map_err(|_| CliError::Other("the engine thread panicked".to_owned()))
}

/// A message of a conversation.
pub(super) fn message(role: &str, content: &str) -> Map<String, serde_json::Value> {
    Map::from_iter([
        ("role".to_owned(), json!(role)),
        ("content".to_owned(), json!(content)),
    ])
}

/// The prompt of a conversation, ready for the assistant's turn.
pub(super) fn conversation_tokens(
    app: &App,
    messages: Vec<Map<String, serde_json::Value>>,
) -> Result<Vec<u32>, CliError> {
    let conversation = Conversation::check(messages, None, None, None)?;
    Ok(conversation.tokens(app.model.chat_template.as_deref(), &app.model.tokenizer)?)
}

/// Streams one answer to standard output, and returns it.
pub(super) async fn print_answer(
    app: &Arc<App>,
    options: &Options,
    prompt: Vec<u32>,
) -> Result<String, CliError> {
    let request = options.request(app, "prompt", prompt, None)?;
    let mut generation = Generation::start(app, vec![request], options, None)?;
    let mut answer = String::new();
    let mut out = std::io::stdout();
    while let Some(event) = generation.next().await {
        let (_, event) = event?;
        if let ChoiceEvent::Token(serving::generate::TokenPiece { text, .. })
        | ChoiceEvent::Rest(text) = event
        {
            out.write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .map_err(CliError::io("standard output"))?;
            answer.push_str(&text);
        }
    }
    writeln!(out).map_err(CliError::io("standard output"))?;
    Ok(answer)
}
