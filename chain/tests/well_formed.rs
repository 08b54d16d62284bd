//! Which blocks may stand on which parents.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, admin, new_member, node, somewhere, term, update, validator};
use quorate_chain::block::{Block, BlockKind, Body, EnterChange, Item};
use quorate_chain::certificate::{CertificateError, CertificateKind};
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{BlockHash, ChainId, Height, RosterHash, TimeUs};
use quorate_chain::recovery::{Recovery, RecoveryError};
use quorate_chain::roster::{Change, ChangeError, Part};
use quorate_chain::statement::Statement;
use quorate_chain::well_formed::Malformed;

/// A chain of five validators, led by 0 in term 1, two blocks high.
fn world() -> World {
    let mut world = World::new(5);
    world.open(1, 0, &[0, 1, 2]);
    world.transactions(vec![update(world.chain_id, 0, 0, "a", "1")]);
    world
}

fn empty() -> Body {
    Body::default()
}

#[test]
fn a_term_goes_on_under_its_proposer() {
    let world = world();
    let block = world.seal(world.draft(BlockKind::Transactions, empty()));
    assert_eq!(world.check(&block), Ok(None));
    assert!(matches!(world.seal(world.draft(BlockKind::Closing, empty())), block
        if world.check(&block) == Ok(None)));

    let mut draft = world.draft(BlockKind::Transactions, empty());
    draft.proposer = node(1);
    let expected = Malformed::Proposer { expected: Some(node(0)), found: node(1) };
    assert_eq!(world.check(&world.seal(draft)), Err(expected));
}

#[test]
fn nobody_proposes_on_the_genesis_without_an_election() {
    let world = World::new(3);
    let draft = world.draft(BlockKind::Transactions, empty());
    let expected = Malformed::Proposer { expected: None, found: node(0) };
    assert_eq!(world.check(&world.seal(draft)), Err(expected));
}

#[test]
fn height_parent_time_chain_and_executed_are_bound() {
    let world = world();
    let base = || world.draft(BlockKind::Transactions, empty());

    let mut draft = base();
    draft.parent.height = Height::new(7);
    let expected = Malformed::Height { parent: Height::new(2), found: Height::new(8) };
    assert_eq!(world.check(&world.seal(draft)), Err(expected));

    let mut draft = base();
    draft.parent.hash = BlockHash::new([9; 32]);
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Parent { .. })));

    let mut draft = base();
    draft.time = TimeUs::new(world.parent().time.get() - 1);
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Time { .. })));
    let mut draft = base();
    draft.time = world.parent().time;
    assert_eq!(world.check(&world.seal(draft)), Ok(None));

    let mut draft = base();
    draft.chain_id = ChainId::new([9; 32]);
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Chain { .. })));

    let mut draft = base();
    draft.executed = Height::new(3);
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Executed { .. })));

    let mut draft = base();
    draft.roster_hash = RosterHash::new([9; 32]);
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Roster { .. })));
}

#[test]
fn a_higher_term_takes_an_election_for_exactly_this_term_proposer_and_parent() {
    let world = world();
    let good = world.opening_draft(2, 1, &[1, 2, 3]);
    assert_eq!(world.check(&world.seal(good.clone())), Ok(None));

    let mut without = good.clone();
    (without.kind, without.body) = (BlockKind::Transactions, empty());
    assert!(matches!(world.check(&world.seal(without)), Err(Malformed::Term { .. })));

    for (other_term, other_proposer) in [(3, 1), (2, 2)] {
        let mut draft = good.clone();
        draft.term = term(other_term);
        draft.proposer = node(other_proposer);
        assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Election(_))));
    }

    let tip = somewhere(1, 2, 7);
    let vote = Statement::Vote { term: term(2), candidate: node(1), tip };
    let mut draft = good.clone();
    draft.body.item = Some(Item::Opening(world.certificate(vote, &[1, 2, 3])));
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Election(_))));

    let pre = Statement::PreVote { term: term(2), candidate: node(1), tip: world.tip() };
    let mut draft = good;
    draft.body.item = Some(Item::Opening(world.certificate(pre, &[1, 2, 3])));
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Election(_))));
}

#[test]
fn an_election_takes_a_quorum_of_the_parents_roster() {
    let world = world();
    let two = world.seal(world.opening_draft(2, 1, &[1, 2]));
    let expected = CertificateError::NoQuorum { signers: 2 };
    assert_eq!(world.check(&two), Err(Malformed::Certificate(expected)));

    let stranger = world.seal(world.opening_draft(2, 1, &[1, 2, 9]));
    let expected = CertificateError::NotVoter { signer: node(9) };
    assert_eq!(world.check(&stranger), Err(Malformed::Certificate(expected)));
}

