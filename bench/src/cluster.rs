//! The nodes that are asked: some that are there, or some that are started for it and gone afterwards.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_chain::ids::ChainId;
use quorate_client::Client;
use quorate_node::config::Config;
use quorate_node::exit::{Exit, Failure};
use tempfile::TempDir;

use crate::usage::{self, Usage};

/// How long nodes may take until they have a leader.
const READY: Duration = Duration::from_secs(60);

/// Nodes.
pub(crate) struct Cluster {
    apis: Vec<String>,
    own: Option<Own>,
}

/// Nodes that belong to the benchmark.
struct Own {
    nodes: Vec<Child>,
    _directory: TempDir,
}

impl Drop for Own {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // One that has ended is ended.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn bug(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Bug, error.to_string())
}

/// Where another program of this name is: where `QUORATE_BIN_DIR` says, or beside this one.
fn program(name: &str) -> PathBuf {
    let told = std::env::var_os("QUORATE_BIN_DIR").map(PathBuf::from);
    let own = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
    let places = told.into_iter().chain(own).map(|place| place.join(name));
    places.into_iter().find(|place| place.is_file()).unwrap_or_else(|| name.into())
}

fn start(home: &Path) -> Result<Child, Failure> {
    let log = |error| Failure::new(Exit::Storage, format!("{}: {error}", home.display()));
    let log = File::create(home.join("node.log")).map_err(log)?;
    let quorate = program("quorate");
    let mut command = Command::new(&quorate);
    command.arg("start").arg("--home").arg(home).stdin(Stdio::null());
    command.stdout(log.try_clone().map_err(bug)?).stderr(log);
    let missing = |error| {
        let sentence = format!("{}: {error}; cargo build makes it", quorate.display());
        Failure::new(Exit::Configuration, sentence)
    };
    command.spawn().map_err(missing)
}

impl Cluster {
    /// Nodes that are there.
    pub(crate) fn named(nodes: &str) -> Self {
        let apis = nodes.split(',').map(|node| node.trim().trim_end_matches('/').to_owned());
        Self { apis: apis.collect(), own: None }
    }

    /// So many validators in a directory below this one, on free ports, and nothing between them.
    pub(crate) fn start(count: u16, below: Option<&Path>) -> Result<Self, Failure> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("quorate-bench-");
        let made = below.map_or_else(|| builder.tempdir(), |below| builder.tempdir_in(below));
        let directory = made.map_err(|error| Failure::new(Exit::Storage, error.to_string()))?;
        let testnet = program("quorate-testnet");
        let dir = directory.path().join("t");
        let init = Command::new(&testnet)
            .args(["init", "--api-port", "0", "--p2p-port", "0", "-n", &count.to_string(), "--dir"])
            .arg(&dir)
            .output();
        let init = init.map_err(|error| {
            let sentence = format!("{}: {error}; cargo build makes it", testnet.display());
            Failure::new(Exit::Configuration, sentence)
        })?;
        if !init.status.success() {
            return Err(bug(String::from_utf8_lossy(&init.stderr).trim()));
        }
        let homes: Vec<_> = (0..count).map(|node| dir.join(format!("node{node}"))).collect();
        let mut own = Own { nodes: Vec::new(), _directory: directory };
        let mut apis = Vec::new();
        for home in &homes {
            let file = std::fs::read_to_string(home.join("config.toml")).map_err(bug)?;
            let config = Config::load(&file, [], []).map_err(bug)?;
            apis.push(format!("http://{}", config.api_listen));
            own.nodes.push(start(home)?);
        }
        let cluster = Self { apis, own: Some(own) };
        cluster.ready()?;
        Ok(cluster)
    }

    /// Waits until all nodes name one leader.
    fn ready(&self) -> Result<(), Failure> {
        let end = Instant::now() + READY;
        while Instant::now() < end {
            let leaders: Option<Vec<_>> =
                self.apis.iter().map(|api| Client::new(api).ok()?.status().ok()?.leader).collect();
            if leaders.is_some_and(|leaders| leaders.windows(2).all(|pair| pair[0] == pair[1])) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::new(Exit::NoQuorum, "the nodes have found no leader in a minute"))
    }

    /// The chain.
    pub(crate) fn chain_id(&self) -> Result<ChainId, Failure> {
        let status = self.client()?.status().map_err(unheard)?;
        Ok(status.chain_id)
    }

    /// Its height.
    pub(crate) fn height(&self) -> Result<u64, Failure> {
        Ok(self.client()?.height().map_err(unheard)?.height.get())
    }

    fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.apis.join(",")).map_err(unheard)
    }

    /// How many nodes there are.
    pub(crate) fn count(&self) -> usize {
        self.apis.len()
    }

    /// Where requests go: to the leader, or to one node after the other.
    pub(crate) fn targets(&self, all: bool) -> Result<Vec<SocketAddr>, Failure> {
        let address = |api: &String| {
            let text = api.strip_prefix("http://").unwrap_or(api);
            text.parse().map_err(|_| {
                let sentence = format!("`{api}` is not such as http://127.0.0.1:7600");
                Failure::new(Exit::Usage, sentence)
            })
        };
        let addresses: Vec<SocketAddr> = self.apis.iter().map(address).collect::<Result<_, _>>()?;
        if all {
            return Ok(addresses);
        }
        let leads = |api: &&String| {
            let status = Client::new(api).ok().and_then(|client| client.status().ok());
            status.is_some_and(|status| status.role == "leader")
        };
        let leader = self.apis.iter().zip(&addresses).find(|(api, _)| leads(api));
        // Nodes that were named may be without the leader.
        Ok(leader.map_or(addresses.clone(), |(_, address)| vec![*address]))
    }

    /// What the nodes have used up, if they are processes of this benchmark.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let pids = self.own.as_ref()?.nodes.iter().map(Child::id);
        let clients = self.apis.iter().map(|api| Client::new(api).ok());
        let nodes: Option<Vec<_>> =
            pids.zip(clients).map(|(pid, client)| Some((pid, client?))).collect();
        usage::of(&nodes?)
    }
}

fn unheard(error: quorate_client::Error) -> Failure {
    Failure::new(Exit::NoNode, error.to_string())
}
