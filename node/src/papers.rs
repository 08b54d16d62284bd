//! What a home says of the node: genesis, key, settings.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate_chain::crypto::{Ed25519, SecretKey, ValidatorKey};
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis, GenesisAdmins, GenesisValidator, VERSION};
use quorate_chain::ids::{NodeId, TimeUs};
use quorate_chain::roster::{Lead, Roster};
use quorate_consensus::config::Incarnation;
use quorate_replica::OpenError;
use quorate_replica::setup::{Birth, Limits, Setup};

use crate::api::Facts;
use crate::clock;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::{self, Home};
use crate::keys::{self, KeyFile, KeyFileError, Used};
use crate::traffic::Identity;

/// What a home says of the node.
pub(crate) struct Papers {
    pub(crate) genesis: Genesis,
    /// The genesis file, byte for byte.
    pub(crate) file: Bytes,
    pub(crate) id: NodeId,
    pub(crate) name: String,
    /// Whether it wants to lead, as far as settings and roster say.
    pub(crate) lead: Lead,
    pub(crate) key: Arc<SecretKey>,
    log: Used,
    development: bool,
}

pub(crate) fn configuration(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Configuration, why)
}

/// Who the owner of a key is among the validators of the genesis, or will be.
fn seat(
    roster: &Roster,
    key: &ValidatorKey,
    node_id: Option<NodeId>,
) -> Result<(NodeId, String, Lead), Failure> {
    let own = roster.current().members.iter().find(|member| member.key == *key);
    Ok(match (own, node_id) {
        (Some(member), None) => (member.id, member.name.clone(), member.lead),
        (Some(member), Some(id)) if member.id == id => {
            (member.id, member.name.clone(), member.lead)
        }
        (Some(member), Some(id)) => {
            let why = format!("the key is that of node {}, not of node {id}", member.id);
            return Err(configuration(why));
        }
        (None, Some(id)) if roster.member(id).is_some() => {
            return Err(configuration(format!("node {id} has another key")));
        }
        // One that was or will be added later.
        (None, Some(id)) => (id, format!("node{id}"), Lead::Yes),
        (None, None) => {
            let why = format!(
                "the key {key} is not in the genesis; a node that is added later needs `node_id`"
            );
            return Err(configuration(why));
        }
    })
}

