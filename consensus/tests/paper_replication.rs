//! Raft (Ongaro and Ousterhout, extended version), §5.3, sentence by sentence, in our words.
//!
//! A log entry is a signed block here and its index its height, so logs are compared by hash.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::World;
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

/// §5.3: what a client wants becomes an entry of the leader's log, and the leader sends it to all
/// others side by side.
#[test]
fn the_leader_appends_and_sends_to_all() {
    let mut world = World::led(5);
    world.hold_disk(0, true);
    world.seal(0);
    assert_eq!(world.rank(0), (1, 3));
    assert_eq!(world.on_the_way("Append"), [(0, 1), (0, 2), (0, 3), (0, 4)], "the disk or not");
}

/// §5.3: the leader applies an entry once enough others have it.
#[test]
fn the_leader_applies_what_a_majority_has() {
    let mut world = World::led(5);
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    world.carry_kind(1, 0, "Stored");
    assert_eq!(world.applied(0), 2, "two of five");
    world.carry_kind(0, 2, "Append");
    world.carry_kind(2, 0, "Stored");
    assert_eq!(world.applied(0), 3, "three of five");
}

/// §5.3: whatever crashes, is slow or gets lost, the leader sends again and again, also when the client has
/// its answer, until each follower has everything.
#[test]
fn appends_are_repeated_until_all_have_stored_all() {
    let mut world = World::led(3);
    world.isolate(2);
    world.seal(0);
    world.settle();
    assert_eq!(world.applied(0), 3, "the client has its answer");
    world.run(Span::millis(20_000));
    world.heal();
    world.run(Span::millis(2_500));
    assert_eq!((world.tip(2), world.applied(2)), (world.tip(0), world.applied(0)));
}

/// §5.3: an entry is committed when more than half of the servers have it from the leader that made it. All
/// below it in that leader's log is committed too, whoever made that.
#[test]
fn a_commit_covers_all_preceding_blocks_of_earlier_leaders_too() {
    let mut world = World::led(3);
    // Block 3 of term 1 reaches node 1 and is acked by nobody in time.
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    world.kill(0);
    world.timeout(1);
    assert_eq!((world.rank(1), world.committed(1)), ((1, 3), 2));
    world.settle();
    assert_eq!(world.leaders(), [(1, 2)]);
    assert_eq!(world.committed(1), 4, "the opening block, and the one of term 1 below it");
}

/// §5.3: all that the leader sends, heartbeats too, says up to where it knows the log to be committed, so
/// that the others learn of it. Here it is the certificate, for a number alone would prove nothing.
#[test]
fn appends_and_heartbeats_bring_the_newest_certificate() {
    let mut world = World::led(3);
    world.seal(0);
    world.settle();
    world.seal(0);
    let certified = |message: Message| {
        let Message::Append(append) = message else { panic!("{message:?}") };
        append.certificate.map(|certificate| certificate.block().height.get())
    };
    assert_eq!(certified(world.take(0, 1, Some("Append")).unwrap()), Some(3));
    world.carry_kind(0, 2, "Append");
    world.carry_kind(2, 0, "Stored");
    world.wire.clear();
    world.timeout(0);
    let beat = world.take(0, 2, Some("Heartbeat")).unwrap();
    assert_eq!(certified(beat.clone()), Some(4));
    assert_eq!(world.committed(2), 3);
    world.arrive(0, 2, beat);
    assert_eq!(world.committed(2), 4);
}

/// Figure 2: a follower commits no more than what the leader says is committed, and of that only what it knows
/// to be the leader's. Here a certificate names the block, so another one at its height is not committed by it.
#[test]
fn a_certificate_does_not_commit_another_block_at_its_height() {
    let mut world = World::led(5);
    world.seal(0);
    world.carry_kind(0, 4, "Append");
    world.kill(0);
    world.isolate(4);
    world.run(Span::millis(4_000));
    let (leader, _) = *world.leaders().last().unwrap();
    let own = world.tip(4);
    let certificate = world.history.iter().flatten().find_map(|(_, _, message)| {
        let Message::Append(append) = message else { return None };
        let newest = append.certificate.clone();
        newest.filter(|it| it.block().height == own.height && it.block() != own)
    });
    let certificate = certificate.unwrap();
    let committed = certificate.block();
    world.heal();
    world.arrive(leader, 4, Message::Committed(certificate));
    assert_eq!((world.committed(4), world.term(4), world.tip(4)), (2, committed.term.get(), own));
    world.run(Span::millis(1_000));
    assert!(world.chain_has(4, committed) && !world.chain_has(4, own));
}

