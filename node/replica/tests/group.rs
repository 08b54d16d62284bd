//! Replicas together: what a client is told is what all have applied.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Group, update};
use quorate_chain::outcome::Status;
use quorate_consensus::time::Span;
use quorate_replica::io::Answer;
use quorate_replica::store::{Store, StoreReader};

#[test]
fn three_replicas_apply_a_transaction_and_tell_its_client() {
    let mut group = Group::new(3);
    let leader = group.elect();
    let transaction = update(group.chain_id, 0, 0);
    let id = transaction.id();
    let submission = group.submit(leader, transaction);
    group.settle();
    let Some(Answer::Placed(placed)) = group.answers.get(&submission) else {
        panic!("{:?}", group.answers)
    };
    assert_eq!((placed.status, placed.duplicate), (Status::Applied, false));
    let placed = *placed;
    group.run(Span::millis(500));
    group.assert_equal();
    for node in group.ids() {
        let place = group.node(node).store.reader().place(id).unwrap().unwrap();
        assert_eq!((place.block, place.index), (placed.block, placed.index));
    }
}

#[test]
fn a_follower_forwards_to_the_leader_and_answers_by_itself() {
    let mut group = Group::new(3);
    let leader = group.elect();
    group.settle();
    let follower = (leader + 1) % 3;
    let submission = group.submit(follower, update(group.chain_id, 0, 0));
    group.settle();
    assert!(matches!(group.answers.get(&submission), Some(Answer::Placed(_))));
}
