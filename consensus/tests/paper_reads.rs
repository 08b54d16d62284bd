//! Ongaro's thesis on read-only queries (6.4), sentence by sentence, in our words.
//!
//! A read is asked for at any node here, and the leader asks itself as others ask it. What differs from
//! the thesis: the leader notes the height of the newest *certified* block, whether its own disk has that
//! or not; and a question or a beat that is lost is repeated. Leases (6.4.1) are left out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::World;
use common::change::{add, describe, steps};
use quorate_chain::ids::NodeId;
use quorate_consensus::event::Event;
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::reads::{ReadId, Unread};
use quorate_consensus::time::Span;

/// A client asks a node for a read.
fn read(world: &mut World, node: u32, name: u64) {
    world.step(node, Event::Read { read: ReadId(name) });
}

/// The reads that were served: their names, and at what heights.
fn served(world: &World) -> Vec<(u64, u64)> {
    world.served.iter().map(|(_, read, height)| (read.0, height.get())).collect()
}

/// The reads that were refused: their names, and why.
fn refused(world: &World) -> Vec<(u64, Unread)> {
    world.unread.iter().map(|(_, read, why)| (read.0, *why)).collect()
}

/// A follower gets the newest beat, and its answer gets to the leader.
fn confirm(world: &mut World, leader: u32, follower: u32) {
    world.carry_kind(leader, follower, "Heartbeat");
    world.carry_kind(follower, leader, "Stored");
}

/// 6.4: reads may leave out the log, and so are spared the wait for a disk. A read adds no block,
/// and waits for no disk.
#[test]
fn a_read_bypasses_the_log_and_every_disk() {
    let mut world = World::led(3);
    for id in 0..3 {
        world.hold_disk(id, true);
    }
    world.seal(0);
    world.settle();
    let tip = world.tip(0);
    assert_eq!((tip.height.get(), world.committed(0)), (3, 2), "a block waits for the disks");
    for node in 0..3 {
        read(&mut world, node, node.into());
        world.settle();
    }
    assert_eq!(served(&world), [(0, 2), (1, 2), (2, 2)]);
    assert_eq!(world.tip(0), tip);
}

/// 6.4: a leader that is cut off, and answers without asking anybody, answers with what is out of date.
#[test]
fn a_leader_that_was_cut_off_serves_no_read() {
    let mut world = World::led(5);
    world.isolate(0);
    for id in 1..5 {
        world.step(id, Event::LinkLost { node: NodeId::new(0) });
    }
    world.timeout(1);
    world.settle();
    assert_eq!(world.leaders(), [(0, 1), (1, 2)]);
    assert!(world.committed(1) > world.committed(0));
    read(&mut world, 0, 7);
    world.run(Span::millis(2_000));
    assert_eq!((served(&world), refused(&world).len()), (vec![], 1));
}

/// 6.4: what was committed before a read was asked for, that read sees. Whoever has committed it, and
/// wherever the read is asked for.
#[test]
fn a_read_sees_the_latest_block_that_was_committed_anywhere() {
    let mut world = World::led(5);
    for round in 0..25_u32 {
        let slow = round / 5 % 5;
        world.hold_disk(slow, true);
        world.seal(0);
        world.settle();
        let committed = (0..5).map(|id| world.committed(id)).max().unwrap();
        read(&mut world, round % 5, round.into());
        world.settle();
        world.hold_disk(slow, false);
        world.settle();
        let (name, height) = *served(&world).last().unwrap();
        assert_eq!(name, u64::from(round));
        assert!(height >= committed, "served at {height}, committed was {committed}");
    }
}

/// 6.4, step 1: reads wait until the leader has committed something of its own term, for before that it
/// cannot tell what else is committed: here a block that only the leader before it knew to be.
#[test]
fn no_read_before_the_first_commit_of_the_term() {
    let mut world = World::led(3);
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    world.carry_kind(1, 0, "Stored");
    assert_eq!((world.committed(0), world.committed(1)), (3, 2), "a client has its answer");
    world.kill(0);
    world.timeout(1);
    while world.standing(1) != Standing::Leader && world.carry(None) {}
    world.hold_disk(2, true);
    read(&mut world, 1, 7);
    world.run(Span::millis(500));
    // Node 2 answers every beat, so the leadership is beyond doubt; its disk has no block yet.
    assert_eq!((world.committed(1), world.standing(1)), (2, Standing::Leader));
    assert_eq!((served(&world), refused(&world)), (vec![], vec![]));
    world.hold_disk(2, false);
    world.run(Span::millis(200));
    assert_eq!(served(&world).len(), 1);
    assert!(served(&world)[0].1 >= 4, "the opening block, and block 3 below it");
}

