//! A group of validators over real connections: what a library of Raft is expected to show.
//!
//! The names begin with what they are about, so that `cargo test election` and `cargo test agree` run
//! theirs.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::time::Duration;

use quorate_client::answer::TxStatus;
use quorate_testnet::{Cluster, blocking};

/// Puts so many keys that begin with this word; each must be applied.
async fn put(cluster: &Cluster, word: &'static str, count: usize) {
    let alice = cluster.alice().unwrap();
    blocking(move || {
        for at in 0..count {
            let outcome = alice.put(format!("{word}/{at}"), "value").unwrap();
            assert_eq!(outcome.status, TxStatus::Applied);
        }
    })
    .await;
}

/// Whether a node has the key; asked of it alone.
async fn has(cluster: &Cluster, node: u16, key: &'static str) -> bool {
    let client = cluster.client(node).unwrap();
    blocking(move || client.get(key)).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn election_initial() {
    let cluster = Cluster::of(3).start().await.unwrap();
    let (_, term) = cluster.leader().await.unwrap();
    assert!(term.get() >= 1);
    // Nobody campaigns while a leader is heard.
    put(&cluster, "heard", 30).await;
    assert_eq!(cluster.leader().await.unwrap().1, term);
}

#[tokio::test(flavor = "multi_thread")]
async fn election_after_the_leader_is_cut_off() {
    let cluster = Cluster::of(3).start().await.unwrap();
    let (old, term) = cluster.leader().await.unwrap();
    cluster.isolate(old);
    let others = (0..3).filter(|node| *node != old);
    let moved_on = |status: &quorate_client::answer::Status| {
        status.term > term && status.leader.is_some_and(|leader| leader.get() != u32::from(old))
    };
    cluster.until("a new leader", others, moved_on).await.unwrap();
    cluster.until("it steps down", [old], |status| status.role != "leader").await.unwrap();
    cluster.heal();
    let (new, later) = cluster.wait_for_new_leader(old).await.unwrap();
    assert!(new != old && later > term);
}

#[tokio::test(flavor = "multi_thread")]
async fn election_many_times_under_partitions() {
    let cluster = Cluster::of(5).start().await.unwrap();
    let (mut leader, mut term) = cluster.leader().await.unwrap();
    for _ in 0..4 {
        let other = (leader + 1) % 5;
        cluster.isolate(leader);
        cluster.isolate(other);
        let rest: Vec<_> = (0..5).filter(|node| ![leader, other].contains(node)).collect();
        let moved_on = |status: &quorate_client::answer::Status| {
            status.term > term && status.leader.is_some_and(|id| id.get() != u32::from(leader))
        };
        cluster.until("a leader of three", rest, moved_on).await.unwrap();
        cluster.heal();
        let (new, later) = cluster.leader().await.unwrap();
        assert!(later > term);
        (leader, term) = (new, later);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_basic() {
    let cluster = Cluster::of(5).start().await.unwrap();
    put(&cluster, "key", 5).await;
    cluster.assert_same_chain().await.unwrap();
    for node in 0..5 {
        assert!(has(&cluster, node, "key/4").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_on_concurrent_submits() {
    let cluster = Cluster::of(3).start().await.unwrap();
    let alice = cluster.alice().unwrap();
    let writers: Vec<_> = (0..16)
        .map(|at| {
            let alice = alice.clone();
            tokio::task::spawn_blocking(move || alice.put(format!("key/{at}"), "v"))
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.await.unwrap().unwrap().status, TxStatus::Applied);
    }
    cluster.assert_same_chain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_without_a_follower_and_after_it_returns() {
    let mut cluster = Cluster::of(3).start().await.unwrap();
    let (leader, _) = cluster.leader().await.unwrap();
    let follower = (leader + 1) % 3;
    cluster.kill(follower).await;
    put(&cluster, "without", 5).await;
    cluster.revive(follower).await.unwrap();
    put(&cluster, "with", 1).await;
    cluster.assert_same_chain().await.unwrap();
    assert!(has(&cluster, follower, "without/4").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_without_the_leader_and_after_it_returns() {
    let mut cluster = Cluster::of(5).start().await.unwrap();
    put(&cluster, "before", 3).await;
    let (leader, _) = cluster.leader().await.unwrap();
    cluster.kill(leader).await;
    put(&cluster, "without", 3).await;
    cluster.revive(leader).await.unwrap();
    cluster.assert_same_chain().await.unwrap();
    assert!(has(&cluster, leader, "without/2").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_without_two_of_five() {
    let mut cluster = Cluster::of(5).start().await.unwrap();
    let (leader, _) = cluster.leader().await.unwrap();
    let gone = [1, 2].map(|after| (leader + after) % 5);
    for node in gone {
        cluster.kill(node).await;
    }
    put(&cluster, "without", 5).await;
    for node in gone {
        cluster.revive(node).await.unwrap();
    }
    put(&cluster, "with", 1).await;
    cluster.assert_same_chain().await.unwrap();
    for node in gone {
        assert!(has(&cluster, node, "without/4").await);
    }
}

/// The newest block that a node holds, committed or not.
async fn tip(cluster: &Cluster, node: u16) -> u64 {
    let client = cluster.client(node).unwrap();
    let body = blocking(move || client.body("/v1/status")).await.unwrap();
    serde_json::from_str::<serde_json::Value>(&body).unwrap()["tip"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_after_a_long_suffix_gives_way() {
    let cluster = Cluster::of(5).block_interval(Duration::from_millis(10)).start().await.unwrap();
    let (old, term) = cluster.leader().await.unwrap();
    cluster.isolate(old);
    // Until it finds out, it goes on making blocks, which nobody else ever sees.
    cluster.until("it steps down", [old], |status| status.leader.is_none()).await.unwrap();
    let (height, sealed) = (cluster.info(old).await.height, tip(&cluster, old).await);
    assert!(sealed >= height.get() + 5, "{sealed} is its tip, {height} is committed");
    let rest: Vec<_> = (0..5).filter(|node| *node != old).collect();
    let further = |status: &quorate_client::answer::Status| {
        status.term > term && status.height.get() > sealed
    };
    cluster.until("others take these heights", rest, further).await.unwrap();
    assert_eq!((cluster.info(old).await.height, tip(&cluster, old).await), (height, sealed));
    cluster.heal();
    cluster.until("it has theirs instead", [old], further).await.unwrap();
    cluster.assert_same_chain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_on_nothing_without_a_quorum_and_again_with_one() {
    let mut cluster = Cluster::of(3).start().await.unwrap();
    put(&cluster, "before", 1).await;
    cluster.kill(0).await;
    cluster.kill(1).await;
    cluster.until("it knows of no leader", [2], |status| status.leader.is_none()).await.unwrap();
    let height = cluster.info(2).await.height;
    let alice = cluster.alice().unwrap();
    let wait = quorate_client::Wait { timeout: Duration::from_secs(1), ..Default::default() };
    let refused = blocking(move || alice.waiting(wait).put("alone", "v")).await;
    assert!(refused.is_err());
    assert_eq!(cluster.info(2).await.height, height);
    cluster.revive(0).await.unwrap();
    cluster.leader().await.unwrap();
    put(&cluster, "again", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_after_a_partition_heals() {
    let cluster = Cluster::of(5).start().await.unwrap();
    let (old, _) = cluster.leader().await.unwrap();
    let other = (old + 1) % 5;
    for node in (0..5).filter(|node| ![old, other].contains(node)) {
        cluster.cut(old, node);
        cluster.cut(other, node);
    }
    let rest: Vec<_> = (0..5).filter(|node| ![old, other].contains(node)).collect();
    let led = |status: &quorate_client::answer::Status| {
        status.leader.is_some_and(|leader| leader.get() != u32::from(old))
    };
    cluster.until("a leader of three", rest, led).await.unwrap();
    put(&cluster, "apart", 3).await;
    cluster.heal();
    cluster.leader().await.unwrap();
    put(&cluster, "together", 1).await;
    cluster.assert_same_chain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn agree_over_slow_and_lossy_lines() {
    let cluster = Cluster::of(3).start().await.unwrap();
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        cluster.delay(one, other, Duration::from_millis(10));
        cluster.lose(one, other, 20);
    }
    put(&cluster, "slow", 10).await;
    cluster.assert_same_chain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_in_order_hands_the_leadership_over() {
    let mut cluster = Cluster::of(3).start().await.unwrap();
    let mut handed_over = 0;
    for _ in 0..4 {
        let (leader, term) = cluster.leader().await.unwrap();
        cluster.stop(leader).await.unwrap();
        // Another one leads already, so nobody had to find out that this one has gone.
        let mut leads = false;
        for node in cluster.living().collect::<Vec<_>>() {
            let info = cluster.info(node).await;
            leads |= info.role == "leader" && info.term > term;
        }
        handed_over += usize::from(leads);
        cluster.revive(leader).await.unwrap();
    }
    // Whoever stops waits for it no longer than it may, which can be too short on a busy machine.
    assert!(handed_over > 0, "nobody leads when the leader has stopped");
}
