//! The connection that writes, and the transaction that it is in.
//!
//! A page costs as much for one row as for many, and batches that come one after the other write to the same pages. So
//! the transaction of a batch stays open for the next ones, until it has grown, or somebody reads: whoever asks has it
//! committed first, and so sees all that was taken over. While there are those who ask, each batch is committed at once:
//! nobody has to wait for the next one.
//!
//! With a keeper SQLite's log is synced and its pages are moved by another thread ([`keeper`](crate::keeper)), and the
//! writer waits for the disk only once in a while: for the last pages that are moved, and for the head of a log that begins
//! anew. Without one, as in simulations, it does all of it where it stands.
//!
//! What is not committed when a process ends is gone, newest first, like what was not synced when the power goes. The log
//! has it.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError, Weak};
use std::time::{Duration, Instant};

use quorate_chain::ids::ChainId;
use quorate_replica::store::Standing;
use rusqlite::{Connection, TransactionBehavior};

use crate::connect::prepare_once;
use crate::entries::EntryTable;
use crate::error::StoreError;
use crate::index::Index;
use crate::keeper::Chores;
use crate::keys;
use crate::schema;
use crate::standing;
use crate::versions;

/// Rows of transactions and values after which a transaction is committed.
const GROUP: usize = 8_192;
/// The same, if nothing waits and the last commit was some time ago: small commits write more than large ones, but
/// nobody waits long for any.
const SMALL_GROUP: usize = 2_048;
const SOME_TIME: Duration = Duration::from_millis(100);
/// How many entries are written if nothing waits, and how many are left then for the commit.
const FEW_OF_MANY: [usize; 2] = [256, 512];
/// Pages in SQLite's log after which it is synced, with a keeper: often, so that it never takes long.
const SYNC: i64 = 512;
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

/// How soon a reader looks again whether what it waits for is committed.
const PAUSE: Duration = Duration::from_micros(100);

/// What the writer and its readers tell each other without a lock.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    /// Something is not committed.
    open: AtomicBool,
    /// What was taken over may be gone. Said before nothing is open any more.
    failed: AtomicBool,
    /// Why, if it was not the writer that has failed.
    why: OnceLock<Arc<StoreError>>,
    /// Somebody has asked since the last batch.
    asked: AtomicBool,
}

impl Signs {
    /// The thread behind the writer has failed.
    pub(crate) fn fail(&self, why: StoreError) {
        self.why.get_or_init(|| Arc::new(why));
        self.failed.store(true, Ordering::Release);
    }

    /// Whether nothing has failed.
    fn check(&self) -> Result<(), StoreError> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let why = self.why.get();
        Err(why.map_or(StoreError::Failed, |why| StoreError::Behind(Arc::clone(why))))
    }
}

/// The writer as its readers have it.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    signs: Arc<Signs>,
    writer: Weak<Mutex<Writer>>,
}

impl Behind {
    pub(crate) fn of(signs: Arc<Signs>, writer: &Arc<Mutex<Writer>>) -> Self {
        Self { signs, writer: Arc::downgrade(writer) }
    }

    /// Has committed what was taken over by now. Moving pages, which may take as long as the disk likes, is not for those
    /// who ask: they do not wait for it either.
    pub(crate) fn catch_up(&self) -> Result<(), StoreError> {
        self.signs.asked.store(true, Ordering::Relaxed);
        while self.signs.open.load(Ordering::Acquire) {
            let Some(writer) = self.writer.upgrade() else { break };
            match writer.try_lock() {
                Ok(mut writer) => return writer.commit_open(),
                // One that has panicked may have stopped within a batch: that is never committed.
                Err(TryLockError::Poisoned(_)) => return Err(StoreError::Failed),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
        self.signs.check()
    }
}

/// The connection that writes.
///
/// Invariants: what is in the open transaction is, with the rows that wait in `entries` and `standing`, whole batches, as
/// long as nobody works on one; it is committed with all of those. Once something has failed
/// (`signs.failed`) what was open may be gone: nothing more is written, which would stand on it, and nobody is told
/// anything. Whoever wanted what has failed ends the node, but others may come first.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) db: Connection,
    pub(crate) index: Index,
    /// Entries of the state whose rows are not written yet.
    pub(crate) entries: RefCell<EntryTable>,
    /// Where the store stands, if its row does not say so yet.
    pub(crate) standing: Option<Standing>,
    /// The height of the state that was frozen last.
    pub(crate) frozen: Option<i64>,
    pub(crate) signs: Arc<Signs>,
    /// The keeper, if there is one.
    pub(crate) chores: Option<Arc<Chores>>,
    /// How many pages of SQLite's log it was last told to sync.
    told: i64,
    /// The sync that a checkpoint was begun with.
    checkpoint: u64,
    /// How many rows the open transaction has, about.
    rows: usize,
    /// When the last one was committed.
    committed: Instant,
    /// At how many pages of SQLite's log readers are waited for.
    pub(crate) overdue: i64,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Who still asks must not see what was before.
        if self.signs.open.load(Ordering::Acquire) {
            self.signs.failed.store(true, Ordering::Release);
            self.signs.open.store(false, Ordering::Release);
        }
    }
}

impl Writer {
    pub(crate) fn open(file: &Path, chain_id: ChainId) -> Result<Self, StoreError> {
        let mut db = Connection::open(file)?;
        db.execute_batch(schema::SETTINGS)?;
        db.execute_batch(schema::WRITER_SETTINGS)?;
        prepare_once(&db)?;
        make_or_check(&mut db, file, chain_id)?;
        let index = Index::open(&db)?;
        let frozen = db.query_row("SELECT max(height) FROM frozen", [], |row| row.get(0))?;
        db.busy_timeout(BUSY)?;
        let (signs, overdue) = (Arc::default(), LOG + OVERDUE);
        let (entries, standing, chores) = Default::default();
        let (told, checkpoint, rows) = (0, 0, 0);
        Ok(Self {
            db,
            index,
            entries,
            standing,
            frozen,
            signs,
            chores,
            told,
            checkpoint,
            rows,
            committed: Instant::now(),
            overdue,
        })
    }

