//! The writer behind the replica's seam.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_chain::block::Header;
use quorate_chain::certificate::Certificate;
use quorate_chain::codec::Encode;
use quorate_chain::ids::{ChainId, Height, Signature};
use quorate_chain::state::{Changes, StateEntry, StateKey};
use quorate_chain::state_root;
use quorate_replica::store::{self, Batch, Convicted, Entries, Install, Standing, Store};
use rusqlite::params;

use crate::batch::{Taking, keep};
use crate::blocks::number;
use crate::convicted;
use crate::error::StoreError;
use crate::keeper::Keeper;
use crate::keys::Keys;
use crate::place::version;
use crate::read::SqliteReader;
use crate::schema;
use crate::snapshot;
use crate::state::State;
use crate::writer::{Behind, Writer};

/// The writer of a store in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    /// Before the writer: it ends first.
    keeper: Option<Keeper>,
    writer: Arc<Mutex<Writer>>,
    reader: SqliteReader,
}

impl SqliteStore {
    /// Opens the store in a file, which is made if it is not there.
    ///
    /// # Errors
    /// If the file is not a store of this chain and version, or cannot be read or written.
    pub fn open(file: &Path, chain_id: ChainId) -> Result<Self, StoreError> {
        let writer = Writer::open(file, chain_id)?;
        let (index, signs) = (writer.index.clone(), Arc::clone(&writer.signs));
        let writer = Arc::new(Mutex::new(writer));
        let reader = SqliteReader::new(file, chain_id, index, Behind::of(signs, &writer));
        Ok(Self { keeper: None, writer, reader })
    }

    /// The same store, with a thread that syncs and moves what was committed: whoever takes over batches does not wait
    /// for the disk.
    ///
    /// # Errors
    /// If there is no thread to be had, or SQLite's log cannot be opened.
    pub fn with_keeper(mut self) -> Result<Self, StoreError> {
        self.keep_with(Keeper::start)?;
        Ok(self)
    }

