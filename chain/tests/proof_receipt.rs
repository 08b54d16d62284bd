//! Receipts: what became of a transaction, and what a key had, proven without a node.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::ledger::Ledger;
use common::{account, client, genesis, height, node, somewhere, term, transaction, update};
use quorate_chain::block::{BlockKind, Body};
use quorate_chain::certificate::CertificateError;
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::commitment::{EntryProofError, state_root};
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{Hash, Height, StateRoot};
use quorate_chain::merkle;
use quorate_chain::outcome::{self, Failure, Status, Void};
use quorate_chain::proof::{OutcomeProof, Receipt, ReceiptError, StateReceipt, Trust, TrustError};
use quorate_chain::roster::Change;
use quorate_chain::state::{StateEntry, StateKey};
use quorate_chain::statement::Statement;
use quorate_chain::transaction::Operation;

const QUORUM: &[u32] = &[0, 1, 2];

fn trust(ledger: &Ledger) -> Trust {
    let world = &ledger.world;
    Trust::new(world.chain_id, world.rosters[0].clone(), world.chain_id.genesis_ref())
}

fn check(ledger: &Ledger, receipt: &Receipt) -> Result<(), ReceiptError> {
    assert_eq!(Receipt::from_bytes(&receipt.to_bytes()).as_ref(), Ok(receipt));
    receipt.check(&mut trust(ledger), &Ed25519)
}

fn check_state(ledger: &Ledger, receipt: &StateReceipt) -> Result<Height, ReceiptError> {
    assert_eq!(StateReceipt::from_bytes(&receipt.to_bytes()).as_ref(), Ok(receipt));
    receipt.check(&mut trust(ledger), &Ed25519)
}

/// Six blocks: an opening with two transactions, one with four of which one fails and one is void,
/// and four without any.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&genesis(5));
    let chain = ledger.world.chain_id;
    let tx = |sender, nonce, key, value| update(chain, sender, nonce, key, value);
    ledger.open(1, 0, QUORUM, vec![tx(0, 0, "a", "1"), tx(1, 0, "b", "1")]);
    let missing = vec![Operation::Remove { key: Bytes::from_static(b"missing") }];
    let failing = transaction(chain, &client(0), 1, missing);
    let block = vec![tx(0, 2, "a", "2"), failing, tx(1, 0, "b", "void"), tx(1, 1, "c", "3")];
    ledger.transactions(block);
    for _ in 0..4 {
        ledger.empty();
    }
    ledger
}

/// Where each of the six transactions stands, and what became of it.
const PLACES: [(u64, usize, Status); 6] = [
    (1, 0, Status::Applied),
    (1, 1, Status::Applied),
    (2, 0, Status::Applied),
    (2, 1, Status::Failed { operation: 0, failure: Failure::KeyNotFound }),
    (2, 2, Status::Void(Void::NonceUsed)),
    (2, 3, Status::Applied),
];

#[test]
fn a_receipt_proves_place_and_outcome_of_every_transaction() {
    let ledger = ledger();
    for (at, index, status) in PLACES {
        assert_eq!(check(&ledger, &ledger.receipt(at, index, None, QUORUM)), Ok(()));
        // The state of the block itself, and every later one that a header names.
        for state in at..=5 {
            let receipt = ledger.receipt(at, index, Some(state), QUORUM);
            let proof = receipt.outcome.as_ref().unwrap();
            assert_eq!(proof.outcome.status, status);
            assert_eq!(proof.above.len() as u64, state - at);
            assert_eq!(check(&ledger, &receipt), Ok(()), "tx {index} of {at} by {state}");
        }
        // Nothing names the state of the tip yet.
        let early = check(&ledger, &ledger.receipt(at, index, Some(6), QUORUM));
        assert_eq!(early, Err(ReceiptError::NotNamed { height: height(6) }));
    }
}

#[test]
fn an_outcome_may_be_named_several_heights_above_and_only_there() {
    let mut ledger = Ledger::new(&genesis(5));
    ledger.lag = 3;
    let chain = ledger.world.chain_id;
    ledger.open(1, 0, QUORUM, vec![update(chain, 0, 0, "a", "1")]);
    for nonce in 1..4 {
        ledger.transactions(vec![update(chain, 0, nonce, "a", "2")]);
    }
    assert_eq!(ledger.executed(4), height(1));
    assert_eq!(check(&ledger, &ledger.receipt(1, 0, Some(1), QUORUM)), Ok(()));
    let state = check(&ledger, &ledger.receipt(1, 0, Some(2), QUORUM));
    assert_eq!(state, Err(ReceiptError::NotNamed { height: height(2) }));
    // The headers that name it must be shown, up to the certified one.
    let mut short = ledger.receipt(1, 0, Some(1), QUORUM);
    let earlier = ledger.header(3).block_ref();
    short.path.headers.pop();
    let ack = Statement::Ack { block: earlier };
    short.path.certificate = ledger.world.certificate(ack, QUORUM);
    assert_eq!(check(&ledger, &short), Err(ReceiptError::NotNamed { height: height(1) }));
    short.outcome = None;
    assert_eq!(check(&ledger, &short), Ok(()));
}

