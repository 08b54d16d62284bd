//! The thread behind the writer: what is committed is made safe and moved there, while the writer goes on.
//!
//! ```text
//!  writer   commit ▶ commit ▶ commit ▶ commit ▶ …          each writes to SQLite's log, and waits for no disk
//!              ╰ chores: sync, move ╮
//!  keeper            sync the log ◀─┴─▶ move pages ▶ again, those that came meanwhile ▶ the writer moves the last
//! ```
//!
//! Both take as long as the disk likes, so whoever answers clients does as little as can be of them. SQLite lets one
//! connection move pages while another one writes; but its log begins anew only when all of them are moved, so the last few
//! are left to the writer, after its next commit, and so is the sync of the file after them.
//!
//! The log is opened once more to be synced, and its directory is synced when the keeper begins. A sync covers all that was
//! written to a file before it, whoever has written it. SQLite holds no locks on its log, which would be lost when that is
//! closed.
//!
//! What has failed here fails the writer and the readers: nothing more is taken, and all are told why.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::schema;
use crate::writer::{Signs, Writer};

/// With no more pages than this left, the writer may move them.
const REST: i64 = 256;
/// How often pages are moved beside the writer, each time those that came during the last.
const ROUNDS: usize = 4;

/// What there is to do.
#[derive(Debug, Default)]
struct List {
    /// How often a sync was wanted so far, and how many of these there have been.
    wanted: u64,
    synced: u64,
    moving: Moving,
    closed: bool,
}

/// How far the moving of pages is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Moving {
    /// The log is short.
    #[default]
    No,
    Wanted,
    UnderWay,
    /// The last ones are the writer's.
    NearlyAll,
}

#[derive(Debug)]
enum Chore {
    /// All syncs that were wanted, up to this one.
    Sync(u64),
    Move,
}

/// What the writer wants of the keeper.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    list: Mutex<List>,
    wake: Condvar,
}

impl Chores {
    fn list(&self) -> MutexGuard<'_, List> {
        // Nothing panics between two changes that belong together.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is committed by now shall survive a power cut. Returns the number by which it is asked whether it does.
    pub(crate) fn make_durable(&self) -> u64 {
        let mut list = self.list();
        list.wanted += 1;
        self.wake.notify_one();
        list.wanted
    }

    /// Whether a sync has been.
    pub(crate) fn is_durable(&self, number: u64) -> bool {
        self.list().synced >= number
    }

    /// Has pages moved if the log is long. Returns whether that was done, so that the last ones are to be moved now: the
    /// keeper does not move any meanwhile.
    pub(crate) fn move_pages(&self, is_long: bool) -> bool {
        let mut list = self.list();
        let before = list.moving;
        match (before, is_long) {
            (Moving::No, true) => {
                list.moving = Moving::Wanted;
                self.wake.notify_one();
            }
            (Moving::NearlyAll, _) => list.moving = Moving::No,
            (Moving::No | Moving::Wanted | Moving::UnderWay, _) => {}
        }
        before == Moving::NearlyAll && is_long
    }

    fn is_closed(&self) -> bool {
        self.list().closed
    }

