//! Every endpoint answers with the fields that it should, and nothing that is named is missing.

use serde_json::Value;

use crate::group::{eventually, group};
use crate::http::{ask, get, json};

/// That an object has all of these fields, which may be null.
fn has(object: &Value, fields: &str, what: &str) {
    for field in fields.split_whitespace() {
        assert!(object.get(field).is_some(), "{what} has no {field}: {object}");
    }
}

const BLOCK: &str = "height hash term parent kind proposer time_us body_root roster_hash executed \
    state_root size tx_count certified_by";
const PEER: &str = "node_id name voter state last_seen_ms height term api";

#[test]
fn every_answer_has_its_fields() {
    let group = group();
    let outcome = group.account(10).put("answers/fields", "v").unwrap();
    let (height, key) = (outcome.height.unwrap(), group.account(10).key());
    let (leader, _) = group.leader();
    let url = group.url(leader);

    let status = json(url, "/v1/status");
    has(
        &status,
        "version chain_id chain_name node_id name mode role incarnation term leader leader_api height \
         committed applied final tip last_block_hash quorum voters reachable live_peers peers roster_hash \
         lead catching_up reason started_ms",
        "status",
    );
    assert_eq!((&status["height"], &status["role"]), (&status["committed"], &"leader".into()));
    assert_eq!((&status["quorum"], &status["voters"]), (&2.into(), &3.into()));
    has(&status["peers"][0], PEER, "a peer of status");
    has(&json(url, "/v1/height"), "height applied hash term", "height");
    let block = json(url, &format!("/v1/blocks/{height}"));
    has(&block, BLOCK, "a block");
    let ids = block["txs"].as_array().unwrap();
    assert!(ids.contains(&outcome.id.to_string().into()), "{block}");
    has(&block["certified_by"], "height term hash", "a ref");
    let block = json(url, &format!("/v1/blocks/{height}?txs=full"));
    has(&block["txs"][0], "id index sender nonce ops status", "a transaction");
    let list = json(url, "/v1/blocks?from=1&limit=2");
    has(&list["blocks"][1], BLOCK, "a block of a list");
    assert_eq!((&list["blocks"][0]["height"], &list["next"]), (&1.into(), &3.into()));
    let headers = json(url, "/v1/headers?from=1&limit=1");
    has(&headers["headers"][0], "height hash raw", "a header");
    let certificate = json(url, &format!("/v1/blocks/{height}/certificate"));
    has(&certificate, "covers ref path roster_hash quorum signatures", "a certificate");
    has(&certificate["signatures"][0], "node_id signature", "a signature");
    let told = json(url, &format!("/v1/txs/{}", outcome.id));
    has(
        &told,
        "id status height index term block_hash certificate results error duplicate",
        "an outcome",
    );
    has(&told["results"][0], "op key ok", "a result");
    let account = json(url, &format!("/v1/accounts/{key}"));
    has(&account, "sender next_nonce window_base grants admin", "an account");
    has(
        &json(url, "/v1/state/answers%2Ffields"),
        "key value height tx read_height consistency proof",
        "a value",
    );
    let scan = json(url, "/v1/state?prefix=answers/");
    has(&scan, "items read_height cursor", "a list of keys");
    has(&scan["items"][0], "key value height tx", "a key of a list");
    let history = json(url, "/v1/state/answers%2Ffields/history");
    has(&history, "key versions cursor", "a history");
    has(&history["versions"][0], "height index tx op value", "a version");
    let mempool = json(url, "/v1/mempool");
    has(&mempool, "transactions bytes oldest_ms limit_transactions limit_bytes", "the mempool");
    assert_eq!(get(url, "/v1/genesis").body, group.genesis);
    assert_eq!(get(url, "/livez").status, 200);
    assert_eq!(json(url, "/readyz")["ready"], true);
}

#[test]
fn elections_slow_disks_and_lagging_peers_show_in_numbers() {
    let group = group();
    group.account(12).put("answers/metrics", "v").unwrap();
    let (leader, others) = group.leader();
    let page = get(group.url(leader), "/metrics");
    assert!((page.status, page.kind.starts_with("text/plain; version=0.0.4")) == (200, true));
    let page = String::from_utf8(page.body).unwrap();
    let value = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name}")).split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert_eq!((value("quorate_is_leader"), value("quorate_leader")), (1.0, leader as f64));
    assert!(value("quorate_term") >= 1.0 && value("quorate_leader_changes_total") >= 1.0);
    assert!(value("quorate_height{kind=\"committed\"}") >= 1.0);
    assert!(value("quorate_transactions_total{outcome=\"applied\"}") >= 1.0);
    assert!(value("quorate_log_write_seconds_count") >= 1.0);
    let (all, most) = ("quorate_apply_seconds_count", "quorate_apply_seconds_bucket{le=\"+Inf\"}");
    assert!((value(all) - value(most)).abs() < 0.5);
    for other in others {
        assert_eq!(value(&format!("quorate_peer_alive{{peer=\"{other}\"}}")), 1.0);
        assert!(value(&format!("quorate_peer_height{{peer=\"{other}\"}}")) >= 0.0);
    }
    // Every line is a comment or a sample, and every sample is explained before.
    let mut explained = String::new();
    for line in page.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(kind) => explained = kind.split(' ').next().unwrap().to_owned(),
            None if line.starts_with("# HELP ") => {}
            None => assert!(line.starts_with(&explained), "{line} after {explained}"),
        }
    }
}

