//! A short chain in which everything happens once, with the proofs that follow from it.
//!
//! ```text
//! height  kind          names the state at
//!      1  opening         0   term 1, led by node 0; holds a transaction too
//!      2  transactions    1   one of every outcome
//!      3  transactions    2   empty
//!      4  enter           2   adds a learner
//!      5  leave           2
//!      6  closing         5
//! ```
//!
//! Everything is made of fixed seeds, so every byte is the same on every machine.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use bytes::Bytes;
use quorate_chain::block::{Block, BlockKind, Body, Draft, EnterChange, Header, Item};
use quorate_chain::certificate::CertificatePath;
use quorate_chain::commitment::{Commitment, EntryProof, leaf_changes};
use quorate_chain::evidence::{Evidence, MalformedBlock, ProvenItem, RosterHistory};
use quorate_chain::execute::{Execution, Rules, Writers, execute};
use quorate_chain::genesis::{Genesis, GenesisGrant};
use quorate_chain::ids::{BlockRef, ChainId, Hash, Nonce, TimeUs};
use quorate_chain::merkle;
use quorate_chain::outcome::{self, Outcome};
use quorate_chain::proof::{OutcomeProof, Receipt, RosterStep, StateReceipt, Trust};
use quorate_chain::recovery::{Recovery, SignedRecovery};
use quorate_chain::roster::{Change, Roster};
use quorate_chain::state::{MemoryState, StateEntry, StateKey};
use quorate_chain::state_root::{MemoryLeaves, StateTree};
use quorate_chain::statement::Statement;
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};

use crate::common::{self, World, account, admin, client, height, new_member, node, term};

/// The state at one height, and what the block there did to it.
pub struct Applied {
    pub state: MemoryState,
    pub leaves: MemoryLeaves,
    pub commitment: Commitment,
    pub done: Execution,
}

pub struct Story {
    pub genesis: Genesis,
    pub world: World,
    /// By height, the genesis first.
    pub applied: Vec<Applied>,
}

/// Three validators; only granted keys write.
pub fn genesis() -> Genesis {
    let grant = |id, prefix: &str| GenesisGrant { account: account(id), prefix: prefix.to_owned() };
    let mut genesis = common::genesis(3);
    genesis.name = "story.test".to_owned();
    genesis.writers = Writers::Granted;
    genesis.grants = vec![grant(0, ""), grant(1, "b/"), grant(1, "c/")];
    genesis
}

pub fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: text(key), value: text(value) }
}

pub fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

impl Story {
    pub fn new() -> Self {
        let genesis = genesis();
        let world = World::with(&genesis);
        let mut story = Self { genesis, world, applied: Vec::new() };
        story.begin();
        story.open();
        story.transact();
        let third = story.draft(BlockKind::Transactions, Body::default(), 2);
        story.push(third);
        let mut enter = story.world.enter_draft(vec![Change::Add(new_member(3, true))], &[0, 1]);
        story.name_state(&mut enter, 2);
        story.push(enter);
        let mut leave = story.world.leave_draft(&[0, 2]);
        story.name_state(&mut leave, 2);
        story.push(leave);
        let closing = story.draft(BlockKind::Closing, Body::default(), 5);
        story.push(closing);
        story
    }

    pub fn chain_id(&self) -> ChainId {
        self.world.chain_id
    }

    /// The state before the first block.
    fn begin(&mut self) {
        let mut state = MemoryState::default();
        let mut leaves = MemoryLeaves::new();
        let mut tree = StateTree::new();
        let changes = self.genesis.state();
        tree.update(&leaf_changes(&changes), &leaves).unwrap();
        leaves.apply(&leaf_changes(&changes));
        state.apply(&changes);
        let commitment = Commitment::new(tree, Hash::ZERO);
        self.applied.push(Applied { state, leaves, commitment, done: Execution::default() });
    }

