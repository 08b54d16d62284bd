//! Who may order a recovery, and what it may say.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, admin, new_member, node, term};
use quorate_chain::crypto::{Ed25519, SecretKey};
use quorate_chain::recovery::{Recovery, RecoveryError, SignedRecovery};
use quorate_chain::roster::{Admins, Change, ChangeError, Roster};

/// Five validators, led by 0 in term 1.
fn world() -> World {
    let mut world = World::new(5);
    world.open(1, 0, &[0, 1, 2]);
    world
}

/// On the way from admins 0 and 1, one of whom suffices, to 1, 2 and 3, two of whom must agree.
fn joint() -> World {
    let mut world = world();
    let mut keys: Vec<_> = [1, 2, 3].iter().map(|id| admin(*id).account_key()).collect();
    keys.sort();
    world.enter(vec![Change::SetAdmins(Admins { threshold: 2, keys })], &[0, 1, 2]);
    world
}

/// Validators 3 and 4 go on, led by 3 in term 2.
fn order(world: &World, change: impl FnOnce(&mut Recovery)) -> Recovery {
    let mut part = world.roster().parts().last().unwrap().clone();
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
    order
}

fn check(world: &World, signed: &SignedRecovery) -> Result<Roster, RecoveryError> {
    signed.check(world.chain_id, world.roster(), &Ed25519)
}

fn by(order: &Recovery, admins: &[SecretKey]) -> SignedRecovery {
    order.clone().assemble(admins.iter().map(|key| order.approve(key)).collect())
}

#[test]
fn out_of_a_joint_roster_the_admins_of_both_parts_must_agree() {
    let world = joint();
    let order = order(&world, |_| {});
    let found = |ids: &[u8]| {
        let keys: Vec<_> = ids.iter().map(|id| admin(*id)).collect();
        check(&world, &by(&order, &keys))
    };
    let expected = Roster::single(order.part.clone()).unwrap();
    for enough in [&[1, 2][..], &[1, 3], &[0, 2, 3], &[0, 1, 2, 3]] {
        assert_eq!(found(enough).as_ref(), Ok(&expected), "{enough:?}");
    }
    let few = |approvals, threshold| {
        Err(RecoveryError::Change(ChangeError::Unapproved { approvals, threshold }))
    };
    // The old admins alone, and one who is in both parts but not enough for the new one.
    assert_eq!(found(&[0]), few(0, 2));
    assert_eq!(found(&[0, 1]), few(1, 2));
    // The new admins alone.
    assert_eq!(found(&[2, 3]), few(0, 1));
    assert_eq!(found(&[]), few(0, 1));
    let stranger = ChangeError::BadApproval { admin: admin(9).account_key() };
    assert_eq!(found(&[0, 1, 2, 9]), Err(RecoveryError::Change(stranger)));
    // Enough good signatures do not make up for a bad one.
    for wrong in [0, 2] {
        let mut approvals: Vec<_> = [0, 1, 2].map(|id| order.approve(&admin(id))).into();
        approvals[wrong].signature = order.approve(&admin(9)).signature;
        let bad = ChangeError::BadApproval { admin: approvals[wrong].admin };
        let found = check(&world, &order.clone().assemble(approvals));
        assert_eq!(found, Err(RecoveryError::Change(bad)));
    }
}

#[test]
fn after_the_change_the_new_admins_alone_decide() {
    let mut world = joint();
    world.leave(&[0, 1, 2]);
    let order = order(&world, |_| {});
    assert!(check(&world, &by(&order, &[admin(2), admin(3)])).is_ok());
    let bad = ChangeError::BadApproval { admin: admin(0).account_key() };
    assert_eq!(check(&world, &by(&order, &[admin(0)])), Err(RecoveryError::Change(bad)));
}

#[test]
fn who_leads_must_vote_in_the_roster_that_goes_on() {
    let mut world = world();
    world.enter(vec![Change::Add(new_member(5, false))], &[0, 1, 2]);
    world.leave(&[0, 1, 2]);
    // Not in it any more, only a learner in it, never in any.
    for other in [0, 5, 9] {
        let order = order(&world, |order| order.proposer = node(other));
        let expected = RecoveryError::Proposer { proposer: node(other) };
        assert_eq!(check(&world, &by(&order, &[admin(0)])), Err(expected));
    }
    for voter in [3, 4] {
        let order = order(&world, |order| order.proposer = node(voter));
        assert!(check(&world, &by(&order, &[admin(0)])).is_ok());
    }
}

#[test]
fn no_id_is_given_again() {
    // The next part of the joint roster has given the id 5, the current one has not.
    let mut world = world();
    world.enter(vec![Change::Add(new_member(5, false))], &[0, 1, 2]);
    let with = |next: u32| {
        let order = order(&world, |order| {
            order.part.members.retain(|member| member.id < node(5));
            order.part.next_id = node(next);
        });
        check(&world, &by(&order, &[admin(0)]))
    };
    let expected = RecoveryError::IdsReused { given: node(6), next: node(5) };
    assert_eq!(with(5), Err(expected));
    assert!(with(6).is_ok());
    assert!(with(60).is_ok());
}
