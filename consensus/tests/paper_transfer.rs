//! Ongaro's thesis on the transfer of leadership (3.10, and what 4.2.2, 4.2.3 and 6.4.1 say of it), sentence
//! by sentence, in our words.
//!
//! What the thesis calls `TimeoutNow` is a `Handover` here: signed by the leader, for one term, one candidate
//! and one tip. The candidate shows it to those whom it asks, and first asks for pre-votes (9.6) as always.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::World;
use common::change::{add, describe, steps};
use common::random::Random;
use quorate_chain::ids::NodeId;
use quorate_chain::roster::Lead;
use quorate_chain::statement::Statement;
use quorate_consensus::event::Event;
use quorate_consensus::handover::TransferEnd;
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::reads::{ReadId, Unread};
use quorate_consensus::time::Span;

const GIVEN: TransferEnd = TransferEnd::Given { to: NodeId::new(2) };
const TOO_LATE: TransferEnd = TransferEnd::TooLate { to: NodeId::new(2) };

/// 3.10: a leader that just stops leaves the others without one until somebody's election timeout has
/// passed and it has won. If it hands over before, they need not wait. So no time passes at all.
#[test]
fn a_transfer_takes_no_timeout() {
    let mut world = World::led(5);
    let start = world.moment;
    world.transfer(0, Some(2));
    world.settle();
    assert_eq!((world.leaders(), world.moment), (vec![(2, 2)], start));
    assert!(world.committed(2) >= 3, "and its opening block is committed");
    assert_eq!(world.transfers, [(0, GIVEN)]);
}

/// 3.10: not all servers are equally good leaders, so a leader may look now and then whether a follower
/// would be a better one, and hand over to it. Here one that would rather not lead does so, to the voter
/// that prefers to among those with the highest tip, and nobody who would rather not either.
#[test]
fn who_would_rather_not_lead_hands_over_to_who_would() {
    let mut world = World::led(5);
    world.step(1, Event::Willing(Lead::No));
    world.step(3, Event::Willing(Lead::Prefer));
    world.run(Span::millis(200));
    assert_eq!(world.leaders(), [(0, 1)], "who is willing keeps what it has");
    world.step(0, Event::Willing(Lead::No));
    world.run(Span::millis(200));
    assert_eq!(world.leaders(), [(3, 2)]);
    for id in [2, 4, 3] {
        world.step(id, Event::Willing(Lead::No));
        world.run(Span::millis(5_000));
    }
    assert_eq!(world.leaders(), [(3, 2)], "somebody has to");
}

/// 3.10, step 1: a leader that hands over takes nothing from clients any more. It has no slot, while the
/// other catches up and once it campaigns, and a block that comes late for the slot that it had is dropped.
#[test]
fn a_leader_that_hands_over_seals_nothing_more() {
    let mut world = World::led(3);
    world.hold_disk(2, true);
    world.seal(0);
    world.settle();
    let (tip, slot) = (world.tip(0), world.slot(0).unwrap());
    world.transfer(0, Some(2));
    assert!(world.slot(0).is_none());
    world.bring(0, &slot);
    assert_eq!(world.tip(0), tip, "while node 2 lacks the tip");
    world.hold_disk(2, false);
    world.carry_kind(2, 0, "Stored");
    assert_eq!(world.on_the_way("Handover"), [(0, 2)]);
    for _ in 0..5 {
        world.timeout(0);
        world.bring(0, &slot);
        assert!(!world.seal(0), "nor when its handover has left");
    }
    assert_eq!(world.tip(0), tip);
}

