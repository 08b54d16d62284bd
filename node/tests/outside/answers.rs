//! Every endpoint answers with the fields that it should, and nothing that is named is missing.

use data_encoding::{BASE64, HEXLOWER};
use quorate_chain::block::Header;
use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::codec::Decode as _;
use quorate_chain::crypto::Ed25519;
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::{BlockRef, NodeId, Signature};
use quorate_chain::statement::Statement;
use serde_json::Value;

use crate::group::{eventually, group};
use crate::http::{ask, get, json};

/// That an object has all of these fields; those with a question mark may be null.
fn has(object: &Value, fields: &str, what: &str) {
    for field in fields.split_whitespace() {
        let name = field.trim_end_matches('?');
        let value = object.get(name).unwrap_or_else(|| panic!("{what} has no {name}: {object}"));
        assert!(!value.is_null() || name != field, "{name} of {what} is null: {object}");
    }
}

/// Waits until a node has heard of all others how they fare, as they tell each other when they meet.
fn has_heard_all(url: &str) {
    eventually("all are heard", || {
        let peers = json(url, "/v1/status")["peers"].as_array().unwrap().clone();
        let known = |peer: &Value| ["api", "height", "term"].iter().all(|it| !peer[it].is_null());
        peers.len() == 2 && peers.iter().all(known)
    });
}

const BLOCK: &str = "height hash term parent kind proposer time_us body_root roster_hash executed \
    state_root size tx_count certified_by";
const PEER: &str = "node_id name voter state last_seen_ms height term api";

#[test]
fn the_status_of_a_node_has_its_fields() {
    let group = group();
    group.account(14).put("answers/status", "v").unwrap();
    let (leader, _) = group.leader();
    let url = group.url(leader);
    has_heard_all(url);

    let status = json(url, "/v1/status");
    has(
        &status,
        "version chain_id chain_name node_id name mode role incarnation term leader leader_api height \
         committed applied final tip last_block_hash quorum voters reachable live_peers peers roster_hash \
         lead catching_up? reason? started_ms",
        "status",
    );
    assert_eq!((&status["height"], &status["role"]), (&status["committed"], &"leader".into()));
    assert_eq!((&status["quorum"], &status["voters"]), (&2.into(), &3.into()));
    assert_eq!(status["leader_api"], url);
    for peer in status["peers"].as_array().unwrap() {
        has(peer, PEER, "a peer of status");
        let at = usize::try_from(peer["node_id"].as_u64().unwrap()).unwrap();
        assert_eq!(peer["api"], group.url(at), "{peer}");
        let told = json(group.url(at), "/v1/status");
        assert_eq!((&told["leader"], &told["leader_api"]), (&leader.into(), &url.into()));
    }
}

#[test]
fn every_answer_has_its_fields() {
    let group = group();
    let outcome = group.account(10).put("answers/fields", "v").unwrap();
    let (height, key) = (outcome.height.unwrap(), group.account(10).key());
    let (leader, _) = group.leader();
    let url = group.url(leader);

    has(&json(url, "/v1/height"), "height applied hash term", "height");
    let block = json(url, &format!("/v1/blocks/{height}"));
    has(&block, BLOCK, "a block");
    let ids = block["txs"].as_array().unwrap();
    assert!(ids.contains(&outcome.id.to_string().into()), "{block}");
    assert_eq!(json(url, &format!("/v1/blocks/{height}?txs=ids"))["txs"], block["txs"]);
    let latest = json(url, "/v1/blocks/latest");
    has(&latest, &BLOCK.replace("certified_by", "certified_by?"), "the latest block");
    assert!(latest["height"].as_u64() >= Some(height.get()), "{latest}");
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
        "id status height index term block_hash certificate? results error? duplicate",
        "an outcome",
    );
    has(&told["results"][0], "op key ok", "a result");
    let account = json(url, &format!("/v1/accounts/{key}"));
    has(&account, "sender next_nonce window_base grants admin", "an account");
    has(
        &json(url, "/v1/state/answers%2Ffields"),
        "key value height tx read_height consistency proof?",
        "a value",
    );
    let scan = json(url, "/v1/state?prefix=answers/");
    has(&scan, "items read_height cursor?", "a list of keys");
    has(&scan["items"][0], "key value height tx", "a key of a list");
    let history = json(url, "/v1/state/answers%2Ffields/history");
    has(&history, "key versions cursor?", "a history");
    has(&history["versions"][0], "height index tx op value", "a version");
    let mempool = json(url, "/v1/mempool");
    has(&mempool, "transactions bytes oldest_ms? limit_transactions limit_bytes", "the mempool");
    assert_eq!(get(url, "/v1/genesis").body, group.genesis);
    assert_eq!(get(url, "/livez").status, 200);
    assert_eq!(json(url, "/readyz")["ready"], true);
}

