//! What a node is set to.
//!
//! Every setting has one name, such as `api.listen`, and four places to be set. The first that says
//! something wins: a flag (`--api-listen`), the environment (`QUORATE_API_LISTEN`), the file
//! `config.toml` of the home, the default. Whatever is set under a name that there is not is refused,
//! with the name that was probably meant: a setting that does nothing is worse than none.
//!
//! [`KEYS`] is the one list of them; reading, showing and the flags come from it.
//!
//! Left out: what all nodes of a chain must agree on. That stands in the genesis file.

mod keys;
mod rules;
pub mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use quorate_chain::ids::NodeId;
use quorate_chain::roster::Lead;

pub use keys::{KEYS, Key};

/// Where blocks and state are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In files of the home.
    File,
    /// In memory: gone when the process ends. For testnets only.
    Memory,
}

/// How what a node tells is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// An object of JSON on a line.
    Json,
}

/// What a node is set to. The fields are explained in [`KEYS`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the list of keys says what each is for")]
pub struct Config {
    pub api_listen: SocketAddr,
    pub api_url: Option<String>,
    pub api_connections: usize,
    pub api_subscribers: usize,
    pub api_header_timeout: Duration,
    pub api_write_timeout: Duration,
    pub p2p_listen: String,
    pub p2p_peers: Vec<String>,
    pub node_id: Option<NodeId>,
    pub storage: Storage,
    pub lead: Option<Lead>,
    pub heartbeat: Duration,
    pub election_timeout: Duration,
    pub block_interval: Duration,
    pub block_transactions: usize,
    pub block_bytes: usize,
    pub window_blocks: usize,
    pub window_bytes: usize,
    pub message_bytes: usize,
    pub mempool_transactions: usize,
    pub mempool_bytes: usize,
    pub mempool_sender: usize,
    pub wal_segment: u64,
    pub keep_blocks: u64,
    pub snapshot_every: u64,
    pub verify_threads: usize,
    pub read_threads: usize,
    pub seed: u64,
    pub log: tracing::Level,
    pub log_format: LogFormat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            api_listen: SocketAddr::from(([127, 0, 0, 1], 7600)),
            api_url: None,
            api_connections: 1_024,
            api_subscribers: 256,
            api_header_timeout: Duration::from_secs(10),
            api_write_timeout: Duration::from_secs(30),
            p2p_listen: "/ip4/127.0.0.1/tcp/7700".to_owned(),
            p2p_peers: Vec::new(),
            node_id: None,
            storage: Storage::File,
            lead: None,
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            block_interval: Duration::ZERO,
            block_transactions: quorate_chain::limits::TRANSACTIONS,
            block_bytes: quorate_chain::limits::BODY,
            window_blocks: 64,
            window_bytes: 32 << 20,
            message_bytes: 4 << 20,
            mempool_transactions: 50_000,
            mempool_bytes: 128 << 20,
            mempool_sender: 512,
            wal_segment: 64 << 20,
            keep_blocks: 0,
            snapshot_every: 1_000,
            verify_threads: 2,
            read_threads: 2,
            seed: 0,
            log: tracing::Level::INFO,
            log_format: LogFormat::Text,
        }
    }
}

/// Where a setting was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The file.
    File,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment variable",
            Self::File => "key of config.toml",
        })
    }
}

/// Where the settings that are not defaults were made, by their names.
pub type Origins = BTreeMap<&'static str, Source>;

/// Why a node cannot be set like this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not TOML; the message names line and column.
    #[error("config.toml: {0}")]
    Toml(#[from] toml::de::Error),
    /// There is no such setting.
    #[error("there is no {source_kind} `{name}`{}", meant(suggestion.as_deref()))]
    Unknown {
        /// Where it was made.
        source_kind: Source,
        /// Its name there.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A setting has a value that it cannot have.
    #[error("{source_kind} `{name}`: {value:?} is not {expected}")]
    Value {
        /// Where it was made.
        source_kind: Source,
        /// Its name there.
        name: String,
        /// The value.
        value: String,
        /// What it can have.
        expected: &'static str,
    },
    /// Two settings do not go together.
    #[error("{0}")]
    Combination(String),
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; is `{name}` meant?"))
}

/// Variables that begin like settings and belong to other commands.
const OTHER_VARIABLES: &[&str] = &[
    "QUORATE_BIN_DIR",
    "QUORATE_CRASH_SEED",
    "QUORATE_HOME",
    "QUORATE_KEY",
    "QUORATE_NODE",
    "QUORATE_PASSPHRASE",
    "QUORATE_PASSPHRASE_FILE",
    "QUORATE_SEEDS",
    "QUORATE_TESTNET",
];

impl Config {
    /// Puts together what the file, the environment and the flags say.
    ///
    /// # Errors
    /// The first setting that there is not, or that cannot be made.
    pub fn load(
        file: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Ok(Self::load_with_origins(file, environment, flags)?.0)
    }

    /// The same, and where each setting that is not a default was made.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn load_with_origins(
        file: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Origins), ConfigError> {
        let (mut config, mut origins) = (Self::default(), Origins::new());
        let mut settings = Vec::new();
        flatten("", &file.parse::<toml::Table>()?, &mut settings);
        for (name, value) in settings {
            origins.insert(config.set(Source::File, &name, &value)?, Source::File);
        }
        for (name, value) in environment {
            let ours = name.starts_with("QUORATE_") && !OTHER_VARIABLES.contains(&name.as_str());
            if ours {
                let key = config.set(Source::Environment, &name, &value)?;
                origins.insert(key, Source::Environment);
            }
        }
        for (name, value) in flags {
            origins.insert(config.set(Source::Flag, &name, &value)?, Source::Flag);
        }
        config.check()?;
        Ok((config, origins))
    }

    fn set(
        &mut self,
        source: Source,
        name: &str,
        value: &str,
    ) -> Result<&'static str, ConfigError> {
        let named = |key: &Key| match source {
            Source::Flag => key.flag(),
            Source::Environment => key.variable(),
            Source::File => key.name.to_owned(),
        };
        let Some(key) = KEYS.iter().find(|key| named(key) == name) else {
            let closest = KEYS.iter().map(named).min_by_key(|key| distance(key, name));
            let suggestion = closest.filter(|key| distance(key, name) <= 1 + name.len() / 3);
            let name = name.to_owned();
            return Err(ConfigError::Unknown { source_kind: source, name, suggestion });
        };
        (key.read)(self, value).ok_or_else(|| ConfigError::Value {
            source_kind: source,
            name: name.to_owned(),
            value: value.to_owned(),
            expected: key.unit,
        })?;
        Ok(key.name)
    }

    /// The file that sets everything as it is, with what each setting means.
    #[must_use]
    pub fn to_file(&self) -> String {
        let default = Self::default();
        let mut file = String::new();
        for key in KEYS {
            let comment = if (key.show)(self) == (key.show)(&default) { "# " } else { "" };
            file.push_str(&format!("# {} ({})\n", key.meaning, key.unit));
            file.push_str(&format!("{comment}{} = {}\n\n", key.name, quoted(&(key.show)(self))));
        }
        file.truncate(file.trim_end().len());
        file.push('\n');
        file
    }
}

