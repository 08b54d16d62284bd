//! What stands under keys, as far as one question or one transaction has asked: each is looked up once.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use quorate_chain::ids::Hash;
use quorate_chain::state::StateKey;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::StoreError;
use crate::path::Halves;
use crate::standing::hash;
use crate::versions::{self, Newest};

/// `entry.kind` of a key that was removed.
pub(crate) const REMOVED: i64 = 0;
/// `entry.kind` of a key that has a value.
pub(crate) const VALUE: i64 = 1;

/// The row of a key.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) newest: Newest,
    /// Whether it has a value.
    pub(crate) has: bool,
}

/// What is known of a key.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) path: Hash,
    /// Its row in the table, if it has ever been written.
    pub(crate) row: Option<Row>,
    /// What was written since: the row does not say so yet.
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
    known: RefCell<HashMap<Bytes, Known>>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(db: &'a Connection) -> Self {
        Self { db, known: RefCell::default() }
    }

    pub(crate) const fn db(&self) -> &'a Connection {
        self.db
    }

    pub(crate) fn get(&self, key: &Bytes) -> Result<Known, StoreError> {
        if let Some(known) = self.known.borrow().get(key) {
            return Ok(*known);
        }
        let path = StateKey::Value(key.clone()).path();
        let known = Known { path, row: self.row(path)?, written: None };
        self.known.borrow_mut().insert(key.clone(), known);
        Ok(known)
    }

    fn row(&self, path: Hash) -> Result<Option<Row>, StoreError> {
        let mut select = self.db.prepare_cached(
            "SELECT version, nth, leap, kind FROM entry WHERE half = ?1 AND rest = ?2",
        )?;
        let Halves { first, rest } = Halves::of(&path);
        let row = select.query_row(params![first, rest], |row| {
            let newest = Newest { version: row.get(0)?, nth: row.get(1)?, leap: row.get(2)? };
            Ok(Row { newest, has: row.get::<_, i64>(3)? == VALUE })
        });
        Ok(row.optional()?)
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

    /// Puts the newest version of a key into its row, with the digest of its value if it has one; nothing if the key
    /// was not written.
    pub(crate) fn put(
        &self,
        key: &Bytes,
        digest: impl FnOnce(&Hash) -> Option<Hash>,
    ) -> Result<(), StoreError> {
        let Known { path, row, written } = self.get(key)?;
        let Some(Newest { version, nth, leap }) = written else { return Ok(()) };
        let digest = digest(&path).map(|digest| *digest.as_bytes());
        let (has, Halves { first, rest }) = (digest.is_some(), Halves::of(&path));
        if row.is_some_and(|row| row.has == has) {
            // The index over names is left alone, as it would not be if a column changed that it depends on.
            self.db
                .prepare_cached(
                    "UPDATE entry SET digest = ?3, version = ?4, nth = ?5, leap = ?6
                         WHERE half = ?1 AND rest = ?2",
                )?
                .execute(params![first, rest, digest, version, nth, leap])?;
            return Ok(());
        }
        let kind = if has { VALUE } else { REMOVED };
        self.db
            .prepare_cached(
                "INSERT INTO entry (half, rest, digest, kind, name, version, nth, leap)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (half, rest) DO UPDATE
                     SET digest = excluded.digest, kind = excluded.kind, version = excluded.version,
                         nth = excluded.nth, leap = excluded.leap",
            )?
            .execute(params![first, rest, digest, kind, key.as_ref(), version, nth, leap])?;
        Ok(())
    }
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
