//! Every single bit of what is signed matters: flip any one, and it is refused.
//!
//! Each test takes one encoded value, flips each of its bits in turn, and asks that the bytes no
//! longer decode or that what they decode to no longer verifies. A verifier is given what it is
//! given in the product: the chain, the rosters and, for a signer, the key that the roster has for
//! the id that stands in the bytes.
//!
//! There is one exception, and its test says exactly what it is: a receipt that proves that a key
//! has nothing proves the same of every other key whose place is in the same bucket of the tree.
#![allow(clippy::unwrap_used)]

mod common;
mod story;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::{account, admin, client, term};
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::{Certificate, CertificatePath};
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::crypto::{Ed25519, ValidatorKey};
use quorate_chain::evidence::Evidence;
use quorate_chain::ids::{NodeId, Nonce};
use quorate_chain::proof::{Receipt, RosterStep, StateReceipt, Trust};
use quorate_chain::recovery::SignedRecovery;
use quorate_chain::roster::{Change, Roster, SignedRosterChange};
use quorate_chain::state::StateKey;
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use story::{Story, put, text};

/// The bits whose flip is accepted, counted from the highest of the first byte.
fn accepted(value: &impl Encode, accepts: impl Fn(&Bytes) -> bool) -> Vec<usize> {
    let good = value.to_bytes();
    assert!(accepts(&good), "the value itself is good");
    let flipped = |bit: &usize| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        accepts(&Bytes::from(bytes))
    };
    (0..8 * good.len()).filter(flipped).collect()
}

fn none_accepted(name: &str, value: &impl Encode, accepts: impl Fn(&Bytes) -> bool) {
    let bits = accepted(value, accepts);
    let bytes: BTreeSet<_> = bits.iter().map(|bit| bit / 8).collect();
    assert!(bits.is_empty(), "{name}: flips at these bytes are accepted: {bytes:?}");
}

fn key_of(roster: &Roster, id: NodeId) -> Option<&ValidatorKey> {
    roster.member(id).map(|member| &member.key)
}

#[test]
fn of_a_transaction() {
    let story = Story::new();
    let verify = |bytes: &Bytes| {
        let signed = SignedTransaction::from_bytes(bytes);
        signed.is_ok_and(|signed| signed.verify(story.chain_id(), &Ed25519).is_ok())
    };
    none_accepted("plain", &story.sign(0, 7, vec![put("key", "value")]), verify);
    let mut approvers = vec![admin(0).account_key(), admin(1).account_key()];
    approvers.sort();
    let content = Transaction {
        chain_id: story.chain_id(),
        sender: account(0),
        nonce: Nonce::new(7),
        expires: Some(common::height(9)),
        approvers,
        operations: vec![
            Operation::Remove { key: text("key") },
            Operation::Cas { key: text("key"), expected: None, value: text("value") },
            Operation::Grant { account: account(1), prefix: text("") },
        ],
    };
    let message = content.message();
    let approvals = [content.approve(&admin(0)), content.approve(&admin(1))];
    let signed = content.assemble(client(0).sign(&message), &approvals).unwrap();
    none_accepted("approved", &signed, verify);
}

#[test]
fn of_a_signed_header() {
    let story = Story::new();
    let signed = story.block(2).signed_header();
    none_accepted("header", signed, |bytes| {
        SignedHeader::from_bytes(bytes).is_ok_and(|signed| {
            key_of(story.roster_at(2), signed.header.proposer)
                .is_some_and(|key| signed.check(key, &Ed25519).is_ok())
        })
    });
}

fn of_block(block: &Block, roster: &Roster, story: &Story) {
    let name = format!("{block:?}");
    none_accepted(&name, block, |bytes| {
        Block::from_bytes(bytes).is_ok_and(|block| {
            key_of(roster, block.header().proposer)
                .is_some_and(|key| block.clone().verify(story.chain_id(), key, &Ed25519).is_ok())
        })
    });
}

#[test]
fn of_a_block_with_transactions() {
    let story = Story::new();
    for at in 1..=3 {
        of_block(story.block(at), story.roster_at(at), &story);
    }
}

#[test]
fn of_a_block_without_transactions() {
    let story = Story::new();
    for at in 4..=6 {
        of_block(story.block(at), story.roster_at(at), &story);
    }
    of_block(&story.promotion_block(), story.world.roster(), &story);
    of_block(&story.recovery_block(), story.roster_at(3), &story);
}

#[test]
fn of_a_statement() {
    let story = Story::new();
    let (tip, roster) = (story.block(3).block_ref(), story.roster_at(3));
    let (number, id) = (term(2), common::node(2));
    for statement in [
        Statement::PreVote { term: number, candidate: id, tip },
        Statement::Vote { term: number, candidate: id, tip },
        Statement::Ack { block: tip },
        Statement::Handover { term: number, to: id, tip },
    ] {
        let signed = story.world.sign(statement, roster, 1);
        none_accepted("statement", &signed, |bytes| {
            SignedStatement::from_bytes(bytes)
                .is_ok_and(|signed| signed.verify(story.chain_id(), roster, &Ed25519).is_ok())
        });
    }
}