/// A value as TOML has it. Everything can be written as text.
fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// Every value of a table with its dotted name, as text. Lists are joined by commas.
fn flatten(above: &str, table: &toml::Table, settings: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let name = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            toml::Value::Table(below) => flatten(&name, below, settings),
            toml::Value::Array(items) => {
                let items: Vec<_> = items.iter().map(plain).collect();
                settings.push((name, items.join(",")));
            }
            toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_) => settings.push((name, plain(value))),
        }
    }
}

fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How many letters must be put in, taken out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, same) in other.iter().map(|o| *o == letter).enumerate() {
            let changed = diagonal + usize::from(!same);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn load(
        file: &str,
        variables: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Config, ConfigError> {
        Config::load(file, pairs(variables), pairs(flags))
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
        let file = "heartbeat = \"10ms\"\n[window]\nblocks = 3\n[api]\nlisten = \"127.0.0.1:1\"\n";
        let variables = [("QUORATE_API_LISTEN", "127.0.0.1:2"), ("QUORATE_HEARTBEAT", "20ms")];
        let config = load(file, &variables, &[("api-listen", "127.0.0.1:3")]).unwrap();
        assert_eq!(config.api_listen.port(), 3);
        assert_eq!(config.heartbeat, Duration::from_millis(20));
        assert_eq!(config.window_blocks, 3);
        assert_eq!(config.window_bytes, Config::default().window_bytes);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_one_that_was_meant() {
        let told = |result: Result<Config, ConfigError>| result.unwrap_err().to_string();
        assert_eq!(
            told(load("[api]\nlissen = \"x\"", &[], &[])),
            "there is no key of config.toml `api.lissen`; is `api.listen` meant?"
        );
        assert_eq!(
            told(load("", &[("QUORATE_HEARTBEET", "1s")], &[])),
            "there is no environment variable `QUORATE_HEARTBEET`; is `QUORATE_HEARTBEAT` meant?"
        );
        assert_eq!(told(load("", &[], &[("teapot", "1")])), "there is no flag `teapot`");
        assert!(load("", &[("QUORATE_NODE", "http://127.0.0.1:7600")], &[]).is_ok());
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_with_what_can() {
        let error = load("heartbeat = 100", &[], &[]).unwrap_err().to_string();
        assert_eq!(error, "key of config.toml `heartbeat`: \"100\" is not a time: 100ms, 2s");
        let error = load("heartbeat = \"500ms\"", &[], &[]).unwrap_err().to_string();
        assert!(
            error
                .starts_with("election_timeout is 1s, and three times heartbeat, 500ms, is 1500ms"),
            "{error}"
        );
        assert!(load("[window]\nblocks = 512", &[], &[]).is_ok());
        let error = load("[window]\nblocks = 513", &[], &[]).unwrap_err().to_string();
        assert!(error.starts_with("window.blocks is 513; with more than 512, "), "{error}");
    }

    #[test]
    fn the_written_file_reads_back() {
        let peer = |port| {
            let id = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
            format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}")
        };
        let config = Config {
            p2p_peers: vec![peer(1), peer(2)],
            lead: Some(Lead::Prefer),
            storage: Storage::Memory,
            block_interval: Duration::from_millis(100),
            ..Config::default()
        };
        assert_eq!(load(&config.to_file(), &[], &[]).unwrap(), config);
        assert_eq!(load(&Config::default().to_file(), &[], &[]).unwrap(), Config::default());
    }

    #[test]
    fn every_key_has_two_sensible_values() {
        for key in KEYS {
            let mut config = Config::default();
            let default = (key.show)(&config);
            assert_ne!(default, key.example, "{}", key.name);
            assert!((key.read)(&mut config, key.example).is_some(), "{}", key.name);
            assert_eq!((key.show)(&config), key.example, "{}", key.name);
            config.check().unwrap();
            assert!((key.read)(&mut config, &default).is_some(), "{}", key.name);
            assert_eq!(config, Config::default(), "{}", key.name);
        }
    }
}
