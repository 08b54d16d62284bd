//! What must hold of any bytes at all: they decode to what encodes to the very same bytes, or are
//! refused, and neither decoding nor any verification of what was decoded panics.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bytes::Bytes;
use quorate_chain::block::{Block, Header, Item, SignedHeader};
use quorate_chain::certificate::{Certificate, CertificatePath};
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::commitment::EntryProof;
use quorate_chain::crypto::{Ed25519, ValidatorKey};
use quorate_chain::evidence::{Evidence, ProvenItem};
use quorate_chain::execute::{Rules, execute};
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::{Hash, NodeId, Nonce};
use quorate_chain::merkle::InclusionProof;
use quorate_chain::outcome::Outcome;
use quorate_chain::proof::{Audit, Receipt, RosterStep, StateReceipt};
use quorate_chain::recovery::SignedRecovery;
use quorate_chain::roster::{Change, Member, Part, QuorumKind, Roster, SignedRosterChange};
use quorate_chain::state::{StateEntry, StateKey};
use quorate_chain::state_root::StateProof;
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_chain::transaction::{Operation, SignedTransaction};
use quorate_chain::well_formed::{self, Parent};

use crate::story::Story;

static STORY: LazyLock<Story> = LazyLock::new(Story::new);

/// Decodes, and encodes again.
fn decode<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let bytes = Bytes::copy_from_slice(bytes);
    let value = T::from_bytes(&bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes, "there is another encoding of the same");
    Some(value)
}

/// A key for any id.
fn key(id: NodeId) -> ValidatorKey {
    let member =
        STORY.world.roster().member(id).or_else(|| STORY.world.roster().member(NodeId::ZERO));
    member.unwrap().key.clone()
}

/// Each returns whether the bytes decode.
pub type Probe = fn(&[u8]) -> bool;

/// By the name of the fixtures.
pub const PROBES: &[(&str, Probe)] = &[
    ("block", block),
    ("certificate", certificate),
    ("certificate-path", certificate_path),
    ("entry-proof", entry_proof),
    ("evidence", evidence),
    ("header", |bytes| {
        decode::<Header>(bytes).is_some_and(|header| header.hash() != header.parent)
    }),
    ("inclusion-proof", inclusion_proof),
    ("item", |bytes| decode::<Item>(bytes).map(|item| item.leaf()).is_some()),
    ("member", |bytes| decode::<Member>(bytes).is_some()),
    ("operation", |bytes| decode::<Operation>(bytes).map(|one| one.key().clone()).is_some()),
    ("outcome", |bytes| decode::<Outcome>(bytes).map(|outcome| outcome.leaf()).is_some()),
    ("part", |bytes| decode::<Part>(bytes).is_some_and(|part| part.check().is_ok())),
    ("receipt", receipt),
    ("recovery", recovery),
    ("roster", roster),
    ("roster-change", roster_change),
    ("roster-change-step", |bytes| decode::<Change>(bytes).is_some()),
    ("roster-step", roster_step),
    ("signed-header", signed_header),
    ("signed-statement", signed_statement),
    ("state-entry", state_entry),
    ("state-key", |bytes| decode::<StateKey>(bytes).map(|key| key.path()).is_some()),
    ("state-proof", state_proof),
    ("state-receipt", state_receipt),
    ("statement", |bytes| decode::<Statement>(bytes).is_some()),
    ("transaction", transaction),
];

pub fn probe_of(kind: &str) -> Probe {
    PROBES.iter().find(|(name, _)| *name == kind).map(|(_, probe)| *probe).unwrap()
}

pub fn transaction(bytes: &[u8]) -> bool {
    let Some(signed) = decode::<SignedTransaction>(bytes) else { return false };
    let message = signed.content().message();
    assert!(bytes.starts_with(&message));
    assert_eq!(signed.id().as_bytes(), Hash::of(&[&message]).as_bytes());
    let _ = signed.verify(STORY.chain_id(), &Ed25519);
    true
}