    /// The next chore; `None` if there will be none.
    fn next(&self) -> Option<Chore> {
        let mut list = self.list();
        loop {
            if list.closed {
                return None;
            }
            if list.wanted > list.synced {
                return Some(Chore::Sync(list.wanted));
            }
            if list.moving == Moving::Wanted {
                list.moving = Moving::UnderWay;
                return Some(Chore::Move);
            }
            list = self.wake.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The thread, which ends with this.
#[derive(Debug)]
pub(crate) struct Keeper {
    chores: Arc<Chores>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.chores.list().closed = true;
        self.chores.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Keeper {
    /// Starts the thread for a store whose writer is open.
    pub(crate) fn start(file: &Path, writer: &Arc<Mutex<Writer>>) -> Result<Self, StoreError> {
        // SQLite's log stands beside the file itself, and not beside a link to it.
        let beside = file.canonicalize().map_err(StoreError::Log)?;
        let log = File::open(schema::log_of(&beside)).map_err(StoreError::Log)?;
        if let Some(folder) = beside.parent() {
            // The log may have come here with a copy, and its name never have been synced.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::Log)?;
        }
        Self::with(log, connect(file)?, writer)
    }

    fn with(log: File, db: Connection, writer: &Arc<Mutex<Writer>>) -> Result<Self, StoreError> {
        let chores = Arc::new(Chores::default());
        let mut open = writer.lock().map_err(|_| StoreError::Failed)?;
        open.chores = Some(Arc::clone(&chores));
        let signs = Arc::clone(&open.signs);
        drop(open);
        let hand = Hand { chores: Arc::clone(&chores), log, db, signs };
        let thread = std::thread::Builder::new().name("keeper".to_owned());
        let thread = thread.spawn(move || hand.work()).map_err(StoreError::Thread)?;
        Ok(Self { chores, thread: Some(thread) })
    }
}

fn connect(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.execute_batch(schema::SETTINGS)?;
    db.execute_batch(schema::KEEPER_SETTINGS)?;
    Ok(db)
}

/// What the thread works with.
struct Hand {
    chores: Arc<Chores>,
    log: File,
    db: Connection,
    signs: Arc<Signs>,
}

impl Hand {
    fn work(&self) {
        while let Some(chore) = self.chores.next() {
            if let Err(error) = self.does(&chore) {
                self.signs.fail(error);
                return;
            }
        }
    }

    fn does(&self, chore: &Chore) -> Result<(), StoreError> {
        match chore {
            Chore::Sync(number) => {
                self.log.sync_data().map_err(StoreError::Log)?;
                self.chores.list().synced = *number;
                Ok(())
            }
            Chore::Move => self.move_pages(),
        }
    }

    fn move_pages(&self) -> Result<(), StoreError> {
        let mut moved = 0;
        for _ in 0..ROUNDS {
            let before = moved;
            // All that the log had when it began.
            moved = self
                .db
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>("log"))?;
            if moved - before <= REST || self.chores.is_closed() {
                break;
            }
        }
        self.chores.list().moving = Moving::NearlyAll;
        Ok(())
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.signs.fail(StoreError::Thread(io::Error::other("it has panicked")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use quorate_chain::ids::{ChainId, Height, TxId};
    use quorate_chain::state::{Changes, StateEntry, StateKey, Value};
    use quorate_replica::store::{Entries, Store as _, StoreReader as _, suite};

    use super::*;
    use crate::SqliteStore;

    const CHAIN: ChainId = suite::CHAIN;

    fn begun(folder: &Path) -> SqliteStore {
        let mut store = SqliteStore::open(&folder.join("chain.db"), CHAIN).unwrap();
        store.begin(suite::genesis(), &Changes::new()).unwrap();
        store
    }

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// An entry of a megabyte, of another content each time: what is the same SQLite does not write.
    fn large(number: u64) -> Entries {
        let bytes = Bytes::from(number.to_be_bytes().repeat(1 << 17));
        let value = Value { height: Height::ZERO, tx: TxId::ZERO, bytes };
        vec![(StateKey::Value((number % 5).to_string().into()), StateEntry::Value(value))]
    }

    #[test]
    fn a_checkpoint_is_through_soon_and_a_long_log_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = begun(folder.path()).with_keeper().unwrap();
        let mut chain = suite::Chain::default();
        store.apply(chain.batch(3, Changes::new())).unwrap();
        store.begin_checkpoint().unwrap();
        until("it is never safe", || store.is_safe().unwrap());
        // More than it takes to move pages, many times; each time the log is written from its beginning.
        for number in 0..200 {
            store.stage(large(number), false).unwrap();
        }
        store.apply(chain.batch(1, Changes::new())).unwrap();
        assert!(store.reader().standing().unwrap().unwrap().applied.block.height.get() == 4);
        let mut numbers = 200..;
        until("the log never begins anew", || {
            store.stage(large(numbers.next().unwrap()), false).unwrap();
            let length = std::fs::metadata(folder.path().join("chain.db-wal")).unwrap().len();
            assert!(length < 400 << 20, "{length} bytes");
            store.writer().pages().unwrap() < 1_024
        });
    }

    #[test]
    fn readers_that_take_turns_do_not_let_the_log_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = begun(folder.path()).with_keeper().unwrap();
        let file = folder.path().join("chain.db");
        // One of them always stands in the middle of a question.
        let ask = || {
            let db = Connection::open(&file).unwrap();
            db.execute_batch("BEGIN; SELECT * FROM chain").unwrap();
            db.query_row("SELECT count(*) FROM staged", [], |_| Ok(())).unwrap();
            db
        };
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut asking = ask();
                while !over.load(Ordering::Relaxed) {
                    asking = ask();
                }
                drop(asking);
            });
            for number in 0..1_000 {
                store.stage(large(number), false).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        // Beyond this length readers are waited for, again and again.
        let length = std::fs::metadata(folder.path().join("chain.db-wal")).unwrap().len();
        assert!(length < 250 << 20, "{} MiB", length >> 20);
    }

    #[test]
    fn a_reader_that_was_waited_for_in_vain_does_not_let_the_next_ones_wait_longer() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = begun(folder.path()).with_keeper().unwrap();
        let at_first = store.writer().overdue;
        let reader = Connection::open(folder.path().join("chain.db")).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM chain").unwrap();
        let mut numbers = 0..;
        let mut grow = |store: &mut SqliteStore| {
            store.stage(large(numbers.next().unwrap()), false).unwrap();
        };
        until("nobody waits for the reader", || {
            grow(&mut store);
            store.writer().overdue > at_first
        });
        drop(reader);
        until("the log never begins anew", || {
            grow(&mut store);
            store.writer().pages().unwrap() < 1_024
        });
        assert_eq!(store.writer().overdue, at_first);
    }

    #[test]
    fn sqlite_is_one_in_which_two_may_move_pages() {
        // Before 3.51.3 a log that began anew while another connection moved pages could lose some of them.
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }

    #[test]
    fn what_the_keeper_cannot_do_all_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = begun(folder.path());
        // It cannot be synced.
        let null = File::open("/dev/null").unwrap();
        store.keep_with(|file, writer| Keeper::with(null, connect(file)?, writer)).unwrap();
        let mut chain = suite::Chain::default();
        store.apply(chain.batch(1, Changes::new())).unwrap();
        store.begin_checkpoint().unwrap();
        let mut failure = None;
        until("it never fails", || {
            failure = store.is_safe().err();
            failure.is_some()
        });
        let next = store.apply(chain.batch(1, Changes::new())).err();
        let asked = store.reader().standing().err();
        for failure in [failure, next, asked] {
            let Some(StoreError::Behind(why)) = &failure else { panic!("{failure:?}") };
            assert!(matches!(**why, StoreError::Log(_)), "{failure:?}");
        }
    }
}
