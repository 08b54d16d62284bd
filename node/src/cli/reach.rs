//! Which nodes are asked and which key signs.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_chain::genesis::Genesis;
use quorate_client::{Account, Client, KeyFile, Level, Passphrase, Testnet, Wait};

use super::output::Ended;
use crate::config::values;
use crate::exit::{Exit, Failure};

/// Where nodes are if nothing else is said.
const DEFAULT_NODE: &str = "http://127.0.0.1:7600";
/// Whose key signs in a testnet if nothing else is said.
const DEFAULT_ACCOUNT: &str = "alice";

/// The nodes that are asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Nodes {
    /// The nodes to ask, one after the other until one answers [default: $QUORATE_NODE, else the
    /// running testnet, else http://127.0.0.1:7600].
    #[arg(long, value_name = "URL[,URL]")]
    node: Option<String>,
    /// How long to go on asking.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    timeout: Duration,
}

/// The key that signs.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Key {
    /// The key that signs: a file, or the name of one in keys/ of the testnet or the home
    /// [default: $QUORATE_KEY, else alice in a testnet].
    #[arg(long = "key", value_name = "FILE|NAME")]
    signer: Option<String>,
}

/// Who writes, and how long it is waited for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Writer {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    key: Key,
    #[command(flatten)]
    waiting: Waiting,
}

/// How far it is waited.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Waiting {
    /// How far the transaction must come.
    #[arg(long, value_name = "LEVEL", default_value = "applied")]
    wait: WaitLevel,
}

impl Waiting {
    /// How far, and as long as nodes are asked.
    pub(super) fn wait(&self, nodes: &Nodes) -> Wait {
        let level = match self.wait {
            WaitLevel::Accepted => Level::Accepted,
            WaitLevel::Committed => Level::Committed,
            WaitLevel::Applied => Level::Applied,
        };
        Wait { level, timeout: nodes.timeout }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum WaitLevel {
    Accepted,
    Committed,
    Applied,
}

impl Nodes {
    /// A client of these nodes.
    pub(super) fn client(&self) -> Result<Client, Ended> {
        let nodes = self.node.clone().or_else(|| variable("QUORATE_NODE"));
        let nodes = nodes.or_else(|| Some(Testnet::running()?.nodes()));
        let nodes = nodes.unwrap_or_else(|| DEFAULT_NODE.to_owned());
        Ok(Client::new(&nodes)?.with_timeout(self.timeout))
    }
}

impl Key {
    /// The key that signs.
    pub(super) fn read(&self) -> Result<KeyFile, Failure> {
        let named = self.signer.clone().or_else(|| variable("QUORATE_KEY"));
        let named = named.or_else(|| Testnet::running().map(|_| DEFAULT_ACCOUNT.to_owned()));
        let Some(named) = named else {
            let sentence =
                "which key signs? Say --key, or set QUORATE_KEY; `quorate key new` makes one";
            return Err(Failure::new(Exit::Configuration, sentence));
        };
        let path = key_path(&named)?;
        let passphrase = passphrase()?;
        KeyFile::read_with(&path, passphrase.as_ref())
            .map_err(|error| Failure::new(Exit::Configuration, error))
    }
}

impl Writer {
    /// The account that writes.
    pub(super) fn account(&self) -> Result<Account, Ended> {
        let key = self.key.read()?;
        let client = self.nodes.client()?;
        if key.is_development() {
            only_in_a_testnet(&client, &key)?;
        }
        Ok(client.account(key.into_secret()).waiting(self.waiting.wait(&self.nodes)))
    }
}

/// A key that others may know signs nothing that counts.
pub(super) fn only_in_a_testnet(client: &Client, key: &KeyFile) -> Result<(), Ended> {
    let genesis = Genesis::parse(client.body("/v1/genesis")?.as_bytes());
    let genesis = genesis.map_err(|error| Failure::new(Exit::NoNode, error))?;
    if genesis.testnet {
        return Ok(());
    }
    let sentence = format!(
        "{} is a development key, which others may know; {} is not a testnet",
        key.path().display(),
        genesis.name
    );
    Err(Failure::new(Exit::Configuration, sentence).into())
}

/// The file of a key that is named by its path or by its name.
pub(super) fn key_path(named: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(named);
    if named.contains(std::path::MAIN_SEPARATOR) || path.is_file() {
        return Ok(path.to_owned());
    }
    let places: Vec<_> = [Testnet::default_dir(), home()]
        .into_iter()
        .flatten()
        .map(|place| place.join("keys").join(format!("{named}.key")))
        .collect();
    match places.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => {
            let looked: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
            let sentence = format!(
                "there is no key `{named}`: no such file here, nor {}",
                looked.join(", nor ")
            );
            Err(Failure::new(Exit::Configuration, sentence))
        }
    }
}

/// The passphrase that the environment says, if it says one.
pub(super) fn passphrase() -> Result<Option<Passphrase>, Failure> {
    Passphrase::from_environment()
        .map_err(|error| Failure::new(Exit::Configuration, format!("the passphrase: {error}")))
}

/// The home that commands mean if none is named.
pub(super) fn home() -> Option<PathBuf> {
    variable("QUORATE_HOME").map(PathBuf::from)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a time that is not nothing.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = values::duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time has a unit, such as 500ms or 5s".to_owned())
}
