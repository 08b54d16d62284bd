//! Validators that forget old blocks, over the real network: who was away for longer gets a state.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use common::validators::{Group, blocking, equal, one_leader};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::Height;
use quorate_client::answer::Status;
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
    let mut newer = Vec::new();
    for (round, changed) in [("after", "key 0"), ("again", "key 2")] {
        group.revive(away).await;
        group.put(round).await;
        let all_equal = |told: &[Status]| told.len() == 3 && one_leader(told) && equal(told);
        let told = group.wait("equal", all_equal).await;
        let client = group.client(away);
        assert!(is_pruned(client.clone()).await, "it has begun above what it lacked");
        for key in keys.iter().cloned().chain(["before".to_owned(), round.to_owned()]) {
            let client = client.clone();
            let expected = if newer.contains(&key.as_str()) { "newer" } else { "value" };
            let entry = blocking(move || client.get(key)).await.expect("it answers");
            assert_eq!(entry.expect("the key is there").value, expected);
        }
        // What a key was at a height: as far as that is known of what came with the state, and never made up.
        let (url, then) = (group.url(away), told[0].applied);
        let account = group.all().account(SecretKey::from_seed(&[100; 32]));
        let update = blocking(move || account.update(changed, "newer")).await;
        update.expect("it is ordered");
        newer.push(changed);
        group.wait("equal again", all_equal).await;
        for (key, expected) in [("key 1", "200"), (changed, "410"), ("nothing", "404")] {
            let key = key.replace(' ', "%20");
            let (url, path) = (url.clone(), format!("/v1/state/{key}?consistency=local&at={then}"));
            let answer = blocking(move || asked(&url, &path)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{key}: {answer}");
        }
        group.nodes[away].take().expect("it runs").kill().await;
    }
}

/// The whole answer to a request.
fn asked(url: &str, path: &str) -> String {
    let host = url.strip_prefix("http://").expect("it is HTTP");
    let mut connection = TcpStream::connect(host).expect("the node listens");
    write!(connection, "GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers in text");
    answer
}
