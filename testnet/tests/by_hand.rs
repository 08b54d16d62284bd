//! What people do by hand: keys at a terminal, the scripts, nodes in terminals of their own.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Place, eventually};
use quorate_client::{Client, TestnetNodeState};
use quorate_node::config::Config;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Not a test but a node, if a home is given to it.
#[test]
fn the_node() {
    common::be_a_node();
}

/// Somebody who sits at a terminal.
struct Terminal {
    keys: File,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    fn of(place: &Place, arguments: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize { ws_row: 40, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(name).unwrap();
        let mut command = place.command(arguments);
        command.stdin(theirs.try_clone().unwrap());
        command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
        let child = command.spawn().unwrap();
        // Else this process would hold the other end open, too.
        drop(command);
        let keys = File::from(ours);
        let (mut screen, shown) = (keys.try_clone().unwrap(), Arc::default());
        let seen: Arc<Mutex<String>> = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { keys, shown, child }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until something is shown that was not shown before, and takes it for seen.
    fn until(&self, said: &str) {
        let found = || {
            let mut shown = self.shown.lock().unwrap();
            let end = shown.find(said).map(|at| at + said.len());
            end.map(|end| drop(shown.drain(..end))).is_some()
        };
        eventually(said, found);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.shown.lock().unwrap());
        }
        // As at Ctrl-C: it ends its nodes first.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait()) {
            let _ = kill_process(pid, Signal::INT);
            let _ = self.child.wait();
        }
    }
}

#[test]
fn keys_kill_revive_pause_part_load_and_quit() {
    let place = Place::of_nodes();
    let arguments = ["up", "-n", "3", "--api-port", "0", "--p2p-port", "0"];
    let mut terminal = Terminal::of(&place, &arguments);
    let state = |node: usize| place.testnet().nodes[node].state;
    // It is told once, and the table is drawn again and again.
    terminal.until(" leads term ");
    terminal.until("heard");
    terminal.press("k 1\n");
    terminal.until("node1 is dead");
    eventually("it is dead", || state(1) == TestnetNodeState::Dead);
    terminal.until("2 of 3 run, 2 are needed: none may fail now");
    terminal.press("r\n");
    eventually("it is alive", || state(1) == TestnetNodeState::Running);
    terminal.press("p 2\n");
    eventually("it stands still", || state(2) == TestnetNodeState::Paused);
    terminal.press("p 2\n");
    eventually("it goes on", || state(2) == TestnetNodeState::Running);
    terminal.press("l\n");
    terminal.until("load: 1");
    terminal.press("l\n");
    terminal.press("x 0\n");
    terminal.until("nodes are parted: 0 | the rest");
    terminal.press("h\n");
    terminal.until("all nodes are joined");
    terminal.press("z 1\n");
    terminal.until("is no order");
    terminal.press("q");
    assert!(terminal.child.wait().unwrap().success());
    assert!(!place.dir.join("testnet.json").exists());
}

#[test]
fn a_story_is_told_and_the_testnet_that_was_started_is_ended() {
    let place = Place::of_nodes();
    let told = place.script("scenarios/node0_revive.sh").output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout);
    let wrong = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{said}{wrong}");
    assert!(said.contains("node0 is dead") && said.contains("node0 is back: a follower"), "{said}");
    let launch = ["--detach", "-n", "1", "--api-port", "0", "--p2p-port", "0"];
    assert!(place.script("launch.sh").args(launch).status().unwrap().success());
    assert!(place.dir.join("testnet.json").exists());
    let ended = place.script("stop.sh").output().unwrap();
    assert!(ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("ended; "));
    assert!(!place.dir.join("testnet.json").exists());
    // There is nothing left to end.
    assert_eq!(place.script("stop.sh").status().unwrap().code(), Some(4));
}

/// Processes that end with the test.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn homes_that_were_only_written_run_in_terminals_of_their_own() {
    let place = Place::of_nodes();
    place.ok(&["init", "-n", "3", "--api-port", "0", "--p2p-port", "0"]);
    assert!(!place.dir.join("testnet.json").exists());
    let homes: Vec<_> = (0..3).map(|node| place.dir.join(format!("node{node}"))).collect();
    let start = |home| {
        let mut node = place.node_in(home);
        node.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let _nodes = Processes(homes.iter().map(|home| start(home)).collect());
    let api = |home: &std::path::PathBuf| {
        let file = std::fs::read_to_string(home.join("config.toml")).unwrap();
        format!("http://{}", Config::load(&file, [], []).unwrap().api_listen)
    };
    let apis: Vec<_> = homes.iter().map(api).collect();
    let client = Client::new(&apis.join(",")).unwrap();
    eventually("they have a leader", || client.status().is_ok_and(|it| it.leader.is_some()));
    let key = quorate_client::KeyFile::read(&place.dir.join("keys/alice.key")).unwrap();
    let alice = client.account(key.into_secret()).waiting(common::patient());
    alice.put("by hand", "v").unwrap();
}
