//! Writing: one connection, one transaction for a batch.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use quorate_chain::certificate::Certificate;
use quorate_chain::codec::Encode;
use quorate_chain::ids::{ChainId, Hash, TxId};
use quorate_chain::state::{Changes, StateEntry, StateKey};
use quorate_replica::store::{Batch, Executed, Standing, Store};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::error::StoreError;
use crate::place::{place, version};
use crate::read::SqliteReader;
use crate::schema::{self, INDEX_ROWS};
use crate::standing::{self, kind_name};

/// Bytes written after which pages are moved from SQLite's log into the file.
const LOG: usize = 16 << 20;

/// The writer of a store in a SQLite file.
///
/// Invariant: `index` is the newest table of the index by id, and has `rows` rows.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    reader: SqliteReader,
    index: i64,
    rows: i64,
    /// Bytes written since pages were last moved.
    logged: usize,
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
        db.set_prepared_statement_cache_capacity(64);
        make_or_check(&mut db, file, chain_id)?;
        let newest = "SELECT number, rows FROM tx_index ORDER BY number DESC LIMIT 1";
        let (index, rows) = db.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let reader = SqliteReader::new(file, chain_id);
        Ok(Self { db, reader, index, rows, logged: 0 })
    }
}

fn make_or_check(db: &mut Connection, file: &Path, chain_id: ChainId) -> Result<(), StoreError> {
    let number = |db: &Connection, name| db.pragma_query_value(None, name, |row| row.get(0));
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(schema::TABLES)?;
        transaction.execute_batch(&schema::index_table(0))?;
        transaction.execute("INSERT INTO tx_index VALUES (0, 0)", [])?;
        transaction.execute("INSERT INTO chain VALUES (1, ?1)", [chain_id.as_bytes()])?;
        transaction.pragma_update(None, "application_id", schema::APPLICATION)?;
        transaction.pragma_update(None, "user_version", schema::VERSION)?;
    }
    let found: i32 = number(&transaction, "application_id")?;
    if found != schema::APPLICATION {
        return Err(StoreError::Foreign { file: file.to_owned(), found });
    }
    let found: i32 = number(&transaction, "user_version")?;
    if found != schema::VERSION {
        let expected = schema::VERSION;
        return Err(StoreError::UnknownVersion { file: file.to_owned(), expected, found });
    }
    let bytes: Vec<u8> =
        transaction.query_row("SELECT chain_id FROM chain", [], |row| row.get(0))?;
    let found = ChainId::new(standing::hash("the chain's name", &bytes)?);
    if found != chain_id {
        return Err(StoreError::OtherChain { file: file.to_owned(), expected: chain_id, found });
    }
    Ok(transaction.commit()?)
}

/// The newest version of each key that a batch has written so far.
type Newest = BTreeMap<Bytes, i64>;

/// What one batch adds, within its transaction.
struct Taking<'a> {
    db: &'a Connection,
    index: i64,
    rows: i64,
    bytes: usize,
    newest: Newest,
}

