//! How rosters change: each step, each refusal, who must approve, and what makes a quorum.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{World, admin, client, genesis, new_member, node, validator};
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::crypto::{Ed25519, SecretKey};
use quorate_chain::ids::{AccountKey, ChainId, NodeId, RosterHash};
use quorate_chain::limits;
use quorate_chain::roster::{
    Admins, Change, ChangeError, Lead, NewMember, Part, QuorumKind, QuorumSize, Role, Roster,
    RosterChange, RosterError, SignedRosterChange,
};

const CHAIN: ChainId = ChainId::new([7; 32]);

/// Five voters with ids 0 to 4, and two admins of whom one suffices.
fn roster() -> Roster {
    genesis(5).roster().unwrap()
}

fn change(roster: &Roster, steps: Vec<Change>) -> RosterChange {
    RosterChange { chain_id: CHAIN, roster_hash: roster.hash(), steps }
}

/// The roster after a change has been entered and left.
fn after(roster: &Roster, steps: Vec<Change>) -> Result<Roster, ChangeError> {
    let joint = roster.apply(&change(roster, steps))?;
    assert!(joint.is_joint());
    assert_eq!(joint.current(), roster.current());
    assert_eq!(Roster::from_bytes(&joint.to_bytes()).unwrap().hash(), joint.hash());
    let left = joint.left().unwrap();
    assert_eq!(Some(left.current()), joint.next());
    assert_eq!(joint.halves(), [roster.clone(), left.clone()]);
    Ok(left)
}

fn invalid(roster: &Roster, steps: Vec<Change>) -> RosterError {
    match after(roster, steps) {
        Err(ChangeError::Invalid(error)) => error,
        other => unreachable!("{other:?}"),
    }
}

fn ids(roster: &Roster) -> Vec<u32> {
    roster.ids().into_iter().map(NodeId::get).collect()
}

fn add(id: u32) -> Change {
    Change::Add(new_member(id, false))
}

fn remove(id: u32) -> Change {
    Change::Remove { id: node(id) }
}

fn promote(id: u32) -> Change {
    Change::Promote { id: node(id) }
}

fn quorums(vote: QuorumSize, finality: QuorumSize) -> Change {
    Change::SetQuorums { vote, finality }
}

fn named(name: &str) -> Change {
    Change::Add(NewMember { name: name.to_owned(), ..new_member(5, false) })
}

fn admins(threshold: u16, keys: &[SecretKey]) -> Admins {
    let mut keys: Vec<_> = keys.iter().map(SecretKey::account_key).collect();
    keys.sort();
    Admins { threshold, keys }
}

