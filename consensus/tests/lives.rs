//! Random lives under more faults than in `random.rs`: messages too small for a window, copies of old
//! messages, links cut one way, signers, stores and disks that are slow one by one, calendars that are
//! wrong, and one validator that lies about everything but its votes and blocks.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::World;
use common::forge::LIES;
use common::random::{Random, live_many};
use quorate_consensus::time::Span;

/// How many messages are remembered to be sent again.
const REMEMBERED: usize = 3_000;

fn deliver_one(world: &mut World, random: &mut Random) {
    let at = random.below(12.min(world.wire.len() as u64));
    let (from, to, message) = world.wire.remove(usize::try_from(at).unwrap()).unwrap();
    match random.below(30) {
        0 => {}
        1 => world.wire.push_back((from, to, message)),
        _ => world.arrive(from, to, message),
    }
}

fn replay(world: &mut World, random: &mut Random) {
    let history = world.history.as_mut().unwrap();
    if history.len() > REMEMBERED {
        history.drain(..REMEMBERED / 2);
    }
    if history.is_empty() {
        return;
    }
    let at = usize::try_from(random.below(history.len() as u64)).unwrap();
    let (from, to, message) = history[at].clone();
    world.arrive(from, to, message);
}

fn lie(world: &mut World, random: &mut Random, liar: u32) {
    let victim = random.node(world);
    let Some(core) = world.core(victim).filter(|_| victim != liar) else { return };
    let (term, tip) = (core.term().get(), core.log().tip().block.height.get());
    let term = (term + random.below(4)).saturating_sub(1);
    let height = (tip + random.below(6)).saturating_sub(3);
    let kind = LIES[usize::try_from(random.below(LIES.len() as u64)).unwrap()];
    // A vote or an ack for what it does not have would be a second word for one place.
    if !matches!(kind, "Vote" | "Stored") {
        let lie = world.forged((liar, victim), kind, (term, height), &[liar]);
        world.arrive(liar, victim, lie);
    }
}

/// Something happens.
fn happen(world: &mut World, random: &mut Random, liar: Option<u32>) {
    let (a, b) = (random.node(world), random.node(world));
    match random.below(130) {
        0..64 if !world.wire.is_empty() => deliver_one(world, random),
        64..74 => _ = world.seal(a),
        74..84 => world.sleep(Span::millis(random.below(200))),
        84..92 => world.timeout(a),
        92 => world.lose_power(a),
        93 => world.kill(a),
        94..97 if world.core(a).is_none() => world.start(a),
        97 if a != b => world.cut_one_way(a, b, true),
        98..101 => world.cut(a, b, false),
        101 => world.hold_disk(a, true),
        102 => world.hold_disk(a, false),
        103 if world.is_writing(a) => world.write_one(a),
        104 => world.hold_apply(a, true),
        105 => world.hold_apply(a, false),
        106 => world.hold_signer(a, true),
        107..109 => world.hold_signer(a, false),
        109 => world.hold_store(a, true),
        110..112 => world.hold_store(a, false),
        112 => world.set_calendar(a, random.below(3) * 2_000_000_000),
        113..117 => replay(world, random),
        117..121 => {
            if let Some(liar) = liar {
                lie(world, random, liar);
            }
        }
        _ => world.sleep(Span::millis(random.below(600))),
    }
}

fn live(seed: u64) -> [u64; 1] {
    let mut random = Random(seed);
    let nodes = u32::try_from(2 + random.below(4)).unwrap();
    let window = usize::try_from(2 + random.below(12)).unwrap();
    let message = usize::try_from(400 + random.below(2_000)).unwrap();
    let liar = (random.below(2) == 0).then(|| random.node_of(nodes));
    let mut world = World::with(nodes, window, message);
    world.history = Some(Vec::new());
    let mut led = BTreeMap::new();
    for _ in 0..1_500 {
        happen(&mut world, &mut random, liar);
        world.check_whole();
        world.check_same_chain();
        world.check_leaders(&mut led);
    }
    world.history = None;
    world.mend();
    world.ids().into_iter().for_each(|id| world.set_calendar(id, 10_000_000_000));
    world.run(Span::millis(30_000));
    [world.come_together(seed)]
}

#[test]
fn whatever_else_happens_the_chains_agree_and_come_together() {
    let (seeds, [blocks]) = live_many(60, live);
    println!("{seeds} lives, {blocks} blocks");
    assert!(blocks > seeds);
}
