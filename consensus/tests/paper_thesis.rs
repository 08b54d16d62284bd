//! Ongaro's thesis on what keeps an election from doing harm: pre-vote (9.6), stickiness (4.2.3) and a
//! leader that steps down (6.2); on what is kept on disk (3.8), and on writing there in parallel (10.2).
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::World;
use quorate_chain::ids::NodeId;
use quorate_consensus::event::Event;
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

/// 9.6: nobody raises its term to campaign before more than half of the group have said that
/// they would vote for it.
#[test]
fn a_candidate_without_pre_votes_keeps_its_term() {
    let mut world = World::led(5);
    world.isolate(4);
    world.cut(4, 3, false);
    for _ in 0..10 {
        world.timeout(4);
        world.carry_kind(4, 3, "PreVoteRequest");
        world.wire.clear();
        assert_eq!(world.term(4), 1);
    }
}

/// 9.6: a pre-vote is only for somebody whose log is good enough to be elected.
#[test]
fn no_pre_vote_for_a_log_that_could_not_win() {
    let mut world = World::led(3);
    world.isolate(2);
    world.seal(0);
    world.settle();
    world.kill(0);
    world.heal();
    for _ in 0..3 {
        world.timeout(2);
        world.carry_kind(2, 1, "PreVoteRequest");
        assert_eq!(world.on_the_way("Vote"), []);
        world.wire.clear();
    }
    assert_eq!((world.term(1), world.term(2)), (1, 1));
}

/// 9.6: and it is only from those who have had no word of a rightful leader for the least election timeout.
#[test]
fn no_pre_vote_while_a_leader_is_heard() {
    for (silence, granted) in [(0, false), (500, false), (900, false), (1_000, true)] {
        let mut world = World::led(3);
        world.timeout(0);
        world.settle();
        let heard = world.moment;
        world.lose_power(0);
        // Node 2 is impatient: it was told that its connection is closed.
        world.step(2, Event::LinkLost { node: NodeId::new(0) });
        world.sleep(Span::millis(silence));
        world.step(2, Event::Tick);
        if world.standing(2) != Standing::Candidate {
            world.timeout(2);
        }
        world.carry_kind(2, 1, "PreVoteRequest");
        let waited = world.moment.since(heard) >= Span::millis(1_000);
        assert_eq!(waited, granted);
        assert_eq!(world.on_the_way("Vote").len(), usize::from(granted), "after {silence} ms");
    }
}

/// 9.6: a server that is cut off stays in its term, and so has no higher one than the others when it is
/// back: the leader stays.
#[test]
fn a_server_that_was_partitioned_does_not_disrupt() {
    let mut world = World::led(5);
    world.isolate(4);
    world.run(Span::millis(60_000));
    assert_eq!(world.term(4), 1);
    world.heal();
    world.run(Span::millis(5_000));
    assert_eq!(world.leaders(), [(0, 1)]);
    assert_eq!(world.leader_of(4), Some(0));
}

/// 9.6: who is back cannot raise its term either, for the others hear the leader all the time. Even with a
/// log as good as theirs.
#[test]
fn a_server_that_returns_gets_no_pre_vote() {
    let mut world = World::led(5);
    world.isolate(4);
    world.run(Span::millis(5_000));
    assert_eq!((world.standing(4), world.tip(4)), (Standing::Candidate, world.tip(0)));
    // All links are there again, but that it does not hear the leader yet.
    world.heal();
    world.cut_one_way(0, 4, true);
    world.sent.clear();
    world.run(Span::millis(10_000));
    assert!(world.sent["PreVoteRequest"] >= 5 * 4);
    assert_eq!(world.sent["PreVoteRequest"], world.sent["Refuse"]);
    assert_eq!((world.leaders(), world.term(4)), (vec![(0, 1)], 1));
}

/// 9.6: as soon as the leader's heartbeat gets to it, it follows again, in the term in which it was.
#[test]
fn a_heartbeat_ends_a_candidacy_in_the_same_term() {
    let mut world = World::led(3);
    world.step(2, Event::LinkLost { node: NodeId::new(0) });
    world.timeout(2);
    assert_eq!((world.standing(2), world.leader_of(2)), (Standing::Candidate, None));
    world.timeout(0);
    world.carry_kind(0, 2, "Heartbeat");
    assert_eq!((world.standing(2), world.leader_of(2)), (Standing::Follower, Some(0)));
    assert_eq!((world.term(2), world.leaders()), (1, vec![(0, 1)]));
}

