//! Writing: one connection, one transaction for a batch.

use std::path::Path;
use std::time::Duration;

use quorate_chain::block::Header;
use quorate_chain::certificate::Certificate;
use quorate_chain::codec::Encode;
use quorate_chain::ids::{ChainId, Hash, Height, Signature, TxId};
use quorate_chain::state::{Changes, StateEntry, StateKey};
use quorate_chain::state_root;
use quorate_replica::store::{self, Batch, Convicted, Entries, Executed, Install, Standing, Store};
use rusqlite::{Connection, TransactionBehavior, params};

use crate::blocks::number;
use crate::connect::prepare_once;
use crate::convicted;
use crate::error::StoreError;
use crate::keys::{self, Keys};
use crate::path::Halves;
use crate::place::{place, version};
use crate::read::SqliteReader;
use crate::schema::{self, INDEX_ROWS};
use crate::snapshot;
use crate::standing::{self, kind_name};
use crate::state::State;
use crate::steps;
use crate::versions;

/// Pages in SQLite's log after which they are moved into the file. The log is read whole when a node
/// starts, and pages that are written again and again are moved the less often the longer it is.
const LOG: i64 = 8_192;
/// After so many more, readers are waited for: each may begin before another one ends, so that the log is never free
/// to begin anew. New readers do not need it once all its pages are moved.
const OVERDUE: i64 = 2 * LOG;
/// How long readers are waited for. One that takes longer, such as a person with a transaction open, stops nobody: it is
/// tried again when the log has grown by as much.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long other writers are waited for. There are none but people.
const BUSY: Duration = Duration::from_secs(5);

/// The writer of a store in a SQLite file.
///
/// Invariant: `index` is the newest table of the index by id, and has `rows` rows.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    reader: SqliteReader,
    index: i64,
    rows: i64,
    /// The height of the state that was frozen last.
    frozen: Option<i64>,
    /// At how many pages of SQLite's log readers are waited for.
    overdue: i64,
}

impl SqliteStore {
    /// Opens the store in a file, which is made if it is not there.
    ///
    /// # Errors
    /// If the file is not a store of this chain and version, or cannot be read or written.
    pub fn open(file: &Path, chain_id: ChainId) -> Result<Self, StoreError> {
        let mut db = Connection::open(file)?;
        db.execute_batch(schema::SETTINGS)?;
        db.execute_batch(schema::WRITER_SETTINGS)?;
        prepare_once(&db)?;
        make_or_check(&mut db, file, chain_id)?;
        let newest = "SELECT number, rows FROM tx_index ORDER BY number DESC LIMIT 1";
        let (index, rows) = db.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let frozen = db.query_row("SELECT max(height) FROM frozen", [], |row| row.get(0))?;
        let reader = SqliteReader::new(file, chain_id);
        db.busy_timeout(BUSY)?;
        Ok(Self { db, reader, index, rows, frozen, overdue: LOG + OVERDUE })
    }
}

fn make_or_check(db: &mut Connection, file: &Path, chain_id: ChainId) -> Result<(), StoreError> {
    let setting = |db: &Connection, name| db.pragma_query_value(None, name, |row| row.get(0));
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.pragma_update(None, "application_id", schema::APPLICATION)?;
    }
    let found: i32 = setting(&transaction, "application_id")?;
    if found != schema::APPLICATION {
        return Err(StoreError::Foreign { file: file.to_owned(), found });
    }
    let found: i32 = setting(&transaction, "user_version")?;
    let missing = usize::try_from(found).ok().and_then(|found| schema::STEPS.get(found..));
    let Some(steps) = missing else {
        let expected = schema::VERSION;
        return Err(StoreError::UnknownVersion { file: file.to_owned(), expected, found });
    };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    if found < schema::WITH_LEAPS {
        versions::add_leaps(&transaction)?;
    }
    if found < schema::WITH_HALVES {
        keys::split_paths(&transaction)?;
    }
    if found == 0 {
        first_index(&transaction)?;
        transaction
            .execute("INSERT INTO chain (one, chain_id) VALUES (1, ?1)", [chain_id.as_bytes()])?;
    }
    transaction.pragma_update(None, "user_version", schema::VERSION)?;
    let bytes: Vec<u8> =
        transaction.query_row("SELECT chain_id FROM chain", [], |row| row.get(0))?;
    let found = ChainId::new(standing::hash("the chain's name", &bytes)?);
    if found != chain_id {
        return Err(StoreError::OtherChain { file: file.to_owned(), expected: chain_id, found });
    }
    Ok(transaction.commit()?)
}

