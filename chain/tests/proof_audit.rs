//! An audit of a chain from its genesis: what passes, and each block that does not.
#![allow(clippy::unwrap_used)]

mod common;

use common::ledger::Ledger;
use common::{genesis, new_member, node, term, update, validator};
use quorate_chain::block::{Block, BlockKind, Body, Draft, Header, Item, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::crypto::Ed25519;
use quorate_chain::evidence::ProvenItem;
use quorate_chain::ids::{
    BlockRef, BodyRoot, ChainId, Hash, Height, RosterHash, Signature, StateRoot, TimeUs,
};
use quorate_chain::proof::{Audit, AuditError};
use quorate_chain::roster::{Change, Roster};
use quorate_chain::statement::Statement;
use quorate_chain::well_formed::Malformed;

const QUORUM: &[u32] = &[0, 1, 2];

/// Three terms, a change of the roster, a promotion by the leader, and a recovery.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&genesis(5));
    let chain = ledger.world.chain_id;
    ledger.open(1, 0, QUORUM, vec![update(chain, 0, 0, "a", "1"), update(chain, 0, 1, "a", "2")]);
    ledger.transactions(vec![update(chain, 0, 2, "b", "1")]);
    ledger.open(2, 1, &[1, 2, 3], Vec::new());
    ledger.enter(vec![Change::Add(new_member(5, true)), Change::Remove { id: node(1) }], QUORUM);
    // Who is being removed finishes its term.
    ledger.empty();
    ledger.leave(&[0, 1, 2, 3]);
    ledger.empty();
    ledger.open(4, 2, &[0, 2, 3], vec![update(chain, 0, 3, "c", "1")]);
    ledger.promote(5, &[0, 2, 3]);
    ledger.leave(&[0, 2, 3, 5]);
    ledger.push(ledger.world.draft(BlockKind::Closing, Body::default()));
    ledger.recover(9, &[3, 5]);
    ledger.empty();
    ledger
}

fn audit(ledger: &Ledger) -> Audit {
    let world = &ledger.world;
    Audit::genesis(world.chain_id, genesis(5).time_us, world.rosters[0].clone())
}

fn step(audit: &mut Audit, ledger: &Ledger, at: u64) -> Result<(), AuditError> {
    let header = ledger.block(at).signed_header();
    audit.step(header, ledger.item(at).as_ref(), &Ed25519)
}

/// An audit that stands below a height.
fn below(ledger: &Ledger, at: u64) -> Audit {
    let mut audit = audit(ledger);
    for below in 1..at {
        step(&mut audit, ledger, below).unwrap();
    }
    audit
}

#[test]
fn a_whole_chain_passes() {
    let ledger = ledger();
    let mut audit = audit(&ledger);
    assert_eq!(audit.block(), ledger.world.chain_id.genesis_ref());
    for at in 1..=ledger.tip() {
        step(&mut audit, &ledger, at).unwrap();
        assert_eq!(audit.block(), ledger.header(at).block_ref());
        assert_eq!(audit.roster().hash(), ledger.header(at).roster_hash);
    }
    assert_eq!(audit.block(), ledger.world.tip());
    assert_eq!(audit.roster(), ledger.world.roster());
    let changes = ledger.world.rosters.len();
    assert_eq!((changes, ledger.tip()), (6, 13));
}

#[test]
fn every_header_is_needed_and_in_order() {
    let ledger = ledger();
    for at in 1..=ledger.tip() {
        for other in (1..=ledger.tip()).filter(|other| *other != at) {
            let mut audit = below(&ledger, at);
            let before = audit.block();
            assert!(step(&mut audit, &ledger, other).is_err(), "{other} in the place of {at}");
            // A refused block leaves the audit where it stood.
            assert_eq!(audit.block(), before);
            if other == ledger.tip() {
                assert_eq!(step(&mut audit, &ledger, at), Ok(()));
            }
        }
    }
}

