//! Which certificates a verifier believes, and how it comes to believe another roster.
#![allow(clippy::unwrap_used)]

mod common;

use common::ledger::Ledger;
use common::{admin, genesis, height, new_member, node, somewhere, term, update, validator};
use quorate_chain::block::{BlockKind, Body, Item};
use quorate_chain::certificate::{CertificateError, CertificatePath};
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::crypto::{Ed25519, SecretKey};
use quorate_chain::ids::{BlockRef, ChainId, Height, TimeUs};
use quorate_chain::proof::{RosterStep, Trust, TrustError};
use quorate_chain::recovery::{Recovery, RecoveryError};
use quorate_chain::roster::{Admins, Change, ChangeError, Member, Roster};
use quorate_chain::statement::Statement;
use quorate_chain::well_formed::Malformed;

const QUORUM: &[u32] = &[0, 1, 2];

fn genesis_trust(ledger: &Ledger) -> Trust {
    let world = &ledger.world;
    Trust::new(world.chain_id, world.rosters[0].clone(), world.chain_id.genesis_ref())
}

/// Five validators; 3 and 4 are replaced by 5 and 6.
///
/// ```text
/// 1 opening · 2, 3 · 4 Enter · 5 · 6 Leave · 7 · 8 opening by 5 · 9
/// ```
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, vec![update(ledger.world.chain_id, 0, 0, "a", "1")]);
    ledger.empty();
    ledger.empty();
    ledger.enter(replacement(), QUORUM);
    ledger.empty();
    ledger.leave(BOTH);
    ledger.empty();
    ledger.open(2, 5, NEW, Vec::new());
    ledger.empty();
    ledger
}

/// A quorum of the new roster, and one of both.
const NEW: &[u32] = &[2, 5, 6];
const BOTH: &[u32] = &[0, 1, 2, 5, 6];

fn replacement() -> Vec<Change> {
    let add = [5, 6].map(|id| Change::Add(new_member(id, false)));
    let promote = [5, 6].map(|id| Change::Promote { id: node(id) });
    let remove = [3, 4].map(|id| Change::Remove { id: node(id) });
    [&add[..], &promote[..], &remove[..]].concat()
}

/// The path from a block up to another one, certified there by these under a roster of the chain.
fn path(ledger: &Ledger, from: u64, to: u64, roster: usize, signers: &[u32]) -> CertificatePath {
    let ack = Statement::Ack { block: ledger.header(to).block_ref() };
    let roster = &ledger.world.rosters[roster];
    CertificatePath {
        headers: (from + 1..=to).map(|at| ledger.header(at)).collect(),
        certificate: ledger.world.certificate_by(ack, roster, signers),
    }
}

fn block(ledger: &Ledger, at: u64) -> BlockRef {
    ledger.header(at).block_ref()
}

/// The step across the change, certified at height 5 by both parts.
fn step(ledger: &Ledger) -> RosterStep {
    RosterStep { path: path(ledger, 4, 5, 1, BOTH), ..ledger.step(4, NEW) }
}

fn crossed(ledger: &Ledger) -> Trust {
    let mut trust = genesis_trust(ledger);
    trust.cross(&step(ledger), &Ed25519).unwrap();
    trust
}

#[test]
fn a_path_under_the_trusted_roster_proves_its_block() {
    let ledger = ledger();
    let mut trust = genesis_trust(&ledger);
    assert_eq!(trust.newest(), ledger.world.chain_id.genesis_ref());
    for (from, to) in [(1, 2), (2, 2), (1, 3)] {
        let found =
            trust.check_path(block(&ledger, from), &path(&ledger, from, to, 0, QUORUM), &Ed25519);
        assert_eq!(found, Ok(()));
        assert_eq!(trust.newest(), block(&ledger, to));
    }
    // An older one does not take the newest back.
    trust.check_path(block(&ledger, 1), &path(&ledger, 1, 1, 0, QUORUM), &Ed25519).unwrap();
    assert_eq!(trust.newest(), block(&ledger, 3));

    let few = trust.check_path(block(&ledger, 1), &path(&ledger, 1, 3, 0, &[0, 1]), &Ed25519);
    let expected = CertificateError::NoQuorum { signers: 2 };
    assert_eq!(few, Err(TrustError::Certificate(expected)));
    let other = trust.check_path(block(&ledger, 2), &path(&ledger, 1, 3, 0, QUORUM), &Ed25519);
    assert!(matches!(other, Err(TrustError::Certificate(CertificateError::BrokenPath { .. }))));
    let mut elsewhere = Trust::new(
        ChainId::new([9; 32]),
        ledger.world.rosters[0].clone(),
        ledger.world.chain_id.genesis_ref(),
    );
    let found = elsewhere.check_path(block(&ledger, 1), &path(&ledger, 1, 3, 0, QUORUM), &Ed25519);
    assert!(matches!(found, Err(TrustError::Certificate(CertificateError::BadSignature { .. }))));
}

