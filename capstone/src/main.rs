//! The command line.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    fastserve::cli::run(fastserve::cli::Cli::parse())
}
