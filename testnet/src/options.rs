//! What a testnet should be like, as its maker says it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use quorate_client::Testnet;
use quorate_node::config::values;
use quorate_node::exit::{Exit, Failure};

/// How many nodes there are if nothing else is said.
const NODES: u16 = 5;
/// Where clients and other nodes reach the first node if nothing else is said.
pub(crate) const PORTS: (u16, u16) = (7_600, 7_700);

/// Where a testnet is.
#[derive(Clone, Debug, Args)]
pub(crate) struct At {
    /// The testnet's directory [default: $QUORATE_TESTNET, else quorate/testnet where programs keep
    /// their state].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl At {
    /// The directory, from the root of the file system on.
    pub(crate) fn dir(&self) -> Result<PathBuf, Failure> {
        let dir = self.dir.clone().or_else(Testnet::default_dir).ok_or_else(|| {
            let sentence = "where is the testnet? Say --dir, or set QUORATE_TESTNET or HOME";
            Failure::new(Exit::Configuration, sentence)
        })?;
        std::path::absolute(&dir).map_err(|error| {
            Failure::new(Exit::Configuration, format!("{}: {error}", dir.display()))
        })
    }
}

/// What its nodes are like. What is not said stays as it is in a testnet that exists.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Options {
    /// How many validators [default: 5, or as many as there are].
    #[arg(short = 'n', long = "nodes", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: Option<u16>,
    /// Where clients reach node 0; node I listens I above it; 0 takes free ports [default: 7600].
    #[arg(long, value_name = "PORT")]
    pub(crate) api_port: Option<u16>,
    /// Where other nodes reach node 0; node I listens I above it; 0 takes free ports
    /// [default: 7700].
    #[arg(long, value_name = "PORT")]
    pub(crate) p2p_port: Option<u16>,
    /// The node that leads first: whoever is elected before it hands over.
    #[arg(long, value_name = "NODE")]
    pub(crate) leader: Option<u16>,
    /// The nodes that want to lead, separated by commas; the others do only as a last resort.
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    pub(crate) eligible: Vec<u16>,
    /// Seal a block each interval, empty ones too, instead of on demand.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) block_interval: Option<Duration>,
    /// How often a leader is heard when there is nothing to say [default: 100ms].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) heartbeat: Option<Duration>,
    /// The least time without a leader before a campaign [default: 1s].
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) election_timeout: Option<Duration>,
    /// Makes the keys and the choice of election timeouts repeatable. Never use it for a chain that
    /// matters: whoever knows the number has the keys.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// The genesis has no addresses of nodes, so that all they say goes over lines.
    #[arg(skip)]
    pub(crate) behind_lines: bool,
}

impl Options {
    /// How many nodes a new testnet has.
    pub(crate) fn count(&self) -> u16 {
        self.nodes.unwrap_or(NODES)
    }

    /// Refuses nodes that there are not.
    pub(crate) fn check(&self, count: u16) -> Result<(), Failure> {
        let named = self.eligible.iter().chain(&self.leader);
        if let Some(node) = named.copied().find(|node| *node >= count) {
            let sentence = format!("there is no node {node}: there are {count}, counted from 0");
            return Err(Failure::new(Exit::Usage, sentence));
        }
        match self.leader {
            Some(leader) if !self.eligible.is_empty() && !self.eligible.contains(&leader) => {
                let sentence = format!("node {leader} should lead but is not eligible");
                Err(Failure::new(Exit::Usage, sentence))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads a time as the settings of a node have it.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    values::duration(text).ok_or_else(|| "a time has a unit, such as 100ms or 2s".to_owned())
}