#[test]
fn a_tampered_header_is_refused() {
    let changes: [fn(&mut Header); 13] = [
        |header| header.chain_id = ChainId::ZERO,
        |header| header.roster_hash = RosterHash::ZERO,
        |header| header.kind = BlockKind::Transactions,
        |header| header.height = Height::new(40),
        |header| header.term = term(40),
        |header| header.parent = Default::default(),
        |header| header.proposer = node(4),
        |header| header.time = TimeUs::new(header.time.get() + 1),
        |header| header.transactions += 1,
        |header| header.body_size += 1,
        |header| header.body_root = BodyRoot::ZERO,
        |header| header.executed = Height::new(header.executed.get() ^ 1),
        |header| header.state_root = StateRoot::ZERO,
    ];
    let ledger = ledger();
    for at in 1..=ledger.tip() {
        for (number, change) in changes.iter().enumerate() {
            let mut signed = ledger.block(at).signed_header().clone();
            change(&mut signed.header);
            if signed.header == *ledger.block(at).header() {
                continue;
            }
            let found = below(&ledger, at).step(&signed, ledger.item(at).as_ref(), &Ed25519);
            assert!(found.is_err(), "change {number} at {at}");
        }
        let mut signed = ledger.block(at).signed_header().clone();
        signed.signature = Signature::new([1; 64]);
        let found = below(&ledger, at).step(&signed, ledger.item(at).as_ref(), &Ed25519);
        assert!(matches!(found, Err(AuditError::BadSignature(_))));
    }
}

#[test]
fn a_block_is_signed_by_its_proposer() {
    let ledger = ledger();
    for at in 1..=ledger.tip() {
        let header = ledger.header(at);
        for id in (0..6).filter(|id| node(*id) != header.proposer) {
            let signed: SignedHeader = header.clone().sign(&validator(id));
            let found = below(&ledger, at).step(&signed, ledger.item(at).as_ref(), &Ed25519);
            assert!(matches!(found, Err(AuditError::BadSignature(_))), "{id} at {at}");
        }
    }
}

#[test]
fn an_item_is_shown_where_the_kind_asks_for_it_and_nowhere_else() {
    let ledger = ledger();
    let some = ledger.item(1).unwrap();
    for at in 1..=ledger.tip() {
        let header = ledger.block(at).signed_header();
        let mut audit = below(&ledger, at);
        let Some(item) = ledger.item(at) else {
            let found = audit.step(header, Some(&some), &Ed25519);
            assert!(matches!(found, Err(AuditError::Inclusion(_))));
            continue;
        };
        let found = audit.step(header, None, &Ed25519);
        assert!(matches!(found, Err(AuditError::Malformed(Malformed::Item { .. }))));
        let mut moved = item.clone();
        moved.inclusion.siblings.push(Hash::ZERO);
        let found = audit.step(header, Some(&moved), &Ed25519);
        assert!(matches!(found, Err(AuditError::Inclusion(_))));
        let other = (1..=ledger.tip()).rev().filter(|other| *other != at);
        for other in other.filter_map(|other| ledger.item(other)) {
            let swapped = ProvenItem { item: other.item, inclusion: item.inclusion.clone() };
            let found = audit.step(header, Some(&swapped), &Ed25519);
            assert!(matches!(found, Err(AuditError::Inclusion(_))));
        }
    }
}

/// A chain of five validators with an `Enter` and one block on it, still without an end.
fn entered() -> Ledger {
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, Vec::new());
    ledger.empty();
    ledger.enter(vec![Change::Add(new_member(5, false))], QUORUM);
    ledger.empty();
    ledger
}

/// The certificate of these for a block, under a roster of the chain.
fn certificate(ledger: &Ledger, block: BlockRef, roster: usize) -> Certificate {
    let roster: &Roster = &ledger.world.rosters[roster];
    ledger.world.certificate_by(Statement::Ack { block }, roster, QUORUM)
}

fn replace_certificate(draft: &mut Draft, new: Certificate) {
    match &mut draft.body.item {
        Some(Item::Enter { certificate, .. } | Item::Leave { certificate }) => *certificate = new,
        _ => unreachable!(),
    }
}

