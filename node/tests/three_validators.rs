//! Three validators in one process, over the real network on loopback.

mod common;

use std::time::Duration;

use common::validators::{Group, blocking, equal, one_leader};
use quorate_client::answer::Status;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_dies_the_others_go_on_and_it_catches_up() {
    let mut group = Group::start(3, common::config()).await;
    let told = group.wait("one leader", one_leader).await;
    group.put("before").await;
    let told_to_all = group.wait("all alive", |told| {
        told.iter().all(|one| one.live_peers.len() == 2 && one.reachable == 3)
    });
    told_to_all.await;

    let leader = told[0].leader.expect("there is one");
    let at = leader.get() as usize;
    group.nodes[at].take().expect("it runs").kill().await;
    let after = group.wait("another leader", |told| {
        one_leader(told) && told.iter().all(|one| one.leader != Some(leader))
    });
    let after = after.await;
    assert!(after.iter().all(|one| one.term > told[0].term));
    group.put("while it is dead").await;

    group.revive(at).await;
    group.put("after").await;
    group.wait("equal", |told| told.len() == 3 && one_leader(told) && equal(told)).await;
    for client in group.clients() {
        for key in ["before", "while it is dead", "after"] {
            let client = client.clone();
            let entry = blocking(move || client.get(key)).await.expect("it answers");
            assert_eq!(entry.expect("the key is there").value.as_ref(), b"value");
        }
    }
    for node in group.nodes.iter_mut().filter_map(Option::take) {
        node.shutdown().await.expect("it stops in order");
    }
}

/// The third would not help to elect another leader before its own timeout, which is longer than any test,
/// unless its network tells it that the line to the leader is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_link_to_the_leader_is_as_good_as_a_timeout() {
    let mut group = Group::start(3, common::config()).await;
    group.wait("one leader", one_leader).await;
    group.nodes[2].take().expect("it runs").kill().await;
    group.revive_patient(2, Duration::from_secs(3_600)).await;
    let told = group.wait("one leader that is not the third", |told| {
        one_leader(told) && told[0].leader.is_some_and(|leader| leader.get() != 2)
    });
    let leader = told.await[0].leader.expect("there is one");
    let all = |told: &[Status]| told.iter().all(|one| one.live_peers.len() == 2);
    group.wait("all hear each other", all).await;
    group.put("before").await;

    group.nodes[leader.get() as usize].take().expect("it runs").kill().await;
    let other = |told: &[Status]| one_leader(told) && told[0].leader != Some(leader);
    group.wait("another leader", other).await;
    group.put("after").await;
}
