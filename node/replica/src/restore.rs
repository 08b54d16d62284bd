//! Making a replica of what a disk and a store have kept.
//!
//! ```text
//!   store ▶ where it stands (or begin it at the genesis) ▶ the tree over its state, and that its root is right
//!   log   ▶ opened with the applied block as its floor    ▶ ballot, and the blocks above the applied one
//!           (damaged: written anew from what is left, see `repair`)
//!   core  ▶ judges every block again on the one below it
//! ```
//!
//! Nothing is believed twice: the store says what is applied, the log says what is above.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::codec::{Decode, DecodeError};
use quorate_chain::commitment;
use quorate_chain::commitment::Commitment;
use quorate_chain::genesis::GenesisError;
use quorate_chain::ids::{BlockRef, Hash, Height, StateRoot, Term, TimeUs};
use quorate_chain::limits as format;
use quorate_chain::roster::Roster;
use quorate_chain::state::StateRead;
use quorate_chain::state_root::{MemoryLeaves, StateTree, StateTreeError};
use quorate_consensus::ballot::{Ballot, Choice};
use quorate_consensus::config::{Boot, Config, Incarnation};
use quorate_consensus::life::Life as Start;
use quorate_consensus::log::{Anchor, LEFT};
use quorate_consensus::message::Nonce;
use quorate_consensus::raft::{Core, RestoreError, Restored};
use quorate_consensus::states::remembered;
use quorate_consensus::time::Now;
use quorate_wal::{Disk, Options, Tag, TornTail, Wal};

use crate::apply::Applier;
use crate::driver::Driver;
use crate::io::Unreadable;
use crate::journal::Journal;
use crate::record::{self, Life};
use crate::repair::{Repaired, raised, repair};
use crate::replay::{Above, Replay, ReplayError};
use crate::setup::{Birth, Setup};
use crate::store::{Standing, Store, StoreReader, pages};

/// Bytes of a block, and of the record that it stands in, besides its body.
const BESIDES: usize = 1_024;
/// Most bytes of a preamble: as many as the log can hold.
const PREAMBLE: usize = 64 << 10;

