//! A full disk: first no transactions are taken, then it does not want to lead; with room all is as before.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Group, write};
use quorate_chain::roster::Lead;
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Input, Refusal};
use quorate_replica::journal::Idle;
use quorate_wal::Space;

/// What the journal of a node finds out while it has nothing to do.
fn idle(group: &mut Group, id: u32) {
    for _ in 0..50 {
        let replica = group.node_mut(id).replica.as_mut().unwrap();
        let Idle { more, room } = replica.journal.idle_work().unwrap();
        if let Some(written) = room {
            group.give(id, Input::Written(written));
        }
        if !more {
            break;
        }
    }
    group.settle();
}

#[test]
fn a_full_disk_takes_no_transactions_and_does_not_want_to_lead() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.run(Span::millis(500));
    let wish = |group: &Group| group.replica(leader).driver.core().lead_wish();
    assert_eq!(wish(&group), Lead::Yes);
    // One more file does not fit: when the present segment is full there is none after it.
    let length = {
        let disk = group.node(leader).disk.lock().unwrap();
        disk.names().map(|name| disk.bytes(name).unwrap().len() as u64).sum::<u64>()
    };
    group.node(leader).disk.lock().unwrap().set_capacity(Some(length));
    let mut nonce = 0;
    while group.space(leader) != Space::Reserve {
        group.submit(leader, write(group.chain_id, 1, nonce, None, &[7; 4_000]));
        nonce += 1;
        group.settle();
        idle(&mut group, leader);
        assert!(nonce < 300, "the disk never fills");
    }
    let submission = group.submit(leader, write(group.chain_id, 2, 0, None, b"x"));
    assert_eq!(group.answers[&submission], Answer::Refused(Refusal::DiskLow));
    assert_eq!(wish(&group), Lead::No);
    // What the operator says counts once there is room again.
    group.give(leader, Input::Willing(Lead::Prefer));
    assert_eq!(wish(&group), Lead::No);
    group.run(Span::millis(3_000));
    group.node(leader).disk.lock().unwrap().set_capacity(None);
    for _ in 0..5 {
        idle(&mut group, leader);
        group.run(Span::millis(500));
    }
    assert_eq!((group.space(leader), wish(&group)), (Space::Ok, Lead::Prefer));
    let submission = group.submit(leader, write(group.chain_id, 2, 0, None, b"x"));
    group.run(Span::millis(5_000));
    assert!(matches!(group.answers[&submission], Answer::Placed(_)));
    group.assert_equal();
}