/// What an audit says of a roster block on the tip that rests on this certificate.
fn rests_on(ledger: &Ledger, mut draft: Draft, new: Certificate) -> Result<(), AuditError> {
    replace_certificate(&mut draft, new);
    let block: Block = ledger.world.seal(draft);
    let leaves = block.body().leaves();
    let inclusion = quorate_chain::merkle::prove(&leaves, 0).unwrap();
    let item = ProvenItem { item: block.body().item.clone().unwrap(), inclusion };
    let mut audit = below(ledger, ledger.tip() + 1);
    audit.step(block.signed_header(), Some(&item), &Ed25519)
}

#[test]
fn a_roster_block_rests_on_an_ancestor_under_the_roster_it_leaves() {
    let ledger = entered();
    let leave = || ledger.world.leave_draft(QUORUM);
    let at = |at| ledger.header(at).block_ref();
    // The block that brought the roster, or one above it.
    for good in [3, 4] {
        assert_eq!(rests_on(&ledger, leave(), certificate(&ledger, at(good), 1)), Ok(()));
    }
    // Blocks below are under the older roster, although they are ancestors.
    for old in [ledger.world.chain_id.genesis_ref(), at(1), at(2)] {
        let expected = AuditError::NotAncestor { certified: old, since: Height::new(3) };
        assert_eq!(rests_on(&ledger, leave(), certificate(&ledger, old, 1)), Err(expected));
    }
    // A certificate by the older roster, for an ancestor of its own.
    let found = rests_on(&ledger, leave(), certificate(&ledger, at(2), 0));
    assert!(matches!(found, Err(AuditError::Malformed(Malformed::Certificate(_)))));
}

#[test]
fn a_roster_block_does_not_rest_on_a_block_elsewhere() {
    let ledger = entered();
    let tip = ledger.world.tip();
    let elsewhere = [
        // Another block, of another branch.
        BlockRef { hash: common::somewhere(0, 0, 9).hash, ..tip },
        // A hash of this chain in a place where it does not stand.
        BlockRef { height: Height::new(3), ..tip },
        BlockRef { height: Height::new(4), ..ledger.header(3).block_ref() },
        // The place and hash of an ancestor, in a term that is not its own.
        BlockRef { term: term(7), ..tip },
    ];
    for block in elsewhere {
        let draft = ledger.world.leave_draft(QUORUM);
        let expected = AuditError::NotAncestor { certified: block, since: Height::new(3) };
        let found = rests_on(&ledger, draft, certificate(&ledger, block, 1));
        assert_eq!(found, Err(expected), "{block}");
    }
    // The same for the block that enters a change.
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, Vec::new());
    ledger.empty();
    for block in [
        BlockRef { term: term(7), ..ledger.world.tip() },
        BlockRef { hash: common::somewhere(0, 0, 9).hash, ..ledger.world.tip() },
    ] {
        let draft = ledger.world.enter_draft(vec![Change::Remove { id: node(4) }], QUORUM);
        let expected = AuditError::NotAncestor { certified: block, since: Height::ZERO };
        let found = rests_on(&ledger, draft, certificate(&ledger, block, 0));
        assert_eq!(found, Err(expected), "{block}");
    }
}

#[test]
fn who_opens_a_term_is_in_the_roster() {
    // A quorum may elect whom it likes, also somebody without a key.
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, Vec::new());
    let block = ledger.world.seal(ledger.world.opening_draft(2, 9, QUORUM));
    let inclusion = quorate_chain::merkle::prove(&block.body().leaves(), 0).unwrap();
    let item = ProvenItem { item: block.body().item.clone().unwrap(), inclusion };
    let found = below(&ledger, 2).step(block.signed_header(), Some(&item), &Ed25519);
    let stranger = Malformed::Stranger { proposer: node(9) };
    assert_eq!(found, Err(AuditError::Malformed(stranger)));
}
