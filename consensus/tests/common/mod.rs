//! A group of cores with everything around them done by hand: time, disks, links, signatures.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod change;
mod faults;
pub mod forge;
mod install;
pub mod keys;
pub mod net;
mod node;
mod paper;
mod print;
pub mod random;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quorate_chain::block::BlockKind;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{Height, NodeId, StateRoot, TimeUs};
use quorate_consensus::config::{Boot, Config, Incarnation};
use quorate_consensus::effect::{Effect, Urgency};
use quorate_consensus::event::{Event, Fetched};
use quorate_consensus::handover::TransferEnd;
use quorate_consensus::life::Life;
use quorate_consensus::log::Anchor;
use quorate_consensus::message::{Message, Nonce};
use quorate_consensus::raft::{Core, Restored};
use quorate_consensus::reads::{ReadId, Unread};
use quorate_consensus::time::{Moment, Now, Span};

pub use keys::{CHAIN, StandIn, key, roster};
use keys::{Key, seal, sign, state_root};
use node::Node;

/// A group of nodes.
pub struct World {
    pub moment: Moment,
    nodes: Vec<Node>,
    genesis: Anchor,
    /// Messages on their way, in order.
    pub wire: VecDeque<(u32, u32, Message)>,
    /// Every message ever sent, if the world remembers them.
    pub history: Option<Vec<(u32, u32, Message)>>,
    cut: BTreeSet<(u32, u32)>,
    /// What has happened and is still to be handled, in order.
    events: VecDeque<(u32, Event)>,
    busy: bool,
    window: usize,
    window_bytes: usize,
    /// Most bytes of blocks in a message.
    message_bytes: usize,
    snapshot_every: u64,
    /// How many blocks a store reads for a peer, at least.
    pub range: u64,
    /// What has been printed since the last command.
    pub out: String,
    /// Whether every effect is printed.
    pub loud: bool,
    /// Whether closing blocks are sealed by hand like others, as with a block interval.
    pub interval: bool,
    /// What the nonces of starts begin at.
    pub nonces: u64,
    /// Whether a node may halt. Where nobody lies and nothing breaks, none does.
    pub may_halt: bool,
    pub sent: BTreeMap<&'static str, u64>,
    /// What some nodes once had on their disks.
    copies: BTreeMap<u32, Node>,
    /// Whether a node that starts has greeted the others before anything else happens.
    pub greets: bool,
    /// How many roster changes were taken, and how many snapshots installed.
    pub changed: u64,
    pub installed: u64,
    /// The reads that were served: where, which, at what height.
    pub served: Vec<(u32, ReadId, Height)>,
    /// The reads that were refused: where, which, and why.
    pub unread: Vec<(u32, ReadId, Unread)>,
    /// How the transfers ended that were asked for, and where.
    pub transfers: Vec<(u32, TransferEnd)>,
}

impl World {
    pub fn new(count: u32, window: usize) -> Self {
        Self::with(count, window, 1 << 16)
    }

    pub fn with(count: u32, window: usize, message_bytes: usize) -> Self {
        let genesis = Anchor {
            block: CHAIN.genesis_ref(),
            kind: None,
            time: TimeUs::ZERO,
            leader: None,
            roster: Arc::new(roster(count)),
            roster_since: Height::ZERO,
        };
        let mut world = Self {
            moment: Moment::default(),
            nodes: (0..count).map(|id| Node::new(id, genesis.clone())).collect(),
            genesis,
            wire: VecDeque::new(),
            history: None,
            cut: BTreeSet::new(),
            events: VecDeque::new(),
            busy: false,
            window,
            window_bytes: 1 << 20,
            message_bytes,
            snapshot_every: 0,
            range: 8,
            out: String::new(),
            loud: false,
            interval: false,
            nonces: 0,
            may_halt: false,
            sent: BTreeMap::new(),
            copies: BTreeMap::new(),
            greets: false,
            changed: 0,
            installed: 0,
            served: Vec::new(),
            unread: Vec::new(),
            transfers: Vec::new(),
        };
        for id in 0..count {
            world.start(id);
        }
        // Greetings wait for those that start later.
        world.settle();
        world.sent.clear();
        world.greets = true;
        world
    }

    /// The state is certified at every height that is a multiple of this. The nodes begin anew.
    pub fn certify_every(&mut self, heights: u64) {
        self.snapshot_every = heights;
        for id in self.ids() {
            self.start(id);
        }
    }

