//! The tables, and the views for people.
//!
//! ```text
//!  block ── one row a height: header facts, the block's bytes           appended
//!  tx ───── one row a transaction, by place                             appended
//!  version  one row a value ever written, by place; each names the      appended
//!           version that its key had before, and one further back
//!  entry ── one row an entry of the state, by the halves of its path:   written at random places
//!           its digest, and for a key its newest version; of a key that
//!           was removed the row stays, of another kind, without a digest
//!  tx_index_N   the first half of each transaction's id → its place     sorted, when there are many new ones
//! ```
//!
//! What costs is a page that is rewritten for one random row, so each write of a key pays for one: the
//! row of its entry. The value is in `version`, which only grows at its end, and so are blocks and
//! transactions. The index by id is one table after another, each written in the order of its rows: `index` says how.
//!
//! **Snapshots.** Freezing a state copies nothing. What a key was then is found along its versions; of
//! nonces and grants, which have none, the first change after it keeps in `before` what they were. What
//! somebody sends is `staged` beside the state; installed, its values become versions with numbers below
//! zero, of which `base` has height and transaction: no version here came before them. `chain` names the block that
//! it stands on, with its signed header. `entries` and `top` in
//! `standing` and `frozen` prove how many entries the state has; one that a file of before version 6 has frozen is
//! without, and is not offered.
//!
//! **History.** What a key was at a height is found along its versions, from the newest back, in few steps however
//! often it was written: `versions` says how.
//!
//! **Rosters.** `roster_step` leads from each roster to the next, and outlives blocks and snapshots. Files of before
//! version 5 begin without: steps over the changes of then are not made later.
//!
//! **Pruning.** Below `chain.pruned` a block without an item has only its signed header in `bytes`.
//!
//! A *place* is one number for height and index of a transaction, a *version* that number and the
//! operation: `height · 2^14 + index`, and `place · 2^7 + operation`. So both sort in the order of the
//! chain.

use std::path::{Path, PathBuf};

/// What `PRAGMA application_id` says: "Quor".
pub(crate) const APPLICATION: i32 = 0x5175_6f72;

/// What `PRAGMA user_version` says.
pub(crate) const VERSION: i32 = 9;

/// Bits of a place that are the index in the block: a block has at most 10,000 transactions.
pub(crate) const INDEX_BITS: u32 = 14;

/// Bits of a version that are the operation: a transaction has at most 128.
pub(crate) const OPERATION_BITS: u32 = 7;

/// Settings of every connection. No memory map: an I/O error would be a signal and not an error.
pub(crate) const SETTINGS: &str = "
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
";

/// Settings of the writer. Pages move from SQLite's log into the file only when it or its keeper says so.
pub(crate) const WRITER_SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -65536;
";

/// Settings of the keeper, which reads nothing.
pub(crate) const KEEPER_SETTINGS: &str = "
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
";

/// Settings of a reader.
pub(crate) const READER_SETTINGS: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -4096;
";

/// SQLite's log of a file.
pub(crate) fn log_of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// What makes of each version the next one, from an empty file on.
pub(crate) const STEPS: [&str; VERSION as usize] =
    [FIRST, SNAPSHOTS, PRUNING, EVIDENCE, ROSTERS, SIZES, LEAPS, HALVES, BASE_HEADER];

/// The version since which versions of keys have leaps.
pub(crate) const WITH_LEAPS: i32 = 7;

/// The version since which entries have the halves of their paths.
pub(crate) const WITH_HALVES: i32 = 8;

const FIRST: &str = "
CREATE TABLE chain (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    chain_id BLOB NOT NULL
) STRICT;

CREATE TABLE standing (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    height INTEGER NOT NULL, term INTEGER NOT NULL, hash BLOB NOT NULL,
    kind TEXT, time_us INTEGER NOT NULL, leader INTEGER, leader_key BLOB,
    roster_since INTEGER NOT NULL, state_root BLOB NOT NULL, outcomes BLOB NOT NULL,
    certificate BLOB
) STRICT;

