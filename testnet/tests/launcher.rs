//! The launcher with nodes that only pretend: every order has its effect when it returns.
//!
//! The pretended node is this program again: the test `a_node_that_pretends` serves if a home is given
//! to it.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{Place, eventually};
use quorate_client::TestnetNodeState;
use quorate_node::config::Config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const HOME: &str = "PRETEND_HOME";

#[test]
fn a_node_that_pretends() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let file = fs::read_to_string(home.join("config.toml")).unwrap();
    let config = Config::load(&file, [], []).unwrap();
    if home.join("BROKEN").exists() {
        eprintln!("the home is broken");
        std::process::exit(3);
    }
    if home.join("SILENT").exists() {
        std::thread::sleep(std::time::Duration::from_secs(3_600));
    }
    let listener = TcpListener::bind(config.api_listen).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_err() {
            continue;
        }
        let zeros = "0".repeat(64);
        let hash = if home.join("OTHER").exists() { "1".repeat(64) } else { zeros.clone() };
        let body = format!(
            r#"{{"version":"0","chain_id":"{zeros}","chain_name":"t","node_id":0,"name":"n","mode":"validator",
            "role":"follower","term":4,"leader":1,"height":7,"applied":7,"last_block_hash":"{zeros}","roster_hash":"{zeros}","quorum":2,
            "voters":3,"reachable":3,"live_peers":[],"peers":[],"hash":"{hash}"}}"#
        )
        .replace('\n', "");
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
    }
}

fn place() -> Place {
    Place::new("a_node_that_pretends", HOME)
}