    /// A window has at most so many bytes. The nodes begin anew.
    pub fn bound_bytes(&mut self, bytes: usize) {
        self.window_bytes = bytes;
        for id in self.ids() {
            self.start(id);
        }
    }

    fn now(&self, id: u32) -> Now {
        let ahead = self.nodes[id as usize].ahead;
        let time = TimeUs::new(self.moment.as_micros().saturating_add(ahead));
        Now { moment: self.moment, time }
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
        let (now, window, message_bytes) = (self.now(id), self.window, self.message_bytes);
        let snapshot_every = self.snapshot_every;
        let root = self.root(id, self.nodes[id as usize].applied);
        let nonces = self.nonces;
        let window_bytes = self.window_bytes;
        let node = self.node(id);
        node.boot += 1;
        let seed = u64::from(id) + ((node.boot - 1) << 32) + (node.machine << 48);
        let (incarnation, boot) = (Incarnation(node.incarnation), Boot(node.boot));
        let life = Life { incarnation, boot, nonce: Nonce(!seed ^ nonces) };
        let config = Config {
            chain_id: CHAIN,
            id: NodeId::new(id),
            life: life.sign(CHAIN, NodeId::new(id), &Key(key(id))),
            lead: node.lead,
            election_timeout: Span::millis(1_000),
            heartbeat: Span::millis(100),
            window_blocks: window,
            window_bytes,
            message_bytes,
            snapshot_every,
            seed,
        };
        let restored = Restored {
            left: node.left(),
            ballot: node.disk.ballot.clone(),
            applied: node.applied_anchor.clone(),
            state_root: root,
            earlier: node.earlier(),
            executed: node.executed(),
            certificates: node.stored_certificates(),
            logged: node.disk.certificates.clone(),
            replaced: node.disk.replaced,
            highest: node.disk.highest,
            blocks: node.disk.blocks[usize::try_from(node.applied.get()).unwrap()..].to_vec(),
        };
        let core = Core::new(config, Arc::new(StandIn), restored, now).unwrap();
        node.disk.ballot = core.ballot().clone();
        node.core = Some(core);
        match self.greets {
            true => self.greet(id),
            false => self.step(id, Event::Tick),
        }
    }

