//! Random lives in which clients read, operators move leadership, and disks are lost, one at a time.
//!
//! Whatever happens, a read that is served has all that was committed anywhere before it was asked, every
//! read is answered within an election timeout or its node has died, and what was applied anywhere stays
//! what it was, though its node may have lost it. Once everything works again, everybody is whole and all
//! come together.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::World;
use common::random::{Random, live_many};
use quorate_chain::ids::{BlockRef, Height, NodeId};
use quorate_chain::roster::Lead;
use quorate_consensus::event::Event;
use quorate_consensus::reads::ReadId;
use quorate_consensus::time::{Moment, Span};

/// A read that waits.
struct Waiting {
    node: u32,
    /// The highest height that was committed anywhere when it was asked.
    committed: Height,
    asked: Moment,
}

/// What must stay true, and what has happened.
#[derive(Default)]
struct Watch {
    reads: BTreeMap<ReadId, Waiting>,
    asked: u64,
    served: u64,
    transfers: u64,
    lost: u64,
    committed: Height,
    /// What was applied anywhere.
    chain: BTreeMap<Height, BlockRef>,
    led: BTreeMap<u64, u32>,
}

impl Watch {
    fn check(&mut self, world: &mut World) {
        for id in world.ids() {
            let Some(core) = world.core(id) else { continue };
            self.committed = self.committed.max(core.log().committed().height);
            let applied = core.log().applied().block;
            let first = *self.chain.entry(applied.height).or_insert(applied);
            assert_eq!(first, applied, "another block is applied at {id}");
        }
        world.check_leaders(&mut self.led);
        for (id, read, height) in std::mem::take(&mut world.served) {
            let Some(waiting) = self.reads.remove(&read) else {
                unreachable!("read {} is answered twice", read.0)
            };
            assert_eq!(id, waiting.node);
            let due = waiting.committed;
            assert!(height >= due, "read {} is served at {height}, committed was {due}", read.0);
            assert!(world.applied(id) >= height.get(), "what is served is applied");
            self.served += 1;
        }
        for (_, read, _) in std::mem::take(&mut world.unread) {
            assert!(self.reads.remove(&read).is_some(), "read {} is answered twice", read.0);
        }
        self.reads.retain(|_, waiting| world.core(waiting.node).is_some());
        world.check_same_chain();
    }

    fn read(&mut self, world: &mut World, node: u32) {
        if world.core(node).is_none() {
            return;
        }
        self.asked += 1;
        let (read, committed) = (ReadId(self.asked), self.committed);
        self.reads.insert(read, Waiting { node, committed, asked: world.moment });
        world.step(node, Event::Read { read });
    }

    /// No read waits longer than an election timeout, once its node was given a tick.
    fn check_bound(&self, world: &World) {
        for (read, waiting) in &self.reads {
            let waits = world.moment.since(waiting.asked);
            assert!(waits <= Span::millis(1_000), "read {} waits for {waits:?}", read.0);
        }
    }
}

/// A disk is lost: only while every other validator knows what it has signed, and in groups in which
/// the others are a quorum.
fn lose_disk(world: &mut World, watch: &mut Watch, node: u32) {
    let ids = world.ids();
    let whole = |id: &u32| *id == node || !world.is_recovering(*id);
    if ids.len() >= 3 && ids.iter().all(whole) {
        world.wipe(node, true);
        watch.lost += 1;
    }
}

/// A leader is cut off and the others notice at once: for a while it believes that it leads.
fn cut_off(world: &mut World) {
    let Some(leader) = world.leader() else { return };
    for other in world.ids().into_iter().filter(|id| *id != leader) {
        world.cut(leader, other, true);
        world.step(other, Event::LinkLost { node: NodeId::new(leader) });
    }
}

fn wish(world: &mut World, watch: &mut Watch, random: &mut Random) {
    let (a, b) = (random.node(world), random.node(world));
    match random.below(12) {
        0 => {
            let to = (random.below(3) > 0).then(|| NodeId::new(b));
            watch.transfers += u64::from(world.core(a).is_some());
            world.step(a, Event::Transfer { to });
        }
        1 => {
            let lead = [Lead::No, Lead::Yes, Lead::Prefer];
            let lead = lead[usize::try_from(random.below(3)).unwrap()];
            world.step(a, Event::Willing(lead));
        }
        2 if random.below(8) == 0 => lose_disk(world, watch, a),
        3 if random.below(4) == 0 => cut_off(world),
        _ => watch.read(world, a),
    }
}

/// Something happens.
fn happen(world: &mut World, watch: &mut Watch, random: &mut Random) {
    let (a, b) = (random.node(world), random.node(world));
    match random.below(110) {
        0..60 if !world.wire.is_empty() => {
            let taken = world.wire.remove(random.message(world)).unwrap();
            match random.below(14) {
                0 => {}
                1 => {
                    world.wire.push_back(taken.clone());
                    world.wire.push_front(taken);
                }
                _ => {
                    world.wire.push_front(taken);
                    world.carry(None);
                }
            }
        }
        60..70 => drop(world.seal(a)),
        70..78 => world.sleep(Span::millis(random.below(200))),
        78..84 => world.timeout(a),
        84 => world.kill(a),
        85..89 if world.core(a).is_none() => world.start(a),
        89 if a != b => world.cut(a, b, true),
        90..92 => world.cut(a, b, false),
        92 => world.hold_disk(a, true),
        93..95 => world.hold_disk(a, false),
        95 => world.hold_apply(a, true),
        96..98 => world.hold_apply(a, false),
        98 => world.sleep(Span::millis(random.below(2_000))),
        _ => wish(world, watch, random),
    }
}

/// Lives one life; how many reads it served, transfers it was asked for, and disks it lost.
fn live(seed: u64) -> [u64; 4] {
    let mut random = Random(seed);
    let nodes = u32::try_from(1 + random.below(5)).unwrap();
    let mut world = World::new(nodes, usize::try_from(2 + random.below(12)).unwrap());
    let mut watch = Watch::default();
    for _ in 0..1_500 {
        happen(&mut world, &mut watch, &mut random);
        watch.check(&mut world);
    }
    world.mend();
    // A minute between two terms that a leader begins for one who recovers.
    for _ in 0..150 {
        world.run(Span::millis(1_000));
        watch.check(&mut world);
        watch.check_bound(&world);
        let node = random.node(&world);
        watch.read(&mut world, node);
    }
    world.status();
    let whole = world.ids().into_iter().all(|id| !world.is_recovering(id));
    assert!(whole, "seed {seed}: somebody still recovers\n{}", world.out);
    let blocks = world.come_together(seed);
    watch.check(&mut world);
    [blocks, watch.served, watch.transfers, watch.lost]
}

#[test]
fn whatever_is_wished_for_reads_are_fresh_and_lost_disks_undo_nothing() {
    let (seeds, [blocks, served, transfers, lost]) = live_many(60, live);
    println!("{seeds} lives: {blocks} blocks, {served} reads, {transfers} transfers, {lost} disks");
    assert!(seeds < 60 || served > 20 * seeds && transfers > seeds && lost > seeds / 4);
}