    pub(crate) fn keep_with(
        &mut self,
        keeper: impl FnOnce(&Path, &Arc<Mutex<Writer>>) -> Result<Keeper, StoreError>,
    ) -> Result<(), StoreError> {
        self.keeper = Some(keeper(self.reader.file(), &self.writer)?);
        Ok(())
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many rows a batch writes, about.
fn rows(batch: &Batch) -> usize {
    let of_block = |block: &store::Executed| 1 + block.outcomes.len() + block.writes.len();
    batch.blocks.iter().map(of_block).sum::<usize>() + batch.changes.len()
}

impl Store for SqliteStore {
    type Error = StoreError;
    type Reader = SqliteReader;

    fn reader(&self) -> SqliteReader {
        self.reader.clone()
    }

    fn begin(&mut self, standing: Standing, changes: &Changes) -> Result<(), StoreError> {
        let mut writer = self.writer();
        // There may be more of them than a transaction has operations.
        let first = version(standing.applied.block.height, 0, 0)?;
        writer.within(|writer| {
            writer.db.execute(
                "REPLACE INTO roster VALUES (?1, ?2)",
                params![
                    standing.applied.roster_since.get().cast_signed(),
                    standing.applied.roster.to_bytes().as_ref()
                ],
            )?;
            let Writer { db, index, entries, .. } = &*writer;
            let keys = &Keys::with(db, entries);
            let values = changes.iter().filter_map(|change| match change {
                (StateKey::Value(key), Some(StateEntry::Value(value))) => Some((key, &value.bytes)),
                _ => None,
            });
            for (number, (key, value)) in (first..).zip(values) {
                keys.add(number, key, Some(value))?;
            }
            let taking = Taking { db, keys, index, entries };
            taking.entries(changes.clone(), &state_root::Changes::new())?;
            writer.standing = Some(standing);
            Ok::<_, StoreError>(())
        })?;
        writer.checkpoint()
    }

    fn apply_from<E: From<StoreError>>(
        &mut self,
        make: impl FnOnce(&dyn store::State<StoreError>) -> Result<Batch, E>,
    ) -> Result<(), E> {
        let mut writer = self.writer();
        let rows = writer.within(|writer| -> Result<usize, E> {
            let Writer { db, index, entries, .. } = &*writer;
            let state = State::with(db, entries);
            let batch = make(&state)?;
            let rows = rows(&batch);
            let standing = Taking { db, keys: &state.keys, index, entries }.batch(batch)?;
            writer.standing = Some(standing);
            Ok(rows)
        })?;
        Ok(writer.batch_is_done(rows)?)
    }

    fn pause(&mut self) -> Result<(), StoreError> {
        self.writer().pause()
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.writer().commit()
    }

    fn keep(&mut self, certificate: Certificate) -> Result<(), StoreError> {
        let mut writer = self.writer();
        writer.within(|writer| keep(&writer.db, &certificate))?;
        writer.batch_is_done(1)
    }

    fn convict(&mut self, convicted: Convicted) -> Result<(), StoreError> {
        let mut writer = self.writer();
        writer.within(|writer| convicted::keep(&writer.db, &convicted))?;
        writer.checkpoint()
    }

    fn begin_checkpoint(&mut self) -> Result<(), StoreError> {
        self.writer().begin_checkpoint()
    }

    fn is_safe(&mut self) -> Result<bool, StoreError> {
        self.writer().is_safe()
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.writer().checkpoint()
    }

    fn prune(&mut self, below: Height) -> Result<(), StoreError> {
        let mut writer = self.writer();
        writer.within(|writer| {
            let db = &writer.db;
            let from: i64 = db.query_row("SELECT pruned FROM chain", [], |row| row.get(0))?;
            let below = number(below);
            if below > from {
                let length = i64::try_from(Header::LENGTH + Signature::LENGTH).unwrap_or(i64::MAX);
                db.execute(schema::PRUNE, [from, below, length])?;
                db.execute("DELETE FROM certificate WHERE height < ?1", [below])?;
                db.execute("UPDATE chain SET pruned = ?1", [below])?;
            }
            Ok::<_, StoreError>(())
        })?;
        writer.batch_is_done(0)
    }

    fn freeze(&mut self, keep: Option<Height>) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        let frozen = writer.with_tables(|writer| snapshot::freeze(&writer.db, keep))?;
        writer.commit()?;
        writer.frozen = frozen;
        Ok(true)
    }

    fn stage(&mut self, entries: Entries, first: bool) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        writer.within(|writer| snapshot::stage(&writer.db, &entries, first))?;
        writer.commit()?;
        Ok(true)
    }

