//! Raft (Ongaro and Ousterhout, extended version) on terms and elections, as far as §5.1, §5.2, §5.5 and §5.6 say
//! more than `paper_basics.rs` and `paper_safety.rs` show. `docs/paper.md` says which sentence is shown where.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{CHAIN, World};
use quorate_chain::block::Item;
use quorate_chain::roster::Lead;
use quorate_chain::statement::Statement;
use quorate_consensus::event::Event;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

/// §5.1: a group of five goes on with two of them dead; with a third one it stops, and loses nothing by that.
#[test]
fn five_go_on_with_two_dead_and_stop_with_three() {
    for dead in [[1, 2, 3], [0, 3, 4], [2, 0, 1]] {
        let mut world = World::led(5);
        world.kill(dead[0]);
        world.kill(dead[1]);
        world.run(Span::millis(5_000));
        let (leader, _) = world.leaders()[0];
        let before = world.committed(leader);
        world.seal(leader);
        world.run(Span::millis(200));
        assert!(world.committed(leader) > before, "without {dead:?}");
        let left = (0..5).find(|id| !dead.contains(id)).unwrap();
        world.kill(dead[2]);
        world.run(Span::millis(300));
        let before = world.committed(left);
        for id in (0..5).filter(|id| !dead.contains(id)) {
            world.seal(id);
        }
        world.run(Span::millis(10_000));
        assert_eq!((world.leaders(), world.committed(left)), (vec![], before));
        world.start(dead[0]);
        world.run(Span::millis(8_000));
        assert!(world.leaders().len() == 1 && world.committed(left) > before);
        world.check_same_chain();
    }
}

/// §5.1: an election opens each term, and its winner leads until the term is over. Here the chain itself
/// says so: the first block of a term has the votes for its proposer, and all others are by the same one.
#[test]
fn every_term_of_the_chain_begins_with_its_election() {
    let mut world = World::led(3);
    for _ in 0..5 {
        let (leader, _) = world.leaders()[0];
        for _ in 0..3 {
            world.seal(leader);
            world.settle();
        }
        world.kill(leader);
        world.run(Span::millis(4_000));
        world.start(leader);
        world.run(Span::millis(500));
    }
    let mut below = CHAIN.genesis_ref();
    let (mut leads, mut terms) = (None, 0);
    for block in world.blocks_above(0, below) {
        let (header, item) = (block.header(), block.body().item.as_ref());
        if let Some(Item::Opening(election)) = item {
            let (term, candidate) = (header.term, header.proposer);
            assert_eq!(*election.statement(), Statement::Vote { term, candidate, tip: below });
            (leads, terms) = (Some((term, candidate)), terms + 1);
        }
        assert_eq!(leads, Some((header.term, header.proposer)), "at {}", header.height);
        below = block.block_ref();
    }
    assert!(terms > 5, "{terms}");
}

/// §5.1: not everybody sees every election, or even every term. Whoever has slept through some goes straight to
/// the newest one: the proof of a term says nothing of those before it.
#[test]
fn who_slept_through_terms_goes_to_the_newest_at_once() {
    let mut world = World::led(5);
    world.isolate(4);
    for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
        world.transfer(from, Some(to));
        world.settle();
    }
    assert_eq!((world.leaders(), world.term(4)), (vec![(0, 5)], 1));
    world.run(Span::millis(3_000));
    world.heal();
    // What it has asked for all the while gets through at last: a pre-vote for term 2.
    let request = world.remembered(4, 0, "PreVoteRequest", None).unwrap();
    world.arrive(4, 0, request);
    world.carry_kind(0, 4, "Refuse");
    assert_eq!((world.standing(4), world.term(4)), (Standing::Follower, 5));
    world.run(Span::millis(300));
    assert_eq!((world.leader_of(4), world.applied(4)), (Some(0), world.applied(0)));
}

