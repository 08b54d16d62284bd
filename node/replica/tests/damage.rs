//! A damaged log is repaired, and a node that may have forgotten something says so.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Group, limits, write};
use quorate_chain::checked::Checked;
use quorate_chain::codec::Decode;
use quorate_consensus::effect::Record as EffectRecord;
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Input, JournalJob};
use quorate_replica::record::{BRANCH, Part, parts};
use quorate_replica::setup::Limits;
use quorate_replica::store::{Store, StoreReader};
use quorate_wal::{Entry, Rebuild, Record, Tag, salvage};

/// A group that has applied transactions, some of them not safe in the store of node 1.
fn group() -> Group {
    let mut group = Group::with(3, Limits { checkpoint_every: 10, ..limits() });
    group.elect();
    for nonce in 0..30 {
        group.submit(0, write(group.chain_id, 0, nonce, None, &[nonce as u8; 3_000]));
        group.settle();
    }
    group.run(Span::millis(500));
    group.kill(1);
    group
}

fn segments(group: &Group) -> Vec<String> {
    let disk = group.node(1).disk.lock().unwrap();
    let live = |name: &&str| std::path::Path::new(name).extension().is_some_and(|it| it == "wal");
    disk.names().filter(live).map(str::to_owned).collect()
}

/// Where a record that holds this value begins to, in which segment.
fn place_of(group: &Group, id: u32, value: u8) -> Option<(String, u64)> {
    let disk = group.node(id).disk.lock().unwrap();
    let wanted = [value; 600];
    segments_of(&disk).into_iter().find_map(|name| {
        let bytes = disk.bytes(&name).unwrap();
        let at = bytes.windows(wanted.len()).rposition(|window| window == wanted)?;
        Some((name, at as u64))
    })
}

fn segments_of(disk: &quorate_wal::Memory) -> Vec<String> {
    disk.names().filter(|name| name.contains(".wal")).map(str::to_owned).collect()
}

/// Starts node 1 and goes on until all are equal; returns whether it may have forgotten something.
fn go_on(group: &mut Group) -> bool {
    group.start(1).unwrap();
    let found = group.replica(1).found.clone();
    let repaired = found.repaired.expect("the damage is told");
    assert_eq!(repaired.forgotten, found.recovering);
    group.submit(0, write(group.chain_id, 1, 0, None, b"after"));
    group.run(Span::millis(5_000));
    group.assert_equal();
    let signs = |group: &Group| !group.replica(1).driver.status().recovering;
    group.run_until("node 1 is readmitted", signs);
    // The log is whole again, whatever happens to the store.
    group.kill(1);
    let node = group.node_mut(1);
    node.store.power_cut(0);
    group.start(1).unwrap();
    assert!(group.replica(1).found.repaired.is_none());
    group.run(Span::millis(5_000));
    group.assert_equal();
    found.recovering
}

#[test]
fn a_loss_that_no_ballot_follows_may_have_cost_one() {
    let mut group = group();
    let (file, at) = place_of(&group, 1, 28).unwrap();
    group.node(1).disk.lock().unwrap().overwrite(&file, at, b"rot");
    group.node_mut(1).store.power_cut(usize::MAX);
    // What is lost is applied, and the branches after it name it by hash; but no ballot follows it.
    assert!(go_on(&mut group));
}

#[test]
fn a_sector_that_cannot_be_read_is_repaired_like_one_that_has_changed() {
    for value in [28, 29] {
        let mut group = group();
        let (file, at) = place_of(&group, 1, value).unwrap();
        group.node(1).disk.lock().unwrap().break_sector(&file, at);
        assert!(go_on(&mut group), "value {value}");
    }
}

#[test]
fn a_changed_byte_at_the_end_may_have_cost_a_promise() {
    let mut group = group();
    let (file, at) = place_of(&group, 1, 29).unwrap();
    group.node(1).disk.lock().unwrap().overwrite(&file, at, b"rot");
    assert!(go_on(&mut group));
}

#[test]
fn a_loss_before_a_ballot_and_a_branch_costs_nothing() {
    let mut group = Group::with(3, Limits { checkpoint_every: 1_000, ..limits() });
    let leader = group.elect();
    for nonce in 0..20 {
        group.submit(leader, write(group.chain_id, 0, nonce, None, &[nonce as u8; 3_000]));
        group.settle();
    }
    // Another term begins.
    group.kill(leader);
    group.run_until("another leads", |group| group.leader().is_some());
    group.start(leader).unwrap();
    group.submit(1, write(group.chain_id, 0, 20, None, b"later"));
    group.run(Span::millis(2_000));
    group.kill(1);
    let (file, at) = place_of(&group, 1, 10).unwrap();
    group.node(1).disk.lock().unwrap().overwrite(&file, at, b"rot");
    assert!(!go_on(&mut group), "the blocks are in the store, and what follows names them");
}

