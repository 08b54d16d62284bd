//! A leader that lives and is heard by a quorum stays: neither a flapping link, nor a node that returns,
//! nor a validator that lies deposes it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::forge::LIES;
use common::net::Net;
use common::{CHAIN, World};
use quorate_chain::ids::NodeId;
use quorate_consensus::effect::Effect;
use quorate_consensus::event::{Event, Fetched};
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

const NODES: u32 = 5;
const BETWEEN: Span = Span::millis(300);

/// A group that has had a leader for a while, and who that is.
fn led(seed: u64) -> (Net, u32) {
    let mut net = Net::new(World::new(NODES, 16), seed);
    net.run(Span::millis(4_000), BETWEEN);
    let leader = leader(&net).unwrap();
    (net, leader)
}

fn leader(net: &Net) -> Option<u32> {
    let leads = |id: &u32| net.world.core(*id).unwrap().standing() == Standing::Leader;
    net.world.ids().into_iter().find(leads)
}

/// A link is lost and comes back; both ends are told.
fn flap(net: &mut Net, a: u32, b: u32, down: Span) {
    net.world.cut(a, b, true);
    net.world.step(a, Event::LinkLost { node: NodeId::new(b) });
    net.world.step(b, Event::LinkLost { node: NodeId::new(a) });
    net.take_off();
    net.run(down, BETWEEN);
    net.world.cut(a, b, false);
}

#[test]
fn a_flapping_link_to_a_living_leader_deposes_nobody() {
    for seed in 0..10 {
        let (mut net, leader) = led(seed);
        let (changes, start) = (net.leaders.len(), net.committed());
        for turn in 0..15 {
            let peer = (leader + 1 + u32::try_from(seed).unwrap() % (NODES - 1)) % NODES;
            flap(&mut net, leader, peer, Span::millis(turn * 40));
            net.run(Span::millis(200), BETWEEN);
        }
        assert_eq!(net.leaders.len(), changes, "seed {seed}: {:?}", net.leaders);
        assert!(net.committed() > start + 5, "seed {seed}");
    }
}

#[test]
fn a_leader_whose_links_all_flap_is_replaced_at_most_once_a_flap() {
    for seed in 0..10 {
        let (mut net, _) = led(seed);
        for _ in 0..8 {
            let changes = net.leaders.len();
            let Some(leader) = leader(&net) else {
                net.run(Span::millis(3_000), BETWEEN);
                continue;
            };
            for peer in net.world.ids().into_iter().filter(|id| *id != leader) {
                net.world.step(peer, Event::LinkLost { node: NodeId::new(leader) });
            }
            net.take_off();
            net.run(Span::millis(2_500), BETWEEN);
            assert!(net.leaders.len() <= changes + 1, "seed {seed}: {:?}", net.leaders);
        }
    }
}

#[test]
fn a_node_that_was_cut_off_and_returns_deposes_nobody() {
    for seed in 0..30 {
        let (mut net, leader) = led(seed);
        let (changes, start) = (net.leaders.len(), net.committed());
        let away = (leader + 1 + u32::try_from(seed).unwrap() % (NODES - 1)) % NODES;
        for peer in net.world.ids() {
            net.world.cut(away, peer, true);
        }
        net.run(Span::millis(700 + 900 * (seed % 7)), BETWEEN);
        for peer in net.world.ids() {
            net.world.cut(away, peer, false);
        }
        net.run(Span::millis(4_000), BETWEEN);
        assert_eq!(net.leaders.len(), changes, "seed {seed}: {:?}", net.leaders);
        assert!(net.committed() > start + 5, "seed {seed}");
        assert!(net.world.applied(away) + 2 >= net.committed(), "seed {seed}: it caught up");
    }
}

/// One validator tells everybody every lie there is, of terms and about heights of all kinds.
#[test]
fn one_validator_that_lies_deposes_nobody() {
    for kind in LIES {
        let (mut net, leader) = led(1);
        let liar = (leader + 1) % NODES;
        let (changes, start) = (net.leaders.len(), net.committed());
        for (term, height) in (0..5).flat_map(|term| (0..5).map(move |height| (term, height))) {
            for victim in net.world.ids().into_iter().filter(|id| *id != liar) {
                let core = net.world.core(victim).unwrap();
                let (now, tip) = (core.term().get(), core.log().tip().block.height.get());
                let terms = [0, now - 1, now, now + 1, u64::MAX];
                let heights = [0, tip.saturating_sub(3), tip, tip + 1, u64::MAX];
                let about = (terms[term], heights[height]);
                let lie = net.world.forged((liar, victim), kind, about, &[liar]);
                net.world.arrive(liar, victim, lie);
                net.take_off();
            }
            net.run(Span::millis(50), BETWEEN);
        }
        net.run(Span::millis(2_000), BETWEEN);
        // Whoever says that it recovers gets a new term, once a minute, but no other leader.
        let renewed = usize::from(kind == "Recovering");
        assert_eq!(net.leaders.len(), changes + renewed, "{kind}: {:?}", net.leaders);
        assert!(net.leaders.values().all(|led| *led == leader), "{kind}: {:?}", net.leaders);
        assert!(net.committed() > start + 5, "{kind}");
        net.world.check_same_chain();
    }
}

#[test]
fn a_store_reads_one_range_at_a_time_for_each_peer_however_often_it_asks() {
    let mut world = World::led(3);
    for _ in 0..5 {
        world.seal(0);
        world.settle();
    }
    let pull = |from: u32, world: &mut World| {
        let message = Message::Pull { committed: CHAIN.genesis_ref() };
        let effects = world.tap(1, Event::Received { from: NodeId::new(from), message });
        effects.iter().filter(|it| matches!(it, Effect::Fetch { .. })).count()
    };
    assert_eq!(pull(2, &mut world), 1);
    for _ in 0..100 {
        assert_eq!(pull(2, &mut world), 0, "node 2 is being read for");
    }
    assert_eq!(pull(0, &mut world), 1, "which is nothing to node 0");
    let found = Fetched::Pruned { snapshot: None };
    world.tap(1, Event::Fetched { node: NodeId::new(2), found });
    assert_eq!((pull(2, &mut world), pull(2, &mut world)), (1, 0));
}
