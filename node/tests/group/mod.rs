//! A few networks on loopback, each on a runtime of its own, so that one can be killed or hung like a
//! process.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_node::net::{
    Config, Lane, Liveness, Net, NetEvent, NetHandle, Peer, PeerStatus, Reply, RequestId, Topic,
};
use tokio::runtime::{Builder, Runtime};

pub const CHAIN: ChainId = ChainId::new([7; 32]);

/// Long enough for any machine: what a test waits for comes, or is a bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys in the order of peer ids: each is dialled by those before it.
pub fn keys(count: u8) -> Vec<SecretKey> {
    let mut keys: Vec<_> = (1..=count).map(|seed| SecretKey::from_seed(&[seed; 32])).collect();
    keys.sort_by_key(|key| *key.validator_key().as_bytes());
    keys
}

pub fn node(id: usize) -> NodeId {
    NodeId::new(u32::try_from(id).unwrap())
}

/// What has happened on a network, without the means.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    Frame { from: NodeId, lane: Lane, bytes: Bytes },
    Up(NodeId),
    Lost(NodeId),
    Request { from: NodeId, bytes: Bytes },
    Answer { id: RequestId, from: NodeId, bytes: Bytes },
    Unanswered { id: RequestId, to: NodeId },
    Gossip { from: NodeId, topic: Topic, bytes: Bytes },
}

/// One network that runs.
pub struct Node {
    net: Option<Net>,
    runtime: Option<Runtime>,
    pub handle: NetHandle,
    events: Receiver<NetEvent>,
    /// What was taken so far.
    pub told: Vec<Told>,
    /// Requests that wait for an answer.
    pub replies: Vec<Reply>,
    pub address: String,
}

impl Node {
    pub fn start(key: &SecretKey, config: Config, peers: Vec<Peer>, capacity: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sink, events) = mpsc::sync_channel(capacity);
        let net = runtime.block_on(Net::start(key, config, peers, sink)).unwrap();
        let (handle, address) = (net.handle(), net.listening()[0].clone());
        let (told, replies) = (Vec::new(), Vec::new());
        Self { net: Some(net), runtime: Some(runtime), handle, events, told, replies, address }
    }

    /// Takes what has happened.
    pub fn take(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.told.push(match event {
                NetEvent::Frame { from, lane, frame } => {
                    Told::Frame { from, lane, bytes: frame.into_bytes() }
                }
                NetEvent::LinkUp { node } => Told::Up(node),
                NetEvent::LinkLost { node } => Told::Lost(node),
                NetEvent::Request { from, frame, reply } => {
                    self.replies.push(reply);
                    Told::Request { from, bytes: frame.into_bytes() }
                }
                NetEvent::Answer { id, from, bytes } => Told::Answer { id, from, bytes },
                NetEvent::Unanswered { id, to } => Told::Unanswered { id, to },
                NetEvent::Gossip { from, topic, frame } => {
                    Told::Gossip { from, topic, bytes: frame.into_bytes() }
                }
            });
        }
    }

    /// How often something has been told.
    pub fn count(&mut self, what: impl Fn(&Told) -> bool) -> usize {
        self.take();
        self.told.iter().filter(|told| what(told)).count()
    }

    pub fn has(&mut self, what: &Told) -> bool {
        self.count(|told| told == what) > 0
    }

    /// Forgets what was told.
    pub fn forget(&mut self) {
        self.take();
        self.told.clear();
    }

    /// The frames of a peer on a lane, in order.
    pub fn frames(&mut self, of: NodeId, on: Lane) -> Vec<Bytes> {
        self.take();
        let frame = |told: &Told| {
            let Told::Frame { from, lane, bytes } = told else { return None };
            (*from == of && *lane == on).then(|| bytes.clone())
        };
        self.told.iter().filter_map(frame).collect()
    }

    pub fn status(&self, of: NodeId) -> PeerStatus {
        let peers = self.handle.peers();
        peers.into_iter().find(|status| status.node == of).unwrap()
    }

    pub fn is_alive(&self, of: NodeId) -> bool {
        let alive = |status: &PeerStatus| status.liveness == Liveness::Alive;
        self.handle.peers().iter().any(|status| status.node == of && alive(status))
    }

    /// Ends it like kill -9: sockets close, nothing else happens.
    pub fn kill(&mut self) {
        drop(self.net.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }

    /// Stops it like SIGSTOP: nothing of it runs until the guard is dropped.
    pub fn hang(&self) -> Hang {
        let (release, released) = mpsc::channel::<()>();
        let (stopped, stops) = mpsc::channel();
        self.runtime.as_ref().unwrap().spawn(async move {
            stopped.send(()).unwrap();
            // An error is the end of the guard.
            let _released = released.recv();
        });
        stops.recv().unwrap();
        Hang { _release: release }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// As long as it lives, a node hangs.
pub struct Hang {
    _release: Sender<()>,
}

/// Networks that all know each other; the first dials all others, the last nobody.
pub struct Group {
    pub keys: Vec<SecretKey>,
    pub nodes: Vec<Node>,
    pub peers: Vec<Peer>,
    config: Config,
}

pub fn config() -> Config {
    let mut config = Config::new(CHAIN);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config
}

/// What the others know of a node.
pub fn peer(id: usize, key: &SecretKey, addresses: &[String]) -> Peer {
    Peer { node: node(id), key: key.validator_key(), addresses: addresses.to_vec() }
}

impl Group {
    /// Starts them, and waits until all have links.
    pub fn new(count: u8, config: &Config) -> Self {
        let mut group = Self::apart(count, config);
        group.introduce();
        group.wait("all links", Self::is_linked);
        group
    }

    /// Starts them, and tells none of the others.
    pub fn apart(count: u8, config: &Config) -> Self {
        let keys = keys(count);
        let start = |key| Node::start(key, config.clone(), Vec::new(), 1 << 16);
        let nodes: Vec<_> = keys.iter().map(start).collect();
        let peers = keys.iter().zip(&nodes).enumerate();
        let peers = peers
            .map(|(id, (key, node))| peer(id, key, std::slice::from_ref(&node.address)))
            .collect();
        Self { keys, nodes, peers, config: config.clone() }
    }

    /// Tells each of the others.
    pub fn introduce(&self) {
        for node in &self.nodes {
            node.handle.allow(self.peers.clone());
        }
    }

    pub fn is_linked(&mut self) -> bool {
        let others = self.nodes.len() - 1;
        self.nodes.iter().all(|node| {
            let linked = node
                .handle
                .peers()
                .into_iter()
                .filter(|status| status.linked && status.liveness == Liveness::Alive);
            linked.count() == others
        })
    }

    /// Starts a killed node again, where it was.
    pub fn revive(&mut self, id: usize) {
        let mut config = self.config.clone();
        config.listen = vec![self.nodes[id].address.clone()];
        self.nodes[id] = Node::start(&self.keys[id], config, self.peers.clone(), 1 << 16);
    }

    /// Waits until something holds; how long it took.
    pub fn wait(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        begun.elapsed()
    }

    /// Sends and waits until it arrives, to show that a lane works.
    pub fn say(&mut self, from: usize, to: usize, lane: Lane, text: &'static str) {
        let bytes = Bytes::from_static(text.as_bytes());
        assert!(self.nodes[from].handle.send(node(to), lane, bytes.clone()), "{text}: not queued");
        self.wait(text, |group| {
            group.nodes[to].has(&Told::Frame { from: node(from), lane, bytes: bytes.clone() })
        });
    }
}
