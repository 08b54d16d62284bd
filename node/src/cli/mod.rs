//! The command line.
//!
//! Data goes to standard output, everything else to standard error. A command that fails says one
//! sentence and ends with one of the codes of [`Exit`].

mod beside;
mod config;
mod genesis;
mod init;
mod key;
mod leader;
mod list;
mod operations;
mod output;
mod reach;
mod read;
mod settings;
mod start;
mod tx;
mod wal;
mod write;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};
use output::{Done, Ended, Output};

/// A permissioned ledger: signed transactions in, a certified chain of blocks out.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = EXITS)]
struct Cli {
    /// What is printed: text for people, or one line of JSON.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

const EXITS: &str = "\
Exit codes: 0 ok, 1 bug, 2 usage, 3 configuration or keys, 4 no node answered, 5 not found,
6 no leader, no quorum or outcome unknown, 7 rejected, 8 verification failed, 9 storage,
10 refused for safety.";

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Start(start::Start),
    /// Set a key that has no value.
    Put(write::Set),
    /// Set a key, whether or not it has a value.
    Update(write::Set),
    /// Take a key's value away.
    Remove(write::Remove),
    /// Set a key if its value is as expected.
    Cas(write::Cas),
    /// Print the value of a key.
    Get(read::Get),
    /// Print the keys that begin alike, with their values.
    Scan(list::Scan),
    /// Print what a key has been, newest first.
    History(list::ShowHistory),
    /// Allow an account to write keys that begin alike. For admins.
    Grant(write::Grant),
    /// Take that back. For admins.
    Revoke(write::Grant),
    /// Do all that a file says, or nothing of it.
    Apply(write::Apply),
    /// Print what happens, as it happens.
    Watch(list::Watch),
    /// Show the other nodes, as one of them sees them.
    Peers(list::Group),
    /// Show who is in the roster.
    Validators(list::Group),
    /// Print the committed height.
    Height(read::Height),
    /// Show a block.
    Block(read::ShowBlock),
    Tx(tx::Tx),
    /// Show how a node fares.
    Status(read::Status),
    Leader(leader::Leader),
    Log(leader::Log),
    Key(key::Key),
    Config(config::Configuration),
    Wal(wal::Wal),
    Genesis(genesis::Genesis),
    /// A group of validators on this machine, to try things out on.
    Testnet(beside::Beside),
    /// How fast a chain is, on this machine or on nodes elsewhere.
    Bench(beside::Beside),
}

impl Command {
    fn run(self, output: Output) -> Done {
        match self {
            Self::Init(init) => init.run(output),
            Self::Start(start) => start.run().map_err(Ended::from),
            Self::Put(set) => set.put(output),
            Self::Update(set) => set.update(output),
            Self::Remove(remove) => remove.run(output),
            Self::Cas(cas) => cas.run(output),
            Self::Get(get) => get.run(output),
            Self::Scan(scan) => scan.run(output),
            Self::History(history) => history.run(output),
            Self::Grant(grant) => grant.grant(output),
            Self::Revoke(grant) => grant.revoke(output),
            Self::Apply(apply) => apply.run(output),
            Self::Watch(watch) => watch.run(output),
            Self::Peers(group) => group.peers(output),
            Self::Validators(group) => group.validators(output),
            Self::Height(height) => height.run(output),
            Self::Block(block) => block.run(output),
            Self::Tx(tx) => tx.run(output),
            Self::Status(status) => status.run(output),
            Self::Leader(leader) => leader.run(output),
            Self::Log(log) => log.run(output),
            Self::Config(config) => config.run(output),
            Self::Wal(wal) => wal.run(output),
            Self::Key(key) => key.run(output),
            Self::Genesis(genesis) => genesis.run(output),
            Self::Testnet(testnet) => testnet.run("testnet", output),
            Self::Bench(bench) => bench.run("bench", output),
        }
    }
}

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// Runs a command, given with the name of the program before it. The wish for help ends the process.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    match parsed(arguments) {
        Ok(Cli { output, command }) => match command.run(output) {
            Ok(()) => Exit::Success,
            Err(ended) => ended.tell(output),
        },
        Err(exit) => exit,
    }
}

/// Reads a command line. The wish for help, and what cannot be read and asks for text, end the process.
///
/// # Errors
/// How it is to end if what cannot be read asks for JSON: what is wrong has been said then.
pub fn parsed<C: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<C, Exit> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    C::try_parse_from(&arguments).map_err(|wrong| {
        if wrong.use_stderr() && wants_json(&arguments) {
            Ended::from(Failure::new(Exit::Usage, usage(&wrong))).tell(Output::Json)
        } else {
            wrong.exit()
        }
    })
}

/// Whether a command line that cannot be read asks for JSON.
fn wants_json(arguments: &[OsString]) -> bool {
    let pairs = arguments.windows(2);
    let mut pairs = pairs.map(|pair| pair[0] == "--output" && pair[1] == "json");
    pairs.any(|asks| asks) || arguments.iter().any(|argument| argument == "--output=json")
}

/// What is wrong with a command line, without how it should be.
fn usage(wrong: &clap::Error) -> String {
    let text = wrong.to_string();
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim);
    let words: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    let words = words.join(" ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn no_flag_stands_twice_in_a_command() {
        super::Cli::command().debug_assert();
    }
}