/// Why a replica cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The genesis is none.
    #[error("the genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// The signer is not the one that the roster knows.
    #[error("the key of this node is not the one that the roster has for node {id}")]
    OtherKey {
        /// Which validator this should be.
        id: quorate_chain::ids::NodeId,
    },
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(Unreadable),
    /// The state in the store is not the one that its root names.
    #[error("the state in the store at height {height} has root {found:.16}, not {expected:.16}")]
    State {
        /// The applied height.
        height: Height,
        /// The root that the store names.
        expected: StateRoot,
        /// The root of what it has.
        found: StateRoot,
    },
    /// The log failed, or is damaged.
    #[error("the log: {0}")]
    Log(#[from] quorate_wal::Error),
    /// A record of the log is not one of a replica.
    #[error("the log: {0}")]
    Replay(#[from] ReplayError),
    /// The preamble of the log is not one of a replica.
    #[error("the preamble of the log: {0}")]
    Preamble(DecodeError),
    /// The log is damaged, and the store has nothing that proves the term that it stands in.
    #[error("the log is damaged, and the store has no proof of term {term}: restore a backup")]
    NoProof {
        /// The term.
        term: Term,
    },
    /// The log could not hold the largest block.
    #[error("the log takes records of {found} bytes, a block may need {least}")]
    Record {
        /// The largest record that the log takes.
        found: usize,
        /// What it must take.
        least: usize,
    },
    /// What was kept does not fit together.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

pub(crate) fn store_failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> OpenError {
    OpenError::Store(Unreadable(Arc::new(error)))
}

/// One validator: its three parts.
pub struct Replica<D, S: Store> {
    /// Decides.
    pub driver: Driver<S>,
    /// Makes durable.
    pub journal: Journal<D>,
    /// Applies.
    pub applier: Applier<S>,
    /// What the log had to tell when it was opened.
    pub found: Found,
}

/// What a log had to tell when it was opened. Nothing of this is ever silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The group in flight when the power went out, if there was one. It was never confirmed.
    pub torn: Option<TornTail>,
    /// The damage, if there was any.
    pub repaired: Option<Repaired>,
    /// The term that the log had come to, and the choice in it. What was applied may have raised it.
    pub logged: (Term, Choice),
    /// Whether the validator signs nothing until the others have readmitted it.
    pub recovering: bool,
}

/// Makes a replica of what a disk and a store have kept. The nonce tells this start from all others: a random number,
/// another one each time, whatever the settings say.
///
/// # Errors
/// Why that is not possible. Nothing was changed that the next try would miss.
pub fn open<D: Disk, S: Store>(
    setup: &Setup,
    disk: D,
    mut store: S,
    now: Now,
    nonce: Nonce,
) -> Result<Replica<D, S>, OpenError> {
    setup.genesis.check()?;
    check(setup)?;
    let standing = restore_store(setup, &mut store)?;
    let commitment = rebuild(&store.reader(), &standing)?;
    let kept = restore_log(setup, disk, &standing, &mut store)?;
    let Kept { wal, mut life, above, torn, repaired, start } = kept;
    let logged = (life.ballot.term, life.ballot.choice);
    life.boot += 1;
    let recovering = life.ballot.recovering;

    let config = config(setup, &life, nonce);
    let below = (standing.applied.block.height, remembered(setup.limits.window_blocks));
    let certificates = above.certificates.clone();
    let earlier = store.reader().earlier_roots(below.0, below.1).map_err(store_failed)?;
    let restored = Restored {
        ballot: life.ballot.clone(),
        applied: standing.applied.clone(),
        state_root: standing.state_root,
        earlier,
        executed: named_at(&store, standing.applied.block.height)?,
        certificates: standing.certificates().cloned().collect(),
        left: left_rosters(&store, &standing.applied)?,
        logged: above.certificates,
        blocks: above.blocks,
        replaced: above.replaced,
        highest: above.highest,
    };
    let core = Core::new(config, Arc::clone(&setup.verifier), restored, now)?;
    life.ballot = core.ballot().clone();
    let (limits, writers) = (&setup.limits, setup.genesis.writers);
    let mut journal = Journal::new(wal, life, &options(setup));
    journal.begin(start)?;
    let driver = Driver::new(setup, core, store.reader(), journal.space(), &certificates);
    let applier =
        Applier::new(store, commitment, standing, writers, limits).map_err(store_failed)?;
    let found = Found { torn, repaired, logged, recovering };
    Ok(Replica { driver, journal, applier, found })
}

/// Checks that what one part may hand to another can be taken there.
fn check(setup: &Setup) -> Result<(), OpenError> {
    let (found, least) = (setup.wal.max_record, format::BODY + BESIDES);
    if found < least {
        return Err(OpenError::Record { found, least });
    }
    Ok(())
}

/// How the log is kept: a ballot with the largest roster that fits there at all must find its place, and no
/// group shall need more than a segment, if the segments have room for the largest block: a full disk has a reserve
/// only for those.
pub(crate) fn options(setup: &Setup) -> Options {
    let options = Options { max_preamble: PREAMBLE, ..setup.wal };
    let most = options.max_group.min(options.usual_group());
    let record = options.max_record.min(most.saturating_sub(Options::group_bytes(0)));
    if record < format::BODY + BESIDES {
        return options;
    }
    Options { max_group: most, max_record: record, ..options }
}

/// What a disk has kept of the log.
pub(crate) struct Kept<D> {
    pub(crate) wal: Wal<D>,
    pub(crate) life: Life,
    pub(crate) above: Above,
    pub(crate) torn: Option<TornTail>,
    pub(crate) repaired: Option<Repaired>,
    /// Where the log still has to begin anew.
    pub(crate) start: Option<BlockRef>,
}

/// What the log has reached, if nothing of it is lost.
pub(crate) fn floor(standing: &Standing) -> Tag {
    let replaced = standing.replaced.as_ref().map(|replaced| replaced.applied);
    record::tag(replaced.unwrap_or(standing.applied.block))
}

fn restore_log<D: Disk, S: Store>(
    setup: &Setup,
    mut disk: D,
    standing: &Standing,
    store: &mut S,
) -> Result<Kept<D>, OpenError> {
    let applied = standing.applied.block;
    let salt = disk.salt().map_err(|source| quorate_wal::Error::Disk {
        operation: quorate_wal::Operation::Salt,
        file: String::new(),
        source: Arc::new(source),
    })?;
    let mut replay = Replay::new(applied);
    let (identity, floor) = (identity(setup), floor(standing));
    let opened = Wal::open(disk, &identity, options(setup), floor, |record| replay.visit(&record));
    match opened {
        Ok((wal, found)) => {
            let replaced = standing.replaced.as_ref().filter(|it| it.applied != applied);
            let start = replaced.filter(|_| !replay.is_started_at(applied));
            let above = if start.is_some() { Ok(replay.replaced()) } else { replay.finish() };
            let above = match above {
                Ok(above) => above,
                Err(error) if error.is_loss() => {
                    return write_anew(setup, wal.into_disk(), standing, store, salt);
                }
                Err(error) => return Err(error.into()),
            };
            let kept = found.preamble.map(|bytes| Life::from_bytes(&Bytes::from(bytes)));
            let kept = kept.transpose().map_err(OpenError::Preamble)?;
            let life = kept.unwrap_or_else(|| begin_life(setup, found.records, salt));
            let life = raised(life, standing);
            let start = start.map(|_| applied);
            Ok(Kept { wal, life, above, torn: found.torn, repaired: None, start })
        }
        Err(refused) if matches!(refused.error, quorate_wal::Error::Corrupt(_)) => {
            write_anew(setup, refused.disk, standing, store, salt)
        }
        Err(refused) => Err(refused.error.into()),
    }
}

fn write_anew<D: Disk, S: Store>(
    setup: &Setup,
    disk: D,
    standing: &Standing,
    store: &mut S,
    salt: u64,
) -> Result<Kept<D>, OpenError> {
    // The new log begins at the applied block: the store must never fall behind that.
    store.checkpoint().map_err(store_failed)?;
    repair(setup, disk, standing, &store.reader(), salt)
}

/// The first life of a log. If the key has been used, it is not the first of the validator.
fn begin_life(setup: &Setup, records: u64, salt: u64) -> Life {
    let (incarnation, recovering) = match setup.birth {
        Birth::Fresh(incarnation) if records == 0 => (incarnation, false),
        Birth::Fresh(_) | Birth::Used(_) => (Incarnation(salt), true),
    };
    Life { incarnation, boot: 0, ballot: Ballot { recovering, ..Ballot::default() } }
}

/// The newest rosters that were left before the applied tip, oldest first, as far as the store knows them.
fn left_rosters<S: Store>(store: &S, applied: &Anchor) -> Result<Vec<Arc<Roster>>, OpenError> {
    let reader = store.reader();
    let (mut left, mut since) = (VecDeque::new(), applied.roster_since);
    while let Some(below) = since.previous().filter(|_| left.len() < LEFT) {
        let Some((first, roster)) = reader.roster(below).map_err(store_failed)? else { break };
        left.push_front(roster);
        since = first;
    }
    Ok(left.into())
}

/// The height that the header at an applied height names. An installed snapshot has no block.
fn named_at<S: Store>(store: &S, applied: Height) -> Result<Height, OpenError> {
    let block = store.reader().block(applied).map_err(store_failed)?;
    Ok(block.map(|block| block.header().executed).unwrap_or_default())
}

/// The log belongs to one key on one chain.
pub(crate) fn identity(setup: &Setup) -> Vec<u8> {
    let key = setup.signer.key();
    [setup.chain_id.as_bytes().as_slice(), key.as_bytes()].concat()
}

/// Far from every small number, times any other (the golden ratio in 64 bits).
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

fn config(setup: &Setup, life: &Life, nonce: Nonce) -> Config {
    let limits = &setup.limits;
    // Nodes of a testnet have seeds that follow each other: none shall come to that of another by its starts.
    let seed = setup.seed ^ life.boot.wrapping_mul(ODD);
    let (incarnation, boot) = (life.incarnation, Boot(life.boot));
    let start = Start { incarnation, boot, nonce };
    Config {
        chain_id: setup.chain_id,
        id: setup.id,
        life: start.sign(setup.chain_id, setup.id, &*setup.signer),
        lead: setup.lead,
        election_timeout: limits.election_timeout,
        heartbeat: limits.heartbeat,
        window_blocks: limits.window_blocks,
        window_bytes: limits.window_bytes,
        message_bytes: limits.message_bytes,
        snapshot_every: limits.snapshot_every,
        seed,
    }
}

/// Where the store stands. One that is empty begins at the genesis.
fn restore_store<S: Store>(setup: &Setup, store: &mut S) -> Result<Standing, OpenError> {
    if let Some(standing) = store.reader().standing().map_err(store_failed)? {
        return Ok(standing);
    }
    let changes = setup.genesis.state();
    let mut tree = StateTree::new();
    let made = tree.update(&commitment::leaf_changes(&changes), &MemoryLeaves::new());
    assert!(made.is_ok(), "a tree in memory can be read");
    let applied = Anchor {
        block: setup.chain_id.genesis_ref(),
        kind: None,
        time: TimeUs::new(setup.genesis.time_us.get()),
        leader: None,
        roster: Arc::new(setup.genesis.roster().map_err(GenesisError::from)?),
        roster_since: Height::ZERO,
    };
    let size = Some(tree.size());
    let state_root = Commitment::new(tree, Hash::ZERO).root();
    let standing = Standing {
        applied,
        state_root,
        size,
        outcomes: Hash::ZERO,
        certificate: None,
        replaced: None,
    };
    store.begin(standing.clone(), &changes).map_err(store_failed)?;
    store.checkpoint().map_err(store_failed)?;
    Ok(standing)
}

/// The commitment to the state in the store, which must be the one that the store names.
fn rebuild<R: StoreReader>(reader: &R, standing: &Standing) -> Result<Commitment, OpenError>
where
    <R as StateRead>::Error: std::error::Error + Send + Sync + 'static,
{
    let leaves = pages(|after, limit| reader.leaves_after(after, limit));
    let height = standing.applied.block.height;
    let expected = standing.state_root;
    let tree = StateTree::rebuild(leaves).map_err(|error| match error {
        StateTreeError::Leaves(error) => store_failed(error),
        StateTreeError::Mismatch { .. } | StateTreeError::Order { .. } | _ => {
            OpenError::State { height, expected, found: StateRoot::ZERO }
        }
    })?;
    let commitment = Commitment::new(tree, standing.outcomes);
    let found = commitment.root();
    if found != expected {
        return Err(OpenError::State { height, expected, found });
    }
    Ok(commitment)
}