/// 3.10, step 2: by appends as always, it brings the other's log up to its own. What is committed and what
/// is not: the other has all of it on its disk before it is asked to campaign.
#[test]
fn the_successor_has_the_whole_log_before_it_campaigns() {
    let mut world = World::led(3);
    world.isolate(2);
    for _ in 0..10 {
        world.seal(0);
        world.settle();
    }
    world.isolate(1);
    world.seal(0);
    let (tip, committed) = (world.tip(0), world.committed(0));
    assert!(tip.height.get() > committed);
    world.wire.clear();
    world.cut(0, 2, false);
    world.transfer(0, Some(2));
    world.hold_disk(2, true);
    world.run(Span::millis(500));
    assert_eq!((world.tip(2), world.on_the_way("Handover")), (tip, vec![]), "not on disk yet");
    assert_eq!((world.standing(2), world.leaders()), (Standing::Follower, vec![(0, 1)]));
    while world.is_writing(2) {
        assert_eq!(world.on_the_way("Handover"), [], "not all of it");
        world.write_one(2);
        while let Some(stored) = world.take(2, 0, Some("Stored")) {
            world.arrive(2, 0, stored);
        }
    }
    assert_eq!(world.on_the_way("Handover"), [(0, 2)]);
    world.hold_disk(2, false);
    world.settle();
    assert_eq!(world.leaders(), [(2, 2)]);
    assert!(world.chain_has(2, tip) && world.committed(2) > tip.height.get());
}

/// 3.10, step 3: the other campaigns when it is told to, as if its timeout had passed. At once, and as any
/// other: with pre-votes, so no term is raised in vain.
#[test]
fn a_handover_starts_an_election_at_once() {
    let mut world = World::led(3);
    world.transfer(0, Some(2));
    assert_eq!(world.on_the_way("Handover"), [(0, 2)]);
    world.carry_kind(0, 2, "Handover");
    assert_eq!((world.standing(2), world.term(2)), (Standing::Candidate, 1));
    assert_eq!(world.on_the_way("PreVoteRequest"), [(2, 0), (2, 1)]);
    world.carry_kind(2, 1, "PreVoteRequest");
    world.carry_kind(1, 2, "Vote");
    assert_eq!((world.standing(2), world.term(2)), (Standing::Candidate, 2));
    assert_eq!(world.on_the_way("VoteRequest"), [(2, 0), (2, 1)]);
}

/// The same: one that may not campaign yet does so as soon as nothing stands against it.
#[test]
fn a_handover_waits_for_what_is_committed_to_be_applied() {
    let mut world = World::led(3);
    world.hold_apply(2, true);
    world.seal(0);
    world.settle();
    world.transfer(0, Some(2));
    world.settle();
    assert_eq!((world.standing(2), world.applied(2)), (Standing::Follower, 2));
    world.hold_apply(2, false);
    world.settle();
    assert_eq!(world.leaders(), [(2, 2)]);
}

/// 3.10: when the old leader next hears from the other, it hears of the higher term and follows, and the
/// transfer is done. The message has the pre-votes that prove the term. Until then it leads.
#[test]
fn the_prior_leader_steps_down_when_it_hears_of_the_new_term() {
    let mut world = World::led(3);
    world.transfer(0, Some(2));
    world.carry_kind(0, 2, "Handover");
    world.carry_kind(2, 0, "PreVoteRequest");
    world.carry_kind(0, 2, "Vote");
    assert_eq!((world.standing(0), world.term(2), world.transfers.len()), (Standing::Leader, 2, 0));
    world.carry_kind(2, 0, "VoteRequest");
    assert_eq!((world.standing(0), world.term(0)), (Standing::Follower, 2));
    assert_eq!(world.transfers, [(0, GIVEN)]);
    world.carry_kind(0, 2, "Vote");
    assert_eq!(world.standing(2), Standing::Leader);
}

/// 3.10: this election is as safe as any, for it takes a majority like any. The leader's word
/// replaces nobody's vote.
#[test]
fn a_handover_does_not_stand_for_a_majority() {
    let mut world = World::led(5);
    world.transfer(0, Some(2));
    world.carry_kind(0, 2, "Handover");
    for other in [1, 3, 4] {
        world.cut(2, other, true);
    }
    world.settle();
    assert_eq!((world.leaders(), world.term(2)), (vec![(0, 1)], 1), "0 and 2 are two of five");
}