#[test]
fn a_roster_that_nothing_led_to_proves_nothing() {
    let ledger = ledger();
    let mut trust = genesis_trust(&ledger);
    for (to, roster, signers) in [(5, 1, BOTH), (7, 2, NEW), (9, 2, NEW)] {
        let found =
            trust.check_path(block(&ledger, 3), &path(&ledger, 3, to, roster, signers), &Ed25519);
        let hash = ledger.world.rosters[roster].hash();
        assert_eq!(found, Err(TrustError::UnknownRoster { hash }));
    }
    assert_eq!(trust.newest(), ledger.world.chain_id.genesis_ref());
}

#[test]
fn trust_crosses_a_change() {
    let ledger = ledger();
    let mut trust = crossed(&ledger);
    assert_eq!(trust.roster(), &ledger.world.rosters[2]);
    assert_eq!(trust.newest(), block(&ledger, 5));
    // The joint roster counts while it is in force, the next one afterwards.
    for (to, roster, signers) in [(4, 1, BOTH), (5, 1, BOTH), (6, 2, NEW), (9, 2, NEW)] {
        let found =
            trust.check_path(block(&ledger, 1), &path(&ledger, 1, to, roster, signers), &Ed25519);
        assert_eq!(found, Ok(()), "certified at {to}");
    }
    // What the old roster certified below the change still counts.
    let old = trust.check_path(block(&ledger, 1), &path(&ledger, 1, 3, 0, QUORUM), &Ed25519);
    assert_eq!(old, Ok(()));
    // The same step again leads nowhere, and takes nothing back.
    let again = trust.cross(&step(&ledger), &Ed25519);
    assert_eq!(again, Err(TrustError::NoChange { height: Height::new(4) }));
    assert_eq!(trust.roster(), &ledger.world.rosters[2]);
}

#[test]
fn an_old_roster_proves_nothing_above_the_change() {
    let ledger = ledger();
    let mut trust = crossed(&ledger);
    let hash = ledger.world.rosters[0].hash();
    for at in [4, 5, 9] {
        let found =
            trust.check_path(block(&ledger, at), &path(&ledger, at, at, 0, QUORUM), &Ed25519);
        let (from, until, height) = (Height::ZERO, Height::new(4), Height::new(at));
        assert_eq!(found, Err(TrustError::NotInForce { hash, from, until, height }));
    }
    // Nor does the new one below it.
    for roster in [1, 2] {
        let found =
            trust.check_path(block(&ledger, 2), &path(&ledger, 2, 3, roster, BOTH), &Ed25519);
        assert!(matches!(found, Err(TrustError::NotInForce { .. })));
    }
}

#[test]
fn a_step_takes_a_quorum_of_the_old_and_of_the_new_roster() {
    let ledger = ledger();
    let certified = |roster, signers: &[u32]| {
        let step = RosterStep { path: path(&ledger, 4, 5, roster, signers), ..step(&ledger) };
        genesis_trust(&ledger).cross(&step, &Ed25519)
    };
    let few = |signers| Err(TrustError::Certificate(CertificateError::NoQuorum { signers }));
    assert_eq!(certified(1, &[0, 1, 2]), Ok(()));
    assert_eq!(certified(1, NEW), few(3));
    assert_eq!(certified(1, &[0, 1, 3, 4]), few(4));
    assert_eq!(certified(1, &[2, 5, 6, 1]), few(4));
    // By the new roster alone, or the old one, it says nothing of how it came to be.
    for roster in [0, 2] {
        let found = certified(roster, &[0, 1, 2]);
        assert!(matches!(
            found,
            Err(TrustError::Certificate(CertificateError::OtherRoster { .. }))
        ));
    }
    let elsewhere = RosterStep { path: path(&ledger, 3, 5, 1, BOTH), ..step(&ledger) };
    let found = genesis_trust(&ledger).cross(&elsewhere, &Ed25519);
    assert!(matches!(found, Err(TrustError::Certificate(CertificateError::BrokenPath { .. }))));
}

