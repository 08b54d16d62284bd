//! A state in the store with the changes of blocks that are not in it yet.

use bytes::Bytes;
use quorate_chain::ids::AccountKey;
use quorate_chain::state::{Changes, Grants, Nonces, StateEntry, StateKey, StateRead, Value};
use quorate_chain::state_root::{self, Leaf, Leaves, PathRange, correct};

/// A state in the store with changes on top.
#[derive(Debug)]
pub(crate) struct Overlay<'a, R: ?Sized> {
    reader: &'a R,
    changes: Changes,
    leaves: state_root::Changes,
}

impl<'a, R: ?Sized> Overlay<'a, R> {
    /// The state as the store has it.
    pub(crate) fn new(reader: &'a R) -> Self {
        Self { reader, changes: Changes::new(), leaves: state_root::Changes::new() }
    }

    /// Puts what a block has changed on top.
    pub(crate) fn extend(&mut self, changes: Changes, leaves: state_root::Changes) {
        self.changes.extend(changes);
        self.leaves.extend(leaves);
    }

    /// All that was put on top.
    pub(crate) fn into_changes(self) -> (Changes, state_root::Changes) {
        (self.changes, self.leaves)
    }
}

impl<R: StateRead + ?Sized> StateRead for Overlay<'_, R> {
    type Error = R::Error;

    fn value(&self, key: &Bytes) -> Result<Option<Value>, Self::Error> {
        match self.changes.get(&StateKey::Value(key.clone())) {
            Some(Some(StateEntry::Value(value))) => Ok(Some(value.clone())),
            Some(_) => Ok(None),
            None => self.reader.value(key),
        }
    }

    fn has(&self, key: &Bytes) -> Result<bool, Self::Error> {
        match self.changes.get(&StateKey::Value(key.clone())) {
            Some(entry) => Ok(entry.is_some()),
            None => self.reader.has(key),
        }
    }

    fn nonces(&self, account: AccountKey) -> Result<Nonces, Self::Error> {
        match self.changes.get(&StateKey::Nonces(account)) {
            Some(Some(StateEntry::Nonces(nonces))) => Ok(*nonces),
            Some(_) => Ok(Nonces::default()),
            None => self.reader.nonces(account),
        }
    }

    fn grants(&self, account: AccountKey) -> Result<Grants, Self::Error> {
        match self.changes.get(&StateKey::Grants(account)) {
            Some(Some(StateEntry::Grants(grants))) => Ok(grants.clone()),
            Some(_) => Ok(Grants::default()),
            None => self.reader.grants(account),
        }
    }
}

impl<R: Leaves + ?Sized> Leaves for Overlay<'_, R> {
    type Error = R::Error;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, Self::Error> {
        let mut leaves = self.reader.within(range)?;
        let changed = self.leaves.range(*range.first()..=*range.last());
        correct(&mut leaves, changed.map(|(path, digest)| (path, *digest)));
        Ok(leaves)
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::ids::{Height, TxId};

    use super::*;
    use crate::store::suite::chain::{genesis, key};
    use crate::store::{MemoryStore, Store as _};

    fn value(bytes: &'static str) -> Value {
        Value {
            height: Height::new(1),
            tx: TxId::ZERO,
            bytes: Bytes::from_static(bytes.as_bytes()),
        }
    }

    #[test]
    fn what_a_batch_has_removed_or_changed_hides_what_the_store_has() {
        let entry = |bytes| Some(StateEntry::Value(value(bytes)));
        let stored = ["removed", "changed", "kept"].map(|name| (key(name), entry("old")));
        let mut store = MemoryStore::new();
        store.begin(genesis(), &Changes::from(stored)).expect("memory does not fail");
        let reader = store.reader();
        let mut overlay = Overlay::new(&reader);
        let changes = [(key("removed"), None), (key("changed"), entry("new"))];
        overlay.extend(Changes::from(changes), state_root::Changes::new());
        let value_of = |name: &'static str| overlay.value(&Bytes::from_static(name.as_bytes()));
        assert_eq!(value_of("removed").ok(), Some(None));
        assert_eq!(value_of("changed").ok(), Some(Some(value("new"))));
        assert_eq!(value_of("kept").ok(), Some(Some(value("old"))));
        let has = |name: &'static str| overlay.has(&Bytes::from_static(name.as_bytes()));
        assert_eq!(["removed", "changed", "kept"].map(has), [Ok(false), Ok(true), Ok(true)]);
    }
}