/// §5.3: a follower applies what it hears is committed, from below to above.
#[test]
fn a_follower_applies_what_it_learns_to_be_committed() {
    let mut world = World::led(3);
    for _ in 0..3 {
        world.seal(0);
    }
    for _ in 0..3 {
        world.carry_kind(0, 1, "Append");
    }
    assert_eq!(world.applied(1), 2);
    world.settle();
    world.run(Span::millis(200));
    // The world asserts that heights are applied one after the other.
    assert!(world.applied(1) >= 5);
    world.check_same_chain();
}

/// §5.3: where two logs have an entry of one term at one index, it is the same entry, and below it both
/// logs are equal. By construction: a block names its parent's hash. A leader that breaks the rule is not
/// followed (see the script on two blocks for one place).
#[test]
fn logs_with_one_block_in_common_agree_on_all_below_it() {
    let mut world = World::led(5);
    for round in 0..10 {
        let (leader, _) = world.leaders()[0];
        for _ in 0..3 {
            world.seal(leader);
            world.run(Span::millis(20));
        }
        world.kill(leader);
        world.timeout((leader + 1 + round % 4) % 5);
        world.run(Span::millis(3_000));
        world.start(leader);
        for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
            let (one, other) = (world.core(a).unwrap().log(), world.core(b).unwrap().log());
            let common = one.from(one.applied().block.height);
            let held = |block| other.contains(block);
            let common: Vec<_> =
                common.map(|entry| held(entry.anchor.block)).skip_while(|held| !held).collect();
            assert!(common.is_sorted_by(|a, b| a >= b), "once they part they stay apart");
        }
    }
    world.check_same_chain();
}

/// §5.3: in its term a leader makes no two entries for one index, and no entry moves to another index. Here
/// a slot names the parent, and each is sealed once.
#[test]
fn a_leader_seals_one_block_for_each_place() {
    let mut world = World::led(3);
    for expected in 3..20 {
        world.seal(0);
        assert_eq!(world.rank(0), (1, expected));
    }
    world.lose_power(0);
    world.start(0);
    assert_eq!(
        world.standing(0),
        Standing::Follower,
        "what it sealed and lost, it never seals again"
    );
    assert!(!world.seal(0));
}

/// §5.3: a follower refuses entries if it lacks the one that they stand on.
#[test]
fn blocks_whose_parent_is_not_held_are_refused() {
    let mut world = World::led(3);
    world.seal(0);
    world.seal(0);
    world.take(0, 1, Some("Append")).unwrap();
    world.carry_kind(0, 1, "Append");
    assert_eq!(world.rank(1), (1, 2));
    assert_eq!(world.on_the_way("Reject"), [(1, 0)]);
}

/// §5.3: an append that succeeds tells the leader that the follower has its log, up to the last entry sent.
/// A `Stored` names the block by its hash.
#[test]
fn what_is_stored_is_named_by_hash() {
    let mut world = World::led(3);
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    let Some(Message::Stored(stored)) = world.take(1, 0, Some("Stored")) else {
        panic!("no answer")
    };
    assert_eq!(stored.matched, world.tip(0));
}

/// §5.3: a follower's log is made the same as the leader's: what differs from it there is replaced by
/// what the leader has.
#[test]
fn conflicting_blocks_give_way_to_the_leaders() {
    let mut world = World::led(3);
    world.isolate(0);
    for _ in 0..4 {
        world.seal(0);
    }
    let old = world.tip(0);
    world.run(Span::millis(4_000));
    assert_eq!((world.rank(0), world.leaders().len()), ((1, 6), 1));
    world.heal();
    world.run(Span::millis(3_000));
    assert_eq!(world.tip(0), world.tip(1));
    assert!(!world.core(0).unwrap().log().contains(old));
}

