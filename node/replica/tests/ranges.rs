//! What a node reads for another one fits into a message, whatever has become of its store.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Group, Node, limits, update};

use quorate_chain::codec::Encode as _;
use quorate_chain::ids::{Height, NodeId};
use quorate_consensus::event::Fetched;
use quorate_consensus::message::Message;
use quorate_consensus::time::Span;
use quorate_replica::fetch::fetch;
use quorate_replica::io::{FetchJob, Input};
use quorate_replica::setup::Limits;
use quorate_replica::snapshot::Demand;
use quorate_replica::store::Store as _;

const MESSAGE: usize = 3_000;

/// The bytes of each range that it takes to bring all blocks of a node to another one.
fn ranges(group: &Group, id: u32) -> Vec<usize> {
    let bytes = group.node(id).setup.limits.message_bytes;
    let (reader, applied) = (group.node(id).store.reader(), group.applied(id));
    let (mut ranges, mut from) = (Vec::new(), Height::new(1));
    while from <= applied {
        let job = FetchJob { node: NodeId::new(9), from, bytes };
        let Fetched::Blocks { blocks, certificate, .. } =
            fetch(&reader, &Demand::default(), job).unwrap().found
        else {
            panic!("no block was forgotten");
        };
        let end = blocks.last().unwrap().block_ref();
        assert_eq!(certificate.unwrap().block(), end, "a range ends in a certified block");
        ranges.push(blocks.iter().map(|block| block.bytes().len()).sum());
        from = end.height.next().unwrap();
    }
    ranges
}

#[test]
fn a_store_that_lost_much_at_once_brings_it_to_others_in_parts() {
    let limits = Limits { checkpoint_every: 1_000, message_bytes: MESSAGE, ..limits() };
    let mut group = Group::with(3, limits);
    group.elect();
    for nonce in 0..200 {
        group.submit(0, update(group.chain_id, u8::try_from(nonce % 9).unwrap(), nonce));
        group.settle();
    }
    group.run(Span::millis(500));
    let before = ranges(&group, 0);
    assert!(before.len() > 10 && before.iter().all(|bytes| *bytes <= MESSAGE), "{before:?}");
    for id in group.ids() {
        group.power_cut(id, |_| false);
        assert_eq!(group.applied(id), Height::ZERO, "the store has lost all");
    }
    for id in group.ids() {
        group.start(id).unwrap();
    }
    group.run(Span::millis(5_000));
    group.assert_equal();
    for id in group.ids() {
        let after = ranges(&group, id);
        assert!(after.iter().all(|bytes| *bytes <= MESSAGE), "node {id}: {after:?}");
    }
}

#[test]
fn what_is_applied_at_once_is_brought_to_others_in_parts() {
    in_parts_when_held(|node, held| node.hold_apply = held);
}

#[test]
fn what_is_committed_at_once_is_brought_to_others_in_parts() {
    in_parts_when_held(|node, held| node.hold_disk = held);
}

/// One of three nodes is held up and let go on, again and again.
fn in_parts_when_held(hold: impl Fn(&mut Node, bool)) {
    let limits = Limits { message_bytes: 1_500, window_blocks: 16, ..limits() };
    let mut group = Group::with(3, limits);
    let leader = group.elect();
    let slow = (leader + 1) % 3;
    for nonce in 0..100 {
        hold(group.node_mut(slow), nonce % 10 != 9);
        group.submit(leader, update(group.chain_id, u8::try_from(nonce % 9).unwrap(), nonce));
        group.settle();
    }
    group.run(Span::millis(500));
    group.assert_equal();
    let parts = ranges(&group, slow);
    assert!(parts.iter().all(|bytes| *bytes <= 1_500), "{parts:?}");
}

/// Small blocks are many before they are many bytes.
#[test]
fn many_small_blocks_are_brought_to_others_in_messages() {
    let mut limits = limits();
    (limits.message_bytes, limits.checkpoint_every) = (4 << 20, u64::MAX);
    let mut group = Group::with(2, limits);
    let leader = group.elect();
    let away = 1 - leader;
    for nonce in 0..5_000 {
        group.submit(leader, update(group.chain_id, u8::try_from(nonce % 9).unwrap(), nonce));
        group.settle();
    }
    assert!(group.applied(leader) > Height::new(5_000));
    check_messages(&group, leader);
    // All of it is applied again at once, under whatever certificates the log has.
    group.power_cut(leader, |_| false);
    group.start(leader).unwrap();
    group.run(Span::millis(5_000));
    check_messages(&group, leader);
    check_messages(&group, away);
    // Whoever asks for all of it takes nobody down.
    let committed = group.chain_id.genesis_ref();
    let pull = Message::Pull { committed };
    group.give(leader, Input::Received { from: NodeId::new(away), message: pull });
    group.run(Span::millis(1_000));
    group.assert_equal();
}

/// All blocks of a node, in messages that can be sent.
fn check_messages(group: &Group, id: u32) {
    let (reader, applied) = (group.node(id).store.reader(), group.applied(id));
    let mut from = Height::new(1);
    while from <= applied {
        let job = FetchJob { node: NodeId::new(9), from, bytes: 4 << 20 };
        let found = fetch(&reader, &Demand::default(), job).unwrap().found;
        let Fetched::Blocks { parent, blocks, certificate } = found else {
            panic!("no block was forgotten");
        };
        from = blocks.last().unwrap().block_ref().height.next().unwrap();
        let message = Message::Pulled { parent, blocks, certificate };
        assert!(message.to_bytes().len() < 8 << 20);
    }
}
