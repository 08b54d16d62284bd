//! What a group of real processes does with a majority, and what it refuses to do without one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::thread;
use std::time::Duration;

use common::{Place, eventually, patient};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::Height;
use quorate_client::answer::Outcome;
use quorate_client::problem::Code;
use quorate_client::{Account, Error, Level, Wait, path};
use serde_json::Value;

/// Not a test but a node, if a home is given to it.
#[test]
fn the_node() {
    common::be_a_node();
}

/// Somebody who writes through one node, in no hurry.
fn writer(place: &Place, node: usize, seed: u8) -> Account {
    place.node(node).account(SecretKey::from_seed(&[seed; 32])).waiting(patient())
}

fn list(nodes: impl IntoIterator<Item = usize>) -> String {
    nodes.into_iter().map(|node| node.to_string()).collect::<Vec<_>>().join(",")
}

fn others(count: usize, node: usize) -> Vec<usize> {
    (0..count).filter(|other| *other != node).collect()
}

/// The highest block that a node holds, committed or not.
fn tip(place: &Place, node: usize) -> u64 {
    let status: Value =
        serde_json::from_str(&place.node(node).body("/v1/status").unwrap()).unwrap();
    status["tip"].as_u64().unwrap()
}

fn height(place: &Place, node: usize) -> Height {
    place.node(node).height().unwrap().height
}

fn still_stand(place: &Place, outcomes: &[Outcome]) {
    for outcome in outcomes {
        let now = place.client().tx(outcome.id).unwrap();
        assert_eq!((now.height, now.block_hash), (outcome.height, outcome.block_hash));
    }
}

#[test]
fn what_a_cut_off_leader_has_sealed_gives_way_to_what_the_others_committed() {
    let place = Place::of_nodes();
    // So long it goes on taking itself for the leader.
    place.up(5, &["--election-timeout", "3s"]);
    let old = place.leader();
    let rest = others(5, old);
    // It knows its own nonce from now on, and asks nobody.
    let lonely = writer(&place, old, 7);
    lonely.put("not alone", "v").unwrap();
    let before = height(&place, old);
    place.ok(&["isolate", &old.to_string()]);
    // It seals this, and nobody else ever hears of it.
    let short = Wait { level: Level::Applied, timeout: Duration::from_millis(300) };
    lonely.waiting(short).put("lonely", "v").unwrap_err();
    let sealed = tip(&place, old);
    assert!(sealed > before.get(), "a suffix that the others do not have");
    place.ok(&["wait", "--new-leader", &old.to_string(), "--nodes", &list(rest.clone())]);
    let alice = writer(&place, rest[0], 8);
    let outcomes: Vec<_> = (0..5).map(|at| alice.put(format!("k{at}"), "v").unwrap()).collect();
    // The heights of the suffix are taken by others' blocks now.
    assert!(outcomes[4].height.unwrap().get() > sealed);
    assert_eq!(height(&place, old), before);
    place.ok(&["heal"]);
    place.ok(&["wait", "--equal", "--leader", "--nodes", "0,1,2,3,4"]);
    place.ok(&["assert", "same-hash", "--nodes", "0,1,2,3,4"]);
    still_stand(&place, &outcomes);
    assert!(place.node(old).get("k4").unwrap().is_some());
}

#[test]
fn without_a_majority_nothing_is_promised_and_nothing_is_lost() {
    let place = Place::of_nodes();
    place.up(5, &[]);
    let alice = place.alice();
    let outcomes: Vec<_> = (0..10).map(|at| alice.put(format!("k{at}"), "v").unwrap()).collect();
    let last = outcomes[9].height.unwrap().to_string();
    place.ok(&["wait", "--height", &last, "--equal"]);
    place.ok(&["kill", "0", "1", "2"]);
    let knows = |node: usize| {
        let status = place.node(node).status().unwrap();
        status.leader.is_none() && status.reason.is_some_and(|reason| reason.contains("3 needed"))
    };
    eventually("both know that they are too few", || knows(3) && knows(4));
    let before = (height(&place, 3), height(&place, 4));
    for node in [3, 4] {
        let short = Wait { level: Level::Applied, timeout: Duration::from_secs(1) };
        let refused = writer(&place, node, 7).waiting(short).put("few", "v").unwrap_err();
        let code = refused.problem().map(|problem| problem.code);
        assert!([Some(Code::NoQuorum), Some(Code::OutcomeUnknown)].contains(&code), "{refused}");
        place.node(node).with_timeout(Duration::from_secs(1)).get("k0").unwrap_err();
    }
    assert_eq!((height(&place, 3), height(&place, 4)), before);
    place.ok(&["revive", "--all"]);
    place.ok(&["wait", "--equal", "--leader", "--nodes", "0,1,2,3,4"]);
    still_stand(&place, &outcomes);
    place.alice().put("after", "v").unwrap();
}

