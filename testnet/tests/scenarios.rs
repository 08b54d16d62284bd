//! The death and revival of nodes, as five stories. Nothing here depends on luck: terms strictly rise,
//! each new leader is a living, willing node, and every wait is for a condition.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use quorate_chain::ids::{Height, NodeId, Term};
use quorate_testnet::{Cluster, blocking};

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

/// The nodes that want to lead in these stories.
const WILLING: [u16; 3] = [0, 1, 2];

/// Waits for another leader that wants to be one. On a busy machine one that does not may lead for a moment,
/// as a last resort; it hands over.
async fn willing_leader(cluster: &Cluster, old: u16) -> (u16, Term) {
    let (mut new, mut term) = cluster.wait_for_new_leader(old).await.unwrap();
    while !WILLING.contains(&new) {
        let (next, later) = cluster.wait_for_new_leader(new).await.unwrap();
        assert!(later > term);
        (new, term) = (next, later);
    }
    assert!(cluster.living().any(|node| node == new));
    (new, term)
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_stop_election() {
    let mut cluster = Cluster::of(5).leader(0).willing(WILLING).start().await.unwrap();
    let (old, term) = cluster.leader().await.unwrap();
    assert_eq!(old, 0);
    cluster.kill(old).await;
    let (new, later) = willing_leader(&cluster, old).await;
    assert!(new != old && later > term);
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_stop_election_2() {
    let mut cluster = Cluster::of(5).leader(0).willing(WILLING).start().await.unwrap();
    let (first, term) = cluster.leader().await.unwrap();
    assert_eq!(first, 0);
    cluster.kill(first).await;
    let (second, later) = willing_leader(&cluster, first).await;
    cluster.kill(second).await;
    let (third, latest) = willing_leader(&cluster, second).await;
    assert!(![first, second].contains(&third));
    assert!(term < later && later < latest);
}

#[tokio::test(flavor = "multi_thread")]
async fn node0_revive() {
    let mut cluster = Cluster::of(5).leader(0).start().await.unwrap();
    let (old, term) = cluster.leader().await.unwrap();
    assert_eq!(old, 0);
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
    let (old, term) = cluster.leader().await.unwrap();
    assert_eq!(old, 0);
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

/// The bytes of all files that a node keeps.
fn files(cluster: &Cluster, node: u16) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut left) = (BTreeMap::new(), vec![cluster.home(node)]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let (path, kind) =
                entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    files
}

/// Of eleven blocks of one term in a row, from `next` to the newest, any must span ten intervals. Returns how many
/// there were.
async fn tens_of_one_term(cluster: &Cluster, next: &mut Height) -> usize {
    let (client, first) = (cluster.client(0).unwrap(), next.get());
    let last = cluster.info(0).await.height.get();
    let blocks: Vec<_> = blocking(move || {
        (first..=last).map(|height| client.block(Height::new(height)).unwrap()).collect()
    })
    .await;
    *next = Height::new(last.saturating_sub(9).max(first));
    let mut judged = 0;
    for eleven in blocks.windows(11).filter(|eleven| eleven[0].term == eleven[10].term) {
        let span = eleven[10].time_us.get() - eleven[0].time_us.get();
        // Blocks are paced by another clock than the one that stamps them, and a thread may lose its core between
        // reading the one and the other; the tests of the replica are exact.
        assert!(span >= 950_000, "ten intervals in {span} µs, from height {}", eleven[0].height);
        judged += 1;
    }
    judged
}

#[tokio::test(flavor = "multi_thread")]
async fn block_height() {
    let interval = Duration::from_millis(100);
    let mut cluster = Cluster::of(5).leader(0).block_interval(interval).start().await.unwrap();
    cluster.until("height 30", 0..5, |status| status.height.get() >= 30).await.unwrap();
    let mut next = Height::new(1);
    // Leaders may change on a busy machine; some ten intervals are of one term, or will be.
    while tens_of_one_term(&cluster, &mut next).await == 0 {
        let more = next.get() + 10;
        cluster.until("ten more", 0..5, |status| status.height.get() >= more).await.unwrap();
    }

    cluster.kill(0).await;
    cluster.kill(1).await;
    let kept = [0, 1].map(|node| files(&cluster, node));
    assert!(kept.iter().all(|files| !files.is_empty()));
    cluster.leader().await.unwrap();
    let height = cluster.info(2).await.height.get();
    cluster.until("ten more", 2..5, |status| status.height.get() >= height + 10).await.unwrap();
    assert_eq!(cluster.info(0).await.role, "dead");
    // Their heights have not moved: neither has a byte of what they keep.
    assert_eq!([0, 1].map(|node| files(&cluster, node)), kept);

    cluster.revive(0).await.unwrap();
    cluster.revive(1).await.unwrap();
    let (height, _) = cluster.assert_same_chain().await.unwrap();
    let more = height.get() + 10;
    cluster.until("ten more", 0..5, |status| status.height.get() >= more).await.unwrap();
    cluster.assert_same_chain().await.unwrap();
}
