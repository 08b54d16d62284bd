//! The store of a seat: in memory, or in one seed of fifty the product's own.
//!
//! SQLite stands on real files, in memory where the machine has a place for such. What a death leaves is
//! what the files hold at that moment: they are read before the process goes, because whoever closes SQLite's
//! last connection tidies up, and a killed process does not. A power cut takes from SQLite's log any number of
//! bytes that were not synced, in the middle of a page too: those written since [`Store::checkpoint`] was called
//! last, or something else that promises to survive.
//!
//! Left out: pages of the file itself that are lost. They are only written by a move of pages, which syncs, and
//! the log begins anew only then.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::ids::{AccountKey, BlockHash, ChainId, Hash, Height, StateRoot, TxId};
use quorate_chain::outcome::Outcome;
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::Roster;
use quorate_chain::state::{Changes, Grants, Nonces, StateRead, Value};
use quorate_chain::state_root::{Leaf, Leaves, PathRange};
use quorate_replica::store::{
    Batch, Convicted, Entries, Install, MemoryError, MemoryReader, MemoryStore, Place, Range,
    Standing, State, Store, StoreReader, Version,
};
use quorate_store::{SqliteReader, SqliteStore, StoreError};
use tempfile::TempDir;

use crate::dice::Dice;

/// Where files are in memory.
const IN_MEMORY: &str = "/dev/shm";
const FILE: &str = "store";

/// What a store's files hold.
#[derive(Clone, Debug, Default)]
pub struct Image {
    file: Vec<u8>,
    log: Vec<u8>,
}

/// What a shelf holds, taken out of it.
#[derive(Clone, Debug)]
pub enum Contents {
    /// A store in memory.
    Memory(MemoryStore),
    /// Files of SQLite.
    Sqlite(Image),
}

impl Contents {
    /// The same, that shares nothing with this.
    #[must_use]
    pub fn copy(&self) -> Self {
        match self {
            Self::Memory(store) => Self::Memory(store.copy()),
            Self::Sqlite(image) => Self::Sqlite(image.clone()),
        }
    }
}

/// Where something that was applied is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// In memory.
    Memory,
    /// In the product's own store. The end of a process takes what it has not written yet.
    Sqlite,
    /// The same, and all of it is written at once.
    SqliteAtOnce,
}

/// A folder with the files of SQLite.
#[derive(Debug)]
pub struct Files {
    folder: TempDir,
    chain_id: ChainId,
    at_once: bool,
    /// How many bytes of the log survive a power cut.
    synced: Arc<AtomicU64>,
}

/// Where a seat keeps its store, whether a process runs or not.
#[derive(Debug)]
pub enum Shelf {
    /// In memory.
    Memory(MemoryStore),
    /// In SQLite.
    Sqlite(Files),
}

impl Files {
    fn new(chain_id: ChainId, at_once: bool) -> io::Result<Self> {
        let builder = || tempfile::Builder::new().prefix("quorate-sim").tempdir_in(IN_MEMORY);
        let folder = builder().or_else(|_| TempDir::new())?;
        Ok(Self { folder, chain_id, at_once, synced: Arc::default() })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(format!("{FILE}-wal"))
    }

    fn read(&self) -> io::Result<Image> {
        let read = |path: &Path| if path.exists() { fs::read(path) } else { Ok(Vec::new()) };
        Ok(Image { file: read(&self.file())?, log: read(&self.log())? })
    }

    fn write(&self, image: &Image) -> io::Result<()> {
        for entry in fs::read_dir(self.folder.path())? {
            fs::remove_file(entry?.path())?;
        }
        fs::write(self.file(), &image.file)?;
        fs::write(self.log(), &image.log)
    }

    /// From now on these are the files, and survive a power cut.
    fn settle(&self, image: &Image) {
        sure(self.write(image));
        self.synced.store(image.log.len() as u64, Ordering::Relaxed);
    }
}

/// Nothing is asked of the files of the machine that runs this.
fn sure<T>(result: io::Result<T>) -> T {
    result.expect("files for a while can be written and read")
}

impl Shelf {
    /// An empty one. In memory a checkpoint that was begun is through when it was asked for so often.
    #[must_use]
    pub fn new(keeping: Keeping, late: u32, chain_id: ChainId) -> Self {
        match keeping {
            Keeping::Memory => Self::Memory(MemoryStore::with_late_checkpoints(late)),
            Keeping::Sqlite => Self::Sqlite(sure(Files::new(chain_id, false))),
            Keeping::SqliteAtOnce => Self::Sqlite(sure(Files::new(chain_id, true))),
        }
    }

    /// The store, for a process that starts.
    ///
    /// # Errors
    /// If it cannot be opened: then it is at fault, for its files hold what it promised to live with.
    pub fn open(&self) -> Result<ProcessStore, StoreError> {
        Ok(match self {
            Self::Memory(store) => ProcessStore::Memory(store.clone()),
            Self::Sqlite(files) => {
                let (synced, at_once) = (Arc::clone(&files.synced), files.at_once);
                let mark = Mark { log: files.log(), synced, at_once };
                // Who has closed it in order has begun the log anew.
                mark.synced.fetch_min(mark.length(), Ordering::Relaxed);
                let store = SqliteStore::open(&files.file(), files.chain_id)?;
                ProcessStore::Sqlite(Box::new(store), mark)
            }
        })
    }

