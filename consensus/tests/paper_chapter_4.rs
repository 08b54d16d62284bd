//! Chapter 4 of Ongaro's thesis, on changes of the membership, as far as it says more than §6 of the paper
//! (`paper_membership.rs`): on safety (4.1), on availability (4.2), on arbitrary changes (4.3), and on what
//! surrounds them (4.4).
//!
//! Not shown: that nobody is removed because he is not heard (4.4 warns of it). There is nothing here that
//! could: a change without the admins' signatures is no block (`scripts/changes_that_are_refused.txt`).
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::World;
use common::change::{add, describe, steps};
use quorate_chain::ids::NodeId;
use quorate_chain::roster::Change;
use quorate_consensus::event::Event;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

/// The roster at a node's tip.
fn roster(world: &World, id: u32) -> String {
    describe(&world.roster_of(id))
}

/// A group of three in which node 0 leads and node 3 has caught up as a learner.
fn with_a_learner() -> World {
    let mut world = World::led(3);
    let new = world.newcomer(0);
    world.change(0, vec![add(new, false)]);
    world.run(Span::millis(1_000));
    assert_eq!((new, roster(&world, new)), (3, "0 1 2 (3)".to_owned()));
    world
}

/// 4.1: with the commit of its entry a change is done, and nobody wins an election without that entry. 4.3
/// says the same of the joint roster, for leaders have all that is committed.
#[test]
fn who_lacks_a_committed_change_cannot_lead() {
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "4"]));
    for id in [1, 2] {
        world.carry_kind(0, id, "Append");
        world.carry_kind(id, 0, "Stored");
    }
    assert_eq!(world.committed(0), 3);
    world.kill(0);
    assert_eq!([1, 3].map(|id| roster(&world, id)), ["0 1 2 3 4 → 0 1 2 3", "0 1 2 3 4"]);
    world.timeout(3);
    for id in [1, 2, 4] {
        world.carry_kind(3, id, "PreVoteRequest");
    }
    assert_eq!((world.on_the_way("Vote"), world.on_the_way("Refuse").len()), (vec![(4, 3)], 2));
    world.run(Span::millis(5_000));
    assert_eq!([1, 2, 3].map(|id| roster(&world, id)), ["0 1 2 3"; 3], "the change stays");
}

/// 4.1: a leader may answer that a change is done when its entry is committed. Here it says earlier at what
/// height the change stands in its chain, and whoever sees that height committed knows that it goes on by itself.
#[test]
fn a_change_is_answered_by_the_height_at_which_it_enters() {
    let mut world = World::led(4);
    world.loud = true;
    world.change(0, steps(&["remove", "3"]));
    assert!(world.out.contains("0: change enters at 3"), "{}", world.out);
    assert_eq!((world.changed, world.rank(0), world.committed(0)), (1, (1, 3), 2));
    world.run(Span::millis(500));
    assert!((0..3).all(|id| world.committed(id) >= 4 && roster(&world, id) == "0 1 2"));
}

/// 4.1: a follower takes entries even from a leader that its own roster does not name, or nobody could be
/// added. Here blocks that come with a certificate are taken from anyone, and so from a leader whose
/// election cannot be judged yet.
#[test]
fn blocks_are_taken_from_a_leader_of_another_roster() {
    let mut world = with_a_learner();
    world.change(0, steps(&["promote", "3"]));
    world.run(Span::millis(500));
    world.transfer(0, Some(3));
    world.run(Span::millis(500));
    assert_eq!(world.leaders(), [(3, 2)]);
    let new = world.newcomer(3);
    assert_eq!(roster(&world, new), "0 1 2", "it knows what the chain began with");
    world.change(3, vec![add(new, false)]);
    world.run(Span::millis(1_000));
    assert_eq!((world.tip(new), world.leader_of(new)), (world.tip(3), Some(3)));
}