/// With one signature more than a quorum takes: each one counts.
#[test]
fn of_a_certificate() {
    let story = Story::new();
    let (tip, roster) = (story.block(3).block_ref(), story.roster_at(3));
    let (number, candidate) = (term(2), common::node(1));
    for statement in [
        Statement::PreVote { term: number, candidate, tip },
        Statement::Vote { term: number, candidate, tip },
        Statement::Ack { block: tip },
    ] {
        let certificate = story.world.certificate_by(statement, roster, &[0, 1, 2]);
        none_accepted("certificate", &certificate, |bytes| {
            Certificate::from_bytes(bytes).is_ok_and(|certificate| {
                certificate.verify(story.chain_id(), roster, &Ed25519).is_ok()
            })
        });
    }
}

#[test]
fn of_a_certificate_path() {
    let story = Story::new();
    let covered = story.block(1).block_ref();
    none_accepted("path", &story.path(1, 3, &[0, 2]), |bytes| {
        CertificatePath::from_bytes(bytes).is_ok_and(|path| {
            path.check(covered, story.chain_id(), story.roster_at(3), &Ed25519).is_ok()
        })
    });
}

#[test]
fn of_a_roster_change_and_a_recovery() {
    let story = Story::new();
    let roster = story.roster_at(3);
    let steps =
        vec![Change::Add(common::new_member(3, false)), Change::Remove { id: common::node(0) }];
    let change = quorate_chain::roster::RosterChange {
        chain_id: story.chain_id(),
        roster_hash: roster.hash(),
        steps,
    };
    let approvals = vec![change.approve(&admin(0)), change.approve(&admin(1))];
    none_accepted("roster change", &change.assemble(approvals), |bytes| {
        SignedRosterChange::from_bytes(bytes)
            .is_ok_and(|signed| signed.verify(story.chain_id(), roster, &Ed25519).is_ok())
    });
    none_accepted("recovery", &story.recovery(), |bytes| {
        SignedRecovery::from_bytes(bytes)
            .is_ok_and(|signed| signed.check(story.chain_id(), roster, &Ed25519).is_ok())
    });
}

#[test]
fn of_a_roster_step() {
    let story = Story::new();
    let trust = story.trust();
    none_accepted("roster step", &story.roster_step(), |bytes| {
        RosterStep::from_bytes(bytes).is_ok_and(|step| trust.clone().cross(&step, &Ed25519).is_ok())
    });
}

#[test]
fn of_a_receipt() {
    let story = Story::new();
    let trust = story.trust();
    for (at, place, state_at) in [(1, 0, None), (1, 0, Some(2)), (2, 2, Some(2))] {
        let receipt = story.receipt(at, place, state_at);
        none_accepted("receipt", &receipt, |bytes| {
            Receipt::from_bytes(bytes)
                .is_ok_and(|receipt| receipt.check(&mut trust.clone(), &Ed25519).is_ok())
        });
    }
}

fn state_receipt_is_good(trust: &Trust, bytes: &Bytes) -> bool {
    StateReceipt::from_bytes(bytes)
        .is_ok_and(|receipt| receipt.check(&mut trust.clone(), &Ed25519).is_ok())
}

#[test]
fn of_a_state_receipt() {
    let story = Story::new();
    let trust = story.trust();
    let receipt = story.state_receipt(StateKey::Value(text("a/first")));
    none_accepted("state receipt", &receipt, |bytes| state_receipt_is_good(&trust, bytes));
}

/// The exception: with a bit of the key flipped it speaks of another key. If the place of that one is
/// in the same bucket, the receipt is as good for it, and says the truth: it has nothing either.
#[test]
fn of_a_state_receipt_for_nothing_all_but_those_that_lead_to_another_key_with_nothing() {
    let story = Story::new();
    let trust = story.trust();
    let key = StateKey::Nonces(account(7));
    let receipt = story.state_receipt(key.clone());
    assert_eq!(receipt.entry, None);
    let length = key.to_bytes().len();
    let bits = accepted(&receipt, |bytes| state_receipt_is_good(&trust, bytes));
    assert!(!bits.is_empty());
    for bit in bits {
        assert!(bit / 8 < length, "the flip at byte {} is outside the key", bit / 8);
        let mut bytes = key.to_bytes().to_vec();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        let other = StateKey::from_bytes(&Bytes::from(bytes)).unwrap();
        assert!(!story.applied[2].state.entries().contains_key(&other), "{other:?}");
    }
}

#[test]
fn of_evidence() {
    let story = Story::new();
    for (name, evidence) in story.evidence() {
        none_accepted(name, &evidence, |bytes| {
            Evidence::from_bytes(bytes).is_ok_and(|evidence| {
                evidence.verify(story.chain_id(), &story.rosters(), &Ed25519).is_ok()
            })
        });
    }
}
