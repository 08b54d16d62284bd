//! Where the store stands: one row.

use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::block::BlockKind;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, Encode, Reader};
use quorate_chain::crypto::ValidatorKey;
use quorate_chain::ids::{BlockHash, BlockRef, Hash, Height, NodeId, StateRoot, Term, TimeUs};
use quorate_chain::roster::Roster;
use quorate_chain::state_root::StateSize;
use quorate_consensus::judge::Proven;
use quorate_consensus::log::Anchor;
use quorate_replica::store::{Replaced, Standing};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::StoreError;

/// The name of a kind in the tables.
pub(crate) const fn kind_name(kind: BlockKind) -> &'static str {
    match kind {
        BlockKind::Opening => "opening",
        BlockKind::Transactions => "transactions",
        BlockKind::Enter => "enter",
        BlockKind::Leave => "leave",
        BlockKind::Closing => "closing",
        BlockKind::Recovery => "recovery",
    }
}

fn kind(name: &str) -> Option<BlockKind> {
    const ALL: [BlockKind; 6] = [
        BlockKind::Opening,
        BlockKind::Transactions,
        BlockKind::Enter,
        BlockKind::Leave,
        BlockKind::Closing,
        BlockKind::Recovery,
    ];
    ALL.into_iter().find(|kind| kind_name(*kind) == name)
}

/// A value out of the canonical bytes in a row.
pub(crate) fn decode<T: Decode>(what: &'static str, bytes: Vec<u8>) -> Result<T, StoreError> {
    T::from_bytes(&Bytes::from(bytes)).map_err(|why| StoreError::Damaged { what, why })
}

/// Thirty-two bytes out of a row.
pub(crate) fn hash(what: &'static str, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Missing { what })
}

/// The roster in force at a height, and its first height.
pub(crate) fn roster(
    db: &Connection,
    height: i64,
) -> Result<Option<(Height, Arc<Roster>)>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT height, bytes FROM roster WHERE height <= ?1 ORDER BY height DESC LIMIT 1",
    )?;
    let row = select.query_row([height], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
    let Some((since, bytes)) = row.optional()? else { return Ok(None) };
    Ok(Some((Height::new(since.cast_unsigned()), Arc::new(decode("a roster", bytes)?))))
}

/// Writes where the store stands.
pub(crate) fn write(db: &Connection, standing: &Standing) -> Result<(), StoreError> {
    let Anchor { block, kind, time, leader, roster: _, roster_since } = &standing.applied;
    let (leader, key) = match leader {
        Some((id, key)) => (Some(id.get()), Some(*key.as_bytes())),
        None => (None, None),
    };
    let certificate = standing.certificate.as_ref().map(|proof| proof.get().to_bytes());
    let replaced = standing.replaced.as_ref().map(replaced_bytes);
    db.prepare_cached(
        "REPLACE INTO standing VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
             ?13, ?14)",
    )?
    .execute(params![
        block.height.get().cast_signed(),
        block.term.get().cast_signed(),
        block.hash.as_bytes(),
        kind.map(kind_name),
        time.get().cast_signed(),
        leader,
        key,
        roster_since.get().cast_signed(),
        standing.state_root.as_bytes(),
        standing.outcomes.as_bytes(),
        certificate.as_deref(),
        replaced,
        standing.size.map(|size| size.count.cast_signed()),
        standing.size.map(|size| *size.top.as_bytes()),
    ])?;
    Ok(())
}

/// What a snapshot took the place of: block ref ‖ certificate ‖ roster.
fn replaced_bytes(replaced: &Replaced) -> Vec<u8> {
    let mut bytes = Vec::new();
    replaced.applied.encode(&mut bytes);
    replaced.proof.certificate.get().encode(&mut bytes);
    replaced.proof.roster.encode(&mut bytes);
    bytes
}

