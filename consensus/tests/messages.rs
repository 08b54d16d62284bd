//! How many messages a block takes.
//!
//! In order it is an append, an answer and, when nothing else is in flight, word of the commit. When
//! messages overtake each other, appends do not fit and are rejected; that must not become an avalanche
//! (a widely used library sends 625 messages a block then, by its defaults).
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod common;

use common::World;
use common::random::Random;
use quorate_consensus::message::Message;
use quorate_consensus::time::Span;

const BLOCKS: u64 = 400;

/// How many messages were sent for each block and follower since the last time.
fn for_each_block(world: &mut World, blocks: u64) -> f64 {
    let sent: u64 = std::mem::take(&mut world.sent).values().sum();
    let followers = world.ids().len() as u64 - 1;
    sent as f64 / (blocks * followers) as f64
}

/// How many blocks were in all appends.
fn blocks_sent(world: &World) -> usize {
    let sent = world.history.iter().flatten();
    sent.map(|(_, _, message)| match message {
        Message::Append(append) => append.blocks.len(),
        _ => 0,
    })
    .sum()
}

#[test]
fn in_order_a_block_takes_three_messages_a_follower_at_most() {
    for nodes in [3, 5, 7] {
        let mut world = World::led(nodes);
        world.history = None;
        world.sent.clear();
        for _ in 0..BLOCKS {
            assert!(world.seal(0));
            world.settle();
        }
        let alone = for_each_block(&mut world, BLOCKS);
        assert!(alone <= 3.0, "{nodes} nodes, one in flight: {alone:.2}");
        for _ in 0..BLOCKS / 8 {
            for _ in 0..8 {
                assert!(world.seal(0));
            }
            world.settle();
        }
        let many = for_each_block(&mut world, BLOCKS);
        assert!(many <= 3.0, "{nodes} nodes, eight in flight: {many:.2}");
        println!("{nodes} nodes: {alone:.2} one in flight, {many:.2} with eight");
    }
}

#[test]
fn out_of_order_a_block_takes_six_messages_a_follower_at_most() {
    for (nodes, depth) in [(3, 4), (3, 16), (3, 64), (5, 4), (5, 16), (5, 64)] {
        let mut world = World::led(nodes);
        world.history = Some(Vec::new());
        let mut random = Random(u64::from(nodes) * 100 + depth as u64);
        world.sent.clear();
        let first = world.committed(0);
        while world.committed(0) < first + BLOCKS {
            let sealed = world.seal(0);
            // So many messages are always on their way, and any of them comes next.
            while world.wire.len() > depth || !sealed {
                let waiting = world.wire.len();
                if waiting == 0 {
                    break;
                }
                let at = usize::try_from(random.below(waiting as u64)).unwrap();
                let (from, to, message) = world.wire.remove(at).unwrap();
                world.arrive(from, to, message);
                if waiting <= depth {
                    break;
                }
            }
            world.sleep(Span::millis(1));
            while world.due().is_some_and(|(moment, _)| moment <= world.moment) {
                let (_, id) = world.due().unwrap();
                world.timeout(id);
            }
        }
        let each = for_each_block(&mut world, BLOCKS);
        let copies = blocks_sent(&world) as f64 / (BLOCKS * u64::from(nodes - 1)) as f64;
        println!("{nodes} nodes, {depth} deep: {each:.2} messages, {copies:.2} copies");
        assert_eq!(world.leaders(), [(0, 1)]);
        assert!(each <= 6.0, "{nodes} nodes, {depth} messages deep: {each:.2}");
        assert!(copies <= 6.0, "{nodes} nodes, {depth} messages deep: {copies:.2} copies");
    }
}