#[test]
fn a_receipt_of_another_transaction_block_or_place_is_refused() {
    let ledger = ledger();
    let good = || ledger.receipt(2, 0, Some(2), QUORUM);
    let mut other = good();
    other.transaction = ledger.block(2).body().transactions[3].clone();
    assert!(matches!(check(&ledger, &other), Err(ReceiptError::Inclusion(_))));
    let mut stranger = good();
    stranger.transaction = update(ledger.world.chain_id, 9, 9, "x", "y");
    assert!(matches!(check(&ledger, &stranger), Err(ReceiptError::Inclusion(_))));

    // A header that was changed is not the one below the path.
    let mut forged = good();
    forged.header.transactions = 5;
    let found = check(&ledger, &forged);
    let broken = CertificateError::BrokenPath { at: height(3) };
    assert_eq!(found, Err(ReceiptError::Trust(TrustError::Certificate(broken.clone()))));
    let mut moved = good();
    moved.header = ledger.header(1);
    assert_eq!(check(&ledger, &moved), Err(ReceiptError::Trust(TrustError::Certificate(broken))));

    let mut place = good();
    place.inclusion = ledger.receipt(2, 1, None, QUORUM).inclusion;
    assert!(matches!(check(&ledger, &place), Err(ReceiptError::Inclusion(_))));
    for sibling in 0..good().inclusion.siblings.len() {
        let mut tampered = good();
        tampered.inclusion.siblings[sibling] = Hash::ZERO;
        assert!(matches!(check(&ledger, &tampered), Err(ReceiptError::Inclusion(_))));
    }
    // The count comes from the header, not from the proof.
    let leaves: Vec<_> = ledger.block(2).body().leaves();
    let mut counted = good();
    counted.inclusion = merkle::prove(&leaves[..3], 0).unwrap();
    assert!(matches!(check(&ledger, &counted), Err(ReceiptError::Inclusion(_))));

    let mut few = good();
    few.path.certificate = ledger.world.commit(&[0, 1]);
    assert!(matches!(check(&ledger, &few), Err(ReceiptError::Trust(TrustError::Certificate(_)))));
}

#[test]
fn a_tampered_outcome_is_refused() {
    let ledger = ledger();
    let root = |found: &Result<(), ReceiptError>| matches!(found, Err(ReceiptError::Root { .. }));
    for (at, index, _) in PLACES {
        let good = ledger.receipt(at, index, Some(4), QUORUM);
        let tamper = |change: &dyn Fn(&mut OutcomeProof)| {
            let mut receipt = good.clone();
            change(receipt.outcome.as_mut().unwrap());
            check(&ledger, &receipt)
        };
        let expired = Status::Void(Void::Expired);
        assert!(root(&tamper(&|proof| proof.outcome.status = expired)));
        assert!(root(&tamper(&|proof| proof.below = Hash::new([1; 32]))));
        assert!(root(&tamper(&|proof| proof.entries = Hash::ZERO)));
        assert!(root(&tamper(&|proof| proof.above[0] = Hash::ZERO)));
        assert!(root(&tamper(&|proof| proof.inclusion.siblings[0] = Hash::ZERO)));
        // One root more leads to a height that nothing names.
        let more = tamper(&|proof| proof.above.extend([Hash::ZERO; 2]));
        assert_eq!(more, Err(ReceiptError::NotNamed { height: height(6) }));
    }
}

#[test]
fn the_roots_above_lead_to_the_state_that_a_header_names() {
    let ledger = ledger();
    let mut receipt = ledger.receipt(1, 0, Some(2), QUORUM);
    receipt.outcome.as_mut().unwrap().above.pop();
    let entries = ledger.receipt(1, 0, Some(1), QUORUM).outcome.unwrap().entries;
    assert!(matches!(check(&ledger, &receipt), Err(ReceiptError::Root { .. })));
    receipt.outcome.as_mut().unwrap().entries = entries;
    assert_eq!(check(&ledger, &receipt), Ok(()));
}

