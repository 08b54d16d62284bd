//! `quorate genesis`: making and checking the file that a chain begins with.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use quorate_chain::crypto::ValidatorKey;
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis as File, GenesisAdmins, GenesisValidator, VERSION};
use quorate_chain::ids::{AccountKey, ChainId, TimeUs};
use quorate_chain::roster::Lead;
use serde::Serialize;

use super::output::{self, Done, Output};
use crate::exit::{Exit, Failure};

/// Make and check the file that a chain begins with.
#[derive(Debug, clap::Args)]
pub(super) struct Genesis {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Create(Create),
    /// Check a file and print the id of the chain that it begins.
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// Print a genesis file. All who join the chain must have the same one, byte for byte.
#[derive(Debug, clap::Args)]
struct Create {
    /// What people call the chain.
    #[arg(long)]
    name: String,
    /// Validators, in the order of their ids: each the validator.json that `quorate init` has made, or
    /// `NAME,KEY[,P2P[,API]]`, such as `node0,KEY,/dns4/node0.example.org/tcp/7700,https://node0.example.org`.
    #[arg(long = "validator", value_name = "FILE", num_args = 1.., required = true, value_parser = validator)]
    validators: Vec<GenesisValidator>,
    /// The public keys of the admins.
    #[arg(long = "admin", value_name = "KEY", num_args = 1.., required = true)]
    admins: Vec<AccountKey>,
    /// How many admins must agree.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    threshold: u16,
    /// Only accounts that were granted a prefix may write; otherwise anyone may.
    #[arg(long)]
    granted: bool,
    /// Allow development keys and storage in memory.
    #[arg(long)]
    testnet: bool,
}

/// What is printed of a file that was checked.
#[derive(Serialize)]
struct Checked {
    chain_id: ChainId,
    name: String,
    validators: usize,
    admins: usize,
    threshold: u16,
    testnet: bool,
}

fn validator(text: &str) -> Result<GenesisValidator, String> {
    if !text.contains(',') {
        let file = std::fs::read(text).map_err(|error| format!("{text}: {error}"))?;
        return serde_json::from_slice(&file).map_err(|error| format!("{text}: {error}"));
    }
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default().to_owned();
    let key = parts.next().ok_or("a validator is NAME,KEY[,P2P[,API]]")?;
    let key: ValidatorKey = key.parse().map_err(|error| format!("{error}"))?;
    let mut address = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let (p2p, api) = (address().into_iter().collect(), address().into_iter().collect());
    match parts.next() {
        Some(_) => Err("a validator is NAME,KEY[,P2P[,API]]".to_owned()),
        None => Ok(GenesisValidator { name, key, p2p, api, lead: Lead::Yes }),
    }
}

impl Genesis {
    /// Runs the command.
    pub(super) fn run(self, output: Output) -> Done {
        match self.what {
            What::Create(create) => create.run(),
            What::Check { file } => check(&file, output),
        }
    }
}

impl Create {
    fn run(self) -> Done {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let file = File {
            version: VERSION,
            name: self.name,
            time_us: TimeUs::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
            testnet: self.testnet,
            writers: if self.granted { Writers::Granted } else { Writers::Anyone },
            admins: GenesisAdmins { threshold: self.threshold, keys: self.admins },
            validators: self.validators,
            vote_quorum: None,
            finality_quorum: None,
            grants: Vec::new(),
        };
        file.check().map_err(|error| Failure::new(Exit::Configuration, error))?;
        output::raw(&file.to_file())
    }
}

fn check(path: &std::path::Path, output: Output) -> Done {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Configuration, format!("{}: {error}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
    let file = File::parse(&bytes).map_err(|error| wrong(&error))?;
    let checked = Checked {
        chain_id: File::chain_id(&bytes),
        name: file.name,
        validators: file.validators.len(),
        admins: file.admins.keys.len(),
        threshold: file.admins.threshold,
        testnet: file.testnet,
    };
    match output {
        Output::Json => output::json(&checked),
        Output::Text => output::line(&checked.chain_id.to_string()),
    }
}
