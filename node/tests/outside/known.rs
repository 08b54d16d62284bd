//! Who sends the same bytes again hears what became of them, whatever the node can do at the time.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{ChainId, Nonce};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_node::config::Config;

use crate::common;
use crate::group::{Group, PATIENCE, eventually};
use crate::http::{connect, get, json, post, read};

fn signed(chain_id: ChainId, nonce: u64, operation: fn(Bytes) -> Operation) -> SignedTransaction {
    let secret = SecretKey::from_seed(&[140; 32]);
    let transaction = Transaction {
        chain_id,
        sender: secret.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers: Vec::new(),
        operations: vec![operation(Bytes::from(format!("known/{nonce}")))],
    };
    transaction.sign(&secret).unwrap()
}

fn update(key: Bytes) -> Operation {
    Operation::Update { key, value: Bytes::from_static(b"v") }
}

fn remove(key: Bytes) -> Operation {
    Operation::Remove { key }
}

#[test]
fn what_this_node_knows_is_not_said_to_have_not_happened() {
    let mut group = Group::start("known", 3, &common::config());
    let (leader, others) = group.leader();
    let url = group.url(leader).to_owned();
    let chain = group.node(leader).chain_id().unwrap();
    let (applied, failed) = (signed(chain, 0, update), signed(chain, 1, remove));
    let first = post(&url, "/v1/txs?timeout=60s", applied.bytes());
    assert_eq!(first.status, 201, "{:?}", first.json());
    let told = post(&url, "/v1/txs?timeout=60s", failed.bytes()).problem(409, "key_not_found");
    assert_eq!(told["outcome"]["duplicate"], false, "{told}");

    // What is taken just before it is noticed that the others are gone waits without an end.
    let (gone, mut waiting) = (AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| {
            let mut taken = Vec::new();
            for nonce in 2..1_000 {
                let transaction = signed(chain, nonce, update);
                let reply = post(&url, "/v1/txs?wait=accepted", transaction.bytes());
                match reply.status {
                    202 => taken.push(transaction),
                    _ if gone.load(Ordering::Relaxed) => break,
                    _ => {}
                }
            }
            taken
        });
        for other in others {
            group.kill(other);
        }
        gone.store(true, Ordering::Relaxed);
        waiting.extend(taken.join().unwrap());
    });
    eventually("the quorum is gone", || {
        let status = json(&url, "/v1/status");
        status["leader"].is_null() && status["reachable"] == 1
    });

    let again = post(&url, "/v1/txs", applied.bytes());
    let told = again.json();
    assert_eq!((again.status, &told["status"]), (200, &"applied".into()), "{told}");
    assert_eq!((&told["duplicate"], &told["height"]), (&true.into(), &first.json()["height"]));
    let again = post(&url, "/v1/txs", failed.bytes()).problem(409, "key_not_found");
    let again = &again["outcome"];
    assert_eq!((&again["status"], &again["duplicate"]), (&"failed".into(), &true.into()));
    let is_pending = |transaction: &&SignedTransaction| {
        json(&url, &format!("/v1/txs/{}", transaction.id()))["status"] == "pending"
    };
    let pending = waiting.iter().rev().find(is_pending).expect("something was taken in vain");
    let again = post(&url, "/v1/txs", pending.bytes()).problem(504, "outcome_unknown");
    assert_eq!((&again["outcome"], &again["retry"]), (&"unknown".into(), &"same_bytes".into()));
    // Of what has never been here nothing has happened.
    let new = post(&url, "/v1/txs", signed(chain, 1_000, update).bytes()).problem(503, "no_quorum");
    assert_eq!(new["outcome"], "nothing_happened");
}

#[test]
fn what_waits_already_is_known_when_it_comes_again() {
    // After the first block of the term, which has no transactions, there is none for as long as the test takes.
    let config = Config { block_interval: PATIENCE, ..common::config() };
    let group = Group::start("waits", 1, &config);
    let (url, chain) = (group.url(0), group.node(0).chain_id().unwrap());
    let transaction = signed(chain, 0, update);
    for (status, duplicate) in [(202, false), (200, true), (200, true)] {
        let reply = post(url, "/v1/txs?wait=accepted", transaction.bytes());
        let told = reply.json();
        assert_eq!((reply.status, &told["status"]), (status, &"pending".into()), "{told}");
        assert_eq!(told["duplicate"], duplicate, "{told}");
    }
}

#[test]
fn of_two_who_send_what_fails_at_once_one_has_sent_what_was_known() {
    // So that the second one comes while the first one waits.
    let config = Config { block_interval: Duration::from_secs(1), ..common::config() };
    let group = Group::start("twice", 1, &config);
    let (url, chain) = (group.url(0), group.node(0).chain_id().unwrap());
    let transaction = signed(chain, 0, remove);
    let send = || {
        let path = "/v1/txs?timeout=60s";
        let told = post(url, path, transaction.bytes()).problem(409, "key_not_found");
        told["outcome"]["duplicate"].as_bool().unwrap()
    };
    let mut told = std::thread::scope(|scope| {
        let both = [scope.spawn(send), scope.spawn(send)];
        both.map(|one| one.join().unwrap())
    });
    told.sort_unstable();
    assert_eq!(told, [false, true]);
    assert!(send());
}

#[test]
fn a_transaction_is_known_longer_than_its_block_is_kept() {
    let config = Config { snapshot_every: 8, keep_blocks: 8, ..common::config() };
    let group = Group::start("pruned", 1, &config);
    let (url, chain) = (group.url(0), group.node(0).chain_id().unwrap());
    let (applied, failed) = (signed(chain, 0, update), signed(chain, 1, remove));
    let first = post(url, "/v1/txs?timeout=60s", applied.bytes()).json();
    assert_eq!(first["status"], "applied", "{first}");
    post(url, "/v1/txs?timeout=60s", failed.bytes()).problem(409, "key_not_found");
    let account = group.account(141);
    eventually("its block is forgotten", || {
        account.update("known/more", "v").unwrap();
        get(url, &format!("/v1/blocks/{}", first["height"])).status == 410
    });
    let told = json(url, &format!("/v1/txs/{}", applied.id()));
    for field in ["id", "status", "height", "index", "term", "block_hash", "error"] {
        assert_eq!(told[field], first[field], "{field}: {told}");
    }
    let told = json(url, &format!("/v1/txs/{}", failed.id()));
    assert_eq!(
        (&told["status"], &told["error"]["code"]),
        (&"failed".into(), &"key_not_found".into())
    );

    // What can never come is not waited for.
    let mut stream = connect(url);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = applied.bytes().len();
    let head =
        format!("POST /v1/txs?timeout=60s HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(applied.bytes()).unwrap();
    let again = read(stream).expect("it answers long before the wait is over").json();
    assert_eq!((&again["status"], &again["duplicate"]), (&"applied".into(), &true.into()));
}
