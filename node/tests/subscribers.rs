//! Far more subscribers than there may be: a real process, whose memory can be looked at.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use common::process::{PATIENCE, Process, raise_open_files};
use quorate_chain::crypto::SecretKey;
use quorate_node::config::Config;

const SUBSCRIBERS: usize = 10_000;
/// Besides the subscribers: what the test itself and its clients have open.
const OTHERS: usize = 200;
/// What the node may have grown by, for each that asked, in bytes.
const EACH: u64 = 16 << 10;

/// One that asks to be told of every block.
fn subscribe(node: &Process) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /v1/events?topics=block HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    BufReader::with_capacity(512, stream)
}

fn line(of: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    assert_ne!(of.read_line(&mut line).unwrap(), 0, "it was cut off");
    line
}

#[test]
fn ten_thousand_are_served_or_refused_and_those_who_are_served_miss_nothing() {
    raise_open_files((SUBSCRIBERS + 2 * OTHERS) as u64);
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let config = Config { api_connections: SUBSCRIBERS + OTHERS, ..common::config() };
    common::home(&home, 0, &common::genesis(1), &config);
    let mut node = Process::of_home(&home);
    let account = node.client().account(SecretKey::from_seed(&[8; 32]));
    account.put("before", "v").unwrap();
    let before = node.resident();

    let all: Vec<_> = (0..SUBSCRIBERS).map(|_| subscribe(&node)).collect();
    let mut served = Vec::new();
    for mut one in all {
        match line(&mut one).as_str() {
            "HTTP/1.1 200 OK\r\n" => served.push(one),
            status => assert_eq!(status, "HTTP/1.1 429 Too Many Requests\r\n"),
        }
    }
    assert_eq!(served.len(), config.api_subscribers);
    let grown = node.resident().saturating_sub(before);
    assert!(grown < EACH * SUBSCRIBERS as u64, "by {grown} bytes");

    let height = account.put("after", "v").unwrap().height.unwrap();
    let told = format!("\"height\":{height},");
    for one in &mut served {
        while !line(one).contains(&told) {}
    }
    // Who goes makes room.
    drop(served.pop());
    let again = || line(&mut subscribe(&node)).contains("200");
    common::process::until("there is room for one more", again);
    assert_eq!(node.child.try_wait().unwrap(), None);
}