/// The header that a node has sent in base64.
fn header(raw: &Value) -> Header {
    let bytes = BASE64.decode(raw.as_str().unwrap().as_bytes()).unwrap();
    Header::from_bytes(&bytes.into()).unwrap()
}

/// Whoever has nothing but the genesis can tell from what a node answers that a block is committed.
#[test]
fn headers_and_certificates_prove_a_block_to_who_has_the_genesis() {
    let (group, account) = (group(), group().account(13));
    let url = group.url(1);
    let genesis = Genesis::parse(&group.genesis).unwrap();
    let (chain_id, roster) = (Genesis::chain_id(&group.genesis), genesis.roster().unwrap());
    let outcome = account.put("answers/proven", "v").unwrap();
    let height = outcome.height.unwrap();

    // Another node has said so: who asks this one for the block waits until it has it, and who asks for a list does not.
    json(url, &format!("/v1/blocks/{height}"));
    // Each header is what its hash is of, and names the one before it.
    let list = json(url, &format!("/v1/headers?from={}&limit=2", height.get() - 1));
    let [before, here] = [0, 1].map(|at| {
        let told = &list["headers"][at];
        let header = header(&told["raw"]);
        assert_eq!(header.hash().to_string(), told["hash"].as_str().unwrap());
        assert_eq!(header.height.get(), told["height"]);
        header
    });
    assert_eq!((here.height, here.parent), (height, before.hash()));
    assert_eq!(Some(here.hash()), outcome.block_hash);
    assert_eq!((here.chain_id, here.roster_hash), (chain_id, roster.hash()));

    // The path leads from it to the block that a quorum has signed.
    let told = json(url, &format!("/v1/blocks/{height}/certificate"));
    assert_eq!((&told["covers"], &told["quorum"]), (&height.get().into(), &2.into()));
    let path = told["path"].as_array().unwrap().iter().map(header);
    let last = path.fold(here, |below, above| {
        assert_eq!(above.parent, below.hash());
        above
    });
    let block = last.block_ref();
    let of = &told["ref"];
    assert_eq!(
        (&of["height"], &of["term"]),
        (&block.height.get().into(), &block.term.get().into())
    );
    assert_eq!(of["hash"], block.hash.to_string());
    let signed = told["signatures"].as_array().unwrap().iter().map(|one| {
        let bytes = HEXLOWER.decode(one["signature"].as_str().unwrap().as_bytes()).unwrap();
        let signer = NodeId::new(u32::try_from(one["node_id"].as_u64().unwrap()).unwrap());
        Signed { signer, signature: Signature::new(bytes.try_into().unwrap()) }
    });
    let of_it =
        |statement| Certificate::assemble(statement, roster.hash(), signed.clone().collect());
    of_it(Statement::Ack { block }).check(chain_id, &roster, &Ed25519).unwrap();
    // The same signatures prove nothing else.
    let other = BlockRef { height: before.height, ..block };
    of_it(Statement::Ack { block: other }).check(chain_id, &roster, &Ed25519).unwrap_err();
    assert_eq!(told["roster_hash"], roster.hash().to_string());
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
        has_heard_all(group.url(at));
        let told = json(group.url(at), "/v1/validators");
        has(&told, "roster_hash quorum finality_quorum joint validators", "the validators");
        assert_eq!((&told["quorum"], &told["joint"]), (&2.into(), &false.into()));
        let validators = told["validators"].as_array().unwrap();
        assert_eq!(validators.len(), 3);
        for (id, validator) in validators.iter().enumerate() {
            has(
                validator,
                "node_id name public_key peer_id voter lead state last_seen_ms last_signed_height? api p2p",
                "a validator",
            );
            assert_eq!((&validator["node_id"], &validator["voter"]), (&id.into(), &true.into()));
            assert!(validator["peer_id"].as_str().unwrap().starts_with("12D3KooW"));
            assert_eq!(validator["api"], group.url(id), "{validator}");
        }
        let signed = validators.iter().filter(|one| one["last_signed_height"].as_u64() > Some(0));
        assert!(signed.count() >= 2, "{told}");
        let peers = json(group.url(at), "/v1/peers");
        let peers = peers["peers"].as_array().unwrap();
        assert_eq!(peers.len(), 2);
        has(&peers[0], &format!("{PEER} address rtt_us? direction?"), "a peer");
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