/// §5.2: the votes that elect are of one term. One for the same candidate in the term before does not count.
#[test]
fn votes_of_two_terms_do_not_add_up() {
    let mut world = World::led(5);
    world.lose_power(0);
    world.sleep(Span::millis(2_000));
    let mut earlier = None;
    for (term, voter) in [(2, 2), (3, 3)] {
        world.wire.clear();
        world.timeout(1);
        for id in [2, 3] {
            world.carry_kind(1, id, "PreVoteRequest");
            world.carry_kind(id, 1, "Vote");
        }
        assert_eq!(world.term(1), term);
        world.carry_kind(1, voter, "VoteRequest");
        let vote = world.take(voter, 1, Some("Vote")).unwrap();
        if let Some(earlier) = earlier.replace(vote.clone()) {
            world.arrive(3, 1, vote);
            world.arrive(2, 1, earlier);
            assert_eq!(world.standing(1), Standing::Candidate, "1 and 3 in term 3, 2 in term 2");
            world.carry_kind(1, 2, "VoteRequest");
            world.carry_kind(2, 1, "Vote");
            assert_eq!(world.standing(1), Standing::Leader);
        }
    }
}

/// §5.2: a candidate that hears somebody who leads a term at least as high as its own follows. Here a higher one,
/// of whose election it has heard nothing.
#[test]
fn a_candidate_follows_the_leader_of_a_later_term() {
    let mut world = World::led(3);
    world.isolate(2);
    world.transfer(0, Some(1));
    world.run(Span::millis(3_000));
    assert_eq!((world.standing(2), world.term(2)), (Standing::Candidate, 1));
    assert_eq!(world.leaders(), [(1, 2)]);
    world.heal();
    world.timeout(1);
    world.carry_kind(1, 2, "Heartbeat");
    assert_eq!((world.standing(2), world.leader_of(2)), (Standing::Follower, Some(1)));
    assert_eq!(world.term(2), 2);
}

/// §5.2 and figure 2: who gives its vote does not campaign itself before a timeout has passed from then on, so
/// that it does not thwart whom it has just helped.
#[test]
fn who_gives_its_vote_waits_for_a_timeout_from_then_on() {
    let mut world = World::led(3);
    world.lose_power(0);
    // Both of the others have waited for long enough. Node 1 notices first.
    world.sleep(Span::millis(2_000));
    world.timeout(1);
    for name in ["PreVoteRequest", "VoteRequest"] {
        world.carry_kind(1, 2, name);
        if name == "PreVoteRequest" {
            world.carry_kind(2, 1, "Vote");
        }
    }
    assert_eq!((world.on_the_way("Vote"), world.term(2)), (vec![(2, 1)], 2));
    world.wire.clear();
    for _ in 0..9 {
        world.sleep(Span::millis(110));
        world.step(2, Event::Tick);
        assert_eq!((world.standing(2), world.wire.len()), (Standing::Follower, 0));
    }
    world.timeout(2);
    assert_eq!(world.standing(2), Standing::Candidate, "it does not wait for ever");
}

/// §5.5: requests for votes are repeated as well. Here with a new campaign at each timeout, so whoever is needed
/// and comes back is asked.
#[test]
fn a_candidate_asks_until_enough_are_back() {
    let mut world = World::led(3);
    world.kill(0);
    world.kill(2);
    world.run(Span::millis(20_000));
    assert_eq!((world.leaders(), world.term(1)), (vec![], 1));
    // Node 2 would not campaign for a long time: it has to be asked.
    world.set_lead(2, Lead::No);
    world.start(2);
    world.run(Span::millis(3_900));
    assert_eq!((world.leaders(), world.committed(2)), (vec![(1, 2)], world.committed(1)));
}

/// §5.2: timeouts are spread so that mostly one candidate is first, and wins before the next one wakes up. §5.6:
/// without its leader a group stands still for about an election timeout. Nobody is told here that it is gone.
#[test]
fn a_lost_leader_is_replaced_in_about_an_election_timeout_and_by_the_first_campaign() {
    let mut world = World::led(5);
    let (rounds, mut sum) = (30, 0);
    for _ in 0..rounds {
        let (leader, term) = world.leaders()[0];
        world.lose_power(leader);
        let start = world.moment;
        while world.leaders().is_empty() {
            world.run(Span::millis(10));
        }
        let silence = world.moment.since(start);
        assert!(silence <= Span::millis(2_000), "{silence:?}");
        sum += silence.as_micros();
        assert_eq!(world.leaders()[0].1, term + 1, "no term is spent in vain");
        world.start(leader);
        world.run(Span::millis(1_500));
        assert_eq!(world.leaders().len(), 1);
    }
    assert!(sum / rounds < 1_500_000, "the first of four timeouts in [T, 2T)");
}