CREATE TABLE block (
    height INTEGER PRIMARY KEY, term INTEGER NOT NULL, hash BLOB NOT NULL, kind TEXT NOT NULL,
    proposer INTEGER NOT NULL, time_us INTEGER NOT NULL, transactions INTEGER NOT NULL,
    state_root BLOB NOT NULL, bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX block_hash ON block (hash);

CREATE TABLE certificate (height INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE roster (height INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;

CREATE TABLE tx (
    place INTEGER PRIMARY KEY, id BLOB NOT NULL, sender BLOB NOT NULL, nonce INTEGER NOT NULL,
    outcome BLOB NOT NULL
) STRICT;
CREATE TABLE tx_index (number INTEGER PRIMARY KEY, rows INTEGER NOT NULL) STRICT;

CREATE TABLE entry (
    path BLOB PRIMARY KEY, digest BLOB, kind INTEGER NOT NULL, name BLOB NOT NULL,
    version INTEGER, content BLOB
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entry_name ON entry (name) WHERE kind = 1 AND digest IS NOT NULL;

CREATE TABLE version (
    version INTEGER PRIMARY KEY, earlier INTEGER, key BLOB NOT NULL, value BLOB
) STRICT;

CREATE VIEW blocks AS
    SELECT height, term, lower(hex(hash)) AS hash, kind, proposer,
           strftime('%Y-%m-%dT%H:%M:%fZ', time_us / 1e6, 'unixepoch') AS time, transactions,
           lower(hex(state_root)) AS state_root, length(bytes) AS size
    FROM block;

CREATE VIEW transactions AS
    SELECT place >> 14 AS height, place & 16383 AS position, lower(hex(id)) AS id,
           lower(hex(sender)) AS sender, nonce,
           CASE substr(outcome, 1, 1) WHEN x'01' THEN 'applied' WHEN x'02' THEN 'failed'
               ELSE 'void' END AS status
    FROM tx;

CREATE VIEW state AS
    SELECT CAST(entry.name AS TEXT) AS key, version.value, entry.version >> 21 AS height,
           lower(hex(tx.id)) AS tx
    FROM entry JOIN version USING (version) LEFT JOIN tx ON tx.place = entry.version >> 7
    WHERE entry.kind = 1 AND entry.digest IS NOT NULL;

CREATE VIEW history AS
    SELECT CAST(version.key AS TEXT) AS key, version.version >> 21 AS height,
           version.version >> 7 & 16383 AS position, version.version & 127 AS operation,
           lower(hex(tx.id)) AS tx, version.value
    FROM version LEFT JOIN tx ON tx.place = version.version >> 7;
";

const SNAPSHOTS: &str = "
ALTER TABLE chain ADD COLUMN base BLOB;
ALTER TABLE standing ADD COLUMN replaced BLOB;

CREATE TABLE frozen (
    height INTEGER PRIMARY KEY, term INTEGER NOT NULL, hash BLOB NOT NULL,
    kind TEXT, time_us INTEGER NOT NULL, leader INTEGER, leader_key BLOB,
    roster_since INTEGER NOT NULL, state_root BLOB NOT NULL, outcomes BLOB NOT NULL,
    certificate BLOB, replaced BLOB
) STRICT;
CREATE TABLE before (
    frozen INTEGER NOT NULL, path BLOB NOT NULL, content BLOB, PRIMARY KEY (frozen, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE staged (
    path BLOB PRIMARY KEY, digest BLOB NOT NULL, bytes BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE base (version INTEGER PRIMARY KEY, height INTEGER NOT NULL, tx BLOB NOT NULL) STRICT;

DROP VIEW state;
DROP VIEW history;

CREATE VIEW state AS
    SELECT CAST(entry.name AS TEXT) AS key, version.value,
           coalesce(base.height, entry.version >> 21) AS height,
           lower(hex(coalesce(base.tx, tx.id))) AS tx
    FROM entry JOIN version USING (version) LEFT JOIN base USING (version)
        LEFT JOIN tx ON tx.place = entry.version >> 7
    WHERE entry.kind = 1 AND entry.digest IS NOT NULL;

CREATE VIEW history AS
    SELECT CAST(version.key AS TEXT) AS key, version.version >> 21 AS height,
           version.version >> 7 & 16383 AS position, version.version & 127 AS operation,
           lower(hex(tx.id)) AS tx, version.value
    FROM version LEFT JOIN tx ON tx.place = version.version >> 7 WHERE version.version >= 0;
";

const PRUNING: &str = "
ALTER TABLE chain ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;

DROP VIEW blocks;
CREATE VIEW blocks AS
    SELECT height, term, lower(hex(hash)) AS hash, kind, proposer,
           strftime('%Y-%m-%dT%H:%M:%fZ', time_us / 1e6, 'unixepoch') AS time, transactions,
           lower(hex(state_root)) AS state_root,
           CASE WHEN height < pruned AND kind IN ('transactions', 'closing') THEN NULL
               ELSE length(bytes) END AS size
    FROM block JOIN chain;
";

const EVIDENCE: &str = "
CREATE TABLE conviction (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, node INTEGER NOT NULL, key BLOB NOT NULL,
    kind TEXT NOT NULL, term INTEGER NOT NULL, height INTEGER NOT NULL, bytes BLOB NOT NULL
) STRICT;

CREATE VIEW evidence AS
    SELECT node, lower(hex(key)) AS key, kind, term, height, lower(hex(bytes)) AS bytes
    FROM conviction ORDER BY number;
";

const ROSTERS: &str = "
CREATE TABLE roster_step (height INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
";

const SIZES: &str = "
ALTER TABLE standing ADD COLUMN entries INTEGER;
ALTER TABLE standing ADD COLUMN top BLOB;
ALTER TABLE frozen ADD COLUMN entries INTEGER;
ALTER TABLE frozen ADD COLUMN top BLOB;
";

/// The rows of before are filled by [`crate::versions::add_leaps`].
const LEAPS: &str = "
ALTER TABLE version ADD COLUMN nth INTEGER;
ALTER TABLE version ADD COLUMN leap INTEGER;
";

/// Entries by the halves of their paths, with what the next version of a key needs to know of the newest one. The index
/// over names depends on nothing that changes while a key has a value: otherwise each write would write to it too.
/// The rows of before are moved by [`crate::keys::split_paths`].
const HALVES: &str = "
DROP VIEW state;
DROP INDEX entry_name;
ALTER TABLE entry RENAME TO old_entry;
CREATE TABLE entry (
    half INTEGER NOT NULL, rest BLOB NOT NULL, digest BLOB, kind INTEGER NOT NULL, name BLOB NOT NULL,
    version INTEGER, nth INTEGER, leap INTEGER, content BLOB, PRIMARY KEY (half, rest)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entry_name ON entry (name) WHERE kind = 1;
CREATE VIEW state AS
    SELECT CAST(entry.name AS TEXT) AS key, version.value,
           coalesce(base.height, entry.version >> 21) AS height,
           lower(hex(coalesce(base.tx, tx.id))) AS tx
    FROM entry JOIN version USING (version) LEFT JOIN base USING (version)
        LEFT JOIN tx ON tx.place = entry.version >> 7
    WHERE entry.kind = 1;

ALTER TABLE tx_index ADD COLUMN last INTEGER;
UPDATE tx_index SET last = (SELECT max(place) FROM tx);

DROP TABLE staged;
CREATE TABLE staged (
    half INTEGER NOT NULL, rest BLOB NOT NULL, digest BLOB NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (half, rest)
) STRICT, WITHOUT ROWID;
";

/// What a state that was installed before is without: it is not offered to others.
const BASE_HEADER: &str = "
ALTER TABLE chain ADD COLUMN base_header BLOB;
";

/// Leaves the signed header of the blocks without an item from one height up to another.
pub(crate) const PRUNE: &str = "
    UPDATE block SET bytes = substr(bytes, 1, ?3)
    WHERE height >= ?1 AND height < ?2 AND kind IN ('transactions', 'closing')
";

/// The name of a table of the index by id.
pub(crate) fn index_name(number: i64) -> String {
    format!("tx_index_{number}")
}

/// One table of the index by id.
pub(crate) fn index_table(number: i64) -> String {
    format!(
        "CREATE TABLE {} (
             half INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (half, place)
         ) STRICT, WITHOUT ROWID",
        index_name(number)
    )
}
