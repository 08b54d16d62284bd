//! Validators in one process, over the real network on loopback.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate_chain::crypto::SecretKey;
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::NodeId;
use quorate_client::answer::{Status, TxStatus};
use quorate_client::{Client, Level, Wait};
use quorate_node::Node;
use quorate_node::config::Config;
use quorate_node::home::Home;

/// Long enough for any machine: what is waited for comes, or is a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A group of validators, some of which run.
pub(crate) struct Group {
    directory: tempfile::TempDir,
    ports: Vec<u16>,
    genesis: Genesis,
    config: Config,
    pub(crate) nodes: Vec<Option<Node>>,
}

impl Group {
    pub(crate) async fn start(validators: u8, config: Config) -> Self {
        let ports = super::free_ports(usize::from(validators));
        let known: Vec<_> = ports.iter().copied().map(Some).collect();
        let genesis = super::genesis_at(&known);
        let directory = tempfile::tempdir().expect("there is room for files");
        let mut group = Self { directory, ports, genesis, config, nodes: Vec::new() };
        for at in 0..validators {
            super::home(&group.root(at.into()), at, &group.genesis, &super::config());
            group.nodes.push(None);
            group.revive(at.into()).await;
        }
        group
    }

    pub(crate) fn root(&self, at: usize) -> PathBuf {
        self.directory.path().join(format!("node{at}"))
    }

    /// Starts a validator that the genesis does not have, and that listens at this port.
    pub(crate) async fn add(&mut self, port: u16) {
        let at = self.nodes.len();
        let index = u8::try_from(at).expect("there are few");
        super::home(&self.root(at), index, &self.genesis, &self.config);
        self.ports.push(port);
        self.nodes.push(None);
        self.revive(at).await;
    }

    pub(crate) async fn revive(&mut self, at: usize) {
        let home = Home::open(&self.root(at)).expect("the home is free");
        let p2p_listen = super::address(self.ports[at]);
        let later = at >= self.genesis.validators.len();
        let node_id = later.then(|| NodeId::new(u32::try_from(at).expect("there are few")));
        let config = Config { p2p_listen, node_id, ..self.config.clone() };
        self.nodes[at] = Some(Node::start(home, config).await.expect("the node starts"));
    }

    pub(crate) fn url(&self, at: usize) -> String {
        let node = self.nodes[at].as_ref().expect("the node runs");
        format!("http://{}", node.api_address())
    }

    /// Starts one that is dead with an election timeout of its own.
    pub(crate) async fn revive_patient(&mut self, at: usize, election_timeout: Duration) {
        let ours = self.config.clone();
        self.config.election_timeout = election_timeout;
        self.revive(at).await;
        self.config = ours;
    }

    pub(crate) fn client(&self, at: usize) -> Client {
        Client::new(&self.url(at)).expect("it has an address")
    }

    pub(crate) fn clients(&self) -> Vec<Client> {
        let running = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_some());
        running.map(|at| Client::new(&self.url(at)).expect("it has an address")).collect()
    }

    pub(crate) fn all(&self) -> Client {
        let running = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_some());
        let urls: Vec<_> = running.map(|at| self.url(at)).collect();
        Client::new(&urls.join(",")).expect("they have addresses")
    }

    /// Waits until what the running nodes say of themselves is as it should be.
    pub(crate) async fn wait(&self, what: &str, fits: impl Fn(&[Status]) -> bool) -> Vec<Status> {
        let begun = Instant::now();
        loop {
            let clients = self.clients();
            let told = blocking(move || {
                clients
                    .iter()
                    .map(|client| client.status().expect("it answers"))
                    .collect::<Vec<_>>()
            });
            let told = told.await;
            if fits(&told) {
                return told;
            }
            assert!(begun.elapsed() < PATIENCE, "not {what}: {told:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn put(&self, key: &str) {
        let wait = Wait { level: Level::Applied, timeout: PATIENCE };
        let account = self.all().account(SecretKey::from_seed(&[100; 32])).waiting(wait);
        let key = key.to_owned();
        let outcome = blocking(move || account.put(key, "value")).await.expect("it is ordered");
        assert_eq!(outcome.status, TxStatus::Applied);
        assert!(outcome.certificate.is_some(), "{outcome:?}");
    }
}

/// Calls of the client block, so they are made elsewhere.
pub(crate) async fn blocking<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.expect("the call returns")
}

pub(crate) fn one_leader(told: &[Status]) -> bool {
    told[0].leader.is_some() && told.iter().all(|one| one.leader == told[0].leader)
}

pub(crate) fn equal(told: &[Status]) -> bool {
    let same = |one: &Status| (one.height, one.last_block_hash, one.applied);
    told.iter().all(|one| same(one) == same(&told[0]) && one.applied == one.height)
}
