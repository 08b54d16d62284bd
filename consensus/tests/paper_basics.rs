//! Raft (Ongaro and Ousterhout, extended version), §5.1 and §5.2, sentence by sentence.
//!
//! Each test is named after what its sentence says, and its doc says what the sentence says, in our words. Where
//! the protocol departs from the paper, the test shows the departure and says why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::World;
use quorate_chain::ids::NodeId;
use quorate_chain::roster::Lead;
use quorate_consensus::event::Event;
use quorate_consensus::jitter::Jitter;
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

/// §5.1: mostly one server leads, and all the rest follow it.
#[test]
fn in_normal_operation_one_leads_and_all_others_follow() {
    for count in 1..=7 {
        let mut world = World::led(count);
        for _ in 0..20 {
            world.run(Span::millis(100));
            world.seal(0);
        }
        assert_eq!(world.leaders(), [(0, 1)]);
        assert!((1..count).all(|id| world.standing(id) == Standing::Follower));
    }
}

/// §5.1: a follower asks for nothing by itself. It answers those who lead or campaign.
#[test]
fn followers_are_passive() {
    let mut world = World::led(3);
    world.sleep(Span::millis(50));
    world.step(1, Event::Tick);
    assert!(world.wire.is_empty());
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    assert_eq!(world.on_the_way("Stored"), [(1, 0)]);
}

/// §5.1: a client that comes to a follower is sent on to the leader. Here a follower has no slot that a
/// block could be sealed for, and it names the leader.
#[test]
fn a_follower_seals_nothing_and_names_the_leader() {
    let mut world = World::led(3);
    assert!(!world.seal(1));
    assert_eq!(world.leader_of(1), Some(0));
}

/// §5.1: terms are counted up one by one, without gaps.
#[test]
fn terms_are_consecutive() {
    let mut world = World::led(5);
    for term in 1..6 {
        let (leader, found) = world.leaders()[0];
        assert_eq!(found, term);
        world.kill(leader);
        let next = (leader + 1) % 5;
        world.timeout(next);
        world.settle();
        world.start(leader);
        world.run(Span::millis(200));
    }
}

/// §5.1: if no candidate gets enough votes, the term passes without a leader, and the next one is soon
/// there. §5.2: for whoever campaigned in vain tries again after a timeout, one term higher.
#[test]
fn after_a_split_vote_a_new_term_begins() {
    let mut world = World::new(2, 64);
    for id in [0, 1] {
        world.timeout(id);
    }
    world.settle();
    assert_eq!(world.leaders(), []);
    assert_eq!((world.term(0), world.term(1)), (1, 1));
    world.run(Span::millis(10_000));
    let leaders = world.leaders();
    assert_eq!(leaders.len(), 1);
    assert!(leaders[0].1 > 1);
}

/// §5.1: nobody else leads a term that has a leader.
#[test]
fn a_term_has_at_most_one_leader() {
    let mut led = BTreeSet::new();
    for first in 0..5 {
        let mut world = World::new(5, 64);
        for id in [first, (first + 2) % 5] {
            world.timeout(id);
        }
        while world.carry(None) {
            let leaders = world.leaders();
            let terms: BTreeSet<_> = leaders.iter().map(|(_, term)| *term).collect();
            assert_eq!(terms.len(), leaders.len());
            led.extend(leaders);
        }
    }
    assert!(!led.is_empty());
}

/// §5.1: the term that a server has noted only rises, across crashes too.
#[test]
fn a_term_never_falls_across_crashes_either() {
    let mut world = World::led(3);
    world.kill(0);
    world.timeout(1);
    world.settle();
    let before = (world.term(1), world.term(2));
    assert_eq!(before, (2, 2));
    for id in [1, 2] {
        world.kill(id);
        world.start(id);
    }
    assert_eq!((world.term(1), world.term(2)), before);
    world.start(0);
    world.run(Span::millis(5_000));
    assert!(world.term(1) >= 2 && world.term(2) >= 2);
}

