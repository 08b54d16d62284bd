//! A group of cores with everything around them done by hand: time, disks, links, signatures.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod print;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quorate_chain::block::{Block, Body, Draft};
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::{
    BadSender, BadSignature, SecretKey, SenderSignature, Signer, ValidatorKey, Verifier,
};
use quorate_chain::ids::{ChainId, Hash, Height, NodeId, Signature, StateRoot, TimeUs};
use quorate_chain::roster::{Admins, Lead, Member, Part, QuorumSize, Role, Roster};
use quorate_chain::statement::SignedStatement;
use quorate_consensus::ballot::Ballot;
use quorate_consensus::config::{Config, Incarnation};
use quorate_consensus::effect::{Effect, Record, Slot, Ticket};
use quorate_consensus::event::Event;
use quorate_consensus::log::Anchor;
use quorate_consensus::message::Message;
use quorate_consensus::raft::{Core, Restored};
use quorate_consensus::time::{Moment, Now, Span};

pub const CHAIN: ChainId = ChainId::new([7; 32]);

/// Signatures that cost a hash: good for exactly one key and message.
#[derive(Debug)]
pub struct StandIn;

fn stand_in(key: &ValidatorKey, message: &[u8]) -> Signature {
    let hash = Hash::of(&[key.as_bytes(), message]);
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(hash.as_bytes());
    Signature::new(bytes)
}

impl Verifier for StandIn {
    fn validator(
        &self,
        key: &ValidatorKey,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        if stand_in(key, message) == *signature { Ok(()) } else { Err(BadSignature) }
    }

    fn senders(&self, _: &[SenderSignature<'_>]) -> Result<(), BadSender> {
        Ok(())
    }
}

struct Key(ValidatorKey);

impl Signer for Key {
    fn key(&self) -> ValidatorKey {
        self.0.clone()
    }

    fn sign(&self, message: &[u8]) -> Signature {
        stand_in(&self.0, message)
    }
}

pub fn key(id: u32) -> ValidatorKey {
    SecretKey::from_seed(&[u8::try_from(id).unwrap() + 1; 32]).validator_key()
}

pub fn roster(voters: u32) -> Roster {
    let admin = SecretKey::from_seed(&[200; 32]).account_key();
    let member = |id| Member {
        id: NodeId::new(id),
        name: format!("node{id}"),
        key: key(id),
        p2p: Vec::new(),
        api: Vec::new(),
        role: Role::Voter,
        lead: Lead::Yes,
    };
    Roster::single(Part {
        members: (0..voters).map(member).collect(),
        next_id: NodeId::new(voters),
        changes: 0,
        vote_quorum: QuorumSize::Majority,
        finality_quorum: QuorumSize::Majority,
        admins: Admins { threshold: 1, keys: vec![admin] },
    })
    .unwrap()
}

/// What a node has on its disk, and on the way there.
#[derive(Default)]
struct Disk {
    /// Held back: nothing becomes durable until it is released.
    held: bool,
    written: VecDeque<(Ticket, Record)>,
    ballot: Ballot,
    /// The chain above the genesis, by height.
    blocks: Vec<Checked<Block>>,
}

impl Disk {
    fn write(&mut self, record: Record) {
        match record {
            Record::Ballot(ballot) => self.ballot = ballot,
            Record::Branch { above, blocks } => {
                self.blocks.truncate(usize::try_from(above.height.get()).unwrap());
                self.blocks.extend(blocks);
            }
        }
    }
}

/// One node: its core, if it lives, and what is around it.
struct Node {
    core: Option<Core>,
    disk: Disk,
    slot: Option<Slot>,
    applied: Height,
    applied_anchor: Anchor,
    certificate: Option<Checked<Certificate>>,
    /// The certificates by which blocks were committed, by height.
    certificates: BTreeMap<Height, Checked<Certificate>>,
    /// Applied blocks, from height 1.
    chain: Vec<Checked<Block>>,
    /// Whether blocks are applied as soon as they are committed.
    applies: bool,
    to_apply: VecDeque<Checked<Block>>,
}

/// A group of nodes.
pub struct World {
    pub moment: Moment,
    nodes: Vec<Node>,
    genesis: Anchor,
    /// Messages on their way, in order.
    pub wire: VecDeque<(u32, u32, Message)>,
    cut: BTreeSet<(u32, u32)>,
    /// What has happened and is still to be handled, in order.
    events: VecDeque<(u32, Event)>,
    busy: bool,
    window: usize,
    /// What has been printed since the last command.
    pub out: String,
    /// Whether every effect is printed.
    pub loud: bool,
    pub sent: BTreeMap<&'static str, u64>,
}

fn state_root(height: Height) -> StateRoot {
    StateRoot::new(*Hash::of(&[b"state", &height.get().to_be_bytes()]).as_bytes())
}

impl World {
    pub fn new(count: u32, window: usize) -> Self {
        let genesis = Anchor {
            block: CHAIN.genesis_ref(),
            kind: None,
            time: TimeUs::ZERO,
            leader: None,
            roster: Arc::new(roster(count)),
            roster_since: Height::ZERO,
        };
        let node = || Node {
            core: None,
            disk: Disk::default(),
            slot: None,
            applied: Height::ZERO,
            applied_anchor: genesis.clone(),
            certificate: None,
            certificates: BTreeMap::new(),
            chain: Vec::new(),
            applies: true,
            to_apply: VecDeque::new(),
        };
        let nodes = (0..count).map(|_| node()).collect();
        let mut world = Self {
            moment: Moment::default(),
            nodes,
            genesis,
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            events: VecDeque::new(),
            busy: false,
            window,
            out: String::new(),
            loud: false,
            sent: BTreeMap::new(),
        };
        for id in 0..count {
            world.start(id);
        }
        world
    }

