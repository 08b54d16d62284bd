//! The supervisor's socket: one line of JSON each way.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quorate_client::{TestnetNode, TestnetNodeState};
use quorate_node::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};

use super::group::Group;
use crate::bad_disk::Misdeed;
use crate::directory::Directory;

/// What the supervisor is told to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub(crate) enum Order {
    /// Kill nodes.
    Kill {
        /// Which.
        nodes: Vec<u16>,
    },
    /// Start dead nodes.
    Revive {
        /// Which; all that are dead if none is named.
        nodes: Vec<u16>,
    },
    /// Stop nodes where they stand.
    Pause {
        /// Which.
        nodes: Vec<u16>,
    },
    /// Let stopped nodes go on.
    Resume {
        /// Which.
        nodes: Vec<u16>,
    },
    /// Part groups of nodes; those that are in none are one more.
    Partition {
        /// The groups.
        groups: Vec<Vec<u16>>,
    },
    /// Cut nodes off from all others.
    Isolate {
        /// Which.
        nodes: Vec<u16>,
    },
    /// Join all nodes.
    Heal,
    /// Make nodes slow. What is not said stays as it is.
    Slow {
        /// Which.
        nodes: Vec<u16>,
        /// How much longer each write and each sync takes.
        disk: Option<Duration>,
        /// How much longer whatever comes to them or from them takes.
        net: Option<Duration>,
        /// How much of it is lost, in a thousand.
        loss: Option<u16>,
    },
    /// Have the disks of nodes do something wrong.
    Disk {
        /// Which.
        nodes: Vec<u16>,
        /// What.
        misdeed: Misdeed,
    },
    /// End. There is no answer but the end of the connection.
    Down,
}

impl Order {
    /// Whether it is done to the processes of nodes, and not around them.
    const fn is_to_nodes(&self) -> bool {
        matches!(
            self,
            Self::Kill { .. } | Self::Revive { .. } | Self::Pause { .. } | Self::Resume { .. }
        )
    }
}

/// What it says when it has done so, or could not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Why not, and the exit code that goes with it.
    failure: Option<(u8, String)>,
    /// What was done, for people.
    said: String,
}

/// How long to wait before the next order when none could be accepted.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Does what it is told, each order in a thread of its own, as long as the process lives.
pub(super) fn listen(group: &Arc<Group>, listener: &UnixListener) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No file is left to open, for instance.
            thread::sleep(EXHAUSTED);
            continue;
        };
        let group = Arc::clone(group);
        thread::spawn(move || answer(&group, stream));
    }
}

fn answer(group: &Arc<Group>, mut stream: UnixStream) {
    let mut line = String::new();
    let read = BufReader::new(&stream).take(1 << 16).read_line(&mut line);
    let Some(order) = read.ok().and_then(|_| serde_json::from_str(&line).ok()) else {
        return;
    };
    if order == Order::Down {
        group.tell("the testnet is ended by order");
        group.begin_ending();
        // The connection stays open until the process is gone; then whoever waits knows it.
        std::mem::forget(stream);
        return;
    }
    let before = group.testnet().nodes;
    let failure = obey(group, &order).err();
    let said = said(&order, &before);
    // Nodes are seen to die, to live and to stop.
    if !order.is_to_nodes() && failure.is_none() {
        group.tell(&said);
    }
    let done = Done { failure: failure.map(|why| (why.exit.code(), why.sentence)), said };
    if let Ok(line) = serde_json::to_string(&done) {
        // Who does not wait for the answer does not want it.
        let _ = writeln!(stream, "{line}");
    }
}

fn obey(group: &Arc<Group>, order: &Order) -> Result<(), Failure> {
    match order {
        Order::Kill { nodes } => group.kill(&known(group, nodes)?),
        Order::Revive { nodes } if nodes.is_empty() => group.revive(&group.dead()),
        Order::Revive { nodes } => group.revive(&known(group, nodes)?),
        Order::Pause { nodes } => group.pause(&known(group, nodes)?),
        Order::Resume { nodes } => group.resume(&known(group, nodes)?),
        Order::Partition { groups } => partition(group, groups),
        Order::Isolate { nodes } => {
            group.trouble().isolate(&known(group, nodes)?);
            Ok(())
        }
        Order::Heal => {
            group.trouble().heal();
            Ok(())
        }
        Order::Slow { nodes, disk, net, loss } => {
            let nodes = known(group, nodes)?;
            net.iter().for_each(|delay| group.trouble().slow_lines(&nodes, *delay));
            loss.iter().for_each(|lost| group.trouble().lose(&nodes, *lost));
            disk.map_or(Ok(()), |delay| disks(group, &nodes, Misdeed::Slow(delay)))
        }
        Order::Disk { nodes, misdeed } => {
            let nodes = known(group, nodes)?;
            if matches!(misdeed, Misdeed::Fail { .. } | Misdeed::Tear) {
                group.refuse_dead(&nodes)?;
            }
            disks(group, &nodes, *misdeed)
        }
        Order::Down => Ok(()),
    }
}