#[test]
fn a_damaged_head_of_a_segment_costs_nothing() {
    let mut group = group();
    let file = segments(&group).pop().unwrap();
    group.node(1).disk.lock().unwrap().overwrite(&file, 16, b"rot");
    assert!(!go_on(&mut group));
}

#[test]
fn a_log_that_is_gone_is_begun_anew() {
    let mut group = group();
    for name in segments(&group) {
        group.node(1).disk.lock().unwrap().lose_file(&name);
    }
    assert!(go_on(&mut group));
}

/// A log that older versions could have pruned like that: of a branch of several parts only the last is there.
#[test]
fn a_branch_without_its_beginning_may_have_cost_an_ack() {
    let mut group = Group::with(3, Limits { checkpoint_every: 1_000, ..limits() });
    group.elect();
    for nonce in 0..10 {
        group.submit(0, write(group.chain_id, 0, nonce, None, b"x"));
        group.settle();
    }
    group.kill(1);
    let node = group.node_mut(1);
    node.store.power_cut(0);
    let reader = node.store.reader();
    let applied = reader.standing().unwrap().unwrap().applied.block;
    let (chain_id, signer) = (node.setup.chain_id, Arc::clone(&node.setup.signer));
    let identity = [chain_id.as_bytes().as_slice(), signer.key().as_bytes()].concat();
    let (mut preamble, mut blocks) = (Vec::new(), Vec::new());
    let disk = Arc::clone(&node.disk);
    let visit = |record: Record<'_>| match record.entry {
        Entry::Preamble(bytes) => preamble = bytes.to_vec(),
        Entry::Record { kind: BRANCH, payload, .. } => {
            let part = Part::from_bytes(&Bytes::copy_from_slice(payload)).unwrap();
            blocks.extend(part.blocks.into_iter().map(Checked::vouch));
        }
        Entry::Record { .. } => {}
    };
    assert_eq!(salvage(&mut disk.clone(), &identity, Tag::ZERO, visit).unwrap().0, None);
    blocks.retain(|block| block.block_ref().height > applied.height);
    assert!(blocks.len() > 3, "the store has lost so many");
    let mut rebuild = Rebuild::begin(disk.clone(), &identity, node.setup.wal).unwrap();
    rebuild.push(Entry::Preamble(&preamble)).unwrap();
    for (tag, payload) in parts(applied, &blocks, 0).split_off(2) {
        rebuild.push(Entry::Record { kind: BRANCH, tag, payload: &payload }).unwrap();
    }
    rebuild.finish().unwrap();
    group.node(1).disk.lock().unwrap().restart();
    assert!(go_on(&mut group));
}

#[test]
fn an_old_copy_of_the_log_is_behind_the_store() {
    let mut group = Group::new(3);
    group.elect();
    let old = group.node(1).disk.lock().unwrap().clone();
    for nonce in 0..10 {
        group.submit(0, write(group.chain_id, 0, nonce, None, b"x"));
        group.settle();
    }
    group.kill(1);
    *group.node(1).disk.lock().unwrap() = old;
    assert!(go_on(&mut group));
}

/// Settings are in every copy, and what they say is not what tells two starts apart.
#[test]
fn an_old_copy_with_the_count_of_a_start_that_others_know_does_not_sign() {
    let mut group = Group::new(3);
    group.elect();
    group.run(Span::millis(5_000));
    group.kill(1);
    let old = group.node(1).disk.lock().unwrap().clone();
    group.start(1).unwrap();
    group.run(Span::millis(5_000));
    group.kill(1);
    *group.node(1).disk.lock().unwrap() = old;
    group.node_mut(1).may_stop = true;
    group.start(1).unwrap();
    group.run(Span::millis(5_000));
    let stop = group.node(1).stop.as_deref();
    assert!(stop.is_some_and(|why| why.contains("another process")), "{stop:?}");
}

#[test]
fn a_lost_disk_and_a_lost_store_are_a_used_key_with_a_fresh_log() {
    let mut group = group();
    let node = group.node_mut(1);
    *node.disk.lock().unwrap() = quorate_wal::Memory::new(77);
    node.store = quorate_replica::store::MemoryStore::new();
    group.start(1).unwrap();
    let found = &group.replica(1).found;
    assert!(found.recovering && found.repaired.is_none());
    group.run(Span::millis(5_000));
    group.assert_equal();
}

