//! Links: frames in order, peers that die, hang and come back.
#![allow(clippy::unwrap_used)]

mod group;

use std::time::{Duration, Instant};

use bytes::Bytes;
use group::{Group, Told, config, node};
use quorate_node::net::{Lane, Liveness};

/// A frame with a number, as long as is wanted.
fn numbered(number: u32, length: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(length.max(4), 0xab);
    bytes.into()
}

#[test]
fn frames_arrive_in_order_on_both_lanes_in_both_directions() {
    const SMALL: u32 = 3_000;
    const LARGE: u32 = 150;
    let mut group = Group::new(2, &config());
    for (from, to) in [(0, 1), (1, 0)] {
        for number in 0..SMALL {
            let bytes = numbered(number, 4 + number as usize % 300);
            assert!(group.nodes[from].handle.send(node(to), Lane::Control, bytes));
        }
        for number in 0..LARGE {
            let bytes = numbered(number, 1_000 * number as usize);
            assert!(group.nodes[from].handle.send(node(to), Lane::Blocks, bytes));
        }
    }
    group.wait("all frames", |group| {
        let all = [(0, 1), (1, 0)].map(|(from, to)| {
            let small = group.nodes[to].frames(node(from), Lane::Control).len();
            let large = group.nodes[to].frames(node(from), Lane::Blocks).len();
            (small, large) == (SMALL as usize, LARGE as usize)
        });
        all == [true, true]
    });
    for (from, to) in [(0, 1), (1, 0)] {
        for (number, bytes) in (0..).zip(group.nodes[to].frames(node(from), Lane::Control)) {
            assert_eq!(bytes, numbered(number, 4 + number as usize % 300));
        }
        for (number, bytes) in (0..).zip(group.nodes[to].frames(node(from), Lane::Blocks)) {
            assert_eq!(bytes, numbered(number, 1_000 * number as usize));
        }
        let status = group.nodes[to].status(node(from));
        assert_eq!((status.dropped_in, status.dropped_out), (0, 0));
    }
}

#[test]
fn of_three_each_reaches_the_one_it_means() {
    let mut group = Group::new(3, &config());
    for lane in Lane::ALL {
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            group.say(from, to, lane, ["to 0", "to 1", "to 2"][to]);
        }
    }
    for (id, text) in ["to 0", "to 1", "to 2"].into_iter().enumerate() {
        let frames = group.nodes[id].count(|told| matches!(told, Told::Frame { .. }));
        let right = group.nodes[id]
            .count(|told| matches!(told, Told::Frame { bytes, .. } if bytes == text));
        assert_eq!((frames, right), (4, 4));
    }
}

/// The first is dialled by nobody, the last dials nobody: both must find back.
#[test]
fn a_killed_peer_is_told_lost_is_dead_in_the_end_and_alive_when_it_returns() {
    let mut group = Group::new(3, &config());
    for victim in [0, 2] {
        let others: Vec<_> = (0..3).filter(|id| *id != victim).collect();
        group.nodes.iter_mut().for_each(group::Node::forget);
        group.nodes[victim].kill();
        let lost = group.wait("the closed links are told", |group| {
            others.iter().all(|id| group.nodes[*id].has(&Told::Lost(node(victim))))
        });
        for id in &others {
            assert_ne!(group.nodes[*id].status(node(victim)).liveness, Liveness::Alive);
        }
        let dead = group.wait("it is dead", |group| {
            let status = |id: &usize| group.nodes[*id].status(node(victim)).liveness;
            others.iter().all(|id| status(id) == Liveness::Dead)
        });
        group.revive(victim);
        let alive = group.wait("it is alive", Group::is_linked);
        println!("killed {victim}: lost {lost:?}, dead {dead:?}, back {alive:?}");
        for id in &others {
            group.say(*id, victim, Lane::Control, "welcome");
            group.say(victim, *id, Lane::Blocks, "thanks");
        }
    }
}

#[test]
fn a_hung_peer_is_found_by_its_silence_and_alive_when_it_goes_on() {
    let mut group = Group::new(3, &config());
    for victim in [0, 2] {
        let others: Vec<_> = (0..3).filter(|id| *id != victim).collect();
        group.nodes.iter_mut().for_each(group::Node::forget);
        let hang = group.nodes[victim].hang();
        let dead = group.wait("it is dead and has no link", |group| {
            let is_dead = |id: &usize| {
                let status = group.nodes[*id].status(node(victim));
                status.liveness == Liveness::Dead && !status.linked
            };
            others.iter().all(is_dead)
        });
        for id in &others {
            assert!(group.nodes[*id].has(&Told::Lost(node(victim))));
            assert_eq!(group.nodes[*id].count(|told| matches!(told, Told::Lost(_))), 1);
        }
        drop(hang);
        let alive = group.wait("it is alive", Group::is_linked);
        println!("hung {victim}: dead {dead:?}, back {alive:?}");
        group.say(victim, others[0], Lane::Control, "here I am");
    }
}

#[test]
fn a_peer_with_nothing_to_say_stays_alive() {
    let mut config = config();
    config.keepalive = Duration::from_millis(20);
    config.suspect_after = Duration::from_secs(2);
    config.dead_after = Duration::from_secs(4);
    let mut group = Group::new(2, &config);
    // A link says that it is there, so a peer is heard again and again without a frame.
    let heard = |group: &Group| Instant::now() - group.nodes[0].status(node(1)).silence.unwrap();
    for _ in 0..10 {
        let before = heard(&group);
        group.wait("it was heard again", |group| heard(group) > before + config.keepalive / 2);
    }
    assert_eq!(group.nodes[0].count(|told| matches!(told, Told::Lost(_))), 0);
}