/// §5.1: every message has its sender's term, and whoever is behind takes over the higher one. Here a term
/// alone says nothing: it is taken over with a certificate that proves it, so that one liar cannot raise it.
#[test]
fn a_proven_higher_term_is_taken_over_and_no_other() {
    let mut world = World::led(3);
    world.isolate(2);
    world.kill(0);
    world.start(0);
    world.run(Span::millis(3_000));
    let term = world.term(1);
    assert!(term > 1);
    let proof = world.core(1).unwrap().ballot().proof.as_ref().unwrap().to_proof();
    let forged = world.forged((1, 2), "Stale", (term, 9), &[1]);
    world.heal();
    world.arrive(1, 2, forged);
    assert_eq!(world.term(2), 1, "one signature proves nothing");
    world.arrive(1, 2, Message::Stale(proof));
    assert_eq!(world.term(2), term);
}

/// §5.1: who leads or campaigns in a term that is over follows as soon as it hears so.
#[test]
fn a_leader_or_candidate_of_an_old_term_becomes_a_follower_at_once() {
    for leads in [true, false] {
        let mut world = World::led(3);
        world.isolate(0);
        if leads {
            for id in [1, 2] {
                world.step(id, Event::LinkLost { node: NodeId::new(0) });
            }
            world.timeout(1);
            world.settle();
        } else {
            // It steps down by itself, and campaigns.
            world.run(Span::millis(4_000));
            world.timeout(0);
        }
        let expected = if leads { Standing::Leader } else { Standing::Candidate };
        assert_eq!((world.standing(0), world.term(0)), (expected, 1));
        let other = (1..3).find(|id| world.standing(*id) == Standing::Leader).unwrap();
        let proof = world.core(other).unwrap().ballot().proof.as_ref().unwrap().to_proof();
        world.heal();
        if leads {
            // Its next word is answered with the votes for the other one.
            world.timeout(0);
            assert!(world.carry(Some((0, other))) && world.carry(Some((other, 0))));
        } else {
            world.arrive(other, 0, Message::Stale(proof));
        }
        assert_eq!(world.standing(0), Standing::Follower);
        assert_eq!(world.term(0), world.term(other));
    }
}

/// §5.1: what is asked in a term that is over is refused.
#[test]
fn a_request_of_an_old_term_is_rejected() {
    let mut world = World::led(3);
    world.seal(0);
    let append = world.take(0, 1, Some("Append")).unwrap();
    world.kill(0);
    world.wire.clear();
    world.timeout(1);
    world.settle();
    world.start(0);
    assert_eq!(world.term(1), 2);
    world.arrive(0, 1, append);
    assert_eq!(world.on_the_way("Stale"), [(1, 0)]);
    assert_eq!(world.rank(1).0, 2, "nothing of it is taken");
}

/// §5.1: all are asked side by side, and again if no answer comes.
#[test]
fn requests_go_to_all_at_once_and_are_repeated() {
    let mut world = World::led(4);
    world.seal(0);
    assert_eq!(world.on_the_way("Append"), [(0, 1), (0, 2), (0, 3)]);
    world.wire.clear();
    world.run(Span::millis(300));
    assert!((0..4).all(|id| world.committed(id) >= 3), "what was lost was sent again");
}

/// §5.2: nobody leads or campaigns when it starts: it follows.
#[test]
fn whoever_starts_is_a_follower() {
    let mut world = World::led(3);
    assert!((0..3).all(|id| World::new(3, 64).standing(id) == Standing::Follower));
    world.kill(0);
    world.start(0);
    assert_eq!(world.standing(0), Standing::Follower);
    assert_eq!(world.leader_of(0), None);
}

/// §5.2: one goes on following while it hears somebody who leads or campaigns rightfully. Here only a
/// leader counts, or a candidate that it votes for.
#[test]
fn whoever_hears_a_leader_stays_a_follower() {
    let mut world = World::led(3);
    for _ in 0..200 {
        world.run(Span::millis(50));
        assert_eq!(
            (world.standing(1), world.standing(2)),
            (Standing::Follower, Standing::Follower)
        );
    }
    assert_eq!(world.leaders(), [(0, 1)]);
}

