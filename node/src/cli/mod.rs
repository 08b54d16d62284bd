//! The command line.
//!
//! Data goes to standard output, everything else to standard error. A command that fails says one
//! sentence and ends with one of the codes of [`Exit`].

mod settings;
mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};

/// A permissioned ledger: signed transactions in, a certified chain of blocks out.
#[derive(Debug, Parser)]
#[command(name = "quorate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Start(start::Start),
}

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Start(start) => start.run(),
    };
    match done {
        Ok(()) => Exit::Success.into(),
        Err(Failure { exit, sentence }) => {
            eprintln!("quorate: {sentence}");
            exit.into()
        }
    }
}