    fn open(&mut self) {
        let mut draft = self.world.opening_draft(1, 0, &[0, 1]);
        draft.body.transactions = vec![self.sign(0, 0, vec![put("a/first", "1")])];
        self.name_state(&mut draft, 0);
        self.push(draft);
    }

    fn transact(&mut self) {
        let many = (0..12).map(|number| put(&format!("a/{number}"), "many")).collect();
        let update = Operation::Update { key: text("a/first"), value: text("2") };
        let granted = Transaction {
            chain_id: self.chain_id(),
            sender: admin(0).account_key(),
            nonce: Nonce::new(0),
            expires: Some(height(100)),
            approvers: Vec::new(),
            operations: vec![Operation::Grant { account: account(2), prefix: text("d/") }],
        };
        let late = Transaction {
            expires: Some(height(1)),
            approvers: Vec::new(),
            operations: vec![put("a/late", "")],
            sender: account(0),
            nonce: Nonce::new(9),
            ..granted.clone()
        };
        let transactions = vec![
            self.sign(0, 3, many),
            self.sign(0, 1, vec![update]),
            self.sign(1, 0, vec![put("b/x", "x"), put("a/x", "x")]),
            self.sign(0, 1, vec![put("a/again", "")]),
            granted.sign(&admin(0)).unwrap(),
            late.sign(&client(0)).unwrap(),
        ];
        let body = Body { item: None, transactions };
        let draft = self.draft(BlockKind::Transactions, body, 1);
        self.push(draft);
    }

    pub fn sign(&self, id: u8, nonce: u64, operations: Vec<Operation>) -> SignedTransaction {
        common::transaction(self.chain_id(), &client(id), nonce, operations)
    }

    /// A draft on the tip that names the state at `executed`.
    pub fn draft(&self, kind: BlockKind, body: Body, executed: usize) -> Draft {
        let mut draft = self.world.draft(kind, body);
        self.name_state(&mut draft, executed);
        draft
    }

    fn name_state(&self, draft: &mut Draft, executed: usize) {
        draft.executed = height(executed as u64);
        draft.state_root = self.applied[executed].commitment.root();
    }

    fn push(&mut self, draft: Draft) {
        let block = self.world.seal(draft);
        let before = self.applied.last().unwrap();
        let rules =
            Rules { writers: self.genesis.writers, admins: &self.world.roster().current().admins };
        let transactions = &block.body().transactions;
        let done = execute(&before.state, &rules, block.header().height, transactions).unwrap();
        let (mut state, mut leaves) = (before.state.clone(), before.leaves.clone());
        let mut commitment = before.commitment.clone();
        leaves.apply(&commitment.advance(&done, &before.leaves).unwrap());
        state.apply(&done.changes);
        self.applied.push(Applied { state, leaves, commitment, done });
        self.world.push(block);
    }

    pub fn block(&self, at: usize) -> &Block {
        &self.world.blocks[at - 1]
    }

    pub fn header(&self, at: usize) -> &Header {
        self.block(at).header()
    }

    /// The roster in force at a block.
    pub fn roster_at(&self, at: usize) -> &Roster {
        let hash = self.header(at).roster_hash;
        self.world.rosters.iter().find(|roster| roster.hash() == hash).unwrap()
    }

    /// The headers above `covered` up to `certified`, and the acks for the latter.
    pub fn path(&self, covered: usize, certified: usize, signers: &[u32]) -> CertificatePath {
        let ack = Statement::Ack { block: self.block(certified).block_ref() };
        let headers = (covered + 1..=certified).map(|at| self.header(at).clone()).collect();
        let certificate = self.world.certificate_by(ack, self.roster_at(certified), signers);
        CertificatePath { headers, certificate }
    }

    /// What a client trusts that has the genesis file.
    pub fn trust(&self) -> Trust {
        let roster = self.genesis.roster().unwrap();
        Trust::new(self.chain_id(), roster, self.chain_id().genesis_ref())
    }

