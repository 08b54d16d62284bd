//! Blocks that only somebody who lies would seal, or send.
#![allow(clippy::unwrap_used)]

mod common;

use common::forge::certificate;
use common::keys::{Key, seal, state_root};
use common::{CHAIN, StandIn, World, change, key};
use quorate_chain::block::{Block, BlockKind, EnterChange, Item};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockHash, BlockRef, Height, NodeId};
use quorate_chain::statement::Statement;
use quorate_consensus::effect::{Slot, Urgency};
use quorate_consensus::log::{Log, Unfit};
use quorate_consensus::message::{Append, Beat, Lap, Message};
use quorate_consensus::time::Span;

/// A block that enters a change of the roster at a tip, on the word of a certificate for a block.
fn enter(log: &Log, certified: BlockRef) -> Checked<Block> {
    let tip = log.tip();
    let change = change::approved(tip.roster.hash(), vec![change::add(9, false)]);
    let joint = tip.roster.apply(change.change()).unwrap();
    let certificate = certificate(Statement::Ack { block: certified }, &tip.roster, &[0, 1]);
    let (proposer, _) = tip.leader.clone().unwrap();
    let slot = Slot {
        kind: BlockKind::Enter,
        parent: tip.block,
        term: tip.block.term,
        proposer,
        roster_hash: joint.hash(),
        time: tip.time,
        executed: Height::ZERO,
        state_root: state_root(Height::ZERO),
        item: Some(Item::Enter { change: EnterChange::Ordered(change), certificate }),
        urgency: Urgency::Now,
        room: 0,
    };
    seal(&slot, &Key(key(proposer.get())))
}

#[test]
fn a_roster_is_left_only_on_the_word_of_an_ancestor() {
    let mut world = World::new(3, 64);
    world.timeout(0);
    world.run(Span::millis(300));
    for _ in 0..5 {
        assert!(world.seal(0));
        world.settle();
    }
    let log = world.core(0).unwrap().log();
    let judge = |block| log.judge(log.tip(), &[], block, CHAIN, &StandIn).map(|_| ());
    let below = |height| {
        let entries = world.blocks(0);
        entries.into_iter().find(|block| block.height == Height::new(height)).unwrap()
    };
    for height in 3..=log.tip().block.height.get() {
        let ancestor = below(height);
        assert_eq!(judge(enter(log, ancestor)), Ok(()), "{ancestor}");
        let other = BlockRef { hash: BlockHash::new([0xee; 32]), ..ancestor };
        let refused = Err(Unfit::NoAncestor { certified: other });
        assert_eq!(judge(enter(log, other)), refused, "{other}");
    }
}

#[test]
fn a_leader_that_sends_blocks_beyond_its_term_is_not_listened_to() {
    let mut world = World::new(3, 64);
    world.timeout(0);
    world.run(Span::millis(300));
    // Node 2 hears nothing of the next term. It is sent the block that opens it.
    for other in [0, 1] {
        world.cut(2, other, true);
    }
    world.lose_power(0);
    world.start(0);
    world.run(Span::millis(4_000));
    let (log, parent) = (world.core(0).unwrap().log(), world.core(2).unwrap().log().tip().block);
    let above = world.blocks_above(0, parent);
    assert!(log.tip().block.term > parent.term && !above.is_empty());
    let append = Append {
        term: parent.term,
        election: None,
        lap: Lap(0),
        beat: Beat(0),
        parent,
        blocks: above[..1].to_vec(),
        certificate: None,
    };
    let leader = world.core(2).unwrap().leader().map_or(0, NodeId::get);
    world.cut(2, leader, false);
    world.arrive(leader, 2, Message::Append(Box::new(append)));
    assert!(world.core(2).unwrap().log().tip().block.term <= world.core(2).unwrap().term());
}
