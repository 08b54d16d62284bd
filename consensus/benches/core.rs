//! What the core costs by itself: `cargo bench -p quorate-consensus`, a few seconds.
//!
//! Three cores in one thread, with disks, stores and links that take no time and signatures that cost
//! a hash. *One in flight*: the next block is sealed when the one before is committed. *Window full*:
//! as many blocks as there are slots, always. Printed is the best of several rounds, as blocks a second
//! of the whole group and as nanoseconds a block and node, in the cores alone and with everything around
//! them: signing, sealing, moving events. The cores' own share includes verifying stand-in signatures.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::wildcard_enum_match_arm, reason = "nothing else happens here")]
#![allow(dead_code, unreachable_pub, reason = "the keys are shared with the tests")]

#[path = "../tests/common/keys.rs"]
mod keys;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use keys::{CHAIN, Key, StandIn, key, roster, seal_with, signed, state_root};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{Height, NodeId, Nonce, Term, TimeUs};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_consensus::ballot::Ballot;
use quorate_consensus::config::{Boot, Config, Incarnation};
use quorate_consensus::effect::{Effect, Slot};
use quorate_consensus::event::Event;
use quorate_consensus::life::Life;
use quorate_consensus::log::Anchor;
use quorate_consensus::message::Nonce as StartNonce;
use quorate_consensus::raft::{Core, Restored};
use quorate_consensus::time::{Moment, Now, Span};

const NODES: u32 = 3;
const WINDOW: usize = 64;
const ROUNDS: usize = 5;

/// A node without its core: what stands for disk, signer and store.
struct Node {
    core: Core,
    slot: Option<Slot>,
    applied: u64,
}

/// The group, and what is on its way.
struct Group {
    nodes: Vec<Node>,
    events: VecDeque<(usize, Event)>,
    moment: Moment,
    transactions: Vec<SignedTransaction>,
    messages: u64,
    signatures: u64,
    steps: u64,
    in_cores: Duration,
}

impl Group {
    fn new(transactions: Vec<SignedTransaction>) -> Self {
        let genesis = Anchor {
            block: CHAIN.genesis_ref(),
            kind: None,
            time: TimeUs::ZERO,
            leader: None,
            roster: Arc::new(roster(NODES)),
            roster_since: Height::ZERO,
        };
        let node = |id: u32| {
            let nonce = StartNonce(u64::from(id));
            let life = Life { incarnation: Incarnation(u64::from(id)), boot: Boot(1), nonce };
            let config = Config {
                chain_id: CHAIN,
                id: NodeId::new(id),
                life: life.sign(CHAIN, NodeId::new(id), &Key(key(id))),
                lead: None,
                election_timeout: Span::millis(1_000),
                heartbeat: Span::millis(100),
                window_blocks: WINDOW,
                window_bytes: 64 << 20,
                message_bytes: 1 << 20,
                snapshot_every: 0,
                seed: u64::from(id),
            };
            let restored = Restored {
                left: Vec::new(),
                ballot: Ballot::default(),
                applied: genesis.clone(),
                state_root: state_root(Height::ZERO),
                earlier: Vec::new(),
                executed: Height::ZERO,
                certificates: Vec::new(),
                logged: Vec::new(),
                blocks: Vec::new(),
                replaced: (Term::ZERO, Height::ZERO),
                highest: (Term::ZERO, Height::ZERO),
            };
            let core = Core::new(config, Arc::new(StandIn), restored, Now::default()).unwrap();
            Node { core, slot: None, applied: 0 }
        };
        let mut group = Self {
            nodes: (0..NODES).map(node).collect(),
            events: VecDeque::new(),
            moment: Moment::default(),
            transactions,
            messages: 0,
            signatures: 0,
            steps: 0,
            in_cores: Duration::ZERO,
        };
        // They greet each other, and the first one campaigns.
        group.events.extend((0..group.nodes.len()).map(|at| (at, Event::Tick)));
        group.settle();
        group.moment = group.nodes[0].core.deadline();
        group.events.push_back((0, Event::Tick));
        group.settle();
        assert!(group.nodes[0].applied > 0, "node 0 leads and has applied its opening block");
        group
    }

    /// Seals a block for the leader's slot.
    fn seal(&mut self) -> bool {
        let Some(slot) = self.nodes[0].slot.take() else { return false };
        let block = seal_with(&slot, self.transactions.clone(), &Key(key(0)));
        self.events.push_back((0, Event::Sealed(block)));
        true
    }