#[test]
fn a_power_cut_at_any_operation_of_a_repair_is_met_by_the_next_start() {
    let damaged = || {
        let group = group();
        let (file, at) = place_of(&group, 1, 28).unwrap();
        group.node(1).disk.lock().unwrap().overwrite(&file, at, b"rot");
        group
    };
    let operations = |group: &Group| group.node(1).disk.lock().unwrap().operations();
    let all = {
        let mut group = damaged();
        let before = operations(&group);
        group.start(1).unwrap();
        operations(&group) - before
    };
    for operation in 0..all {
        let mut group = damaged();
        let at = operations(&group) + operation;
        let crash = move |step: &quorate_wal::Step<'_>| {
            if step.index >= at {
                quorate_wal::Verdict::Crash
            } else {
                quorate_wal::Verdict::Proceed
            }
        };
        let hook: quorate_wal::Hook = std::sync::Arc::new(std::sync::Mutex::new(crash));
        group.node(1).disk.lock().unwrap().set_hook(Some(hook));
        assert!(group.start(1).is_err());
        {
            let mut disk = group.node(1).disk.lock().unwrap();
            disk.set_hook(None);
            let mut count = 0_u64;
            disk.crash(|_| {
                count += 1;
                (count + operation).is_multiple_of(2)
            });
        }
        let at_risk = group.node(1).store.at_risk();
        group.node_mut(1).store.power_cut(usize::try_from(operation).unwrap().min(at_risk));
        group.start(1).unwrap();
        let found = &group.replica(1).found;
        assert!(found.recovering, "what may be forgotten stays so, after {operation} operations");
        group.run(Span::millis(3_000));
        group.assert_equal();
    }
}

/// There is nobody to ask: the operator vouches that nothing forgotten counts.
#[test]
fn a_single_validator_that_lost_blocks_goes_on_when_the_operator_says_so() {
    let mut group = Group::with(1, Limits { checkpoint_every: 1_000, ..limits() });
    group.elect();
    for nonce in 0..20 {
        group.submit(0, write(group.chain_id, 0, nonce, None, &[nonce as u8; 3_000]));
        group.settle();
    }
    let (file, at) = place_of(&group, 0, 10).unwrap();
    group.power_cut(0, |_| false);
    group.node(0).disk.lock().unwrap().overwrite(&file, at, b"rot");
    group.start(0).unwrap();
    assert!(group.replica(0).found.recovering);
    group.run(Span::millis(5_000));
    assert_eq!(group.leader(), None, "it signs nothing");
    group.give(0, Input::Readmit);
    group.run_until("it leads again", |group| group.leader() == Some(0));
    let submission = group.submit(0, write(group.chain_id, 1, 0, None, b"after"));
    group.run(Span::millis(1_000));
    assert!(matches!(group.answers.get(&submission), Some(Answer::Placed(_))));
}

#[test]
fn a_certificate_that_is_there_does_not_hide_that_its_block_is_gone() {
    let mut group = Group::with(3, Limits { checkpoint_every: 1_000_000, ..limits() });
    let leader = group.elect();
    let write_more = |group: &mut Group, nonces: std::ops::Range<u64>| {
        for nonce in nonces {
            let value = [nonce as u8; 3_000];
            group.submit(leader, write(group.chain_id, 0, nonce, None, &value));
            group.settle();
        }
        group.run(Span::millis(500));
    };
    write_more(&mut group, 0..3);
    let away = (leader + 1) % 3;
    group.kill(away);
    write_more(&mut group, 3..6);
    group.start(away).unwrap();
    // It is brought what it lacks, with the certificate for it, which is written first.
    group.node_mut(away).hold_disk = true;
    let is_branch = |job: &JournalJob| {
        matches!(job, JournalJob::Record { record: EffectRecord::Branch { .. }, .. })
    };
    group.run_until("blocks have come", |group| group.node(away).jobs.iter().any(is_branch));
    let node = group.node_mut(away);
    let at = node.jobs.iter().position(is_branch).unwrap();
    let mut rest = node.jobs.split_off(at);
    node.hold_disk = false;
    assert!(!node.jobs.is_empty());
    group.work(away);
    let node = group.node_mut(away);
    rest.append(&mut node.jobs);
    node.jobs = rest;
    group.run(Span::millis(500));
    group.assert_equal();
    group.kill(away);

    // The disk had said that the blocks were safe, and they are not. Nothing stands behind them.
    let (file, at) = place_of(&group, away, 3).unwrap();
    {
        let mut disk = group.node(away).disk.lock().unwrap();
        let (from, length) = (at as usize / 512 * 512, disk.bytes(&file).unwrap().len());
        disk.overwrite(&file, from as u64, &vec![0; length - from]);
    }
    group.start(away).unwrap();
    let found = group.replica(away).found.clone();
    assert!(found.repaired.is_some_and(|repaired| repaired.report.is_some()), "it is told");
    // So the store was made safe, and nothing is missed when the power goes.
    group.run(Span::millis(5_000));
    group.kill(away);
    group.node_mut(away).store.power_cut(0);
    group.start(away).unwrap();
    group.run(Span::millis(5_000));
    group.assert_equal();
}
