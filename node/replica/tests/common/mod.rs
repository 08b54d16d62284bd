//! A small group of replicas with everything around them done by hand: time, disks, links, signatures.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod keys;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::{ChainId, Height, NodeId, StateRoot, TimeUs};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::config::Incarnation;
use quorate_consensus::event::ChangeId;
use quorate_consensus::message::{Message, Nonce};
use quorate_consensus::raft::Standing;
use quorate_consensus::time::{Moment, Now, Span};
use quorate_replica::fetch::fetch;
use quorate_replica::io::{Answer, ApplyJob, Input, JournalJob, Output, Submission};
use quorate_replica::setup::{Birth, Limits};
use quorate_replica::snapshot::{self, Ask, Piece};
use quorate_replica::store::{MemoryStore, Store, StoreReader};
use quorate_replica::{OpenError, Replica, Setup, open};
use quorate_wal::{Memory, Options, Space};

pub use keys::*;

pub type SharedDisk = Arc<Mutex<Memory>>;

/// One node: its replica, if it lives, and what is around it.
pub struct Node {
    pub replica: Option<Replica<SharedDisk, MemoryStore>>,
    pub disk: SharedDisk,
    pub store: MemoryStore,
    pub setup: Setup,
    pub jobs: Vec<JournalJob>,
    applies: Vec<ApplyJob>,
    starts: u64,
    /// Held back: nothing is written until it is released.
    pub hold_disk: bool,
    pub hold_apply: bool,
    /// What a start has found wrong.
    pub wrong: Option<OpenError>,
    /// Why it has stopped, if it may.
    pub stop: Option<String>,
    pub may_stop: bool,
}

/// A group of nodes.
pub struct Group {
    pub moment: Moment,
    pub nodes: Vec<Node>,
    pub chain_id: ChainId,
    pub wire: VecDeque<(u32, u32, Carried)>,
    pub cut: BTreeSet<(u32, u32)>,
    pub answers: BTreeMap<Submission, Answer>,
    pub notices: Vec<(u32, String)>,
    /// Snapshots that were installed, or refused.
    pub installs: Vec<(u32, bool)>,
    next: u64,
}

/// What is on its way between two nodes.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Carried {
    Message(Message),
    Transactions(Vec<Checked<SignedTransaction>>),
    Ask(Ask),
    Piece(Piece),
}

pub fn small_wal() -> Options {
    Options { segment: 64 << 10, align: 512, spares: 1, ..Options::default() }
}

pub fn limits() -> Limits {
    Limits {
        window_blocks: 8,
        window_bytes: 1 << 20,
        message_bytes: 1 << 16,
        checkpoint_every: 3,
        snapshot_every: 0,
        ..Limits::default()
    }
}

pub fn setup(genesis: &Genesis, id: u32, limits: Limits) -> Setup {
    let file = genesis.to_file();
    Setup {
        genesis: genesis.clone(),
        chain_id: Genesis::chain_id(&file),
        id: NodeId::new(id),
        signer: Arc::new(Key(key(id))),
        verifier: Arc::new(StandIn),
        birth: Birth::Fresh(Incarnation(u64::from(id) + 1)),
        lead: None,
        limits,
        wal: small_wal(),
        seed: u64::from(id),
    }
}

impl Group {
    pub fn new(count: u32) -> Self {
        Self::with(count, limits())
    }

    pub fn with(count: u32, limits: Limits) -> Self {
        Self::of(&genesis(count), limits)
    }

    pub fn of(genesis: &Genesis, limits: Limits) -> Self {
        Self::late(genesis, limits, |id| id % 3)
    }

