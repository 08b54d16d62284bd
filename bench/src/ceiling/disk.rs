//! What needs a disk: the log and the store, as little as keeps what they promise.
//!
//! The log is one file that was written before, so that its size never changes. Of each group the bytes are written and
//! synced, and nothing else.
//!
//! The store has the tables that it takes to find blocks, transactions, keys and their history again, and no column that
//! could be computed from another one:
//!
//! ```text
//! block    height → bytes, outcomes                  appended
//! version  number → the version before, value        appended, one row a write
//! entry    half of the path, rest → digest, key,     in place, at random; one row a key of the group,
//!          newest version                            in the order of their paths
//! id       run, half of the id → place               appended: a run is 131,000 ids, sorted in memory;
//!                                                     of the last one a piece is written with each group
//! ```
//!
//! A group is one transaction of SQLite, with the settings of the store: its own log, `synchronous = NORMAL`, pages
//! moved when there are 8,192. What the store looks up before it writes is taken to stand in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use quorate_chain::ids::Hash;
use quorate_node::exit::{Exit, Failure};
use rusqlite::{Connection, params};

use super::clock::{Cost, each};
use super::{GROUP, LEAST};

/// Bytes of the log.
const LOG: usize = 64 << 20;
/// Groups whose ids are sorted together, and how many ids that is.
const GROUPS: usize = 131;
const RUN: usize = GROUPS * GROUP;
/// How much longer the store is measured: moving pages and sorting ids comes in bursts.
const LONGER: u32 = 3;

const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 8192;
    PRAGMA cache_size = -65536;
    CREATE TABLE block (height INTEGER PRIMARY KEY, bytes BLOB NOT NULL, outcomes BLOB NOT NULL) STRICT;
    CREATE TABLE version (number INTEGER PRIMARY KEY, earlier INTEGER NOT NULL, value BLOB NOT NULL) STRICT;
    CREATE TABLE entry (
        half INTEGER NOT NULL, rest BLOB NOT NULL, digest BLOB NOT NULL, key BLOB NOT NULL,
        version INTEGER NOT NULL, PRIMARY KEY (half, rest)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE id (
        run INTEGER NOT NULL, half INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (run, half, place)
    ) STRICT, WITHOUT ROWID;
";

fn storage(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Storage, error)
}

/// Writes groups of so many bytes to a log and syncs each.
pub(crate) fn log(directory: &Path, bytes: usize) -> Result<Cost, Failure> {
    let file = File::create(directory.join("log")).map_err(storage)?;
    let zeros = vec![0; LOG];
    file.write_all_at(&zeros, 0).and_then(|()| file.sync_all()).map_err(storage)?;
    let group = vec![7; bytes.min(LOG)];
    let mut at = 0;
    let append = || {
        if at + group.len() > LOG {
            at = 0;
        }
        file.write_all_at(&group, at as u64)?;
        at += group.len();
        file.sync_data()
    };
    each(LEAST, GROUP, append).map_err(|error: io::Error| storage(error))
}

/// A key, as its row has it.
struct Key {
    half: i64,
    rest: [u8; 24],
    name: String,
    /// Its newest version.
    version: i64,
}

/// Arbitrary numbers, the same in every run.
fn arbitrary(number: usize) -> [u8; 32] {
    *Hash::of(&[&number.to_be_bytes()]).as_bytes()
}

fn first_half(hash: &[u8; 32]) -> i64 {
    i64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default())
}

/// A store, and what stands in memory beside it.
struct Bare {
    db: Connection,
    /// All keys, in the order of their paths.
    keys: Vec<Key>,
    /// Which keys the transactions of a run write, and their ids.
    drawn: Vec<usize>,
    ids: Vec<i64>,
    /// Ids of the last run in their order, and where each stands.
    sorted: Vec<(i64, i64)>,
    run: i64,
    /// How many groups are kept.
    groups: usize,
}