    /// The receipt of a transaction in a block; with its outcome, if the state at a height is given.
    pub fn receipt(&self, at: usize, place: usize, state_at: Option<usize>) -> Receipt {
        let block = self.block(at);
        let leaves = block.body().leaves();
        let items = usize::from(block.body().item.is_some());
        let outcome = state_at.map(|state_at| self.outcome_proof(at, place, state_at));
        Receipt {
            transaction: block.body().transactions[place].clone(),
            header: block.header().clone(),
            inclusion: merkle::prove(&leaves, items + place).unwrap(),
            outcome,
            path: self.path(at, if state_at.is_some() { 3 } else { at }, &[0, 2]),
        }
    }

    fn outcome_proof(&self, at: usize, place: usize, state_at: usize) -> OutcomeProof {
        let outcomes = &self.applied[at].done.outcomes;
        let leaves: Vec<_> = outcomes.iter().map(Outcome::leaf).collect();
        let above = &self.applied[at + 1..=state_at];
        OutcomeProof {
            outcome: outcomes[place],
            inclusion: merkle::prove(&leaves, place).unwrap(),
            below: self.applied[at - 1].commitment.outcomes(),
            above: above.iter().map(|applied| outcome::root(&applied.done.outcomes)).collect(),
            entries: self.applied[state_at].commitment.entries().root(),
        }
    }

    /// What the state at height 2 has under a key, named by block 3.
    pub fn state_receipt(&self, key: StateKey) -> StateReceipt {
        let applied = &self.applied[2];
        let place = applied.commitment.entries().prove(key.path(), &[], &applied.leaves).unwrap();
        StateReceipt {
            entry: applied.state.entries().get(&key).cloned(),
            key,
            proof: EntryProof {
                entries: applied.commitment.entries().root(),
                outcomes: applied.commitment.outcomes(),
                place,
            },
            header: self.header(3).clone(),
            path: self.path(3, 3, &[1, 2]),
        }
    }

    pub fn entry(&self, key: &StateKey) -> StateEntry {
        self.applied[2].state.entries()[key].clone()
    }

    /// From the first roster to the one with the learner.
    pub fn roster_step(&self) -> RosterStep {
        RosterStep {
            parent: self.header(3).clone(),
            header: self.header(4).clone(),
            item: self.block(4).body().item.clone().unwrap(),
            path: self.path(4, 4, &[0, 2]),
        }
    }

    /// Over block 3, nodes 1 and 2 go on in term 2, led by 2.
    pub fn recovery(&self) -> SignedRecovery {
        let old = self.roster_at(3);
        let mut part = old.current().clone();
        part.members.retain(|member| member.id >= node(1));
        part.changes += 1;
        let recovery = Recovery {
            chain_id: self.chain_id(),
            roster_hash: old.hash(),
            tip: self.block(3).block_ref(),
            term: term(2),
            proposer: node(2),
            part,
        };
        let approval = recovery.approve(&admin(1));
        recovery.assemble(vec![approval])
    }

    /// The block that carries the recovery.
    pub fn recovery_block(&self) -> Block {
        let signed = self.recovery();
        let roster = Roster::single(signed.recovery().part.clone()).unwrap();
        let body = Body { item: Some(Item::Recovery(signed)), transactions: Vec::new() };
        let mut draft = self.draft(BlockKind::Recovery, body, 2);
        draft.parent = self.block(3).block_ref();
        draft.time = TimeUs::new(self.header(3).time.get() + 1);
        (draft.term, draft.proposer, draft.roster_hash) = (term(2), node(2), roster.hash());
        self.world.seal(draft)
    }

    /// The block by which the leader promotes the learner, on block 6.
    pub fn promotion_block(&self) -> Block {
        let change = EnterChange::Promotion { id: node(3) };
        let certificate = self.world.commit(&[1, 2]);
        let item = Some(Item::Enter { change, certificate });
        let body = Body { item, transactions: Vec::new() };
        let mut draft = self.draft(BlockKind::Enter, body, 5);
        draft.roster_hash = self.world.roster().promote(node(3)).unwrap().hash();
        self.world.seal(draft)
    }