#[test]
fn a_leader_that_is_cut_off_mints_nothing() {
    let place = Place::of_nodes();
    place.up(3, &["--block-interval", "50ms"]);
    let old = place.leader();
    let rest = others(3, old);
    place.ok(&["isolate", &old.to_string()]);
    let before = height(&place, old).get();
    place.ok(&["wait", "--new-leader", &old.to_string(), "--nodes", &list(rest.clone())]);
    eventually("it gives up", || place.node(old).status().unwrap().leader.is_none());
    let (committed, sealed) = (height(&place, old), tip(&place, old));
    // Acks may have been on their way. By itself it would have sealed twenty blocks in its last second.
    assert!(committed.get() < before + 10, "it has committed {before} to {committed} alone");
    let goal = height(&place, rest[0]).get() + 40;
    place.ok(&["wait", "--height", &goal.to_string(), "--nodes", &list(rest), "--timeout", "60s"]);
    assert_eq!((height(&place, old), tip(&place, old)), (committed, sealed));
    place.ok(&["heal"]);
    let goal = (goal + 20).to_string();
    place.ok(&["wait", "--height", &goal, "--nodes", "0,1,2", "--timeout", "60s"]);
    place.ok(&["assert", "same-hash", "--nodes", "0,1,2"]);
}

#[test]
fn who_cannot_be_sure_refuses_to_read() {
    let place = Place::of_nodes();
    place.up(3, &[]);
    place.alice().put("key", "old").unwrap();
    let old = place.leader();
    let rest = others(3, old);
    place.ok(&["wait", "--equal"]);
    place.ok(&["isolate", &old.to_string()]);
    place.ok(&["wait", "--new-leader", &old.to_string(), "--nodes", &list(rest.clone())]);
    writer(&place, rest[0], 7).update("key", "new").unwrap();
    // From the first moment on: it may still take itself for the leader.
    let lonely = place.node(old).with_timeout(Duration::from_secs(10));
    let refused = lonely.get("key").unwrap_err();
    let code = refused.problem().map(|problem| problem.code);
    assert!([Some(Code::NoLeader), Some(Code::NoQuorum)].contains(&code), "{refused}");
    // Who asks for no more gets what it has, with the height that goes with it.
    let local = lonely.body(&(path::state(b"key") + "?consistency=local")).unwrap();
    let local: quorate_client::answer::Entry = serde_json::from_str(&local).unwrap();
    assert_eq!(&local.value[..], b"old");
    place.ok(&["heal"]);
    eventually("it can be sure again", || {
        lonely.get("key").is_ok_and(|entry| entry.is_some_and(|entry| &entry.value[..] == b"new"))
    });
}

/// Adds one to a number so often, whatever others do to it meanwhile.
fn count_up(account: &Account, times: u64) {
    for _ in 0..times {
        loop {
            let now = account.client().get("number").unwrap().map(|entry| entry.value);
            let number = now
                .as_ref()
                .map_or(0, |text| std::str::from_utf8(text).unwrap().parse::<u64>().unwrap());
            match account.cas("number", now.as_deref(), (number + 1).to_string()) {
                Ok(_) => break,
                Err(Error::Refused { problem, .. }) if problem.code == Code::Mismatch => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn clients_of_all_nodes_count_up_one_number_together() {
    const TIMES: u64 = 12;
    let place = Place::of_nodes();
    place.up(3, &[]);
    thread::scope(|scope| {
        for client in 0..6_u8 {
            let account = writer(&place, usize::from(client) % 3, 10 + client);
            scope.spawn(move || count_up(&account, TIMES));
        }
    });
    for node in 0..3 {
        let entry = place.node(node).get("number").unwrap().unwrap();
        assert_eq!(&entry.value[..], (6 * TIMES).to_string().as_bytes());
    }
}

#[test]
fn nine_nodes_go_on_without_four_and_not_without_five() {
    let place = Place::of_nodes();
    place.up(9, &["--timeout", "120s"]);
    place.alice().put("nine", "v").unwrap();
    place.ok(&["kill", "0", "1", "2", "3"]);
    place.ok(&["wait", "--leader", "--nodes", "4,5,6,7,8", "--timeout", "60s"]);
    let outcome = place.alice().put("five", "v").unwrap();
    place.ok(&["kill", "4"]);
    eventually("four know that they are too few", || {
        (5..9).all(|node| place.node(node).status().unwrap().leader.is_none())
    });
    let short = Wait { level: Level::Applied, timeout: Duration::from_secs(1) };
    writer(&place, 5, 7).waiting(short).put("four", "v").unwrap_err();
    place.ok(&["revive", "--all"]);
    place.ok(&["wait", "--equal", "--leader", "--timeout", "60s"]);
    place.ok(&["assert", "same-hash", "--nodes", "0,1,2,3,4,5,6,7,8"]);
    still_stand(&place, &[outcome]);
    place.alice().put("all", "v").unwrap();
}
