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
            let (key, entry) = answer?;
            let value = entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
            let expected = match key {
                "key1" => Some("value1"),
                "key2" => Some("value2"),
                _ => None,
            };
            if value.as_deref() != expected {
                return Err(format!("node {node}: {key} is {value:?} and not {expected:?}").into());
            }
            println!(
                "node {node}: {key} {}",
                value.map_or("is absent".into(), |it| format!("= {it}"))
            );
        }
    }

    let (height, hash) = cluster.assert_same_chain().await?;
    println!("all nodes have block {hash:.16}… at height {height}");
    cluster.shutdown().await?;
    println!("all nodes have ended in order");
    Ok(())
}
