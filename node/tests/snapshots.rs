//! Validators that forget old blocks, over the real network: who was away for longer gets a state.

mod common;

use common::validators::{Group, blocking, equal, one_leader};
use quorate_chain::ids::Height;
use quorate_client::problem::Code;
use quorate_node::config::Config;

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_for_longer_than_blocks_are_kept_goes_on_from_a_state() {
    let config = Config { snapshot_every: 8, keep_blocks: 8, ..common::config() };
    let mut group = Group::start(3, config).await;
    let told = group.wait("one leader", one_leader).await;
    let leader = told[0].leader.expect("there is one").get() as usize;
    let away = (leader + 1) % 3;
    group.put("before").await;
    group.nodes[away].take().expect("it runs").kill().await;
    let keys: Vec<String> = (0..40).map(|at| format!("key {at}")).collect();
    for key in &keys {
        group.put(key).await;
    }
    let is_pruned = |client: quorate_client::Client| async move {
        let asked = blocking(move || client.block(Height::new(3))).await;
        asked.is_err_and(|error| error.problem().is_some_and(|it| it.code == Code::Pruned))
    };
    assert!(is_pruned(group.client(leader)).await, "what it lacks is nowhere any more");

    // Twice: the second time from what it has installed.
    for round in ["after", "again"] {
        group.revive(away).await;
        group.put(round).await;
        group.wait("equal", |told| told.len() == 3 && one_leader(told) && equal(told)).await;
        let client = group.client(away);
        assert!(is_pruned(client.clone()).await, "it has begun above what it lacked");
        for key in keys.iter().cloned().chain(["before".to_owned(), round.to_owned()]) {
            let client = client.clone();
            let entry = blocking(move || client.get(key)).await.expect("it answers");
            assert_eq!(entry.expect("the key is there").value.as_ref(), b"value");
        }
        group.nodes[away].take().expect("it runs").kill().await;
    }
}
