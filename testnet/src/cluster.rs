//! A group of nodes in this process, over real connections on loopback.
//!
//! ```no_run
//! # async fn example() -> Result<(), quorate_node::exit::Failure> {
//! use quorate_testnet::Cluster;
//!
//! let mut cluster = Cluster::of(5).leader(0).willing([0, 1]).start().await?;
//! let (old, term) = cluster.leader().await?;
//! cluster.kill(old).await;
//! let (new, later) = cluster.wait_for_new_leader(old).await?;
//! assert!(new != old && later > term);
//! # Ok(())
//! # }
//! ```
//!
//! Every node has a home in a temporary directory, files and threads as in a process of its own, and
//! serves clients. Between any two nodes is a line ([`Cluster::cut`], [`Cluster::delay`],
//! [`Cluster::lose`]). A node that is killed flushes nothing; it goes on with what was on disk when it
//! is revived. Waiting is for conditions, with one generous limit.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{BlockHash, Height, NodeId, Term};
use quorate_client::answer::{Block, Status};
use quorate_client::{Account, Client, KeyFile, Level, Wait};
use quorate_node::Node;
use quorate_node::config::Config;
use quorate_node::exit::{Exit, Failure};
use quorate_node::home::{Home, Layout};

use crate::directory::Directory;
use crate::lines::Lines;
use crate::options::Options;
use crate::supervisor;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a leader may take at a time to hand over to the node that should lead first.
const HANDOVER: Duration = Duration::from_secs(2);
/// How often nodes are asked.
const PAUSE: Duration = Duration::from_millis(20);
/// Blocks that [`Cluster::info`] tells of: those of ten intervals, if there are intervals.
const LAST_BLOCKS: u64 = 11;

/// What a cluster should be like.
#[derive(Clone, Debug)]
pub struct Plan {
    options: Options,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its number.
    pub id: NodeId,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// The term it is in.
    pub term: Term,
    /// `follower`, `candidate`, `leader`, or `dead`.
    pub role: String,
    /// The other nodes that it takes for alive.
    pub living: BTreeSet<NodeId>,
    /// The committed height.
    pub height: Height,
    /// The newest committed blocks, oldest first.
    pub blocks: Vec<Block>,
}

/// A group of nodes. Those that live are killed when it is dropped.
pub struct Cluster {
    directory: Directory,
    nodes: Vec<Option<Node>>,
    configs: Vec<Config>,
    lines: Lines,
    /// Deleted with the cluster.
    _root: tempfile::TempDir,
}

impl Plan {
    /// The node that should lead first.
    #[must_use]
    pub const fn leader(mut self, node: u16) -> Self {
        self.options.leader = Some(node);
        self
    }

    /// The nodes that want to lead; the others do only as a last resort.
    #[must_use]
    pub fn willing(mut self, nodes: impl IntoIterator<Item = u16>) -> Self {
        self.options.eligible = nodes.into_iter().collect();
        self
    }

    /// One block each interval, empty ones too.
    #[must_use]
    pub const fn block_interval(mut self, interval: Duration) -> Self {
        self.options.block_interval = Some(interval);
        self
    }

    /// Starts the nodes and waits until all name one leader: the one that should lead first, if there is one.
    ///
    /// # Errors
    /// If a node does not start, or they do not agree in time.
    pub async fn start(self) -> Result<Cluster, Failure> {
        let root = tempfile::tempdir().map_err(|error| Failure::new(Exit::Storage, error))?;
        let directory = Directory::new(root.path().join("t"))?;
        directory.prepare(&self.options)?;
        let count = self.options.count();
        let mut configs =
            (0..count).map(|node| directory.config(node)).collect::<Result<Vec<_>, _>>()?;
        let lines = Lines::start(&configs).await?;
        for (from, config) in (0..).zip(&mut configs) {
            config.p2p_peers = lines.through(from, &config.p2p_peers);
        }
        let nodes = configs.iter().map(|_| None).collect();
        let mut cluster = Cluster { directory, nodes, configs, lines, _root: root };
        let first = self.options.leader;
        for node in first.into_iter().chain((0..count).filter(|node| Some(*node) != first)) {
            cluster.revive(node).await?;
        }
        let (mut leads, _) = cluster.leader().await?;
        if let Some(first) = first {
            let end = Instant::now() + LIMIT;
            while leads != first {
                // Whoever was elected before it hands over; it may be another one by the time it is asked.
                let (home, to) = (Layout::new(cluster.home(leads)), NodeId::new(first.into()));
                let asked = blocking(move || supervisor::ask(&home, to, HANDOVER)).await;
                if let Err(refused) = asked {
                    let what = format!("node {first} does not lead: {}", refused.sentence);
                    cluster.pause(end, &what).await?;
                }
                (leads, _) = cluster.leader().await?;
            }
        }
        Ok(cluster)
    }
}

impl Cluster {
    /// A cluster of so many nodes.
    #[must_use]
    pub fn of(nodes: u16) -> Plan {
        let options = Options {
            nodes: Some(nodes),
            api_port: Some(0),
            p2p_port: Some(0),
            heartbeat: Some(Duration::from_millis(50)),
            election_timeout: Some(Duration::from_millis(500)),
            behind_lines: true,
            ..Options::default()
        };
        Plan { options }
    }