/// 6.4, step 1: from the commit of its first entry on, and as long as it leads, nobody knows of more
/// commits than the leader.
#[test]
fn once_its_opening_block_is_committed_no_one_has_committed_more_than_the_leader() {
    let mut world = World::led(5);
    for round in 0..8_u64 {
        let (leader, term) = world.leaders()[0];
        // It commits a block, and nobody hears of that.
        world.seal(leader);
        for id in [(leader + 1) % 5, (leader + 2) % 5] {
            world.carry_kind(leader, id, "Append");
            world.carry_kind(id, leader, "Stored");
        }
        world.wire.clear();
        let committed = world.committed(leader);
        assert!((0..5).all(|id| id == leader || world.committed(id) < committed));
        world.kill(leader);
        // One that does not even have that block.
        let next = (leader + 3) % 5;
        while world.leaders().is_empty() {
            world.timeout(next);
            world.settle();
        }
        let (next, opened) = world.leaders()[0];
        assert!(opened > term && world.core(next).unwrap().log().committed().term.get() == opened);
        assert!(world.committed(next) > committed, "round {round}");
        world.start(leader);
        world.run(Span::millis(1_000));
    }
}

/// 6.4, step 2: the leader notes how far it has committed, and a read is answered from no older state than
/// that. What is committed while the round is on its way delays nobody.
#[test]
fn the_height_of_a_read_is_noted_when_the_question_comes() {
    let mut world = World::led(3);
    read(&mut world, 2, 7);
    world.carry_kind(2, 0, "ReadRequest");
    world.seal(0);
    world.carry_kind(0, 1, "Append");
    world.carry_kind(1, 0, "Stored");
    assert_eq!(world.committed(0), 3);
    while world.on_the_way("ReadAt").is_empty() {
        confirm(&mut world, 0, 1);
    }
    let answer = world.carry_kind(0, 2, "ReadAt");
    assert!(matches!(answer, Message::ReadAt { height: Some(height), .. } if height.get() == 2));
    assert_eq!(served(&world), [(7, 2)]);
}

/// 6.4, step 2, where we depart from it: the height is that of the newest certified block. Others may have
/// committed what the leader's own disk does not have yet, and a client may have seen it there.
#[test]
fn the_height_of_a_read_is_what_others_may_have_committed() {
    let mut world = World::led(3);
    world.hold_disk(0, true);
    world.seal(0);
    world.settle();
    assert_eq!([0, 1, 2].map(|id| world.committed(id)), [2, 3, 3]);
    read(&mut world, 0, 7);
    world.settle();
    assert_eq!(served(&world), []);
    world.hold_disk(0, false);
    assert_eq!(served(&world), [(7, 3)]);
}

/// 6.4, step 3: the leader then sends heartbeats once more, and lets more than half of the group answer them.
#[test]
fn a_read_waits_for_a_majority_to_answer_a_heartbeat() {
    let mut world = World::led(5);
    read(&mut world, 0, 7);
    assert_eq!(world.on_the_way("Heartbeat"), [(0, 1), (0, 2), (0, 3), (0, 4)]);
    confirm(&mut world, 0, 3);
    assert_eq!(served(&world), [], "two of five");
    confirm(&mut world, 0, 1);
    assert_eq!(served(&world), [(7, 2)], "three of five");
}

/// 6.4, step 3: the round is a *new* one. An answer to a heartbeat that was sent before the question tells
/// nothing of what has happened since.
#[test]
fn an_answer_to_an_earlier_heartbeat_confirms_no_read() {
    let mut world = World::led(3);
    // A heartbeat of the clock, answered before the read comes.
    world.timeout(0);
    world.carry_kind(0, 1, "Heartbeat");
    read(&mut world, 0, 1);
    world.carry_kind(1, 0, "Stored");
    assert_eq!(served(&world), []);
    confirm(&mut world, 0, 1);
    assert_eq!(served(&world), [(1, 2)]);
    // The beat of another read, answered before this one comes.
    world.wire.clear();
    read(&mut world, 0, 2);
    world.carry_kind(0, 1, "Heartbeat");
    read(&mut world, 0, 3);
    world.carry_kind(1, 0, "Stored");
    assert_eq!(served(&world), [(1, 2), (2, 2)]);
    let beat = world.remembered(0, 1, "Heartbeat", None).unwrap();
    world.arrive(0, 1, beat);
    world.settle();
    assert_eq!(served(&world), [(1, 2), (2, 2), (3, 2)]);
}