#[test]
fn a_new_member_is_a_learner_with_the_next_id() {
    let two = after(&roster(), vec![add(5), Change::Add(new_member(6, true))]).unwrap();
    assert_eq!(ids(&two), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(two.current().next_id, node(7));
    let [five, six] = [5, 6].map(|id| two.member(node(id)).unwrap().clone());
    assert_eq!(
        (five.role, six.role),
        (Role::Learner { promote: false }, Role::Learner { promote: true })
    );
    let new = new_member(5, false);
    assert_eq!((five.name, five.key, five.p2p, five.api), (new.name, new.key, new.p2p, new.api));
    assert!(!two.is_voter(node(5)) && two.is_voter(node(4)));
    assert_eq!(two.current().quorum(QuorumKind::Commit), 3);
}

#[test]
fn an_id_is_never_given_again() {
    let gone = after(&roster(), vec![add(5), remove(5), remove(4)]).unwrap();
    assert_eq!(ids(&gone), [0, 1, 2, 3]);
    assert_eq!(gone.current().next_id, node(6));
    // The same key may come back, under another id.
    let back = after(&gone, vec![Change::Add(new_member(4, false))]).unwrap();
    assert_eq!(ids(&back), [0, 1, 2, 3, 6]);
    assert_eq!(back.member(node(6)).unwrap().key, validator(4).validator_key());

    let mut part = roster().current().clone();
    part.next_id = NodeId::new(u32::MAX);
    let full = Roster::single(part).unwrap();
    assert_eq!(after(&full, vec![add(5)]), Err(ChangeError::NoIdLeft));
}

#[test]
fn a_learner_is_promoted_and_a_voter_replaced() {
    let learner = after(&roster(), vec![add(5)]).unwrap();
    let six = after(&learner, vec![promote(5)]).unwrap();
    assert_eq!(six.member(node(5)).unwrap().role, Role::Voter);
    assert_eq!(six.current().quorum(QuorumKind::Commit), 4);
    // Replacing is one change.
    let joint = learner.apply(&change(&learner, vec![promote(5), remove(0)])).unwrap();
    let left = joint.left().unwrap();
    assert_eq!(ids(&left), [1, 2, 3, 4, 5]);
    assert_eq!(left.current().voters().count(), 5);
    // While it is under way both take part, each in its part.
    assert!(joint.is_voter(node(0)) && joint.is_voter(node(5)));
    let quorum = |signers: &[u32]| {
        joint.has_quorum(QuorumKind::Commit, &signers.iter().map(|id| node(*id)).collect())
    };
    assert!(quorum(&[1, 2, 3]) && quorum(&[0, 1, 2, 5]));
    assert!(!quorum(&[0, 1, 2]) && !quorum(&[1, 2, 5]) && !quorum(&[0, 1, 5]));

    for id in [0, 5] {
        let known = after(&six, vec![promote(id)]);
        assert_eq!(known, Err(ChangeError::AlreadyVoter { id: node(id) }));
    }
    let unknown = Err(ChangeError::UnknownMember { id: node(9) });
    assert_eq!(after(&six, vec![promote(9)]), unknown);
    assert_eq!(after(&six, vec![remove(9)]), unknown);
    assert_eq!(
        after(&six, vec![remove(5), promote(5)]),
        Err(ChangeError::UnknownMember { id: node(5) })
    );
}

#[test]
fn what_is_known_of_a_member_is_said_anew() {
    let update = |id, name: &str| Change::Update {
        id: node(id),
        name: name.to_owned(),
        p2p: vec!["/dns/a".to_owned()],
        api: vec!["https://a".to_owned(), "https://b".to_owned()],
        lead: Lead::No,
    };
    let before = roster();
    let left = after(&before, vec![update(2, "new-name")]).unwrap();
    let (old, new) = (before.member(node(2)).unwrap(), left.member(node(2)).unwrap());
    assert_eq!((new.name.as_str(), new.lead), ("new-name", Lead::No));
    assert_eq!((new.p2p.len(), new.api.len()), (1, 2));
    assert_eq!((&new.key, new.role, new.id), (&old.key, old.role, old.id));
    // A joint roster has the member as the newest part has it.
    let joint = before.apply(&change(&before, vec![update(2, "new-name")])).unwrap();
    assert_eq!(joint.member(node(2)), Some(new));
    assert_eq!(
        after(&before, vec![update(7, "x")]),
        Err(ChangeError::UnknownMember { id: node(7) })
    );
    let twice = RosterError::NameTwice { name: "node1".to_owned() };
    assert_eq!(invalid(&before, vec![update(2, "node1")]), twice);
    // Two names are exchanged in one change.
    assert!(after(&before, vec![update(1, "node2"), update(2, "node1")]).is_ok());
}

#[test]
fn a_roster_that_breaks_its_rules_is_not_entered() {
    let five = roster();
    let all = (0..5).map(remove).collect();
    assert_eq!(invalid(&five, all), RosterError::NoVoter);
    // Learners alone do not make a roster.
    let learners = (0..5).map(remove).chain([add(5)]).collect();
    assert_eq!(invalid(&five, learners), RosterError::NoVoter);

    let name = |text: &str| RosterError::Name { name: text.to_owned() };
    for bad in ["", "Upper", "a b", "ä", "a_b"] {
        assert_eq!(invalid(&five, vec![named(bad)]), name(bad));
    }
    let long = "x".repeat(limits::NAME + 1);
    assert_eq!(invalid(&five, vec![named(&long)]), name(&long));
    assert!(after(&five, vec![named(&long[1..])]).is_ok());
    let twice = RosterError::NameTwice { name: "node3".to_owned() };
    assert_eq!(invalid(&five, vec![named("node3")]), twice);
    let key = NewMember { name: "other".to_owned(), ..new_member(3, false) };
    assert_eq!(invalid(&five, vec![Change::Add(key)]), RosterError::KeyTwice { id: node(5) });
    // Room is made by whoever leaves in the same change.
    assert!(after(&five, vec![remove(3), Change::Add(new_member(3, false))]).is_ok());

    let at = |p2p: Vec<String>| vec![Change::Add(NewMember { p2p, ..new_member(5, false) })];
    for bad in [String::new(), "a b".to_owned(), "é".to_owned(), "x".repeat(limits::ADDRESS + 1)] {
        let expected = RosterError::Address { id: node(5), address: bad.clone() };
        assert_eq!(invalid(&five, at(vec![bad])), expected);
    }
    assert!(after(&five, at(vec!["x".repeat(limits::ADDRESS); limits::ADDRESSES])).is_ok());
    let many = vec!["x".to_owned(); limits::ADDRESSES + 1];
    assert_eq!(invalid(&five, at(many)), RosterError::TooManyAddresses { id: node(5) });
}

#[test]
fn a_part_has_at_most_so_many_members_in_order() {
    let most = u32::try_from(limits::MEMBERS).unwrap();
    let full = genesis(most).roster().unwrap();
    let found = limits::MEMBERS + 1;
    assert_eq!(invalid(&full, vec![add(70)]), RosterError::TooManyMembers { found });
    assert!(after(&full, vec![remove(3), add(70)]).is_ok());

    let part = roster().current().clone();
    let wrong = |change: &dyn Fn(&mut Part)| {
        let mut part = part.clone();
        change(&mut part);
        let single = Roster::single(part.clone()).unwrap_err();
        assert_eq!(Roster::joint(part.clone(), roster().current().clone()), Err(single.clone()));
        assert_eq!(Roster::joint(roster().current().clone(), part.clone()), Err(single.clone()));
        assert!(Part::from_bytes(&part.to_bytes()).is_err());
        single
    };
    assert_eq!(wrong(&|part| part.members.swap(1, 2)), RosterError::Unsorted);
    assert_eq!(wrong(&|part| part.members[1].id = node(0)), RosterError::Unsorted);
    assert_eq!(wrong(&|part| part.admins.keys.swap(0, 1)), RosterError::Unsorted);
    let next = RosterError::NextId { last: node(4), next: node(4) };
    assert_eq!(wrong(&|part| part.next_id = node(4)), next);
}

#[test]
fn quorums_are_set_between_the_majority_and_all() {
    use QuorumSize::{Majority, Voters};
    let five = roster();
    let set = after(&five, vec![quorums(Voters(4), Voters(5))]).unwrap();
    let size = |kind| set.current().quorum(kind);
    assert_eq!(size(QuorumKind::Election), 4);
    assert_eq!(size(QuorumKind::Commit), 3);
    assert_eq!(size(QuorumKind::Finality), 5);
    for (vote, finality, found) in [
        (Voters(2), Majority, 2),
        (Voters(6), Majority, 6),
        (Majority, Voters(2), 2),
        (Majority, Voters(6), 6),
    ] {
        let expected = RosterError::Quorum { found, voters: 5 };
        assert_eq!(invalid(&five, vec![quorums(vote, finality)]), expected);
    }
    // They must fit the voters after the change, not before.
    let fewer = RosterError::Quorum { found: 5, voters: 4 };
    assert_eq!(invalid(&set, vec![remove(0)]), fewer);
    assert!(after(&set, vec![remove(0), quorums(Majority, Voters(3))]).is_ok());
    assert!(after(&five, vec![add(5), promote(5), quorums(Voters(6), Voters(6))]).is_ok());
    // Zero is how the bytes say "majority".
    assert_eq!(QuorumSize::from_bytes(&Majority.to_bytes()), Ok(Majority));
    assert_eq!(Voters(0).to_bytes(), Majority.to_bytes());
}

#[test]
fn each_quorum_has_its_size_in_each_part() {
    use QuorumSize::{Majority, Voters};
    // Old: 0 to 4, votes by 4. New: 2 to 6, finality by all five.
    let old = after(&roster(), vec![add(5), add(6), quorums(Voters(4), Majority)]).unwrap();
    let steps = vec![promote(5), promote(6), remove(0), remove(1), quorums(Majority, Voters(5))];
    let joint = old.apply(&change(&old, steps)).unwrap();
    let quorum = |kind, ids: &[u32]| {
        joint.has_quorum(kind, &ids.iter().map(|id| node(*id)).collect::<BTreeSet<_>>())
    };
    assert!(quorum(QuorumKind::Commit, &[2, 3, 4]));
    assert!(quorum(QuorumKind::Commit, &[0, 1, 2, 5, 6]));
    assert!(!quorum(QuorumKind::Commit, &[0, 1, 2, 3]));
    assert!(!quorum(QuorumKind::Commit, &[2, 3, 5, 6]));
    assert!(!quorum(QuorumKind::Commit, &[]));
    // Elections: four of the old, three of the new.
    assert!(quorum(QuorumKind::Election, &[0, 2, 3, 4]));
    assert!(!quorum(QuorumKind::Election, &[2, 3, 4]));
    assert!(!quorum(QuorumKind::Election, &[0, 1, 2, 3]));
    // Finality: three of the old, five of the new.
    assert!(quorum(QuorumKind::Finality, &[2, 3, 4, 5, 6]));
    assert!(!quorum(QuorumKind::Finality, &[0, 1, 2, 3, 4, 5]));
    // Who is in no part, or only learns, does not count.
    assert!(!quorum(QuorumKind::Commit, &[2, 3, 7, 8, 9]));
    assert!(!old.has_quorum(QuorumKind::Commit, &[2, 3, 5, 6].map(node).into()));
}

/// A change of the world's roster approved by these.
fn signed(world: &World, by: &[SecretKey]) -> SignedRosterChange {
    let steps = vec![add(5)];
    let change =
        RosterChange { chain_id: world.chain_id, roster_hash: world.roster().hash(), steps };
    let approvals = by.iter().map(|key| change.approve(key)).collect();
    change.assemble(approvals)
}

fn check(world: &World, signed: &SignedRosterChange) -> Result<(), ChangeError> {
    signed.check(world.chain_id, world.roster(), &Ed25519)
}

fn world(threshold: u16) -> World {
    let mut genesis = genesis(3);
    genesis.admins.threshold = threshold;
    genesis.admins.keys = (0..3).map(|id| admin(id).account_key()).collect();
    World::with(&genesis)
}

#[test]
fn a_change_takes_k_of_n_admins() {
    let world = world(2);
    let few = |approvals| Err(ChangeError::Unapproved { approvals, threshold: 2 });
    assert_eq!(check(&world, &signed(&world, &[])), few(0));
    assert_eq!(check(&world, &signed(&world, &[admin(1)])), few(1));
    // An approval given twice is one.
    assert_eq!(check(&world, &signed(&world, &[admin(1), admin(1)])), few(1));
    assert_eq!(check(&world, &signed(&world, &[admin(2), admin(0)])), Ok(()));
    let all = signed(&world, &[admin(2), admin(0), admin(1)]);
    assert_eq!(check(&world, &all), Ok(()));
    assert_eq!(SignedRosterChange::from_bytes(&all.to_bytes()), Ok(all.clone()));
    let checked = all.clone().verify(world.chain_id, world.roster(), &Ed25519).unwrap();
    assert_eq!(checked.into_inner(), all);
}

#[test]
fn a_stranger_or_a_forger_spoils_a_change() {
    let world = world(1);
    let bad = |key: AccountKey| Err(ChangeError::BadApproval { admin: key });
    for stranger in [client(0), validator(0), admin(3)] {
        let key = stranger.account_key();
        assert_eq!(check(&world, &signed(&world, &[admin(0), stranger])), bad(key));
    }
    let steps = vec![add(5)];
    let (chain_id, roster_hash) = (world.chain_id, world.roster().hash());
    let change = RosterChange { chain_id, roster_hash, steps };
    let mut forged = change.approve(&admin(1));
    forged.signature = change.approve(&admin(0)).signature;
    let both = change.clone().assemble(vec![change.approve(&admin(0)), forged]);
    assert_eq!(check(&world, &both), bad(admin(1).account_key()));
    // Approvals of another change, or of this one for another chain or roster.
    let other = RosterChange { steps: vec![remove(0)], ..change.clone() };
    let elsewhere = RosterChange { chain_id: CHAIN, ..change.clone() };
    let earlier = RosterChange { roster_hash: RosterHash::new([9; 32]), ..change.clone() };
    for approved in [other, elsewhere, earlier] {
        let moved = change.clone().assemble(vec![approved.approve(&admin(0))]);
        assert_eq!(check(&world, &moved), bad(admin(0).account_key()));
    }
}

#[test]
fn a_change_is_for_one_chain_and_one_roster() {
    let mut world = world(1);
    let change = signed(&world, &[admin(0)]);
    let elsewhere = change.check(CHAIN, world.roster(), &Ed25519);
    assert_eq!(elsewhere, Err(ChangeError::OtherChain { expected: CHAIN, found: world.chain_id }));

    let first = world.roster().hash();
    world.open(1, 0, &[0, 1]);
    world.enter(vec![add(5)], &[0, 1]);
    for _ in 0..2 {
        let expected = world.roster().hash();
        let other = ChangeError::OtherRoster { expected, found: first };
        assert_eq!(check(&world, &change), Err(other.clone()));
        assert_eq!(world.roster().apply(change.change()), Err(other));
        if world.roster().is_joint() {
            world.leave(&[0, 1]);
        }
    }
}

#[test]
fn one_change_at_a_time() {
    let five = roster();
    let joint = five.apply(&change(&five, vec![Change::Add(new_member(5, true))])).unwrap();
    let second = joint.apply(&change(&joint, vec![remove(0)]));
    assert_eq!(second, Err(ChangeError::UnderWay));
    // A member of the new part is not promoted before the change is left.
    assert_eq!(joint.promote(node(5)), Err(ChangeError::NotAwaiting { id: node(5) }));
    assert_eq!(five.left(), None);
    assert_eq!(five.halves(), std::slice::from_ref(&five));
}

#[test]
fn the_leader_promotes_whoever_awaits_it() {
    let roster = after(&roster(), vec![Change::Add(new_member(5, true)), add(6)]).unwrap();
    let joint = roster.promote(node(5)).unwrap();
    assert!(joint.is_joint());
    assert_eq!(joint.left().unwrap().member(node(5)).unwrap().role, Role::Voter);
    // It is the change that the admins would have made.
    assert_eq!(joint, roster.apply(&change(&roster, vec![promote(5)])).unwrap());
    for id in [0, 6, 7] {
        assert_eq!(roster.promote(node(id)), Err(ChangeError::NotAwaiting { id: node(id) }));
    }
}

#[test]
fn new_admins_decide_once_the_change_is_left() {
    let mut world = world(1);
    world.open(1, 0, &[0, 1]);
    let set = |admins| vec![Change::SetAdmins(admins)];
    world.enter(set(admins(2, &[admin(0), admin(4), admin(5)])), &[0, 1]);
    // Until then the old ones do.
    assert_eq!(world.roster().current().admins, admins(1, &[admin(0), admin(1), admin(2)]));
    world.leave(&[0, 1]);
    let few = Err(ChangeError::Unapproved { approvals: 1, threshold: 2 });
    assert_eq!(check(&world, &signed(&world, &[admin(0)])), few);
    assert_eq!(check(&world, &signed(&world, &[admin(0), admin(4)])), Ok(()));
    let old = Err(ChangeError::BadApproval { admin: admin(1).account_key() });
    assert_eq!(check(&world, &signed(&world, &[admin(0), admin(1)])), old);

    let roster = roster();
    let threshold = |threshold, admins| RosterError::Threshold { threshold, admins };
    assert_eq!(invalid(&roster, set(admins(0, &[admin(0)]))), threshold(0, 1));
    assert_eq!(invalid(&roster, set(admins(2, &[admin(0)]))), threshold(2, 1));
    let many: Vec<_> = (0..17).map(admin).collect();
    assert_eq!(invalid(&roster, set(admins(3, &many))), threshold(3, 17));
    assert_eq!(invalid(&roster, set(admins(2, &[admin(0), admin(0)]))), RosterError::Unsorted);
    let key = AccountKey::ZERO;
    let small = set(Admins { threshold: 1, keys: vec![key] });
    assert_eq!(invalid(&roster, small), RosterError::AdminKey { key });
}

#[test]
fn a_roster_is_the_same_after_it_was_read_back() {
    let single = roster();
    let joint = single.apply(&change(&single, vec![add(5), promote(5), remove(1)])).unwrap();
    let mut hashes = BTreeSet::new();
    for roster in [single, joint.left().unwrap(), joint] {
        let read = Roster::from_bytes(&roster.to_bytes()).unwrap();
        assert_eq!((read.hash(), &read), (roster.hash(), &roster));
        assert!(hashes.insert(roster.hash()));
    }
}

#[test]
fn no_roster_comes_back() {
    let rename = |name: &str| Change::Update {
        id: node(0),
        name: name.to_owned(),
        p2p: roster().current().members[0].p2p.clone(),
        api: roster().current().members[0].api.clone(),
        lead: Lead::Yes,
    };
    let first = roster();
    let second = after(&first, vec![rename("other")]).unwrap();
    let third = after(&second, vec![rename("node0")]).unwrap();
    assert_eq!(third.current().members, first.current().members);
    assert_ne!(third.hash(), first.hash());
    // So what the admins ordered once cannot be ordered again by whoever kept it.
    let again = third.apply(&change(&first, vec![rename("other")]));
    assert!(matches!(again, Err(ChangeError::OtherRoster { .. })));
}

/// Three voters, finality at two of them, and a learner that is to be promoted.
#[test]
fn a_number_that_has_become_less_than_the_majority_means_the_majority() {
    let mut three = genesis(3);
    three.finality_quorum = Some(2);
    let roster = after(&three.roster().unwrap(), vec![Change::Add(new_member(3, true))]).unwrap();
    let four = roster.promote(node(3)).unwrap().left().unwrap();
    let part = four.current();
    assert_eq!(part.finality_quorum, QuorumSize::Voters(2));
    assert_eq!(part.quorum(QuorumKind::Finality), 3);
    assert_eq!(part.quorum(QuorumKind::Commit), 3);
    assert_eq!(Roster::from_bytes(&four.to_bytes()), Ok(four));
}

#[test]
fn the_parts_of_a_joint_roster_are_one_change_apart() {
    let part = roster().current().clone();
    let told = Roster::joint(part.clone(), part.clone());
    assert_eq!(told, Err(RosterError::Changes { current: 0, next: 0 }));

    let mut next = part.clone();
    next.changes += 1;
    next.members[2].key = validator(9).validator_key();
    let told = Roster::joint(part.clone(), next.clone());
    assert_eq!(told, Err(RosterError::OtherKey { id: node(2) }));

    let mut bytes = part.to_bytes().to_vec();
    bytes.push(1);
    bytes.extend_from_slice(&next.to_bytes());
    assert!(Roster::from_bytes(&bytes.into()).is_err());
}
