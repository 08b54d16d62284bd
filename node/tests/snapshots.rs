//! Validators that forget old blocks, over the real network: who was away for longer gets a state.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use common::validators::{Group, blocking, equal, one_leader};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{Height, Nonce};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
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

/// A state brings the nonces that were used, and not the transactions that used them.
#[tokio::test(flavor = "multi_thread")]
async fn who_began_with_a_state_does_not_say_that_what_was_applied_before_has_not_happened() {
    let config = Config { snapshot_every: 8, keep_blocks: 8, ..common::config() };
    let mut group = Group::start(3, config).await;
    let leader = group.wait("one leader", one_leader).await[0].leader.expect("there is one").get();
    let away = (leader as usize + 1) % 3;
    group.nodes[away].take().expect("it runs").kill().await;
    let key = SecretKey::from_seed(&[101; 32]);
    let client = group.all();
    let chain_id = blocking(move || client.chain_id()).await.expect("it answers");
    let signed = |nonce: u64, expires: Option<u64>| {
        let value = Bytes::from_static(b"value");
        let transaction = Transaction {
            chain_id,
            sender: key.account_key(),
            nonce: Nonce::new(nonce),
            expires: expires.map(Height::new),
            approvers: Vec::new(),
            operations: vec![Operation::Update { key: Bytes::from_static(b"once"), value }],
        };
        transaction.sign(&key).expect("it is not too large")
    };
    let (lasting, expired, never) = (signed(0, None), signed(1, Some(20)), signed(2, Some(20)));
    for transaction in [&lasting, &expired] {
        let answer = posted(group.url(leader as usize), transaction).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    for at in 0..40 {
        group.put(&format!("key {at}")).await;
    }
    group.revive(away).await;
    group.wait("equal", |told| told.len() == 3 && one_leader(told) && equal(told)).await;
    let asked_of_away = |path: String| {
        let url = group.url(away);
        blocking(move || asked(&url, &path))
    };
    assert!(asked_of_away("/v1/blocks/3".to_owned()).await.contains("pruned"), "it has a state");

    for transaction in [&lasting, &expired] {
        let answer = posted(group.url(away), transaction).await;
        assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("ask another"), "{answer}");
        let answer = asked_of_away(format!("/v1/txs/{}", transaction.id())).await;
        assert!(answer.contains(r#""status":"unknown""#), "{answer}");
        let answer = posted(group.url(leader as usize), transaction).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "the others know it: {answer}");
    }
    // What nobody can have applied is told apart: its nonce is free.
    let answer = posted(group.url(away), &never).await;
    assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("nothing_happened"), "{answer}");
    let answer = asked_of_away(format!("/v1/txs/{}", never.id())).await;
    assert!(answer.contains(r#""status":"expired""#), "{answer}");
}

/// The whole answer to who hands a transaction in.
async fn posted(url: String, transaction: &SignedTransaction) -> String {
    let bytes = transaction.bytes().clone();
    let head = "content-type: application/octet-stream\r\n";
    blocking(move || exchanged(&url, "POST /v1/txs", head, &bytes)).await
}

/// The whole answer to a request.
fn asked(url: &str, path: &str) -> String {
    exchanged(url, &format!("GET {path}"), "", b"")
}

fn exchanged(url: &str, line: &str, head: &str, body: &[u8]) -> String {
    let host = url.strip_prefix("http://").expect("it is HTTP");
    let mut connection = TcpStream::connect(host).expect("the node listens");
    let (length, close) = (body.len(), "connection: close");
    let head = format!(
        "{line} HTTP/1.1\r\nhost: node\r\n{close}\r\n{head}content-length: {length}\r\n\r\n"
    );
    connection.write_all(&[head.as_bytes(), body].concat()).expect("it reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers in text");
    answer
}