pub fn roster_change(bytes: &[u8]) -> bool {
    let Some(signed) = decode::<SignedRosterChange>(bytes) else { return false };
    let roster = STORY.roster_at(3);
    let _ = roster.apply(signed.change());
    let mut ours = signed.change().clone();
    ours.roster_hash = roster.hash();
    if let Ok(joint) = roster.apply(&ours) {
        assert_eq!(decode::<Roster>(&joint.to_bytes()), Some(joint));
    }
    let _ = signed.verify(STORY.chain_id(), roster, &Ed25519);
    true
}

pub fn roster(bytes: &[u8]) -> bool {
    let Some(roster) = decode::<Roster>(bytes) else { return false };
    assert_eq!(roster.hash().as_bytes(), Hash::of(&[b"quorate/1/roster", bytes]).as_bytes());
    let all: BTreeSet<_> = roster.ids();
    for kind in [QuorumKind::Election, QuorumKind::Commit, QuorumKind::Finality] {
        assert!(roster.has_quorum(kind, &all) && !roster.has_quorum(kind, &BTreeSet::new()));
    }
    for id in &all {
        let _ = (roster.member(*id).is_some(), roster.is_voter(*id), roster.promote(*id));
    }
    assert_eq!(roster.left().is_some(), roster.is_joint());
    true
}

pub fn signed_statement(bytes: &[u8]) -> bool {
    let Some(signed) = decode::<SignedStatement>(bytes) else { return false };
    let _ = signed.verify(STORY.chain_id(), STORY.roster_at(1), &Ed25519);
    true
}

pub fn certificate(bytes: &[u8]) -> bool {
    let Some(certificate) = decode::<Certificate>(bytes) else { return false };
    let _ = (certificate.kind(), certificate.term(), certificate.block());
    for roster in &STORY.world.rosters {
        let _ = certificate.check(STORY.chain_id(), roster, &Ed25519);
    }
    true
}

pub fn certificate_path(bytes: &[u8]) -> bool {
    let Some(path) = decode::<CertificatePath>(bytes) else { return false };
    for at in [1, 3] {
        let covered = STORY.block(at).block_ref();
        let _ = path.check(covered, STORY.chain_id(), STORY.roster_at(3), &Ed25519);
        let _ = STORY.trust().check_path(covered, &path, &Ed25519);
    }
    true
}

pub fn signed_header(bytes: &[u8]) -> bool {
    let Some(signed) = decode::<SignedHeader>(bytes) else { return false };
    let _ = signed.check(&key(signed.header.proposer), &Ed25519);
    let mut audit =
        Audit::genesis(STORY.chain_id(), STORY.genesis.time_us, STORY.genesis.roster().unwrap());
    let _ = audit.step(&signed, None, &Ed25519);
    true
}

pub fn block(bytes: &[u8]) -> bool {
    let Some(block) = decode::<Block>(bytes) else { return false };
    let (header, item) = (block.header(), block.body().item.as_ref());
    for at in 1..=6 {
        let parent = Parent::of(STORY.header(at), STORY.roster_at(at));
        let _ = well_formed::check(&parent, header, item, STORY.chain_id(), &Ed25519);
    }
    let rules =
        Rules { writers: STORY.genesis.writers, admins: &STORY.roster_at(3).current().admins };
    for applied in &STORY.applied {
        let transactions = &block.body().transactions;
        let done = execute(&applied.state, &rules, header.height, transactions).unwrap();
        assert_eq!(done.outcomes.len(), transactions.len());
        applied.commitment.clone().advance(&done, &applied.leaves).unwrap();
    }
    let key = key(header.proposer);
    let _ = block.verify(STORY.chain_id(), &key, &Ed25519);
    true
}

pub fn recovery(bytes: &[u8]) -> bool {
    let Some(signed) = decode::<SignedRecovery>(bytes) else { return false };
    for roster in &STORY.world.rosters {
        let _ = signed.check(STORY.chain_id(), roster, &Ed25519);
    }
    true
}