fn states(place: &Place) -> Vec<TestnetNodeState> {
    place.testnet().nodes.iter().map(|node| node.state).collect()
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// One that has ended and is not reaped yet, which is not for us to do, no longer has arguments.
fn lives(number: u32) -> bool {
    fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}

use TestnetNodeState::{Dead, Paused, Running};

#[test]
fn orders_have_their_effect_when_they_return() {
    let place = place();
    let testnet = place.up(3, &[]);
    assert_eq!(testnet, place.testnet());
    assert_eq!((testnet.quorum, states(&place)), (2, vec![Running; 3]));
    assert!(testnet.nodes[2].p2p.contains("/p2p/12D3KooW"));
    assert!(testnet.keys["alice"].is_file() && testnet.genesis.is_file());

    place.ok(&["kill", "1", "2"]);
    assert_eq!(states(&place), [Running, Dead, Dead]);
    assert_eq!(place.testnet().nodes[1].pid, None);
    assert!(!lives(testnet.nodes[1].pid.unwrap()));
    place.ok(&["kill", "1"]);
    assert!(place.fails(7, &["disk", "1", "--torn"]).contains("node1 is dead; revive it first"));

    place.ok(&["revive", "1"]);
    assert_eq!(states(&place), [Running, Running, Dead]);
    place.ok(&["revive", "--all"]);
    assert_eq!(states(&place), [Running; 3]);

    place.ok(&["pause", "0"]);
    assert_eq!(states(&place), [Paused, Running, Running]);
    assert!(place.fails(7, &["revive", "0"]).contains("resume it instead"));
    place.ok(&["resume", "0"]);
    assert_eq!(states(&place), [Running; 3]);
    assert!(place.fails(2, &["kill", "3"]).contains("there is no node 3"));

    let status: Value = serde_json::from_str(&place.ok(&["status", "--output", "json"])).unwrap();
    assert_eq!(status["nodes"][0]["status"]["height"], 7);
    assert!(place.ok(&["status"]).contains("node2    running"));

    place.ok(&["wait", "--height", "7", "--leader", "--term", "4", "--new-leader", "0"]);
    for never in [&["--height", "8"], &["--new-leader", "1"], &["--term", "5"]] {
        place.fails(6, &[&["wait", "--timeout", "50ms"], &never[..]].concat());
    }
    let same: Value = serde_json::from_str(&place.ok(&["assert", "same-hash"])).unwrap();
    assert_eq!(same["nodes"], serde_json::json!([0, 1, 2]));
    let unread = place.fails(2, &["up", "--output", "json", "--bogus"]);
    let unread: Value = serde_json::from_str(&unread).unwrap();
    assert!(unread["detail"].as_str().unwrap().contains("--bogus"), "{unread}");
    fs::write(place.dir.join("node1/OTHER"), "").unwrap();
    let said = place.fails(8, &["assert", "same-hash"]);
    assert!(said.contains("at height 7 node0 has block 0000"), "{said}");

    place.ok(&["pause", "0", "1", "2"]);
    assert!(place.fails(4, &["assert", "same-hash"]).contains("no node runs"));
    let pids: Vec<_> = place.testnet().nodes.iter().filter_map(|node| node.pid).collect();
    place.ok(&["down"]);
    assert!(!place.dir.join("testnet.json").exists());
    assert!(!lives(testnet.supervisor_pid) && !pids.into_iter().any(lives));
}

#[test]
fn a_node_that_somebody_else_kills_is_dead_and_stays_so() {
    let place = place();
    let testnet = place.up(3, &[]);
    kill_process(pid(testnet.nodes[1].pid.unwrap()), Signal::KILL).unwrap();
    eventually("the death is seen", || states(&place) == [Running, Dead, Running]);
    kill_process(pid(testnet.nodes[0].pid.unwrap()), Signal::STOP).unwrap();
    eventually("the stop is seen", || states(&place) == [Paused, Dead, Running]);
}

#[test]
fn a_testnet_goes_on_where_it_was_unless_it_is_fresh() {
    let place = place();
    let first = place.up(3, &[]);
    assert!(place.fails(3, &["up", "--detach"]).contains("a testnet runs in"));
    place.ok(&["down"]);
    let second = place.up(3, &[]);
    assert_eq!(second.chain_id, first.chain_id);
    assert_eq!(second.nodes[1].api, first.nodes[1].api);
    place.ok(&["down"]);
    assert!(place.fails(3, &["up", "--detach", "-n", "4"]).contains("has 3 nodes, not 4"));
    let taken = TcpListener::bind(first.nodes[2].api.trim_start_matches("http://")).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(place.fails(3, &["up", "--detach"]).contains(&port));
    let arguments = ["up", "--detach", "--fresh", "-n", "2", "--api-port", "0", "--p2p-port", "0"];
    assert!(place.ok(&arguments).starts_with("2 validators"));
    assert_ne!(place.testnet().chain_id, first.chain_id);
    place.ok(&["down", "--purge"]);
    assert!(!place.dir.exists());
}

#[test]
fn without_a_testnet_orders_fail_with_4() {
    let place = place();
    for order in [
        &["down"][..],
        &["status"],
        &["kill", "0"],
        &["revive", "--all"],
        &["wait", "--leader"],
        &["assert", "same-hash"],
    ] {
        assert!(place.fails(4, order).starts_with("quorate testnet: no testnet runs in"));
        let problem = place.fails(4, &[order, &["--output", "json"]].concat());
        let problem: Value = serde_json::from_str(&problem).unwrap();
        assert!(problem["detail"].as_str().unwrap().starts_with("no testnet runs in"));
    }
}

#[test]
fn what_is_no_testnet_is_never_deleted() {
    let place = place();
    fs::create_dir(&place.dir).unwrap();
    fs::write(place.dir.join("letters.txt"), "dear").unwrap();
    for order in [&["up", "--detach", "--fresh"][..], &["up", "--detach"], &["init"]] {
        place.fails(3, order);
    }
    assert!(place.dir.join("letters.txt").exists());
}

#[test]
fn a_node_that_cannot_start_ends_the_start_with_its_own_words() {
    let place = place();
    place.ok(&["init", "-n", "3", "--api-port", "0", "--p2p-port", "0"]);
    fs::write(place.dir.join("node1/BROKEN"), "").unwrap();
    let said = place.fails(3, &["up", "--detach"]);
    assert!(said.contains("node1 ended with code 3: the home is broken"), "{said}");
    assert!(!place.dir.join("control.sock").exists());
}

#[test]
fn a_start_that_is_not_ready_in_time_says_who_is_not_and_leaves_nobody_behind() {
    let place = place();
    place.ok(&["init", "-n", "3", "--api-port", "0", "--p2p-port", "0"]);
    fs::write(place.dir.join("node1/SILENT"), "").unwrap();
    let said = place.fails(6, &["up", "--detach", "--timeout", "2s"]);
    assert!(said.contains("after 2 s not ready: node1"), "{said}");
    assert!(!place.dir.join("control.sock").exists());
    place.fails(4, &["status"]);
}

#[test]
fn a_node_that_does_not_come_back_is_blamed_and_not_another_one_that_is_dead() {
    let place = place();
    place.up(3, &[]);
    place.ok(&["kill", "0", "2"]);
    fs::write(place.dir.join("node2/BROKEN"), "").unwrap();
    let said = place.fails(3, &["revive", "2"]);
    assert!(said.contains("node2 ended with code 3: the home is broken"), "{said}");
}

#[test]
fn a_home_in_which_a_node_runs_is_not_deleted() {
    let place = place();
    place.ok(&["init", "-n", "2", "--api-port", "0", "--p2p-port", "0"]);
    let genesis = fs::read(place.dir.join("genesis.json")).unwrap();
    // As a node does that somebody has started by hand.
    let lock = fs::File::create(place.dir.join("node1/LOCK")).unwrap();
    lock.lock().unwrap();
    let new = ["-n", "2", "--api-port", "0", "--p2p-port", "0"];
    for order in [&["up", "--detach", "--fresh"][..], &["init", "--fresh"]] {
        let said = place.fails(3, &[order, &new].concat());
        assert!(said.contains("node1 is in use by process"), "{said}");
    }
    place.fails(3, &["down", "--purge"]);
    assert!(place.dir.join("node0/config.toml").exists());
    assert_eq!(fs::read(place.dir.join("genesis.json")).unwrap(), genesis);
    drop(lock);
    place.ok(&[&["init", "--fresh"][..], &new].concat());
    assert_ne!(fs::read(place.dir.join("genesis.json")).unwrap(), genesis);
    place.ok(&["down", "--purge"]);
    assert!(!place.dir.exists());
}

#[test]
fn of_two_that_start_a_testnet_at_once_one_does_and_the_other_leaves_it_alone() {
    let place = place();
    let arguments = ["up", "--detach", "--fresh", "-n", "3", "--api-port", "0", "--p2p-port", "0"];
    for _ in 0..3 {
        let start = || place.command(&arguments).stdout(Stdio::null()).spawn().unwrap();
        let mut ups = [start(), start()];
        let mut ends = ups.each_mut().map(|up| up.wait().unwrap().code());
        ends.sort_unstable();
        assert_eq!(ends, [Some(0), Some(3)]);
        assert_eq!(states(&place), [TestnetNodeState::Running; 3]);
        place.ok(&["kill", "1"]);
        place.ok(&["down"]);
    }
}

#[test]
fn launch_sh_finds_what_it_has_built_wherever_it_is_called() {
    let root = tempfile::tempdir().unwrap();
    let (programs, here) = (root.path().join("bin"), root.path().join("here"));
    fs::create_dir(&programs).unwrap();
    fs::create_dir(&here).unwrap();
    // A build that makes a launcher which says how it was called.
    let cargo = r#"#!/bin/sh
mkdir -p "$CARGO_TARGET_DIR/release"
printf '#!/bin/sh\necho "$QUORATE_BIN_DIR" "$@"\n' > "$CARGO_TARGET_DIR/release/quorate-testnet"
chmod +x "$CARGO_TARGET_DIR/release/quorate-testnet"
"#;
    fs::write(programs.join("cargo"), cargo).unwrap();
    fs::set_permissions(programs.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let launched = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/launch.sh"))
        .args(["-n", "3"])
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("CARGO_TARGET_DIR", "relative")
        .env_remove("QUORATE_BIN_DIR")
        .current_dir(&here)
        .output()
        .unwrap();
    let said = String::from_utf8(launched.stdout).unwrap();
    let here = here.canonicalize().unwrap();
    assert_eq!(said, format!("{}/relative/release up -n 3\n", here.display()));
}

#[test]
fn down_ends_what_a_killed_supervisor_has_left() {
    let place = place();
    let testnet = place.up(3, &[]);
    kill_process(pid(testnet.supervisor_pid), Signal::KILL).unwrap();
    eventually("the supervisor is gone", || !lives(testnet.supervisor_pid));
    let left = "was killed; `quorate testnet down` ends what it has left";
    assert!(place.fails(4, &["kill", "0"]).contains(left));
    assert!(place.fails(3, &["up", "--detach"]).contains(left));
    assert!(place.fails(3, &["up", "--detach", "--fresh"]).contains(left));
    place.ok(&["down"]);
    let left = testnet.nodes.iter().filter_map(|node| node.pid).any(lives);
    assert!(!left && !place.dir.join("testnet.json").exists());
}

#[test]
fn in_the_foreground_ctrl_c_ends_it_all() {
    let place = place();
    let arguments = ["up", "-n", "2", "--api-port", "0", "--p2p-port", "0"];
    let mut up: Child =
        place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("2 validators in "));
    let nodes = place.testnet().nodes;
    kill_process(pid(up.id()), Signal::INT).unwrap();
    assert!(up.wait().unwrap().success());
    assert!(!nodes.iter().filter_map(|node| node.pid).any(lives));
    assert!(!place.dir.join("testnet.json").exists());
}
