//! A node in a process of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorate_client::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Long enough for any machine: what is waited for comes, or is a bug.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Ends a process when this one is gone, however that ends: what one test holds for all others is never dropped.
struct Guard(Child);

impl Guard {
    /// It reads from a pipe that is closed then.
    fn of(child: &Child) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r _; kill -9 \"$0\""]).arg(child.id().to_string());
        Self(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// A process that ends with the test.
pub(crate) struct Process {
    guard: Option<Guard>,
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
        let guard = Some(Guard::of(&child));
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
        Self { guard, child, address, said, later: Some(later) }
    }

    /// Starts the node of a home.
    pub(crate) fn of_home(home: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        Self::start(command.arg("start").arg("--home").arg(home).env_clear())
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
        drop(self.guard.take());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First: once nobody waits for the process, its number may be another's.
        drop(self.guard.take());
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Raises how many files this process, and those that it starts, may have open.
pub(crate) fn raise_open_files(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let enough = maximum.is_none_or(|most| most >= wanted);
        assert!(enough, "this test opens {wanted} files, and the hard limit is {maximum:?}");
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
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