    /// A group in whose stores a checkpoint is through when it was asked for so often.
    pub fn late(genesis: &Genesis, limits: Limits, late: impl Fn(u32) -> u32) -> Self {
        let count = u32::try_from(genesis.validators.len()).unwrap();
        let node = |id| Node {
            replica: None,
            disk: Arc::new(Mutex::new(Memory::new(u64::from(id)))),
            store: MemoryStore::with_late_checkpoints(late(id)),
            setup: setup(genesis, id, limits),
            jobs: Vec::new(),
            applies: Vec::new(),
            starts: 0,
            hold_disk: false,
            hold_apply: false,
            wrong: None,
            stop: None,
            may_stop: false,
        };
        let nodes: Vec<_> = (0..count).map(node).collect();
        let mut group = Self {
            moment: Moment::default(),
            chain_id: nodes[0].setup.chain_id,
            nodes,
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            answers: BTreeMap::new(),
            notices: Vec::new(),
            installs: Vec::new(),
            next: 0,
        };
        for id in group.ids() {
            group.start(id).unwrap();
        }
        group
    }

    /// Three nodes, of which node 2 has gone away after a few blocks.
    pub fn without_2(limits: Limits) -> Self {
        let mut group = Self::with(3, limits);
        group.elect_another_than(2);
        for nonce in 0..3 {
            group.submit(0, update(group.chain_id, 0, nonce));
            group.settle();
        }
        group.run(Span::millis(500));
        group.kill(2);
        group
    }

    pub fn ids(&self) -> Vec<u32> {
        (0..u32::try_from(self.nodes.len()).unwrap()).collect()
    }

    pub fn now(&self) -> Now {
        Now { moment: self.moment, time: TimeUs::new(self.moment.as_micros()) }
    }