/// The same: who has more than the candidate refuses it, though the leader asks for it.
#[test]
fn a_handover_does_not_stand_for_a_full_log() {
    let mut world = World::led(3);
    world.transfer(0, Some(2));
    world.cut(0, 2, true);
    let handover = world.take(0, 2, Some("Handover")).unwrap();
    // The leader gives up and goes on without node 2.
    world.run(Span::millis(1_100));
    world.isolate(2);
    world.seal(0);
    world.run(Span::millis(100));
    world.heal();
    world.step(2, Event::LinkLost { node: NodeId::new(0) });
    world.arrive(0, 2, handover);
    world.settle();
    assert_eq!(world.leaders(), [(0, 1)]);
    assert!(world.rank(0) > (1, 2));
}

/// 3.10: the other may die, and clients must not wait for that. So a leader that still leads after about an
/// election timeout gives the transfer up, and goes on to serve them.
#[test]
fn a_transfer_is_given_up_after_an_election_timeout() {
    let mut world = World::led(3);
    world.transfer(0, Some(2));
    world.lose_power(2);
    world.run(Span::millis(990));
    assert!(!world.seal(0) && world.transfers.is_empty(), "not before");
    world.run(Span::millis(20));
    assert_eq!(world.transfers, [(0, TOO_LATE)]);
    assert!(world.seal(0));
    world.settle();
    assert_eq!((world.leaders(), world.committed(0)), (vec![(0, 1)], 3));
}

/// 3.10: if the other was not dead after all, that costs one election more than was needed, and then all goes on.
#[test]
fn a_handover_that_arrives_late_costs_an_election_at_most() {
    let mut world = World::led(3);
    world.transfer(0, Some(2));
    let handover = world.take(0, 2, Some("Handover")).unwrap();
    world.run(Span::millis(1_100));
    assert_eq!((&world.transfers[..], world.leaders()), (&[(0, TOO_LATE)][..], vec![(0, 1)]));
    world.arrive(0, 2, handover);
    world.settle();
    assert_eq!(world.leaders(), [(2, 2)]);
    assert!(world.seal(2));
    world.run(Span::millis(200));
    assert!((0..3).all(|id| world.committed(id) >= 4));
}

/// The same, where we do better: once the leader has gone on, a handover that it gave before is of no use, not
/// for who has all that came after it either. So nobody can keep one to depose the leader with.
#[test]
fn a_handover_is_void_once_the_leader_has_gone_on() {
    let mut world = World::led(3);
    world.transfer(0, Some(2));
    let handover = world.take(0, 2, Some("Handover")).unwrap();
    world.run(Span::millis(1_100));
    world.seal(0);
    world.run(Span::millis(200));
    assert_eq!((world.tip(2), world.committed(2)), (world.tip(0), world.tip(0).height.get()));
    world.arrive(0, 2, handover.clone());
    world.settle();
    assert_eq!(world.leaders(), [(0, 1)], "it does not campaign");
    // Nor do the others grant it anything, if it lies and shows them what it was given.
    let Message::Handover(handover) = handover else { panic!("{handover:?}") };
    world.step(2, Event::LinkLost { node: NodeId::new(0) });
    world.timeout(2);
    for id in [0, 1] {
        let Some(Message::PreVoteRequest { term, tip, roster, proof, .. }) =
            world.take(2, id, Some("PreVoteRequest"))
        else {
            panic!("it does not campaign")
        };
        let handover = Some(handover.clone());
        world.arrive(2, id, Message::PreVoteRequest { term, tip, roster, proof, handover });
    }
    assert_eq!(world.on_the_way("Refuse"), [(0, 2), (1, 2)]);
}