    /// One of each, and all forms of the last.
    pub fn evidence(&self) -> Vec<(&'static str, Evidence)> {
        let genesis = &self.world.rosters[0];
        let sign = |statement| self.world.sign(statement, genesis, 1);
        let (low, high) = (self.block(2).block_ref(), self.block(3).block_ref());
        let other = BlockRef { hash: self.block(1).hash(), ..high };
        let vote = |number, candidate, tip| {
            sign(Statement::Vote { term: term(number), candidate: node(candidate), tip })
        };
        let ack = |block| sign(Statement::Ack { block });
        let twin = self.sealed_on(2, |draft| draft.time = TimeUs::new(draft.time.get() + 7));
        let early = self.sealed_on(2, |draft| draft.time = TimeUs::new(7));
        let unelected = self.unelected();
        let parent = || Some(self.header(2).clone());
        let inclusion = merkle::prove(&unelected.body().leaves(), 0).unwrap();
        let item = ProvenItem { item: unelected.body().item.clone().unwrap(), inclusion };
        let malformed = |block: &Block, item| {
            let child = block.signed_header().clone();
            Evidence::Malformed(Box::new(MalformedBlock { parent: parent(), child, item }))
        };
        vec![
            (
                "two-blocks",
                Evidence::TwoBlocks {
                    a: self.block(3).signed_header().clone(),
                    b: twin.signed_header().clone(),
                },
            ),
            ("two-votes", Evidence::TwoVotes { a: vote(2, 1, high), b: vote(2, 2, high) }),
            ("two-acks", Evidence::TwoAcks { a: ack(high), b: ack(other) }),
            ("vote-below-ack", Evidence::VoteBelowAck { ack: ack(high), vote: vote(2, 2, low) }),
            ("malformed-without-item", malformed(&early, None)),
            ("malformed-with-item", malformed(&unelected, Some(item))),
            (
                "malformed-on-genesis",
                Evidence::Malformed(Box::new(MalformedBlock {
                    parent: None,
                    child: self.unopened().signed_header().clone(),
                    item: None,
                })),
            ),
        ]
    }

    /// A block on the genesis that opens no term.
    fn unopened(&self) -> Block {
        let mut draft = self.draft(BlockKind::Transactions, Body::default(), 0);
        draft.parent = self.chain_id().genesis_ref();
        (draft.term, draft.roster_hash) = (term(1), self.world.rosters[0].hash());
        draft.time = TimeUs::new(self.genesis.time_us.get() + 1_000);
        self.world.seal(draft)
    }

    /// The rosters of the chain.
    pub fn rosters(&self) -> RosterHistory<'_> {
        let [genesis, later @ ..] = &self.world.rosters[..] else { unreachable!() };
        RosterHistory { genesis_time: self.genesis.time_us, genesis, later }
    }

    /// An empty block on block `at`, by its proposer.
    fn sealed_on(&self, at: usize, change: impl FnOnce(&mut Draft)) -> Block {
        let mut draft = self.draft(BlockKind::Transactions, Body::default(), 2);
        draft.parent = self.block(at).block_ref();
        draft.roster_hash = self.header(at).roster_hash;
        draft.time = TimeUs::new(self.header(at).time.get() + 1_000);
        change(&mut draft);
        self.world.seal(draft)
    }

    /// A block on block 2 that opens term 2 for node 1 with a single vote.
    fn unelected(&self) -> Block {
        let tip = self.block(2).block_ref();
        let vote = Statement::Vote { term: term(2), candidate: node(1), tip };
        let certificate = self.world.certificate_by(vote, &self.world.rosters[0], &[1]);
        self.sealed_on(2, |draft| {
            draft.kind = BlockKind::Opening;
            draft.body.item = Some(Item::Opening(certificate));
            (draft.term, draft.proposer) = (term(2), node(1));
        })
    }
}
