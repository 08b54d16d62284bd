//! Keys, signatures that cost a hash, a genesis and transactions.

use bytes::Bytes;
use quorate_chain::crypto::{
    BadSender, BadSignature, SecretKey, SenderSignature, Signer, ValidatorKey, Verifier,
};
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisValidator};
use quorate_chain::ids::{ChainId, Hash, Height, NodeId, Nonce, Signature, TimeUs};
use quorate_chain::roster::{Change, Lead, Roster, RosterChange, SignedRosterChange};
use quorate_chain::transaction::{Approval, Operation, SignedTransaction, Transaction};

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

#[derive(Debug)]
pub struct Key(pub ValidatorKey);

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

/// The secret key of client `id`.
pub fn client(id: u8) -> SecretKey {
    SecretKey::from_seed(&[100 + id; 32])
}

pub fn genesis(voters: u32) -> Genesis {
    Genesis {
        version: 1,
        name: "test".to_owned(),
        time_us: TimeUs::new(0),
        testnet: true,
        writers: Writers::Anyone,
        admins: GenesisAdmins {
            threshold: 1,
            keys: vec![SecretKey::from_seed(&[200; 32]).account_key()],
        },
        validators: (0..voters)
            .map(|id| GenesisValidator {
                name: format!("node{id}"),
                key: key(id),
                p2p: Vec::new(),
                api: Vec::new(),
                lead: Lead::Yes,
            })
            .collect(),
        vote_quorum: None,
        finality_quorum: None,
        grants: Vec::new(),
    }
}

/// A transaction that writes its nonce, by client `id`.
pub fn update(chain_id: ChainId, id: u8, nonce: u64) -> SignedTransaction {
    write(chain_id, id, nonce, None, nonce.to_string().as_bytes())
}

pub fn expiring(chain_id: ChainId, id: u8, nonce: u64, expires: u64) -> SignedTransaction {
    write(chain_id, id, nonce, Some(Height::new(expires)), nonce.to_string().as_bytes())
}

pub fn write(
    chain_id: ChainId,
    id: u8,
    nonce: u64,
    expires: Option<Height>,
    value: &[u8],
) -> SignedTransaction {
    let key = Bytes::from(format!("client{id}"));
    let operation = Operation::Update { key, value: Bytes::copy_from_slice(value) };
    let content = Transaction {
        chain_id,
        sender: client(id).account_key(),
        nonce: Nonce::new(nonce),
        expires,
        approvers: Vec::new(),
        operations: vec![operation],
    };
    content.sign(&client(id)).unwrap()
}

/// A change of the roster: node 0 gets another name.
pub fn renamed(chain_id: ChainId, roster: &Roster, name: &str) -> SignedRosterChange {
    let update = Change::Update {
        id: NodeId::ZERO,
        name: name.to_owned(),
        p2p: Vec::new(),
        api: Vec::new(),
        lead: Lead::Yes,
    };
    changed(chain_id, roster, update)
}

/// A change that takes a member out.
pub fn without(chain_id: ChainId, roster: &Roster, id: u32) -> SignedRosterChange {
    changed(chain_id, roster, Change::Remove { id: NodeId::new(id) })
}

fn changed(chain_id: ChainId, roster: &Roster, step: Change) -> SignedRosterChange {
    let change = RosterChange { chain_id, roster_hash: roster.hash(), steps: vec![step] };
    let admin = SecretKey::from_seed(&[200; 32]);
    let signature = stand_in(&admin.validator_key(), &change.message());
    let approval = Approval { admin: admin.account_key(), signature };
    change.assemble(vec![approval])
}