    /// Does something that looks at the tables themselves: first they say all that is in memory.
    pub(crate) fn with_tables<T>(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.within(|writer| {
            writer.write_rows()?;
            what(writer)
        })
    }

    /// Writes the rows that wait for more.
    fn write_rows(&mut self) -> Result<(), StoreError> {
        self.entries.get_mut().write(&self.db, self.frozen)?;
        if let Some(standing) = self.standing.take() {
            standing::write(&self.db, &standing)?;
        }
        Ok(())
    }

    /// Does something within the open transaction, or within a new one. It has done all of it, or the transaction
    /// is undone, with all that is in it.
    pub(crate) fn within<T, E: From<StoreError>>(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.or_never_again(Self::begin)?;
        let done = what(self);
        if done.is_err() {
            self.signs.failed.store(true, Ordering::Release);
            self.undo()?;
        }
        done
    }

    /// Does something, if nothing has failed before.
    fn or_never_again(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.signs.check()?;
        let done = what(self);
        if done.is_err() {
            self.signs.failed.store(true, Ordering::Release);
        }
        done
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.db.is_autocommit() {
            self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        }
        Ok(())
    }

    fn undo(&mut self) -> Result<(), StoreError> {
        // SQLite may have done so itself.
        if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        self.rows = 0;
        self.signs.open.store(false, Ordering::Release);
        Ok(())
    }

    /// A batch of so many rows was taken over. It is committed now, unless it can wait for the next one.
    pub(crate) fn batch_is_done(&mut self, rows: usize) -> Result<(), StoreError> {
        self.rows += rows;
        if self.signs.asked.swap(false, Ordering::Relaxed) || self.rows >= GROUP {
            return self.commit();
        }
        self.signs.open.store(true, Ordering::Release);
        Ok(())
    }

    /// Nothing waits: what is open is committed, if there is enough of it.
    pub(crate) fn pause(&mut self) -> Result<(), StoreError> {
        if self.rows >= SMALL_GROUP && self.committed.elapsed() >= SOME_TIME {
            return self.commit();
        }
        self.write_few(FEW_OF_MANY)
    }

    pub(crate) fn write_few(&mut self, few_of_many: [usize; 2]) -> Result<(), StoreError> {
        self.or_never_again(|writer| {
            writer.entries.get_mut().write_few(&writer.db, writer.frozen, few_of_many)
        })
    }

    /// Commits what is open, and sees to SQLite's log.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        self.commit_open()?;
        self.or_never_again(Self::look_after_log)
    }

    fn commit_open(&mut self) -> Result<(), StoreError> {
        self.or_never_again(|writer| {
            if !writer.db.is_autocommit() {
                writer.write_rows()?;
                writer.db.prepare_cached("COMMIT")?.execute([])?;
            }
            writer.index.committed();
            (writer.rows, writer.committed) = (0, Instant::now());
            writer.signs.open.store(false, Ordering::Release);
            Ok(())
        })
    }

    /// Begins to make what was taken over survive a power cut.
    pub(crate) fn begin_checkpoint(&mut self) -> Result<(), StoreError> {
        let Some(chores) = self.chores.clone() else { return self.checkpoint() };
        self.commit()?;
        self.checkpoint = chores.make_durable();
        Ok(())
    }

    /// Whether what was taken over before a checkpoint was begun last survives one.
    pub(crate) fn is_safe(&mut self) -> Result<bool, StoreError> {
        let mut safe = true;
        self.or_never_again(|writer| {
            let number = writer.checkpoint;
            safe = writer.chores.as_ref().is_none_or(|chores| chores.is_durable(number));
            Ok(())
        })?;
        Ok(safe)
    }

    /// Makes what was taken over survive a power cut.
    pub(crate) fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        // A transaction that is synced syncs all those before it: they stand in one log. What readers
        // hold open cannot delay it, as it may delay the moving of pages.
        self.or_never_again(|writer| {
            writer.db.pragma_update(None, "synchronous", "FULL")?;
            writer.db.execute("UPDATE standing SET one = 1", [])?;
            writer.db.pragma_update(None, "synchronous", "NORMAL")?;
            Ok(())
        })?;
        // A disk says that it has failed to whoever asks first, and that may have been the keeper.
        self.signs.check()
    }

    /// How many pages SQLite's log has.
    pub(crate) fn pages(&self) -> Result<i64, StoreError> {
        let mut ask = self.db.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        Ok(ask.query_row([], |row| row.get("log"))?)
    }

    fn look_after_log(&mut self) -> Result<(), StoreError> {
        let Some(chores) = &self.chores else { return self.move_pages() };
        let pages = self.pages()?;
        if pages < self.told {
            // It has begun anew.
            self.told = 0;
        }
        if pages < LOG {
            self.overdue = LOG + OVERDUE;
        }
        if pages - self.told >= SYNC {
            self.told = pages;
            chores.make_durable();
        }
        if chores.move_pages(pages >= LOG) { self.move_pages() } else { Ok(()) }
    }

    /// Moves pages from SQLite's log into the file once it is long, as far as readers let it, so that it
    /// begins anew. SQLite would do it by itself, and not say that it failed.
    fn move_pages(&mut self) -> Result<(), StoreError> {
        let pages = self.pages()?;
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