#[test]
fn a_forged_step_is_refused_and_trust_is_as_before() {
    let ledger = ledger();
    let mut trust = genesis_trust(&ledger);
    let mut refused = |change: &dyn Fn(&mut RosterStep)| {
        let mut forged = step(&ledger);
        change(&mut forged);
        assert_eq!(RosterStep::from_bytes(&forged.to_bytes()), Ok(forged.clone()));
        let error = trust.cross(&forged, &Ed25519).unwrap_err();
        assert_eq!(trust.roster(), &ledger.world.rosters[0]);
        assert_eq!(trust.newest(), ledger.world.chain_id.genesis_ref());
        error
    };
    let item = TrustError::Item { height: Height::new(4) };
    assert_eq!(refused(&|step| step.item = ledger.block(6).body().item.clone().unwrap()), item);
    let other = ledger.world.change(vec![Change::Remove { id: node(1) }]);
    let swapped = refused(&|step| {
        let Item::Enter { change, .. } = &mut step.item else { unreachable!() };
        *change = quorate_chain::block::EnterChange::Ordered(other.clone());
    });
    assert_eq!(swapped, item);
    let parent = refused(&|step| step.parent.time = TimeUs::ZERO);
    assert!(matches!(parent, TrustError::Malformed(Malformed::Parent { .. })));
    let skipped = refused(&|step| step.parent = ledger.header(2));
    assert!(matches!(skipped, TrustError::Malformed(Malformed::Height { .. })));
    let unknown = refused(&|step| step.parent = ledger.header(8));
    assert!(matches!(unknown, TrustError::UnknownRoster { .. }));
    let header = refused(&|step| step.header.state_root = Default::default());
    let broken = CertificateError::BrokenPath { at: Height::new(5) };
    assert_eq!(header, TrustError::Certificate(broken));
    // A block of another kind changes nothing.
    for at in [5, 6, 8] {
        let no = refused(&|step| step.header = ledger.header(at));
        assert_eq!(no, TrustError::NoChange { height: Height::new(at) });
    }
}

#[test]
fn a_change_that_no_admin_ordered_is_refused() {
    // The old and the new quorum agree to it, and the admins do not.
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, Vec::new());
    let mut draft = ledger.world.enter_draft(replacement(), QUORUM);
    let Some(Item::Enter { change, .. }) = &mut draft.body.item else { unreachable!() };
    let order = ledger.world.change(replacement()).change().clone();
    *change = quorate_chain::block::EnterChange::Ordered(order.clone().assemble(Vec::new()));
    let item = draft.body.item.clone().unwrap();
    let block = ledger.world.seal(draft);
    let joint = ledger.world.roster().apply(&order).unwrap();
    let ack = Statement::Ack { block: block.block_ref() };
    let certificate = ledger.world.certificate_by(ack, &joint, BOTH);
    let path = CertificatePath { headers: Vec::new(), certificate };
    let (parent, header) = (ledger.header(1), block.header().clone());
    let step = RosterStep { parent, header, item, path };
    let found = genesis_trust(&ledger).cross(&step, &Ed25519);
    assert!(matches!(found, Err(TrustError::Malformed(Malformed::Change(_)))));
}

#[test]
fn a_change_cannot_be_skipped() {
    let mut ledger = ledger();
    ledger.enter(vec![Change::Remove { id: node(0) }], NEW);
    ledger.leave(NEW);
    ledger.empty();
    let second =
        RosterStep { path: path(&ledger, 10, 10, 3, &[1, 2, 5, 6]), ..ledger.step(10, NEW) };
    let mut trust = genesis_trust(&ledger);
    let hash = ledger.world.rosters[2].hash();
    assert_eq!(trust.cross(&second, &Ed25519), Err(TrustError::UnknownRoster { hash }));
    let last = path(&ledger, 12, 12, 4, &[2, 5, 6]);
    assert!(trust.check_path(block(&ledger, 12), &last, &Ed25519).is_err());
    trust.cross(&step(&ledger), &Ed25519).unwrap();
    assert!(trust.check_path(block(&ledger, 12), &last, &Ed25519).is_err());
    trust.cross(&second, &Ed25519).unwrap();
    trust.check_path(block(&ledger, 12), &last, &Ed25519).unwrap();
    // Every roster before it counts in its own heights alone.
    for (at, roster, good) in
        [(3, 0, true), (5, 1, true), (9, 2, true), (10, 2, false), (10, 1, false)]
    {
        let found =
            trust.check_path(block(&ledger, at), &path(&ledger, at, at, roster, BOTH), &Ed25519);
        let strangers = matches!(found, Err(TrustError::Certificate(_)));
        assert_eq!(found.is_ok() || strangers, good, "roster {roster} at {at}: {found:?}");
    }
}

