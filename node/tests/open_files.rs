//! Clients that take all the files that a process may have open: a real process, since each has its own
//! limit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate_chain::crypto::SecretKey;
use quorate_client::Client;
use quorate_node::config::Config;

/// Long enough for any machine: what is waited for comes, or is a bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
struct Process {
    child: Child,
    /// Where it serves clients, by its own word.
    address: String,
    /// What it said before.
    said: String,
}

impl Process {
    /// Starts the node of a home in a process with a limit.
    fn start(limit: &str, home: &Path) -> Self {
        let script = format!("ulimit {limit}; exec \"$0\" start --home \"$1\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_quorate")])
            .arg(home)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("it has ended: {said}") };
            if let Some(rest) = line.split("api=").nth(1).filter(|_| line.contains("started")) {
                break rest.split(' ').next().unwrap().to_owned();
            }
            said.push_str(&line);
        };
        // What it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, said }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn connections_alone_do_not_end_a_node() {
    // Few at first with more to be had, as is usual; and few for good.
    for (limit, connections, are_few) in [("-Sn 1024", 1_000, false), ("-n 192", 300, true)] {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let config = Config { api_header_timeout: Duration::from_secs(5), ..common::config() };
        common::home(&home, 0, &common::genesis(1), &config);
        let mut node = Process::start(limit, &home);
        assert_eq!(node.said.contains("api.connections"), are_few, "{}", node.said);
        let idle: Vec<TcpStream> = (0..connections).map(|_| node.connect()).collect();
        // More at a time than have read so far.
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for path in ["/v1/state?consistency=local", "/v1/blocks", "/v1/validators"] {
                        let answer = node.get(path);
                        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
                    }
                });
            }
        });
        let client = Client::new(&format!("http://{}", node.address)).unwrap();
        let account = client.with_timeout(PATIENCE).account(SecretKey::from_seed(&[9; 32]));
        account.put("k", "v").unwrap();
        drop(idle);
        assert_eq!(node.child.try_wait().unwrap(), None);
    }
}