/// 4.1: a candidate may have the vote of somebody whose roster does not name it, if its log is good enough
/// and its term is not over.
#[test]
fn a_vote_is_given_to_a_candidate_of_another_roster() {
    let mut world = with_a_learner();
    world.change(0, steps(&["promote", "3"]));
    world.carry_kind(0, 3, "Append");
    world.kill(0);
    assert_eq!([2, 3].map(|id| roster(&world, id)), ["0 1 2 (3)", "0 1 2 (3) → 0 1 2 3"]);
    world.timeout(3);
    for name in ["PreVoteRequest", "VoteRequest"] {
        for id in [1, 2] {
            world.carry_kind(3, id, name);
            world.carry_kind(id, 3, "Vote");
        }
    }
    assert_eq!(world.standing(3), Standing::Leader, "they know it as a learner");
}

/// The same, where we depart from it: that a term is current is proven by a quorum of the candidate's roster. A
/// voter that is more than one step away from that roster cannot judge the proof; it is brought the blocks
/// first, and votes for whoever asks then.
#[test]
fn a_voter_that_knows_neither_half_of_a_roster_is_brought_the_blocks_first() {
    let mut world = with_a_learner();
    world.isolate(2);
    world.change(0, steps(&["promote", "3"]));
    world.run(Span::millis(500));
    world.kill(0);
    world.heal();
    assert_eq!([2, 3].map(|id| roster(&world, id)), ["0 1 2 (3)", "0 1 2 3"]);
    world.sleep(Span::millis(1_000));
    world.timeout(3);
    for id in [1, 2] {
        world.carry_kind(3, id, "PreVoteRequest");
        world.carry_kind(id, 3, "Vote");
    }
    world.carry_kind(3, 2, "VoteRequest");
    world.carry_kind(2, 3, "Refuse");
    world.carry_kind(3, 2, "Pulled");
    assert_eq!(roster(&world, 2), "0 1 2 3");
    world.run(Span::millis(4_000));
    assert_eq!(world.leaders().len(), 1, "1 2 3 of 0 1 2 3");
}

/// 4.1: where three become four and one of them dies, nobody is elected without the vote of the fourth. It
/// votes without knowing of its promotion.
#[test]
fn a_new_voter_votes_before_it_knows_that_it_is_one() {
    let mut world = with_a_learner();
    world.change(0, steps(&["promote", "3"]));
    world.carry_kind(0, 1, "Append");
    world.kill(0);
    assert_eq!([1, 3].map(|id| roster(&world, id)), ["0 1 2 (3) → 0 1 2 3", "0 1 2 (3)"]);
    world.timeout(1);
    for name in ["PreVoteRequest", "VoteRequest"] {
        world.carry_kind(1, 2, name);
        world.carry_kind(2, 1, "Vote");
        assert_eq!(world.standing(1), Standing::Candidate, "1 2 of 0 1 2 3");
        world.carry_kind(1, 3, name);
        world.carry_kind(3, 1, "Vote");
    }
    assert_eq!(world.standing(1), Standing::Leader);
}

/// 4.2.1: a change is given up if the one to be added is away, or too slow ever to be near. Here a change
/// is refused if the roster that it leads to could commit nothing now; a learner that is slow stays one,
/// and harms nobody.
#[test]
fn a_change_to_a_group_that_could_not_go_on_is_refused() {
    let mut world = World::led(1);
    let new = world.newcomer(0);
    world.isolate(new);
    world.change(0, vec![add(new, true)]);
    world.run(Span::millis(20_000));
    assert_eq!(roster(&world, 0), format!("0 ({new}+)"), "0 alone is no majority of two");
    world.loud = true;
    world.change(0, steps(&["promote", &new.to_string()]));
    assert!(world.out.contains("change refused: the New half takes 2 of 2"), "{}", world.out);
    assert!(world.seal(0));
    assert_eq!(world.committed(0), world.tip(0).height.get(), "it goes on as before");
}