/// Begins the index by id.
pub(crate) fn first_index(db: &Connection) -> Result<(), StoreError> {
    db.execute_batch(&schema::index_table(0))?;
    db.execute("INSERT INTO tx_index VALUES (0, 0)", [])?;
    Ok(())
}

/// What one batch adds, within its transaction.
struct Taking<'a> {
    db: &'a Connection,
    keys: &'a Keys<'a>,
    index: i64,
    rows: i64,
    frozen: Option<i64>,
}

impl Taking<'_> {
    fn batch(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for executed in &batch.blocks {
            self.block(executed)?;
        }
        self.entries(&batch.changes, &batch.leaves)?;
        self.keep_count()?;
        if let Some(certificate) = &batch.standing.certificate {
            keep(self.db, certificate)?;
        }
        steps::keep(self.db, &batch.steps)?;
        standing::write(self.db, &batch.standing)
    }

    fn block(&mut self, executed: &Executed) -> Result<(), StoreError> {
        let (block, header) = (&executed.block, executed.block.header());
        let height = header.height.get().cast_signed();
        self.db
            .prepare_cached("INSERT INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
            .execute(params![
                height,
                header.term.get().cast_signed(),
                block.hash().as_bytes(),
                kind_name(header.kind),
                header.proposer.get(),
                header.time.get().cast_signed(),
                header.transactions,
                executed.state_root.as_bytes(),
                block.bytes().as_ref(),
            ])?;
        if let Some(roster) = &executed.roster {
            self.db
                .prepare_cached("REPLACE INTO roster VALUES (?1, ?2)")?
                .execute(params![height, roster.to_bytes().as_ref()])?;
        }
        self.transactions(executed)?;
        self.writes(executed)
    }

    fn transactions(&mut self, executed: &Executed) -> Result<(), StoreError> {
        let height = executed.block.header().height;
        let transactions = &executed.block.body().transactions;
        for (index, (signed, outcome)) in (0..).zip(transactions.iter().zip(&executed.outcomes)) {
            let (at, id, content) = (place(height, index)?, signed.id(), signed.content());
            // The id stands in a column of its own.
            let outcome = outcome.to_bytes().split_off(TxId::LENGTH);
            self.db.prepare_cached("INSERT INTO tx VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
                params![
                    at,
                    id.as_bytes(),
                    content.sender.as_bytes(),
                    content.nonce.get().cast_signed(),
                    outcome.as_ref(),
                ],
            )?;
            if self.rows >= INDEX_ROWS {
                self.next_index()?;
            }
            self.db
                .prepare_cached(&format!("INSERT INTO tx_index_{} VALUES (?1, ?2)", self.index))?
                .execute(params![half(id), at])?;
            self.rows += 1;
        }
        Ok(())
    }

    /// Begins the next table of the index by id.
    fn next_index(&mut self) -> Result<(), StoreError> {
        self.keep_count()?;
        (self.index, self.rows) = (self.index + 1, 0);
        self.db.execute_batch(&schema::index_table(self.index))?;
        self.db.execute("INSERT INTO tx_index VALUES (?1, 0)", [self.index])?;
        Ok(())
    }

    fn keep_count(&self) -> Result<(), StoreError> {
        self.db
            .prepare_cached("UPDATE tx_index SET rows = ?2 WHERE number = ?1")?
            .execute([self.index, self.rows])?;
        Ok(())
    }

    fn writes(&mut self, executed: &Executed) -> Result<(), StoreError> {
        let height = executed.block.header().height;
        for write in &executed.writes {
            let number = version(height, write.index, write.operation)?;
            self.keys.add(number, &write.key, write.value.as_deref())?;
        }
        Ok(())
    }

    /// Puts the entries of the state in their places. Those of the leaves that are known are not computed again.
    fn entries(&self, changes: &Changes, leaves: &state_root::Changes) -> Result<(), StoreError> {
        for (key, entry) in changes {
            let digest = |path: &Hash| match leaves.get(path) {
                Some(digest) => *digest,
                None => entry.as_ref().map(StateEntry::digest),
            };
            match key {
                // A key that was touched and never written is as it was.
                StateKey::Value(name) => self.keys.put(name, digest)?,
                StateKey::Nonces(_) | StateKey::Grants(_) => {
                    let path = key.path();
                    self.keep_before(path)?;
                    put(self.db, key, path, entry.as_ref(), digest(&path))?;
                }
            }
        }
        Ok(())
    }

    /// Keeps what an entry was in the state that was frozen last, unless it has changed since.
    fn keep_before(&self, path: Hash) -> Result<(), StoreError> {
        let Some(frozen) = self.frozen else { return Ok(()) };
        let Halves { first, rest } = Halves::of(&path);
        self.db
            .prepare_cached(
                "INSERT OR IGNORE INTO before
                     VALUES (?1, ?2, (SELECT content FROM entry WHERE half = ?3 AND rest = ?4))",
            )?
            .execute(params![frozen, path.as_bytes(), first, rest])?;
        Ok(())
    }
}