/// 6.4, step 3: more than half of the group. Those who have no vote are none of it, and under a joint
/// roster it takes a majority of both halves, as it does to elect another leader.
#[test]
fn a_read_is_confirmed_by_whoever_could_elect_another_leader() {
    let mut world = World::led(3);
    let new = world.newcomer(0);
    world.change(0, vec![add(new, false)]);
    world.run(Span::millis(500));
    read(&mut world, 0, 7);
    confirm(&mut world, 0, new);
    assert_eq!(served(&world), [], "0 and a learner");
    confirm(&mut world, 0, 2);
    assert_eq!(served(&world).len(), 1, "0 and 2 of 0 1 2");

    for (half, third) in [([3, 4].as_slice(), 1), (&[1], 3)] {
        let mut world = World::led(5);
        (1..5).for_each(|id| world.hold_signer(id, true));
        world.change(0, steps(&["remove", "3", "remove", "4"]));
        assert_eq!(describe(&world.roster_of(0)), "0 1 2 3 4 → 0 1 2");
        read(&mut world, 0, 7);
        for id in half {
            world.carry_kind(0, *id, "Append");
            confirm(&mut world, 0, *id);
        }
        assert_eq!(served(&world), [], "0 3 4 of the old half only, or 0 1 of the new only");
        world.carry_kind(0, third, "Append");
        confirm(&mut world, 0, third);
        assert_eq!(served(&world), [(7, 2)]);
    }
}

/// The same for a leader that is being removed: it does not count itself in the new half.
#[test]
fn a_leader_that_is_removed_does_not_confirm_its_own_reads() {
    let mut world = World::led(4);
    world.change(0, steps(&["remove", "0"]));
    while describe(&world.roster_of(0)) != "1 2 3" {
        assert!(world.carry(None));
    }
    // Nobody acks, so that it leads on.
    (1..4).for_each(|id| world.hold_signer(id, true));
    read(&mut world, 0, 7);
    for (id, expected) in [(1, 0), (2, 1)] {
        while world.take(id, 0, Some("Stored")).is_some() {}
        world.carry_kind(0, id, "Append");
        confirm(&mut world, 0, id);
        assert_eq!(served(&world).len(), expected, "it takes two of 1 2 3");
    }
}

/// 6.4, step 3: when the round has been answered, it is certain that nobody led a later term when it was
/// sent. For whoever has voted in a greater term acknowledges nothing of this one.
#[test]
fn who_is_in_a_later_term_confirms_no_read() {
    let mut world = World::led(3);
    world.isolate(0);
    for id in [1, 2] {
        world.step(id, Event::LinkLost { node: NodeId::new(0) });
    }
    world.timeout(1);
    while world.standing(1) != Standing::Leader && world.carry(None) {}
    world.wire.clear();
    world.heal();
    read(&mut world, 0, 7);
    world.carry_kind(0, 2, "Heartbeat");
    assert_eq!((world.on_the_way("Stored"), world.on_the_way("Stale")), (vec![], vec![(2, 0)]));
    world.carry_kind(2, 0, "Stale");
    assert_eq!(served(&world), []);
    assert_eq!(refused(&world), [(7, Unread::LeaderChanges)]);
}

/// 6.4, steps 4 and 5: the leader waits until it has applied as much as it has noted, then asks its state
/// and answers. Each read once.
#[test]
fn a_read_waits_until_its_height_is_applied_and_is_served_once() {
    let mut world = World::led(3);
    world.hold_apply(0, true);
    world.seal(0);
    world.settle();
    read(&mut world, 0, 7);
    world.settle();
    assert_eq!((world.committed(0), world.applied(0)), (3, 2));
    assert_eq!(served(&world), []);
    world.hold_apply(0, false);
    assert_eq!(served(&world), [(7, 3)]);
    world.run(Span::millis(2_000));
    assert_eq!((served(&world).len(), refused(&world).len()), (1, 0));
}

/// 6.4: one round may confirm all reads that have gathered by then, so each costs less.
#[test]
fn one_round_of_heartbeats_is_for_all_reads_that_wait() {
    let mut world = World::led(5);
    world.sent.clear();
    for name in 0..500 {
        read(&mut world, 0, name);
    }
    assert_eq!(world.sent["Heartbeat"], 4, "one round, for the first one");
    // Others ask while that is on its way.
    for node in 1..5 {
        read(&mut world, node, 500 + u64::from(node));
        world.carry_kind(node, 0, "ReadRequest");
    }
    assert_eq!(world.sent["Heartbeat"], 4);
    world.settle();
    assert_eq!(served(&world).len(), 504);
    assert_eq!(world.sent["Heartbeat"], 2 * 4, "and one round for all the rest");
}

