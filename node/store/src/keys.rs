//! What stands under keys, as far as one question or one transaction has asked: each is looked up once.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use quorate_chain::ids::Hash;
use quorate_chain::state::{StateEntry, StateKey};
use rusqlite::{Connection, OptionalExtension, params};

use crate::entries::EntryTable;
use crate::error::StoreError;
use crate::path::Halves;
use crate::standing::{decode, hash};
use crate::versions::{self, Newest};

/// `entry.kind` of a key that was removed.
pub(crate) const REMOVED: i64 = 0;
/// `entry.kind` of a key that has a value.
pub(crate) const VALUE: i64 = 1;
/// `entry.kind` of the nonces of an account.
pub(crate) const NONCES: i64 = 2;
/// `entry.kind` of the grants of an account.
pub(crate) const GRANTS: i64 = 3;

/// The row of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) newest: Newest,
    /// Whether it has a value.
    pub(crate) has: bool,
}

/// What is known of a key.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) path: Hash,
    /// What it was when it was asked for first, if it had ever been written.
    pub(crate) row: Option<Row>,
    /// What was written since.
    pub(crate) written: Option<Newest>,
}

impl Known {
    /// Its newest version.
    pub(crate) fn newest(&self) -> Option<Newest> {
        self.written.or(self.row.map(|row| row.newest))
    }
}

/// Keys that were asked for.
pub(crate) struct Keys<'a> {
    db: &'a Connection,
    /// Of the writer: what is not in the table yet.
    entries: Option<&'a RefCell<EntryTable>>,
    known: RefCell<HashMap<Bytes, Known>>,
}

impl<'a> Keys<'a> {
    /// Those in the table.
    pub(crate) fn new(db: &'a Connection) -> Self {
        Self { db, entries: None, known: RefCell::default() }
    }

    /// Those in the table or still with the writer.
    pub(crate) fn with(db: &'a Connection, entries: &'a RefCell<EntryTable>) -> Self {
        Self { db, entries: Some(entries), known: RefCell::default() }
    }

    pub(crate) const fn db(&self) -> &'a Connection {
        self.db
    }

    pub(crate) const fn entries(&self) -> Option<&'a RefCell<EntryTable>> {
        self.entries
    }

    pub(crate) fn get(&self, key: &Bytes) -> Result<Known, StoreError> {
        if let Some(known) = self.known.borrow().get(key) {
            return Ok(*known);
        }
        let path = StateKey::Value(key.clone()).path();
        let row = match self.entries {
            Some(entries) => entries.borrow_mut().row(self.db, path)?,
            None => row(self.db, path)?,
        };
        let known = Known { path, row, written: None };
        self.known.borrow_mut().insert(key.clone(), known);
        Ok(known)
    }

    /// Adds a version of a key.
    pub(crate) fn add(
        &self,
        version: i64,
        key: &Bytes,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let known = self.get(key)?;
        let newest = versions::add(self.db, version, known.newest(), key, value)?;
        self.known.borrow_mut().insert(key.clone(), Known { written: Some(newest), ..known });
        Ok(())
    }
}

/// The row of a key in the table.
pub(crate) fn row(db: &Connection, path: Hash) -> Result<Option<Row>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT version, nth, leap, kind FROM entry WHERE half = ?1 AND rest = ?2",
    )?;
    let Halves { first, rest } = Halves::of(&path);
    let row = select.query_row(params![first, rest], |row| {
        let newest = Newest { version: row.get(0)?, nth: row.get(1)?, leap: row.get(2)? };
        Ok(Row { newest, has: row.get::<_, i64>(3)? == VALUE })
    });
    Ok(row.optional()?)
}

/// Nonces or grants in the table.
pub(crate) fn account(db: &Connection, path: Hash) -> Result<Option<StateEntry>, StoreError> {
    let mut select =
        db.prepare_cached("SELECT content FROM entry WHERE half = ?1 AND rest = ?2")?;
    let Halves { first, rest } = Halves::of(&path);
    let row = select.query_row(params![first, rest], |row| row.get::<_, Option<Vec<u8>>>(0));
    let bytes = row.optional()?.flatten();
    bytes.map(|bytes| decode("an entry of the state", bytes)).transpose()
}

/// Moves the entries of a file of before version 8 into a table that has their paths in halves.
pub(crate) fn split_paths(db: &Connection) -> Result<(), StoreError> {
    let mut select = db.prepare(
        "SELECT path, digest, kind, name, entry.version, nth, leap, content
         FROM old_entry AS entry LEFT JOIN version USING (version)",
    )?;
    let mut insert = db.prepare("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let path = hash("a path", &row.get::<_, Vec<u8>>(0)?)?;
        let Halves { first, rest } = Halves::of(&Hash::new(path));
        let (digest, kind): (Option<Vec<u8>>, i64) = (row.get(1)?, row.get(2)?);
        let kind = if kind == VALUE && digest.is_none() { REMOVED } else { kind };
        let name: Vec<u8> = row.get(3)?;
        let links: [Option<i64>; 3] = [row.get(4)?, row.get(5)?, row.get(6)?];
        let [version, nth, leap] = links;
        let content: Option<Vec<u8>> = row.get(7)?;
        insert.execute(params![first, rest, digest, kind, name, version, nth, leap, content])?;
    }
    db.execute_batch("DROP TABLE old_entry")?;
    Ok(())
}