/// Puts nonces or grants in their place.
pub(crate) fn put(
    db: &Connection,
    key: &StateKey,
    path: Hash,
    entry: Option<&StateEntry>,
    digest: Option<Hash>,
) -> Result<(), StoreError> {
    let (kind, name) = match key {
        StateKey::Value(name) => (keys::VALUE, name.as_ref()),
        StateKey::Nonces(account) => (2, account.as_bytes().as_slice()),
        StateKey::Grants(account) => (3, account.as_bytes().as_slice()),
    };
    let Halves { first, rest } = Halves::of(&path);
    let (digest, content) = (digest.map(|digest| *digest.as_bytes()), entry.map(Encode::to_bytes));
    db.prepare_cached(
        "INSERT INTO entry (half, rest, digest, kind, name, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (half, rest) DO UPDATE
             SET digest = excluded.digest, content = excluded.content",
    )?
    .execute(params![first, rest, digest, kind, name, content.as_deref()])?;
    Ok(())
}

pub(crate) fn keep(db: &Connection, certificate: &Certificate) -> Result<(), StoreError> {
    let height = certificate.block().height.get().cast_signed();
    db.prepare_cached("REPLACE INTO certificate VALUES (?1, ?2)")?
        .execute(params![height, certificate.to_bytes().as_ref()])?;
    Ok(())
}

/// The first half of a transaction's id, as the index has it.
pub(crate) fn half(id: TxId) -> i64 {
    let bytes = id.as_bytes().first_chunk().copied().unwrap_or_default();
    i64::from_be_bytes(bytes)
}

impl Store for SqliteStore {
    type Error = StoreError;
    type Reader = SqliteReader;

    fn reader(&self) -> SqliteReader {
        self.reader.clone()
    }

