//! Raft (Ongaro and Ousterhout, extended version), §5.4 to §5.6, sentence by sentence, in our words.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::World;
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

/// §5.4.1: no vote for a candidate whose log is worth less than the voter's.
#[test]
fn a_voter_denies_whoever_has_less() {
    let mut world = World::led(3);
    world.isolate(2);
    world.seal(0);
    world.settle();
    world.kill(0);
    world.heal();
    world.timeout(2);
    world.carry_kind(2, 1, "PreVoteRequest");
    assert_eq!(world.on_the_way("Refuse"), [(1, 2)]);
    assert_eq!(world.on_the_way("Vote"), []);
}

/// §5.4.1: of two logs, the one whose last entry is of the higher term is worth more.
#[test]
fn a_later_term_is_worth_more_than_a_longer_log() {
    let mut world = World::led(3);
    world.isolate(0);
    for _ in 0..5 {
        world.seal(0);
    }
    world.sleep(Span::millis(1_200));
    world.campaign(1);
    world.carry_kind(1, 2, "Append");
    assert_eq!((world.rank(0), world.rank(2)), ((1, 7), (2, 3)));
    let block = world.tip(2);
    world.kill(1);
    world.heal();
    // Node 0 has more blocks, node 2 one of a later term.
    world.until_candidate(0);
    world.carry_kind(0, 2, "PreVoteRequest");
    assert_eq!(world.on_the_way("Refuse"), [(2, 0)]);
    world.run(Span::millis(6_000));
    assert!(world.chain_has(0, block), "node 2's log won");
}

/// §5.4.1: where both last entries are of one term, the log with more entries is worth more.
#[test]
fn in_one_term_the_longer_log_is_worth_more() {
    let mut world = World::led(3);
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    world.kill(0);
    world.timeout(2);
    world.carry_kind(2, 1, "PreVoteRequest");
    assert_eq!(world.on_the_way("Refuse"), [(1, 2)]);
    world.wire.clear();
    world.timeout(1);
    world.carry_kind(1, 2, "PreVoteRequest");
    assert_eq!(world.on_the_way("Vote"), [(2, 1)]);
}

/// §5.4.1: entries go from those who lead to those who follow and never back, and a leader replaces nothing
/// that it has. Here a candidate may pull what a voter has more, before it leads: otherwise a hub with a
/// short chain would stop the group for ever. A leader still takes nothing.
#[test]
fn blocks_flow_to_candidates_too_but_never_to_leaders() {
    let mut world = World::led(3);
    world.isolate(1);
    world.seal(0);
    world.settle();
    world.kill(0);
    world.heal();
    world.timeout(1);
    world.carry_kind(1, 2, "PreVoteRequest");
    world.carry_kind(2, 1, "Refuse");
    world.carry_kind(1, 2, "Pull");
    world.carry_kind(2, 1, "Pulled");
    assert_eq!(world.tip(1), world.tip(2));
    assert_eq!(world.standing(1), Standing::Candidate);
}

/// Figure 8, (a) to (c): block 3 of term 1 stands on a majority, S5 has another block 3 of term 2, and S1
/// leads term 3 with a block 4 that nobody else has. The paper's S1 to S5 are nodes 0 to 4.
fn figure_8_until_c() -> World {
    let mut world = World::led(5);
    // (a) S1 leads term 1 and replicates block 3 to S2.
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    world.lose_power(0);
    // (b) S5 leads term 2 with the votes of S3 and S4, and has another block 3.
    world.cut(4, 1, true);
    world.sleep(Span::millis(2_000));
    world.campaign(4);
    assert_eq!(world.rank(4), (2, 3));
    world.lose_power(4);
    // (c) S1 leads term 3 with the votes of S2 and S3. Its block 4 does not leave.
    world.start(0);
    world.cut(0, 3, true);
    world.campaign(0);
    assert_eq!((world.term(0), world.rank(0)), (3, (3, 4)));
    world.wire.clear();
    // Block 3 of term 1 gets to S3. S1 would send its block 4 along with it; so S3 pulls it from S2.
    let committed = world.core(2).unwrap().log().committed();
    world.loud = true;
    world.arrive(2, 1, Message::Pull { committed });
    world.carry_kind(1, 2, "Pulled");
    assert_eq!(world.tip(2), world.tip(1));
    assert_eq!(world.rank(2), (1, 3));
    world
}

/// §5.4.2: that many servers have an entry of an earlier term does not commit it. Figure 8 (d): the block
/// of term 1 stands on a majority, and yet it can be overwritten; so nobody may have committed it.
#[test]
fn figure_8_d_a_block_of_an_older_term_on_a_majority_may_go() {
    let mut world = figure_8_until_c();
    world.settle();
    assert!(!world.out.contains("ack"), "nobody acks the old block in term 3: {}", world.out);
    assert!([0, 1, 2, 3].into_iter().all(|id| world.committed(id) == 2));
    world.lose_power(0);
    world.start(4);
    world.cut(4, 1, false);
    world.sleep(Span::millis(2_000));
    world.campaign(4);
    world.settle();
    world.run(Span::millis(1_000));
    let overwritten = world.core(1).unwrap().log().applied().block.height.get();
    assert!(overwritten > 3);
    assert_eq!(world.tip(1), world.tip(4));
    world.start(0);
    world.heal();
    world.run(Span::millis(4_000));
    world.check_same_chain();
}

