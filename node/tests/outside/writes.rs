//! Sending transactions to nodes that lead and nodes that follow.

use std::process::Command;

use bytes::Bytes;
use data_encoding::BASE64;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{Height, Nonce};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use serde_json::{Value, json};

use crate::common;
use crate::group::{Group, eventually, group};
use crate::http::{ask, get, json, post};

fn put(key: &str) -> Operation {
    Operation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::from_static(b"v") }
}

/// A transaction of account `seed` for the group's chain.
fn signed(
    group: &Group,
    seed: u8,
    nonce: u64,
    expires: Option<u64>,
    key: &str,
) -> SignedTransaction {
    let secret = SecretKey::from_seed(&[seed; 32]);
    let transaction = Transaction {
        chain_id: group.node(0).chain_id().unwrap(),
        sender: secret.account_key(),
        nonce: Nonce::new(nonce),
        expires: expires.map(Height::new),
        approvers: Vec::new(),
        operations: vec![put(key)],
    };
    transaction.sign(&secret).unwrap()
}

#[test]
fn every_node_takes_transactions_and_waits_as_far_as_asked() {
    let group = group();
    let levels =
        [("accepted", 202, "pending"), ("committed", 201, "applied"), ("applied", 201, "applied")];
    for at in 0..3 {
        for (nonce, (level, status, word)) in (0..).zip(levels) {
            let tx = signed(group, 40 + at as u8, nonce, None, &format!("writes/{at}/{level}"));
            let path = format!("/v1/txs?wait={level}&timeout=60s");
            let reply = post(group.url(at), &path, tx.bytes());
            assert_eq!((reply.status, &reply.json()["status"]), (status, &word.into()));
            assert_eq!(reply.json()["id"], tx.id().to_string());
            // The same bytes again, to another node, which may not have come as far: the same outcome.
            let again = post(group.url((at + 1) % 3), "/v1/txs?timeout=60s", tx.bytes()).json();
            assert_eq!(again["status"], "applied");
            let known = post(group.url((at + 1) % 3), "/v1/txs?timeout=60s", tx.bytes());
            let told = known.json();
            assert_eq!((known.status, &told["duplicate"]), (200, &true.into()));
            assert_eq!(told["height"], again["height"]);
            if level != "accepted" {
                assert_eq!(told["height"], reply.json()["height"]);
            }
        }
    }
}

#[test]
fn a_transaction_in_json_is_the_same_as_in_bytes() {
    let group = group();
    let tx = signed(group, 43, 0, None, "writes/json");
    let body = json!({ "tx": BASE64.encode(tx.bytes()) }).to_string();
    let kind = ["content-type: application/json; charset=utf-8"];
    let reply = ask(group.url(0), "POST", "/v1/txs", &kind, body.as_bytes());
    assert_eq!((reply.status, &reply.json()["id"]), (201, &tx.id().to_string().into()));
}

#[test]
fn what_is_refused_has_not_happened_and_says_why() {
    let group = group();
    let url = group.url(1);
    let good = signed(group, 44, 0, None, "writes/refused");
    assert_eq!(post(url, "/v1/txs", good.bytes()).status, 201);
    let used = signed(group, 44, 0, None, "writes/refused/2");
    let problem = post(url, "/v1/txs", used.bytes()).problem(422, "nonce_used");
    assert_eq!(
        (&problem["outcome"], &problem["tx"]),
        (&"nothing_happened".into(), &used.id().to_string().into())
    );
    assert_eq!(json(url, &format!("/v1/txs/{}", used.id()))["status"], "unknown");
    let far = signed(group, 44, 5_000, None, "writes/refused/3");
    post(url, "/v1/txs", far.bytes()).problem(422, "nonce_too_far");
    let late = signed(group, 44, 1, Some(1), "writes/refused/4");
    post(url, "/v1/txs", late.bytes()).problem(422, "expired");
    let told = json(url, &format!("/v1/txs/{}", late.id()));
    assert_eq!((&told["status"], &told["error"]["code"]), (&"expired".into(), &"expired".into()));
    let mut forged = good.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    post(url, "/v1/txs", &forged).problem(422, "bad_signature");
    post(url, "/v1/txs", b"nonsense").problem(422, "malformed");
    let secret = SecretKey::from_seed(&[44; 32]);
    let strange = Transaction {
        chain_id: quorate_chain::ids::ChainId::new([9; 32]),
        nonce: Nonce::new(2),
        ..good.content().clone()
    };
    post(url, "/v1/txs", strange.sign(&secret).unwrap().bytes()).problem(422, "wrong_chain");
    let again = signed(group, 44, 3, None, "writes/refused");
    let failed = post(url, "/v1/txs", again.bytes()).problem(409, "key_exists");
    assert_eq!(
        (&failed["outcome"]["status"], &failed["outcome"]["results"][0]["ok"]),
        (&"failed".into(), &false.into())
    );
    // The same bytes again tell the same.
    let told = post(url, "/v1/txs", again.bytes());
    assert_eq!(told.json()["outcome"]["height"], failed["outcome"]["height"]);
    for path in ["/v1/txs?wait=long", "/v1/txs?timeout=61s", "/v1/txs?timeout=5", "/v1/txs?x=1"] {
        post(url, path, good.bytes()).problem(400, "malformed");
    }
}