fn listed(nodes: &[u16]) -> String {
    nodes.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// What was done to the processes of nodes, and which of them were so already.
fn changed(done: &str, nodes: &[u16], already: &str, is_so: impl Fn(u16) -> bool) -> String {
    let (idle, changed): (Vec<u16>, Vec<u16>) = nodes.iter().partition(|node| is_so(**node));
    let parts = [(done, changed), (already, idle)];
    let parts = parts.iter().filter(|(_, nodes)| !nodes.is_empty());
    parts.map(|(what, nodes)| format!("{what}: {}", listed(nodes))).collect::<Vec<_>>().join("; ")
}

/// What an order has done to nodes that were so before.
fn said(order: &Order, before: &[TestnetNode]) -> String {
    let state = |node: u16| before.get(usize::from(node)).map(|node| node.state);
    let (dead, paused) = (Some(TestnetNodeState::Dead), Some(TestnetNodeState::Paused));
    match order {
        Order::Kill { nodes } => {
            changed("killed", nodes, "dead already", |node| state(node) == dead)
        }
        Order::Revive { nodes } if nodes.is_empty() => "revived: all that were dead".to_owned(),
        Order::Revive { nodes } => {
            changed("revived", nodes, "alive already", |node| state(node) != dead)
        }
        Order::Pause { nodes } => {
            changed("stopped", nodes, "stopped already", |node| state(node) == paused)
        }
        Order::Resume { nodes } => {
            changed("going on", nodes, "going on already", |node| state(node) != paused)
        }
        Order::Down => String::new(),
        Order::Partition { groups } => {
            let all = groups.iter().map(Vec::len).sum::<usize>() == before.len();
            let rest = if all { None } else { Some("the rest".to_owned()) };
            let groups: Vec<_> = groups.iter().map(|nodes| listed(nodes)).chain(rest).collect();
            format!("nodes are parted: {}", groups.join(" | "))
        }
        Order::Isolate { nodes } => format!("cut off from all others: {}", listed(nodes)),
        Order::Heal => "all nodes are joined".to_owned(),
        Order::Slow { nodes, disk, net, loss } => {
            let mut what = Vec::new();
            what.extend(disk.map(|delay| format!("disk by {} ms", delay.as_millis())));
            what.extend(net.map(|delay| format!("lines by {} ms", delay.as_millis())));
            what.extend(loss.map(|lost| format!("{lost} of 1,000 pieces lost")));
            format!("slow: {} ({})", listed(nodes), what.join(", "))
        }
        Order::Disk { nodes, misdeed } => {
            let what = match misdeed {
                Misdeed::Slow(delay) => format!("slow by {} ms", delay.as_millis()),
                Misdeed::Fail { .. } => "about to fail".to_owned(),
                Misdeed::Tear => "about to be torn in a write".to_owned(),
                Misdeed::Behave => "good".to_owned(),
            };
            format!("disk of {}: {what}", listed(nodes))
        }
    }
}

fn partition(group: &Group, groups: &[Vec<u16>]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = groups.iter().flatten().find(|node| !seen.insert(**node)) {
        let sentence = format!("node {twice} cannot be in two groups");
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let groups = groups.iter().map(|nodes| known(group, nodes)).collect::<Result<Vec<_>, _>>()?;
    group.trouble().part(&groups);
    Ok(())
}

fn disks(group: &Group, nodes: &[usize], misdeed: Misdeed) -> Result<(), Failure> {
    let known = group.testnet().nodes;
    nodes.iter().try_for_each(|node| group.trouble().disk(&known[*node], misdeed))
}

fn known(group: &Group, nodes: &[u16]) -> Result<Vec<usize>, Failure> {
    let count = group.testnet().nodes.len();
    let nodes = nodes.iter().map(|node| usize::from(*node));
    nodes.map(|node| if node < count { Ok(node) } else { Err(no_such_node(node, count)) }).collect()
}

/// That there is no such node.
pub(crate) fn no_such_node(node: usize, count: usize) -> Failure {
    Failure::new(Exit::Usage, format!("there is no node {node}: there are {count}, from 0 on"))
}

/// Whether a supervisor listens.
pub(crate) fn is_running(directory: &Directory) -> bool {
    UnixStream::connect(directory.socket()).is_ok()
}

/// That one does, and must be ended first.
pub(crate) fn runs(directory: &Directory) -> Failure {
    let root = directory.root().display();
    let sentence = format!("a testnet runs in {root}; `quorate testnet down` ends it");
    Failure::new(Exit::Configuration, sentence)
}

/// Has the supervisor do something, and waits until it is done; what was done, for people.
pub(crate) fn order(directory: &Directory, order: &Order) -> Result<String, Failure> {
    let gone = |_| none_runs(directory);
    let mut stream = UnixStream::connect(directory.socket()).map_err(gone)?;
    let line = serde_json::to_string(order).map_err(|error| Failure::new(Exit::Bug, error))?;
    writeln!(stream, "{line}").map_err(gone)?;
    let mut answer = String::new();
    // An end in the middle of an answer is the end of the supervisor too.
    let _ = BufReader::new(stream).read_to_string(&mut answer);
    if *order == Order::Down {
        return Ok(String::new());
    }
    let done: Done = serde_json::from_str(&answer).map_err(|_| none_runs(directory))?;
    match done.failure {
        None => Ok(done.said),
        Some((code, sentence)) => Err(Failure::new(exit(code), sentence)),
    }
}

/// That there is no testnet to be talked to.
pub(crate) fn none_runs(directory: &Directory) -> Failure {
    if directory.testnet_file().exists() {
        return abandoned(directory, Exit::NoNode);
    }
    let root = directory.root().display();
    let sentence = format!("no testnet runs in {root}; `quorate testnet up` starts one");
    Failure::new(Exit::NoNode, sentence)
}

/// That a supervisor has left its nodes behind.
pub(crate) fn abandoned(directory: &Directory, exit: Exit) -> Failure {
    let root = directory.root().display();
    let sentence = format!(
        "the supervisor of the testnet in {root} was killed; `quorate testnet down` ends what it has left"
    );
    Failure::new(exit, sentence)
}

/// The exit that has this code.
pub(crate) fn exit(code: u8) -> Exit {
    let all = [
        Exit::Success,
        Exit::Bug,
        Exit::Usage,
        Exit::Configuration,
        Exit::NoNode,
        Exit::NotFound,
        Exit::NoQuorum,
        Exit::Rejected,
        Exit::Verification,
        Exit::Storage,
        Exit::Unsafe,
    ];
    all.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Bug)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use quorate_chain::ids::NodeId;

    use super::*;

    fn node(node_id: u32, state: TestnetNodeState) -> TestnetNode {
        TestnetNode {
            node_id: NodeId::new(node_id),
            name: format!("node{node_id}"),
            mode: "validator".to_owned(),
            state,
            pid: None,
            api: String::new(),
            p2p: String::new(),
            home: PathBuf::new(),
            log: PathBuf::new(),
        }
    }

    #[test]
    fn what_was_so_already_is_not_said_to_be_done() {
        use TestnetNodeState::{Dead, Paused, Running};
        let before = [node(0, Running), node(1, Dead), node(2, Paused)];
        let told = |order| said(&order, &before);
        let nodes = || vec![0, 1, 2];
        assert_eq!(told(Order::Kill { nodes: nodes() }), "killed: 0,2; dead already: 1");
        assert_eq!(told(Order::Kill { nodes: vec![1] }), "dead already: 1");
        assert_eq!(told(Order::Revive { nodes: nodes() }), "revived: 1; alive already: 0,2");
        assert_eq!(told(Order::Pause { nodes: vec![0, 2] }), "stopped: 0; stopped already: 2");
        assert_eq!(told(Order::Resume { nodes: vec![0, 2] }), "going on: 2; going on already: 0");
    }
}