/// 4.2.1: a new log is empty, and the leader has to find that out first: by one refused append after another,
/// each an index lower than the last. Here one is refused: whoever rejects says what it has committed.
#[test]
fn one_reject_tells_that_a_new_log_is_empty() {
    let mut world = World::led(3);
    for _ in 0..100 {
        world.seal(0);
        world.settle();
    }
    world.sent.clear();
    let new = world.newcomer(0);
    world.change(0, vec![add(new, false)]);
    world.run(Span::millis(3_000));
    assert_eq!(world.tip(new), world.tip(0));
    assert_eq!(world.sent["Reject"], 1);
}

/// 4.2.2 and figure 4.6: who is not in its own newest roster campaigns all the same, for until that roster
/// is committed there may be nobody else to elect. Not here: whoever lacks the block pulls it from the one
/// who has it, and leads by itself.
#[test]
fn figure_4_6_the_removed_server_is_not_needed_to_lead() {
    let mut world = World::led(2);
    world.change(0, steps(&["remove", "0"]));
    while roster(&world, 0) != "1" {
        assert!(world.carry(None));
    }
    world.lose_power(0);
    world.start(0);
    world.wire.clear();
    assert_eq!([0, 1].map(|id| roster(&world, id)), ["1", "0 1 → 1"]);
    for _ in 0..10 {
        world.timeout(0);
        assert_eq!((world.standing(0), world.wire.len()), (Standing::Follower, 0));
    }
    world.until_candidate(1);
    world.carry_kind(1, 0, "PreVoteRequest");
    assert_eq!(world.on_the_way("Refuse"), [(0, 1)], "node 1 cannot win without it");
    world.run(Span::millis(5_000));
    assert_eq!(world.leaders().len(), 1);
    assert_eq!((world.standing(1), roster(&world, 1)), (Standing::Leader, "1".to_owned()));
    assert!(world.committed(1) > 4);
}

/// 4.2.3 and figure 4.7: pre-votes are not enough against somebody who was removed, for its log may be as
/// good as any, and its campaign still in the way. The leader alone has the block that removes the server;
/// the others hear it.
#[test]
fn figure_4_7_a_removed_server_with_as_good_a_log_disturbs_nobody() {
    let mut world = World::led(4);
    world.change(0, steps(&["remove", "3"]));
    while roster(&world, 0) != "0 1 2" {
        assert!(world.carry(None));
    }
    world.cut_one_way(0, 3, true);
    world.wire.clear();
    assert!([1, 2].into_iter().all(|id| world.tip(3) == world.tip(id)), "it has what they have");
    for _ in 0..5 {
        world.step(3, Event::LinkLost { node: NodeId::new(0) });
        // The leader is heard, and its block is not.
        for id in [1, 2] {
            world.timeout(0);
            while world.take(0, id, Some("Append")).is_some() {}
            world.carry_kind(0, id, "Heartbeat");
        }
        world.step(3, Event::Tick);
        world.until_candidate(3);
        for id in [0, 1, 2] {
            while let Some(request) = world.take(3, id, Some("PreVoteRequest")) {
                world.arrive(3, id, request);
            }
        }
        assert_eq!(world.on_the_way("Vote"), []);
        world.wire.clear();
    }
    assert_eq!((world.leaders(), world.term(3)), (vec![(0, 1)], 1));
}

/// 4.2.4: there is somebody to elect at each step of a change. 4.4: whoever is replaced in this way, one
/// server may be dead at each moment of it. Node 3 takes the place of node 2 in one change, each of the
/// four dies at each step, and the others go on.
#[test]
fn any_one_may_die_at_any_step_of_a_change() {
    let mut at_steps = 0;
    for dies in 0..4 {
        for step in 0..200 {
            let mut world = with_a_learner();
            world.change(0, steps(&["promote", "3", "remove", "2"]));
            if (0..step).any(|_| !world.carry(None)) {
                break;
            }
            at_steps += 1;
            world.kill(dies);
            world.run(Span::millis(8_000));
            let (leader, _) = *world.leaders().iter().max_by_key(|(_, term)| *term).unwrap();
            let settled = roster(&world, leader);
            assert!(["0 1 2 (3)", "0 1 3"].contains(&&*settled), "{dies} at {step}: {settled}");
            let before = world.committed(leader);
            world.seal(leader);
            world.run(Span::millis(500));
            assert!(world.committed(leader) > before, "{dies} at {step}");
            world.check_same_chain();
        }
    }
    assert!(at_steps > 60, "{at_steps}");
}