#[test]
fn what_the_format_does_not_allow_is_too_large() {
    let group = group();
    let key = |length: usize| Bytes::from(vec![b'k'; length]);
    let put = |key: Bytes, length: usize| Operation::Put { key, value: vec![0; length].into() };
    let full = || put(key(1_024), 256 << 10);
    let many = |count: usize| (0..count).map(|at| put(at.to_string().into(), 1)).collect();
    for operations in [
        vec![put(key(1_025), 1)],
        vec![put(key(1), (256 << 10) + 1)],
        many(129),
        vec![full(), full()],
    ] {
        let secret = SecretKey::from_seed(&[48; 32]);
        let transaction = Transaction {
            chain_id: group.node(0).chain_id().unwrap(),
            sender: secret.account_key(),
            nonce: Nonce::new(0),
            expires: None,
            approvers: Vec::new(),
            operations,
        };
        let mut bytes = transaction.message();
        bytes.extend_from_slice(secret.sign(&bytes).as_bytes());
        let problem = post(group.url(1), "/v1/txs", &bytes).problem(422, "too_large");
        assert_eq!(problem["outcome"], "nothing_happened");
    }
    // What it just allows is taken.
    let secret = SecretKey::from_seed(&[48; 32]);
    for (nonce, operations) in [(0, vec![full()]), (1, many(128))] {
        let transaction = Transaction {
            chain_id: group.node(0).chain_id().unwrap(),
            sender: secret.account_key(),
            nonce: Nonce::new(nonce),
            expires: None,
            approvers: Vec::new(),
            operations,
        };
        let signed = transaction.sign(&secret).unwrap();
        assert_eq!(post(group.url(1), "/v1/txs?timeout=60s", signed.bytes()).status, 201);
    }
}

#[test]
fn a_batch_answers_for_each_in_order() {
    let group = group();
    let txs: Vec<_> = (0..50)
        .map(|nonce| signed(group, 45, nonce, None, &format!("writes/batch/{nonce}")))
        .collect();
    let mut body = 52_u32.to_le_bytes().to_vec();
    let mut add = |bytes: &[u8]| {
        body.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        body.extend_from_slice(bytes);
    };
    txs.iter().for_each(|tx| add(tx.bytes()));
    add(b"nonsense");
    add(txs[0].bytes());
    let reply = post(group.url(2), "/v1/txs/batch?timeout=60s", &body);
    assert_eq!(reply.status, 200);
    let outcomes = reply.json()["outcomes"].as_array().unwrap().clone();
    assert_eq!(outcomes.len(), 52);
    for (tx, outcome) in txs.iter().zip(&outcomes) {
        assert_eq!(
            (&outcome["id"], &outcome["status"]),
            (&tx.id().to_string().into(), &"applied".into())
        );
    }
    assert_eq!(
        (&outcomes[50]["code"], &outcomes[50]["status"]),
        (&"malformed".into(), &422.into())
    );
    assert_eq!(outcomes[51]["id"], outcomes[0]["id"]);

    let texts: Vec<_> = txs[..2].iter().map(|tx| BASE64.encode(tx.bytes())).collect();
    let body = json!({ "txs": texts }).to_string();
    let kind = ["content-type: application/json"];
    let reply = ask(group.url(2), "POST", "/v1/txs/batch", &kind, body.as_bytes());
    assert_eq!(reply.json()["outcomes"][1]["duplicate"], true);
}