impl Papers {
    /// Reads them.
    pub(crate) fn read(home: &Home, node_id: Option<NodeId>) -> Result<Self, Failure> {
        let path = home.layout().genesis();
        let named = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Configuration, format!("{}: {why}", path.display()))
        };
        if !path.exists() {
            return Err(named(
                &"there is none yet; `quorate genesis create` makes one of every validator.json",
            ));
        }
        let file = fs::read(&path).map_err(|error| {
            Failure::new(unusable(&error), format!("{}: {error}", path.display()))
        })?;
        let genesis = Genesis::parse(&file).map_err(|error| named(&error))?;
        let roster = genesis.roster().map_err(|error| named(&error))?;
        let path = home.layout().validator_key();
        let KeyFile { key, log, development } = KeyFile::read(&path).map_err(bad_key)?;
        if development && !genesis.testnet {
            return Err(configuration(format!(
                "{} is a development key, which others may know; the genesis of {} is not that of a testnet",
                path.display(),
                genesis.name
            )));
        }
        let log = log.ok_or_else(|| {
            configuration(format!("{} is not the key of a validator", path.display()))
        })?;
        let (id, name, lead) = seat(&roster, &key.validator_key(), node_id)?;
        let (file, key) = (file.into(), Arc::new(key));
        Ok(Self { genesis, file, id, name, lead, key, log, development })
    }

    /// Papers of a chain of its own that lives as long as the process.
    pub(crate) fn of_development() -> Result<Self, Failure> {
        let seed = keys::new_seed().map_err(no_random)?;
        let key = SecretKey::from_seed(&seed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (name, lead) = ("node0".to_owned(), Lead::Yes);
        let validator = GenesisValidator {
            name: name.clone(),
            key: key.validator_key(),
            p2p: Vec::new(),
            api: Vec::new(),
            lead,
        };
        let genesis = Genesis {
            version: VERSION,
            name: "dev".to_owned(),
            time_us: TimeUs::new(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
            testnet: true,
            writers: Writers::Anyone,
            admins: GenesisAdmins { threshold: 1, keys: vec![key.account_key()] },
            validators: vec![validator],
            vote_quorum: None,
            finality_quorum: None,
            grants: Vec::new(),
        };
        let file = genesis.to_file().into();
        let incarnation = Incarnation(home::random_number().map_err(no_random)?);
        let log = Used { incarnation, signed: false };
        let (id, key) = (NodeId::new(0), Arc::new(key));
        Ok(Self { genesis, file, id, name, lead, key, log, development: true })
    }

    /// What the replica is set up with.
    pub(crate) fn setup(&self, config: &Config) -> Result<Setup, Failure> {
        let Used { incarnation, signed } = self.log;
        Ok(Setup {
            genesis: self.genesis.clone(),
            chain_id: Genesis::chain_id(&self.file),
            id: self.id,
            signer: self.key.clone(),
            verifier: Arc::new(Ed25519),
            birth: if signed { Birth::Used(incarnation) } else { Birth::Fresh(incarnation) },
            lead: config.lead,
            limits: limits(config),
            wal: quorate_wal::Options { segment: config.wal_segment, ..Default::default() },
            seed: match config.seed {
                0 => home::random_number().map_err(no_random)?,
                seed => seed,
            },
        })
    }

    /// What clients are told of the node as long as it runs.
    pub(crate) fn facts(self, config: &Config, identity: &Identity, started_ms: u64) -> Facts {
        Facts {
            chain_id: identity.chain_id,
            chain_name: self.genesis.name,
            genesis: self.file,
            id: identity.id,
            name: self.name,
            incarnation: identity.incarnation,
            api: identity.api.clone(),
            started_ms,
            election_timeout: config.election_timeout,
            window_blocks: config.window_blocks,
            mempool_transactions: config.mempool_transactions,
            mempool_bytes: config.mempool_bytes,
        }
    }

    /// Writes into the key file that the key signs from now on, and which log knows what.
    pub(crate) fn signs_from_now_on(
        &self,
        home: &Home,
        incarnation: Incarnation,
    ) -> Result<(), Failure> {
        if self.log.signed {
            return Ok(());
        }
        let used = Some(Used { incarnation, signed: true });
        let development = self.development;
        let file = KeyFile { development, ..KeyFile::of(&self.key.seed(), used) };
        // What cannot be written is never the key's fault.
        file.write(&home.layout().validator_key())
            .map_err(|error| Failure::new(Exit::Storage, error))
    }
}

/// How a node ends that cannot read a file: a file that is not there, or not for it, is for the operator
/// to put right; all else is the disk.
fn unusable(error: &io::Error) -> Exit {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, PermissionDenied};

    let for_the_operator = matches!(
        error.kind(),
        NotFound | PermissionDenied | InvalidData | IsADirectory | NotADirectory
    );
    if for_the_operator { Exit::Configuration } else { Exit::Storage }
}

fn bad_key(error: KeyFileError) -> Failure {
    let exit = match &error {
        KeyFileError::Io { source, .. } => unusable(source),
        KeyFileError::Open { .. } | KeyFileError::Content { .. } => Exit::Configuration,
    };
    Failure::new(exit, error)
}

pub(crate) fn no_random(error: std::io::Error) -> Failure {
    Failure::new(Exit::Bug, format!("the operating system gives no random numbers: {error}"))
}

pub(crate) fn cannot_open(error: &OpenError) -> Failure {
    let exit = match error {
        OpenError::Genesis(_) | OpenError::OtherKey { .. } | OpenError::Record { .. } => {
            Exit::Configuration
        }
        OpenError::State { .. } => Exit::Verification,
        OpenError::NoProof { .. } => Exit::Unsafe,
        OpenError::Preamble(_)
        | OpenError::Store(_)
        | OpenError::Log(_)
        | OpenError::Replay(_)
        | OpenError::Restore(_) => Exit::Storage,
    };
    Failure::new(exit, error)
}

fn limits(config: &Config) -> Limits {
    let interval = config.block_interval;
    let defaults = Limits::default();
    Limits {
        election_timeout: clock::span(config.election_timeout),
        heartbeat: clock::span(config.heartbeat),
        window_blocks: config.window_blocks,
        window_bytes: config.window_bytes,
        message_bytes: config.message_bytes,
        block_transactions: config.block_transactions,
        block_bytes: config.block_bytes,
        block_interval: (!interval.is_zero()).then(|| clock::span(interval)),
        mempool_transactions: config.mempool_transactions,
        mempool_bytes: config.mempool_bytes,
        mempool_sender: config.mempool_sender,
        keep_blocks: config.keep_blocks,
        snapshot_every: config.snapshot_every,
        // What is to be pruned has to be safe first.
        checkpoint_every: defaults.checkpoint_every.min(config.snapshot_every),
        ..defaults
    }
}
