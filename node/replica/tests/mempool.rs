//! What the mempool takes, what it offers and in which order, and that it is honest about the rest.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod common;

use common::{Group, expiring, limits, update, write};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{Height, NodeId, TxId};
use quorate_chain::outcome::Status;
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Dropped, Input, Refusal, Submission};
use quorate_replica::setup::Limits;
use quorate_replica::store::{Store, StoreReader};

/// One validator that leads, with its disk held, so that nothing more is applied.
fn held(limits: Limits) -> Group {
    let mut group = Group::with(1, limits);
    group.elect();
    group.settle();
    group.node_mut(0).hold_disk = true;
    group
}

fn release(group: &mut Group) {
    group.node_mut(0).hold_disk = false;
    group.settle();
    group.run(Span::millis(500));
}

fn placed(group: &Group, submission: Submission) -> (Height, u32) {
    match group.answers.get(&submission) {
        Some(Answer::Placed(placed)) => (placed.block.height, placed.index),
        answer => panic!("{submission:?}: {answer:?}"),
    }
}

fn refused(group: &Group, submission: Submission) -> Refusal {
    match group.answers.get(&submission) {
        Some(Answer::Refused(refusal)) => *refusal,
        answer => panic!("{submission:?}: {answer:?}"),
    }
}

/// The ids of the transactions at a height, in order.
fn block(group: &Group, height: Height) -> Vec<TxId> {
    let block = group.node(0).store.reader().block(height).unwrap().unwrap();
    block.body().transactions.iter().map(|transaction| transaction.id()).collect()
}

#[test]
fn the_same_bytes_again_are_known_while_the_first_still_wait() {
    let mut group = held(limits());
    let transaction = update(group.chain_id, 0, 0);
    let first = group.submit(0, transaction.clone());
    let again = group.submit(0, transaction);
    assert!(!group.answers.contains_key(&first), "it waits");
    release(&mut group);
    assert_eq!(placed(&group, first), placed(&group, again));
    let duplicate = |submission| match &group.answers[&submission] {
        Answer::Placed(placed) => placed.duplicate,
        answer => panic!("{answer:?}"),
    };
    assert_eq!((duplicate(first), duplicate(again)), (false, true));
}

