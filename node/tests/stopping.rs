//! How a process is told to stop: it answers who waits, and ends well.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::process::{PATIENCE, Process, until};
use quorate_chain::crypto::SecretKey;
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::Nonce;
use quorate_chain::transaction::{Operation, Transaction};
use quorate_client::answer::Status;
use quorate_node::config::Config;
use rustix::process::{Pid, Signal, kill_process};

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("start").arg("--home").arg(home);
    command
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn terminate(child: &Child) {
    signal(child, Signal::TERM);
}

fn ended(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "it does not stop");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_listens_is_told_and_the_process_ends_well() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    common::home(&home, 0, &common::genesis(1), &common::config());
    let mut node = Process::start(&mut command(&home));
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    terminate(&node.child);
    // To its end, which is not an error.
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "cut off: {rest}");
    let status = ended(&mut node.child);
    assert!(status.success(), "{status}");
}

/// The genesis is one that nobody ever writes: the start hangs where it reads it.
#[test]
fn a_start_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    common::home(&home, 0, &common::genesis(1), &common::config());
    let genesis = home.join("genesis.json");
    fs::remove_file(&genesis).unwrap();
    assert!(Command::new("mkfifo").arg(&genesis).status().unwrap().success());
    let mut node = command(&home).stdin(Stdio::null()).spawn().unwrap();
    // It can be opened for writing once the node reads.
    let writer = OpenOptions::new().write(true).open(&genesis).unwrap();
    terminate(&node);
    let status = ended(&mut node);
    drop(writer);
    assert!(status.success(), "{status}");
}

/// The request of a client that waits long for its answer.
fn ask(address: &str, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{head} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// Alone of three, and patient: it waits for the others for longer than any test.
#[test]
fn who_waits_for_a_leader_is_told_that_the_node_stops() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let genesis = common::genesis(3);
    let config = Config { election_timeout: PATIENCE, ..common::config() };
    common::home(&home, 0, &genesis, &config);
    let mut node = Process::start(&mut command(&home));
    let secret = SecretKey::from_seed(&[100; 32]);
    let transaction = Transaction {
        chain_id: Genesis::chain_id(&genesis.to_file()),
        sender: secret.account_key(),
        nonce: Nonce::new(0),
        expires: None,
        approvers: Vec::new(),
        operations: vec![Operation::Put {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
        }],
    };
    let transaction = transaction.sign(&secret).unwrap();
    let waiting = [
        ask(&node.address, "POST /v1/txs?timeout=60s", transaction.bytes()),
        ask(&node.address, "GET /v1/state/k", b""),
    ];
    // They came first, so they are waiting when others have been answered.
    let client = node.client();
    (0..20).for_each(|_| drop(client.status().unwrap()));
    terminate(&node.child);
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains(r#""code":"stopping""#), "{answer}");
    }
    let status = ended(&mut node.child);
    assert!(status.success(), "{status}");
}

/// Three validators in processes of their own, and the place of the one that leads.
fn three(directory: &Path) -> (Vec<Process>, usize) {
    let ports = common::free_ports(3);
    let genesis = common::genesis_at(&ports.iter().copied().map(Some).collect::<Vec<_>>());
    let home = |at: usize| -> PathBuf { directory.join(format!("node{at}")) };
    let nodes: Vec<_> = (0..3_u8)
        .zip(&ports)
        .map(|(at, port)| {
            let config = Config { p2p_listen: common::address(*port), ..common::config() };
            common::home(&home(at.into()), at, &genesis, &config);
            Process::start(&mut command(&home(at.into())))
        })
        .collect();
    let clients: Vec<_> = nodes.iter().map(Process::client).collect();
    let mut leads = None;
    until("all name one leader", || {
        let told: Vec<Status> = clients.iter().map(|client| client.status().unwrap()).collect();
        let same = told.iter().all(|status| status.leader == told[0].leader);
        leads = told[0].leader.filter(|_| same);
        leads.is_some()
    });
    (nodes, usize::try_from(leads.unwrap().get()).unwrap())
}

/// A leader whose followers hang waits for one of them to take over, but not when it is told again.
#[test]
fn who_is_told_again_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (mut nodes, leads) = three(directory.path());
    let followers = (0..3).filter(|at| *at != leads);
    followers.for_each(|at| signal(&nodes[at].child, Signal::STOP));
    let leader = &mut nodes[leads];
    // Signals that follow each other too fast are one.
    until("it stops", || {
        terminate(&leader.child);
        thread::sleep(Duration::from_millis(20));
        leader.child.try_wait().unwrap().is_some()
    });
    let status = ended(&mut leader.child);
    assert!(status.success(), "{status}");
    let said = leader.last_words();
    assert!(said.contains("told to stop again: stopped at once"), "{said}");
}
