//! The state as a connection sees it: what execution asks of it, and its leaves.

use bytes::Bytes;
use quorate_chain::ids::AccountKey;
use quorate_chain::state::{Grants, Nonces, StateEntry, StateKey, StateRead, Value};
use quorate_chain::state_root::{Leaf, Leaves, PathRange};
use quorate_replica::store::Version;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::StoreError;
use crate::keys::Keys;
use crate::path::Halves;
use crate::read::{leaves, version_at};
use crate::standing::decode;

/// The state, within whatever transaction the connection is in.
pub(crate) struct State<'a> {
    pub(crate) keys: Keys<'a>,
}

impl<'a> State<'a> {
    pub(crate) fn of(db: &'a Connection) -> Self {
        Self { keys: Keys::new(db) }
    }

    fn content(&self, key: &StateKey) -> Result<Option<StateEntry>, StoreError> {
        let db = self.keys.db();
        let mut select =
            db.prepare_cached("SELECT content FROM entry WHERE half = ?1 AND rest = ?2")?;
        let Halves { first, rest } = Halves::of(&key.path());
        let row = select.query_row(params![first, rest], |row| row.get::<_, Option<Vec<u8>>>(0));
        let bytes = row.optional()?.flatten();
        bytes.map(|bytes| decode("an entry of the state", bytes)).transpose()
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
        Ok(match self.content(&StateKey::Nonces(account))? {
            Some(StateEntry::Nonces(nonces)) => nonces,
            Some(StateEntry::Value(_) | StateEntry::Grants(_)) | None => Nonces::default(),
        })
    }

    fn grants(&self, account: AccountKey) -> Result<Grants, StoreError> {
        Ok(match self.content(&StateKey::Grants(account))? {
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
        Ok(leaves)
    }
}