    fn install(&mut self, install: Install) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        let frozen = writer.within(|writer| {
            let Writer { db, index, entries, standing, .. } = writer;
            *standing = None;
            snapshot::install(db, index, entries.get_mut(), &install)
        })?;
        writer.commit()?;
        writer.frozen = frozen;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::store::{StoreReader as _, suite};
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_file_of_an_older_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chain.db");
        let db = Connection::open(&file).unwrap();
        db.execute_batch(schema::STEPS[0]).unwrap();
        db.execute_batch("CREATE TABLE tx_index_0 (half INTEGER NOT NULL, place INTEGER NOT NULL)")
            .unwrap();
        db.execute("INSERT INTO tx_index VALUES (0, 0)", []).unwrap();
        db.execute("INSERT INTO chain VALUES (1, ?1)", [suite::CHAIN.as_bytes()]).unwrap();
        db.pragma_update(None, "application_id", schema::APPLICATION).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        drop(db);
        for _ in 0..2 {
            let mut store = SqliteStore::open(&file, suite::CHAIN).unwrap();
            let version = store
                .writer()
                .db
                .query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0))
                .unwrap();
            assert_eq!(version, schema::VERSION);
            store.freeze(None).unwrap();
        }
        let db = Connection::open(&file).unwrap();
        db.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
        let newer = SqliteStore::open(&file, suite::CHAIN);
        assert!(matches!(newer, Err(StoreError::UnknownVersion { .. })), "{newer:?}");
    }

    const FILE: &str = "chain.db";

    /// A store at the genesis, in a folder that goes with it.
    fn begun() -> (tempfile::TempDir, SqliteStore, suite::Chain) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&folder.path().join(FILE), suite::CHAIN).unwrap();
        store.begin(suite::genesis(), &Changes::new()).unwrap();
        (folder, store, suite::Chain::default())
    }

    /// The applied height, as somebody sees it who has the file open.
    fn seen(file: &Path) -> i64 {
        let db = Connection::open(file).unwrap();
        db.query_row("SELECT height FROM standing", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn batches_wait_for_more_and_who_asks_the_store_sees_all_of_them() {
        let (folder, mut store, mut chain) = begun();
        let file = folder.path().join(FILE);
        let mut apply = |store: &mut SqliteStore, count| {
            for _ in 0..count {
                store.apply(chain.batch(1, Changes::new())).unwrap();
            }
        };
        let applied = |store: &SqliteStore| {
            store.reader().standing().unwrap().unwrap().applied.block.height.get()
        };
        apply(&mut store, 3);
        assert_eq!(seen(&file), 0);
        assert_eq!((applied(&store), seen(&file)), (3, 3));
        // Somebody has asked, and may ask again.
        apply(&mut store, 1);
        assert_eq!(seen(&file), 4);
        apply(&mut store, 2);
        assert_eq!(seen(&file), 4);
        store.settle().unwrap();
        assert_eq!(seen(&file), 6);
        apply(&mut store, 4_000);
        assert!(seen(&file) > 6, "so many are not left open");
        // What is open when a process ends is gone, in whole batches.
        store.settle().unwrap();
        apply(&mut store, 1);
        drop(store);
        let store = SqliteStore::open(&file, suite::CHAIN).unwrap();
        assert_eq!(applied(&store), 4_006);
    }

    #[test]
    fn a_store_that_has_failed_once_takes_nothing_more_and_what_was_open_is_gone() {
        let (folder, mut store, mut chain) = begun();
        let file = folder.path().join(FILE);
        store.apply(chain.batch(1, Changes::new())).unwrap();
        let failed = store.apply_from(|_| Err(StoreError::Exhausted));
        assert!(matches!(failed, Err(StoreError::Exhausted)));
        // It would stand on a block that is not there.
        let next = store.apply(chain.batch(1, Changes::new()));
        assert!(matches!(next, Err(StoreError::Failed)), "{next:?}");
        assert!(matches!(store.settle(), Err(StoreError::Failed)));
        assert!(matches!(store.checkpoint(), Err(StoreError::Failed)));
        let asked = store.reader().standing();
        assert!(matches!(asked, Err(StoreError::Failed)), "nobody sees what was before: {asked:?}");
        drop(store);
        assert_eq!(seen(&file), 0);
    }

    #[test]
    fn who_asks_when_the_writer_has_gone_with_something_open_does_not_see_what_was_before() {
        let (_folder, mut store, mut chain) = begun();
        store.apply(chain.batch(1, Changes::new())).unwrap();
        let reader = store.reader();
        assert!(reader.standing().is_ok());
        store.settle().unwrap();
        store.apply(chain.batch(1, Changes::new())).unwrap();
        store.apply(chain.batch(1, Changes::new())).unwrap();
        drop(store);
        assert!(matches!(reader.standing(), Err(StoreError::Failed)));
    }

    #[test]
    fn a_reader_whose_commit_fails_says_so_and_nothing_is_put_on_top_of_the_gap() {
        let (folder, mut store, mut chain) = begun();
        let file = folder.path().join(FILE);
        let tables = "PRAGMA foreign_keys = ON; CREATE TABLE one (it INTEGER PRIMARY KEY);
            CREATE TABLE other (it INTEGER REFERENCES one DEFERRABLE INITIALLY DEFERRED)";
        store.writer().db.execute_batch(tables).unwrap();
        store.apply(chain.batch(1, Changes::new())).unwrap();
        // A row that cannot be committed stands for a disk that is full.
        store.writer().db.execute_batch("INSERT INTO other VALUES (1)").unwrap();
        assert!(store.reader().standing().is_err());
        store.writer().db.execute_batch("DELETE FROM other").unwrap();
        let next = store.apply(chain.batch(1, Changes::new()));
        assert!(matches!(next, Err(StoreError::Failed)), "{next:?}");
        assert_eq!(seen(&file), 0);
    }
}