pub fn evidence(bytes: &[u8]) -> bool {
    let Some(evidence) = decode::<Evidence>(bytes) else { return false };
    let _ = evidence.verify(STORY.chain_id(), &STORY.rosters(), &Ed25519);
    true
}

pub fn state_entry(bytes: &[u8]) -> bool {
    let Some(entry) = decode::<StateEntry>(bytes) else { return false };
    let _ = entry.digest();
    match entry {
        StateEntry::Value(_) => {}
        StateEntry::Grants(grants) => assert!(grants.0.iter().all(|prefix| grants.allow(prefix))),
        StateEntry::Nonces(mut nonces) => {
            assert!(nonces.base() <= nonces.next());
            let around =
                nonces.base().get().saturating_sub(2)..=nonces.next().get().saturating_add(2);
            for nonce in around.clone().chain([0, u64::MAX]) {
                assert_eq!(nonces.check(Nonce::new(nonce)), nonces.clone().take(Nonce::new(nonce)));
                let _ = nonces.take(Nonce::new(nonce));
                assert!(nonces.check(Nonce::new(nonce)).is_err(), "{nonce} twice");
            }
        }
    }
    true
}

pub fn inclusion_proof(bytes: &[u8]) -> bool {
    let Some(proof) = decode::<InclusionProof>(bytes) else { return false };
    assert!(proof.root(Hash::ZERO).is_ok());
    let _ = proof.verify(Hash::ZERO, proof.count, Hash::ZERO);
    let (item, header) = (STORY.block(4).body().item.clone().unwrap(), STORY.header(4));
    let _ = ProvenItem { item, inclusion: proof }.check(header);
    true
}

pub fn state_proof(bytes: &[u8]) -> bool {
    let Some(proof) = decode::<StateProof>(bytes) else { return false };
    let root = STORY.applied[2].commitment.entries().root();
    for path in
        [Hash::ZERO, Hash::new([0xff; 32]), proof.bucket.last().map_or(root, |leaf| leaf.path)]
    {
        let _ = proof.verify(root, path);
    }
    true
}

pub fn entry_proof(bytes: &[u8]) -> bool {
    let Some(proof) = decode::<EntryProof>(bytes) else { return false };
    let applied = &STORY.applied[2];
    for (key, entry) in applied.state.entries() {
        let _ = proof.check(applied.commitment.root(), key, Some(entry));
        let _ = proof.check(applied.commitment.root(), key, None);
    }
    true
}

pub fn receipt(bytes: &[u8]) -> bool {
    let Some(receipt) = decode::<Receipt>(bytes) else { return false };
    let _ = receipt.check(&mut STORY.trust(), &Ed25519);
    true
}

pub fn state_receipt(bytes: &[u8]) -> bool {
    let Some(receipt) = decode::<StateReceipt>(bytes) else { return false };
    let _ = receipt.check(&mut STORY.trust(), &Ed25519);
    true
}

pub fn roster_step(bytes: &[u8]) -> bool {
    let Some(step) = decode::<RosterStep>(bytes) else { return false };
    let mut trust = STORY.trust();
    let _ = trust.cross(&step, &Ed25519);
    let _ = trust.cross(&STORY.roster_step(), &Ed25519);
    let _ = trust.cross(&step, &Ed25519);
    true
}

/// Not canonical, since it is JSON: but what it says can be written and reads the same.
pub fn genesis(bytes: &[u8]) -> bool {
    let Ok(genesis) = Genesis::parse(bytes) else { return false };
    assert_eq!(Genesis::parse(&genesis.to_file()).unwrap(), genesis);
    let roster = genesis.roster().unwrap();
    assert_eq!(decode::<Roster>(&roster.to_bytes()), Some(roster));
    for (key, entry) in genesis.state() {
        assert_eq!(decode::<StateKey>(&key.to_bytes()), Some(key));
        assert!(state_entry(&entry.unwrap().to_bytes()));
    }
    true
}