/// §5.3 and figure 7: beside a new leader's log those of its followers may be too short, too long by blocks
/// of several terms, or both. The leader does nothing special about it: all end with its blocks.
#[test]
fn figure_7_whatever_followers_lack_or_have_besides_they_end_with_the_leaders_blocks() {
    let mut world = World::led(5);
    let mut besides = Vec::new();
    // Node 4 leads terms 2 and 3, and nobody has anything of it. This is (f) of the figure.
    for (term, height) in [(2, 5), (3, 8)] {
        world.sleep(Span::millis(2_000));
        world.campaign(4);
        world.isolate(4);
        world.wire.clear();
        for _ in 0..2 {
            world.seal(4);
        }
        assert_eq!(world.rank(4), (term, height));
        besides.push((4, world.tip(4)));
        world.lose_power(4);
        world.heal();
        world.start(4);
    }
    world.lose_power(4);
    // Node 3 does the same in term 4, and has one block more besides: (c) and (d).
    world.sleep(Span::millis(2_000));
    world.campaign(3);
    world.isolate(3);
    world.wire.clear();
    world.seal(3);
    besides.push((3, world.tip(3)));
    world.lose_power(3);
    world.heal();
    // Node 0 leads term 5, and node 2 has nothing of it: (a) and (b).
    world.sleep(Span::millis(2_000));
    world.campaign(0);
    world.isolate(2);
    world.seal(0);
    world.settle();
    let (tip, ranks) = (world.tip(0), [0, 1, 2].map(|id| world.rank(id)));
    assert_eq!((ranks, world.committed(0)), ([(5, 4), (5, 4), (1, 2)], 2));
    // Nothing of the leader's is certified when node 4 gets it, and node 4 is needed for that.
    world.start(4);
    world.run(Span::millis(1_500));
    assert!(world.chain_has(4, tip) && world.committed(0) >= tip.height.get());
    world.heal();
    world.start(3);
    world.run(Span::millis(700));
    assert!((0..5).all(|id| world.tip(id) == world.tip(0) && world.chain_has(id, tip)));
    assert!(besides.into_iter().all(|(id, block)| !world.chain_has(id, block)));
    assert_eq!((world.leaders(), world.tip(0).height.get() < 8), (vec![(0, 5)], true));
}

/// §5.3: a new leader supposes that each follower has its whole log, and sends what comes next. Where that
/// does not fit it is refused, and the leader tries one index lower, until it fits. Here a reject names the
/// follower's committed block, which always matches: one step does it.
#[test]
fn one_reject_tells_where_two_logs_meet() {
    let mut world = World::led(3);
    world.isolate(2);
    for _ in 0..20 {
        world.seal(0);
        world.settle();
    }
    world.kill(0);
    world.heal();
    world.timeout(1);
    for _ in 0..2 {
        world.carry_kind(1, 2, if world.term(1) == 1 { "PreVoteRequest" } else { "VoteRequest" });
        world.carry_kind(2, 1, "Vote");
    }
    let Message::Append(first) = world.carry_kind(1, 2, "Append") else { panic!("no append") };
    assert_eq!(first.parent.height.get(), 22, "just below its newest block");
    world.carry_kind(2, 1, "Reject");
    let Message::Append(second) = world.carry_kind(1, 2, "Append") else { panic!("no append") };
    assert_eq!(second.parent.height.get(), 2, "the block that node 2 has committed");
    world.settle();
    assert_eq!(world.tip(2), world.tip(1));
}

/// §5.3: of its own log a leader removes and replaces nothing; it only adds.
#[test]
fn a_leader_cuts_nothing_of_its_own() {
    let mut world = World::led(3);
    world.isolate(2);
    for _ in 0..5 {
        world.seal(0);
    }
    let tip = world.tip(0);
    let other = world.forged((2, 0), "Pulled", (1, 3), &[2]);
    world.arrive(2, 0, other);
    let append = world.forged((2, 0), "Append", (1, 3), &[2]);
    world.arrive(2, 0, append);
    assert_eq!(world.tip(0), tip);
    assert_eq!(world.standing(0), Standing::Leader);
}

/// §5.3: mostly an entry takes one message to more than half of the group and their answers, so one server
/// that is slow keeps nobody waiting.
#[test]
fn one_round_to_a_majority_commits_and_a_slow_follower_delays_nobody() {
    let mut world = World::led(3);
    world.hold_disk(2, true);
    for height in 3..10 {
        world.seal(0);
        world.carry_kind(0, 1, "Append");
        world.carry_kind(1, 0, "Stored");
        assert_eq!(world.committed(0), height);
    }
}