#[test]
fn a_recovery_is_a_step() {
    let mut ledger = ledger();
    ledger.recover(5, &[5, 6]);
    ledger.empty();
    let recovery = ledger.step(10, &[5, 6]);
    assert_eq!(recovery.header.kind, BlockKind::Recovery);
    let mut trust = crossed(&ledger);
    let mut one = recovery.clone();
    one.path.certificate = ledger.world.commit(&[5]);
    let few = CertificateError::NoQuorum { signers: 1 };
    assert_eq!(trust.cross(&one, &Ed25519), Err(TrustError::Certificate(few)));
    trust.cross(&recovery, &Ed25519).unwrap();
    assert_eq!(trust.roster(), ledger.world.roster());
    let found = trust.check_path(block(&ledger, 9), &path(&ledger, 9, 11, 3, &[5, 6]), &Ed25519);
    assert_eq!(found, Ok(()));
    let old = trust.check_path(block(&ledger, 11), &path(&ledger, 11, 11, 2, NEW), &Ed25519);
    assert!(matches!(old, Err(TrustError::NotInForce { .. })));

    // Right after a change was entered, before it was left.
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, Vec::new());
    ledger.empty();
    ledger.empty();
    ledger.enter(replacement(), QUORUM);
    ledger.recover(2, &[0, 1]);
    let mut trust = genesis_trust(&ledger);
    let enter = RosterStep { path: path(&ledger, 4, 4, 1, BOTH), ..ledger.step(4, &[0, 1]) };
    trust.cross(&enter, &Ed25519).unwrap();
    trust.cross(&ledger.step(5, &[0, 1]), &Ed25519).unwrap();
    assert_eq!(trust.roster(), ledger.world.roster());
}

/// The chain as whoever once was its only admin would like it to go on: on a parent that nobody
/// sealed, under the joint roster by which it was replaced, a recovery to a key of its own.
fn coup(ledger: &Ledger, at: u64, approvals: &[SecretKey]) -> RosterStep {
    let mut parent = ledger.header(at);
    parent.height = height(ledger.tip() + 5);
    let joint = ledger.world.rosters.iter().find(|roster| roster.hash() == parent.roster_hash);
    let mut part = joint.unwrap().parts().last().unwrap().clone();
    let id = part.next_id;
    let own = Member {
        id,
        name: "own".to_owned(),
        key: validator(id.get()).validator_key(),
        ..part.members[0].clone()
    };
    (part.members, part.next_id) = (vec![own], id.next().unwrap());
    part.changes += 1;
    let roster = Roster::single(part.clone()).unwrap();
    let order = Recovery {
        chain_id: ledger.world.chain_id,
        roster_hash: parent.roster_hash,
        tip: parent.block_ref(),
        term: term(9),
        proposer: id,
        part,
    };
    let approvals = approvals.iter().map(|key| order.approve(key)).collect();
    let item = Item::Recovery(order.assemble(approvals));
    let body = Body { item: Some(item.clone()), transactions: Vec::new() };
    let mut draft = ledger.world.draft(BlockKind::Recovery, body);
    draft.parent = parent.block_ref();
    (draft.term, draft.proposer, draft.roster_hash) = (term(9), id, roster.hash());
    let header = ledger.world.seal(draft).header().clone();
    let ack = Statement::Ack { block: header.block_ref() };
    let certificate = ledger.world.certificate_by(ack, &roster, &[id.get()]);
    RosterStep { parent, header, item, path: CertificatePath { headers: Vec::new(), certificate } }
}

#[test]
fn admins_that_were_replaced_take_nobody_along() {
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, Vec::new());
    let admins = Admins { threshold: 1, keys: vec![admin(2).account_key()] };
    ledger.enter(vec![Change::SetAdmins(admins)], QUORUM);
    ledger.leave(QUORUM);
    ledger.empty();
    let mut trust = genesis_trust(&ledger);
    let step = RosterStep { path: path(&ledger, 2, 2, 1, QUORUM), ..ledger.step(2, QUORUM) };
    trust.cross(&step, &Ed25519).unwrap();
    trust.check_path(block(&ledger, 4), &path(&ledger, 4, 4, 2, QUORUM), &Ed25519).unwrap();
    // Under the roster that is in force their word counts for nothing, nor under the joint one that
    // the verifier still believes, because it does not know where that was left.
    let found = trust.cross(&coup(&ledger, 4, &[admin(0)]), &Ed25519);
    let bad = ChangeError::BadApproval { admin: admin(0).account_key() };
    let recovery =
        |error| Err(TrustError::Malformed(Malformed::Recovery(RecoveryError::Change(error))));
    assert_eq!(found, recovery(bad));
    let found = trust.cross(&coup(&ledger, 2, &[admin(0), admin(1)]), &Ed25519);
    let few = ChangeError::Unapproved { approvals: 0, threshold: 1 };
    assert_eq!(found, recovery(few));
    assert_eq!(trust.roster(), ledger.world.roster());
}