fn replaced(bytes: Vec<u8>) -> Result<Replaced, StoreError> {
    let mut reader = Reader::new(Bytes::from(bytes));
    let mut read = || {
        let (applied, certificate) = (Decode::decode(&mut reader)?, Decode::decode(&mut reader)?);
        let roster = Arc::new(Roster::decode(&mut reader)?);
        // It was verified before it was stored.
        let proof = Proven { certificate: Checked::vouch(certificate), roster };
        Ok(Replaced { applied, proof })
    };
    read().map_err(|why| StoreError::Damaged { what: "what a snapshot took the place of", why })
}

/// A row of `standing` or `frozen`.
struct Stored {
    height: i64,
    term: i64,
    hash: Vec<u8>,
    kind: Option<String>,
    time: i64,
    leader: Option<u32>,
    key: Option<Vec<u8>>,
    state_root: Vec<u8>,
    outcomes: Vec<u8>,
    certificate: Option<Vec<u8>>,
    replaced: Option<Vec<u8>>,
    entries: Option<i64>,
    top: Option<Vec<u8>>,
}

impl Stored {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            height: row.get("height")?,
            term: row.get("term")?,
            hash: row.get("hash")?,
            kind: row.get("kind")?,
            time: row.get("time_us")?,
            leader: row.get("leader")?,
            key: row.get("leader_key")?,
            state_root: row.get("state_root")?,
            outcomes: row.get("outcomes")?,
            certificate: row.get("certificate")?,
            replaced: row.get("replaced")?,
            entries: row.get("entries")?,
            top: row.get("top")?,
        })
    }
}

/// Reads where the store stands; nothing if it has not begun.
pub(crate) fn read(db: &Connection) -> Result<Option<Standing>, StoreError> {
    let mut select = db.prepare_cached("SELECT * FROM standing")?;
    let stored = select.query_row([], Stored::of).optional()?;
    stored.map(|stored| standing(db, stored)).transpose()
}

/// Reads where the store stood when states were frozen, newest first.
pub(crate) fn frozen(db: &Connection) -> Result<Vec<Standing>, StoreError> {
    let mut select = db.prepare_cached("SELECT * FROM frozen ORDER BY height DESC")?;
    let rows: Vec<_> = select.query_map([], Stored::of)?.collect::<Result<_, _>>()?;
    rows.into_iter().map(|stored| standing(db, stored)).collect()
}

fn standing(db: &Connection, stored: Stored) -> Result<Standing, StoreError> {
    const WHAT: &str = "where the store stands";
    let missing = StoreError::Missing { what: WHAT };
    let Some((roster_since, roster)) = roster(db, stored.height)? else {
        return Err(StoreError::Missing { what: "the roster in force" });
    };
    let leader = match (stored.leader, stored.key) {
        (Some(id), Some(key)) => {
            let key = ValidatorKey::from_bytes(&hash(WHAT, &key)?);
            Some((
                NodeId::new(id),
                key.map_err(|_| StoreError::Missing { what: "a leader's key" })?,
            ))
        }
        _ => None,
    };
    let kind = match stored.kind.as_deref() {
        Some(name) => Some(kind(name).ok_or(missing)?),
        None => None,
    };
    let certificate = match stored.certificate {
        // It was verified before it was stored.
        Some(bytes) => Some(Checked::vouch(decode::<Certificate>("a certificate", bytes)?)),
        None => None,
    };
    let size = match (stored.entries, stored.top) {
        (Some(count), Some(top)) => {
            Some(StateSize { count: count.cast_unsigned(), top: Hash::new(hash(WHAT, &top)?) })
        }
        _ => None,
    };
    let block = BlockRef {
        term: Term::new(stored.term.cast_unsigned()),
        height: Height::new(stored.height.cast_unsigned()),
        hash: BlockHash::new(hash(WHAT, &stored.hash)?),
    };
    let time = TimeUs::new(stored.time.cast_unsigned());
    Ok(Standing {
        applied: Anchor { block, kind, time, leader, roster, roster_since },
        state_root: StateRoot::new(hash(WHAT, &stored.state_root)?),
        size,
        outcomes: Hash::new(hash(WHAT, &stored.outcomes)?),
        certificate,
        replaced: stored.replaced.map(replaced).transpose()?,
    })
}
