//! What a home says of the node: genesis, key, settings.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::crypto::{Ed25519, SecretKey};
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::NodeId;
use quorate_chain::roster::{Lead, Member};
use quorate_consensus::config::Incarnation;
use quorate_replica::OpenError;
use quorate_replica::setup::{Birth, Limits, Setup};

use crate::api::Facts;
use crate::clock;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::{self, Home};
use crate::keys::{KeyFile, Used};
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
}

pub(crate) fn configuration(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Configuration, why)
}

impl Papers {
    /// Reads them.
    pub(crate) fn read(home: &Home, node_id: Option<NodeId>) -> Result<Self, Failure> {
        let path = home.layout().genesis();
        let named = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Configuration, format!("{}: {why}", path.display()))
        };
        let file = fs::read(&path).map_err(|error| named(&error))?;
        let genesis = Genesis::parse(&file).map_err(|error| named(&error))?;
        let roster = genesis.roster().map_err(|error| named(&error))?;
        let path = home.layout().validator_key();
        let KeyFile { key, log } = KeyFile::read(&path).map_err(configuration)?;
        let log = log.ok_or_else(|| {
            configuration(format!("{} is not the key of a validator", path.display()))
        })?;
        let ours = |member: &&Member| member.key == key.validator_key();
        let (id, name, lead) = match (roster.current().members.iter().find(ours), node_id) {
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
                let key = key.account_key();
                let why = format!(
                    "the key {key} is not in the genesis; a node that is added later needs `node_id`"
                );
                return Err(configuration(why));
            }
        };
        Ok(Self { genesis, file: file.into(), id, name, lead, key: Arc::new(key), log })
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
            lead: identity.lead,
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
        let file = KeyFile::of(&self.key.seed(), used);
        file.write(&home.layout().validator_key()).map_err(configuration)
    }
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
