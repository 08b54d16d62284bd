//! What is made to happen to nodes that run: `partition`, `isolate`, `heal`, `slow`, `disk`, `leader`.

use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::NodeId;
use quorate_client::answer::Status;
use quorate_node::exit::{Exit, Failure};

use super::{Output, ordered, running};
use crate::bad_disk::{Calls, DiskError, Misdeed};
use crate::directory::Directory;
use crate::options::{At, time};
use crate::supervisor::control::Order;
use crate::supervisor::{hand_over, statuses};

/// How long nodes that are joined again may take to find each other, at most.
const FINDING: Duration = Duration::from_secs(20);

/// Part groups of nodes from each other; a second partition replaces the first.
#[derive(Debug, clap::Args)]
pub(super) struct Partition {
    #[command(flatten)]
    at: At,
    /// The groups, such as 0,1/2,3,4; nodes that are in none are one more group.
    #[arg(value_name = "GROUPS", value_parser = groups)]
    groups: Groups,
}

/// Join all nodes again: 0 when they see each other, 6 if that takes too long. Slow ones stay slow.
#[derive(Debug, clap::Args)]
pub(super) struct Heal {
    #[command(flatten)]
    at: At,
}

/// Make nodes slow: their disks, what comes to them or from them, or both.
#[derive(Debug, clap::Args)]
pub(super) struct Slow {
    #[command(flatten)]
    at: At,
    /// The numbers of the nodes, such as 0 2 or 0,2.
    #[arg(required = true, value_delimiter = ',', value_name = "NODE")]
    nodes: Vec<u16>,
    /// How much longer each write and each sync takes.
    #[arg(long, value_name = "TIME", value_parser = time)]
    disk: Option<Duration>,
    /// How much longer everything between them and others takes, each way.
    #[arg(long, value_name = "TIME", value_parser = time)]
    net: Option<Duration>,
    /// How much of that is lost at first and comes later, in a thousand.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(..=1_000))]
    loss: Option<u16>,
    /// As fast as the machine again.
    #[arg(long, conflicts_with_all = ["disk", "net", "loss"], required_unless_present_any = ["disk", "net", "loss"])]
    off: bool,
}

/// Have the disks of nodes fail or be torn in the middle of a write. A node whose disk says no ends.
#[derive(Debug, clap::Args)]
pub(super) struct Disk {
    #[command(flatten)]
    at: At,
    /// The numbers of the nodes, such as 0 2 or 0,2.
    #[arg(required = true, value_delimiter = ',', value_name = "NODE")]
    nodes: Vec<u16>,
    /// How the next calls fail.
    #[arg(long, value_name = "ERROR")]
    error: Option<DiskError>,
    /// Which calls fail.
    #[arg(long, value_name = "CALLS", default_value = "both", requires = "error")]
    calls: Calls,
    /// How many of them.
    #[arg(long, value_name = "COUNT", default_value = "1", requires = "error")]
    times: u32,
    /// The next write is done in part, and the node is killed.
    #[arg(long, conflicts_with = "error")]
    torn: bool,
    /// What was ordered is not to happen any more.
    #[arg(long, conflicts_with_all = ["error", "torn"], required_unless_present_any = ["error", "torn"])]
    off: bool,
}

/// Have another node lead: 0 when it does, 6 if that is refused or takes too long.
#[derive(Debug, clap::Args)]
pub(super) struct Leader {
    #[command(flatten)]
    at: At,
    /// The number of the node.
    #[arg(value_name = "NODE")]
    node: u16,
    /// How long it may take.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10s")]
    timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Groups(Vec<Vec<u16>>);

fn groups(text: &str) -> Result<Groups, String> {
    let number = |node: &str| node.trim().parse().map_err(|_| format!("`{node}` is no node"));
    let group = |group: &str| group.split(',').map(number).collect();
    text.split('/').map(group).collect::<Result<_, _>>().map(Groups)
}

impl Partition {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        ordered(&directory, &Order::Partition { groups: self.groups.0 }, output)
    }
}

impl Heal {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        ordered(&directory, &Order::Heal, output)?;
        joined(&directory)
    }
}

impl Slow {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        let off = self.off.then_some(Duration::ZERO);
        let (disk, net) = (self.disk.or(off), self.net.or(off));
        let loss = self.loss.or(self.off.then_some(0));
        ordered(&directory, &Order::Slow { nodes: self.nodes, disk, net, loss }, output)
    }
}

impl Disk {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        let misdeed = match self.error {
            Some(error) => Misdeed::Fail { error, calls: self.calls, times: self.times },
            None if self.torn => Misdeed::Tear,
            None => Misdeed::Behave,
        };
        ordered(&directory, &Order::Disk { nodes: self.nodes, misdeed }, output)
    }
}

impl Leader {
    pub(super) fn run(self) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        hand_over(&directory, self.node, self.timeout).map(drop)
    }
}

/// Waits until all nodes that answer see each other. Those that do not are dead or stopped, which no
/// healing changes.
fn joined(directory: &Directory) -> Result<(), Failure> {
    let end = Instant::now() + FINDING;
    loop {
        let told: Vec<_> = statuses(&running(directory)?.nodes).into_iter().flatten().collect();
        let Some((one, other)) = strangers(&told) else { return Ok(()) };
        if Instant::now() > end {
            let seconds = FINDING.as_secs();
            let sentence = format!("node{one} does not see node{other} after {seconds} s");
            return Err(Failure::new(Exit::NoQuorum, sentence));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A node that does not see another one, though both answer.
fn strangers(told: &[Status]) -> Option<(NodeId, NodeId)> {
    told.iter().find_map(|one| {
        let mut others = told.iter().map(|other| other.node_id).filter(|id| *id != one.node_id);
        others.find(|other| !one.live_peers.contains(other)).map(|other| (one.node_id, other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_apart_by_strokes() {
        assert_eq!(groups("0,1/2,3,4"), Ok(Groups(vec![vec![0, 1], vec![2, 3, 4]])));
        assert_eq!(groups("3"), Ok(Groups(vec![vec![3]])));
        assert_eq!(groups("0,x"), Err("`x` is no node".to_owned()));
        assert_eq!(groups("0//1"), Err("`` is no node".to_owned()));
    }
}
