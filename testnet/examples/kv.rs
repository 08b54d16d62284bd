//! Three nodes in one program, each with its own key-value state.
//!
//! Sets two keys, gets them and one that is absent, checks that all states are equal, and ends in
//! order: `cargo run --example kv`.

use quorate_testnet::{Cluster, blocking};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::of(3).start().await?;
    let (leader, term) = cluster.leader().await?;
    println!("node {leader} leads at term {term}");

    let alice = cluster.alice()?;
    let outcomes = blocking(move || {
        Ok::<_, quorate_client::Error>([alice.put("key1", "value1")?, alice.put("key2", "value2")?])
    });
    for outcome in outcomes.await? {
        println!("{} at height {}", outcome.status, outcome.height.unwrap_or_default());
    }

    for node in 0..cluster.count() {
        let client = cluster.client(node)?;
        let found = blocking(move || {
            ["key1", "key2", "key3"].map(|key| client.get(key).map(|entry| (key, entry)))
        });
        for answer in found.await {
            match answer? {
                (key, Some(entry)) => {
                    println!("node {node}: {key} = {}", String::from_utf8_lossy(&entry.value));
                }
                (key, None) => println!("node {node}: {key} is absent"),
            }
        }
    }

    let (height, hash) = cluster.assert_same_chain().await?;
    println!("all nodes have block {hash:.16}… at height {height}");
    cluster.shutdown().await?;
    println!("all nodes have ended in order");
    Ok(())
}
