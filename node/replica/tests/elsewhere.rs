//! What the leader cannot bring is asked of others.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Group, limits, update};
use quorate_chain::ids::{Height, NodeId};
use quorate_consensus::time::Span;
use quorate_replica::io::Input;
use quorate_replica::setup::Limits;
use quorate_replica::store::{Store as _, StoreReader as _};

#[test]
fn who_needs_a_state_that_the_leader_has_none_of_gets_it_from_another() {
    let limits = Limits { snapshot_every: 20, keep_blocks: 1, checkpoint_every: 4, ..limits() };
    let mut group = Group::with(5, limits);
    group.elect();
    for away in [3, 4] {
        group.kill(away);
    }
    let leader = group.elect();
    for nonce in 0..70 {
        group.submit(leader, update(group.chain_id, 0, nonce));
        group.settle();
        if group.applied(leader) == Height::new(55) {
            break;
        }
    }
    group.run(Span::millis(1_000));
    let reader = group.node(leader).store.reader();
    assert!(reader.oldest().unwrap().unwrap() > Height::new(5), "old blocks are forgotten");
    // One that keeps no states for others comes back with one, and leads.
    group.node_mut(3).setup.limits.snapshot_every = 0;
    group.start(3).unwrap();
    let top = group.applied(leader);
    group.run_until("node 3 has caught up", |group| group.applied(3) >= top);
    assert_eq!(group.installs, [(3, true)]);
    group.give(leader, Input::Transfer { to: Some(NodeId::new(3)) });
    group.run_until("node 3 leads", |group| group.leader() == Some(3));
    assert!(group.node(3).store.reader().frozen().unwrap().is_empty());
    // So it has nothing for the next one, and the others have.
    group.start(4).unwrap();
    let top = group.applied(3);
    group.run_until("node 4 has caught up", |group| group.applied(4) >= top);
    assert_eq!(group.leader(), Some(3), "it leads all the time");
    assert!(group.node(3).store.reader().frozen().unwrap().is_empty());
}