#[test]
fn grants_are_for_admins_and_seen_in_the_account() {
    let group = group();
    let admin = group.account(200);
    let someone = SecretKey::from_seed(&[46; 32]).account_key();
    let grant = Operation::Grant { account: someone, prefix: Bytes::from_static(b"books/") };
    let batch = || quorate_client::Batch::new().and(grant.clone());
    let refused = group.account(46).send(batch()).unwrap_err();
    assert_eq!(refused.problem().unwrap().code.name(), "not_permitted");
    admin.send(batch()).unwrap();
    let account = || json(group.url(0), &format!("/v1/accounts/{someone}"));
    eventually("this node has it, too", || account()["grants"] == json!(["books/"]));
    assert_eq!(account()["admin"], false);
    let admin = json(group.url(0), &format!("/v1/accounts/{}", admin.key()));
    assert_eq!(admin["admin"], true);
}

#[test]
fn without_a_quorum_the_answer_is_honest_and_old_outcomes_stay() {
    let mut group = Group::start("quorum", 3, &common::config());
    let (leader, others) = group.leader();
    let outcome = group.account(47).put("writes/before", "v").unwrap();
    let survivor = others[0];
    eventually("all have applied it", || {
        group.node(survivor).tx(outcome.id).unwrap().height == outcome.height
    });
    group.kill(leader);
    group.kill(others[1]);
    let url = group.url(survivor).to_owned();
    eventually("it knows that it is alone", || {
        let status = json(&url, "/v1/status");
        status["leader"].is_null() && status["reachable"] == 1
    });
    assert!(
        json(&url, "/v1/status")["reason"].as_str().unwrap().contains("1 of 3 reachable, 2 needed")
    );
    let ready = get(&url, "/readyz");
    let body = json!({ "ready": false, "reasons": ["no_leader"] });
    assert_eq!((ready.status, ready.json()), (503, body));
    let tx = signed_for(&group, survivor, 47, 1, "writes/alone");
    let problem = post(&url, "/v1/txs?timeout=1s", tx.bytes()).problem(503, "no_quorum");
    assert_eq!(
        (&problem["outcome"], &problem["retry"]),
        (&"nothing_happened".into(), &"same_bytes".into())
    );
    assert_eq!((&problem["reachable"], &problem["needed"]), (&1.into(), &2.into()));
    get(&url, "/v1/state/writes%2Fbefore").problem(503, "no_quorum");
    let local = json(&url, "/v1/state/writes%2Fbefore?consistency=local");
    assert_eq!(local["height"].as_u64(), outcome.height.map(Height::get));
    // Whoever asks all of them is told that, and not that nobody answers.
    let all = (0..3).map(|node| group.url(node)).collect::<Vec<_>>().join(",");
    let said = said_in_json(6, &["get", "writes/before", "--node", &all]);
    assert_eq!((&said["code"], &said["reachable"]), (&"no_quorum".into(), &1.into()));
    for command in [&["status", "--check"][..], &["leader", "show"]] {
        let said = said_in_json(6, &[command, &["--node", &url]].concat());
        assert_eq!(
            (&said["code"], &said["reachable"], &said["needed"]),
            (&"no_leader".into(), &1.into(), &2.into())
        );
    }
    assert_eq!(json(&url, &format!("/v1/txs/{}", outcome.id))["status"], "applied");
}

/// What a command says in JSON that must fail with this code.
fn said_in_json(code: i32, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let output = command.args(arguments).args(["--output", "json"]).env_clear().output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{output:?}");
    serde_json::from_slice(&output.stderr).unwrap()
}

fn signed_for(group: &Group, at: usize, seed: u8, nonce: u64, key: &str) -> SignedTransaction {
    let secret = SecretKey::from_seed(&[seed; 32]);
    let transaction = Transaction {
        chain_id: group.node(at).chain_id().unwrap(),
        sender: secret.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers: Vec::new(),
        operations: vec![put(key)],
    };
    transaction.sign(&secret).unwrap()
}