#[test]
fn senders_take_turns_and_each_goes_in_the_order_of_nonces() {
    let mut group = held(limits());
    // The first one fills the slot that is on offer; the others wait for the next.
    let first = group.submit(0, update(group.chain_id, 0, 0));
    let mut ids = Vec::new();
    for (sender, nonces) in [(1, vec![2, 0, 1, 3]), (2, vec![0]), (3, vec![1, 0])] {
        for nonce in nonces {
            let transaction = update(group.chain_id, sender, nonce);
            ids.push((sender, nonce, transaction.id()));
            group.submit(0, transaction);
        }
    }
    release(&mut group);
    let (height, _) = placed(&group, first);
    let next = block(&group, height.next().unwrap());
    let name = |id: &TxId| {
        let (sender, nonce, _) = ids.iter().find(|(_, _, known)| known == id).unwrap();
        (*sender, *nonce)
    };
    let order: Vec<_> = next.iter().map(name).collect();
    let of = |sender| order.iter().filter(move |(who, _)| *who == sender).map(|(_, nonce)| *nonce);
    assert_eq!(of(1).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(of(3).collect::<Vec<_>>(), [0, 1]);
    let mut first_turn: Vec<_> = order[..3].iter().map(|(sender, _)| *sender).collect();
    first_turn.sort_unstable();
    assert_eq!(first_turn, [1, 2, 3], "each sender has one before anyone has two: {order:?}");
}

#[test]
fn a_full_mempool_refuses_and_pushes_nothing_out() {
    let small = Limits { mempool_transactions: 3, mempool_sender: 2, ..limits() };
    let mut group = held(small);
    let taken: Vec<_> =
        (0..2).map(|nonce| group.submit(0, update(group.chain_id, 1, nonce))).collect();
    let third = group.submit(0, update(group.chain_id, 1, 2));
    assert_eq!(refused(&group, third), Refusal::SenderFull);
    let other = group.submit(0, update(group.chain_id, 2, 0));
    let over = group.submit(0, update(group.chain_id, 3, 0));
    assert_eq!(refused(&group, over), Refusal::Full);
    release(&mut group);
    for submission in taken.into_iter().chain([other]) {
        placed(&group, submission);
    }
    // There is room again.
    let again = group.submit(0, update(group.chain_id, 3, 0));
    release(&mut group);
    placed(&group, again);
}

#[test]
fn one_sender_takes_a_small_part_of_the_mempool_unless_told_otherwise() {
    let mut group = held(limits());
    let most = limits().mempool_sender as u64;
    for nonce in 0..most {
        group.submit(0, update(group.chain_id, 1, nonce));
    }
    assert_eq!(group.answers.len(), 0, "all of them wait");
    let over = group.submit(0, update(group.chain_id, 1, most));
    assert_eq!(refused(&group, over), Refusal::SenderFull, "before the window of nonces ends");
    group.submit(0, update(group.chain_id, 2, 0));
    assert_eq!(group.answers.len(), 1, "another one has room");
}

#[test]
fn a_mempool_is_bounded_by_memory_too() {
    let mut group = held(Limits { mempool_bytes: 12_000, ..limits() });
    let big = |group: &Group, nonce| write(group.chain_id, 1, nonce, None, &[0; 4_000]);
    let first = group.submit(0, big(&group, 0));
    let second = group.submit(0, big(&group, 1));
    let third = group.submit(0, big(&group, 2));
    assert_eq!(refused(&group, third), Refusal::Full);
    release(&mut group);
    placed(&group, first);
    placed(&group, second);
}

#[test]
fn it_is_known_since_when_the_oldest_waits() {
    let mut group = held(limits());
    let since = |group: &Group| group.replica(0).driver.status().waiting_since;
    assert_eq!(since(&group), None);
    group.submit(0, update(group.chain_id, 1, 0));
    let first = group.now().moment;
    assert_eq!(since(&group), Some(first));
    group.run(Span::millis(300));
    // What is in flight waits, too, and what comes later changes nothing.
    group.submit(0, update(group.chain_id, 1, 1));
    let second = group.now().moment;
    assert!(second > first);
    assert_eq!(since(&group), Some(first));
    group.node_mut(0).hold_disk = false;
    group.run_until("the first is applied", |group| since(group) != Some(first));
    assert!(since(&group).is_none_or(|moment| moment == second));
    group.run(Span::millis(500));
    assert_eq!(since(&group), None);
}

#[test]
fn the_same_bytes_again_get_the_original_outcome() {
    let mut group = held(limits());
    let transaction = update(group.chain_id, 1, 0);
    let first = group.submit(0, transaction.clone());
    let second = group.submit(0, transaction.clone());
    assert!(group.answers.is_empty(), "both wait");
    release(&mut group);
    assert_eq!(placed(&group, first), placed(&group, second));
    // Later the driver says only that the nonce is used; the store knows by what.
    let known = |group: &mut Group| {
        let again = group.submit(0, transaction.clone());
        assert_eq!(refused(group, again), Refusal::NonceUsed);
        let place = group.node(0).store.reader().place(transaction.id()).unwrap().unwrap();
        assert_eq!((place.block.height, place.index), placed(group, first));
    };
    known(&mut group);
    // And after a restart, too.
    group.kill(0);
    group.start(0).unwrap();
    group.elect();
    known(&mut group);
}

#[test]
fn another_transaction_with_the_nonce_is_refused_before_and_after() {
    let mut group = held(limits());
    let mine = group.submit(0, update(group.chain_id, 1, 0));
    let other = write(group.chain_id, 1, 0, None, b"other");
    let before = group.submit(0, other.clone());
    assert_eq!(refused(&group, before), Refusal::NonceTaken);
    release(&mut group);
    placed(&group, mine);
    let after = group.submit(0, other);
    assert_eq!(refused(&group, after), Refusal::NonceUsed);
    let far = group.submit(0, update(group.chain_id, 1, 1 + 1_024));
    assert_eq!(refused(&group, far), Refusal::NonceTooFar);
    let edge = group.submit(0, update(group.chain_id, 1, 1_024));
    release(&mut group);
    placed(&group, edge);
}

#[test]
fn what_expires_is_dropped_once_it_can_never_stand() {
    let mut group = held(limits());
    let height = group.applied(0).get();
    let late = group.submit(0, expiring(group.chain_id, 1, 0, height));
    assert_eq!(refused(&group, late), Refusal::Expired);
    // It fills the slot, and what comes now stands one higher.
    let first = group.submit(0, update(group.chain_id, 2, 0));
    let expires = group.submit(0, expiring(group.chain_id, 3, 0, height + 1));
    let stays = group.submit(0, expiring(group.chain_id, 4, 0, height + 2));
    release(&mut group);
    assert_eq!(placed(&group, first).0.get(), height + 1);
    assert_eq!(group.answers[&expires], Answer::Dropped(Dropped::Expired));
    assert_eq!(placed(&group, stays).0.get(), height + 2);
}

#[test]
fn no_void_transaction_is_ever_sealed() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.settle();
    // The same nonces, in other transactions, at all nodes at once.
    for nonce in 0..20 {
        for id in group.ids() {
            let value = [id.to_be_bytes(), 7_u32.to_be_bytes()].concat();
            group.submit(id, write(group.chain_id, 1, nonce, None, &value));
        }
        if nonce % 4 == 3 {
            group.settle();
        }
    }
    group.run(Span::millis(5_000));
    let reader = group.node(leader).store.reader();
    let mut applied = 0;
    for height in 1..=group.applied(leader).get() {
        for outcome in reader.outcomes(Height::new(height)).unwrap().unwrap() {
            assert!(!matches!(outcome.status, Status::Void(_)), "at height {height}");
            applied += 1;
        }
    }
    assert_eq!(applied, 20);
    assert_eq!(group.answers.len(), 60, "every submission is answered");
    let places = group.answers.values().filter(|answer| matches!(answer, Answer::Placed(_)));
    assert_eq!(places.count(), 20);
    group.assert_equal();
}