/// §5.4.2: a leader counts servers for entries of its own term alone. When one of those is committed, all below
/// it is, without being counted. Figure 8 (e): once S1's block 4 is on a majority, S5 cannot win any more.
#[test]
fn figure_8_e_a_block_of_the_own_term_commits_all_below_it() {
    let mut world = figure_8_until_c();
    let (old, own) = (world.tip(1), world.tip(0));
    world.timeout(0);
    world.settle();
    assert_eq!(world.committed(0), 4);
    assert!(world.core(0).unwrap().log().contains(own));
    world.lose_power(0);
    world.start(4);
    world.cut(4, 1, false);
    world.sleep(Span::millis(2_000));
    world.timeout(4);
    world.settle();
    assert_eq!(world.leaders(), [], "S2 and S3 refuse S5");
    world.start(0);
    world.heal();
    world.run(Span::millis(6_000));
    assert_eq!(world.leaders().len(), 1);
    world.check_same_chain();
    assert!(world.chain_has(4, old) && world.chain_has(4, own));
}

/// §5.4.2: an entry of an older term that every server has could not get lost any more, and still the
/// leader does not go by that, for the sake of one rule for all. Nobody acks block 3 of term 1 in term 2,
/// though it is on every disk.
#[test]
fn not_even_what_every_disk_has_is_committed_by_that() {
    let mut world = World::led(3);
    world.seal(0);
    for id in [1, 2] {
        world.carry_kind(0, id, "Append");
    }
    let old = world.tip(0);
    world.lose_power(0);
    world.wire.clear();
    world.start(0);
    world.sleep(Span::millis(1_200));
    world.campaign(1);
    while [0, 2].into_iter().any(|id| world.take(1, id, Some("Append")).is_some()) {}
    world.settle();
    assert!((0..3).all(|id| world.chain_has(id, old) && world.committed(id) == 2));
    world.run(Span::millis(500));
    assert!((0..3).all(|id| world.committed(id) >= 4), "by the opening block of term 2");
    for (from, _, message) in world.history.iter().flatten() {
        let Message::Stored(stored) = message else { continue };
        let acked = stored.acks.iter().map(|ack| ack.statement.block());
        assert!(acked.into_iter().all(|block| block.term == stored.term), "{from}: {stored:?}");
    }
}

/// §5.4.2: an entry has the term in which it was made, also when a later leader sends it on.
#[test]
fn blocks_keep_their_term_under_a_later_leader() {
    let mut world = World::led(3);
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    let old = world.tip(1);
    world.kill(0);
    world.campaign(1);
    world.settle();
    assert_eq!((old.term.get(), old.height.get()), (1, 3));
    assert!(world.chain_has(2, old));
}

/// §5.4.3, Leader Completeness: what is committed in one term, every leader of a later term has.
#[test]
fn every_later_leader_has_what_is_committed() {
    let mut world = World::led(5);
    for round in 0..8 {
        let (leader, _) = world.leaders()[0];
        // Two followers miss the block that is committed now.
        for away in [1, 2] {
            world.isolate((leader + away) % 5);
        }
        world.seal(leader);
        world.settle();
        let committed = world.core(leader).unwrap().log().committed();
        world.kill(leader);
        world.heal();
        world.timeout((leader + 1 + round % 4) % 5);
        world.run(Span::millis(5_000));
        let (next, _) = world.leaders()[0];
        assert!(world.chain_has(next, committed), "round {round}");
        world.start(leader);
        world.run(Span::millis(2_000));
    }
}

/// §5.4.3: a voter has what was committed, because it took that before it voted. Had it voted first, it would have
/// rejected the block: it is in a later term then, and acks nothing of an earlier one.
#[test]
fn who_has_voted_acks_nothing_of_an_earlier_term() {
    let mut world = World::led(3);
    world.seal(0);
    let append = world.take(0, 2, Some("Append")).unwrap();
    world.isolate(0);
    world.wire.clear();
    world.sleep(Span::millis(2_000));
    world.timeout(1);
    world.carry_kind(1, 2, "PreVoteRequest");
    world.carry_kind(2, 1, "Vote");
    world.carry_kind(1, 2, "VoteRequest");
    assert_eq!((world.on_the_way("Vote"), world.term(2)), (vec![(2, 1)], 2));
    let tip = world.tip(2);
    world.heal();
    world.arrive(0, 2, append);
    assert_eq!((world.on_the_way("Stored"), world.on_the_way("Stale")), (vec![], vec![(2, 0)]));
    assert_eq!(world.tip(2), tip);
    world.settle();
    assert_eq!((world.leaders(), world.committed(0)), (vec![(1, 2)], 3), "another block 3");
    assert!(world.chain_has(0, world.tip(1)));
}

