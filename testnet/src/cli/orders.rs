//! What is done to a running testnet: `down`, `status`, `kill`, `revive`, `pause`, `resume`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use quorate_client::{Testnet, TestnetNode};
use quorate_node::exit::{Exit, Failure};
use quorate_node::stderr;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Output, json, ordered, print, running};
use crate::directory::Directory;
use crate::lock::Lock;
use crate::options::At;
use crate::supervisor::control::{self, Order};
use crate::supervisor::{all, statuses};

/// How long nodes that have lost their supervisor may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// End the testnet; its directory stays, and `up` goes on with it.
#[derive(Debug, clap::Args)]
pub(super) struct Down {
    #[command(flatten)]
    at: At,
    /// Delete the directory too.
    #[arg(long)]
    purge: bool,
}

/// Show the nodes and how they fare.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    at: At,
}

/// Which nodes something is done to.
#[derive(Debug, clap::Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    at: At,
    /// The numbers of the nodes, such as 0 2 or 0,2.
    #[arg(required = true, value_delimiter = ',', value_name = "NODE")]
    nodes: Vec<u16>,
}

/// Start dead nodes again, in their homes as they are.
#[derive(Debug, clap::Args)]
pub(super) struct Revive {
    #[command(flatten)]
    at: At,
    /// The numbers of the nodes, such as 0 2 or 0,2.
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_delimiter = ',',
        value_name = "NODE"
    )]
    nodes: Vec<u16>,
    /// All that are dead.
    #[arg(long)]
    all: bool,
}

impl Nodes {
    pub(super) fn run(
        self,
        output: Output,
        order: impl FnOnce(Vec<u16>) -> Order,
    ) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        ordered(&directory, &order(self.nodes), output)
    }
}

impl Revive {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        ordered(&directory, &Order::Revive { nodes: self.nodes }, output)
    }
}

impl Down {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        let told = control::is_running(&directory)
            && control::order(&directory, &Order::Down).is_ok()
            && !directory.testnet_file().exists();
        // A supervisor that has ended in order takes the file away; one that was killed, be it while
        // it was told, leaves the file and the nodes.
        let ended = if told { Ok(()) } else { abandoned(&directory) };
        match ended {
            Err(failure) if !(self.purge && failure.exit == Exit::NoNode) => return Err(failure),
            Ok(()) | Err(_) => {}
        }
        let dir = directory.root().display();
        let left = if !directory.root().exists() {
            format!("there is no {dir}")
        } else if self.purge {
            Lock::take(&directory)?.delete()?;
            format!("{dir} is deleted")
        } else {
            format!("{dir} stays, and `up` goes on with it")
        };
        if output == Output::Text {
            stderr::line(format_args!("ended; {left}"));
        }
        Ok(())
    }
}

/// Ends what a supervisor has left behind that was killed.
fn abandoned(directory: &Directory) -> Result<(), Failure> {
    let testnet = running(directory)?;
    let left: Vec<_> = testnet.nodes.iter().filter_map(process).collect();
    for signal in [Signal::TERM, Signal::CONT] {
        for pid in &left {
            // One that has ended meanwhile is what we want.
            let _ = kill_process(*pid, signal);
        }
    }
    let end = Instant::now() + ENDING;
    while is_alive(&testnet) {
        if Instant::now() > end {
            for pid in testnet.nodes.iter().filter_map(process) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = std::fs::remove_file(directory.socket());
    std::fs::remove_file(directory.testnet_file()).map_err(|error| {
        Failure::new(Exit::Storage, format!("{}: {error}", directory.testnet_file().display()))
    })
}

/// Whether some node of a testnet runs, whoever holds it together.
pub(super) fn is_alive(testnet: &Testnet) -> bool {
    testnet.nodes.iter().any(|node| process(node).is_some())
}

/// A node's process, if the one that has its number still is the node: it names the home.
fn process(node: &TestnetNode) -> Option<Pid> {
    let pid = node.pid?;
    let arguments = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    let home = node.home.as_os_str().as_encoded_bytes();
    let names_home = arguments.split(|byte| *byte == 0).any(|argument| argument == home);
    if names_home { Pid::from_raw(i32::try_from(pid).ok()?) } else { None }
}

impl Status {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let directory = Directory::new(self.at.dir()?)?;
        let testnet = running(&directory)?;
        match output {
            Output::Json => print(&(with_status(&testnet)? + "\n")),
            Output::Text => print(&table(&testnet)),
        }
    }
}

/// The testnet as JSON, with what `/v1/status` says in each node.
fn with_status(testnet: &Testnet) -> Result<String, Failure> {
    let bug = |error: serde_json::Error| Failure::new(Exit::Bug, error);
    let bodies = all(&testnet.nodes, |client| {
        serde_json::from_str::<Value>(&client.body("/v1/status").ok()?).ok()
    });
    let mut value = serde_json::to_value(testnet).map_err(bug)?;
    let nodes = value.get_mut("nodes").and_then(Value::as_array_mut);
    for (node, body) in nodes.into_iter().flatten().zip(bodies) {
        if let Some(node) = node.as_object_mut() {
            node.insert("status".to_owned(), body.unwrap_or(Value::Null));
        }
    }
    json(&value)
}

/// A table for people. Scripts under `scenarios/` read its columns too.
fn table(testnet: &Testnet) -> String {
    let mut out = format!(
        "{:<8} {:<8} {:>8}  {:<10} {:>5} {:>8}  {:<10} api\n",
        "node", "state", "pid", "role", "term", "height", "sees"
    );
    for (node, status) in testnet.nodes.iter().zip(statuses(&testnet.nodes)) {
        let none = || "-".to_owned();
        let pid = node.pid.map_or_else(none, |pid| pid.to_string());
        let (role, term, height, sees) = status.map_or_else(
            || (none(), none(), none(), none()),
            |status| {
                let sees: Vec<_> = status.live_peers.iter().map(ToString::to_string).collect();
                let sees = if sees.is_empty() { "nobody".to_owned() } else { sees.join(",") };
                (status.role, status.term.to_string(), status.height.to_string(), sees)
            },
        );
        let TestnetNode { name, state, api, .. } = node;
        out.push_str(&format!(
            "{name:<8} {state:<8} {pid:>8}  {role:<10} {term:>5} {height:>8}  {sees:<10} {api}\n"
        ));
    }
    out
}
