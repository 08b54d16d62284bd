//! Raft (Ongaro and Ousterhout, extended version), §6, and chapter 4 of the thesis, sentence by sentence,
//! in our words.
//!
//! Every change is a joint one here, of one member or of many: an `Enter` block and a `Leave` block. So what
//! the thesis says of single-server changes (4.1) holds with a majority of both halves.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::World;
use common::change::{add, describe, steps};
use quorate_chain::ids::NodeId;
use quorate_consensus::event::Event;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

/// What the rosters at the tips of some nodes are.
fn rosters(world: &World, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|id| describe(&world.roster_of(*id))).collect()
}

/// §6: a change has two steps: a joint roster, and the new one once the joint one is committed.
#[test]
fn a_change_goes_through_a_joint_roster_that_is_committed_first() {
    let mut world = World::led(4);
    world.change(0, steps(&["remove", "3"]));
    assert_eq!(rosters(&world, &[0]), ["0 1 2 3 → 0 1 2"]);
    let entered = world.rank(0);
    world.timeout(0);
    assert_eq!(world.rank(0), entered, "nothing leaves a joint roster that is not committed");
    world.run(Span::millis(500));
    assert_eq!(rosters(&world, &[0, 1, 2]), ["0 1 2", "0 1 2", "0 1 2"]);
}

/// §6: while the roster is joint, all of the old one and all of the new one are sent what there is.
#[test]
fn blocks_go_to_all_of_both_halves() {
    let mut world = World::led(3);
    let new = world.newcomer(0);
    world.cut_one_way(1, 0, true);
    world.cut_one_way(2, 0, true);
    world.change(0, vec![add(new, false)]);
    world.run(Span::millis(300));
    assert_eq!(world.committed(0), 2);
    assert!([1, 2, new].iter().all(|id| world.tip(*id) == world.tip(0)), "committed or not");
    let mut world = World::led(4);
    world.change(0, steps(&["remove", "3"]));
    assert!(world.on_the_way("Append").contains(&(0, 3)), "who is to go gets it too");
}

/// §6: under a joint roster nothing is decided without a majority of each half. Here: what is committed.
#[test]
fn a_block_under_a_joint_roster_takes_a_majority_of_both_halves() {
    // Old: 0 1 2 3 4, three are a majority. New: 0 1 2, two are.
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "3", "remove", "4"]));
    world.carry_kind(0, 1, "Append");
    world.carry_kind(1, 0, "Stored");
    assert_eq!(world.committed(0), 2, "a majority of the new half only");
    world.carry_kind(0, 3, "Append");
    world.carry_kind(3, 0, "Stored");
    assert_eq!(world.committed(0), 3, "0 1 3 of the old, 0 1 of the new");
    // The other way round: 0 3 4 are a majority of the old half only.
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "3", "remove", "4"]));
    for id in [3, 4] {
        world.carry_kind(0, id, "Append");
        world.carry_kind(id, 0, "Stored");
    }
    assert_eq!(world.committed(0), 2);
}

/// The same for elections: a candidate with a joint roster at its tip needs votes of both halves.
#[test]
fn an_election_under_a_joint_roster_takes_a_majority_of_both_halves() {
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "3", "remove", "4"]));
    for id in [1, 2, 3, 4] {
        world.carry_kind(0, id, "Append");
    }
    world.lose_power(0);
    world.sleep(Span::millis(2_000));
    world.cut(1, 2, true);
    world.timeout(1);
    world.settle();
    assert_eq!(
        world.leaders(),
        [],
        "1 3 4 are a majority of the old half, 1 alone none of the new"
    );
    assert_eq!(world.term(1), 1);
    world.cut(1, 2, false);
    world.timeout(1);
    world.settle();
    assert_eq!(world.standing(1), Standing::Leader);
}

/// §6: the leader of a joint roster may be of either half. Here also one that only the old half has: it
/// leads until the new roster is committed.
#[test]
fn one_of_the_old_half_only_may_lead_under_a_joint_roster() {
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "3", "remove", "4"]));
    for id in [1, 2, 3, 4] {
        world.carry_kind(0, id, "Append");
    }
    world.lose_power(0);
    world.sleep(Span::millis(2_000));
    world.timeout(3);
    while world.standing(3) != Standing::Leader && world.carry(None) {}
    assert_eq!(world.standing(3), Standing::Leader);
    world.run(Span::millis(5_000));
    assert_eq!(rosters(&world, &[1, 2]), ["0 1 2", "0 1 2"], "and finishes the change");
    let (leader, _) = *world.leaders().last().unwrap();
    assert!([1, 2].contains(&leader), "then one of the new half leads");
}