/// §5.4.3, State Machine Safety: at one index all who apply anything apply the same. Random lives are in
/// `random.rs`; here every leader in turn is cut off with blocks of its own.
#[test]
fn nobody_applies_another_block_at_a_height() {
    let mut world = World::led(5);
    for _ in 0..8 {
        let (leader, _) = *world.leaders().last().unwrap();
        world.isolate(leader);
        for _ in 0..3 {
            world.seal(leader);
        }
        world.run(Span::millis(4_000));
        for (other, _) in world.leaders() {
            world.seal(other);
        }
        world.run(Span::millis(500));
        world.heal();
        world.run(Span::millis(3_000));
        world.check_same_chain();
    }
    assert!(world.term(0) >= 8);
}

/// §5.5: what is sent to a follower or candidate that is dead gets lost. It is sent again without end, so
/// it arrives when the server is back.
#[test]
fn what_a_crashed_follower_missed_it_gets_when_it_is_back() {
    let mut world = World::led(3);
    world.kill(2);
    for _ in 0..5 {
        world.seal(0);
        world.settle();
    }
    world.run(Span::millis(10_000));
    world.start(2);
    world.run(Span::millis(300));
    assert_eq!(world.applied(2), world.applied(0));
}

/// §5.5: who crashes when it has done what it was asked, and has not answered yet, is asked the same again
/// later. To do it twice changes nothing.
#[test]
fn a_request_that_was_carried_out_but_not_answered_comes_again() {
    let mut world = World::led(3);
    world.isolate(2);
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    let tip = world.tip(1);
    world.kill(1);
    world.start(1);
    assert_eq!((world.tip(1), world.committed(0)), (tip, 2));
    world.run(Span::millis(1_500));
    assert!(world.chain_has(0, tip) && world.committed(0) >= 3);
    // The same for a vote: it is given again to the same candidate.
    let mut world = World::new(3, 64);
    world.timeout(0);
    world.carry_kind(0, 1, "PreVoteRequest");
    world.carry_kind(1, 0, "Vote");
    let request = world.carry_kind(0, 1, "VoteRequest");
    world.lose_power(1);
    world.start(1);
    // Node 2 has not answered the greeting: node 0 is enough, after a while.
    world.sleep(Span::millis(1_000));
    world.timeout(1);
    world.arrive(0, 1, request);
    world.carry_kind(1, 0, "Vote");
    assert_eq!(world.standing(0), Standing::Leader);
}

/// §5.5: of the entries of an append, a follower passes over those that it has.
#[test]
fn blocks_that_are_held_already_are_ignored() {
    let mut world = World::led(3);
    for _ in 0..3 {
        world.seal(0);
    }
    let appends: Vec<_> = (0..3).map(|_| world.carry_kind(0, 1, "Append")).collect();
    let tip = world.tip(1);
    world.loud = true;
    for append in appends {
        world.arrive(0, 1, append);
        assert_eq!(world.tip(1), tip);
    }
    assert!(!world.out.contains("persist"), "{}", world.out);
}

/// §5 and figure 2: term, vote and log are on disk before a server answers anything that rests on them.
#[test]
fn nothing_is_answered_before_it_is_durable() {
    let mut world = World::led(3);
    world.hold_disk(1, true);
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    assert_eq!(world.on_the_way("Stored"), []);
    world.hold_disk(1, false);
    assert_eq!(world.on_the_way("Stored"), [(1, 0)]);
    world.settle();
    world.kill(0);
    world.hold_disk(1, true);
    world.timeout(2);
    world.carry_kind(2, 1, "PreVoteRequest");
    world.carry_kind(1, 2, "Vote");
    world.carry_kind(2, 1, "VoteRequest");
    assert_eq!(world.on_the_way("Vote"), []);
    world.hold_disk(1, false);
    assert_eq!(world.on_the_way("Vote"), [(1, 2)]);
}

/// §5.6: whether things happen early or late, nothing wrong may come of it. All clocks stand still, or all
/// timeouts fire at once, and the chains agree.
#[test]
fn safety_does_not_depend_on_timing() {
    for span in [0, 1, 30_000] {
        let mut world = World::led(5);
        for round in 0..60 {
            world.sleep(Span::millis(span));
            for id in [round % 5, (round * 3 + 1) % 5] {
                world.step(id, quorate_consensus::event::Event::Tick);
                world.seal(id);
            }
            for _ in 0..7 {
                world.carry(None);
            }
            world.check_same_chain();
        }
        let terms: Vec<_> = world.leaders().into_iter().map(|(_, term)| term).collect();
        assert!(terms.windows(2).all(|two| two[0] != two[1]));
    }
}

/// §5.6: a group keeps its leader if a message to all takes far less than the election timeout, and that
/// far less than the time from one crash of a server to the next.
#[test]
fn a_leader_is_steady_while_messages_are_fast() {
    let mut world = World::led(5);
    world.run(Span::millis(120_000));
    assert_eq!(world.leaders(), [(0, 1)]);
}
