//! `wait` and `assert`: what the nodes of a testnet say, all of them.

use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::{BlockHash, Height, NodeId};
use quorate_client::answer::Status;
use quorate_client::path::{self, Txs};
use quorate_client::{TestnetNode, TestnetNodeState};
use quorate_node::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};

use super::{json, print, running};
use crate::directory::Directory;
use crate::options::{At, time};
use crate::supervisor::control::no_such_node;
use crate::supervisor::{all, leader, statuses};

/// How often the nodes are asked.
const PAUSE: Duration = Duration::from_millis(40);
/// How long a node that runs may take to answer before it is said not to.
const ANSWERS: Duration = Duration::from_secs(10);

/// Wait until all of this holds: 0, or 6 if it does not in time.
#[derive(Debug, clap::Args)]
pub(super) struct Wait {
    #[command(flatten)]
    at: At,
    /// Every node has committed this height.
    #[arg(long, value_name = "HEIGHT")]
    height: Option<u64>,
    /// All nodes name one leader.
    #[arg(long)]
    leader: bool,
    /// All nodes name one leader, and not this node.
    #[arg(long, value_name = "NODE")]
    new_leader: Option<u16>,
    /// Every node is at this term or a later one.
    #[arg(long, value_name = "TERM")]
    term: Option<u64>,
    /// All nodes have the same blocks, up to the highest one.
    #[arg(long)]
    equal: bool,
    /// The nodes that count, separated by commas [default: all that run].
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    nodes: Vec<u16>,
    /// How long it may take.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    timeout: Duration,
}

/// Check something once: 0, or 8 if it is not so.
#[derive(Debug, clap::Args)]
pub(super) struct Assert {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    SameHash(SameHash),
}

/// The nodes have the same block at the highest height that all have committed.
#[derive(Debug, clap::Args)]
struct SameHash {
    #[command(flatten)]
    at: At,
    /// The nodes that count, separated by commas [default: all that run].
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    nodes: Vec<u16>,
}

/// All that is looked at of a block.
#[derive(Deserialize)]
struct Named {
    hash: BlockHash,
}

/// What `assert same-hash` prints.
#[derive(Serialize)]
struct Same {
    height: Height,
    hash: BlockHash,
    nodes: Vec<NodeId>,
}

/// The nodes that count: those named, else those that run now.
fn counted(directory: &Directory, named: &[u16]) -> Result<Vec<TestnetNode>, Failure> {
    let testnet = running(directory)?;
    let count = testnet.nodes.len();
    if named.is_empty() {
        let runs = |node: &TestnetNode| node.state == TestnetNodeState::Running;
        return Ok(testnet.nodes.into_iter().filter(runs).collect());
    }
    let node = |node: &u16| {
        let found = testnet.nodes.get(usize::from(*node)).cloned();
        found.ok_or_else(|| no_such_node(usize::from(*node), count))
    };
    named.iter().map(node).collect()
}

impl Wait {
    pub(super) fn run(self) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        let end = Instant::now() + self.timeout;
        loop {
            let nodes = counted(&directory, &self.nodes)?;
            let statuses = statuses(&nodes);
            let Some(missing) = self.missing(&nodes, &statuses) else {
                return Ok(());
            };
            if Instant::now() > end {
                let sentence = format!("after {:?} {missing}", self.timeout);
                return Err(Failure::new(Exit::NoQuorum, sentence));
            }
            thread::sleep(PAUSE);
        }
    }

    /// The first thing that does not hold yet.
    fn missing(&self, nodes: &[TestnetNode], statuses: &[Option<Status>]) -> Option<String> {
        if nodes.is_empty() {
            return Some("no node runs".to_owned());
        }
        let known: Vec<_> = statuses.iter().flatten().collect();
        if let Some(at) = statuses.iter().position(Option::is_none) {
            return Some(format!("{} does not answer", nodes[at].name));
        }
        if let Some(low) = known.iter().find(|status| status.term.get() < self.term.unwrap_or(0)) {
            return Some(format!("{} is at term {}", low.name, low.term));
        }
        let wanted = self.height.unwrap_or(0);
        if let Some(low) = known.iter().find(|status| status.height.get() < wanted) {
            return Some(format!("{} is at height {}", low.name, low.height));
        }
        if self.leader || self.new_leader.is_some() {
            match leader(statuses) {
                None => return Some("the nodes do not name one leader".to_owned()),
                Some(old) if self.new_leader.map(u32::from) == Some(old.get()) => {
                    return Some(format!("node {old} still leads"));
                }
                Some(_) => {}
            }
        }
        let highest = known.iter().map(|status| status.height).max()?;
        if self.equal { self.unequal(nodes, highest) } else { None }
    }

    fn unequal(&self, nodes: &[TestnetNode], height: Height) -> Option<String> {
        let hashes = hashes(nodes, height);
        if let Some(at) = hashes.iter().position(Option::is_none) {
            return Some(format!("{} is below height {height}", nodes[at].name));
        }
        let same = hashes.windows(2).all(|pair| pair[0] == pair[1]);
        (!same).then(|| format!("the blocks at height {height} differ"))
    }
}

/// The hash of each node's block at a height; `None` if it has none.
fn hashes(nodes: &[TestnetNode], height: Height) -> Vec<Option<BlockHash>> {
    all(nodes, |client| {
        if height == Height::ZERO {
            return Some(client.status().ok()?.chain_id.genesis_ref().hash);
        }
        let body = client.body(&path::block(height.into(), Txs::Ids)).ok()?;
        serde_json::from_str::<Named>(&body).ok().map(|block| block.hash)
    })
}

impl Assert {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::SameHash(same) => same.run(),
        }
    }
}

/// The hash of each node's block at the highest height that all have applied, or who does not answer.
fn same_height(nodes: &[TestnetNode]) -> Result<(Height, Vec<BlockHash>), &TestnetNode> {
    let mut height = None;
    for (node, status) in nodes.iter().zip(statuses(nodes)) {
        let own = status.ok_or(node)?.applied;
        height = Some(height.map_or(own, |lowest: Height| lowest.min(own)));
    }
    let height = height.unwrap_or_default();
    let hashes = nodes.iter().zip(hashes(nodes, height));
    Ok((height, hashes.map(|(node, hash)| hash.ok_or(node)).collect::<Result<_, _>>()?))
}

impl SameHash {
    fn run(self) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        let nodes = counted(&directory, &self.nodes)?;
        let end = Instant::now() + ANSWERS;
        let (height, found) = loop {
            match same_height(&nodes) {
                Ok(found) => break found,
                // It may have much to do.
                Err(_) if Instant::now() < end => thread::sleep(PAUSE),
                Err(silent) => {
                    let sentence = format!("{} ({}) does not answer", silent.name, silent.api);
                    return Err(Failure::new(Exit::NoNode, sentence));
                }
            }
        };
        let Some(hash) = found.first().copied() else {
            return Err(Failure::new(Exit::NoNode, "no node runs"));
        };
        if let Some(other) = found.iter().position(|theirs| *theirs != hash) {
            let (first, name, theirs) = (&nodes[0].name, &nodes[other].name, found[other]);
            let sentence =
                format!("at height {height} {first} has block {hash} and {name} has {theirs}");
            return Err(Failure::new(Exit::Verification, sentence));
        }
        let nodes = nodes.iter().map(|node| node.node_id).collect();
        print(&(json(&Same { height, hash, nodes })? + "\n"))
    }
}
