//! `quorate tx`: asking about transactions, and signing and sending them on two machines.

use std::ffi::OsString;
use std::path::PathBuf;

use bytes::Bytes;
use data_encoding::BASE64;
use quorate_chain::codec::Decode as _;
use quorate_chain::ids::{ChainId, Height, Nonce, TxId};
use quorate_chain::transaction::{SignedTransaction, Transaction};
use quorate_client::answer::Outcome;
use quorate_client::path;
use serde::{Deserialize, Serialize};

use super::operations;
use super::output::{self, Done, Ended, Output};
use super::reach::{Key, Nodes, Waiting, only_in_a_testnet};
use super::read::show;
use super::write::{content, sentence, tell};
use crate::exit::{Exit, Failure};
use crate::stderr;

/// Show what became of a transaction, or sign one and send it later.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Tx {
    #[command(subcommand)]
    what: Option<What>,
    /// Its id.
    #[arg(required = true)]
    id: Option<TxId>,
    #[command(flatten)]
    nodes: Nodes,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Sign(Sign),
    Send(Send),
}

/// Sign a transaction and print it, as one line that `quorate tx send` takes.
#[derive(Debug, clap::Args)]
struct Sign {
    /// The operations, as `quorate apply` takes them; - for standard input.
    #[arg(value_name = "FILE.json")]
    file: OsString,
    /// Ask no node. The chain and the nonce must then be said.
    #[arg(long, requires = "chain", requires = "nonce")]
    offline: bool,
    /// The id of the chain it is for.
    #[arg(long, value_name = "ID")]
    chain: Option<ChainId>,
    /// Its nonce: one that the sender has not used, at most 1024 above the highest used.
    #[arg(long)]
    nonce: Option<u64>,
    /// The last height at which it may be ordered.
    #[arg(long, value_name = "HEIGHT")]
    expires: Option<u64>,
    /// Where to write it, instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    key: Key,
    #[command(flatten)]
    nodes: Nodes,
}

/// Send a transaction that was signed before. Sending it twice does no harm.
#[derive(Debug, clap::Args)]
struct Send {
    /// What `quorate tx sign` has printed, or the bytes themselves; - for standard input.
    file: OsString,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    waiting: Waiting,
}

/// A signed transaction as a line of text. It is also what `POST /v1/txs` takes.
#[derive(Serialize, Deserialize)]
struct Line {
    tx: String,
}

impl Tx {
    /// Runs the command.
    pub(super) fn run(self, output: Output) -> Done {
        match (self.what, self.id) {
            (Some(What::Sign(sign)), _) => sign.run(),
            (Some(What::Send(send)), _) => send.run(output),
            (None, Some(id)) => show(&self.nodes, &path::tx(id), output, |outcome: &Outcome| {
                output::line(&sentence(outcome))
            }),
            (None, None) => Err(Failure::new(Exit::Usage, "which transaction?").into()),
        }
    }
}

impl Sign {
    fn run(self) -> Done {
        let secret = self.key.read()?;
        match (secret.is_development(), self.offline) {
            (true, true) => stderr::line(format_args!(
                "{} is a development key, which others may know: sign for testnets only",
                secret.path().display()
            )),
            (true, false) => only_in_a_testnet(&self.nodes.client()?, &secret)?,
            (false, _) => {}
        }
        let operations = operations::read(&self.file)?.into_operations();
        let sender = secret.public();
        let chain_id = match self.chain {
            Some(chain) => chain,
            None => self.nodes.client()?.chain_id()?,
        };
        let nonce = match self.nonce {
            Some(nonce) => Nonce::new(nonce),
            None => self.nodes.client()?.account_info(sender)?.next_nonce,
        };
        let expires = self.expires.map(Height::new);
        let approvers = Vec::new();
        let transaction = Transaction { chain_id, sender, nonce, expires, approvers, operations };
        let signed =
            transaction.sign(&secret.into_secret()).map_err(quorate_client::Error::from)?;
        stderr::line(format_args!("transaction {}", signed.id()));
        let line = Line { tx: BASE64.encode(signed.bytes()) };
        let line = serde_json::to_string(&line).map_err(|error| Failure::new(Exit::Bug, error))?;
        match self.out {
            None => output::line(&line),
            Some(path) => std::fs::write(&path, format!("{line}\n")).map_err(|error| {
                Failure::new(Exit::Storage, format!("{}: {error}", path.display())).into()
            }),
        }
    }
}

impl Send {
    fn run(self, output: Output) -> Done {
        let bytes = transaction(content(&self.file)?)?;
        let wait = self.waiting.wait(&self.nodes);
        let body = self.nodes.client()?.submit_for_body(&bytes, wait)?;
        tell(&body, output)
    }
}

/// The bytes of a transaction: they may be in base64 in a line of JSON.
fn transaction(content: Vec<u8>) -> Result<Vec<u8>, Ended> {
    let usage = |why: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format!("this is no signed transaction: {why}"))
    };
    let bytes = match serde_json::from_slice::<Line>(&content) {
        Ok(line) => BASE64.decode(line.tx.as_bytes()).map_err(|error| usage(&error))?,
        Err(_) => content,
    };
    SignedTransaction::from_bytes(&Bytes::from(bytes.clone())).map_err(|error| usage(&error))?;
    Ok(bytes)
}