    pub fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn node_mut(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub fn replica(&self, id: u32) -> &Replica<SharedDisk, MemoryStore> {
        self.node(id).replica.as_ref().unwrap()
    }

    /// Starts a node from what its disk and store have kept.
    pub fn start(&mut self, id: u32) -> Result<(), String> {
        let now = self.now();
        let node = self.node_mut(id);
        node.starts += 1;
        let nonce = Nonce((u64::from(id) << 32) + node.starts);
        match open(&node.setup, Arc::clone(&node.disk), node.store.clone(), now, nonce) {
            Ok(replica) => {
                node.replica = Some(replica);
                let (Birth::Fresh(born) | Birth::Used(born)) = node.setup.birth;
                node.setup.birth = Birth::Used(born);
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                node.wrong = Some(error);
                Err(text)
            }
        }
    }

    /// Kills a node. What is in its caches survives; what it had not written does not.
    pub fn kill(&mut self, id: u32) {
        let node = self.node_mut(id);
        node.replica = None;
        node.jobs.clear();
        node.applies.clear();
        node.disk.lock().unwrap().restart();
        self.wire.retain(|(from, to, _)| *from != id && *to != id);
    }

    /// The power goes out at a node: what is not durable is gone.
    pub fn power_cut(&mut self, id: u32, keep: impl FnMut(&quorate_wal::Unsynced) -> bool) {
        self.kill(id);
        let node = self.node_mut(id);
        node.disk.lock().unwrap().crash(keep);
        node.store.power_cut(0);
    }

    /// Gives a node an input, and does what it wants done.
    pub fn give(&mut self, id: u32, input: Input) {
        let now = self.now();
        let Some(replica) = &mut self.node_mut(id).replica else { return };
        let mut out = Vec::new();
        replica.driver.handle(now, input, &mut out);
        replica.driver.check();
        for output in out {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, id: u32, output: Output) {
        match output {
            Output::Send { to, message } => {
                self.wire.push_back((id, to.get(), Carried::Message(message)));
            }
            Output::Forward { to, transactions } => {
                self.wire.push_back((id, to.get(), Carried::Transactions(transactions)));
            }
            Output::Write(job) => self.node_mut(id).jobs.push(job),
            Output::Apply(job) => self.node_mut(id).applies.push(job),
            Output::Fetch(job) => {
                let demand = self.replica(id).applier.demand();
                let fetched = fetch(&self.node(id).store.reader(), demand, job).unwrap();
                self.give(id, Input::Fetched(fetched));
            }
            Output::Keep(certificate) => {
                let Some(replica) = &mut self.node_mut(id).replica else { return };
                replica.applier.keep(certificate).unwrap();
            }
            Output::Answer { submission, answer } => {
                let before = self.answers.insert(submission, answer);
                assert!(before.is_none(), "{submission:?} is answered twice");
            }
            Output::Prune { below } => {
                let Some(replica) = &mut self.node_mut(id).replica else { return };
                if replica.journal.prune(below).is_err() {
                    self.kill(id);
                }
            }
            Output::Notice(notice) => self.notices.push((id, format!("{notice:?}"))),
            Output::Changed { outcome, .. } => {
                outcome.unwrap();
            }
            Output::Serve { .. }
            | Output::RefuseRead { .. }
            | Output::TransferEnded(_)
            | Output::Convict(_) => {}
            Output::Ask { to, ask } => self.wire.push_back((id, to.get(), Carried::Ask(ask))),
            Output::Stage(job) => {
                let Some(replica) = &mut self.node_mut(id).replica else { return };
                let taken = replica.applier.stage(job).unwrap();
                self.give(id, Input::Staged(taken));
            }
            Output::Install(job) => {
                let Some(replica) = &mut self.node_mut(id).replica else { return };
                let good = replica.applier.install(*job).unwrap();
                self.installs.push((id, good));
                self.give(id, Input::Installed(good));
            }
            Output::Stop(stop) if self.node(id).may_stop => {
                self.node_mut(id).stop = Some(stop.to_string());
                self.kill(id);
            }
            Output::Stop(stop) => panic!("node {id} stops: {stop}"),
        }
    }

    /// Lets the journal and the applier of a node work. Returns whether there was anything to do.
    pub fn work(&mut self, id: u32) -> bool {
        let node = self.node_mut(id);
        let Some(replica) = &mut node.replica else { return false };
        let mut inputs = Vec::new();
        if !node.hold_disk && !node.jobs.is_empty() {
            match replica.journal.write(std::mem::take(&mut node.jobs)) {
                Ok(written) => inputs.push(Input::Written(written)),
                Err(_) => {
                    self.kill(id);
                    return true;
                }
            }
        }
        let node = self.node_mut(id);
        let Some(replica) = &mut node.replica else { return false };
        if !node.hold_apply && !node.applies.is_empty() {
            let applied = replica.applier.apply(std::mem::take(&mut node.applies)).unwrap();
            inputs.push(Input::Applied(applied));
        }
        let any = !inputs.is_empty();
        for input in inputs {
            self.give(id, input);
        }
        any
    }

    /// Delivers the next thing on the wire.
    pub fn carry(&mut self) -> bool {
        let Some((from, to, carried)) = self.wire.pop_front() else { return false };
        if self.cut.contains(&(from, to)) {
            return true;
        }
        let from = NodeId::new(from);
        let input = match carried {
            Carried::Message(message) => Input::Received { from, message },
            Carried::Transactions(transactions) => Input::Forwarded { from, transactions },
            Carried::Ask(ask) => {
                if self.node(to).replica.is_some() {
                    let piece = self.piece(to, ask);
                    let piece = Piece::from_bytes(&piece.to_bytes()).unwrap();
                    self.wire.push_back((to, from.get(), Carried::Piece(piece)));
                }
                return true;
            }
            Carried::Piece(piece) => Input::Brought { from, piece },
        };
        self.give(to, input);
        true
    }

    /// What a node answers to who asks it for a piece of a snapshot.
    pub fn piece(&self, id: u32, ask: Ask) -> Piece {
        let demand = self.replica(id).applier.demand();
        snapshot::piece(&self.node(id).store.reader(), demand, ask, 300).unwrap()
    }

    /// Works and delivers until nothing is to be done.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut any = false;
            for id in self.ids() {
                any |= self.work(id);
            }
            any |= self.carry();
            if !any {
                return;
            }
        }
        panic!("work without end");
    }

    /// Lets time pass, ticking every node when it is due.
    pub fn run(&mut self, span: Span) {
        let end = self.moment.after(span);
        loop {
            self.settle();
            let due = self
                .ids()
                .into_iter()
                .filter_map(|id| Some((self.node(id).replica.as_ref()?.driver.deadline(), id)));
            match due.min() {
                Some((moment, id)) if moment <= end => {
                    self.moment = self.moment.max(moment);
                    self.give(id, Input::Tick);
                }
                _ => break,
            }
        }
        self.moment = end;
    }

