//! Blocks for the suite: linked, signed, and otherwise invented.

use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::block::{Block, BlockKind, Body, Draft, Item, SignedHeader};
use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::checked::Checked;
use quorate_chain::commitment::leaf_changes;
use quorate_chain::crypto::{SecretKey, ValidatorKey};
use quorate_chain::evidence::Evidence;
use quorate_chain::execute::Write;
use quorate_chain::ids::{
    AccountKey, BlockRef, ChainId, Hash, Height, NodeId, Nonce, RosterHash, Signature, StateRoot,
    Term, TimeUs, TxId,
};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::roster::{Admins, Lead, Member, Part, QuorumSize, Role, Roster};
use quorate_chain::state::{Changes, StateEntry, StateKey};
use quorate_chain::state_root::StateSize;
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_consensus::log::Anchor;

use crate::store::{Batch, Executed, Standing};

/// The chain of the suite.
pub const CHAIN: ChainId = ChainId::new([9; 32]);

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_seed(&[byte; 32])
}

pub(super) fn account(byte: u8) -> AccountKey {
    secret(byte).account_key()
}

pub(crate) fn key(name: &str) -> StateKey {
    StateKey::Value(Bytes::copy_from_slice(name.as_bytes()))
}

/// The state root that blocks of the suite are said to have.
pub(super) fn root(height: Height) -> StateRoot {
    StateRoot::new(*Hash::of(&[&height.get().to_be_bytes()]).as_bytes())
}

pub(super) fn roster(voters: u32) -> Roster {
    let member = |id: u32| Member {
        id: NodeId::new(id),
        name: format!("node{id}"),
        key: secret(u8::try_from(id + 1).unwrap_or(u8::MAX)).validator_key(),
        p2p: Vec::new(),
        api: Vec::new(),
        role: Role::Voter,
        lead: Lead::Yes,
    };
    let part = Part {
        members: (0..voters).map(member).collect(),
        next_id: NodeId::new(voters),
        changes: 0,
        vote_quorum: QuorumSize::Majority,
        finality_quorum: QuorumSize::Majority,
        admins: Admins { threshold: 1, keys: vec![account(200)] },
    };
    Roster::single(part).unwrap()
}

/// Where a store of the suite begins.
#[must_use]
pub fn genesis() -> Standing {
    let applied = Anchor {
        block: CHAIN.genesis_ref(),
        kind: None,
        time: TimeUs::ZERO,
        leader: None,
        roster: Arc::new(roster(1)),
        roster_since: Height::ZERO,
    };
    let state_root = root(Height::ZERO);
    Standing {
        applied,
        state_root,
        size: None,
        outcomes: Hash::ZERO,
        certificate: None,
        replaced: None,
    }
}

pub(super) fn certificate(block: BlockRef, signers: u32) -> Checked<Certificate> {
    let signed = |id| Signed { signer: NodeId::new(id), signature: Signature::new([7; 64]) };
    let signatures = (0..signers).map(signed).collect();
    let statement = Statement::Ack { block };
    Checked::vouch(Certificate::assemble(statement, RosterHash::ZERO, signatures))
}

pub(super) fn validator(byte: u8) -> ValidatorKey {
    secret(byte).validator_key()
}

/// Two votes of one validator in one term, for different candidates.
pub(super) fn two_votes(validator: u8, term: u64) -> Evidence {
    let vote = |candidate| SignedStatement {
        statement: Statement::Vote {
            term: Term::new(term),
            candidate: NodeId::new(candidate),
            tip: CHAIN.genesis_ref(),
        },
        roster_hash: RosterHash::ZERO,
        signer: NodeId::new(validator.into()),
        signature: Signature::new([validator; 64]),
    };
    Evidence::TwoVotes { a: vote(1), b: vote(2) }
}

pub(super) fn write(index: u32, operation: u8, name: &str, value: Option<&str>) -> Write {
    let key = Bytes::copy_from_slice(name.as_bytes());
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    Write { index, operation, key, value }
}

/// A chain in the making.
#[derive(Debug, Default)]
pub struct Chain {
    pub(super) blocks: Vec<Block>,
}

impl Chain {
    pub(super) fn tip(&self) -> BlockRef {
        self.blocks.last().map_or(CHAIN.genesis_ref(), Block::block_ref)
    }

    /// The header of the tip.
    pub(super) fn header(&self) -> SignedHeader {
        self.blocks.last().expect("a chain with blocks").signed_header().clone()
    }

