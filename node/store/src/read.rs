//! Reading: any number of readers, each question one snapshot.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::codec::{Decode as _, Reader};
use quorate_chain::ids::{
    AccountKey, BlockHash, BlockRef, ChainId, Hash, Height, StateRoot, Term, TxId,
};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::Roster;
use quorate_chain::state::{Grants, Nonces, StateRead, Value};
use quorate_chain::state_root::{Leaf, Leaves, PathRange};
use quorate_replica::store::{Convicted, Entries, Place, Range, Standing, StoreReader, Version};
use rusqlite::{Connection, OptionalExtension, Rows, params};

use crate::blocks::{base_header, below_all, block, certificate, height, number, range_end};
use crate::connect::connect;
use crate::convicted;
use crate::error::StoreError;
use crate::index::Index;
use crate::keys::Keys;
use crate::path::{above, join};
use crate::place::{self, place, split_place, split_version};
use crate::snapshot;
use crate::standing::{self, decode, hash};
use crate::state::State;
use crate::steps;
use crate::versions::newest_below;
use crate::writer::Behind;

/// Most connections kept for the next question.
const IDLE: usize = 8;

/// A reader of a store in a SQLite file. Clones share their connections.
#[derive(Clone)]
pub struct SqliteReader {
    file: Arc<PathBuf>,
    chain_id: ChainId,
    idle: Arc<Mutex<Vec<Connection>>>,
    index: Index,
    writer: Behind,
}

impl fmt::Debug for SqliteReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteReader").field("file", &self.file).finish_non_exhaustive()
    }
}

impl SqliteReader {
    pub(crate) fn new(file: &Path, chain_id: ChainId, index: Index, writer: Behind) -> Self {
        let (file, idle) = (Arc::new(file.to_owned()), Arc::default());
        Self { file, chain_id, idle, index, writer }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Answers a question on one snapshot.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.writer.catch_up()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = idle.map_or_else(|| connect(&self.file), Ok)?;
        // Kept statements: to parse these two would take longer than most questions. A connection that failed is closed.
        db.prepare_cached("BEGIN")?.execute([])?;
        let answer = question(&db)?;
        db.prepare_cached("COMMIT")?.execute([])?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(db);
        }
        Ok(answer)
    }

    fn block_ref(&self, db: &Connection, height: Height) -> Result<Option<BlockRef>, StoreError> {
        if height == Height::ZERO {
            return Ok(Some(self.chain_id.genesis_ref()));
        }
        let base = below_all(db)?.filter(|base| base.height == height);
        if base.is_some() {
            return Ok(base);
        }
        let mut select = db.prepare_cached("SELECT term, hash FROM block WHERE height = ?1")?;
        let row = select.query_row([number(height)], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((term, name)) = row.optional()? else { return Ok(None) };
        let (term, name): (i64, Vec<u8>) = (term, name);
        let hash = BlockHash::new(hash("a block's name", &name)?);
        Ok(Some(BlockRef { term: Term::new(term.cast_unsigned()), height, hash }))
    }
}

/// What became of a transaction: its id and the rest of its outcome stand in two columns.
fn outcome(id: Vec<u8>, rest: Vec<u8>) -> Result<Outcome, StoreError> {
    decode("an outcome", [id, rest].concat())
}

const VERSION: &str = "SELECT version.earlier, version.value, tx.id
    FROM version LEFT JOIN tx ON tx.place = version.version >> 7 WHERE version.version = ?1";

fn tx_id(id: Option<Vec<u8>>) -> Result<TxId, StoreError> {
    // What the genesis wrote is by no transaction.
    let Some(id) = id else { return Ok(TxId::ZERO) };
    Ok(TxId::new(hash("a transaction's id", &id)?))
}