/// 4.2.3: who has heard from a leader a moment ago, less than the least election timeout, neither votes nor
/// takes over the term of who asks. Even with a certificate of pre-votes that is good.
#[test]
fn no_vote_and_no_term_while_a_leader_is_heard() {
    let mut world = World::led(5);
    // A quorum of pre-votes is given while the leader seems dead, and kept back.
    world.isolate(0);
    world.sleep(Span::millis(1_000));
    world.timeout(4);
    for id in [1, 2] {
        world.carry_kind(4, id, "PreVoteRequest");
        world.carry_kind(id, 4, "Vote");
    }
    let request = world.take(4, 1, Some("VoteRequest")).unwrap();
    world.wire.clear();
    world.heal();
    world.cut(0, 4, true);
    world.step(0, Event::Tick);
    if world.standing(0) != Standing::Leader {
        world.run(Span::millis(5_000));
    }
    world.run(Span::millis(300));
    let (term, leader) = (world.term(1), world.leader_of(1));
    assert!(leader.is_some());
    world.arrive(4, 1, request);
    assert_eq!((world.term(1), world.leader_of(1)), (term, leader));
    assert_eq!(world.on_the_way("Vote"), []);
    assert_eq!(world.on_the_way("Refuse"), [(1, 4)]);
}

/// 6.2: a leader gives up if its heartbeats are not answered by a majority for as long as an election timeout.
#[test]
fn a_leader_that_no_majority_answers_steps_down() {
    let mut world = World::led(5);
    for id in [2, 3, 4] {
        world.cut_one_way(id, 0, true);
    }
    let start = world.moment;
    while world.standing(0) == Standing::Leader {
        world.timeout(0);
        world.settle();
        assert!(
            world.moment.since(start) <= Span::millis(2_100),
            "at the second look at the latest"
        );
    }
    assert!(!world.seal(0), "and has no slot any more");
    let mut world = World::led(5);
    for id in [3, 4] {
        world.cut_one_way(id, 0, true);
    }
    world.run(Span::millis(30_000));
    assert_eq!(world.leaders(), [(0, 1)], "a majority is enough");
}

/// 3.8: term and vote are on disk. Without them a server could vote again in a term after a crash, or let a
/// leader that is deposed replace what a newer one has brought.
#[test]
fn term_and_vote_survive_a_crash() {
    let mut world = World::new(3, 64);
    world.timeout(0);
    world.carry_kind(0, 1, "PreVoteRequest");
    world.carry_kind(1, 0, "Vote");
    world.carry_kind(0, 1, "VoteRequest");
    let ballot = world.core(1).unwrap().ballot().clone();
    world.lose_power(1);
    world.start(1);
    assert_eq!(*world.core(1).unwrap().ballot(), ballot);
}

/// 3.8: an entry counts for its commit where it is on disk, and only there. So no restart takes
/// back what is committed.
#[test]
fn a_block_counts_only_where_it_is_on_disk() {
    let mut world = World::led(3);
    world.hold_disk(0, true);
    world.hold_disk(1, true);
    world.seal(0);
    world.settle();
    assert!((0..3).all(|id| world.committed(id) == 2), "only node 2 has it");
    world.hold_disk(1, false);
    world.settle();
    assert!(world.committed(1) >= 3 && world.committed(2) >= 3, "nodes 1 and 2 are a quorum");
}

/// 10.2.1: the leader writes to its disk while it sends, and may commit what its own disk lacks, if enough
/// followers have it on theirs. Here others may; the leader itself applies what is on its own disk, so that
/// what is applied is always durable below it.
#[test]
fn the_leaders_disk_delays_nobody_else() {
    let mut world = World::led(3);
    world.hold_disk(0, true);
    world.seal(0);
    world.settle();
    assert!(world.committed(1) >= 3 && world.committed(2) >= 3);
    assert_eq!(world.committed(0), 2);
    world.hold_disk(0, false);
    assert_eq!(world.committed(0), 3);
}

/// 10.2.2: with pipelining an append is sent before the one before it is answered. When one is lost, the
/// next does not fit and is refused, and the leader begins again from there.
#[test]
fn appends_are_pipelined_and_begin_anew_when_one_is_lost() {
    let mut world = World::led(3);
    for _ in 0..6 {
        world.seal(0);
    }
    assert_eq!(world.on_the_way("Append").len(), 12);
    let lost = world.take(0, 1, Some("Append")).unwrap();
    assert!(matches!(lost, Message::Append(_)));
    world.settle();
    world.run(Span::millis(200));
    assert_eq!(world.tip(1), world.tip(0));
}
