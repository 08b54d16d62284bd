//! A group of cores, from the first election on.
#![allow(clippy::unwrap_used)]

mod common;

use common::World;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;

#[test]
fn a_group_elects_a_leader_and_commits() {
    let mut world = World::new(3, 64);
    world.loud = true;
    world.timeout(0);
    world.settle();
    world.status();
    println!("{}", world.out);
    assert_eq!(world.core(0).unwrap().standing(), Standing::Leader);
    for _ in 0..10 {
        assert!(world.seal(0));
        world.settle();
    }
    world.run(Span::millis(500));
    world.status();
    println!("{}", world.out);
    for id in 0..3 {
        assert!(world.applied(id) >= 11, "node {id} has applied {}", world.applied(id));
    }
    world.check_same_chain();
}
