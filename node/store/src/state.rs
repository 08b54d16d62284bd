//! The state as a connection sees it: what execution asks of it, and its leaves.

use std::cell::RefCell;

use bytes::Bytes;
use quorate_chain::ids::AccountKey;
use quorate_chain::state::{Grants, Nonces, StateEntry, StateKey, StateRead, Value};
use quorate_chain::state_root::{Leaf, Leaves, PathRange};
use quorate_replica::store::Version;
use rusqlite::Connection;

use crate::entries::EntryTable;
use crate::error::StoreError;
use crate::keys::{self, Keys};
use crate::path::Halves;
use crate::read::{leaves, version_at};

/// The state, within whatever transaction the connection is in.
pub(crate) struct State<'a> {
    pub(crate) keys: Keys<'a>,
}

impl<'a> State<'a> {
    /// As it is in the tables.
    pub(crate) fn of(db: &'a Connection) -> Self {
        Self { keys: Keys::new(db) }
    }

    /// As the writer has it.
    pub(crate) fn with(db: &'a Connection, entries: &'a RefCell<EntryTable>) -> Self {
        Self { keys: Keys::with(db, entries) }
    }

    fn account(&self, key: &StateKey) -> Result<Option<StateEntry>, StoreError> {
        let (db, path) = (self.keys.db(), key.path());
        match self.keys.entries() {
            Some(entries) => entries.borrow_mut().account(db, path),
            None => keys::account(db, path),
        }
    }
}

impl StateRead for State<'_> {
    type Error = StoreError;

    fn value(&self, key: &Bytes) -> Result<Option<Value>, StoreError> {
        let Some(row) = self.keys.get(key)?.row.filter(|row| row.has) else { return Ok(None) };
        let missing = StoreError::Missing { what: "the newest version of a key" };
        let (version, _) = version_at(self.keys.db(), row.newest.version)?.ok_or(missing)?;
        let Version { height, tx, value, .. } = version;
        Ok(value.map(|bytes| Value { height, tx, bytes }))
    }

    fn has(&self, key: &Bytes) -> Result<bool, StoreError> {
        Ok(self.keys.get(key)?.row.is_some_and(|row| row.has))
    }

    fn nonces(&self, account: AccountKey) -> Result<Nonces, StoreError> {
        Ok(match self.account(&StateKey::Nonces(account))? {
            Some(StateEntry::Nonces(nonces)) => nonces,
            Some(StateEntry::Value(_) | StateEntry::Grants(_)) | None => Nonces::default(),
        })
    }

    fn grants(&self, account: AccountKey) -> Result<Grants, StoreError> {
        Ok(match self.account(&StateKey::Grants(account))? {
            Some(StateEntry::Grants(grants)) => grants,
            Some(StateEntry::Value(_) | StateEntry::Nonces(_)) | None => Grants::default(),
        })
    }
}

impl Leaves for State<'_> {
    type Error = StoreError;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, StoreError> {
        let mut select = self.keys.db().prepare_cached(
            "SELECT half, rest, digest FROM entry
             WHERE half BETWEEN ?1 AND ?2 AND digest IS NOT NULL ORDER BY half, rest",
        )?;
        let ends = [range.first(), range.last()].map(|path| Halves::of(path).first);
        let mut leaves = leaves(select.query(ends)?)?;
        // A range may be so narrow that its ends differ in the second half alone.
        leaves.retain(|leaf| range.contains(&leaf.path));
        if let Some(entries) = self.keys.entries() {
            entries.borrow().correct(range, &mut leaves);
        }
        Ok(leaves)
    }
}