/// 6.4: a follower may have the leader do steps 1 to 3 and tell it the height. Steps 4 and 5 it does
/// itself, on its own state, for all reads that wait there.
#[test]
fn a_follower_asks_the_leader_and_serves_from_its_own_state() {
    let mut world = World::led(3);
    world.hold_apply(1, true);
    world.seal(0);
    world.settle();
    world.sent.clear();
    for name in 0..500 {
        read(&mut world, 1, name);
    }
    world.settle();
    assert_eq!(served(&world), [], "its own state is too old");
    world.hold_apply(1, false);
    assert_eq!(served(&world).len(), 500);
    assert!(world.served.iter().all(|(node, _, height)| *node == 1 && height.get() >= 3));
    assert_eq!(world.sent["ReadRequest"], 2, "one for the first read, and one for the rest");
    // Somebody who has no vote may do the same.
    let mut world = World::led(3);
    let new = world.newcomer(0);
    world.change(0, vec![add(new, false)]);
    world.run(Span::millis(500));
    let committed = world.committed(0);
    read(&mut world, new, 7);
    world.settle();
    assert_eq!(served(&world), [(7, committed)]);
}

/// 6.4: to a follower that is cut off nothing new may come for long.
#[test]
fn a_follower_that_was_cut_off_serves_no_read() {
    let mut world = World::led(3);
    world.isolate(2);
    world.seal(0);
    world.settle();
    assert_eq!((world.applied(0), world.leader_of(2)), (3, Some(0)));
    read(&mut world, 2, 7);
    world.run(Span::millis(2_000));
    read(&mut world, 2, 8);
    assert_eq!(served(&world), []);
    let reasons = refused(&world);
    assert!(matches!(
        reasons[..],
        [(7, Unread::LeaderChanges | Unread::TooLate), (8, Unread::NoLeader)]
    ));
}

/// 6.4: a follower that hears a leader may hear one that has been replaced and has not noticed.
#[test]
fn a_follower_of_a_deposed_leader_serves_no_read() {
    let mut world = World::led(5);
    for deposed in [0, 4] {
        for other in [1, 2, 3] {
            world.cut(deposed, other, true);
            world.step(other, Event::LinkLost { node: NodeId::new(0) });
        }
    }
    world.timeout(1);
    world.settle();
    world.timeout(0);
    world.settle();
    assert_eq!(world.leaders(), [(0, 1), (1, 2)]);
    assert_eq!(world.leader_of(4), Some(0), "it has just heard it");
    read(&mut world, 4, 7);
    world.run(Span::millis(3_000));
    assert_eq!((served(&world), refused(&world).len()), (vec![], 1));
}

/// 6.4.1: with a lease, a leader whose heartbeats were answered by a majority answers reads for a while
/// without asking again. Not here: however fresh the last round is, the next read takes another one. So a
/// clock that stands still, or a machine that does, makes no read stale.
#[test]
fn no_read_is_served_on_the_word_of_a_clock() {
    let mut world = World::led(3);
    read(&mut world, 0, 1);
    world.settle();
    assert_eq!(served(&world).len(), 1);
    world.isolate(0);
    // No time passes at all.
    read(&mut world, 0, 2);
    world.settle();
    assert_eq!(served(&world).len(), 1);
}

/// Where the thesis has each leader count its reads, each question here has a number. An answer to one of an earlier start
/// must not answer a later one, also if the disk has lost the count of starts and the seed is the same.
#[test]
fn two_starts_with_one_count_and_one_seed_do_not_number_their_questions_alike() {
    let asked = |nonces: u64| {
        let mut world = World::new(3, 8);
        world.nonces = nonces;
        world.certify_every(0);
        world.timeout(0);
        world.settle();
        assert_eq!(world.leaders(), [(0, 1)]);
        read(&mut world, 1, 1);
        let asks = |(_, _, message): &(u32, u32, Message)| {
            if let Message::ReadRequest { nonce } = message { Some(*nonce) } else { None }
        };
        world.wire.iter().find_map(asks).expect("the leader is asked")
    };
    assert_eq!(asked(0), asked(0), "all the same but for that");
    assert_ne!(asked(0), asked(7));
}
