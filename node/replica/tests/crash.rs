//! A node loses power at every operation of its disk, with any part of what was not durable kept or
//! lost, and goes on from what is left.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};

use common::{Group, limits, write};
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Submission};
use quorate_replica::setup::Limits;
use quorate_wal::{Hook, Step, Unsynced, Verdict};

/// Transactions in a run.
const COUNT: u64 = 30;

fn crash_at(operation: u64) -> Hook {
    Arc::new(Mutex::new(
        move |step: &Step<'_>| {
            if step.index >= operation { Verdict::Crash } else { Verdict::Proceed }
        },
    ))
}

/// What is kept of what was not durable.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Nothing,
    Everything,
    EverySecond,
}

impl Keep {
    fn chooser(self) -> impl FnMut(&Unsynced) -> bool {
        let mut count = 0_u32;
        move |_| {
            count += 1;
            match self {
                Self::Nothing => false,
                Self::Everything => true,
                Self::EverySecond => count.is_multiple_of(2),
            }
        }
    }
}

/// Runs transactions through a group whose node `victim` loses power at this operation of its disk;
/// returns how many operations that disk has done.
fn run(victim: u32, operation: u64, keep: Keep, batches: usize, again: Option<u64>) -> u64 {
    let mut group = Group::with(3, Limits { checkpoint_every: 4, ..limits() });
    group.node(victim).disk.lock().unwrap().set_hook(Some(crash_at(operation)));
    let mut submissions = Vec::new();
    let mut crashed = false;
    for nonce in 0..COUNT {
        group.run_until("somebody leads", |group| group.leader().is_some());
        let at = u32::try_from(nonce % 3).unwrap();
        let at = if group.node(at).replica.is_some() { at } else { (at + 1) % 3 };
        let transaction = write(group.chain_id, 0, nonce, None, &[nonce as u8; 3_000]);
        submissions.push((at, group.submit(at, transaction)));
        group.settle();
        // What is better done while nothing waits is an operation of the disk too.
        if let Some(replica) = &mut group.node_mut(victim).replica
            && replica.journal.idle_work().is_err()
        {
            group.kill(victim);
        }
        if group.node(victim).replica.is_none() && !crashed {
            crashed = true;
            let node = group.node_mut(victim);
            let mut disk = node.disk.lock().unwrap();
            disk.set_hook(None);
            disk.crash(keep.chooser());
            drop(disk);
            let at_risk = node.store.at_risk();
            node.store.power_cut(batches.min(at_risk));
            group.run(Span::millis(300));
            if let Some(after) = again {
                start_and_crash(&mut group, victim, after, keep);
            }
            group.start(victim).unwrap();
        }
    }
    group.run_until("all are equal", |group| {
        let top = group.ids().into_iter().map(|id| group.applied(id)).max();
        let status = |id: u32| group.replica(id).driver.status();
        group
            .ids()
            .into_iter()
            .all(|id| Some(group.applied(id)) == top && status(id).mempool.transactions == 0)
    });
    group.assert_equal();
    for (at, submission) in submissions {
        check_answer(&group, at, submission, crashed.then_some(victim));
    }
    group.node(victim).disk.lock().unwrap().operations()
}

/// The power goes out again while the node starts, after so many more operations of its disk.
fn start_and_crash(group: &mut Group, victim: u32, after: u64, keep: Keep) {
    let at = group.node(victim).disk.lock().unwrap().operations() + after;
    group.node(victim).disk.lock().unwrap().set_hook(Some(crash_at(at)));
    let started = group.start(victim);
    if started.is_ok() {
        group.kill(victim);
    }
    let mut disk = group.node(victim).disk.lock().unwrap();
    disk.set_hook(None);
    disk.crash(keep.chooser());
}

/// Every submission at a node that lived is answered with the place of its transaction.
fn check_answer(group: &Group, at: u32, submission: Submission, victim: Option<u32>) {
    match group.answers.get(&submission) {
        Some(Answer::Placed(_)) => {}
        None if Some(at) == victim => {}
        answer => panic!("{submission:?} at node {at}: {answer:?}"),
    }
}

#[test]
fn a_node_goes_on_after_a_power_cut_at_any_operation_of_its_disk() {
    for victim in 0..3 {
        let all = run(victim, u64::MAX, Keep::Nothing, 0, None);
        assert!(all > 60, "{all} operations are too few to be a test");
        for operation in 1..all {
            // Each operation meets each choice, at one of the victims.
            let (keep, batches) = match (operation + u64::from(victim)) % 3 {
                0 => (Keep::Nothing, 0),
                1 => (Keep::Everything, usize::MAX),
                _ => (Keep::EverySecond, 1),
            };
            run(victim, operation, keep, batches, None);
        }
    }
}

#[test]
fn a_node_goes_on_after_a_second_power_cut_while_it_starts() {
    let all = run(1, u64::MAX, Keep::Nothing, 0, None);
    for operation in [all / 3, all * 2 / 3] {
        for again in 0..30 {
            for keep in [Keep::Nothing, Keep::EverySecond] {
                run(1, operation, keep, 0, Some(again));
            }
        }
    }
}

#[test]
fn what_an_earlier_process_has_applied_is_made_safe_before_the_log_lets_go_of_it() {
    // Of the store nothing is ever safe by itself.
    let mut group = Group::with(3, Limits { checkpoint_every: 1_000_000, ..limits() });
    let leader = group.elect();
    let follower = (leader + 1) % 3;
    for nonce in 0..30 {
        group.submit(leader, write(group.chain_id, 0, nonce, None, &[nonce as u8; 3_000]));
        group.settle();
    }
    group.run(Span::millis(500));
    // The process dies, and the machine does not.
    group.kill(follower);
    group.start(follower).unwrap();
    for nonce in 30..60 {
        group.submit(leader, write(group.chain_id, 0, nonce, None, &[nonce as u8; 3_000]));
        group.settle();
    }
    group.run(Span::millis(500));
    group.kill(follower);
    // Now the power goes: all that the store was not told to make safe is gone.
    group.node_mut(follower).store.power_cut(0);
    group.start(follower).unwrap();
    assert!(group.replica(follower).found.repaired.is_none());
    group.run(Span::millis(5_000));
    group.assert_equal();
}