    fn begin(&mut self, standing: Standing, changes: &Changes) -> Result<(), StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // There may be more of them than a transaction has operations.
        let first = version(standing.applied.block.height, 0, 0)?;
        transaction.execute(
            "REPLACE INTO roster VALUES (?1, ?2)",
            params![
                standing.applied.roster_since.get().cast_signed(),
                standing.applied.roster.to_bytes().as_ref()
            ],
        )?;
        let keys = Keys::new(&transaction);
        let taking = Taking { db: &transaction, keys: &keys, index: 0, rows: 0, frozen: None };
        let values = changes.iter().filter_map(|change| match change {
            (StateKey::Value(key), Some(StateEntry::Value(value))) => Some((key, &value.bytes)),
            _ => None,
        });
        for (number, (key, value)) in (first..).zip(values) {
            keys.add(number, key, Some(value))?;
        }
        taking.entries(changes, &state_root::Changes::new())?;
        standing::write(&transaction, &standing)?;
        transaction.commit()?;
        self.checkpoint()
    }

    fn apply_from<E: From<StoreError>>(
        &mut self,
        make: impl FnOnce(&dyn store::State<StoreError>) -> Result<Batch, E>,
    ) -> Result<(), E> {
        let immediate = TransactionBehavior::Immediate;
        let transaction = self.db.transaction_with_behavior(immediate).map_err(StoreError::from)?;
        let state = State::of(&transaction);
        let batch = make(&state)?;
        let mut taking = Taking {
            db: &transaction,
            keys: &state.keys,
            index: self.index,
            rows: self.rows,
            frozen: self.frozen,
        };
        taking.batch(&batch)?;
        let Taking { index, rows, .. } = taking;
        drop(state);
        transaction.commit().map_err(StoreError::from)?;
        (self.index, self.rows) = (index, rows);
        Ok(self.move_pages()?)
    }

    fn keep(&mut self, certificate: Certificate) -> Result<(), StoreError> {
        keep(&self.db, &certificate)
    }

    fn convict(&mut self, convicted: Convicted) -> Result<(), StoreError> {
        convicted::keep(&self.db, &convicted)?;
        self.checkpoint()
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        // A transaction that is synced syncs all those before it: they stand in one log. What readers
        // hold open cannot delay it, as it may delay the moving of pages.
        self.db.pragma_update(None, "synchronous", "FULL")?;
        self.db.execute("UPDATE standing SET one = 1", [])?;
        self.db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }

    fn prune(&mut self, below: Height) -> Result<(), StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let from: i64 = transaction.query_row("SELECT pruned FROM chain", [], |row| row.get(0))?;
        let below = number(below);
        if below > from {
            let length = i64::try_from(Header::LENGTH + Signature::LENGTH).unwrap_or(i64::MAX);
            transaction.execute(schema::PRUNE, [from, below, length])?;
            transaction.execute("DELETE FROM certificate WHERE height < ?1", [below])?;
            transaction.execute("UPDATE chain SET pruned = ?1", [below])?;
        }
        Ok(transaction.commit()?)
    }

    fn freeze(&mut self, keep: Option<Height>) -> Result<bool, StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let frozen = snapshot::freeze(&transaction, keep)?;
        transaction.commit()?;
        self.frozen = frozen;
        Ok(true)
    }

    fn stage(&mut self, entries: Entries, first: bool) -> Result<bool, StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        snapshot::stage(&transaction, &entries, first)?;
        transaction.commit()?;
        self.move_pages()?;
        Ok(true)
    }

    fn install(&mut self, install: Install) -> Result<bool, StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        snapshot::install(&transaction, &install.standing)?;
        steps::keep(&transaction, &install.steps)?;
        transaction.commit()?;
        (self.index, self.rows, self.frozen) = (0, 0, None);
        self.move_pages()?;
        Ok(true)
    }
}

impl SqliteStore {
    /// Moves pages from SQLite's log into the file once it is long, as far as readers let it, so that it
    /// begins anew. SQLite would do it by itself, and not say that it failed.
    fn move_pages(&mut self) -> Result<(), StoreError> {
        let mut ask = self.db.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        let pages: i64 = ask.query_row([], |row| row.get("log"))?;
        if pages < LOG {
            self.overdue = LOG + OVERDUE;
        } else if pages < self.overdue {
            self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        } else {
            self.db.busy_timeout(PATIENCE)?;
            let restarted = self.db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
            self.db.busy_timeout(BUSY)?;
            restarted?;
            self.overdue = pages + OVERDUE;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::store::suite;

    use super::*;

    #[test]
    fn a_file_of_an_older_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chain.db");
        let db = Connection::open(&file).unwrap();
        db.execute_batch(schema::STEPS[0]).unwrap();
        first_index(&db).unwrap();
        db.execute("INSERT INTO chain VALUES (1, ?1)", [suite::CHAIN.as_bytes()]).unwrap();
        db.pragma_update(None, "application_id", schema::APPLICATION).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        drop(db);
        for _ in 0..2 {
            let mut store = SqliteStore::open(&file, suite::CHAIN).unwrap();
            let version =
                store.db.query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0)).unwrap();
            assert_eq!(version, schema::VERSION);
            store.freeze(None).unwrap();
        }
        let db = Connection::open(&file).unwrap();
        db.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
        let newer = SqliteStore::open(&file, suite::CHAIN);
        assert!(matches!(newer, Err(StoreError::UnknownVersion { .. })), "{newer:?}");
    }
}