/// 4.2.4: who leads goes on leading, as long as the members of its roster hear it.
#[test]
fn a_leader_stays_through_a_change() {
    let mut world = with_a_learner();
    world.change(0, steps(&["promote", "3", "remove", "2"]));
    for _ in 0..100 {
        world.run(Span::millis(100));
        world.seal(0);
        // Whoever was removed hears no leader any more.
        world.step(2, Event::LinkLost { node: NodeId::new(0) });
        assert_eq!(world.leaders(), [(0, 1)]);
    }
    assert_eq!(roster(&world, 0), "0 1 3");
}

/// 4.2.4: a change keeps no client waiting. 4.3: nor does a joint roster.
#[test]
fn blocks_are_committed_while_the_roster_is_joint() {
    let mut world = World::led(5);
    world.change(0, steps(&["remove", "3", "remove", "4"]));
    for _ in 0..10 {
        assert!(world.seal(0), "there is a slot");
    }
    assert_eq!((roster(&world, 0).as_str(), world.rank(0)), ("0 1 2 3 4 → 0 1 2", (1, 13)));
    world.settle();
    assert_eq!((roster(&world, 0).as_str(), world.committed(0)), ("0 1 2", 14));
}

/// 4.3: for three servers to be replaced by nine others, two of the three have to agree, and five of the nine.
#[test]
fn from_three_to_nine_others_takes_two_of_three_and_five_of_nine() {
    for order in [[3, 4, 5, 6, 7, 8, 9, 10, 11, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
        let mut world = World::led(3);
        for id in 3..12 {
            assert_eq!(world.newcomer(0), id);
            world.change(0, vec![add(id, false)]);
            world.run(Span::millis(500));
        }
        world.run(Span::millis(500));
        let removed = (0..3).map(|id| Change::Remove { id: NodeId::new(id) });
        let promoted = (3..12).map(|id| Change::Promote { id: NodeId::new(id) });
        world.change(0, promoted.chain(removed).collect());
        assert!(roster(&world, 0).ends_with("→ 3 4 5 6 7 8 9 10 11"), "{}", roster(&world, 0));
        let entered = world.tip(0).height.get();
        let acked = order.into_iter().take_while(|id| {
            world.carry_kind(0, *id, "Append");
            world.carry_kind(*id, 0, "Stored");
            world.committed(0) < entered
        });
        // Nine of nine and one of three are too few; so are three of three and four of nine.
        assert_eq!(acked.count(), if order[0] == 3 { 9 } else { 6 });
        world.run(Span::millis(5_000));
        assert_eq!(roster(&world, 3), "3 4 5 6 7 8 9 10 11");
    }
}

/// 4.4: a group begins with one server, whose log begins with a roster of itself alone. All others begin
/// with nothing, and come in by changes, from which they learn the roster. A genesis may list several
/// here; one is enough.
#[test]
fn a_group_grows_from_one() {
    let mut world = World::led(1);
    for expected in ["0 1", "0 1 2"] {
        let new = world.newcomer(0);
        assert_eq!(world.tip(new).height.get(), 0, "its log is empty");
        world.change(0, vec![add(new, true)]);
        world.run(Span::millis(2_000));
        assert!((0..=new).all(|id| roster(&world, id) == expected));
    }
    world.kill(0);
    world.run(Span::millis(5_000));
    assert_eq!(world.leaders().len(), 1, "whoever began it is not needed any more");
}
