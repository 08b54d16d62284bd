//! What a testnet can make go wrong around its nodes: between them, and under them.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use quorate_client::TestnetNode;
use quorate_node::config::Config;
use quorate_node::exit::{Exit, Failure};
use tokio::runtime::{Builder, Runtime};

use crate::bad_disk::{BadDisks, Misdeed};
use crate::directory::Directory;
use crate::lines::Lines;

/// The lines between the nodes, and their disks.
pub(crate) struct Trouble {
    lines: Lines,
    disks: BadDisks,
    /// Where each node looks for the others.
    peers: Vec<String>,
    /// The lines live as long as this.
    _runtime: Runtime,
}

impl Trouble {
    /// None at first.
    pub(crate) fn new(directory: &Directory) -> Result<Self, Failure> {
        let configs = (0..directory.count()?).map(|node| directory.config(node));
        let configs: Vec<Config> = configs.collect::<Result<_, _>>()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lines")
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Bug, format!("no runtime: {error}")))?;
        let lines = runtime.block_on(Lines::start(&configs))?;
        let peers = (0..).zip(&configs);
        let peers = peers.map(|(node, config)| lines.through(node, &config.p2p_peers).join(","));
        let (peers, disks) = (peers.collect(), BadDisks::new(directory.faults()));
        Ok(Self { lines, disks, peers, _runtime: runtime })
    }

    /// Has a node that is about to start live among them.
    pub(crate) fn surround(
        &self,
        command: &mut Command,
        at: usize,
        node: &TestnetNode,
    ) -> Result<(), Failure> {
        if !self.peers[at].is_empty() {
            command.arg("--peers").arg(&self.peers[at]);
        }
        self.disks.preload(command, &node.home)
    }

    /// Parts groups of nodes.
    pub(crate) fn part(&self, groups: &[Vec<usize>]) {
        let set = |group: &Vec<usize>| group.iter().copied().map(number).collect();
        self.lines.part(&groups.iter().map(set).collect::<Vec<BTreeSet<u16>>>());
    }

    /// Cuts nodes off from all others, each for itself.
    pub(crate) fn isolate(&self, nodes: &[usize]) {
        nodes.iter().for_each(|node| self.lines.isolate(number(*node)));
    }

    /// Joins all nodes.
    pub(crate) fn heal(&self) {
        self.lines.join();
    }

    /// Makes what comes to nodes or from them take so long.
    pub(crate) fn slow_lines(&self, nodes: &[usize], delay: Duration) {
        nodes.iter().for_each(|node| self.lines.slow(number(*node), delay));
    }

    /// Has so many of a thousand pieces be lost that come to nodes or from them.
    pub(crate) fn lose(&self, nodes: &[usize], lost: u16) {
        nodes.iter().for_each(|node| self.lines.lose(number(*node), lost));
    }

    /// Has the disk of a node do something wrong.
    pub(crate) fn disk(&self, node: &TestnetNode, misdeed: Misdeed) -> Result<(), Failure> {
        self.disks.set(&node.home, misdeed)
    }
}

/// A node's number as the lines have it; a testnet has at most 64.
fn number(node: usize) -> u16 {
    u16::try_from(node).unwrap_or(u16::MAX)
}
