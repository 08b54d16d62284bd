//! Three validators that run as long as the tests.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use quorate_chain::crypto::SecretKey;
use quorate_client::{Account, Client, Level, Wait};
use quorate_node::Node;
use quorate_node::config::Config;
use quorate_node::home::Home;

use crate::common;

/// Long enough for any machine: what is waited for comes, or is a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Validators in this process, on a runtime of their own.
pub(crate) struct Group {
    runtime: tokio::runtime::Runtime,
    nodes: Vec<Option<Node>>,
    urls: Vec<String>,
    pub(crate) genesis: Vec<u8>,
}

static GROUP: LazyLock<Group> = LazyLock::new(|| Group::start("shared", 3, &common::config()));

/// The group that all tests share.
pub(crate) fn group() -> &'static Group {
    &GROUP
}

impl Group {
    /// Starts a group and waits until it has a leader.
    pub(crate) fn start(name: &str, validators: u8, config: &Config) -> Self {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("outside").join(name);
        // What a run before has left.
        let _ = std::fs::remove_dir_all(&root);
        let ports = common::free_ports(usize::from(validators));
        let genesis = common::genesis_at(&ports.iter().copied().map(Some).collect::<Vec<_>>());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (mut nodes, mut urls) = (Vec::new(), Vec::new());
        for at in 0..validators {
            let home = root.join(format!("node{at}"));
            common::home(&home, at, &genesis, config);
            let p2p_listen = common::address(ports[usize::from(at)]);
            let config = Config { p2p_listen, ..config.clone() };
            let node = Node::start(Home::open(&home).unwrap(), config);
            let node = runtime.block_on(node).unwrap();
            urls.push(format!("http://{}", node.api_address()));
            nodes.push(Some(node));
        }
        let group = Self { runtime, nodes, urls, genesis: genesis.to_file() };
        for at in 0..usize::from(validators) {
            eventually("a leader is known", || group.node(at).status().unwrap().leader.is_some());
        }
        group
    }

    /// The address of a node.
    pub(crate) fn url(&self, at: usize) -> &str {
        &self.urls[at]
    }

    /// A client of one node.
    pub(crate) fn node(&self, at: usize) -> Client {
        Client::new(&self.urls[at]).unwrap().with_timeout(PATIENCE)
    }

    /// A client of all nodes.
    pub(crate) fn all(&self) -> Client {
        Client::new(&self.urls.join(",")).unwrap().with_timeout(PATIENCE)
    }

    /// Someone who writes, named by a number so that tests do not share nonces.
    pub(crate) fn account(&self, seed: u8) -> Account {
        patient(&self.all(), seed)
    }

    /// The node that leads, and the others.
    pub(crate) fn leader(&self) -> (usize, Vec<usize>) {
        let leader = self.node(0).status().unwrap().leader.unwrap().get() as usize;
        (leader, (0..self.urls.len()).filter(|at| *at != leader).collect())
    }

    /// Ends a node like kill -9.
    pub(crate) fn kill(&mut self, at: usize) {
        let node = self.nodes[at].take().unwrap();
        self.runtime.block_on(node.kill());
    }
}

/// Someone who writes through these nodes and waits long.
pub(crate) fn patient(client: &Client, seed: u8) -> Account {
    let wait = Wait { level: Level::Applied, timeout: PATIENCE };
    client.account(SecretKey::from_seed(&[seed; 32])).waiting(wait)
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}