#[test]
fn everybody_sees_the_same_roster_and_who_is_there() {
    let group = group();
    group.account(11).put("answers/roster", "v").unwrap();
    for at in 0..3 {
        let told = json(group.url(at), "/v1/validators");
        has(&told, "roster_hash quorum finality_quorum joint validators", "the validators");
        assert_eq!((&told["quorum"], &told["joint"]), (&2.into(), &false.into()));
        let validators = told["validators"].as_array().unwrap();
        assert_eq!(validators.len(), 3);
        for (id, validator) in validators.iter().enumerate() {
            has(
                validator,
                "node_id name public_key peer_id voter lead state last_seen_ms last_signed_height api p2p",
                "a validator",
            );
            assert_eq!((&validator["node_id"], &validator["voter"]), (&id.into(), &true.into()));
            assert!(validator["peer_id"].as_str().unwrap().starts_with("12D3KooW"));
        }
        let signed = validators.iter().filter(|one| one["last_signed_height"].as_u64() > Some(0));
        assert!(signed.count() >= 2, "{told}");
        let peers = json(group.url(at), "/v1/peers");
        let peers = peers["peers"].as_array().unwrap();
        assert_eq!(peers.len(), 2);
        has(&peers[0], &format!("{PEER} address rtt_us direction"), "a peer");
    }
    // Of two nodes one has dialled the other, and both can tell how long it takes.
    let known = |at: usize| {
        let peers = json(group.url(at), "/v1/peers")["peers"].clone();
        let peers = peers.as_array().unwrap().clone();
        let timed = peers.iter().all(|peer| peer["rtt_us"].as_u64() > Some(0));
        timed.then(|| peers.iter().filter(|peer| peer["direction"] == "outbound").count())
    };
    eventually("every round trip is known", || (0..3).all(|at| known(at).is_some()));
    assert_eq!((0..3).filter_map(known).sum::<usize>(), 3, "one of each pair");
}

#[test]
fn what_cannot_be_read_is_refused_with_a_problem() {
    let url = group().url(0);
    for path in [
        "/v1/blocks/newest",
        "/v1/blocks?limit=0",
        "/v1/blocks?limit=1001",
        "/v1/blocks?teapot=1",
        "/v1/blocks/1?txs=some",
        "/v1/txs/12",
        "/v1/accounts/12",
        "/v1/state/a?consistency=perhaps",
        "/v1/state/a?key_base64=YQ==",
        "/v1/state/a?prefix=a",
        "/v1/state/a?at=-1",
        "/v1/state?key_base64=!",
        "/v1/state?key_base64=YQ==&prefix=a",
        "/v1/state?prefix=a&at=1",
        "/v1/state?prefix=a&prefix_base64=YQ==",
        "/v1/state?prefix=a&limit=0",
        "/v1/state?prefix=a&cursor=!",
        "/v1/state/a/history?cursor=1.2",
        "/v1/state/a/history?cursor=1.2.3.4",
        "/v1/state/a/history?cursor=1.2.300",
        "/v1/state/a/history?limit=1001",
        "/v1/events?topics=weather",
        "/v1/events?from=soon",
    ] {
        get(url, path).problem(400, "malformed");
    }
    let odd = ask(url, "GET", "/v1/events", &["last-event-id: x"], &[]);
    odd.problem(400, "malformed");
    get(url, "/v1/blocks/999999999").problem(404, "block_not_found");
    get(url, &format!("/v1/blocks/{}", "0".repeat(64))).problem(404, "block_not_found");
    get(url, "/v1/blocks/0/certificate").problem(404, "proof_unavailable");
    assert_eq!(get(url, "/v2/status").status, 404);
    ask(url, "POST", "/v1/status", &[], &[]).problem(405, "malformed");
    for path in ["/", "/v1", "/v2/status", "/v1/status/", "/v1/nothing", "/%FF", "/v1/txs/%FF/x"] {
        get(url, path).problem(404, "malformed");
    }
    for path in ["/v1/txs/%FF", "/v1/accounts/%FF", "/v1/blocks/%FF/certificate"] {
        get(url, path).problem(400, "malformed");
    }
}
