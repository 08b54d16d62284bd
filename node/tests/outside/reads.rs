//! Reading the state, from every node.

use data_encoding::BASE64;
use quorate_chain::ids::Height;
use serde_json::Value;

use crate::group::group;
use crate::http::{ask, get, json};

fn value(text: &str) -> Value {
    BASE64.encode(text.as_bytes()).into()
}

#[test]
fn what_was_acknowledged_is_seen_at_once_on_every_node() {
    let (group, account) = (group(), group().account(20));
    for round in 0..10 {
        let outcome = account.update("reads/fresh", round.to_string()).unwrap();
        for at in 0..3 {
            let entry = json(group.url(at), "/v1/state/reads%2Ffresh");
            assert_eq!(
                (&entry["value"], &entry["consistency"]),
                (&value(&round.to_string()), &"linearizable".into())
            );
            assert!(entry["read_height"].as_u64() >= outcome.height.map(Height::get));
            let lease = json(group.url(at), "/v1/state/reads%2Ffresh?consistency=lease");
            assert_eq!(lease["value"], entry["value"]);
            let told = json(group.url(at), &format!("/v1/txs/{}", outcome.id));
            assert_eq!(
                (&told["status"], &told["id"]),
                (&"applied".into(), &outcome.id.to_string().into())
            );
        }
    }
    let local = json(group.url(0), "/v1/state/reads%2Ffresh?consistency=local");
    assert_eq!(local["consistency"], "local");
}

#[test]
fn transactions_blocks_and_accounts_are_known_everywhere_once_acknowledged() {
    let (group, account) = (group(), group().account(27));
    for round in 0..20_u64 {
        let outcome = account.update("reads/known", round.to_string()).unwrap();
        let at = round as usize % 3;
        let told = json(group.url(at), &format!("/v1/txs/{}", outcome.id));
        assert_eq!(told["status"], "applied", "round {round}");
        let height = outcome.height.unwrap();
        // By its hash as by its height.
        let hash = outcome.block_hash.as_ref().unwrap();
        let block = if round % 2 == 0 { height.to_string() } else { hash.to_string() };
        assert_eq!(get(group.url((at + 1) % 3), &format!("/v1/blocks/{block}")).status, 200);
        let proof = get(group.url((at + 2) % 3), &format!("/v1/blocks/{height}/certificate"));
        assert_eq!(proof.status, 200, "round {round}");
        let told = json(group.url((at + 2) % 3), &format!("/v1/accounts/{}", account.key()));
        assert_eq!(told["next_nonce"], round + 1);
    }
}

#[test]
fn a_value_comes_raw_if_that_is_asked_for() {
    let (group, account) = (group(), group().account(21));
    account.put("reads/raw", [0, 255, 10]).unwrap();
    let raw = ask(
        group.url(1),
        "GET",
        "/v1/state/reads%2Fraw",
        &["accept: application/octet-stream"],
        &[],
    );
    assert_eq!((raw.status, raw.body.as_slice()), (200, &[0, 255, 10][..]));
    let missing = get(group.url(1), "/v1/state/reads%2Fmissing").problem(404, "key_not_found");
    assert!(missing["read_height"].as_u64() > Some(0));
}

#[test]
fn a_key_is_read_as_of_any_height() {
    let (group, account) = (group(), group().account(22));
    let first = account.put("reads/at", "1").unwrap().height.unwrap().get();
    let second = account.update("reads/at", "2").unwrap().height.unwrap().get();
    let gone = account.remove("reads/at").unwrap().height.unwrap().get();
    let at = |height: u64| get(group.url(2), &format!("/v1/state/reads%2Fat?at={height}"));
    for (height, expected) in [(first, "1"), (second - 1, "1"), (second, "2"), (gone - 1, "2")] {
        let entry = at(height).json();
        assert_eq!((&entry["value"], &entry["read_height"]), (&value(expected), &height.into()));
        assert!(entry["height"].as_u64().unwrap() <= height);
    }
    for height in [0, first - 1, gone] {
        assert_eq!(at(height).problem(404, "key_not_found")["read_height"], height);
    }
    at(1 << 60).problem(404, "block_not_found");
}

#[test]
fn a_list_goes_on_where_it_ended_whatever_happens_to_the_keys() {
    let (group, account) = (group(), group().account(23));
    for key in ["a", "b", "c", "d", "e"] {
        account.put(format!("reads/scan/{key}"), key).unwrap();
    }
    account.put("reads/scan0", "beyond the prefix").unwrap();
    let (mut keys, mut cursor) = (Vec::new(), None);
    for at in 0.. {
        let page = group.node(at % 3).scan("reads/scan/", 2, cursor.as_deref()).unwrap();
        keys.extend(
            page.items.iter().map(|item| String::from_utf8_lossy(&item.value).into_owned()),
        );
        cursor = page.cursor;
        if at == 0 {
            // The cursor stands on a key that goes, and one comes behind it.
            account.remove("reads/scan/b").unwrap();
            account.put("reads/scan/bb", "bb").unwrap();
        }
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys, ["a", "b", "bb", "c", "d", "e"]);
    let all = json(group.url(0), "/v1/state?prefix=reads/scan/&limit=1000");
    assert_eq!((all["items"].as_array().unwrap().len(), &all["cursor"]), (5, &Value::Null));
    let none = json(group.url(0), "/v1/state?prefix=reads/none/");
    assert_eq!((&none["items"], &none["cursor"]), (&Value::Array(Vec::new()), &Value::Null));
}