#[test]
fn only_a_voter_is_elected() {
    let mut world = world();
    let stranger = world.seal(world.opening_draft(2, 9, &[1, 2, 3]));
    assert_eq!(world.check(&stranger), Err(Malformed::Stranger { proposer: node(9) }));
    world.enter(vec![Change::Add(new_member(5, false))], &[0, 1, 2]);
    world.leave(&[0, 1, 2]);
    let learner = world.seal(world.opening_draft(2, 5, &[1, 2, 3]));
    assert_eq!(world.check(&learner), Err(Malformed::Stranger { proposer: node(5) }));
}

#[test]
fn a_term_never_falls_and_is_opened_once() {
    let mut world = world();
    world.open(5, 1, &[1, 2, 3]);
    let lower = world.seal(world.opening_draft(4, 2, &[1, 2, 3]));
    assert!(matches!(world.check(&lower), Err(Malformed::Term { .. })));
    let again = world.seal(world.opening_draft(5, 1, &[1, 2, 3]));
    assert!(matches!(world.check(&again), Err(Malformed::Term { .. })));
}

#[test]
fn a_roster_is_entered_and_left() {
    let mut world = world();
    world.enter(vec![Change::Add(new_member(5, true))], &[0, 1, 2]);
    assert!(world.roster().is_joint());
    world.transactions(Vec::new());
    world.leave(&[0, 1, 2]);
    assert!(!world.roster().is_joint());
    assert_eq!(world.roster().ids().len(), 6);

    // The leader promotes the learner by itself.
    let change = EnterChange::Promotion { id: node(5) };
    let item = Some(Item::Enter { change, certificate: world.commit(&[0, 1, 2]) });
    let mut draft = world.draft(BlockKind::Enter, Body { item, transactions: Vec::new() });
    draft.roster_hash = world.roster().promote(node(5)).unwrap().hash();
    world.push(world.seal(draft));
    world.leave(&[0, 1, 2, 3]);
    assert!(world.roster().is_voter(node(5)));
}

#[test]
fn a_roster_block_takes_a_certificate_by_the_roster_it_leaves() {
    let mut world = world();
    let steps = || vec![Change::Add(new_member(5, false))];
    let few = world.seal(world.enter_draft(steps(), &[0, 1]));
    let expected = CertificateError::NoQuorum { signers: 2 };
    assert_eq!(world.check(&few), Err(Malformed::Certificate(expected)));

    world.enter(
        vec![Change::Add(new_member(5, false)), Change::Promote { id: node(5) }],
        &[0, 1, 2],
    );
    // A quorum of the old part alone is none of the joint roster: 3 of 6 is no majority.
    let half = world.seal(world.leave_draft(&[0, 1, 2]));
    let expected = CertificateError::NoQuorum { signers: 3 };
    assert_eq!(world.check(&half), Err(Malformed::Certificate(expected)));
    let both = world.seal(world.leave_draft(&[0, 1, 2, 3]));
    assert!(world.check(&both).is_ok());

    // Votes are no commit certificate.
    let vote = Statement::Vote { term: term(1), candidate: node(0), tip: world.tip() };
    let mut draft = world.leave_draft(&[0, 1, 2, 3]);
    draft.body.item = Some(Item::Leave { certificate: world.certificate(vote, &[0, 1, 2, 3]) });
    let expected = CertificateError::OtherKind {
        expected: CertificateKind::Commit,
        found: CertificateKind::Election,
    };
    assert_eq!(world.check(&world.seal(draft)), Err(Malformed::Certificate(expected)));
}

#[test]
fn a_certificate_in_a_roster_block_is_for_a_block_below() {
    let world = world();
    let mut draft = world.enter_draft(vec![Change::Add(new_member(5, false))], &[0, 1, 2]);
    let above = Statement::Ack { block: somewhere(1, 3, 7) };
    let Some(Item::Enter { certificate, .. }) = &mut draft.body.item else { unreachable!() };
    *certificate = world.certificate(above, &[0, 1, 2]);
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::CertificateFar { .. })));
}

#[test]
fn one_change_at_a_time() {
    let mut world = world();
    world.enter(vec![Change::Add(new_member(5, false))], &[0, 1, 2]);
    let signed = world.change(vec![Change::Remove { id: node(4) }]);
    let change = EnterChange::Ordered(signed);
    let item = Some(Item::Enter { change, certificate: world.commit(&[0, 1, 2]) });
    let draft = world.draft(BlockKind::Enter, Body { item, transactions: Vec::new() });
    let found = world.check(&world.seal(draft));
    assert_eq!(found, Err(Malformed::Change(ChangeError::UnderWay)));
}