#[test]
fn an_outcome_stands_where_its_transaction_does() {
    let ledger = ledger();
    // The outcome of another transaction, in its own place and in this one's.
    let mut other = ledger.receipt(2, 0, Some(2), QUORUM);
    other.outcome = ledger.receipt(2, 1, Some(2), QUORUM).outcome;
    assert_eq!(check(&ledger, &other), Err(ReceiptError::OtherTransaction));
    other.outcome.as_mut().unwrap().outcome.tx = other.transaction.id();
    assert_eq!(check(&ledger, &other), Err(ReceiptError::OtherPlace));

    // The same bytes twice in one block: the first one applied, the second one is void.
    let mut ledger = Ledger::new(&genesis(5));
    let tx = update(ledger.world.chain_id, 0, 0, "a", "1");
    ledger.open(1, 0, QUORUM, vec![tx.clone(), tx.clone(), tx]);
    ledger.empty();
    let first = ledger.receipt(1, 0, Some(1), QUORUM);
    let second = ledger.receipt(1, 1, Some(1), QUORUM);
    assert_eq!((check(&ledger, &first), check(&ledger, &second)), (Ok(()), Ok(())));
    assert_eq!(first.transaction, second.transaction);
    assert_ne!(first.outcome, second.outcome);
    let mut mixed = second.clone();
    mixed.outcome = first.outcome.clone();
    assert_eq!(check(&ledger, &mixed), Err(ReceiptError::OtherPlace));
    mixed.inclusion = first.inclusion.clone();
    assert_eq!(check(&ledger, &mixed), Ok(()));
    // The opening's item is no transaction: its place has no outcome.
    let leaves = ledger.block(1).body().leaves();
    let mut item = first.clone();
    item.inclusion = merkle::prove(&leaves, 0).unwrap();
    assert!(matches!(check(&ledger, &item), Err(ReceiptError::Inclusion(_))));
    // An outcome counted among more or fewer than the block has transactions.
    let mut fewer = first;
    fewer.outcome.as_mut().unwrap().inclusion.count = 4;
    let found = fewer.check(&mut trust(&ledger), &Ed25519);
    assert_eq!(found, Err(ReceiptError::OtherPlace));
}

#[test]
fn a_receipt_is_checked_by_the_roster_in_force() {
    let mut ledger = ledger();
    let before = ledger.receipt(2, 0, Some(2), QUORUM);
    ledger.enter(vec![Change::Remove { id: node(4) }], QUORUM);
    ledger.leave(QUORUM);
    let after = ledger.receipt(2, 0, Some(2), QUORUM);
    let mut trust = trust(&ledger);
    assert!(matches!(
        after.check(&mut trust, &Ed25519),
        Err(ReceiptError::Trust(TrustError::UnknownRoster { .. }))
    ));
    let mut step = ledger.step(7, QUORUM);
    step.path.headers.pop();
    let joint = &ledger.world.rosters[1];
    let ack = Statement::Ack { block: ledger.header(7).block_ref() };
    step.path.certificate = ledger.world.certificate_by(ack, joint, QUORUM);
    trust.cross(&step, &Ed25519).unwrap();
    assert_eq!(after.check(&mut trust, &Ed25519), Ok(()));
    // What was proven before the change still is.
    assert_eq!(before.check(&mut trust, &Ed25519), Ok(()));
}

#[test]
fn a_state_receipt_proves_what_a_key_had_and_what_it_had_not() {
    let ledger = ledger();
    let value = |key: &'static str| StateKey::Value(Bytes::from_static(key.as_bytes()));
    let text = |receipt: &StateReceipt| match &receipt.entry {
        Some(StateEntry::Value(value)) => Some(String::from_utf8(value.bytes.to_vec()).unwrap()),
        _ => None,
    };
    for (at, key, expected) in [
        (1, "a", None),
        (2, "a", Some("1")),
        (3, "a", Some("2")),
        (6, "b", Some("1")),
        (6, "c", Some("3")),
        (6, "missing", None),
    ] {
        let receipt = ledger.state_receipt(at, value(key), QUORUM);
        assert_eq!(text(&receipt).as_deref(), expected, "{key} at {at}");
        assert_eq!(check_state(&ledger, &receipt), Ok(height(at - 1)));
    }
    for key in [StateKey::Nonces(account(0)), StateKey::Grants(account(0))] {
        let receipt = ledger.state_receipt(6, key.clone(), QUORUM);
        assert_eq!(receipt.entry.is_some(), key == StateKey::Nonces(account(0)));
        assert_eq!(check_state(&ledger, &receipt), Ok(height(5)));
    }
}