    /// A copy of what stands there.
    #[must_use]
    pub fn copy(&self) -> Contents {
        match self {
            Self::Memory(store) => Contents::Memory(store.copy()),
            Self::Sqlite(files) => Contents::Sqlite(sure(files.read())),
        }
    }

    /// What a process leaves in files that dies now, for [`Shelf::outlive`].
    #[must_use]
    pub fn left(&self) -> Option<Image> {
        match self {
            Self::Memory(_) => None,
            Self::Sqlite(files) => Some(sure(files.read())),
        }
    }

    /// A process has died, and did not tidy up.
    pub fn outlive(&mut self, left: Option<Image>) {
        if let (Self::Sqlite(files), Some(left)) = (self, left) {
            sure(files.write(&left));
        }
    }

    /// Something else stands there from now on, or nothing. No process may run.
    pub fn replace(&mut self, by: Option<Contents>) {
        match (self, by) {
            (Self::Sqlite(files), by) => {
                let image =
                    if let Some(Contents::Sqlite(image)) = by { image } else { Image::default() };
                files.settle(&image);
            }
            (shelf, Some(Contents::Memory(store))) => *shelf = Self::Memory(store),
            (Self::Memory(store), _) => *store = store.emptied(),
        }
    }

    /// The power is gone: of what was not synced, chance keeps the beginning. No process may run.
    pub fn power_cut(&mut self, dice: &mut Dice) {
        match self {
            Self::Memory(store) => store.power_cut(dice.index(store.at_risk() + 1)),
            Self::Sqlite(files) => {
                let mut image = sure(files.read());
                let safe = usize::try_from(files.synced.load(Ordering::Relaxed)).unwrap_or(0);
                let at_risk = image.log.len().saturating_sub(safe);
                image.log.truncate(image.log.len() - at_risk + dice.index(at_risk + 1));
                files.settle(&image);
            }
        }
    }
}

/// Remembers up to where SQLite's log was synced.
#[derive(Debug)]
pub struct Mark {
    log: PathBuf,
    synced: Arc<AtomicU64>,
    /// Whether all is written at once.
    at_once: bool,
}

impl Mark {
    fn length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |found| found.len())
    }
}

/// The store of a process.
#[derive(Debug)]
pub enum ProcessStore {
    /// In memory.
    Memory(MemoryStore),
    /// In SQLite.
    Sqlite(Box<SqliteStore>, Mark),
}

/// A reader of it.
#[derive(Clone, Debug)]
pub enum ProcessReader {
    /// In memory.
    Memory(MemoryReader),
    /// In SQLite.
    Sqlite(SqliteReader),
}

/// A store in memory never fails.
fn never<T>(result: Result<T, MemoryError>) -> Result<T, StoreError> {
    result.map_err(|never| match never {})
}

/// Asks whichever it is.
macro_rules! either {
    ($this:expr, $inner:ident => $asked:expr) => {
        match $this {
            Self::Memory($inner) => never($asked),
            Self::Sqlite($inner, ..) => $asked,
        }
    };
}

impl ProcessStore {
    /// Something was taken over, which may have to be written at once.
    fn note_taken(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store, mark) if mark.at_once => store.settle(),
            Self::Sqlite(..) | Self::Memory(_) => Ok(()),
        }
    }

    fn note_synced(&self) {
        if let Self::Sqlite(_, mark) = self {
            mark.synced.store(mark.length(), Ordering::Relaxed);
        }
    }
}

impl Store for ProcessStore {
    type Error = StoreError;
    type Reader = ProcessReader;

    fn reader(&self) -> ProcessReader {
        match self {
            Self::Memory(store) => ProcessReader::Memory(store.reader()),
            Self::Sqlite(store, _) => ProcessReader::Sqlite(store.reader()),
        }
    }

    fn begin(&mut self, standing: Standing, changes: &Changes) -> Result<(), StoreError> {
        either!(self, store => store.begin(standing, changes))?;
        self.note_synced();
        Ok(())
    }

    fn apply_from<E: From<StoreError>>(
        &mut self,
        make: impl FnOnce(&dyn State<StoreError>) -> Result<Batch, E>,
    ) -> Result<(), E> {
        match self {
            // What it says of its state goes through the same type as that of the other one.
            Self::Memory(store) => {
                let batch = make(&ProcessReader::Memory(store.reader()))?;
                Ok(never(store.apply(batch))?)
            }
            Self::Sqlite(store, _) => {
                store.apply_from(make)?;
                Ok(self.note_taken()?)
            }
        }
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        either!(self, store => store.settle())
    }

    fn keep(&mut self, certificate: Certificate) -> Result<(), StoreError> {
        either!(self, store => store.keep(certificate))?;
        self.note_taken()
    }

