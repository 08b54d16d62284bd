//! A testnet of processes in a directory of its own, ended with the test.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]
#![allow(dead_code, reason = "each test uses what it needs")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use quorate_client::{Account, Client, KeyFile, Level, Testnet, Wait};

/// How long anything may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A directory for a testnet, and one with the `quorate` that its nodes are.
///
/// That is a script which calls this very test again, with the test that is a node as its filter: so
/// the node that runs is always the one that was just built.
pub(crate) struct Place {
    _root: tempfile::TempDir,
    pub(crate) dir: PathBuf,
    programs: PathBuf,
}

impl Place {
    /// The nodes are real: the file has a test `the_node` that does nothing but [`be_a_node`].
    pub(crate) fn of_nodes() -> Self {
        Self::new("the_node", HOME)
    }

    /// `node` is the name of the test that is a node, which finds its home in the variable `variable`.
    pub(crate) fn new(node: &str, variable: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (dir, programs) = (root.path().join("t"), root.path().join("bin"));
        fs::create_dir(&programs).unwrap();
        let own = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\n{variable}=\"$3\" NODE_PEERS=\"$5\" exec \"{}\" --exact --nocapture {node} \"$3\"\n",
            own.display()
        );
        let program = programs.join("quorate");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let launcher = env!("CARGO_BIN_EXE_quorate-testnet");
        std::os::unix::fs::symlink(launcher, programs.join("quorate-testnet")).unwrap();
        Self { _root: root, dir, programs }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-testnet"));
        command.args(arguments).env("QUORATE_BIN_DIR", &self.programs);
        command.env("QUORATE_TESTNET", &self.dir);
        command
    }

    /// A program, or one of this folder, that finds the programs and the testnet where they are.
    pub(crate) fn script(&self, path: &str) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        command.env("QUORATE_BIN_DIR", &self.programs).env("QUORATE_TESTNET", &self.dir);
        command
    }

    /// A node by itself, whoever started it.
    pub(crate) fn node_in(&self, home: &Path) -> Command {
        let mut command = Command::new(self.programs.join("quorate"));
        command.args(["start", "--home"]).arg(home);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns what it prints.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}{}", self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this code and returns what it says.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        errors
    }

    /// Starts nodes on free ports.
    pub(crate) fn up(&self, nodes: u16, more: &[&str]) -> Testnet {
        let nodes = nodes.to_string();
        let usual = ["up", "--detach", "--output", "json", "-n", &nodes];
        let ports = ["--api-port", "0", "--p2p-port", "0"];
        let line = self.ok(&[&usual[..], &ports, more].concat());
        assert_eq!(line.lines().count(), 1);
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn testnet(&self) -> Testnet {
        Testnet::in_dir(&self.dir).unwrap()
    }

    /// A client of all nodes.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.testnet().nodes()).unwrap()
    }

    /// A client of one node.
    pub(crate) fn node(&self, node: usize) -> Client {
        Client::new(&self.testnet().nodes[node].api).unwrap()
    }

    /// Who leads, once somebody does.
    pub(crate) fn leader(&self) -> usize {
        self.ok(&["wait", "--leader"]);
        let leader = self.client().status().unwrap().leader.unwrap();
        usize::try_from(leader.get()).unwrap()
    }

    /// Alice, patient.
    pub(crate) fn alice(&self) -> Account {
        let key = KeyFile::read(&self.testnet().keys["alice"]).unwrap();
        self.client().account(key.into_secret()).waiting(patient())
    }

    /// The last words of every node and of the supervisor, for who reads why a test failed.
    fn logs(&self) -> String {
        let mut told = String::new();
        let mut tell = |path: &Path| {
            let text = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(15)..];
            if !last.is_empty() {
                told.push_str(&format!("\n--- {}\n{}", path.display(), last.join("\n")));
            }
        };
        tell(&self.dir.join("supervisor.log"));
        (0..9).for_each(|node| tell(&self.dir.join(format!("node{node}/node.log"))));
        told
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let _ = self.run(&["down"]);
    }
}

/// The variable in which a test that is a node finds its home.
const HOME: &str = "NODE_HOME";

/// What the test `the_node` of a file with nodes of its own is: a node, if a home is given to it, else nothing.
pub(crate) fn be_a_node() {
    if let Some(home) = std::env::var_os(HOME) {
        let exit = quorate_node::cli::run(start(home));
        std::process::exit(exit.code().into());
    }
}

/// What a supervisor would have called `quorate` with, as [`Place`] has told it to the test that is a node.
fn start(home: OsString) -> Vec<OsString> {
    let mut arguments = vec!["quorate".into(), "start".into(), "--home".into(), home];
    let peers = std::env::var_os("NODE_PEERS").filter(|peers| !peers.is_empty());
    arguments.extend(peers.into_iter().flat_map(|peers| ["--peers".into(), peers]));
    arguments
}

pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not in time");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Until a transaction is applied, for as long as that may take.
pub(crate) fn patient() -> Wait {
    Wait { level: Level::Applied, timeout: LONG }
}