    /// How many nodes it has, dead ones too.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.nodes.len()).unwrap_or(u16::MAX)
    }

    /// The nodes that live.
    pub fn living(&self) -> impl Iterator<Item = u16> + '_ {
        (0..).zip(&self.nodes).filter(|(_, node)| node.is_some()).map(|(id, _)| id)
    }

    /// Where a node keeps its files.
    #[must_use]
    pub fn home(&self, node: u16) -> PathBuf {
        self.directory.home(node)
    }

    /// Kills a node, as if its process had been.
    pub async fn kill(&mut self, node: u16) {
        if let Some(node) = self.nodes[usize::from(node)].take() {
            node.kill().await;
        }
    }

    /// Starts a dead node again.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn revive(&mut self, node: u16) -> Result<(), Failure> {
        let at = usize::from(node);
        if self.nodes[at].is_none() {
            let home = Home::open(&self.directory.home(node)).map_err(|error| error.failure())?;
            self.nodes[at] = Some(Node::start(home, self.configs[at].clone()).await?);
        }
        Ok(())
    }

    /// Stops a node in order.
    ///
    /// # Errors
    /// If it failed before it had stopped.
    pub async fn stop(&mut self, node: u16) -> Result<(), Failure> {
        match self.nodes[usize::from(node)].take() {
            Some(node) => node.shutdown().await,
            None => Ok(()),
        }
    }

    /// Changes which nodes want to lead. That is a setting, so those for which it changes are stopped in
    /// order and started again.
    ///
    /// # Errors
    /// If one does not start again.
    pub async fn set_willing(
        &mut self,
        willing: impl IntoIterator<Item = u16>,
    ) -> Result<(), Failure> {
        use quorate_chain::roster::Lead;
        let willing: BTreeSet<_> = willing.into_iter().collect();
        for node in 0..self.count() {
            let at = usize::from(node);
            let lead = Some(if willing.contains(&node) { Lead::Yes } else { Lead::No });
            let was = self.configs[at].lead.unwrap_or(Lead::Yes);
            let changes = (was == Lead::No) != (lead == Some(Lead::No));
            self.configs[at].lead = lead;
            if changes && self.nodes[at].is_some() {
                self.stop(node).await?;
                self.revive(node).await?;
            }
        }
        Ok(())
    }

    /// Cuts the line between two nodes, both ways.
    pub fn cut(&self, one: u16, other: u16) {
        self.lines.both_ways(one, other, |fault| fault.cut = true);
    }

    /// Makes what passes between two nodes take this long.
    pub fn delay(&self, one: u16, other: u16, delay: Duration) {
        self.lines.both_ways(one, other, |fault| fault.delay = delay);
    }

    /// Loses so many of a thousand pieces of what passes between two nodes; they arrive later, as
    /// over TCP.
    pub fn lose(&self, one: u16, other: u16, of_a_thousand: u16) {
        self.lines.both_ways(one, other, |fault| fault.lost = of_a_thousand);
    }

    /// Cuts a node off from all others.
    pub fn isolate(&self, node: u16) {
        self.lines.isolate(node);
    }

    /// Makes all lines good again.
    pub fn heal(&self) {
        self.lines.heal();
    }

    /// A client of one node. Its calls block: make them where that is allowed.
    ///
    /// # Errors
    /// If the node is dead.
    pub fn client(&self, node: u16) -> Result<Client, Failure> {
        let Some(living) = &self.nodes[usize::from(node)] else {
            return Err(Failure::new(Exit::NoNode, format!("node {node} is dead")));
        };
        let url = format!("http://{}", living.api_address());
        Client::new(&url).map_err(|error| Failure::new(Exit::Bug, error))
    }

    /// Someone who writes through all living nodes. Calls block.
    ///
    /// # Errors
    /// If there is no key, or nobody lives.
    pub fn alice(&self) -> Result<Account, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Configuration, error);
        let key = KeyFile::read(&self.directory.key("alice")).map_err(|error| failed(&error))?;
        self.writer(key.into_secret())
    }

    /// Someone with this key who writes through all living nodes. Calls block.
    ///
    /// # Errors
    /// If nobody lives.
    pub fn writer(&self, key: SecretKey) -> Result<Account, Failure> {
        let urls: Vec<_> = self
            .nodes
            .iter()
            .flatten()
            .map(|node| format!("http://{}", node.api_address()))
            .collect();
        let client = Client::new(&urls.join(",")).map_err(|e| Failure::new(Exit::NoNode, e))?;
        Ok(client.account(key).waiting(Wait { level: Level::Applied, timeout: LIMIT }))
    }

    async fn status(&self, node: u16) -> Option<Status> {
        let client = self.client(node).ok()?.with_timeout(Duration::from_secs(2));
        blocking(move || client.status().ok()).await
    }

    /// What a node says of itself.
    pub async fn info(&self, node: u16) -> Info {
        let id = NodeId::new(u32::from(node));
        let Some(status) = self.status(node).await else {
            return Info {
                id,
                leader: None,
                term: Term::ZERO,
                role: "dead".to_owned(),
                living: BTreeSet::new(),
                height: Height::ZERO,
                blocks: Vec::new(),
            };
        };
        let blocks = self.last_blocks(node, status.height).await;
        Info {
            id,
            leader: status.leader,
            term: status.term,
            role: status.role,
            living: status.live_peers.into_iter().collect(),
            height: status.height,
            blocks,
        }
    }

    async fn last_blocks(&self, node: u16, height: Height) -> Vec<Block> {
        let Ok(client) = self.client(node) else { return Vec::new() };
        let first = height.get().saturating_sub(LAST_BLOCKS) + 1;
        let blocks = move || {
            let heights = (first..=height.get()).map(Height::new);
            heights.filter_map(|height| client.block(height).ok()).collect()
        };
        blocking(blocks).await
    }

    /// The leader that all living nodes name, and its term.
    ///
    /// # Errors
    /// If they do not name one in time.
    pub async fn leader(&self) -> Result<(u16, Term), Failure> {
        self.wait_for("the nodes do not name one leader", |leader| leader).await
    }

    /// A leader that all living nodes name and that is another one.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn wait_for_new_leader(&self, old: u16) -> Result<(u16, Term), Failure> {
        let other = |leader: Option<(u16, Term)>| leader.filter(|(new, _)| *new != old);
        self.wait_for("the nodes do not name a new leader", other).await
    }

    async fn wait_for(
        &self,
        what: &str,
        wanted: impl Fn(Option<(u16, Term)>) -> Option<(u16, Term)>,
    ) -> Result<(u16, Term), Failure> {
        let end = Instant::now() + LIMIT;
        loop {
            let mut named = BTreeSet::new();
            for node in self.living().collect::<Vec<_>>() {
                let status = self.status(node).await;
                named.insert(status.and_then(|status| Some((status.leader?, status.term))));
            }
            let one = named.pop_first().flatten().filter(|_| named.is_empty());
            let one = one.and_then(|(id, term)| Some((u16::try_from(id.get()).ok()?, term)));
            if let Some(found) = wanted(one) {
                return Ok(found);
            }
            self.pause(end, what).await?;
        }
    }

    async fn pause(&self, end: Instant, what: &str) -> Result<(), Failure> {
        if Instant::now() > end {
            return Err(Failure::new(Exit::NoQuorum, format!("{what}, after {LIMIT:?}")));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// Waits until something holds of what these nodes say.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn until(
        &self,
        what: &str,
        nodes: impl IntoIterator<Item = u16>,
        holds: impl Fn(&Status) -> bool,
    ) -> Result<(), Failure> {
        let end = Instant::now() + LIMIT;
        for node in nodes {
            while !self.status(node).await.is_some_and(|status| holds(&status)) {
                self.pause(end, &format!("node {node}: {what}")).await?;
            }
        }
        Ok(())
    }

    /// Waits until all living nodes have committed the highest height that one of them has now, and
    /// checks that they have the same block there. Returns where that is.
    ///
    /// # Errors
    /// If they do not come so far in time, or the blocks differ.
    pub async fn assert_same_chain(&self) -> Result<(Height, BlockHash), Failure> {
        let living: Vec<_> = self.living().collect();
        let mut highest = Height::ZERO;
        for node in &living {
            highest = self.status(*node).await.map_or(highest, |status| status.height.max(highest));
        }
        let reached = |status: &Status| status.height >= highest;
        self.until("it does not catch up", living.iter().copied(), reached).await?;
        let mut found = None;
        for node in living {
            let client = self.client(node)?;
            let block = blocking(move || client.block(highest)).await;
            let hash = block.map_err(|error| Failure::new(Exit::NotFound, error))?.hash;
            if *found.get_or_insert(hash) != hash {
                let sentence = format!("at height {highest} node {node} has another block");
                return Err(Failure::new(Exit::Verification, sentence));
            }
        }
        let hash = found.ok_or_else(|| Failure::new(Exit::NoNode, "nobody lives"))?;
        Ok((highest, hash))
    }

    /// Stops all nodes in order.
    ///
    /// # Errors
    /// The first failure of a node before it had stopped.
    pub async fn shutdown(mut self) -> Result<(), Failure> {
        for node in 0..self.count() {
            self.stop(node).await?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    /// Kills who lives, from a thread of its own: this may be called from within any runtime.
    fn drop(&mut self) {
        let living: Vec<_> = self.nodes.iter_mut().filter_map(Option::take).collect();
        if living.is_empty() {
            return;
        }
        let kill = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            runtime.block_on(async {
                for node in living {
                    node.kill().await;
                }
            });
            std::io::Result::Ok(())
        };
        // Without a thread for it, the nodes end with the process.
        drop(std::thread::spawn(kill).join());
    }
}

/// Makes a call that blocks.
///
/// # Panics
/// If the call does.
pub async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.expect("the call does not panic")
}