    fn convict(&mut self, convicted: Convicted) -> Result<(), StoreError> {
        either!(self, store => store.convict(convicted))?;
        self.note_synced();
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => never(store.begin_checkpoint()),
            Self::Sqlite(..) => self.checkpoint(),
        }
    }

    fn is_safe(&mut self) -> Result<bool, StoreError> {
        either!(self, store => store.is_safe())
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        either!(self, store => store.checkpoint())?;
        self.note_synced();
        Ok(())
    }

    fn prune(&mut self, below: Height) -> Result<(), StoreError> {
        either!(self, store => store.prune(below))
    }

    fn freeze(&mut self, keep: Option<Height>) -> Result<bool, StoreError> {
        either!(self, store => store.freeze(keep))
    }

    fn stage(&mut self, entries: Entries, first: bool) -> Result<bool, StoreError> {
        either!(self, store => store.stage(entries, first))
    }

    fn install(&mut self, install: Install) -> Result<bool, StoreError> {
        either!(self, store => store.install(install))
    }
}

impl StateRead for ProcessReader {
    type Error = StoreError;

    fn value(&self, key: &Bytes) -> Result<Option<Value>, StoreError> {
        either!(self, reader => reader.value(key))
    }

    fn has(&self, key: &Bytes) -> Result<bool, StoreError> {
        either!(self, reader => reader.has(key))
    }

    fn nonces(&self, account: AccountKey) -> Result<Nonces, StoreError> {
        either!(self, reader => reader.nonces(account))
    }

    fn grants(&self, account: AccountKey) -> Result<Grants, StoreError> {
        either!(self, reader => reader.grants(account))
    }
}

impl Leaves for ProcessReader {
    type Error = StoreError;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, StoreError> {
        either!(self, reader => reader.within(range))
    }
}

impl StoreReader for ProcessReader {
    fn standing(&self) -> Result<Option<Standing>, StoreError> {
        either!(self, reader => reader.standing())
    }

    fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        either!(self, reader => reader.block(height))
    }

    fn header(&self, height: Height) -> Result<Option<SignedHeader>, StoreError> {
        either!(self, reader => reader.header(height))
    }

    fn height_of(&self, hash: BlockHash) -> Result<Option<Height>, StoreError> {
        either!(self, reader => reader.height_of(hash))
    }

    fn oldest(&self) -> Result<Option<Height>, StoreError> {
        either!(self, reader => reader.oldest())
    }

    fn range(&self, from: Height, bytes: usize) -> Result<Option<Range>, StoreError> {
        either!(self, reader => reader.range(from, bytes))
    }

    fn certificate(&self, from: Height) -> Result<Option<Certificate>, StoreError> {
        either!(self, reader => reader.certificate(from))
    }

    fn place(&self, tx: TxId) -> Result<Option<Place>, StoreError> {
        either!(self, reader => reader.place(tx))
    }

    fn outcomes(&self, height: Height) -> Result<Option<Vec<Outcome>>, StoreError> {
        either!(self, reader => reader.outcomes(height))
    }

    fn state_root(&self, height: Height) -> Result<Option<StateRoot>, StoreError> {
        either!(self, reader => reader.state_root(height))
    }

    fn earlier_roots(
        &self,
        below: Height,
        most: usize,
    ) -> Result<Vec<(Height, StateRoot)>, StoreError> {
        either!(self, reader => reader.earlier_roots(below, most))
    }

    fn roster(&self, height: Height) -> Result<Option<(Height, Arc<Roster>)>, StoreError> {
        either!(self, reader => reader.roster(height))
    }

    fn leaves_after(&self, after: Option<Hash>, limit: usize) -> Result<Vec<Leaf>, StoreError> {
        either!(self, reader => reader.leaves_after(after, limit))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Value)>, StoreError> {
        either!(self, reader => reader.scan(prefix, after, limit))
    }

    fn history(
        &self,
        key: &[u8],
        before: Option<(Height, u32, u8)>,
        limit: usize,
    ) -> Result<Vec<Version>, StoreError> {
        either!(self, reader => reader.history(key, before, limit))
    }

    fn roster_steps(&self, above: Height, bytes: usize) -> Result<Vec<RosterStep>, StoreError> {
        either!(self, reader => reader.roster_steps(above, bytes))
    }

    fn convicted(&self) -> Result<Vec<Convicted>, StoreError> {
        either!(self, reader => reader.convicted())
    }

    fn frozen(&self) -> Result<Vec<Standing>, StoreError> {
        either!(self, reader => reader.frozen())
    }

    fn frozen_entries(
        &self,
        height: Height,
        after: Option<Hash>,
        bytes: usize,
    ) -> Result<Option<Entries>, StoreError> {
        either!(self, reader => reader.frozen_entries(height, after, bytes))
    }

    fn staged_leaves(&self, after: Option<Hash>, limit: usize) -> Result<Vec<Leaf>, StoreError> {
        either!(self, reader => reader.staged_leaves(after, limit))
    }
}
