//! The death and revival of nodes, as five stories. Nothing here depends on luck: terms strictly rise,
//! each new leader is a living, willing node, and every wait is for a condition.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_chain::ids::NodeId;
use quorate_testnet::Cluster;

fn ids(nodes: impl IntoIterator<Item = u32>) -> BTreeSet<NodeId> {
    nodes.into_iter().map(NodeId::new).collect()
}

/// Waits until each of these nodes takes exactly these for alive, itself aside.
async fn lists_are(cluster: &Cluster, nodes: &[u16], living: &BTreeSet<NodeId>) {
    let listed = |status: &quorate_client::answer::Status| {
        let mut listed: BTreeSet<_> = status.live_peers.iter().copied().collect();
        listed.insert(status.node_id) && listed == *living
    };
    let what = format!("it does not list {living:?}");
    cluster.until(&what, nodes.iter().copied(), listed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_stop_election() {
    let mut cluster = Cluster::of(5).leader(0).willing([0, 1, 2]).start().await.unwrap();
    let (old, term) = cluster.leader().await.unwrap();
    cluster.kill(old).await;
    let (new, later) = cluster.wait_for_new_leader(old).await.unwrap();
    assert!(new != old && later > term);
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_stop_election_2() {
    let mut cluster = Cluster::of(5).leader(0).willing([0, 1, 2]).start().await.unwrap();
    let (first, term) = cluster.leader().await.unwrap();
    cluster.kill(first).await;
    let (second, later) = cluster.wait_for_new_leader(first).await.unwrap();
    cluster.kill(second).await;
    let (third, latest) = cluster.wait_for_new_leader(second).await.unwrap();
    assert!(![first, second].contains(&third));
    assert!(term < later && later < latest);
}

#[tokio::test(flavor = "multi_thread")]
async fn node0_revive() {
    let mut cluster = Cluster::of(5).leader(0).start().await.unwrap();
    let (old, term) = cluster.leader().await.unwrap();
    cluster.kill(old).await;
    cluster.wait_for_new_leader(old).await.unwrap();
    cluster.revive(old).await.unwrap();
    let (new, later) = cluster.wait_for_new_leader(old).await.unwrap();
    let info = cluster.info(old).await;
    assert_eq!(info.role, "follower");
    assert_eq!(info.leader, Some(NodeId::new(new.into())));
    assert!(info.term >= later && later > term);
}

#[tokio::test(flavor = "multi_thread")]
async fn node1_revive() {
    let mut cluster = Cluster::of(5).leader(0).start().await.unwrap();
    lists_are(&cluster, &[0, 1, 2, 3, 4], &ids(0..5)).await;
    let (_, term) = cluster.leader().await.unwrap();
    cluster.kill(0).await;
    cluster.kill(1).await;
    lists_are(&cluster, &[2, 3, 4], &ids(2..5)).await;
    let (_, later) = cluster.leader().await.unwrap();
    cluster.revive(0).await.unwrap();
    cluster.revive(1).await.unwrap();
    lists_are(&cluster, &[0, 1, 2, 3, 4], &ids(0..5)).await;
    let (leader, latest) = cluster.leader().await.unwrap();
    assert!(latest >= later && latest >= term);
    cluster.assert_same_chain().await.unwrap();
    for node in 0..5 {
        let info = cluster.info(node).await;
        assert_eq!((info.leader, info.term), (Some(NodeId::new(leader.into())), latest));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn block_height() {
    let interval = Duration::from_millis(100);
    let mut cluster = Cluster::of(5).leader(0).block_interval(interval).start().await.unwrap();
    cluster.until("height 30", 0..5, |status| status.height.get() >= 30).await.unwrap();
    let blocks = cluster.info(0).await.blocks;
    assert_eq!(blocks.len(), 11);
    let same_term = blocks.iter().all(|block| block.term == blocks[0].term);
    let span = blocks[10].time_us.get() - blocks[0].time_us.get();
    // Blocks are paced by another clock than the one that stamps them, so a millisecond is forgiven.
    assert!(!same_term || span >= 999_000, "ten intervals in {span} µs");

    cluster.kill(0).await;
    cluster.kill(1).await;
    cluster.leader().await.unwrap();
    let height = cluster.info(2).await.height.get();
    cluster.until("ten more", 2..5, |status| status.height.get() >= height + 10).await.unwrap();
    assert_eq!(cluster.info(0).await.role, "dead");

    cluster.revive(0).await.unwrap();
    cluster.revive(1).await.unwrap();
    let (height, _) = cluster.assert_same_chain().await.unwrap();
    let more = height.get() + 10;
    cluster.until("ten more", 0..5, |status| status.height.get() >= more).await.unwrap();
    cluster.assert_same_chain().await.unwrap();
}