/// A value that came with a snapshot.
fn base(db: &Connection, number: i64) -> Result<Option<Version>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT base.height, base.tx, version.value FROM base JOIN version USING (version)
         WHERE version = ?1",
    )?;
    let row = select.query_row([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let Some((at, tx, value)) = row.optional()? else { return Ok(None) };
    let (tx, value) = (tx_id(tx)?, Option::<Vec<u8>>::map(value, Bytes::from));
    Ok(Some(Version { height: height(at), index: 0, operation: 0, tx, value }))
}

/// A version and the number of the one before it.
pub(crate) fn version_at(
    db: &Connection,
    number: i64,
) -> Result<Option<(Version, Option<i64>)>, StoreError> {
    if number < 0 {
        return Ok(base(db, number)?.map(|version| (version, None)));
    }
    let mut select = db.prepare_cached(VERSION)?;
    let mut rows = select.query([number])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (earlier, value, id): (_, Option<Vec<u8>>, _) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (height, index, operation) = split_version(number);
    let (tx, value) = (tx_id(id)?, value.map(Bytes::from));
    Ok(Some((Version { height, index, operation, tx, value }, earlier)))
}

pub(crate) fn leaves(mut rows: Rows<'_>) -> Result<Vec<Leaf>, StoreError> {
    let missing = |_| StoreError::Missing { what: "a leaf of the state" };
    let mut leaves = Vec::new();
    while let Some(row) = rows.next()? {
        let path = join(row.get(0)?, row.get_ref(1)?.as_blob().map_err(missing)?)?;
        let digest = hash("a digest", row.get_ref(2)?.as_blob().map_err(missing)?)?;
        leaves.push(Leaf { path, digest: Hash::new(digest) });
    }
    Ok(leaves)
}

impl StateRead for SqliteReader {
    type Error = StoreError;

    fn value(&self, key: &Bytes) -> Result<Option<Value>, StoreError> {
        self.ask(|db| State::of(db).value(key))
    }

    fn has(&self, key: &Bytes) -> Result<bool, StoreError> {
        self.ask(|db| State::of(db).has(key))
    }

    fn nonces(&self, account: AccountKey) -> Result<Nonces, StoreError> {
        self.ask(|db| State::of(db).nonces(account))
    }

    fn grants(&self, account: AccountKey) -> Result<Grants, StoreError> {
        self.ask(|db| State::of(db).grants(account))
    }
}

impl Leaves for SqliteReader {
    type Error = StoreError;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, StoreError> {
        self.ask(|db| State::of(db).within(range))
    }
}

impl StoreReader for SqliteReader {
    fn standing(&self) -> Result<Option<Standing>, StoreError> {
        self.ask(standing::read)
    }

    fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        self.ask(|db| block(db, height))
    }

    fn header(&self, height: Height) -> Result<Option<SignedHeader>, StoreError> {
        self.ask(|db| {
            let mut select = db.prepare_cached("SELECT bytes FROM block WHERE height = ?1")?;
            let kept = select.query_row([number(height)], |row| row.get(0)).optional()?;
            let bytes = if kept.is_some() { kept } else { base_header(db, height)? };
            let Some(bytes) = bytes.map(Vec::into) else { return Ok(None) };
            let header = SignedHeader::decode(&mut Reader::new(bytes));
            Ok(Some(header.map_err(|why| StoreError::Damaged { what: "a header", why })?))
        })
    }

    fn height_of(&self, hash: BlockHash) -> Result<Option<Height>, StoreError> {
        self.ask(|db| {
            let mut select = db.prepare_cached("SELECT height FROM block WHERE hash = ?1")?;
            let found = select.query_row([hash.as_bytes()], |row| row.get(0)).optional()?;
            Ok(found.map(height))
        })
    }

    fn applied(&self) -> Result<Height, StoreError> {
        // Asked with every read of a value: the rest of the row takes longer to decode than the value to find.
        self.ask(|db| {
            let mut select = db.prepare_cached("SELECT height FROM standing")?;
            let found = select.query_row([], |row| row.get(0)).optional()?;
            Ok(found.map_or(Height::ZERO, height))
        })
    }

    fn oldest(&self) -> Result<Option<Height>, StoreError> {
        self.ask(|db| {
            let mut select = db.prepare_cached(
                "SELECT min(height) FROM block WHERE height >= (SELECT pruned FROM chain)",
            )?;
            Ok(select.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(height))
        })
    }

    fn range(&self, from: Height, bytes: usize) -> Result<Option<Range>, StoreError> {
        self.ask(|db| {
            let Some(below) = from.previous() else { return Ok(None) };
            let Some(parent) = self.block_ref(db, below)? else { return Ok(None) };
            let Some(end) = range_end(db, from, bytes)? else { return Ok(None) };
            let missing = StoreError::Missing { what: "a certificate" };
            let certificate = certificate(db, end, end)?.ok_or(missing)?;
            let mut select = db.prepare_cached(
                "SELECT bytes FROM block WHERE height BETWEEN ?1 AND ?2 ORDER BY height",
            )?;
            let mut rows = select.query([number(from), number(end)])?;
            let mut blocks = Vec::new();
            while let Some(row) = rows.next()? {
                blocks.push(decode("a block", row.get(0)?)?);
            }
            Ok(Some(Range { parent, blocks, certificate }))
        })
    }

    fn certificate(&self, from: Height) -> Result<Option<Certificate>, StoreError> {
        self.ask(|db| certificate(db, from, Height::new(u64::MAX)))
    }

    fn place(&self, tx: TxId) -> Result<Option<Place>, StoreError> {
        self.ask(|db| {
            for place in self.index.places(db, tx)? {
                if let Some(found) = self.place_at(db, place, tx)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    fn outcomes(&self, height: Height) -> Result<Option<Vec<Outcome>>, StoreError> {
        self.ask(|db| {
            let mut select = db.prepare_cached("SELECT 1 FROM block WHERE height = ?1")?;
            let kept = select.exists([number(height)])?;
            let Some(next) = height.next().filter(|_| kept) else { return Ok(None) };
            let first = place(height, 0)?;
            let mut select = db.prepare_cached(
                "SELECT id, outcome FROM tx WHERE place >= ?1 AND place < ?2 ORDER BY place",
            )?;
            let rows = select.query_map([first, place(next, 0)?], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
            let mut outcomes = Vec::new();
            for row in rows {
                let (id, rest) = row?;
                outcomes.push(outcome(id, rest)?);
            }
            Ok(Some(outcomes))
        })
    }

    fn state_root(&self, height: Height) -> Result<Option<StateRoot>, StoreError> {
        self.ask(|db| {
            // An installed snapshot stands at a height without its block.
            let mut select = db.prepare_cached(
                "SELECT state_root FROM block WHERE height = ?1
                 UNION ALL SELECT state_root FROM standing WHERE height = ?1 LIMIT 1",
            )?;
            let root = select.query_row([number(height)], |row| row.get::<_, Vec<u8>>(0));
            let root = root.optional()?.map(|root| hash("a state root", &root)).transpose()?;
            Ok(root.map(StateRoot::new))
        })
    }

    fn earlier_roots(
        &self,
        below: Height,
        most: usize,
    ) -> Result<Vec<(Height, StateRoot)>, StoreError> {
        self.ask(|db| {
            let mut select = db.prepare_cached(
                "SELECT height, state_root FROM block WHERE height < ?1
                 ORDER BY height DESC LIMIT ?2",
            )?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let mut rows = select.query((number(below), most))?;
            let mut roots = Vec::new();
            while let Some(row) = rows.next()? {
                let root = hash("a state root", &row.get::<_, Vec<u8>>(1)?)?;
                roots.push((height(row.get(0)?), StateRoot::new(root)));
            }
            Ok(roots)
        })
    }

    fn roster(&self, height: Height) -> Result<Option<(Height, Arc<Roster>)>, StoreError> {
        self.ask(|db| standing::roster(db, number(height)))
    }

    fn leaves_after(&self, after: Option<Hash>, limit: usize) -> Result<Vec<Leaf>, StoreError> {
        self.ask(|db| {
            let mut select = db.prepare_cached(
                "SELECT half, rest, digest FROM entry
                 WHERE (half, rest) > (?1, ?2) AND digest IS NOT NULL ORDER BY half, rest LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let (half, rest) = above(after.as_ref());
            leaves(select.query(params![half, rest, limit])?)
        })
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Value)>, StoreError> {
        self.ask(|db| {
            let mut select = db.prepare_cached(
                "SELECT entry.name, coalesce(base.height, version.version >> 21), version.value,
                     coalesce(base.tx, tx.id)
                 FROM entry JOIN version USING (version) LEFT JOIN base USING (version)
                     LEFT JOIN tx ON tx.place = entry.version >> 7
                 WHERE entry.kind = 1
                     AND entry.name >= ?1 AND (?2 IS NULL OR entry.name > ?2)
                 ORDER BY entry.name LIMIT ?3",
            )?;
            // Whoever goes on after a key need not read what is before it.
            let first = after.map_or(prefix, |after| after.max(prefix));
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = select.query(params![first, after, limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let name: Vec<u8> = row.get(0)?;
                if !name.starts_with(prefix) {
                    break;
                }
                let height = height(row.get(1)?);
                let value: Option<Vec<u8>> = row.get(2)?;
                let bytes = value.ok_or(StoreError::Missing { what: "the value of a key" })?;
                let tx = tx_id(row.get(3)?)?;
                found.push((Bytes::from(name), Value { height, tx, bytes: Bytes::from(bytes) }));
            }
            Ok(found)
        })
    }

    fn history(
        &self,
        key: &[u8],
        before: Option<(Height, u32, u8)>,
        limit: usize,
    ) -> Result<Vec<Version>, StoreError> {
        self.ask(|db| {
            let known = Keys::new(db).get(&Bytes::copy_from_slice(key))?;
            let mut next = known.newest().map(|newest| newest.version);
            let before = before
                .and_then(|(height, index, operation)| place::before(height, index, operation));
            if let Some(before) = before {
                next = newest_below(db, next, before)?;
            }
            let mut found = Vec::new();
            // What came with a snapshot is a value without a history.
            while let Some(number) = next.filter(|number| *number >= 0)
                && found.len() < limit
            {
                let missing = StoreError::Missing { what: "a version of a key" };
                let (version, earlier) = version_at(db, number)?.ok_or(missing)?;
                found.push(version);
                next = earlier;
            }
            Ok(found)
        })
    }

    fn roster_steps(&self, above: Height, bytes: usize) -> Result<Vec<RosterStep>, StoreError> {
        self.ask(|db| steps::above(db, above, bytes))
    }

    fn convicted(&self) -> Result<Vec<Convicted>, StoreError> {
        self.ask(convicted::all)
    }

    fn frozen(&self) -> Result<Vec<Standing>, StoreError> {
        self.ask(standing::frozen)
    }

    fn frozen_entries(
        &self,
        height: Height,
        after: Option<Hash>,
        bytes: usize,
    ) -> Result<Option<Entries>, StoreError> {
        self.ask(|db| snapshot::entries(db, height, after, bytes))
    }

    fn staged_leaves(&self, after: Option<Hash>, limit: usize) -> Result<Vec<Leaf>, StoreError> {
        self.ask(|db| snapshot::staged_leaves(db, after, limit))
    }
}

impl SqliteReader {
    /// The transaction at a place, if it is this one and counts for something.
    fn place_at(&self, db: &Connection, place: i64, tx: TxId) -> Result<Option<Place>, StoreError> {
        let mut select = db.prepare_cached("SELECT id, outcome FROM tx WHERE place = ?1")?;
        let row = select
            .query_row([place], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)));
        // What stands in memory may be newer than what is seen here.
        let Some((id, rest)) = row.optional()? else { return Ok(None) };
        let outcome = outcome(id, rest)?;
        if outcome.tx != tx || matches!(outcome.status, Status::Void(_)) {
            return Ok(None);
        }
        let (height, index) = split_place(place);
        let block = self.block_ref(db, height)?;
        let block = block.ok_or(StoreError::Missing { what: "a transaction's block" })?;
        Ok(Some(Place { block, index, outcome }))
    }
}
