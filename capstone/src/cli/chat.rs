//! `fastserve chat`: a conversation in the terminal, one line a turn.

use super::CliError;
use super::generate::{SamplingArgs, conversation_tokens, message, print_answer};
use super::start::{EngineArgs, Started, start};
use crate::model::ModelArgs;
use serving::Limits;
use std::io::{BufRead, Write};

/// Options of `chat`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Said to the model before everything else.
    #[arg(long)]
    system: Option<String>,
}

/// Reads questions from standard input until it ends; an empty line begins a new conversation.
pub(super) async fn run(args: ChatArgs) -> Result<(), CliError> {
    let Started { app, engine } = start(&args.model, &args.engine, Limits::default(), None)?;
    let options = args.sampling.options(&app)?;
    eprintln!(
        "{}: ask away; an empty line starts over, Ctrl-D ends.",
        app.model.id
    );
    let opening: Vec<_> = args
        .system
        .iter()
        .map(|system| message("system", system))
        .collect();
    let mut messages = opening.clone();
    while let Some(line) = read_line()? {
        if line.is_empty() {
            messages = opening.clone();
            continue;
        }
        messages.push(message("user", &line));
        let prompt = conversation_tokens(&app, messages.clone())?;
        match print_answer(&app, &options, prompt).await {
            Ok(answer) => messages.push(message("assistant", &answer)),
            // A conversation that has outgrown the context is told so and begins anew.
            Err(CliError::Api(error)) => {
                eprintln!("{error}");
                messages = opening.clone();
            }
            Err(error) => return Err(error),
        }
    }
    drop(app);
    engine
        .join()
        .map_err(|_| CliError::Other("the engine thread panicked".to_owned()))
}

/// The next line without its end, after a prompt; `None` at the end of the input.
fn read_line() -> Result<Option<String>, CliError> {
    eprint!("> ");
    std::io::stderr()
        .flush()
        .map_err(CliError::io("standard error"))?;
    let mut line = String::new();
    let read = std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(CliError::io("standard input"))?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}