    fn now(&self) -> Now {
        Now { moment: self.moment, time: TimeUs::new(self.moment.as_micros()) }
    }

    fn node(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub fn core(&self, id: u32) -> Option<&Core> {
        self.nodes[id as usize].core.as_ref()
    }

    pub fn ids(&self) -> Vec<u32> {
        (0..u32::try_from(self.nodes.len()).unwrap()).collect()
    }

    /// Starts a node from what its disk and store have kept.
    pub fn start(&mut self, id: u32) {
        let config = Config {
            chain_id: CHAIN,
            id: NodeId::new(id),
            incarnation: Incarnation(u64::from(id)),
            lead: Lead::Yes,
            election_timeout: Span::millis(1_000),
            heartbeat: Span::millis(100),
            window_blocks: self.window,
            window_bytes: 1 << 20,
            message_bytes: 1 << 16,
            seed: u64::from(id),
        };
        let now = self.now();
        let node = self.node(id);
        let restored = Restored {
            ballot: node.disk.ballot.clone(),
            applied: node.applied_anchor.clone(),
            state_root: state_root(node.applied),
            certificate: node.certificate.clone(),
            blocks: node.disk.blocks[usize::try_from(node.applied.get()).unwrap()..].to_vec(),
        };
        node.core = Some(Core::new(config, Arc::new(StandIn), restored, now).unwrap());
    }

    /// Kills a node: what is not durable is gone.
    pub fn kill(&mut self, id: u32) {
        let node = self.node(id);
        node.core = None;
        node.slot = None;
        node.disk.written.clear();
        node.to_apply.clear();
        self.wire.retain(|(from, to, _)| *from != id && *to != id);
        for peer in self.ids() {
            if peer != id {
                self.step(peer, Event::LinkLost { node: NodeId::new(id) });
            }
        }
    }

    /// Cuts or joins the link between two nodes, both ways.
    pub fn cut(&mut self, a: u32, b: u32, cut: bool) {
        for link in [(a, b), (b, a)] {
            if cut {
                self.cut.insert(link);
            } else {
                self.cut.remove(&link);
            }
        }
    }

    pub fn hold_disk(&mut self, id: u32, held: bool) {
        self.node(id).disk.held = held;
        self.flush(id);
    }

    pub fn hold_apply(&mut self, id: u32, held: bool) {
        self.node(id).applies = !held;
        self.apply(id);
    }

    /// Lets time pass to a node's deadline and ticks it.
    pub fn timeout(&mut self, id: u32) {
        if let Some(core) = self.core(id) {
            self.moment = self.moment.max(core.deadline());
            self.step(id, Event::Tick);
        }
    }

    /// Lets time pass without anybody noticing.
    pub fn sleep(&mut self, span: Span) {
        self.moment = self.moment.after(span);
    }

    /// Lets time pass, ticking every node when it is due and delivering what is sent.
    pub fn run(&mut self, span: Span) {
        let end = self.moment.after(span);
        loop {
            self.settle();
            let due = self.ids().into_iter().filter_map(|id| Some((self.core(id)?.deadline(), id)));
            match due.min() {
                Some((moment, id)) if moment <= end => {
                    self.moment = self.moment.max(moment);
                    self.step(id, Event::Tick);
                }
                _ => break,
            }
        }
        self.moment = end;
    }

    /// Delivers the next message on a link, or of all.
    pub fn carry(&mut self, link: Option<(u32, u32)>) -> bool {
        let fits =
            |(from, to, _): &(u32, u32, Message)| link.is_none_or(|link| link == (*from, *to));
        let Some(at) = self.wire.iter().position(fits) else { return false };
        let (from, to, message) = self.wire.remove(at).unwrap();
        if !self.cut.contains(&(from, to)) && self.core(to).is_some() {
            self.step(to, Event::Received { from: NodeId::new(from), message });
        }
        true
    }

    /// Delivers everything until nothing is on its way.
    pub fn settle(&mut self) {
        for round in 0..200_000 {
            if !self.carry(None) {
                return;
            }
            self.loud |= round == 199_960;
        }
        self.status();
        panic!("messages without end:\n{}", self.out);
    }

    /// Seals a block for the slot that a node was offered.
    pub fn seal(&mut self, id: u32) -> bool {
        let Some(slot) = self.node(id).slot.take() else { return false };
        let block = seal(&slot, &Key(key(id)));
        self.step(id, Event::Sealed(block));
        true
    }

    /// Gives a node an event and does what it wants done, and then what follows from that.
    pub fn step(&mut self, id: u32, event: Event) {
        self.events.push_back((id, event));
        if std::mem::replace(&mut self.busy, true) {
            return;
        }
        let mut handled = 0;
        while let Some((id, event)) = self.events.pop_front() {
            self.one_step(id, event);
            handled += 1;
            self.loud |= handled == 99_960;
            assert!(handled < 100_000, "events without end:\n{}", self.out);
        }
        self.busy = false;
    }

    fn one_step(&mut self, id: u32, event: Event) {
        let now = self.now();
        let Some(core) = &mut self.node(id).core else { return };
        let effects = core.step(now, event);
        for effect in effects {
            if self.loud {
                self.out.push_str(&print::effect(id, &effect));
            }
            self.carry_out(id, effect);
        }
    }

    fn carry_out(&mut self, id: u32, effect: Effect) {
        match effect {
            Effect::Persist { ticket, record } => {
                self.node(id).disk.written.push_back((ticket, record));
                self.flush(id);
            }
            Effect::Send { to, message } => {
                *self.sent.entry(print::name(&message)).or_default() += 1;
                self.wire.push_back((id, to.get(), message));
            }
            Effect::Sign { statement, roster_hash } => {
                let message = statement.message(CHAIN, roster_hash);
                let signature = stand_in(&key(id), &message);
                let signer = NodeId::new(id);
                let said = SignedStatement { statement, roster_hash, signer, signature };
                self.step(id, Event::Signed(Checked::vouch(said)));
            }
            Effect::Offer(slot) => {
                let now = slot.urgency == quorate_consensus::effect::Urgency::Now;
                self.node(id).slot = Some(*slot);
                if now {
                    self.seal(id);
                }
            }
            Effect::Withdraw => self.node(id).slot = None,
            Effect::Commit { block, certificate } => {
                let node = self.node(id);
                let core = node.core.as_ref().unwrap();
                let first = node.applied.get() + 1 + node.to_apply.len() as u64;
                let up_to = core.log().from(Height::new(first));
                let new = up_to.take_while(|entry| entry.anchor.block.height <= block.height);
                let new: Vec<_> = new.map(|entry| entry.block.clone()).collect();
                node.to_apply.extend(new);
                node.certificates.insert(certificate.block().height, certificate.clone());
                node.certificate = Some(certificate);
                self.apply(id);
            }
            Effect::Fetch { node: to, from, bytes: _ } => {
                let node = self.node(id);
                let below = usize::try_from(from.get() - 1).unwrap();
                let parent = match below {
                    0 => CHAIN.genesis_ref(),
                    below => node.chain[below - 1].block_ref(),
                };
                // At least eight blocks, and on to the next one that has a certificate.
                let certified = node.certificates.range(Height::new(from.get() + 7)..);
                let stored = |(height, _): &(&Height, _)| height.get() <= node.chain.len() as u64;
                let last = certified
                    .clone()
                    .find(stored)
                    .or_else(|| node.certificates.range(from..).rfind(stored));
                let (blocks, certificate) = match last {
                    Some((height, certificate)) => {
                        let end = usize::try_from(height.get()).unwrap();
                        (node.chain[below..end].to_vec(), Some(certificate.get().clone()))
                    }
                    None => (Vec::new(), None),
                };
                self.step(id, Event::Fetched { node: to, parent, blocks, certificate });
            }
            Effect::Halt(why) => panic!("node {id} halts: {why}"),
        }
    }

    fn flush(&mut self, id: u32) {
        while !self.node(id).disk.held {
            let Some((ticket, record)) = self.node(id).disk.written.pop_front() else { break };
            self.node(id).disk.write(record);
            self.step(id, Event::Persisted { ticket });
        }
    }

    fn apply(&mut self, id: u32) {
        while self.node(id).applies && self.core(id).is_some() {
            let Some(block) = self.node(id).to_apply.pop_front() else { break };
            let height = block.block_ref().height;
            let node = self.node(id);
            let anchor = node.core.as_ref().unwrap().log().anchor(height).unwrap().clone();
            node.chain.push(block);
            (node.applied, node.applied_anchor) = (height, anchor);
            self.step(id, Event::Applied { height, state_root: state_root(height) });
        }
    }

    /// The applied chains of all nodes agree as far as they go.
    pub fn check_same_chain(&self) {
        let longest = self.nodes.iter().max_by_key(|node| node.chain.len()).unwrap();
        for node in &self.nodes {
            for (ours, theirs) in node.chain.iter().zip(&longest.chain) {
                assert_eq!(ours.block_ref(), theirs.block_ref());
            }
        }
    }

    pub fn applied(&self, id: u32) -> u64 {
        self.nodes[id as usize].applied.get()
    }

    /// One line for each node.
    pub fn status(&mut self) {
        for id in self.ids() {
            let line = print::status(id, self.core(id), self.nodes[id as usize].applied);
            self.out.push_str(&line);
        }
    }
}

fn seal(slot: &Slot, signer: &Key) -> Checked<Block> {
    let draft = Draft {
        chain_id: CHAIN,
        roster_hash: slot.roster_hash,
        kind: slot.kind,
        parent: slot.parent,
        term: slot.term,
        proposer: slot.proposer,
        time: slot.time,
        executed: slot.executed,
        state_root: slot.state_root,
        body: Body { item: slot.item.clone(), transactions: Vec::new() },
    };
    Block::seal(draft, signer).unwrap()
}
