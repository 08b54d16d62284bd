//! Real processes on loopback, killed for real.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Place;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{Height, TxId};
use quorate_client::answer::{Outcome, TxStatus};
use quorate_client::{Client, Error, KeyFile, Level, TestnetNodeState, Wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Not a test but a node, if a home is given to it.
#[test]
fn the_node() {
    common::be_a_node();
}

#[test]
fn five_processes_go_on_without_their_leader_and_take_it_back() {
    let place = Place::of_nodes();
    place.up(5, &[]);
    let alice = place.alice();
    for at in 0..10 {
        alice.put(format!("before/{at}"), "v").unwrap();
    }
    let old = place.leader();
    place.ok(&["kill", &old.to_string()]);
    place.ok(&["wait", "--new-leader", &old.to_string()]);
    for at in 0..10 {
        alice.put(format!("without/{at}"), "v").unwrap();
    }
    let height = place.client().height().unwrap().height.to_string();
    place.ok(&["revive", &old.to_string()]);
    place.ok(&["wait", "--height", &height, "--equal", "--leader"]);
    place.ok(&["assert", "same-hash", "--nodes", "0,1,2,3,4"]);
    for key in ["before/9", "without/0", "without/9"] {
        assert!(place.node(old).get(key).unwrap().is_some(), "{key}");
    }
}

#[test]
fn a_leader_that_is_stopped_and_not_killed_is_found_out_by_its_silence() {
    let place = Place::of_nodes();
    place.up(3, &[]);
    let alice = place.alice();
    alice.put("before", "v").unwrap();
    let old = place.leader();
    place.ok(&["pause", &old.to_string()]);
    place.ok(&["wait", "--new-leader", &old.to_string()]);
    let others: Vec<_> = (0..3).filter(|node| *node != old).collect();
    let client = place.node(others[0]).account(SecretKey::from_seed(&[7; 32]));
    client.waiting(common::patient()).put("without", "v").unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    for node in &others {
        let is_dead = || {
            let status = place.node(*node).status().unwrap();
            status.peers.iter().any(|it| it.node_id.get() as usize == old && it.state == "dead")
        };
        while !is_dead() {
            assert!(Instant::now() < limit, "node {node} takes it for alive");
            thread::sleep(Duration::from_millis(20));
        }
    }
    place.ok(&["resume", &old.to_string()]);
    place.ok(&["wait", "--equal", "--leader"]);
    assert!(place.node(old).get("without").unwrap().is_some());
}

#[test]
fn all_processes_killed_at_once_lose_nothing() {
    let place = Place::of_nodes();
    place.up(3, &[]);
    let outcomes: Vec<_> =
        (0..20).map(|at| place.alice().put(format!("k{at}"), "v").unwrap()).collect();
    place.ok(&["kill", "0", "1", "2"]);
    place.ok(&["revive", "--all"]);
    place.ok(&["wait", "--leader"]);
    for outcome in outcomes {
        let now = place.client().tx(outcome.id).unwrap();
        assert_eq!((now.height, now.block_hash), (outcome.height, outcome.block_hash));
    }
}

/// Numbers that look random and follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// Puts one key after the other until told to stop; returns what was acknowledged, and the keys of what nodes said
/// had come to nothing.
fn write(place: &Place, writer: usize, stop: &AtomicBool) -> (Vec<Outcome>, Vec<String>) {
    let (alice, mut acknowledged, mut refused) = (place.alice(), Vec::new(), Vec::new());
    for at in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{writer}/{at}");
        match alice.put(key.clone(), "v") {
            Ok(outcome) => acknowledged.push(outcome),
            // It may stand or not, but once.
            Err(Error::Unknown { .. }) => {}
            Err(Error::NoNode { .. }) => refused.push(key),
            Err(Error::Refused { problem, .. }) if problem.nothing_happened() => refused.push(key),
            Err(error) => panic!("{error}"),
        }
    }
    (acknowledged, refused)
}

/// Starts a node again after a pause, while others go on. It may be killed before it answers, or be found to run.
fn revive_later(place: &Arc<Place>, node: usize, pause: Duration) -> thread::JoinHandle<()> {
    let place = Arc::clone(place);
    thread::spawn(move || {
        thread::sleep(pause);
        let ended = place.run(&["revive", &node.to_string()]);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() || said.contains("was killed by signal 9"), "{said}");
    })
}

