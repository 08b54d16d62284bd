//! `quorate leader` and `quorate log`: what is said to one node by its operator.

use std::path::PathBuf;
use std::time::Duration;

use quorate_chain::ids::NodeId;
use quorate_chain::roster::Lead;
use quorate_client::Testnet;

use super::output::{self, Done, Output};
use super::reach::{Nodes, home, time};
use super::read::{leaderless, read};
use crate::admin::{self, Order};
use crate::exit::{Exit, Failure};
use crate::home::Layout;

/// Show who leads, or say who shall.
#[derive(Debug, clap::Args)]
pub(super) struct Leader {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the id of the node that leads. Ends with 6 if none is known.
    Show {
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Hand leadership over. Said to the node that leads, through the socket in its home.
    Transfer {
        /// Who shall lead [default: whoever is best placed].
        #[arg(long, value_name = "NODE")]
        to: Option<u32>,
        /// How long to wait until somebody else leads.
        #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
        patience: Duration,
        /// The home of the node [default: $QUORATE_HOME, else that of the leader of the running testnet].
        #[arg(long, value_name = "DIRECTORY")]
        home: Option<PathBuf>,
    },
    /// Say how much a node wants to lead, until its process ends.
    Want {
        /// no, yes or prefer.
        #[arg(value_parser = lead)]
        lead: Lead,
        /// The home of the node [default: $QUORATE_HOME].
        #[arg(long, value_name = "DIRECTORY")]
        home: Option<PathBuf>,
    },
}

/// Say how much a running node tells on standard error.
#[derive(Debug, clap::Args)]
pub(super) struct Log {
    /// error, warn, info, debug or trace.
    level: String,
    /// The home of the node [default: $QUORATE_HOME].
    #[arg(long, value_name = "DIRECTORY")]
    home: Option<PathBuf>,
}

fn lead(text: &str) -> Result<Lead, String> {
    match text {
        "no" => Ok(Lead::No),
        "yes" => Ok(Lead::Yes),
        "prefer" => Ok(Lead::Prefer),
        _ => Err("it is no, yes or prefer".to_owned()),
    }
}

/// The home that is named, or the usual one.
fn layout(named: Option<PathBuf>) -> Result<Layout, Failure> {
    let named = named.or_else(home);
    named.map(Layout::new).ok_or_else(|| Failure::new(Exit::Usage, "which home? Say --home"))
}

/// The home of the node that leads the testnet of this machine.
fn leading() -> Option<PathBuf> {
    let testnet = Testnet::running()?;
    let client = quorate_client::Client::new(&testnet.nodes()).ok()?;
    let leader = client.status().ok()?.leader?;
    testnet.nodes.into_iter().find(|node| node.node_id == leader).map(|node| node.home)
}

/// Gives an order and prints who leads then.
fn tell(layout: &Layout, order: &Order, output: Output) -> Done {
    let done = admin::order(layout, order)?;
    if let Some((code, sentence)) = done.failure {
        return Err(Failure::new(Exit::from_code(code), sentence).into());
    }
    match (output, done.leader) {
        (Output::Json, _) => output::json(&done),
        (Output::Text, Some(leader)) => output::line(&format!("node {leader} leads")),
        (Output::Text, None) => output::line("no leader is known"),
    }
}

impl Leader {
    /// Runs the command.
    pub(super) fn run(self, output: Output) -> Done {
        match self.what {
            What::Show { nodes } => {
                let body = nodes.client()?.body("/v1/status")?;
                let status: quorate_client::answer::Status = read(&body)?;
                match (output, status.leader) {
                    (_, None) => Err(leaderless(status)),
                    (Output::Json, Some(_)) => output::body(&body),
                    (Output::Text, Some(leader)) => output::line(&leader.to_string()),
                }
            }
            What::Transfer { to, patience, home: named } => {
                let layout = layout(named.or_else(home).or_else(leading))?;
                let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                let to = to.map(NodeId::new);
                tell(&layout, &Order::TransferLeader { to, patience_ms }, output)
            }
            What::Want { lead, home } => tell(&layout(home)?, &Order::Lead { lead }, output),
        }
    }
}

impl Log {
    /// Runs the command.
    pub(super) fn run(self, output: Output) -> Done {
        tell(&layout(self.home)?, &Order::LogLevel { level: self.level }, output)
    }
}