/// §5.2: a leader that has nothing to send sends empty appends to all, again and again, so that they
/// go on following it.
#[test]
fn a_leader_sends_heartbeats_to_all() {
    let mut world = World::led(4);
    for _ in 0..5 {
        world.timeout(0);
        let beats: BTreeSet<_> = world.on_the_way("Heartbeat").into_iter().collect();
        assert_eq!(beats, BTreeSet::from([(0, 1), (0, 2), (0, 3)]));
        world.settle();
    }
}

/// §5.2: a follower for which all is silent for an election timeout takes the leader for dead, and campaigns.
#[test]
fn a_follower_that_hears_nothing_begins_an_election() {
    let mut world = World::led(3);
    world.lose_power(0);
    let start = world.moment;
    world.timeout(1);
    let silence = world.moment.since(start);
    assert!(silence >= Span::millis(690) && silence < Span::millis(2_000), "{silence:?}");
    assert_eq!(world.standing(1), Standing::Candidate);
    world.settle();
    assert_eq!(world.leaders(), [(1, 2)]);
}

/// §5.2: who campaigns goes one term up, gives itself its vote, and asks all others for theirs at once.
/// Here it asks for pre-votes first (thesis 9.6) and does all this once a quorum has given them.
#[test]
fn a_candidate_raises_its_term_votes_for_itself_and_asks_all() {
    let mut world = World::led(4);
    world.kill(0);
    world.timeout(1);
    assert_eq!((world.standing(1), world.term(1)), (Standing::Candidate, 1));
    let asked: BTreeSet<_> = world.on_the_way("PreVoteRequest").into_iter().collect();
    assert_eq!(asked, BTreeSet::from([(1, 0), (1, 2), (1, 3)]));
    world.carry_kind(1, 2, "PreVoteRequest");
    world.carry_kind(1, 3, "PreVoteRequest");
    world.carry_kind(2, 1, "Vote");
    assert_eq!(world.term(1), 1);
    world.carry_kind(3, 1, "Vote");
    assert_eq!((world.standing(1), world.term(1)), (Standing::Candidate, 2));
    let choice = format!("{:?}", world.core(1).unwrap().ballot().choice);
    assert!(choice.contains("candidate: NodeId(1)"), "{choice}");
    let asked: BTreeSet<_> = world.on_the_way("VoteRequest").into_iter().collect();
    assert_eq!(asked, BTreeSet::from([(1, 0), (1, 2), (1, 3)]));
}

/// §5.2: it takes votes of more than half of the whole group, dead ones included, and all of one term.
#[test]
fn a_majority_of_the_full_group_elects() {
    let mut world = World::led(5);
    world.kill(0);
    world.timeout(1);
    for id in [2, 3] {
        world.carry_kind(1, id, "PreVoteRequest");
        world.carry_kind(id, 1, "Vote");
    }
    world.carry_kind(1, 2, "VoteRequest");
    world.carry_kind(2, 1, "Vote");
    assert_eq!(world.standing(1), Standing::Candidate, "two of five");
    world.carry_kind(1, 3, "VoteRequest");
    world.carry_kind(3, 1, "Vote");
    assert_eq!(world.standing(1), Standing::Leader, "three of five");
}

/// §5.2: a server has one vote a term, and whoever asks first gets it.
#[test]
fn the_first_who_asks_gets_the_vote_of_the_term() {
    let mut world = World::new(3, 64);
    world.timeout(0);
    world.timeout(1);
    for id in [0, 1] {
        world.carry_kind(id, 2, "PreVoteRequest");
        world.carry_kind(2, id, "Vote");
    }
    world.carry_kind(1, 2, "VoteRequest");
    world.carry_kind(0, 2, "VoteRequest");
    assert_eq!(world.on_the_way("Vote"), [(2, 1)]);
    assert_eq!(world.on_the_way("Refuse"), [(2, 0)]);
}