    /// A node that has started greets those that it reaches, and they answer, before anything else
    /// happens. Nothing of it is printed or counted.
    fn greet(&mut self, id: u32) {
        let (loud, sent) = (std::mem::take(&mut self.loud), self.sent.clone());
        self.step(id, Event::Tick);
        let of_greeting = |(from, to, message): &(u32, u32, Message)| {
            let node = if matches!(message, Message::Greet(_)) { from } else { to };
            matches!(message, Message::Greet(_) | Message::Known(_)) && *node == id
        };
        while let Some(at) = self.wire.iter().position(of_greeting) {
            let (from, to, message) = self.wire.remove(at).unwrap();
            self.arrive(from, to, message);
        }
        (self.loud, self.sent) = (loud, sent);
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

    /// The node that wants a tick first, and when.
    pub fn due(&self) -> Option<(Moment, u32)> {
        let ids = self.ids().into_iter();
        ids.filter_map(|id| Some((self.core(id)?.deadline(), id))).min()
    }

    /// Lets time pass, ticking every node when it is due and delivering what is sent.
    pub fn run(&mut self, span: Span) {
        let end = self.moment.after(span);
        loop {
            self.settle();
            match self.due() {
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
        self.arrive(from, to, message);
        true
    }

    /// A message arrives, unless its link is cut or its receiver dead.
    pub fn arrive(&mut self, from: u32, to: u32, message: Message) {
        if !self.cut.contains(&(from, to)) && self.core(to).is_some() {
            self.step(to, Event::Received { from: NodeId::new(from), message });
        }
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

    /// Gives a node an event; returns what it wants done, and does none of it.
    pub fn tap(&mut self, id: u32, event: Event) -> Vec<Effect> {
        let now = self.now(id);
        self.node(id).core.as_mut().unwrap().step(now, event)
    }

    fn one_step(&mut self, id: u32, event: Event) {
        let now = self.now(id);
        let Some(core) = &mut self.node(id).core else { return };
        let tick = matches!(event, Event::Tick);
        let effects = core.step(now, event);
        let later = core.deadline();
        assert!(!tick || later > now.moment, "a tick of {id} is due again at once");
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
                if let Some(history) = &mut self.history {
                    history.push((id, to.get(), message.clone()));
                }
                self.wire.push_back((id, to.get(), message));
            }
            Effect::Sign { statement, roster_hash } => {
                self.node(id).to_sign.push_back((statement, roster_hash));
                self.sign(id);
            }
            Effect::Offer(slot) => {
                let waits = self.interval && slot.kind == BlockKind::Closing;
                let now = slot.urgency == Urgency::Now && !waits;
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
                let range = self.range;
                let node = self.node(id);
                let parent = match usize::try_from(from.get() - 1).unwrap() {
                    0 => CHAIN.genesis_ref(),
                    below => node.chain[below - 1].block_ref(),
                };
                let (blocks, certificate) = node.fetch(from, range);
                let found = match node.snapshot.is_some_and(|at| from <= at) {
                    true => Fetched::Pruned { snapshot: node.snapshot() },
                    false => Fetched::Blocks { parent, blocks, certificate },
                };
                self.step(id, Event::Fetched { node: to, found });
            }
            Effect::Install { from, snapshot } => self.ask_install(id, from, *snapshot),
            Effect::Changed { outcome, .. } => self.changed += u64::from(outcome.is_ok()),
            Effect::Serve { read, height } => self.served.push((id, read, height)),
            Effect::RefuseRead { read, why } => self.unread.push((id, read, why)),
            Effect::TransferEnded(end) => self.transfers.push((id, end)),
            Effect::Final(_) | Effect::Convict(_) => {}
            Effect::Halt(why) => {
                assert!(self.may_halt, "node {id} halts: {why}");
                let node = self.node(id);
                (node.core, node.halted) = (None, true);
            }
        }
    }

    fn flush(&mut self, id: u32) {
        while !self.node(id).disk.held && self.write(id) {}
    }

    /// The oldest record on its way becomes durable.
    fn write(&mut self, id: u32) -> bool {
        let Some((ticket, record)) = self.node(id).disk.written.pop_front() else { return false };
        self.node(id).disk.write(record);
        self.step(id, Event::Persisted { ticket });
        true
    }

    fn sign(&mut self, id: u32) {
        while self.node(id).signs {
            let Some((statement, roster_hash)) = self.node(id).to_sign.pop_front() else { break };
            let said = sign(id, statement, roster_hash);
            self.step(id, Event::Signed(Checked::vouch(said)));
        }
    }

    fn apply(&mut self, id: u32) {
        while self.node(id).applies && self.core(id).is_some() {
            let Some(block) = self.node(id).to_apply.pop_front() else { break };
            let height = block.block_ref().height;
            let state_root = self.root(id, height);
            let node = self.node(id);
            let anchor = node.core.as_ref().unwrap().log().anchor(height).unwrap().clone();
            node.chain.push(block);
            node.anchors.insert(height, anchor.clone());
            (node.applied, node.applied_anchor) = (height, anchor);
            self.step(id, Event::Applied { height, state_root });
        }
    }

    /// The state that a node computes.
    fn root(&self, id: u32, height: Height) -> StateRoot {
        match self.nodes[id as usize].strays && height > Height::ZERO {
            true => StateRoot::new([0xbb; 32]),
            false => state_root(height),
        }
    }

    /// Every core is whole.
    pub fn check_whole(&self) {
        self.nodes.iter().filter_map(|node| node.core.as_ref()).for_each(Core::check_whole);
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

    /// Whether a node may have forgotten what it has signed, alive or not.
    pub fn is_recovering(&self, id: u32) -> bool {
        let node = &self.nodes[id as usize];
        let on_disk = node.disk.ballot.recovering;
        node.core.as_ref().map_or(on_disk, |core| core.ballot().recovering || on_disk)
    }

    pub fn applied(&self, id: u32) -> u64 {
        self.nodes[id as usize].applied.get()
    }

    /// One line for each of the last blocks that a node has applied.
    pub fn print_chain(&mut self, id: u32, last: u32) {
        let chain = &self.nodes[id as usize].chain;
        for block in &chain[chain.len() - last as usize..] {
            self.out.push_str(&print::header(block.header()));
        }
    }

    /// One line for each node.
    pub fn status(&mut self) {
        for id in self.ids() {
            let node = &self.nodes[id as usize];
            let line = print::status(id, self.core(id), node.applied, node.halted);
            self.out.push_str(&line);
        }
    }
}