#[test]
fn there_is_nothing_to_leave_in_a_single_roster() {
    let world = world();
    let item = Some(Item::Leave { certificate: world.commit(&[0, 1, 2]) });
    let draft = world.draft(BlockKind::Leave, Body { item, transactions: Vec::new() });
    assert_eq!(world.check(&world.seal(draft)), Err(Malformed::NotJoint));
}

/// The block by which the admins go on with validators 3 and 4, led by 3 in term 2.
fn recovery(world: &World, change: impl FnOnce(&mut Recovery)) -> Block {
    let mut part: Part = world.roster().current().clone();
    part.members.retain(|member| member.id >= node(3));
    part.changes += 1;
    let mut order = Recovery {
        chain_id: world.chain_id,
        roster_hash: world.roster().hash(),
        tip: world.tip(),
        term: term(2),
        proposer: node(3),
        part,
    };
    change(&mut order);
    let approval = order.approve(&admin(1));
    let roster = quorate_chain::roster::Roster::single(order.part.clone()).unwrap();
    let item = Some(Item::Recovery(order.assemble(vec![approval])));
    let mut draft = world.draft(BlockKind::Recovery, Body { item, transactions: Vec::new() });
    (draft.term, draft.proposer, draft.roster_hash) = (term(2), node(3), roster.hash());
    world.seal(draft)
}

#[test]
fn the_admins_recover_a_group_without_a_quorum() {
    let mut world = world();
    world.push(recovery(&world, |_| {}));
    assert_eq!(world.roster().ids().len(), 2);
    world.transactions(Vec::new());

    let world = self::world();
    let elsewhere = recovery(&world, |order| order.tip = somewhere(1, 2, 7));
    assert!(matches!(world.check(&elsewhere), Err(Malformed::RecoveryElsewhere { .. })));
    let reused = recovery(&world, |order| order.part.next_id = node(5));
    assert!(world.check(&reused).is_ok());
    let old = recovery(&world, |order| order.part.changes = 0);
    let expected = RecoveryError::NotNew { made: 0, found: 0 };
    assert_eq!(world.check(&old), Err(Malformed::Recovery(expected)));
    let stranger = recovery(&world, |order| order.proposer = node(0));
    assert!(matches!(world.check(&stranger), Err(Malformed::RecoveryElsewhere { .. })));
}

#[test]
fn a_recovery_gives_no_id_to_another_key() {
    let world = world();
    let other = recovery(&world, |order| order.part.members[1].key = validator(7).validator_key());
    let expected = RecoveryError::OtherMember { id: node(4) };
    assert_eq!(world.check(&other), Err(Malformed::Recovery(expected)));
    // Somebody new gets a new id.
    let new = recovery(&world, |order| {
        let part = &mut order.part;
        part.members[1].key = validator(7).validator_key();
        (part.members[1].id, part.next_id) = (node(5), node(6));
    });
    assert!(world.check(&new).is_ok());

    // Who has been removed does not come back under the old id.
    let mut world = world;
    world.enter(vec![Change::Remove { id: node(0) }], &[0, 1, 2]);
    let gone = world.rosters[0].member(node(0)).unwrap().clone();
    let back = |world: &World| {
        recovery(world, |order| {
            order.part.members.insert(0, gone.clone());
            order.part.changes += 1;
        })
    };
    assert!(world.check(&back(&world)).is_ok(), "it still is in the old part");
    world.leave(&[1, 2, 3]);
    let expected = RecoveryError::OtherMember { id: node(0) };
    assert_eq!(world.check(&back(&world)), Err(Malformed::Recovery(expected)));
}

#[test]
fn a_recovery_takes_the_admins() {
    let world = world();
    let good = recovery(&world, |_| {});
    let Some(Item::Recovery(signed)) = &good.body().item else { unreachable!() };
    let order = signed.recovery().clone();
    let forged = order.approve(&validator(3));
    let item = Some(Item::Recovery(order.assemble(vec![forged])));
    let mut draft = world.draft(BlockKind::Recovery, Body { item, transactions: Vec::new() });
    (draft.term, draft.proposer) = (term(2), node(3));
    draft.roster_hash = good.header().roster_hash;
    assert!(matches!(world.check(&world.seal(draft)), Err(Malformed::Recovery(_))));
}

#[test]
fn a_block_verifies_by_its_proposers_key_alone() {
    let world = world();
    let block = world.blocks[1].clone();
    let key = validator(0).validator_key();
    assert!(block.clone().verify(world.chain_id, &key, &Ed25519).is_ok());
    let other = validator(1).validator_key();
    assert!(block.clone().verify(world.chain_id, &other, &Ed25519).is_err());
    assert!(block.verify(ChainId::new([1; 32]), &key, &Ed25519).is_err());
}