#[test]
fn a_list_of_large_values_is_cut_and_loses_none() {
    let (group, account) = (group(), group().account(24));
    let large = vec![7_u8; 250 << 10];
    for key in 0..40 {
        account.put(format!("reads/large/{key:02}"), &large).unwrap();
    }
    let (mut found, mut cursor, mut pages) = (0, None, 0);
    loop {
        let page = group.node(1).scan("reads/large/", 1_000, cursor.as_deref()).unwrap();
        assert!(page.items.len() <= 32 + 17, "{} items in a page", page.items.len());
        (found, pages) = (found + page.items.len(), pages + 1);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, 40);
    assert!(pages > 1);
}

#[test]
fn a_history_tells_every_change_newest_first() {
    let (group, account) = (group(), group().account(25));
    let key = "reads/history";
    let mut heights = vec![account.put(key, "1").unwrap().height.unwrap()];
    heights.push(account.update(key, "2").unwrap().height.unwrap());
    heights.push(account.cas(key, Some(b"2"), "3").unwrap().height.unwrap());
    heights.push(account.remove(key).unwrap().height.unwrap());
    account.put(format!("{key}/other"), "x").unwrap();
    for at in 0..3 {
        let told = json(group.url(at), "/v1/state/reads%2Fhistory/history");
        let versions = told["versions"].as_array().unwrap();
        let of = |field: &str| versions.iter().map(|one| one[field].clone()).collect::<Vec<_>>();
        assert_eq!(of("op"), ["remove", "cas", "update", "put"]);
        assert_eq!(of("value"), [Value::Null, value("3"), value("2"), value("1")]);
        let newest_first: Vec<_> = heights.iter().rev().map(|height| height.get().into()).collect();
        assert_eq!((of("height"), &told["cursor"]), (newest_first, &Value::Null));
    }
    let (mut ops, mut cursor) = (Vec::new(), None);
    loop {
        let page = group.node(0).history(key, 1, cursor.as_deref()).unwrap();
        ops.extend(page.versions.into_iter().map(|version| version.op));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(ops, ["remove", "cas", "update", "put"]);
    assert!(group.node(0).history("reads/never", 9, None).unwrap().versions.is_empty());
}

#[test]
fn keys_that_are_no_text_can_be_read_and_listed() {
    let (group, account) = (group(), group().account(26));
    let key = [0xff, b'/', 0];
    account.put(key, "odd").unwrap();
    assert_eq!(group.node(1).get(key).unwrap().unwrap().value.as_ref(), b"odd");
    let page = group.node(1).scan([0xff], 10, None).unwrap();
    assert_eq!(page.items[0].key.0.as_ref(), key);
    assert_eq!(group.node(1).history(key, 10, None).unwrap().versions.len(), 1);
    for text in ["-", "..", "a b?c=%&d#e", "ä"] {
        account.update(text, "x").unwrap();
        assert_eq!(group.node(1).history(text, 10, None).unwrap().versions.len(), 1, "{text}");
        assert!(group.node(1).get(text).unwrap().is_some(), "{text}");
    }
}

#[test]
fn a_list_of_large_blocks_is_cut_and_loses_none() {
    let group = crate::group::Group::start("large-blocks", 1, &crate::common::config());
    let account = group.account(142);
    let last = (0..100)
        .map(|at| account.put(format!("reads/blocks/{at}"), vec![7; 200 << 10]).unwrap().height)
        .max();
    let (mut next, mut heights, mut pages) = (Value::from(1), Vec::new(), 0);
    while !next.is_null() {
        let page = json(group.url(0), &format!("/v1/blocks?limit=1000&from={next}"));
        let blocks = page["blocks"].as_array().unwrap();
        heights.extend(blocks.iter().map(|block| block["height"].as_u64().unwrap()));
        let size: u64 = blocks.iter().map(|block| block["size"].as_u64().unwrap()).sum();
        assert!(size < 21 << 20, "one page is of {size} bytes");
        (next, pages) = (page["next"].clone(), pages + 1);
    }
    assert!(pages > 1, "{pages}");
    let all: Vec<u64> = (1..=heights.len() as u64).collect();
    assert_eq!(heights, all);
    assert!(heights.last().copied() >= last.unwrap().map(|height| height.get()));
}
