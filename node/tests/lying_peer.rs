//! A validator that speaks the handshake, and then lies in every kind of message, on every way that there
//! is: the others go on as if nothing had been, and none of them grows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;
mod lies;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use bytes::Bytes;
use common::process::{PATIENCE, Process, until};
use quorate_chain::crypto::SecretKey;
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::NodeId;
use quorate_client::{Client, Level, Wait};
use quorate_node::net::{Config, Lane, Net, NetEvent, NetHandle, Peer, Topic};

use lies::{KINDS, Liar, kind};

/// The liar is the last of four: it takes all others to commit anything.
const HONEST: u8 = 3;
/// How often it goes through all that it knows.
const ROUNDS: u64 = 1_000;
/// What a validator may have grown by in the end, in bytes; it was 8 MiB after eight times as many rounds.
const GROWTH: u64 = 32 << 20;

/// The three, each a process.
struct Honest {
    _directory: tempfile::TempDir,
    processes: Vec<Process>,
    genesis: Genesis,
}

impl Honest {
    fn start() -> Self {
        let ports = common::free_ports(usize::from(HONEST) + 1);
        let genesis = common::genesis_at(&ports.iter().copied().map(Some).collect::<Vec<_>>());
        let directory = tempfile::tempdir().unwrap();
        let start = |at: u8| {
            let home = directory.path().join(format!("node{at}"));
            let p2p_listen = common::address(ports[usize::from(at)]);
            let config = quorate_node::config::Config { p2p_listen, ..common::config() };
            common::home(&home, at, &genesis, &config);
            let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
            Process::start(command.arg("start").arg("--home").arg(&home))
        };
        let processes = (0..HONEST).map(start).collect();
        Self { _directory: directory, processes, genesis }
    }

    fn clients(&self) -> Client {
        let urls: Vec<_> = self.processes.iter().map(Process::url).collect();
        Client::new(&urls.join(",")).unwrap().with_timeout(PATIENCE)
    }

    /// Bytes in memory, of each.
    fn resident(&self) -> Vec<u64> {
        self.processes.iter().map(Process::resident).collect()
    }
}

/// The network of the liar.
struct Mouth {
    runtime: tokio::runtime::Runtime,
    net: Option<Net>,
    handle: NetHandle,
    events: Receiver<NetEvent>,
}

impl Mouth {
    fn open(genesis: &Genesis, key: &SecretKey) -> Self {
        let peer = |(at, validator): (usize, &quorate_chain::genesis::GenesisValidator)| Peer {
            node: node(at),
            key: validator.key.clone(),
            addresses: validator.p2p.clone(),
        };
        let peers = genesis.validators.iter().enumerate().map(peer).collect();
        let config = Config {
            listen: genesis.validators[usize::from(HONEST)].p2p.clone(),
            ..Config::new(Genesis::chain_id(&genesis.to_file()))
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sink, events) = mpsc::sync_channel(1 << 12);
        let net = runtime.block_on(Net::start(key, config, peers, sink)).unwrap();
        Self { handle: net.handle(), net: Some(net), runtime, events }
    }

    /// Takes what has come.
    fn listen(&self, liar: &mut Liar) {
        while let Ok(event) = self.events.try_recv() {
            match event {
                NetEvent::Frame { frame, .. } => liar.hear(frame.bytes()),
                NetEvent::Request { frame, reply, .. } => {
                    let bytes = frame.into_bytes();
                    liar.hear(&bytes.slice(bytes.len().min(1)..));
                    // It answers with the question.
                    reply.answer(bytes);
                }
                NetEvent::Answer { bytes, .. } => liar.hear(&bytes.slice(bytes.len().min(1)..)),
                NetEvent::LinkUp { .. }
                | NetEvent::LinkLost { .. }
                | NetEvent::Unanswered { .. }
                | NetEvent::Gossip { .. } => {}
            }
        }
    }

