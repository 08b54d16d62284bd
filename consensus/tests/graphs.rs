//! Every group of five in which some node reaches a quorum makes progress, whatever links are missing.
//!
//! A missing link is the worst of both: what is sent on it is lost, and nobody is told. Before it is
//! missing, others were, so that the nodes have chains of different length.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::World;
use common::net::Net;
use common::random::Random;
use quorate_consensus::time::Span;

const NODES: u32 = 5;
const QUORUM: usize = 3;

/// The ways that are open, each from one node to another.
type Ways = BTreeSet<(u32, u32)>;

fn all_ways() -> Ways {
    let pairs = (0..NODES).flat_map(|a| (0..NODES).map(move |b| (a, b)));
    pairs.filter(|(a, b)| a != b).collect()
}

/// The n-th of the 1,024 graphs whose links go both ways.
fn symmetric(graph: u32) -> Ways {
    let pairs = (0..NODES).flat_map(|a| (a + 1..NODES).map(move |b| (a, b)));
    let there = pairs.enumerate().filter(|(bit, _)| graph >> bit & 1 == 1);
    there.flat_map(|(_, (a, b))| [(a, b), (b, a)]).collect()
}

/// Whether some node reaches a quorum, and is reached by it.
fn has_hub(ways: &Ways) -> bool {
    let both = |a: u32, b: u32| ways.contains(&(a, b)) && ways.contains(&(b, a));
    let reached = |a: u32| 1 + (0..NODES).filter(|b| *b != a && both(a, *b)).count();
    (0..NODES).any(|node| reached(node) >= QUORUM)
}

fn open(net: &mut Net, ways: &Ways) {
    for (a, b) in all_ways() {
        net.world.cut_one_way(a, b, !ways.contains(&(a, b)));
    }
}

const SECOND: Span = Span::millis(1_000);
const BETWEEN: Span = Span::millis(400);

/// What goes wrong where these ways are open, if anything does.
fn offence(before: &Ways, ways: &Ways, seed: u64) -> Option<String> {
    let mut net = Net::new(World::new(NODES, 8), seed);
    net.run(SECOND.times(3), BETWEEN);
    open(&mut net, before);
    net.run(SECOND.times(2), BETWEEN);
    open(&mut net, ways);
    let start = net.committed();
    net.run(SECOND.times(12), BETWEEN);
    let (middle, leaders) = (net.committed(), net.leaders.len());
    net.run(SECOND.times(3), BETWEEN);
    let (end, changes) = (net.committed(), net.leaders.len() - leaders);
    net.world.check_same_chain();
    let wrong = match has_hub(ways) {
        true if middle <= start => "nothing was committed for twelve timeouts",
        true if end <= middle => "nothing is committed any more",
        true if changes > 0 => "the leader goes on changing",
        false if end > start => "a block was committed without a quorum",
        true | false => return None,
    };
    net.world.out.clear();
    net.world.status();
    Some(format!("{wrong}: before {before:?}, then {ways:?}, seed {seed}\n{}", net.world.out))
}

fn check(cases: impl Iterator<Item = (Ways, Ways, u64)>) {
    let wrong = cases.filter_map(|(before, ways, seed)| offence(&before, &ways, seed));
    let wrong: Vec<_> = wrong.collect();
    assert!(
        wrong.is_empty(),
        "{} graphs:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

#[test]
fn every_symmetric_graph_with_a_hub_makes_progress() {
    check((0..1_024).map(|graph| {
        let before = Random(u64::from(graph)).below(1_024);
        (symmetric(u32::try_from(before).unwrap()), symmetric(graph), u64::from(graph))
    }));
}

/// All ways but some.
fn without(cut: &[(u32, u32)]) -> Ways {
    all_ways().into_iter().filter(|way| !cut.contains(way)).collect()
}

#[test]
fn one_or_two_ways_that_are_cut_stop_nobody() {
    let ways: Vec<_> = all_ways().into_iter().collect();
    let pairs = ways.iter().enumerate().flat_map(|(at, a)| ways[at..].iter().map(|b| [*a, *b]));
    check(pairs.enumerate().map(|(seed, cut)| (all_ways(), without(&cut), seed as u64)));
}

#[test]
fn ways_that_are_cut_at_random_stop_nobody_who_has_a_hub() {
    let random_ways = |seed: u64| {
        let mut random = Random(seed);
        let open = random.below(6) + 4;
        all_ways().into_iter().filter(|_| random.below(10) < open).collect::<Ways>()
    };
    let seeds = std::env::var("QUORATE_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    check((0..seeds).map(|seed| (random_ways(seed + 1_000_000), random_ways(seed), seed)));
}
