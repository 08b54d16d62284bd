//! One validator over HTTP: it is its own quorum.

mod common;

use std::time::Duration;

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::{Height, Nonce};
use quorate_chain::transaction::{Operation, Transaction};
use quorate_client::answer::TxStatus;
use quorate_client::problem::Code;
use quorate_client::{Client, Level};
use quorate_node::Node;
use quorate_node::home::Home;

async fn start(root: &std::path::Path) -> (Node, Client) {
    let home = Home::open(root).expect("the home is free");
    let node = Node::start(home, common::config()).await.expect("the node starts");
    let client = Client::new(&format!("http://{}", node.api_address())).expect("it has an address");
    (node, client)
}

/// Calls of the client block, so they are made elsewhere.
async fn blocking<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.expect("the call returns")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart_and_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    common::home(directory.path(), 0, &common::genesis(1), &common::config());
    let alice = || SecretKey::from_seed(&[100; 32]);
    for life in 0..4_u64 {
        let (node, client) = start(directory.path()).await;
        let account = client.account(alice());
        let outcome = blocking(move || account.put(format!("key{life}"), "value")).await.unwrap();
        assert_eq!(outcome.status, TxStatus::Applied);
        let certificate = outcome.certificate.expect("an applied transaction is certified");
        assert!(certificate.of.height >= outcome.height.unwrap());
        for before in 0..=life {
            let asked = client.clone();
            let found = blocking(move || asked.get(format!("key{before}"))).await.unwrap();
            assert_eq!(found.unwrap().value, Bytes::from("value"), "in life {life}");
        }
        if life % 2 == 0 { node.shutdown().await.unwrap() } else { node.kill().await }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_program_submits_and_hears_of_every_block() {
    let directory = tempfile::tempdir().unwrap();
    common::home(directory.path(), 0, &common::genesis(1), &common::config());
    let (node, _) = start(directory.path()).await;
    let mut blocks = node.blocks(Height::ZERO);
    let key = SecretKey::from_seed(&[100; 32]);
    let genesis = std::fs::read(directory.path().join("genesis.json")).unwrap();
    let transaction = |nonce| Transaction {
        chain_id: Genesis::chain_id(&genesis),
        sender: key.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers: Vec::new(),
        operations: vec![Operation::Update { key: "k".into(), value: "v".into() }],
    };
    let signed = transaction(0).sign(&key).unwrap();
    let limit = Duration::from_secs(30);
    let outcome = node.submit(signed.clone(), Level::Applied, limit).await.unwrap();
    assert_eq!((outcome.status, outcome.duplicate), (TxStatus::Applied, false));
    let again = node.submit(signed.clone(), Level::Applied, limit).await.unwrap();
    assert_eq!((again.height, again.index, again.duplicate), (outcome.height, outcome.index, true));
    let forged = transaction(1).assemble(key.sign(b"something else"), &[]).unwrap();
    let refused = node.submit(forged, Level::Applied, limit).await.unwrap_err();
    assert_eq!((refused.code, refused.status), (Code::BadSignature, 422));

    let mut heights = Vec::new();
    loop {
        let block = blocks.next().await.expect("the node runs");
        heights.push(block.header().height.get());
        if block.body().transactions.contains(&signed) {
            assert_eq!(Some(block.header().height), outcome.height);
            break;
        }
    }
    assert!(heights.iter().copied().eq(1..=heights.len() as u64));
    assert!(node.status().applied.get() >= outcome.height.unwrap().get());
    node.shutdown().await.unwrap();
}
