//! The command line of the testnet.
//!
//! Data goes to standard output, everything else to standard error; exit codes are those of
//! `quorate`. Every command returns when its effect is there.

mod chaos;
mod orders;
mod trouble;
mod up;
mod waiting;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use quorate_client::Testnet;
use quorate_node::exit::{Exit, Failure};
use quorate_node::stderr;

use crate::directory::Directory;
use crate::supervisor::control;

/// A group of validators on this machine, to try things out on.
#[derive(Debug, Parser)]
#[command(name = "quorate testnet", bin_name = "quorate testnet", version)]
struct Cli {
    /// What is printed: text for people, or one line of JSON.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(orders::Down),
    Status(orders::Status),
    /// Kill nodes, with SIGKILL.
    Kill(orders::Nodes),
    Revive(orders::Revive),
    /// Let nodes stand still, with SIGSTOP.
    Pause(orders::Nodes),
    /// Let nodes that stand still go on, with SIGCONT.
    Resume(orders::Nodes),
    Partition(trouble::Partition),
    /// Cut nodes off from all others.
    Isolate(orders::Nodes),
    Heal(trouble::Heal),
    Slow(trouble::Slow),
    Disk(trouble::Disk),
    Leader(trouble::Leader),
    Chaos(chaos::Chaos),
    Wait(waiting::Wait),
    Assert(waiting::Assert),
    Init(up::Init),
    Sim(quorate_sim::cli::Sim),
    #[command(hide = true)]
    Supervise(up::Supervise),
}

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { output, command } = match quorate_node::cli::parsed(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let done = match command {
        Command::Up(up) => up.run(output),
        Command::Down(down) => down.run(output),
        Command::Status(status) => status.run(output),
        Command::Kill(nodes) => nodes.run(output, |nodes| control::Order::Kill { nodes }),
        Command::Revive(revive) => revive.run(output),
        Command::Pause(nodes) => nodes.run(output, |nodes| control::Order::Pause { nodes }),
        Command::Resume(nodes) => nodes.run(output, |nodes| control::Order::Resume { nodes }),
        Command::Partition(partition) => partition.run(output),
        Command::Isolate(nodes) => nodes.run(output, |nodes| control::Order::Isolate { nodes }),
        Command::Heal(heal) => heal.run(output),
        Command::Slow(slow) => slow.run(output),
        Command::Disk(disk) => disk.run(output),
        Command::Leader(leader) => leader.run(),
        Command::Chaos(chaos) => chaos.run(output),
        Command::Wait(wait) => wait.run(),
        Command::Assert(assert) => assert.run(),
        Command::Init(init) => init.run(),
        Command::Sim(sim) => sim.run().map_err(|sentence| Failure::new(Exit::Bug, sentence)),
        Command::Supervise(supervise) => supervise.run(),
    };
    match done {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            match output {
                Output::Text => stderr::line(format_args!("quorate testnet: {failure}")),
                Output::Json => stderr::line(failure.to_json()),
            }
            failure.exit.into()
        }
    }
}

/// Gives an order; people are told what was done.
fn ordered(directory: &Directory, order: &control::Order, output: Output) -> Result<(), Failure> {
    let said = control::order(directory, order)?;
    if output == Output::Text {
        stderr::line(said);
    }
    Ok(())
}

/// The testnet that runs in a directory.
fn running(directory: &Directory) -> Result<Testnet, Failure> {
    Testnet::in_dir(directory.root()).ok_or_else(|| control::none_runs(directory))
}

/// Prints to standard output. Whoever has read enough and hung up is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Storage, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One line of JSON.
fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Exit::Bug, error))
}