/// §6: whoever has the entry of a new roster goes by that roster from then on. The newest one in the log
/// counts, committed or not.
#[test]
fn a_roster_is_in_force_from_its_block_on_committed_or_not() {
    let mut world = World::led(4);
    world.change(0, steps(&["remove", "3"]));
    world.carry_kind(0, 1, "Append");
    assert_eq!((world.committed(0), world.committed(1)), (2, 2));
    assert_eq!(rosters(&world, &[0, 1, 2]), ["0 1 2 3 → 0 1 2", "0 1 2 3 → 0 1 2", "0 1 2 3"]);
}

/// §6: after a crash of the leader, the next one may have the joint roster in its log or still the old one.
/// One without it wins: the change is gone.
#[test]
fn a_leader_without_the_change_undoes_it() {
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "4"]));
    world.carry_kind(0, 1, "Append");
    world.kill(0);
    world.isolate(1);
    world.run(Span::millis(4_000));
    world.heal();
    world.run(Span::millis(4_000));
    assert_eq!(rosters(&world, &[1, 2, 3, 4]), ["0 1 2 3 4"; 4]);
    // One with it wins: it finishes the change.
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "4"]));
    world.carry_kind(0, 1, "Append");
    world.kill(0);
    world.timeout(1);
    world.run(Span::millis(4_000));
    assert_eq!(rosters(&world, &[1, 2, 3]), ["0 1 2 3"; 3]);
}

/// §6: the new roster is in force from its own block on, and that block is committed under its rules: by a majority
/// of the new half, whatever the old one says. So both never decide alone at the same time.
#[test]
fn the_new_roster_is_committed_by_its_own_majority_alone() {
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "3", "remove", "4"]));
    while describe(&world.roster_of(0)) != "0 1 2" {
        assert!(world.carry(None));
    }
    let left = world.tip(0).height.get();
    for id in [2, 3, 4] {
        world.isolate(id);
    }
    assert!(world.committed(0) < left);
    world.settle();
    assert!(world.committed(0) >= left, "0 and 1 are two of the new three, and of the old five");
}

/// §6: as soon as the new roster has committed its own entry, the old one means nothing any more, and
/// whoever the new one does not name can be switched off.
#[test]
fn who_was_removed_can_be_shut_down() {
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "3", "remove", "4"]));
    world.run(Span::millis(500));
    world.kill(3);
    world.kill(4);
    world.kill(2);
    let before = world.committed(0);
    world.seal(0);
    world.run(Span::millis(500));
    assert!(world.committed(0) > before, "0 and 1 are a majority of 0 1 2");
}

/// §6: who is new has no vote at first: it is sent all entries, and no majority counts it.
#[test]
fn a_learner_gets_blocks_and_does_not_count() {
    let mut world = World::led(3);
    let new = world.newcomer(0);
    world.change(0, vec![add(new, false)]);
    world.run(Span::millis(1_000));
    assert_eq!(world.applied(new), world.applied(0));
    assert_eq!(rosters(&world, &[0]), [format!("0 1 2 ({new})")]);
    world.kill(1);
    world.kill(2);
    let before = world.committed(0);
    world.seal(0);
    world.run(Span::millis(300));
    assert_eq!(world.committed(0), before, "0 and the learner are no majority of 0 1 2");
    world.run(Span::millis(10_000));
    assert_eq!(world.standing(new), Standing::Follower, "nor does it campaign");
}

/// §6: the change itself begins when the new ones have what the others have. Thesis 4.2.1 likewise. The
/// leader promotes by itself who was added for that.
#[test]
fn a_learner_is_promoted_once_it_has_caught_up() {
    let mut world = World::led(3);
    for _ in 0..100 {
        world.seal(0);
        world.settle();
    }
    let new = world.newcomer(0);
    world.isolate(new);
    world.change(0, vec![add(new, true)]);
    world.run(Span::millis(5_000));
    assert_eq!(rosters(&world, &[0]), [format!("0 1 2 ({new}+)")], "not before");
    world.heal();
    world.run(Span::millis(2_000));
    assert_eq!(rosters(&world, &[0]), [format!("0 1 2 {new}")]);
    assert_eq!(world.tip(new), world.tip(0));
}

