//! Three validators in one process, over the real network on loopback.

mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate_chain::crypto::SecretKey;
use quorate_client::answer::{Status, TxStatus};
use quorate_client::{Client, Level, Wait};
use quorate_node::Node;
use quorate_node::config::Config;
use quorate_node::home::Home;

/// Long enough for any machine: what is waited for comes, or is a bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// A group of validators, some of which run.
struct Group {
    directory: tempfile::TempDir,
    ports: Vec<u16>,
    nodes: Vec<Option<Node>>,
}

impl Group {
    async fn start(validators: u8) -> Self {
        let ports = common::free_ports(usize::from(validators));
        let known: Vec<_> = ports.iter().copied().map(Some).collect();
        let genesis = common::genesis_at(&known);
        let directory = tempfile::tempdir().expect("there is room for files");
        let mut group = Self { directory, ports, nodes: Vec::new() };
        for at in 0..validators {
            common::home(&group.root(at.into()), at, &genesis, &common::config());
            group.nodes.push(None);
            group.revive(at.into()).await;
        }
        group
    }

    fn root(&self, at: usize) -> PathBuf {
        self.directory.path().join(format!("node{at}"))
    }

    async fn revive(&mut self, at: usize) {
        let home = Home::open(&self.root(at)).expect("the home is free");
        let p2p_listen = common::address(self.ports[at]);
        let config = Config { p2p_listen, ..common::config() };
        self.nodes[at] = Some(Node::start(home, config).await.expect("the node starts"));
    }

    fn url(&self, at: usize) -> String {
        let node = self.nodes[at].as_ref().expect("the node runs");
        format!("http://{}", node.api_address())
    }

    fn clients(&self) -> Vec<Client> {
        let running = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_some());
        running.map(|at| Client::new(&self.url(at)).expect("it has an address")).collect()
    }

    fn all(&self) -> Client {
        let running = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_some());
        let urls: Vec<_> = running.map(|at| self.url(at)).collect();
        Client::new(&urls.join(",")).expect("they have addresses")
    }

    /// Waits until what the running nodes say of themselves is as it should be.
    async fn wait(&self, what: &str, fits: impl Fn(&[Status]) -> bool) -> Vec<Status> {
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

    async fn put(&self, key: &str) {
        let wait = Wait { level: Level::Applied, timeout: PATIENCE };
        let account = self.all().account(SecretKey::from_seed(&[100; 32])).waiting(wait);
        let key = key.to_owned();
        let outcome = blocking(move || account.put(key, "value")).await.expect("it is ordered");
        assert_eq!(outcome.status, TxStatus::Applied);
        assert!(outcome.certificate.is_some(), "{outcome:?}");
    }
}

/// Calls of the client block, so they are made elsewhere.
async fn blocking<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.expect("the call returns")
}

fn one_leader(told: &[Status]) -> bool {
    told[0].leader.is_some() && told.iter().all(|one| one.leader == told[0].leader)
}

fn equal(told: &[Status]) -> bool {
    let same = |one: &Status| (one.height, one.last_block_hash, one.applied);
    told.iter().all(|one| same(one) == same(&told[0]) && one.applied == one.height)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_dies_the_others_go_on_and_it_catches_up() {
    let mut group = Group::start(3).await;
    let told = group.wait("one leader", one_leader).await;
    group.put("before").await;
    let told_to_all = group.wait("all alive", |told| {
        told.iter().all(|one| one.live_peers.len() == 2 && one.reachable == 3)
    });
    told_to_all.await;

    let leader = told[0].leader.expect("there is one");
    let at = leader.get() as usize;
    group.nodes[at].take().expect("it runs").kill().await;
    let after = group.wait("another leader", |told| {
        one_leader(told) && told.iter().all(|one| one.leader != Some(leader))
    });
    let after = after.await;
    assert!(after.iter().all(|one| one.term > told[0].term));
    group.put("while it is dead").await;

    group.revive(at).await;
    group.put("after").await;
    group.wait("equal", |told| told.len() == 3 && one_leader(told) && equal(told)).await;
    for client in group.clients() {
        for key in ["before", "while it is dead", "after"] {
            let client = client.clone();
            let entry = blocking(move || client.get(key)).await.expect("it answers");
            assert_eq!(entry.expect("the key is there").value.as_ref(), b"value");
        }
    }
    for node in group.nodes.iter_mut().filter_map(Option::take) {
        node.shutdown().await.expect("it stops in order");
    }
}