    /// Handles one event, and puts what follows from it behind the others.
    fn step(&mut self) -> bool {
        let Some((at, event)) = self.events.pop_front() else { return false };
        let now = Now { moment: self.moment, time: TimeUs::new(self.moment.as_micros()) };
        let start = Instant::now();
        let effects = self.nodes[at].core.step(now, event);
        self.in_cores += start.elapsed();
        self.steps += 1;
        for effect in effects {
            self.carry_out(at, effect);
        }
        true
    }

    fn settle(&mut self) {
        while self.step() {}
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let id = u32::try_from(at).unwrap();
        let event = match effect {
            Effect::Persist { ticket, .. } => Event::Persisted { ticket },
            Effect::Send { to, message } => {
                self.messages += 1;
                let from = NodeId::new(id);
                let to = to.get() as usize;
                return self.events.push_back((to, Event::Received { from, message }));
            }
            Effect::Sign { statement, roster_hash } => {
                self.signatures += 1;
                Event::Signed(signed(id, statement, roster_hash))
            }
            Effect::Offer(slot) => {
                let opens = slot.item.is_some();
                self.nodes[at].slot = Some(*slot);
                if opens {
                    self.seal();
                }
                return;
            }
            Effect::Commit { block, .. } => {
                let node = &mut self.nodes[at];
                for height in node.applied + 1..=block.height.get() {
                    let height = Height::new(height);
                    let applied = Event::Applied { height, state_root: state_root(height) };
                    self.events.push_back((at, applied));
                }
                node.applied = block.height.get();
                return;
            }
            Effect::Final(_) | Effect::Withdraw => return,
            other => panic!("node {id} wants {other:?}"),
        };
        self.events.push_back((at, event));
    }
}

/// Seals so many blocks, with at most some in flight, and returns how long it took.
fn play(group: &mut Group, blocks: u64, in_flight: u64) -> Duration {
    let start = Instant::now();
    let first = group.nodes[0].applied;
    let mut sealed = first;
    while group.nodes[0].applied < first + blocks {
        while sealed < group.nodes[0].applied + in_flight && group.seal() {
            sealed += 1;
            group.step();
        }
        assert!(group.step(), "the group goes on");
    }
    group.settle();
    start.elapsed()
}

fn transactions(count: u64) -> Vec<SignedTransaction> {
    let sender = SecretKey::from_seed(&[9; 32]);
    let transaction = |nonce| Transaction {
        chain_id: CHAIN,
        sender: sender.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers: Vec::new(),
        operations: vec![Operation::Update {
            key: Bytes::from(format!("key{nonce:012}")),
            value: Bytes::from(vec![7; 256]),
        }],
    };
    (0..count).map(|nonce| transaction(nonce).sign(&sender).unwrap()).collect()
}

fn main() {
    for (name, in_flight, count, blocks) in [
        ("one in flight, empty blocks", 1, 0, 20_000),
        ("window full, empty blocks", WINDOW as u64, 0, 20_000),
        ("one in flight, 100 transactions", 1, 100, 2_000),
        ("window full, 100 transactions", WINDOW as u64, 100, 2_000),
    ] {
        let mut best = (Duration::MAX, Duration::MAX);
        let mut counts = (0, 0, 0);
        for _ in 0..ROUNDS {
            let mut group = Group::new(transactions(count));
            play(&mut group, blocks / 10, in_flight);
            (group.messages, group.signatures, group.steps) = (0, 0, 0);
            group.in_cores = Duration::ZERO;
            let taken = play(&mut group, blocks, in_flight);
            best = (best.0.min(taken), best.1.min(group.in_cores));
            counts = (group.messages, group.signatures, group.steps);
        }
        let each = |taken: Duration| taken.as_nanos() as u64 / blocks / u64::from(NODES);
        let tenths = |count: u64| count as f64 / blocks as f64;
        println!(
            "{name}: {:.0} blocks/s; a block and node {} ns, in the core {} ns; \
             a block {:.2} messages, {:.2} signatures, {:.1} steps",
            blocks as f64 / best.0.as_secs_f64(),
            each(best.0),
            each(best.1),
            tenths(counts.0),
            tenths(counts.1),
            tenths(counts.2),
        );
    }
}