/// 3.10: a transfer is safe, for a group does nothing in it that it might not do anyway: to be told to
/// campaign is as if the own clock had gone too fast for a moment. Everybody is asked for a transfer all
/// the time, while messages are lost and overtake each other.
#[test]
fn transfers_at_any_moment_do_no_harm() {
    let mut moved = 0;
    for seed in 0..40 {
        let (mut world, mut random) = (World::led(5), Random(seed));
        let mut led = BTreeMap::new();
        for _ in 0..1_500 {
            let (a, b) = (random.node(&world), random.node(&world));
            match random.below(40) {
                0..2 => world.transfer(a, (random.below(3) > 0).then_some(b)),
                2..5 => drop(world.seal(a)),
                5 => world.sleep(Span::millis(random.below(100))),
                6 => world.timeout(a),
                7 if !world.wire.is_empty() => drop(world.wire.remove(random.message(&world))),
                _ if !world.wire.is_empty() => {
                    let (from, to, message) = world.wire.remove(random.message(&world)).unwrap();
                    world.arrive(from, to, message);
                }
                _ => {}
            }
            world.check_leaders(&mut led);
            world.check_same_chain();
        }
        moved += led.len();
        world.run(Span::millis(10_000));
        world.come_together(seed);
    }
    assert!(moved > 200, "leadership moved {moved} times");
}

/// 4.2.3: to refuse votes while a leader is heard would stop transfers too, where somebody campaigns
/// without waiting and may. Such a candidate is to be heard in spite of the leader, and may mark its
/// requests for votes. Here the mark is the signed handover.
#[test]
fn a_handover_is_permission_to_disrupt_the_leader() {
    for shown in [true, false] {
        let mut world = World::led(3);
        world.transfer(0, Some(2));
        world.carry_kind(0, 2, "Handover");
        for id in [0, 1] {
            world.carry_kind(2, id, "PreVoteRequest");
            world.carry_kind(id, 2, "Vote");
        }
        // Both hear the leader: one is it.
        for id in [0, 1] {
            let mut request = world.take(2, id, Some("VoteRequest")).unwrap();
            if let Message::VoteRequest { handover, .. } = &mut request {
                *handover = handover.take().filter(|_| shown);
            }
            world.arrive(2, id, request);
        }
        let (votes, refusals) = (world.on_the_way("Vote").len(), world.on_the_way("Refuse").len());
        assert_eq!((votes, refusals), if shown { (2, 0) } else { (0, 2) });
    }
}

/// The same: only the leader's own word is such a permission, for whom it names.
#[test]
fn nobody_else_can_give_that_permission() {
    let mut world = World::led(3);
    let tip = world.tip(0);
    world.transfer(0, Some(2));
    let Some(Message::Handover(genuine)) = world.take(0, 2, Some("Handover")) else {
        panic!("no handover")
    };
    let Statement::Handover { term, to, .. } = genuine.statement else { panic!("{genuine:?}") };
    assert_eq!((term.get(), to, genuine.signer), (1, NodeId::new(2), NodeId::new(0)));
    // Node 1 shows what node 2 was given.
    let (roster, proof) = (std::sync::Arc::new(world.first_roster()), None);
    let request = Message::PreVoteRequest {
        term: term.next().unwrap(),
        tip,
        roster,
        proof,
        handover: Some(genuine),
    };
    for id in [0, 2] {
        world.arrive(1, id, request.clone());
    }
    // And a handover that it has signed itself.
    let forged = world.forged((1, 0), "UnderHandover", (2, tip.height.get()), &[1]);
    world.arrive(1, 0, forged);
    assert_eq!(world.on_the_way("Vote"), []);
    assert_eq!(world.on_the_way("Refuse"), [(0, 1), (2, 1), (0, 1)]);
}

/// 4.2.2: a leader that is asked to remove itself may hand over first: the other then carries the removal
/// out. The leader may also do it itself (see `paper_membership.rs`).
#[test]
fn a_leader_can_hand_over_before_it_is_removed() {
    let mut world = World::led(4);
    world.transfer(0, Some(2));
    world.run(Span::millis(200));
    world.change(2, steps(&["remove", "0"]));
    world.run(Span::millis(500));
    assert_eq!(world.leaders(), [(2, 2)]);
    assert_eq!(describe(&world.roster_of(2)), "1 2 3");
}

