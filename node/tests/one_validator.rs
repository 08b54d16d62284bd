//! One validator over HTTP: it is its own quorum.

mod common;

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_client::Client;
use quorate_client::answer::TxStatus;
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
