//! What clients send that no client should: the node answers or hangs up, and goes on.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{ChainId, Nonce};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_node::config::Config;
use serde_json::Value;

use crate::common;
use crate::common::process::raise_open_files;
use crate::group::{Group, PATIENCE, eventually, group, patient};
use crate::http::{ask, connect, get, json, post, read};

/// A transaction that sets a key to a value of so many bytes.
fn signed(chain_id: ChainId, seed: u8, nonce: u64, key: &str, size: usize) -> SignedTransaction {
    let secret = SecretKey::from_seed(&[seed; 32]);
    let transaction = Transaction {
        chain_id,
        sender: secret.account_key(),
        nonce: Nonce::new(nonce),
        expires: None,
        approvers: Vec::new(),
        operations: vec![Operation::Update {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: vec![b'v'; size].into(),
        }],
    };
    transaction.sign(&secret).unwrap()
}

fn batch<'a>(items: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = u32::try_from(items.len()).unwrap().to_le_bytes().to_vec();
    for item in items {
        body.extend_from_slice(&u32::try_from(item.len()).unwrap().to_le_bytes());
        body.extend_from_slice(item);
    }
    body
}

/// By how much a node may grow while it refuses what is sent again and again: far less than all of it.
const GROWTH: u64 = 96 << 20;

/// That the memory of a node does not grow with what it is sent. The first time it may: what it takes then it needs for
/// the first of anything.
fn takes_no_memory(group: &Group, times: usize, mut send: impl FnMut()) {
    send();
    let before = group.resident();
    for _ in 0..times {
        send();
    }
    let grown = group.resident().saturating_sub(before);
    assert!(grown < GROWTH, "by {grown} bytes");
}

/// Sends bytes as they are and reads what comes, if anything does.
fn raw(url: &str, bytes: &[u8]) -> Option<u16> {
    let mut stream = connect(url);
    // The node may have hung up before all was sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    read(stream).map(|reply| reply.status)
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let url = group().url(0);
    for (path, length) in
        [("/v1/txs", (1 << 20) + 1), ("/v1/txs/batch", (4 << 20) + 1), ("/v1/txs", 1_u64 << 62)]
    {
        let mut stream = connect(url);
        write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
            .unwrap();
        // Nothing of the body was sent, and still there is an answer.
        read(stream).unwrap().problem(413, "too_large");
    }
    // The same without a length.
    let mut stream = connect(url);
    write!(stream, "POST /v1/txs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..20 {
        let _ = write!(stream, "10000\r\n{}\r\n", "x".repeat(0x10000));
    }
    let _ = write!(stream, "0\r\n\r\n");
    if let Some(reply) = read(stream) {
        reply.problem(413, "too_large");
    }
    let long = format!("GET /v1/state/{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 20));
    assert!(matches!(raw(url, long.as_bytes()), None | Some(414 | 431)));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    assert!(matches!(raw(url, many.as_bytes()), None | Some(431)));
    assert_eq!(get(url, "/livez").status, 200);
}

/// A hundred times what is too large or garbage, hundreds of megabytes.
#[test]
fn what_is_refused_takes_no_memory() {
    let group = Group::start("refused", 1, &common::config());
    let url = group.url(0);
    let (large, deep) = (vec![b'x'; (1 << 20) + 1], "[".repeat(500_000));
    let chunk = [b"10000\r\n".as_slice(), &large[..0x10000], b"\r\n"].concat();
    takes_no_memory(&group, 100, || {
        let mut stream = connect(url);
        let head = "POST /v1/txs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let _ = (0..20).try_for_each(|_| stream.write_all(&chunk));
        assert!(matches!(read(stream).map(|reply| reply.status), None | Some(413)));
        assert!(matches!(raw(url, &large), None | Some(400 | 414 | 431)));
        post(url, "/v1/txs", &large[..1 << 20]).problem(422, "malformed");
        let json = ["content-type: application/json"];
        ask(url, "POST", "/v1/txs", &json, deep.as_bytes()).problem(422, "malformed");
    });
    patient(&group.node(0), 132).put("hostile/refused", "v").unwrap();
}

#[test]
fn what_is_no_http_or_no_text_is_refused() {
    let url = group().url(1);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"POST /v1/txs HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/txs HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n garbage that is no frame at all, and more of it",
    ] {
        assert!(matches!(raw(url, bytes), None | Some(400 | 405 | 505)), "{bytes:?}");
    }
    // A body that is cut off is no transaction.
    let cut = raw(url, b"POST /v1/txs HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf");
    assert!(matches!(cut, None | Some(400 | 413 | 422)), "{cut:?}");
    for path in ["/v1/state/%FF", "/v1/state/%C3%28/history", "/v1/blocks/%80"] {
        get(url, path).problem(400, "malformed");
    }
    // Keys that look like paths are keys.
    get(url, "/v1/state/..%2F..%2Fetc%2Fpasswd").problem(404, "key_not_found");
    get(url, "/v1/state/%00").problem(404, "key_not_found");
    assert_eq!(get(url, "/livez").status, 200);
}