/// A node that runs, once one does.
fn some_running(place: &Place, dice: &mut Dice) -> usize {
    loop {
        let nodes = place.testnet().nodes;
        let runs = |at: &usize| nodes[*at].state == TestnetNodeState::Running;
        let running: Vec<_> = (0..nodes.len()).filter(runs).collect();
        if !running.is_empty() {
            return running[dice.below(running.len() as u64) as usize];
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Every transaction of the chain, with the heights at which it stands, as one node has them.
fn transactions(place: &Place, node: usize) -> BTreeMap<TxId, Vec<Height>> {
    let client = place.node(node);
    let mut found: BTreeMap<TxId, Vec<Height>> = BTreeMap::new();
    for height in 1..=client.height().unwrap().height.get() {
        let block = client.block(Height::new(height)).unwrap();
        for id in &block.txs {
            found.entry(id.as_str().unwrap().parse().unwrap()).or_default().push(block.height);
        }
    }
    found
}

#[test]
fn a_crash_every_300_ms_under_load_loses_and_doubles_nothing() {
    const KILLS: usize = 100;
    let seed = std::env::var("QUORATE_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let place = Arc::new(Place::of_nodes());
    place.up(5, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (place, stop) = (Arc::clone(&place), Arc::clone(&stop));
            thread::spawn(move || write(&place, writer, &stop))
        })
        .collect();
    let (begun, mut revivals) = (Instant::now(), Vec::new());
    for _ in 0..KILLS {
        let victim = some_running(&place, &mut dice);
        place.ok(&["kill", &victim.to_string()]);
        revivals.push(revive_later(&place, victim, Duration::from_millis(dice.below(400))));
        thread::sleep(Duration::from_millis(dice.below(600)));
    }
    let took = begun.elapsed();
    revivals.into_iter().for_each(|revival| revival.join().unwrap());
    place.ok(&["revive", "--all"]);
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for writer in writers {
        let told = writer.join().unwrap();
        acknowledged.extend(told.0);
        refused.extend(told.1);
    }
    place.ok(&["wait", "--leader", "--equal", "--timeout", "60s"]);
    place.ok(&["assert", "same-hash", "--nodes", "0,1,2,3,4"]);
    let (good, bad) = (acknowledged.len(), refused.len());
    println!("{KILLS} kills in {took:?}, {good} acknowledged, {bad} refused");
    // Enough to lose or double something.
    assert!(good >= KILLS, "{good} acknowledged");
    // Every kill met a node that lived, and nothing else ended one.
    let told = std::fs::read_to_string(place.dir.join("supervisor.log")).unwrap();
    let deaths: Vec<_> = told.lines().filter(|line| line.contains(" is dead: ")).collect();
    assert_eq!(deaths.len(), KILLS);
    assert!(deaths.iter().all(|death| death.contains("signal: 9")), "{deaths:#?}");
    for key in refused {
        assert!(
            place.client().get(&key).unwrap().is_none(),
            "{key} was said to have come to nothing"
        );
    }
    let found = transactions(&place, 0);
    assert!(found.values().all(|heights| heights.len() == 1), "something stands twice");
    for node in 1..5 {
        assert!(transactions(&place, node) == found, "node {node} has others than node 0");
    }
    for outcome in acknowledged {
        assert_eq!(outcome.status, TxStatus::Applied);
        assert_eq!(found.get(&outcome.id), Some(&vec![outcome.height.unwrap()]), "{}", outcome.id);
    }
}

#[test]
fn a_minority_that_is_parted_from_the_rest_commits_nothing_and_takes_over_what_they_have() {
    let place = Place::of_nodes();
    place.up(5, &[]);
    let old = place.leader();
    let rest: Vec<_> = (0..5).filter(|node| *node != old).collect();
    let with_it = rest[0];
    let group =
        |nodes: &[usize]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (few, many) = (group(&[old, with_it]), group(&rest[1..]));
    place.ok(&["partition", &format!("{few}/{many}")]);
    place.ok(&["wait", "--new-leader", &old.to_string(), "--nodes", &many]);
    let before = place.node(old).height().unwrap().height;
    // The old leader has nobody but one: what it is told comes to nothing there, whoever tells it.
    let key = KeyFile::read(&place.testnet().keys["bob"]).unwrap().into_secret();
    let wait = Wait { level: Level::Applied, timeout: Duration::from_secs(1) };
    let lonely = place.node(old).account(key).waiting(wait).put("parted/few", "v");
    assert!(lonely.is_err(), "{lonely:?}");
    let there = Client::new(&place.testnet().nodes[rest[1]].api).unwrap();
    let key = KeyFile::read(&place.testnet().keys["alice"]).unwrap().into_secret();
    let alice = there.account(key).waiting(common::patient());
    (0..10).for_each(|at| drop(alice.put(format!("parted/{at}"), "v").unwrap()));
    assert_eq!(place.node(old).height().unwrap().height, before, "two of five commit nothing");
    let height = there.height().unwrap().height.to_string();
    place.ok(&["heal"]);
    place.ok(&["wait", "--height", &height, "--equal", "--leader"]);
    place.ok(&["assert", "same-hash", "--nodes", "0,1,2,3,4"]);
    assert!(place.node(old).get("parted/9").unwrap().is_some());
    place.fails(2, &["partition", "0,1/1,2"]);
    place.fails(2, &["isolate", "7"]);
}

#[test]
fn a_slow_node_holds_up_nobody() {
    let place = Place::of_nodes();
    place.up(3, &[]);
    let slow = (place.leader() + 1) % 3;
    let name = slow.to_string();
    place.ok(&["slow", &name, "--net", "100ms", "--disk", "50ms"]);
    let alice = place.alice();
    let outcomes: Vec<_> = (0..20).map(|at| alice.put(format!("k{at}"), "v").unwrap()).collect();
    let height = outcomes[19].height.unwrap().to_string();
    place.ok(&["slow", &name, "--off"]);
    place.ok(&["wait", "--height", &height, "--equal"]);
    place.fails(2, &["slow", &name]);
}

#[test]
fn a_node_whose_disk_says_no_ends_and_comes_back() {
    let place = Place::of_nodes();
    place.up(3, &[]);
    let alice = place.alice();
    let is_dead = |node: usize| place.testnet().nodes[node].state == TestnetNodeState::Dead;
    let failures: [&[&str]; 4] = [
        &["--error", "eio", "--calls", "syncs"],
        &["--error", "eio", "--calls", "writes"],
        &["--error", "enospc"],
        &["--torn"],
    ];
    for (at, failure) in failures.into_iter().enumerate() {
        let (node, name) = (at % 3, (at % 3).to_string());
        place.ok(&[&["disk", &name], failure].concat());
        let write = || alice.update(format!("k{at}"), "v").unwrap();
        common::eventually("the node ends", || {
            let outcome = write();
            assert_eq!(outcome.status, TxStatus::Applied);
            is_dead(node)
        });
        // Torn, it is killed in the write; else it says what its disk has said, and ends with that.
        let how = if failure == ["--torn"] { "signal: 9" } else { "exit status: 9" };
        let deaths = || -> Vec<String> {
            let told = std::fs::read_to_string(place.dir.join("supervisor.log")).unwrap();
            let dies = |line: &&str| line.contains(&format!("node{node} is dead: "));
            told.lines().filter(dies).map(str::to_owned).collect()
        };
        // It is told after it can be seen.
        common::eventually("its death is told", || deaths().len() > at / 3);
        let last = deaths().pop().unwrap();
        assert!(last.contains(how), "{failure:?}: {last}");
        place.ok(&["revive", &name]);
        place.ok(&["wait", "--leader", "--equal", "--nodes", "0,1,2"]);
    }
    // A node that hangs writes nothing between the two orders.
    for order in
        [&["pause", "0"][..], &["disk", "0", "--torn"], &["disk", "0", "--off"], &["resume", "0"]]
    {
        place.ok(order);
    }
    alice.update("k", "v").unwrap();
    place.ok(&["wait", "--equal"]);
    assert!(!is_dead(0));
    place.fails(2, &["disk", "0"]);
}

#[test]
fn leadership_goes_to_the_node_that_is_named() {
    let place = Place::of_nodes();
    place.up(3, &[]);
    let next = (place.leader() + 1) % 3;
    place.ok(&["leader", &next.to_string()]);
    assert_eq!(place.leader(), next);
    place.ok(&["leader", &next.to_string()]);
    let dead = (next + 1) % 3;
    place.ok(&["kill", &dead.to_string()]);
    place.fails(6, &["leader", &dead.to_string(), "--timeout", "2s"]);
    place.fails(2, &["leader", "3"]);
    // It lacks a block, so another one is elected first.
    place.alice().put("without", "it").unwrap();
    place.ok(&["down"]);
    place.up(3, &["--leader", &dead.to_string()]);
    assert_eq!(place.leader(), dead);
}

#[test]
fn whatever_goes_wrong_at_once_no_promise_is_broken() {
    let place = Place::of_nodes();
    place.up(5, &[]);
    let page = place.dir.join("chaos.html");
    let arguments = ["chaos", "--minutes", "0.3", "--seed", "1", "--output", "json", "--report"];
    let line = place.ok(&[&arguments[..], &[page.to_str().unwrap()]].concat());
    let report: Value = serde_json::from_str(&line).unwrap();
    println!("{report}");
    assert_eq!(report["violations"], serde_json::json!([]));
    assert!(
        report["faults"].as_u64().unwrap() > 0 && report["writes"]["applied"].as_u64() > Some(0)
    );
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
    assert!(!page.contains("<script") && !page.contains("http"), "it needs nothing but itself");
    // The testnet that was there still is, and all is well.
    place.ok(&["wait", "--leader", "--equal", "--nodes", "0,1,2,3,4"]);
}

/// Kills some node that runs, as nobody does who keeps to the rules.
fn murder(place: &Place, turn: usize) {
    let nodes = place.testnet().nodes;
    let pids: Vec<_> = nodes.iter().filter_map(|node| node.pid).collect();
    let pid = pids.get(turn % pids.len().max(1)).and_then(|pid| i32::try_from(*pid).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[test]
fn chaos_that_finds_something_wrong_says_so_and_keeps_everything() {
    let place = Place::of_nodes();
    place.up(3, &[]);
    let page = place.dir.join("chaos.html");
    let arguments = ["chaos", "--minutes", "0.1", "--seed", "2", "--report"];
    let mut chaos = place.command(&[&arguments[..], &[page.to_str().unwrap()]].concat());
    let mut chaos = chaos.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(chaos.stderr.take().unwrap());
    let mut begun = String::new();
    errors.read_line(&mut begun).unwrap();
    assert!(begun.starts_with("chaos with seed 2"), "{begun}");
    // Some of them may be those that were to be killed anyway.
    for turn in 0..4 {
        thread::sleep(Duration::from_millis(700));
        murder(&place, turn);
    }
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    let (output, errors) = (chaos.wait_with_output().unwrap(), rest);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(8), "{said}{errors}");
    assert!(said.contains("VIOLATIONS") && said.contains("has ended by itself"), "{said}");
    assert!(errors.contains("broken promises: ") && errors.contains("is kept in "), "{errors}");
    let history = std::fs::read_to_string(place.dir.join("chaos-history.jsonl")).unwrap();
    let operation: Value = serde_json::from_str(history.lines().next().unwrap()).unwrap();
    assert!(operation["begin"].is_u64(), "{operation}");
    assert!(page.exists() && place.dir.join("node0").is_dir());
}

#[test]
fn a_new_testnet_whose_port_is_taken_leaves_nothing_behind() {
    let place = Place::of_nodes();
    let testnet = place.up(1, &[]);
    place.ok(&["down"]);
    let port = testnet.nodes[0].api.rsplit(':').next().unwrap();
    // If somebody else was quicker, it is taken as well.
    let _listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}"));
    let taken = format!("port {port} of 127.0.0.1 is taken");
    assert!(place.fails(3, &["up", "--detach"]).contains(&taken));
    assert!(place.dir.join("genesis.json").exists(), "one that was there stays");
    let fresh = ["up", "--detach", "--fresh", "-n", "1", "--p2p-port", "0", "--api-port", port];
    assert!(place.fails(3, &fresh).contains(&taken));
    assert!(place.dir.join("genesis.json").exists(), "it is not deleted for one that cannot start");
    place.ok(&["down", "--purge"]);
    assert!(!place.dir.exists());
    assert!(place.fails(3, &fresh).contains(&taken));
    assert!(!place.dir.exists());
}

#[test]
fn what_happens_is_told_in_plain_lines() {
    let place = Place::of_nodes();
    let arguments = ["up", "-n", "4", "--api-port", "0", "--p2p-port", "0"];
    let mut up = place.command(&arguments);
    let mut up = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let banner = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    let banner: Vec<_> = banner.take_while(|line| line != "(Ctrl-C ends it)").collect();
    let first = format!("first: export QUORATE_TESTNET={}", place.dir.display());
    assert!(banner.contains(&first), "{banner:#?}");
    for said in
        ["4 validators in ", "a quorum is 3 of 4, so one may fail; 3 would bear as many", "bob.key"]
    {
        assert!(banner.iter().any(|line| line.contains(said)), "{said}: {banner:#?}");
    }
    let mut told = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut until = |said: &str| told.find(|line| line.contains(said)).unwrap();
    until(" leads term ");
    let old = place.leader();
    place.ok(&["kill", &old.to_string()]);
    until(&format!("node{old} is dead"));
    let line = until(" leads term ");
    assert!(line.contains(" with votes of node") && line.contains("; 0 blocks lost"), "{line}");
    place.ok(&["revive", "--all"]);
    until(&format!("node{old} is in step at height "));
    place.ok(&["down"]);
    until("the testnet is ended by order");
    // How nodes end that are ended is no news.
    assert_eq!(told.next(), None);
    assert!(up.wait().unwrap().success());
}
