//! A node in a process of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorate_client::Client;

/// Long enough for any machine: what is waited for comes, or is a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// Where it serves clients, by its own word.
    pub(crate) address: String,
    /// What it said before.
    pub(crate) said: String,
    /// Takes what it says later, so that it never waits for a reader.
    later: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts a node and waits until it says where it serves.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("it has ended: {said}") };
            if let Some(rest) = line.split("api=").nth(1).filter(|_| line.contains("started")) {
                break rest.split(' ').next().unwrap().to_owned();
            }
            said.push_str(&line);
        };
        let later = thread::spawn(move || lines.map_while(Result::ok).collect());
        Self { child, address, said, later: Some(later) }
    }

    /// What it has said since it served, once it has ended.
    pub(crate) fn last_words(&mut self) -> String {
        self.later.take().unwrap().join().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of it, patient.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url()).unwrap().with_timeout(PATIENCE)
    }

    /// Its bytes in memory.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        thread::sleep(Duration::from_millis(2));
    }
}