#[test]
fn no_step_undoes_what_was_certified() {
    let mut ledger = Ledger::new(&genesis(5));
    ledger.open(1, 0, QUORUM, Vec::new());
    ledger.empty();
    let fork = |change: &dyn Fn(&mut Ledger)| {
        let mut fork = Ledger::new(&genesis(5));
        fork.open(1, 0, QUORUM, Vec::new());
        fork.empty();
        change(&mut fork);
        fork
    };
    ledger.empty();
    ledger.empty();
    let mut trust = genesis_trust(&ledger);
    trust.check_path(block(&ledger, 3), &path(&ledger, 3, 4, 0, QUORUM), &Ed25519).unwrap();
    let newest = block(&ledger, 4);

    // The admins, or the quorum itself, go on from below.
    let recovered = fork(&|fork| fork.recover(2, &[0, 1]));
    let entered = fork(&|fork| fork.enter(vec![Change::Remove { id: node(4) }], QUORUM));
    for (other, signers) in [(&recovered, &[0, 1][..]), (&entered, QUORUM)] {
        let parent = block(other, 2);
        let found = trust.cross(&other.step(3, signers), &Ed25519);
        assert_eq!(found, Err(TrustError::Undoes { parent, newest }));
    }
    // From another block at the same height.
    let beside = fork(&|fork| {
        fork.empty();
        fork.open(2, 1, QUORUM, Vec::new());
        fork.recover(3, &[0, 1]);
    });
    let found = trust.cross(&beside.step(5, &[0, 1]), &Ed25519);
    assert_eq!(found, Err(TrustError::Undoes { parent: block(&beside, 4), newest }));
    assert_eq!((trust.newest(), trust.roster()), (newest, &ledger.world.rosters[0]));

    // From the block itself, and from one above it.
    ledger.recover(2, &[0, 1]);
    trust.cross(&ledger.step(5, &[0, 1]), &Ed25519).unwrap();
    ledger.empty();
    ledger.recover(3, &[0, 1]);
    trust.cross(&ledger.step(7, &[0, 1]), &Ed25519).unwrap();
    assert_eq!(trust.newest(), ledger.world.tip());
}

#[test]
fn old_keys_do_not_hold_the_newest_block_back() {
    let ledger = ledger();
    let mut trust = crossed(&ledger);
    let newest = trust.newest();
    // They agree on a block that never was, in a term that never comes, where they still count.
    let wild = BlockRef { term: term(u64::MAX), ..somewhere(0, 1, 9) };
    let ack = Statement::Ack { block: wild };
    let certificate = ledger.world.certificate_by(ack, &ledger.world.rosters[0], QUORUM);
    let path = CertificatePath { headers: Vec::new(), certificate };
    assert_eq!(trust.check_path(wild, &path, &Ed25519), Ok(()));
    assert_eq!(trust.newest(), newest);
    // Time goes on.
    let next = self::path(&ledger, 9, 9, 2, NEW);
    trust.check_path(block(&ledger, 9), &next, &Ed25519).unwrap();
    assert_eq!(trust.newest(), block(&ledger, 9));
}

#[test]
fn trust_may_begin_anywhere() {
    let ledger = ledger();
    let rosters: &[Roster] = &ledger.world.rosters;
    let mut trust = Trust::new(ledger.world.chain_id, rosters[1].clone(), block(&ledger, 4));
    assert_eq!(trust.chain_id(), ledger.world.chain_id);
    // From a joint roster on, the one it turns into is believed with it.
    assert_eq!(trust.roster(), &rosters[2]);
    trust.check_path(block(&ledger, 9), &path(&ledger, 9, 9, 2, NEW), &Ed25519).unwrap();
    let below = trust.check_path(block(&ledger, 3), &path(&ledger, 3, 3, 1, BOTH), &Ed25519);
    assert!(matches!(below, Err(TrustError::NotInForce { .. })));
    assert_ne!(trust.newest(), somewhere(0, 0, 0));
}