/// §5.2: who has enough votes leads, and says so to all others at once, before one of them campaigns as
/// well. Here the opening block does that: it carries the election.
#[test]
fn a_new_leader_tells_all_at_once() {
    let mut world = World::led(3);
    world.kill(0);
    world.timeout(1);
    world.carry_kind(1, 2, "PreVoteRequest");
    world.carry_kind(2, 1, "Vote");
    world.carry_kind(1, 2, "VoteRequest");
    world.carry_kind(2, 1, "Vote");
    assert_eq!(world.on_the_way("Append"), [(1, 0), (1, 2)]);
    world.settle();
    assert_eq!(world.leader_of(2), Some(1));
}

/// §5.2: a candidate that hears from a leader whose term is not below its own gives up, and follows.
#[test]
fn a_candidate_recognizes_the_leader_of_its_term() {
    let mut world = World::new(3, 64);
    world.timeout(0);
    world.timeout(1);
    for id in [0, 1] {
        world.carry_kind(id, 2, "PreVoteRequest");
        world.carry_kind(2, id, "Vote");
    }
    world.carry_kind(0, 2, "VoteRequest");
    world.carry_kind(2, 0, "Vote");
    assert_eq!((world.standing(1), world.term(1)), (Standing::Candidate, 1));
    world.carry_kind(0, 1, "Append");
    assert_eq!((world.standing(1), world.leader_of(1)), (Standing::Follower, Some(0)));
}

/// §5.2: a leader of a lower term is refused, and the candidate goes on.
#[test]
fn a_candidate_rejects_the_leader_of_an_older_term() {
    let mut world = World::led(3);
    world.seal(0);
    let append = world.take(0, 1, Some("Append")).unwrap();
    world.lose_power(0);
    world.start(0);
    world.timeout(1);
    world.sleep(Span::millis(1_000));
    world.carry_kind(1, 2, "PreVoteRequest");
    world.carry_kind(2, 1, "Vote");
    assert_eq!((world.standing(1), world.term(1)), (Standing::Candidate, 2));
    world.arrive(0, 1, append);
    assert_eq!((world.standing(1), world.term(1)), (Standing::Candidate, 2));
    assert_eq!(world.on_the_way("Stale"), [(1, 0)]);
}

/// §5.2: each timeout is drawn at random between two bounds. Here from [T, 2T), and for those who would
/// rather not lead four times as long.
#[test]
fn election_timeouts_are_spread_over_an_interval() {
    let base = Span::millis(1_000);
    let mut jitter = Jitter::new(7);
    let mut drawn: BTreeSet<_> = BTreeSet::new();
    for _ in 0..1_000 {
        let timeout = jitter.election_timeout(base, Lead::Yes);
        assert!(timeout >= base && timeout < base.times(2));
        drawn.insert(timeout);
        let timeout = jitter.election_timeout(base, Lead::No);
        assert!(timeout >= base.times(4) && timeout < base.times(8));
    }
    assert!(drawn.len() > 900, "they differ");
    let (first, last) = (drawn.first().unwrap(), drawn.last().unwrap());
    assert!(*first < Span::millis(1_050) && *last > Span::millis(1_950));
}

/// §5.2: a candidate draws a new timeout with each campaign, and lets it pass before the next one.
#[test]
fn a_candidate_waits_for_a_timeout_before_it_campaigns_again() {
    let mut world = World::led(3);
    world.isolate(1);
    world.timeout(1);
    for _ in 0..20 {
        let start = world.moment;
        let deadline = world.core(1).unwrap().deadline();
        assert!(deadline.since(start) >= Span::millis(1_000));
        assert!(deadline.since(start) < Span::millis(2_000));
        world.wire.clear();
        world.sleep(Span::millis(500));
        world.step(1, Event::Tick);
        assert!(world.wire.is_empty(), "not before");
        world.timeout(1);
        assert_eq!(world.on_the_way("PreVoteRequest").len(), 2);
    }
}
