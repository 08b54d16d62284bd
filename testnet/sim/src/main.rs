//! The simulator by itself, which builds in a fraction of the time; `quorate-testnet sim` is the same.

use std::process::ExitCode;

use clap::Parser;
use quorate_sim::cli::Sim;

#[derive(Debug, Parser)]
#[command(name = "quorate-sim", version)]
struct Cli {
    #[command(flatten)]
    sim: Sim,
}

fn main() -> ExitCode {
    match Cli::parse().sim.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("quorate-sim: {sentence}");
            ExitCode::FAILURE
        }
    }
}