impl Taking<'_> {
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
        self.bytes += block.bytes().len();
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
            self.bytes += signed.bytes().len();
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
            self.write(number, &write.key, write.value.as_deref())?;
        }
        Ok(())
    }

    /// Adds a version of a key.
    fn write(&mut self, number: i64, key: &Bytes, value: Option<&[u8]>) -> Result<(), StoreError> {
        let earlier = match self.newest.insert(key.clone(), number) {
            Some(earlier) => Some(earlier),
            None => newest_version(self.db, key)?,
        };
        self.db.prepare_cached("INSERT INTO version VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            number,
            earlier,
            key.as_ref(),
            value
        ])?;
        Ok(())
    }

    /// Puts the entries of the state in their places.
    fn entries(&self, changes: &Changes) -> Result<(), StoreError> {
        for (key, entry) in changes {
            let (path, digest) = (key.path(), entry.as_ref().map(StateEntry::digest));
            match key {
                StateKey::Value(name) => {
                    // A key that was touched and never written is as it was.
                    let Some(version) = self.newest.get(name) else { continue };
                    self.entry(path, digest, 1, name, Some(*version), None)?;
                }
                StateKey::Nonces(account) => {
                    let content = entry.as_ref().map(Encode::to_bytes);
                    self.entry(path, digest, 2, account.as_bytes(), None, content)?;
                }
                StateKey::Grants(account) => {
                    let content = entry.as_ref().map(Encode::to_bytes);
                    self.entry(path, digest, 3, account.as_bytes(), None, content)?;
                }
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        path: Hash,
        digest: Option<Hash>,
        kind: u8,
        name: &[u8],
        version: Option<i64>,
        content: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let (digest, content) = (digest.map(|digest| *digest.as_bytes()), content.as_deref());
        // An update leaves the index over the names alone, a replacement would not.
        self.db
            .prepare_cached(
                "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (path) DO UPDATE
                     SET digest = excluded.digest, version = excluded.version,
                         content = excluded.content",
            )?
            .execute(params![path.as_bytes(), digest, kind, name, version, content])?;
        Ok(())
    }
}

fn keep(db: &Connection, certificate: &Certificate) -> Result<(), StoreError> {
    let height = certificate.block().height.get().cast_signed();
    db.prepare_cached("REPLACE INTO certificate VALUES (?1, ?2)")?
        .execute(params![height, certificate.to_bytes().as_ref()])?;
    Ok(())
}

/// The newest version of a key, also of one that was removed.
pub(crate) fn newest_version(db: &Connection, key: &Bytes) -> Result<Option<i64>, StoreError> {
    let path = StateKey::Value(key.clone()).path();
    let mut select = db.prepare_cached("SELECT version FROM entry WHERE path = ?1")?;
    let found = select.query_row([path.as_bytes()], |row| row.get::<_, Option<i64>>(0));
    Ok(found.optional()?.flatten())
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
        let height = standing.applied.block.height;
        transaction.execute(
            "REPLACE INTO roster VALUES (?1, ?2)",
            params![
                standing.applied.roster_since.get().cast_signed(),
                standing.applied.roster.to_bytes().as_ref()
            ],
        )?;
        let mut taking =
            Taking { db: &transaction, index: 0, rows: 0, bytes: 0, newest: Newest::new() };
        for (operation, (key, entry)) in (0..).zip(changes) {
            if let (StateKey::Value(key), Some(StateEntry::Value(value))) = (key, entry) {
                taking.write(version(height, 0, operation)?, key, Some(&value.bytes))?;
            }
        }
        taking.entries(changes)?;
        standing::write(&transaction, &standing)?;
        transaction.commit()?;
        self.checkpoint()
    }

    fn apply(&mut self, batch: Batch) -> Result<(), StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut taking = Taking {
            db: &transaction,
            index: self.index,
            rows: self.rows,
            bytes: 0,
            newest: Newest::new(),
        };
        for executed in &batch.blocks {
            taking.block(executed)?;
        }
        taking.entries(&batch.changes)?;
        taking.keep_count()?;
        if let Some(certificate) = &batch.standing.certificate {
            keep(&transaction, certificate)?;
        }
        standing::write(&transaction, &batch.standing)?;
        let Taking { index, rows, bytes, .. } = taking;
        transaction.commit()?;
        (self.index, self.rows) = (index, rows);
        self.logged += bytes;
        if self.logged >= LOG { self.move_pages() } else { Ok(()) }
    }

    fn keep(&mut self, certificate: Certificate) -> Result<(), StoreError> {
        keep(&self.db, &certificate)
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        // A transaction that is synced syncs all those before it: they stand in one log. What readers
        // hold open cannot delay it, as it may delay the moving of pages.
        self.db.pragma_update(None, "synchronous", "FULL")?;
        self.db.execute("UPDATE standing SET one = 1", [])?;
        self.db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }
}

impl SqliteStore {
    /// Moves pages from SQLite's log into the file, as far as readers let it, so that the log begins
    /// anew.
    fn move_pages(&mut self) -> Result<(), StoreError> {
        self.logged = 0;
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        Ok(())
    }
}