#[test]
fn what_stood_in_a_suffix_that_was_cut_is_offered_again() {
    let mut group = Group::new(3);
    let old = group.elect();
    group.run(Span::millis(300));
    for other in group.ids() {
        group.cut.extend([(old, other), (other, old)]);
    }
    let mut submissions = vec![group.submit(old, update(group.chain_id, 1, 0))];
    group.settle();
    submissions.push(group.submit(old, update(group.chain_id, 1, 1)));
    assert_ne!(
        group.replica(old).driver.status().tip,
        group.replica(old).driver.status().committed
    );
    group.run_until("another leads", |group| group.leader().is_some_and(|id| id != old));
    let new = group.leader().unwrap();
    submissions.push(group.submit(new, update(group.chain_id, 2, 0)));
    group.settle();
    group.cut.clear();
    group.run(Span::millis(8_000));
    for submission in submissions {
        placed(&group, submission);
    }
    group.assert_equal();
}

#[test]
fn a_new_leader_seals_nothing_that_the_blocks_it_took_over_make_void() {
    let mut group = Group::new(3);
    let old = group.elect();
    group.run(Span::millis(300));
    let others: Vec<_> = group.ids().into_iter().filter(|id| *id != old).collect();
    // The others get the leader's block, and it never hears of that.
    group.cut.extend(others.iter().map(|other| (*other, old)));
    let first = group.submit(old, write(group.chain_id, 1, 0, None, b"first"));
    group.settle();
    // With the same nonce, at nodes that have the block and have not applied it.
    let later: Vec<_> = others
        .iter()
        .map(|id| group.submit(*id, write(group.chain_id, 1, 0, None, &id.to_be_bytes())))
        .collect();
    assert!(group.answers.is_empty(), "all wait");
    group.run_until("another leads", |group| group.leader().is_some_and(|id| id != old));
    group.cut.clear();
    group.run(Span::millis(5_000));
    placed(&group, first);
    for submission in later {
        assert_eq!(group.answers[&submission], Answer::Dropped(Dropped::NonceUsed));
    }
    let void = |(_, notice): &&(u32, String)| notice.starts_with("Void");
    assert_eq!(group.notices.iter().find(void), None);
    group.assert_equal();
}