    /// Says a message on a way that takes it; false if no way did.
    fn say(&self, to: NodeId, bytes: &Bytes, way: u64) -> bool {
        match way % 3 {
            0 => self.handle.send(to, Lane::Control, bytes.clone()),
            1 => self.handle.send(to, Lane::Blocks, bytes.clone()),
            _ => self.handle.request(to, tagged(1, bytes)).is_some(),
        }
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        let _in_it = self.runtime.enter();
        drop(self.net.take());
    }
}

fn node(at: usize) -> NodeId {
    NodeId::new(u32::try_from(at).unwrap())
}

fn tagged(kind: u8, bytes: &[u8]) -> Bytes {
    [&[kind], bytes].concat().into()
}

/// All lies, to all, for many rounds; how often each kind was said.
fn lie(mouth: &Mouth, liar: &mut Liar) -> BTreeMap<&'static str, u64> {
    let mut said = BTreeMap::new();
    for round in 0..ROUNDS {
        mouth.listen(liar);
        for (way, message) in (round..).zip(liar.messages()) {
            let to = node(usize::try_from(way).unwrap() % usize::from(HONEST));
            let bytes = liar.bytes(&message);
            // What is not taken is said again when there is room: the others are behind, or have closed.
            until("it is said", || {
                mouth.listen(liar);
                mouth.say(to, &bytes, way + round / 3)
            });
            *said.entry(kind(&message)).or_default() += 1;
        }
        for to in (0..usize::from(HONEST)).map(node) {
            let ask = liar.ask();
            let nonsense = u8::try_from(round % 256).unwrap();
            for request in [tagged(3, &ask), tagged(nonsense, &ask), tagged(2, &[nonsense; 200])] {
                // There are so many at a time and no more.
                let _asked = mouth.handle.request(to, request);
            }
        }
        for topic in Topic::ALL {
            let _heard = mouth.handle.publish(topic, liar.ask());
        }
    }
    said
}

#[test]
fn a_validator_that_lies_in_every_message_harms_nobody() {
    let mut honest = Honest::start();
    let key = SecretKey::from_seed(&common::seed(HONEST));
    let account = {
        let wait = Wait { level: Level::Applied, timeout: PATIENCE };
        honest.clients().account(SecretKey::from_seed(&[90; 32])).waiting(wait)
    };
    account.put("before", "v").unwrap();
    let mouth = Mouth::open(&honest.genesis, &key);
    until("the liar has links", || {
        mouth.handle.peers().iter().filter(|peer| peer.linked).count() == usize::from(HONEST)
    });

    let before = honest.resident();
    let chain_id = Genesis::chain_id(&honest.genesis.to_file());
    let roster = honest.genesis.roster().unwrap();
    let mut liar = Liar::new(key, node(usize::from(HONEST)), chain_id, roster);
    // Others write all the while, and each is told that it stands.
    let writer = thread::spawn(move || {
        for number in 0..100 {
            account.put(format!("during/{number}"), "v").unwrap();
        }
        account
    });
    let said = lie(&mouth, &mut liar);
    assert_eq!(said.len(), KINDS, "{said:?}");
    assert!(said.values().all(|count| *count == ROUNDS), "{said:?}");
    assert!(liar.knows(), "it has heard nothing to lie with");
    let account = writer.join().unwrap();
    account.put("after", "v").unwrap();

    for process in &mut honest.processes {
        assert!(process.child.try_wait().unwrap().is_none(), "a validator has ended");
    }
    for (before, now) in before.into_iter().zip(honest.resident()) {
        assert!(now < before + GROWTH, "from {before} to {now} bytes");
    }
    let clients: Vec<_> = honest.processes.iter().map(Process::client).collect();
    until("all have the same", || {
        let told: Vec<_> = clients.iter().map(|client| client.status().unwrap()).collect();
        told.iter().all(|one| {
            (one.applied, one.last_block_hash) == (told[0].applied, told[0].last_block_hash)
        })
    });
}