#[test]
fn numbers_that_no_chain_reaches_are_answered() {
    let group = group();
    let url = group.url(0);
    group.account(133).put("hostile/numbers", "v").unwrap();
    for height in [0, 1, 1_u64 << 42, (1 << 63) - 1, 1 << 63, u64::MAX] {
        for place in ["0.0", "4294967295.255"] {
            for key in ["nokey", "hostile%2Fnumbers"] {
                for consistency in ["local", "linearizable"] {
                    let cursor = format!("consistency={consistency}&cursor={height}.{place}");
                    json(url, &format!("/v1/state/{key}/history?{cursor}"));
                }
            }
        }
        for path in [
            format!("/v1/state/nokey?consistency=local&at={height}"),
            format!("/v1/state/hostile%2Fnumbers?at={height}"),
            format!("/v1/blocks/{height}?txs=full"),
            format!("/v1/blocks/{height}/certificate"),
            format!("/v1/blocks?from={height}&limit=1000"),
            format!("/v1/headers?from={height}&limit=1000"),
        ] {
            let status = get(url, &path).status;
            assert!([200, 404].contains(&status), "{status} for {path}");
        }
    }
    // The node is still there, and says all that it has.
    let all = json(url, "/v1/state/hostile%2Fnumbers/history?cursor=4398046511104.0.0");
    assert_eq!(all["versions"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!(get(url, "/livez").status, 200);
}

#[test]
fn json_that_is_deep_or_strange_is_malformed() {
    let url = group().url(2);
    let deep = "[".repeat(500_000);
    let nested = format!("{{\"tx\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        deep.as_bytes(),
        nested.as_bytes(),
        b"{\"tx\":\"AAAA\",\"tx\":\"AAAA\"}",
        b"{\"tx\":1}",
        b"{\"tx\":\"\xff\"}",
        b"{\"tx\":\"AAAA\",\"more\":1}",
        b"{\"tx\":\"AAA\"}",
        b"null",
        b"{}",
        b"",
    ] {
        let reply = ask(url, "POST", "/v1/txs", &["content-type: application/json"], body);
        reply.problem(422, "malformed");
    }
    // As many as a binary batch may have, however short they are.
    for (count, status) in [(10_000, 200), (10_001, 422)] {
        let body = format!("{{\"txs\":[{}]}}", vec!["\"\""; count].join(","));
        let json = ["content-type: application/json"];
        let reply = ask(url, "POST", "/v1/txs/batch", &json, body.as_bytes());
        assert_eq!(reply.status, status, "{count}");
    }
    for body in [
        &b"\xff\xff\xff\xff"[..],
        b"\x01\0\0\0\xff\xff\xff\xff",
        b"\x02\0\0\0\0\0\0\0",
        b"\0\0\0\0more",
        b"\x01",
    ] {
        let reply = post(url, "/v1/txs/batch", body);
        assert_eq!(reply.status, 422, "{body:?}");
    }
}

#[test]
fn who_sends_slowly_does_not_keep_others_out() {
    let config = Config {
        api_connections: 8,
        api_header_timeout: Duration::from_millis(500),
        ..common::config()
    };
    let group = Group::start("slow", 1, &config);
    let url = group.url(0);
    let mut slow: Vec<_> = (0..16).map(|_| connect(url)).collect();
    let begun = Instant::now();
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| get(url, "/v1/height").status);
        // One byte after the other, as long as anybody listens.
        while !asked.is_finished() && begun.elapsed() < PATIENCE {
            for stream in &mut slow {
                let _ = stream.write_all(b"G");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        asked.join().unwrap()
    });
    assert_eq!(asked, 200);
}

#[test]
fn a_thousand_idle_connections_are_no_harm() {
    raise_open_files(2_000);
    let group = Group::start("idle", 1, &common::config());
    group.account(120).put("hostile/before", "v").unwrap();
    let before = group.resident();
    let idle: Vec<TcpStream> = (0..1_000).map(|_| connect(group.url(0))).collect();
    assert_eq!(get(group.url(0), "/livez").status, 200);
    group.account(120).put("hostile/idle", "v").unwrap();
    let grown = group.resident().saturating_sub(before);
    // As `docs/operators.md` says of each.
    assert!(grown < (32 << 10) * idle.len() as u64 + (32 << 20), "by {grown} bytes");
}

#[test]
fn a_flood_is_pushed_back_with_a_reason() {
    let config = Config {
        mempool_transactions: 16,
        mempool_sender: 8,
        // So that what comes faster than a block waits.
        block_interval: Duration::from_millis(200),
        ..common::config()
    };
    let group = Group::start("flood", 1, &config);
    let (url, chain) = (group.url(0), group.node(0).chain_id().unwrap());
    // All together they are more than the node may grow by.
    let transaction = |at: u64| {
        let (sender, nonce) = (121 + (at % 8) as u8, at / 8);
        signed(chain, sender, nonce, &format!("hostile/{at}"), 20 << 10)
    };
    let txs: Vec<_> = (0..8_000).map(transaction).collect();
    let (mut refused, mut parts) = (0, txs.chunks(200));
    takes_no_memory(&group, 39, || {
        let part = parts.next().unwrap();
        let body = batch(part.iter().map(|tx| tx.bytes().as_ref()));
        let reply = post(url, "/v1/txs/batch?wait=accepted", &body);
        for outcome in reply.json()["outcomes"].as_array().unwrap() {
            match outcome["code"].as_str() {
                None => assert_eq!(outcome["status"], "pending"),
                Some(code) => {
                    assert!(["mempool_full", "rate_limited"].contains(&code), "{outcome}");
                    let said = (&outcome["outcome"], &outcome["retry"], &outcome["status"]);
                    assert_eq!(
                        said,
                        (&"nothing_happened".into(), &"same_bytes".into(), &429.into())
                    );
                    refused += 1;
                }
            }
        }
        let mempool = json(url, "/v1/mempool");
        assert!(mempool["transactions"].as_u64() <= Some(16), "{mempool}");
        assert!(mempool["bytes"].as_u64() <= mempool["limit_bytes"].as_u64(), "{mempool}");
        let waits = mempool["transactions"].as_u64() > Some(0);
        assert_eq!(mempool["oldest_ms"].is_u64(), waits, "{mempool}");
    });
    assert!(refused > 4_000, "{refused}");
    let account = patient(&group.node(0), 129);
    account.put("hostile/after", "v").unwrap();
    eventually("all is ordered", || json(url, "/v1/mempool")["transactions"] == 0);
}

#[test]
fn forged_signatures_are_all_refused() {
    let group = Group::start("forged", 1, &common::config());
    let chain = group.node(0).chain_id().unwrap();
    let forged: Vec<_> = (0..3_000)
        .map(|nonce| {
            let mut bytes = signed(chain, 130, nonce, "hostile/forged", 1 << 10).bytes().to_vec();
            let last = bytes.len() - 1;
            bytes[last - 40] ^= 1;
            bytes
        })
        .collect();
    let body = batch(forged.iter().map(Vec::as_slice));
    // Forty times nearly four megabytes.
    takes_no_memory(&group, 39, || {
        let outcomes = post(group.url(0), "/v1/txs/batch", &body).json();
        let outcomes = outcomes["outcomes"].as_array().unwrap();
        assert_eq!(outcomes.len(), 3_000);
        assert!(outcomes.iter().all(|outcome| outcome["code"] == "bad_signature"));
    });
    assert!(group.node(0).get("hostile/forged").unwrap().is_none());
}

#[test]
fn of_transactions_with_one_nonce_one_is_taken() {
    let group = group();
    let chain = group.node(0).chain_id().unwrap();
    let outcomes: Vec<(usize, Value)> = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..12)
            .map(|at| {
                scope.spawn(move || {
                    let tx = signed(chain, 131, 7, &format!("hostile/nonce/{at}"), 1);
                    (at, post(group.url(at % 3), "/v1/txs?timeout=60s", tx.bytes()).json())
                })
            })
            .collect();
        sent.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    let applied: Vec<_> =
        outcomes.iter().filter(|(_, outcome)| outcome["status"] == "applied").collect();
    assert_eq!(applied.len(), 1, "{outcomes:?}");
    for (at, outcome) in &outcomes {
        let entry = group.node(0).get(format!("hostile/nonce/{at}")).unwrap();
        assert_eq!(entry.is_some(), outcome["status"] == "applied", "{outcome}");
        if entry.is_none() {
            // Another one has the nonce, or is about to.
            let known =
                ["nonce_used", "outcome_unknown"].contains(&outcome["code"].as_str().unwrap());
            assert!(known, "{outcome}");
        }
    }
}