#[test]
fn whoever_waits_when_the_node_stops_is_told_that_nobody_knows() {
    let mut group = held(limits());
    let first = group.submit(0, update(group.chain_id, 1, 0));
    let second = group.submit(0, update(group.chain_id, 1, 1));
    group.give(0, Input::Shutdown);
    assert_eq!(group.answers[&first], Answer::Unknown);
    assert_eq!(group.answers[&second], Answer::Unknown);
    let third = group.submit(0, update(group.chain_id, 1, 2));
    assert_eq!(refused(&group, third), Refusal::Stopping);
    release(&mut group);
    assert_eq!(group.answers.len(), 3, "nobody is answered twice");
}

#[test]
fn a_forwarded_transaction_that_is_lost_is_forwarded_again() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.run(Span::millis(300));
    let follower = (leader + 1) % 3;
    let submission = group.submit(follower, update(group.chain_id, 1, 0));
    let before = group.wire.len();
    group.wire.retain(|(_, _, carried)| !matches!(carried, common::Carried::Transactions(_)));
    assert_eq!(group.wire.len() + 1, before, "it was on its way");
    group.settle();
    assert!(group.answers.is_empty());
    group.run(Span::millis(3_000));
    placed(&group, submission);
}

#[test]
fn a_follower_takes_nothing_that_is_forwarded() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.run(Span::millis(300));
    let follower = (leader + 1) % 3;
    let transactions = vec![Checked::vouch(update(group.chain_id, 1, 0))];
    group.give(follower, Input::Forwarded { from: NodeId::new(leader), transactions });
    assert_eq!(group.replica(follower).driver.status().mempool.transactions, 0);
}

#[test]
fn a_block_is_sealed_at_once_and_a_batch_when_it_is_committed() {
    let mut group = held(limits());
    let height = group.applied(0).get();
    let first = group.submit(0, update(group.chain_id, 1, 0));
    let tip = group.replica(0).driver.status().tip.height.get();
    assert_eq!(tip, height + 1, "nothing was in flight");
    let others: Vec<_> =
        (0..5).map(|nonce| group.submit(0, update(group.chain_id, 2, nonce))).collect();
    let tip = group.replica(0).driver.status().tip.height.get();
    assert_eq!(tip, height + 1, "they wait for the one in flight");
    release(&mut group);
    assert_eq!(placed(&group, first).0.get(), height + 1);
    for (index, submission) in (0..).zip(others) {
        assert_eq!(placed(&group, submission), (Height::new(height + 2), index));
    }
}

#[test]
fn a_full_batch_is_sealed_while_others_are_in_flight() {
    let mut group = held(Limits { block_transactions: 3, ..limits() });
    let height = group.applied(0).get();
    for nonce in 0..6 {
        group.submit(0, update(group.chain_id, 1, nonce));
    }
    let tip = group.replica(0).driver.status().tip.height.get();
    assert_eq!(tip, height + 2, "one, then three; two wait");
    release(&mut group);
    let counts: Vec<_> =
        (1..4).map(|above| block(&group, Height::new(height + above)).len()).collect();
    assert_eq!(counts, [1, 3, 2]);
}

#[test]
fn with_an_interval_there_is_one_block_in_each() {
    let interval = Some(Span::millis(100));
    let mut group = Group::with(3, Limits { block_interval: interval, ..limits() });
    group.elect();
    group.run(Span::millis(1_000));
    let before = group.applied(0).get();
    for step in 0..10 {
        group.submit(step % 3, update(group.chain_id, 1, u64::from(step)));
        group.run(Span::millis(100));
    }
    let made = group.applied(0).get() - before;
    assert!((9..=11).contains(&made), "{made} blocks in ten intervals");
    group.run(Span::millis(1_000));
    let made = group.applied(0).get() - before;
    assert!((18..=22).contains(&made), "empty ones too: {made} in twenty");
    assert_eq!(group.answers.len(), 10);
    group.assert_agree();
}

#[test]
fn a_transaction_larger_than_a_message_should_be_finds_its_place() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let big = write(group.chain_id, 1, 0, None, &[7; 200_000]);
    assert!(big.bytes().len() > limits().message_bytes);
    let submissions = [
        group.submit(leader, update(group.chain_id, 2, 0)),
        group.submit(leader, big),
        group.submit(leader, update(group.chain_id, 1, 1)),
    ];
    group.run(Span::millis(3_000));
    for submission in submissions {
        placed(&group, submission);
    }
    group.assert_equal();
}