/// A transfer while a roster change is on its way: whoever leads next finishes the change, and one who has no
/// vote under the roster at the tip is not handed over to.
#[test]
fn a_transfer_during_a_roster_change_takes_the_change_along() {
    let mut world = World::led(5);
    let new = world.newcomer(0);
    world.change(0, vec![add(new, false)]);
    world.run(Span::millis(500));
    world.transfer(0, Some(new));
    assert_eq!(world.transfers, [(0, TransferEnd::NotVoter { to: NodeId::new(new) })]);
    world.change(0, steps(&["remove", "4"]));
    assert!(describe(&world.roster_of(0)).contains('→'));
    world.transfer(0, Some(2));
    // All that is needed to enter the change and to leave it is lost, but for what leads to the transfer.
    world.carry_kind(0, 2, "Append");
    world.carry_kind(2, 0, "Stored");
    world.carry_kind(0, 2, "Handover");
    assert!(describe(&world.roster_of(2)).contains('→'));
    world.run(Span::millis(1_000));
    assert_eq!(world.leaders(), [(2, 2)]);
    assert_eq!(describe(&world.roster_of(2)), format!("0 1 2 3 ({new})"));
    world.transfer(2, Some(4));
    assert_eq!(world.transfers.last().unwrap().1, TransferEnd::NotVoter { to: NodeId::new(4) });
}

/// Step 1 again: a roster change is a request like any other. One that is asked for while leadership is handed
/// over waits, and is answered whatever becomes of that.
#[test]
fn a_roster_change_that_waits_for_a_transfer_is_answered() {
    // The transfer is given up: the change goes on.
    let mut world = World::led(4);
    world.transfer(0, Some(2));
    world.isolate(2);
    world.change(0, steps(&["remove", "3"]));
    assert_eq!((describe(&world.roster_of(0)).as_str(), world.changed), ("0 1 2 3", 0));
    world.run(Span::millis(2_000));
    assert_eq!((describe(&world.roster_of(0)).as_str(), world.changed), ("0 1 2", 1));
    // The other leads: it is refused.
    let mut world = World::led(4);
    world.transfer(0, Some(2));
    world.change(0, steps(&["remove", "3"]));
    world.loud = true;
    world.settle();
    assert_eq!((world.leaders(), world.changed), (vec![(2, 2)], 0));
    assert!(world.out.contains("0: change refused"), "{}", world.out);
    // It was handed over to itself, to begin a term for a validator that recovers: it is refused too.
    let mut world = World::led(4);
    world.hold_signer(0, true);
    let asks = world.forged((3, 0), "Recovering", (1, 2), &[3]);
    world.arrive(3, 0, asks);
    world.change(0, steps(&["remove", "3"]));
    world.loud = true;
    world.hold_signer(0, false);
    world.settle();
    assert_eq!((world.leaders(), world.changed), (vec![(0, 2)], 0));
    assert!(world.out.contains("0: change refused"), "{}", world.out);
}

/// 6.4.1: where there are leases, who hands over lets its own run out first. There are none here, and
/// reads are confirmed as ever; still no read is answered by a leader whose handover has left.
#[test]
fn reads_end_before_the_handover_leaves() {
    let mut world = World::led(3);
    world.hold_disk(2, true);
    world.seal(0);
    world.settle();
    world.transfer(0, Some(2));
    world.step(0, Event::Read { read: ReadId(1) });
    world.settle();
    assert_eq!(world.served.len(), 1, "it still leads");
    world.step(0, Event::Read { read: ReadId(2) });
    world.hold_signer(0, true);
    world.hold_disk(2, false);
    world.carry_kind(2, 0, "Stored");
    assert_eq!(world.on_the_way("Handover"), [], "not signed yet");
    world.step(0, Event::Read { read: ReadId(3) });
    let refused: Vec<_> = world.unread.iter().map(|(_, read, why)| (read.0, *why)).collect();
    assert_eq!(refused, [(2, Unread::LeaderChanges), (3, Unread::LeaderChanges)]);
}
