//! Three validators that run as long as the tests, in processes of their own.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use quorate_chain::crypto::SecretKey;
use quorate_client::{Account, Client, Level, Wait};
use quorate_node::config::Config;

use crate::common;
pub(crate) use crate::common::process::PATIENCE;
use crate::common::process::Process;

/// Validators, each in a process of its own.
pub(crate) struct Group {
    nodes: Vec<Option<Process>>,
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
        let (mut nodes, mut urls) = (Vec::new(), Vec::new());
        for at in 0..validators {
            let home = root.join(format!("node{at}"));
            let p2p_listen = common::address(ports[usize::from(at)]);
            common::home(&home, at, &genesis, &Config { p2p_listen, ..config.clone() });
            let node = Process::of_home(&home);
            urls.push(node.url());
            nodes.push(Some(node));
        }
        let group = Self { nodes, urls, genesis: genesis.to_file() };
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

    /// Ends a node with SIGKILL.
    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at].take().unwrap().kill();
    }

    /// The bytes in memory of the first node.
    pub(crate) fn resident(&self) -> u64 {
        self.nodes[0].as_ref().unwrap().resident()
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