/// Thesis 4.2.1: while a new server catches up, more is sealed, which it lacks again; so it is enough if what it lacks
/// can be had quickly. Here a learner is promoted within a window of the tip, though it never has the tip itself.
#[test]
fn a_learner_is_promoted_while_blocks_go_on() {
    let mut world = World::led(3);
    for _ in 0..100 {
        world.seal(0);
        world.settle();
    }
    let new = world.newcomer(0);
    world.hold_disk(new, true);
    world.change(0, vec![add(new, true)]);
    for _ in 0..100 {
        // The next block is there before the last one is on its disk.
        world.seal(0);
        while world.is_writing(new) {
            world.write_one(new);
        }
        world.run(Span::millis(20));
        assert!(world.is_writing(new), "it lacks something whenever it is heard");
    }
    assert_eq!(rosters(&world, &[0]), [format!("0 1 2 {new}")]);
}

/// §6: a leader that the new roster does not name leads until the entry of that roster is committed, and
/// follows then. Thesis 4.2.2 likewise.
#[test]
fn a_leader_that_is_removed_steps_down_once_that_is_committed() {
    let mut world = World::led(4);
    world.change(0, steps(&["remove", "0"]));
    while world.standing(0) == Standing::Leader && world.carry(None) {
        let left = describe(&world.roster_of(0)) == "1 2 3";
        let done =
            left && world.core(0).unwrap().log().tip().block.height.get() == world.committed(0);
        assert!(!done || world.standing(0) == Standing::Follower, "not a block longer");
    }
    assert_eq!(world.standing(0), Standing::Follower);
    assert_eq!(rosters(&world, &[0]), ["1 2 3"]);
    world.run(Span::millis(5_000));
    let leaders = world.leaders();
    assert_eq!(leaders.len(), 1);
    assert_ne!(leaders[0].0, 0);
}

/// §6: until then such a leader leads others only: it sends to them, and is no part of any majority itself.
#[test]
fn a_leader_that_is_removed_does_not_count_itself() {
    let mut world = World::led(3);
    world.change(0, steps(&["remove", "0"]));
    while describe(&world.roster_of(0)) != "1 2" {
        assert!(world.carry(None));
    }
    let left = world.tip(0).height.get();
    world.isolate(2);
    world.settle();
    assert!(world.committed(0) < left, "0 and 1 are no majority of 1 2");
    world.heal();
    world.run(Span::millis(3_000));
    assert!(world.committed(1) >= left);
}

/// §6: who was removed hears no leader any more, and so campaigns against the others. Not here:
/// thesis 4.2.3 and 9.6.
#[test]
fn who_was_removed_disturbs_nobody() {
    let mut world = World::led(4);
    // It does not even hear that it was removed.
    world.isolate(3);
    world.change(0, steps(&["remove", "3"]));
    world.run(Span::millis(1_000));
    world.heal();
    world.run(Span::millis(30_000));
    assert_eq!(world.leaders(), [(0, 1)]);
    for _ in 0..5 {
        world.step(3, Event::LinkLost { node: NodeId::new(0) });
        world.run(Span::millis(2_000));
    }
    assert_eq!(world.leaders(), [(0, 1)]);
}

/// Thesis 4.1: a leader begins no change while the last one in its log is not committed. Nor while
/// the roster is joint.
#[test]
fn one_change_at_a_time() {
    let mut world = World::led(5);
    world.loud = true;
    world.change(0, steps(&["remove", "4"]));
    let entered = world.rank(0);
    world.out.clear();
    world.change(0, steps(&["remove", "3"]));
    assert_eq!(world.rank(0), entered, "{}", world.out);
    world.run(Span::millis(500));
    world.change(0, steps(&["remove", "3"]));
    world.run(Span::millis(500));
    assert_eq!(rosters(&world, &[0]), ["0 1 2"]);
}

/// Ongaro, on the bug of the single-server change (2015): a leader begins no change before an entry of its
/// own term is committed.
#[test]
fn no_change_before_a_commit_of_the_own_term() {
    let mut world = World::led(4);
    world.kill(0);
    world.timeout(1);
    while world.standing(1) != Standing::Leader && world.carry(None) {}
    assert_eq!(
        (world.standing(1), world.rank(1), world.committed(1)),
        (Standing::Leader, (2, 3), 2)
    );
    world.change(1, steps(&["remove", "3"]));
    assert_eq!(rosters(&world, &[1]), ["0 1 2 3"]);
    world.settle();
    world.change(1, steps(&["remove", "3"]));
    assert_eq!(rosters(&world, &[1]), ["0 1 2 3 → 0 1 2"]);
}