    /// The ref of a block that is still to come.
    pub(super) fn somewhere(&self, height: u64) -> BlockRef {
        let mut ahead = Self { blocks: self.blocks.clone() };
        while ahead.tip().height.get() < height {
            ahead.push();
        }
        ahead.tip()
    }

    fn push(&mut self) {
        let height = self.tip().height.get() + 1;
        let transactions = (0..2).map(|number| transaction(2 * height + number)).collect();
        self.push_with(Body { item: None, transactions });
    }

    fn push_with(&mut self, body: Body) {
        let height = self.tip().height.get() + 1;
        let draft = Draft {
            chain_id: CHAIN,
            roster_hash: roster(1).hash(),
            kind: body.item.as_ref().map_or(BlockKind::Transactions, Item::kind),
            parent: self.tip(),
            term: Term::new(1),
            proposer: NodeId::ZERO,
            time: TimeUs::new(height),
            executed: Height::ZERO,
            state_root: StateRoot::ZERO,
            body,
        };
        self.blocks.push(Block::seal(draft, &secret(1)).unwrap().into_inner());
    }

    /// So many more blocks of two transactions each, with a certificate for the last. What they make of
    /// the state is written by the first transaction of the last one.
    pub fn batch(&mut self, count: usize, changes: Changes) -> Batch {
        let start = self.blocks.len();
        (0..count).for_each(|_| self.push());
        self.since(start, changes)
    }

    /// One more block, of these transactions.
    pub(super) fn batch_of(&mut self, transactions: Vec<SignedTransaction>) -> Batch {
        let start = self.blocks.len();
        self.push_with(Body { item: None, transactions });
        self.since(start, Changes::new())
    }

    /// One more block, which says that somebody was elected.
    pub(super) fn opening(&mut self) -> Batch {
        let start = self.blocks.len();
        let election = certificate(self.tip(), 1).into_inner();
        self.push_with(Body { item: Some(Item::Opening(election)), transactions: Vec::new() });
        self.since(start, Changes::new())
    }

    fn since(&self, start: usize, mut changes: Changes) -> Batch {
        let executed = |block: &Block| {
            let applied = |tx: &SignedTransaction| Outcome { tx: tx.id(), status: Status::Applied };
            Executed {
                outcomes: block.body().transactions.iter().map(applied).collect(),
                writes: Vec::new(),
                roster: None,
                state_root: root(block.block_ref().height),
                block: Checked::vouch(block.clone()),
            }
        };
        let mut blocks: Vec<_> = self.blocks[start..].iter().map(executed).collect();
        if let Some(last) = blocks.last_mut() {
            let by = last.outcomes.first().map_or(TxId::ZERO, |outcome| outcome.tx);
            last.writes = written(self.tip().height, by, &mut changes);
        }
        let header = self.blocks.last().map(|block| block.header().clone());
        let anchor = Anchor {
            block: self.tip(),
            kind: header.as_ref().map(|header| header.kind),
            time: header.map_or(TimeUs::ZERO, |header| header.time),
            leader: Some((NodeId::ZERO, secret(1).validator_key())),
            ..genesis().applied
        };
        let standing = Standing {
            state_root: root(self.tip().height),
            size: Some(StateSize { count: self.tip().height.get(), top: Hash::new([5; 32]) }),
            outcomes: Hash::of(&[b"link", &self.tip().height.get().to_be_bytes()]),
            certificate: Some(certificate(self.tip(), 1)),
            replaced: None,
            applied: anchor,
        };
        let leaves = leaf_changes(&changes);
        Batch { blocks, changes, leaves, steps: Vec::new(), standing }
    }
}

/// Makes a transaction the writer of all values among the changes.
fn written(height: Height, tx: TxId, changes: &mut Changes) -> Vec<Write> {
    let mut writes = Vec::new();
    for (key, entry) in changes {
        let StateKey::Value(key) = key else { continue };
        let mut value = None;
        if let Some(StateEntry::Value(new)) = entry {
            (new.height, new.tx) = (height, tx);
            value = Some(new.bytes.clone());
        }
        let operation = u8::try_from(writes.len()).unwrap();
        writes.push(Write { index: 0, operation, key: key.clone(), value });
    }
    writes
}

fn transaction(number: u64) -> SignedTransaction {
    let value = Bytes::copy_from_slice(&[b'.'; 64]);
    let content = Transaction {
        chain_id: CHAIN,
        sender: account(1),
        nonce: Nonce::new(number),
        expires: None,
        approvers: Vec::new(),
        operations: vec![Operation::Update { key: Bytes::from_static(b"k"), value }],
    };
    content.sign(&secret(1)).unwrap()
}
