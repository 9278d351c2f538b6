//! `cargo course`: see `cargo course help`.

use clap::{Parser, Subcommand};
use course::{Error, Workspace, book, check, drill, learn, proofs, status};
use std::io::{stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// The course: exercises, proofs and the book.
#[derive(Parser)]
#[command(name = "cargo course", bin_name = "cargo course")]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Blank the tasks of a stage, or one of them, to solve them yourself
    Start {
        /// Number of the stage
        stage: String,
        /// One task; all without it
        task: Option<String>,
        /// Go on although this is the main branch or files have changes
        #[arg(long)]
        force: bool,
    },
    /// The task to do next
    Next,
    /// One more hint of a task
    Hint { stage: String, task: String },
    /// Put the reference solution of a task in place
    Reveal { stage: String, task: String },
    /// Your solution of a task against the reference
    Diff { stage: String, task: String },
    /// Interview questions, with what a good answer has and what proves it
    Drill {
        /// Number of the stage; all without it
        stage: Option<String>,
        /// Fixes the order of the questions
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Stages, tasks and proven items in one screen
    Status,
    /// Build the book into target/book
    Book {
        /// Open it in the browser
        #[arg(long)]
        open: bool,
        /// Serve it on this machine until interrupted
        #[arg(long)]
        serve: bool,
        /// Port to serve on
        #[arg(long, default_value_t = 3000)]
        port: u16,
    },
    /// Check every proof that checklists, chapters and questions name, and write checklists/proofs.txt
    Proofs {
        /// What `cargo test --workspace` has just printed, 2>&1: its tests are not run again
        #[arg(long)]
        ran: Option<PathBuf>,
    },
    /// What mdBook calls for its preprocessor
    #[command(hide = true)]
    Preprocess {
        /// `supports RENDERER`, or nothing
        arguments: Vec<String>,
    },
    /// Prove that the exercises are sound: blanks fail, mutants die, the order holds
    Check {
        /// Numbers of the stages; all without them
        stages: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> course::Result<()> {
    let workspace = Workspace::here()?;
    match verb {
        Verb::Start { stage, task, force } => print!(
            "{}",
            learn::start(&workspace, &stage, task.as_deref(), force)?
        ),
        Verb::Next => print!("{}", learn::next(&workspace)?),
        Verb::Hint { stage, task } => print!("{}", learn::hint(&workspace, &stage, &task)?),
        Verb::Reveal { stage, task } => print!("{}", learn::reveal(&workspace, &stage, &task)?),
        Verb::Diff { stage, task } => print!("{}", learn::diff(&workspace, &stage, &task)?),
        Verb::Drill { stage, seed } => {
            let (mut input, mut output) = (stdin().lock(), stdout().lock());
            drill::drill(&workspace, stage.as_deref(), seed, &mut input, &mut output)?;
        }
        Verb::Status => print!("{}", status::status(&workspace)?),
        Verb::Book { open, serve, port } => {
            let folder = book::build::build(&workspace)?;
            let folder = folder.canonicalize().unwrap_or(folder);
            println!("built {}", folder.join("index.html").display());
            if open {
                opener::open(folder.join("index.html")).map_err(Error::new)?;
            }
            if serve {
                book::serve::serve(&workspace, &folder, port)?;
            }
        }
        Verb::Proofs { ran } => {
            let snapshot = proofs::check(&workspace, ran.as_deref())?;
            println!("{} proofs hold", snapshot.proofs.len());
        }
        // With arguments mdBook asks whether a renderer is supported: all are.
        Verb::Preprocess { arguments } if !arguments.is_empty() => {}
        Verb::Preprocess { .. } => {
            book::build::preprocess(&workspace, stdin().lock(), stdout().lock())?
        }
        Verb::Check { stages } => {
            let summary = check::check(&workspace, &stages, |line| println!("{line}"))?;
            println!("{} tasks, {} mutants killed", summary.tasks, summary.killed);
        }
    }
    Ok(())
}
