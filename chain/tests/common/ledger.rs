//! A chain whose blocks are executed, and whose headers name the states.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use quorate_chain::block::{Block, BlockKind, Body, Draft, EnterChange, Header, Item};
use quorate_chain::evidence::ProvenItem;
use quorate_chain::execute::{Rules, Writers};
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::{Hash, Height, StateRoot};
use quorate_chain::merkle;
use quorate_chain::outcome::{self, Outcome};
use quorate_chain::proof::{OutcomeProof, Receipt, RosterStep, StateReceipt};
use quorate_chain::recovery::Recovery;
use quorate_chain::roster::{Change, Part, Roster};
use quorate_chain::state::StateKey;
use quorate_chain::transaction::SignedTransaction;

use super::{Replica, World, admin, height, node, term};

/// A chain with all that has ever been in force at each height, the genesis first.
pub struct Ledger {
    pub world: World,
    pub replicas: Vec<Replica>,
    pub outcomes: Vec<Vec<Outcome>>,
    /// How far below the tip the state is that a new header names.
    pub lag: u64,
}

impl Ledger {
    pub fn new(genesis: &Genesis) -> Self {
        let replicas = vec![Replica::new(genesis)];
        Self { world: World::with(genesis), replicas, outcomes: vec![Vec::new()], lag: 1 }
    }

    pub fn tip(&self) -> u64 {
        self.world.tip().height.get()
    }

    pub fn root(&self, at: u64) -> StateRoot {
        self.replicas[usize::try_from(at).unwrap()].commitment.root()
    }

    /// Lets a draft name a state, seals it, and executes it.
    pub fn push(&mut self, mut draft: Draft) {
        let executed = (self.tip() + 1).saturating_sub(self.lag).min(self.tip());
        (draft.executed, draft.state_root) = (height(executed), self.root(executed));
        self.push_as_is(draft);
    }

    /// Seals a draft with whatever state it names, and executes it.
    pub fn push_as_is(&mut self, draft: Draft) {
        let transactions = draft.body.transactions.clone();
        self.world.push(self.world.seal(draft));
        let admins = self.world.roster().current().admins.clone();
        let rules = Rules { writers: Writers::Anyone, admins: &admins };
        let mut replica = self.replicas.last().unwrap().clone();
        let done = replica.execute(&rules, height(self.tip()), &transactions);
        self.replicas.push(replica);
        self.outcomes.push(done.outcomes);
    }

    pub fn open(&mut self, number: u64, leader: u32, voters: &[u32], with: Vec<SignedTransaction>) {
        let mut draft = self.world.opening_draft(number, leader, voters);
        draft.body.transactions = with;
        self.push(draft);
    }

    pub fn transactions(&mut self, transactions: Vec<SignedTransaction>) {
        let body = Body { item: None, transactions };
        self.push(self.world.draft(BlockKind::Transactions, body));
    }

    pub fn empty(&mut self) {
        self.transactions(Vec::new());
    }

    pub fn enter(&mut self, steps: Vec<Change>, signers: &[u32]) {
        self.push(self.world.enter_draft(steps, signers));
    }

    pub fn leave(&mut self, signers: &[u32]) {
        self.push(self.world.leave_draft(signers));
    }

    pub fn promote(&mut self, id: u32, signers: &[u32]) {
        let change = EnterChange::Promotion { id: node(id) };
        let item = Some(Item::Enter { change, certificate: self.world.commit(signers) });
        let body = Body { item, transactions: Vec::new() };
        let mut draft = self.world.draft(BlockKind::Enter, body);
        draft.roster_hash = self.world.roster().promote(node(id)).unwrap().hash();
        self.push(draft);
    }

    /// The admins go on with these, led by the first of them.
    pub fn recover(&mut self, number: u64, with: &[u32]) {
        let mut part: Part = self.world.roster().current().clone();
        part.members.retain(|member| with.contains(&member.id.get()));
        part.changes += 2;
        part.next_id = self.world.roster().parts().map(|old| old.next_id).max().unwrap();
        let roster = Roster::single(part.clone()).unwrap();
        let order = Recovery {
            chain_id: self.world.chain_id,
            roster_hash: self.world.roster().hash(),
            tip: self.world.tip(),
            term: term(number),
            proposer: node(with[0]),
            part,
        };
        let approval = order.approve(&admin(0));
        let item = Some(Item::Recovery(order.assemble(vec![approval])));
        let body = Body { item, transactions: Vec::new() };
        let mut draft = self.world.draft(BlockKind::Recovery, body);
        (draft.term, draft.proposer) = (term(number), node(with[0]));
        draft.roster_hash = roster.hash();
        self.push(draft);
    }

    pub fn block(&self, at: u64) -> &Block {
        &self.world.blocks[usize::try_from(at).unwrap() - 1]
    }

    pub fn header(&self, at: u64) -> Header {
        self.block(at).header().clone()
    }

    /// The item of a block, proven; `None` if it has none.
    pub fn item(&self, at: u64) -> Option<ProvenItem> {
        let body = self.block(at).body();
        let item = body.item.clone()?;
        Some(ProvenItem { item, inclusion: merkle::prove(&body.leaves(), 0).unwrap() })
    }

    /// The step across the change entered at a height, certified at the tip.
    pub fn step(&self, at: u64, signers: &[u32]) -> RosterStep {
        RosterStep {
            parent: self.header(at - 1),
            header: self.header(at),
            item: self.block(at).body().item.clone().unwrap(),
            path: self.world.path(at, signers),
        }
    }

    /// The receipt of a transaction, with its outcome by the state at height `state`.
    pub fn receipt(&self, at: u64, index: usize, state: Option<u64>, signers: &[u32]) -> Receipt {
        let body = self.block(at).body();
        let leaf = index + usize::from(body.item.is_some());
        Receipt {
            transaction: body.transactions[index].clone(),
            header: self.header(at),
            inclusion: merkle::prove(&body.leaves(), leaf).unwrap(),
            outcome: state.map(|state| self.outcome(at, index, state)),
            path: self.world.path(at, signers),
        }
    }

    fn outcome(&self, at: u64, index: usize, state: u64) -> OutcomeProof {
        let of = |at: u64| &self.outcomes[usize::try_from(at).unwrap()];
        let replica = |at: u64| &self.replicas[usize::try_from(at).unwrap()];
        let leaves: Vec<Hash> = of(at).iter().map(Outcome::leaf).collect();
        OutcomeProof {
            outcome: of(at)[index],
            inclusion: merkle::prove(&leaves, index).unwrap(),
            below: replica(at - 1).commitment.outcomes(),
            above: (at + 1..=state).map(|at| outcome::root(of(at))).collect(),
            entries: replica(state).commitment.entries().root(),
        }
    }

    /// The receipt of an entry in the state that the header at a height names.
    pub fn state_receipt(&self, at: u64, key: StateKey, signers: &[u32]) -> StateReceipt {
        let header = self.header(at);
        let replica = &self.replicas[usize::try_from(header.executed.get()).unwrap()];
        let entry = replica.state.entries().get(&key).cloned();
        let (proof, path) = (replica.prove(&key), self.world.path(at, signers));
        StateReceipt { key, entry, proof, header, path }
    }

    pub fn executed(&self, at: u64) -> Height {
        self.header(at).executed
    }
}
