//! Finding the testnet that runs on this machine.
//!
//! Its launcher keeps `testnet.json` in the testnet's directory as long as it runs. The directory is
//! named by `QUORATE_TESTNET`, or is `quorate/testnet` where the user's programs keep their state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use quorate_chain::ids::{ChainId, NodeId};
use serde::{Deserialize, Serialize};

/// What `testnet.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testnet {
    /// The testnet's directory.
    pub dir: PathBuf,
    /// Its chain.
    pub chain_id: ChainId,
    /// The genesis file.
    pub genesis: PathBuf,
    /// The process that holds it together.
    pub supervisor_pid: u32,
    /// How many validators make a quorum.
    pub quorum: u32,
    /// Its nodes, by id.
    pub nodes: Vec<TestnetNode>,
    /// The key files of its accounts, by name.
    pub keys: BTreeMap<String, PathBuf>,
}

/// One node of a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestnetNode {
    /// Its number.
    pub node_id: NodeId,
    /// Its name.
    pub name: String,
    /// `validator` or `observer`.
    pub mode: String,
    /// Whether it runs.
    pub state: TestnetNodeState,
    /// Its process, unless it is dead.
    pub pid: Option<u32>,
    /// Where it serves clients.
    pub api: String,
    /// Where it is reached by other nodes.
    pub p2p: String,
    /// Its home.
    pub home: PathBuf,
    /// What it prints.
    pub log: PathBuf,
}

/// Whether a node of a testnet runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestnetNodeState {
    /// Its process runs.
    Running,
    /// Its process is stopped and can be continued.
    Paused,
    /// It has no process.
    Dead,
}

impl std::fmt::Display for TestnetNodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Dead => "dead",
        })
    }
}

/// A path that a variable holds.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Testnet {
    /// The file in a testnet's directory that says that it runs.
    pub const FILE: &str = "testnet.json";

    /// Where a testnet is if nothing else is said: `QUORATE_TESTNET`, else its usual place.
    #[must_use]
    pub fn default_dir() -> Option<PathBuf> {
        variable("QUORATE_TESTNET").or_else(Self::usual_dir)
    }

    /// Where a user's testnet is usually: `quorate/testnet` in `XDG_STATE_HOME`, else in `.local/state` of the home.
    #[must_use]
    pub fn usual_dir() -> Option<PathBuf> {
        let home = || Some(variable("HOME")?.join(".local/state"));
        Some(variable("XDG_STATE_HOME").or_else(home)?.join("quorate/testnet"))
    }

    /// The one that runs in a directory; `None` if none does.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(Self::FILE)).ok()?).ok()
    }

    /// The one that runs where one would be if nothing else is said.
    #[must_use]
    pub fn running() -> Option<Self> {
        Self::in_dir(&Self::default_dir()?)
    }

    /// The addresses of its nodes, as [`crate::Client::new`] takes them: those that run come first.
    #[must_use]
    pub fn nodes(&self) -> String {
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| node.state != TestnetNodeState::Running);
        nodes.iter().map(|node| node.api.as_str()).collect::<Vec<_>>().join(",")
    }
}