impl Bare {
    fn open(file: &Path, keys: usize) -> rusqlite::Result<Self> {
        let db = Connection::open(file)?;
        db.execute_batch(SETTINGS)?;
        let key = |number| {
            let path = arbitrary(number);
            let rest = path.last_chunk().copied().unwrap_or_default();
            let name = format!("bench/{number:010}");
            Key { half: first_half(&path), rest, name, version: 0 }
        };
        let mut keys: Vec<_> = (0..keys.max(1)).map(key).collect();
        keys.sort_unstable_by_key(|key| key.half);
        db.execute_batch("BEGIN")?;
        for key in &keys {
            db.prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, 0)")?.execute(params![
                key.half,
                key.rest,
                [0_u8; 32],
                key.name.as_bytes()
            ])?;
        }
        db.execute_batch("COMMIT")?;
        let ids: Vec<_> = (0..RUN).map(|number| first_half(&arbitrary(!number))).collect();
        let drawn = ids.iter().map(|id| (id.unsigned_abs() % keys.len() as u64) as usize).collect();
        Ok(Self { db, keys, drawn, ids, sorted: Vec::new(), run: 0, groups: 0 })
    }

    /// Keeps the next group of transactions, all with the same value.
    fn keep(&mut self, block: &[u8], value: &[u8]) -> rusqlite::Result<()> {
        let group = self.groups % GROUPS;
        if group == 0 {
            self.sorted = self.ids.iter().copied().zip(self.first()..).collect();
            self.sorted.sort_unstable();
            self.run += 1;
        }
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let outcomes = [1_u8; GROUP];
        self.db.prepare_cached("INSERT INTO block VALUES (?1, ?2, ?3)")?.execute(params![
            self.run * GROUPS as i64 + group as i64,
            block,
            outcomes
        ])?;
        self.write(group * GROUP, value)?;
        {
            let mut insert = self.db.prepare_cached("INSERT INTO id VALUES (?1, ?2, ?3)")?;
            for (half, place) in &self.sorted[group * GROUP..][..GROUP] {
                insert.execute(params![self.run, half, place])?;
            }
        }
        self.db.prepare_cached("COMMIT")?.execute([])?;
        self.groups += 1;
        Ok(())
    }

    /// The number of the next group's first transaction, counted from 1.
    fn first(&self) -> i64 {
        (self.groups * GROUP) as i64 + 1
    }

    /// Writes the values of a group and the entries of their keys.
    fn write(&mut self, from: usize, value: &[u8]) -> rusqlite::Result<()> {
        let mut touched = self.drawn[from..][..GROUP].to_vec();
        let mut insert = self.db.prepare_cached("INSERT INTO version VALUES (?1, ?2, ?3)")?;
        for (number, key) in (self.first()..).zip(&touched) {
            let earlier = std::mem::replace(&mut self.keys[*key].version, number);
            insert.execute(params![number, earlier, value])?;
        }
        touched.sort_unstable();
        touched.dedup();
        let mut update = self.db.prepare_cached(
            "UPDATE entry SET digest = ?1, version = ?2 WHERE half = ?3 AND rest = ?4",
        )?;
        for key in touched.into_iter().filter_map(|key| self.keys.get(key)) {
            let digest = [key.version.to_be_bytes(); 4].concat();
            update.execute(params![digest, key.version, key.half, key.rest])?;
        }
        Ok(())
    }
}

/// Keeps groups of transactions whose blocks have so many bytes, in a new file.
pub(crate) fn store(
    directory: &Path,
    (keys, value): (u64, usize),
    bytes: usize,
) -> Result<Cost, Failure> {
    let keys = usize::try_from(keys).unwrap_or(usize::MAX);
    let mut bare = Bare::open(&directory.join("store.db"), keys).map_err(storage)?;
    let (block, value) = (vec![7; bytes], vec![7; value]);
    each(LONGER * LEAST, GROUP, || bare.keep(&block, &value)).map_err(storage)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_written_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut bare = Bare::open(&directory.path().join("store.db"), 100).unwrap();
        bare.keep(b"block", b"value").unwrap();
        bare.keep(b"block", b"value").unwrap();
        let count = |what: &str| -> i64 {
            bare.db
                .query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0))
                .unwrap()
        };
        let group = GROUP as i64;
        assert_eq!((count("block"), count("version"), count("id")), (2, 2 * group, 2 * group));
        // Each key is at its newest version, and older ones are found from there.
        assert_eq!(count("entry JOIN version ON number = entry.version"), 100);
        assert_eq!(
            count("version AS a JOIN version AS b ON a.earlier = b.number"),
            2 * group - 100
        );
    }
}
