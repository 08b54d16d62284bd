//! Clients that take all the files that a process may have open: a real process, since each has its own
//! limit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::process::{PATIENCE, Process};
use quorate_chain::crypto::SecretKey;
use quorate_node::config::Config;

/// Starts the node of a home in a process with a limit.
fn start(limit: &str, home: &Path) -> Process {
    let script = format!("ulimit {limit}; exec \"$0\" start --home \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_quorate")]).arg(home);
    Process::start(&mut command)
}

fn connect(node: &Process) -> TcpStream {
    let stream = TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn get(node: &Process, path: &str) -> String {
    let mut stream = connect(node);
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn connections_alone_do_not_end_a_node() {
    // Few at first with more to be had, as is usual; and few for good.
    for (limit, connections, are_few) in [("-Sn 1024", 1_100, false), ("-n 192", 300, true)] {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let config = Config { api_header_timeout: Duration::from_secs(2), ..common::config() };
        common::home(&home, 0, &common::genesis(1), &config);
        let mut node = start(limit, &home);
        assert_eq!(node.said.contains("api.connections"), are_few, "{}", node.said);
        let idle: Vec<TcpStream> = (0..connections).map(|_| connect(&node)).collect();
        // More at a time than have read so far.
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for path in ["/v1/state?consistency=local", "/v1/blocks", "/v1/validators"] {
                        let answer = get(&node, path);
                        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
                    }
                });
            }
        });
        let account = node.client().account(SecretKey::from_seed(&[9; 32]));
        account.put("k", "v").unwrap();
        drop(idle);
        assert_eq!(node.child.try_wait().unwrap(), None);
    }
}