#[test]
fn a_tampered_state_receipt_is_refused() {
    let ledger = ledger();
    let value = |key: &'static str| StateKey::Value(Bytes::from_static(key.as_bytes()));
    let present = || ledger.state_receipt(4, value("a"), QUORUM);
    let absent = || ledger.state_receipt(4, value("missing"), QUORUM);

    let mut other = present();
    let Some(StateEntry::Value(content)) = &mut other.entry else { unreachable!() };
    content.height = height(1);
    let expected = |present| Err(ReceiptError::Entry(EntryProofError::OtherEntry { present }));
    assert_eq!(check_state(&ledger, &other), expected(true));
    other.entry = None;
    assert_eq!(check_state(&ledger, &other), expected(true));
    let mut invented = absent();
    invented.entry = present().entry;
    assert_eq!(check_state(&ledger, &invented), expected(false));
    // A few leaves share one bucket, so a proof of absence speaks for its own path alone.
    let mut renamed = present();
    renamed.key = value("b");
    assert_eq!(check_state(&ledger, &renamed), expected(true));

    let entry = |found| matches!(found, Err(ReceiptError::Entry(_)));
    let mut proof = present();
    proof.proof.outcomes = Hash::ZERO;
    assert!(entry(check_state(&ledger, &proof)));
    let mut proof = present();
    proof.proof.entries = Hash::ZERO;
    assert!(entry(check_state(&ledger, &proof)));
    let mut proof = present();
    proof.proof.place.bucket.pop();
    assert!(entry(check_state(&ledger, &proof)));
    let mut older = present();
    older.proof = ledger.state_receipt(3, value("a"), QUORUM).proof;
    assert!(entry(check_state(&ledger, &older)));

    // The header is bound by the path: neither its state nor its height can be exchanged.
    for change in [
        (|r: &mut StateReceipt| r.header.state_root = StateRoot::ZERO) as fn(&mut StateReceipt),
        |r| r.header.executed = Height::ZERO,
        |r| r.path.headers.clear(),
    ] {
        let mut forged = present();
        change(&mut forged);
        assert!(matches!(check_state(&ledger, &forged), Err(ReceiptError::Trust(_))));
    }
    let mut uncertified = present();
    let ack = Statement::Ack { block: somewhere(1, 6, 9) };
    uncertified.path.certificate = ledger.world.certificate(ack, QUORUM);
    assert!(matches!(check_state(&ledger, &uncertified), Err(ReceiptError::Trust(_))));
}

/// One transaction; then the leader of term 1 seals a last block that names a false state, which
/// nobody acks, and another leader is elected on it, who names the state `lag` heights below its own.
fn lie(state: StateRoot, lag: u64) -> Ledger {
    let mut ledger = Ledger::new(&genesis(5));
    ledger.lag = lag;
    ledger.open(1, 0, QUORUM, vec![update(ledger.world.chain_id, 0, 0, "a", "1")]);
    let mut draft = ledger.world.draft(BlockKind::Transactions, Body::default());
    (draft.executed, draft.state_root) = (height(1), state);
    ledger.push_as_is(draft);
    ledger.open(2, 1, QUORUM, Vec::new());
    ledger
}

#[test]
fn one_liar_proves_no_state() {
    // The state it would like: the same key with another value.
    let mut dream = Ledger::new(&genesis(5));
    dream.open(1, 0, QUORUM, vec![update(dream.world.chain_id, 0, 0, "a", "a million")]);
    dream.empty();
    let ledger = lie(dream.root(1), 1);
    let key = StateKey::Value(Bytes::from_static(b"a"));
    let dreamt = dream.state_receipt(2, key.clone(), QUORUM);
    let path = ledger.world.path(2, QUORUM);
    let receipt = StateReceipt { header: ledger.header(2), path, ..dreamt };
    let certified = ledger.world.tip();
    let not_compared = ReceiptError::NotCompared { height: height(2), term: term(1), certified };
    assert_eq!(check_state(&ledger, &receipt), Err(not_compared));

    // The new leader has applied that height and names its state in its own term.
    let good = ledger.state_receipt(3, key, QUORUM);
    assert_eq!(check_state(&ledger, &good), Ok(height(2)));
}

#[test]
fn one_liar_proves_no_outcome() {
    // The transaction expired, it says.
    let honest = lie(StateRoot::ZERO, 1);
    let mut receipt = honest.receipt(1, 0, Some(1), QUORUM);
    let proof = receipt.outcome.as_mut().unwrap();
    proof.outcome.status = Status::Void(Void::Expired);
    let link = outcome::link(proof.below, proof.outcome.leaf());
    let ledger = lie(state_root(proof.entries, link), 1);
    receipt.path = ledger.world.path(1, QUORUM);
    let certified = ledger.world.tip();
    let not_compared = ReceiptError::NotCompared { height: height(2), term: term(1), certified };
    assert_eq!(check(&ledger, &receipt), Err(not_compared));
    // The truth is found in the header of the certified term, whatever the liar's says.
    assert_eq!(check(&ledger, &ledger.receipt(1, 0, Some(2), QUORUM)), Ok(()));
    // Also if both name the same height.
    let ledger = lie(StateRoot::ZERO, 2);
    assert_eq!((ledger.executed(2), ledger.executed(3)), (height(1), height(1)));
    assert_eq!(check(&ledger, &ledger.receipt(1, 0, Some(1), QUORUM)), Ok(()));
}
