//! Keys and signatures that cost a hash, and the roster and blocks made with them.

use std::sync::LazyLock;

use quorate_chain::block::{Block, Body, Draft};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::{
    BadSender, BadSignature, SecretKey, SenderSignature, Signer, ValidatorKey, Verifier,
};
use quorate_chain::ids::{ChainId, Hash, Height, NodeId, RosterHash, Signature, StateRoot};
use quorate_chain::roster::{Admins, Lead, Member, Part, QuorumSize, Role, Roster};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::effect::Slot;

pub const CHAIN: ChainId = ChainId::new([7; 32]);

/// Signatures that cost a hash: good for exactly one key and message.
#[derive(Debug)]
pub struct StandIn;

pub fn stand_in(key: &ValidatorKey, message: &[u8]) -> Signature {
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

pub struct Key(pub ValidatorKey);

impl Signer for Key {
    fn key(&self) -> ValidatorKey {
        self.0.clone()
    }

    fn sign(&self, message: &[u8]) -> Signature {
        stand_in(&self.0, message)
    }
}

/// A validator's key: made once, for that takes longer than all the rest.
pub fn key(id: u32) -> ValidatorKey {
    static KEYS: LazyLock<Vec<ValidatorKey>> = LazyLock::new(|| {
        (1..=32).map(|seed| SecretKey::from_seed(&[seed; 32]).validator_key()).collect()
    });
    KEYS[id as usize].clone()
}

/// The seed of the admin's key.
pub const fn admin() -> [u8; 32] {
    [200; 32]
}

pub fn roster(voters: u32) -> Roster {
    let admin = SecretKey::from_seed(&admin()).account_key();
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

/// Seals a block for a slot.
pub fn seal(slot: &Slot, signer: &Key) -> Checked<Block> {
    seal_with(slot, Vec::new(), signer)
}

/// Seals a block with these transactions for a slot.
pub fn seal_with(
    slot: &Slot,
    transactions: Vec<SignedTransaction>,
    signer: &Key,
) -> Checked<Block> {
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
        body: Body { item: slot.item.clone(), transactions },
    };
    Block::seal(draft, signer).unwrap()
}

/// Signs a statement with a validator's key.
pub fn sign(id: u32, statement: Statement, roster_hash: RosterHash) -> SignedStatement {
    sign_on(CHAIN, id, statement, roster_hash)
}

/// Signs a statement about a chain with a validator's key.
pub fn sign_on(
    chain_id: ChainId,
    id: u32,
    statement: Statement,
    roster_hash: RosterHash,
) -> SignedStatement {
    let signature = stand_in(&key(id), &statement.message(chain_id, roster_hash));
    SignedStatement { statement, roster_hash, signer: NodeId::new(id), signature }
}

/// Signs a statement, and takes one's own word for it.
pub fn signed(id: u32, statement: Statement, roster_hash: RosterHash) -> Checked<SignedStatement> {
    Checked::vouch(sign(id, statement, roster_hash))
}

/// The state after a block, wherever nothing has gone wrong.
pub fn state_root(height: Height) -> StateRoot {
    StateRoot::new(*Hash::of(&[b"state", &height.get().to_be_bytes()]).as_bytes())
}