    /// Delivers one thing and lets all work, or lets time pass to the next deadline.
    pub fn turn(&mut self) {
        let mut any = self.carry();
        for id in self.ids() {
            any |= self.work(id);
        }
        if any {
            return;
        }
        let due = self
            .ids()
            .into_iter()
            .filter_map(|id| Some((self.node(id).replica.as_ref()?.driver.deadline(), id)));
        let Some((moment, id)) = due.min() else { return };
        self.moment = self.moment.max(moment);
        self.give(id, Input::Tick);
    }

    /// Lets time pass until a condition holds.
    pub fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            if holds(self) {
                return;
            }
            self.run(Span::millis(100));
        }
        panic!("waited in vain until {what}");
    }

    /// The node that leads, if a single one of the highest term does.
    pub fn leader(&self) -> Option<u32> {
        let status = |id: u32| Some((self.node(id).replica.as_ref()?.driver.status(), id));
        let statuses = self.ids().into_iter().filter_map(status);
        let leading = statuses.filter(|(status, _)| status.standing == Standing::Leader);
        leading.max_by_key(|(status, _)| status.term).map(|(_, id)| id)
    }

    pub fn elect(&mut self) -> u32 {
        self.run_until("somebody leads", |group| group.leader().is_some());
        self.leader().unwrap()
    }

    /// Waits until a node other than this one leads.
    pub fn elect_another_than(&mut self, id: u32) {
        if self.elect() == id {
            self.kill(id);
            self.run_until("another leads", |group| group.leader().is_some());
            self.start(id).unwrap();
            self.run(Span::millis(500));
        }
    }

    /// Submits a transaction at a node.
    pub fn submit(&mut self, id: u32, transaction: SignedTransaction) -> Submission {
        let submission = Submission(self.next);
        self.next += 1;
        let transaction = Checked::vouch(transaction);
        self.give(id, Input::Submit { submission, transaction });
        submission
    }

    /// Has the admins change the roster, and waits until the change is behind the group.
    pub fn change_roster(&mut self, leader: u32, name: &str) {
        let roster = Arc::clone(&self.replica(leader).driver.status().roster);
        let change = renamed(self.chain_id, &roster, name);
        let input = Input::Change { id: ChangeId(0), change: Box::new(change) };
        self.give(leader, input);
        self.run_until("the roster has changed", |group| {
            let log = group.replica(leader).driver.core().log();
            !log.applied().roster.is_joint() && log.applied().roster.hash() != roster.hash()
        });
    }

    pub fn applied(&self, id: u32) -> Height {
        let standing = self.node(id).store.reader().standing().unwrap();
        standing.unwrap().applied.block.height
    }

    pub fn root(&self, id: u32, height: Height) -> Option<StateRoot> {
        self.node(id).store.reader().state_root(height).unwrap()
    }

    /// All that live have applied the same.
    pub fn assert_equal(&self) {
        let living: Vec<_> =
            self.ids().into_iter().filter(|id| self.node(*id).replica.is_some()).collect();
        let first = living[0];
        for id in &living {
            assert_eq!(self.applied(*id), self.applied(first), "node {id}");
        }
        self.assert_agree();
    }

    /// No two have applied different blocks or states at a height.
    pub fn assert_agree(&self) {
        let mut known = BTreeMap::new();
        for id in self.ids() {
            let reader = self.node(id).store.reader();
            for height in 1..=self.applied(id).get() {
                let height = Height::new(height);
                // Of what came with a snapshot there are no blocks.
                let Some(block) = reader.block(height).unwrap() else { continue };
                let found = (block.hash(), reader.state_root(height).unwrap());
                let before = *known.entry(height).or_insert(found);
                assert_eq!(before, found, "node {id} at height {height}");
            }
        }
    }

    pub fn space(&self, id: u32) -> Space {
        self.replica(id).driver.status().space
    }
}
