//! The launcher with nodes that only pretend: every order has its effect when it returns.
//!
//! The pretended node is this program again. Where `quorate` is looked for stands a script that
//! calls it with the test `a_node_that_pretends`, which serves as long as a home is given to it.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use quorate_client::{Testnet, TestnetNodeState};
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
    let listener = TcpListener::bind(config.api_listen).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_err() {
            continue;
        }
        let zeros = "0".repeat(64);
        let body = format!(
            r#"{{"version":"0","chain_id":"{zeros}","chain_name":"t","node_id":0,"name":"n","mode":"validator",
            "role":"follower","term":4,"leader":1,"height":7,"applied":7,"last_block_hash":"{zeros}","quorum":2,
            "voters":3,"reachable":3,"live_peers":[],"peers":[],"hash":"{zeros}"}}"#
        )
        .replace('\n', "");
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
    }
}

/// A directory for a testnet, and one with a `quorate` that pretends. What runs there is ended with it.
struct Place {
    _root: tempfile::TempDir,
    dir: PathBuf,
    programs: PathBuf,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (dir, programs) = (root.path().join("t"), root.path().join("bin"));
        fs::create_dir(&programs).unwrap();
        let own = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\n{HOME}=\"$3\" exec \"{}\" --exact --nocapture a_node_that_pretends \"$3\"\n",
            own.display()
        );
        let program = programs.join("quorate");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { _root: root, dir, programs }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-testnet"));
        command.args(arguments).env("QUORATE_BIN_DIR", &self.programs);
        command.env("QUORATE_TESTNET", &self.dir);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns what it prints.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this code and returns what it says.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        errors
    }

    fn up(&self) -> Testnet {
        let ports = ["--api-port", "0", "--p2p-port", "0"];
        let line =
            self.ok(&[&["up", "--detach", "--output", "json", "-n", "3"], &ports[..]].concat());
        assert_eq!(line.lines().count(), 1);
        serde_json::from_str(&line).unwrap()
    }

    fn testnet(&self) -> Testnet {
        Testnet::in_dir(&self.dir).unwrap()
    }

    fn states(&self) -> Vec<TestnetNodeState> {
        self.testnet().nodes.iter().map(|node| node.state).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.run(&["down"]);
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not in time");
        thread::sleep(Duration::from_millis(10));
    }
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
    let place = Place::new();
    let testnet = place.up();
    assert_eq!(testnet, place.testnet());
    assert_eq!((testnet.quorum, place.states()), (2, vec![Running; 3]));
    assert!(testnet.nodes[2].p2p.contains("/p2p/12D3KooW"));
    assert!(testnet.keys["alice"].is_file() && testnet.genesis.is_file());

    place.ok(&["kill", "1", "2"]);
    assert_eq!(place.states(), [Running, Dead, Dead]);
    assert_eq!(place.testnet().nodes[1].pid, None);
    assert!(!lives(testnet.nodes[1].pid.unwrap()));
    place.ok(&["kill", "1"]);

    place.ok(&["revive", "1"]);
    assert_eq!(place.states(), [Running, Running, Dead]);
    place.ok(&["revive", "--all"]);
    assert_eq!(place.states(), [Running; 3]);

    place.ok(&["pause", "0"]);
    assert_eq!(place.states(), [Paused, Running, Running]);
    assert!(place.fails(7, &["revive", "0"]).contains("resume it instead"));
    place.ok(&["resume", "0"]);
    assert_eq!(place.states(), [Running; 3]);
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

    let pids: Vec<_> = place.testnet().nodes.iter().filter_map(|node| node.pid).collect();
    place.ok(&["down"]);
    assert!(!place.dir.join("testnet.json").exists());
    assert!(!lives(testnet.supervisor_pid) && !pids.into_iter().any(lives));
}

#[test]
fn a_node_that_somebody_else_kills_is_dead_and_stays_so() {
    let place = Place::new();
    let testnet = place.up();
    kill_process(pid(testnet.nodes[1].pid.unwrap()), Signal::KILL).unwrap();
    eventually("the death is seen", || place.states() == [Running, Dead, Running]);
    kill_process(pid(testnet.nodes[0].pid.unwrap()), Signal::STOP).unwrap();
    eventually("the stop is seen", || place.states() == [Paused, Dead, Running]);
}

#[test]
fn a_testnet_goes_on_where_it_was_unless_it_is_fresh() {
    let place = Place::new();
    let first = place.up();
    assert!(place.fails(3, &["up", "--detach"]).contains("a testnet runs in"));
    place.ok(&["down"]);
    let second = place.up();
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
    let place = Place::new();
    for order in [
        &["down"][..],
        &["status"],
        &["kill", "0"],
        &["revive", "--all"],
        &["wait", "--leader"],
        &["assert", "same-hash"],
    ] {
        assert!(place.fails(4, order).contains("no testnet runs in"));
    }
}

#[test]
fn what_is_no_testnet_is_never_deleted() {
    let place = Place::new();
    fs::create_dir(&place.dir).unwrap();
    fs::write(place.dir.join("letters.txt"), "dear").unwrap();
    for order in [&["up", "--detach", "--fresh"][..], &["up", "--detach"], &["init"]] {
        place.fails(3, order);
    }
    assert!(place.dir.join("letters.txt").exists());
}

#[test]
fn a_node_that_cannot_start_ends_the_start_with_its_own_words() {
    let place = Place::new();
    place.ok(&["init", "-n", "3", "--api-port", "0", "--p2p-port", "0"]);
    fs::write(place.dir.join("node1/BROKEN"), "").unwrap();
    let said = place.fails(3, &["up", "--detach"]);
    assert!(said.contains("node1 ended with code 3: the home is broken"), "{said}");
    assert!(!place.dir.join("control.sock").exists());
}

#[test]
fn down_ends_what_a_killed_supervisor_has_left() {
    let place = Place::new();
    let testnet = place.up();
    kill_process(pid(testnet.supervisor_pid), Signal::KILL).unwrap();
    eventually("the supervisor is gone", || !lives(testnet.supervisor_pid));
    place.ok(&["down"]);
    let left = testnet.nodes.iter().filter_map(|node| node.pid).any(lives);
    assert!(!left && !place.dir.join("testnet.json").exists());
}

#[test]
fn in_the_foreground_ctrl_c_ends_it_all() {
    let place = Place::new();
    let arguments = ["up", "-n", "2", "--api-port", "0", "--p2p-port", "0"];
    let mut up: Child =
        place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("2 validators in "));
    let nodes = place.testnet().nodes;
    kill_process(pid(up.id()), Signal::INT).unwrap();
    assert!(up.wait().unwrap().success());
    assert!(!nodes.iter().filter_map(|node| node.pid).any(lives));
    assert!(!Path::new(&place.dir).join("testnet.json").exists());
}
