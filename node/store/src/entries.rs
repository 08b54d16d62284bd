//! The writer's entries of the state: what their rows do not say yet, and what was looked at lately.
//!
//! A row stands at a random place, and a sender's nonces change with each of its transactions. So what becomes of an entry is
//! kept here until the open transaction is committed, and written once for all batches that changed it, in the order of
//! the rows. Only the writer's own connection can tell the difference; it asks here first.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use quorate_chain::codec::Encode as _;
use quorate_chain::ids::Hash;
use quorate_chain::lately::Lately;
use quorate_chain::state::{StateEntry, StateKey};
use quorate_chain::state_root::{Leaf, PathRange, correct};
use rusqlite::{Connection, params};

use crate::error::StoreError;
use crate::keys::{self, REMOVED, Row, VALUE};
use crate::path::Halves;
use crate::versions::Newest;

/// How many entries are remembered that stand in their rows: some twelve megabytes.
const LATELY: usize = 32_768;
/// With so many that wait for their rows it is time to write them, though the transaction stays open.
const MANY: usize = 16_384;

/// What stands under a path.
#[derive(Clone, Debug)]
enum Entry {
    /// A key, if it was ever written.
    Key(Option<Row>),
    /// Nonces or grants of an account.
    Account(Option<StateEntry>),
}

/// What the row of an entry shall say.
#[derive(Debug)]
struct Unwritten {
    entry: Entry,
    digest: Option<Hash>,
    /// What it is the entry of. A key that its row names already is not named again.
    key: Option<StateKey>,
}

/// The table of entries, with what waits to be written to it.
///
/// Invariant: what is in `unwritten` is newer than its row; what is in `lately` and not in `unwritten` is what its row says.
#[derive(Debug)]
pub(crate) struct EntryTable {
    unwritten: BTreeMap<Hash, Unwritten>,
    lately: Lately<Hash, Entry>,
    /// Up to where rows were written that did not wait for the others.
    written: Hash,
}

impl Default for EntryTable {
    fn default() -> Self {
        let (unwritten, written) = (BTreeMap::new(), Hash::ZERO);
        Self { unwritten, lately: Lately::new(LATELY), written }
    }
}

impl EntryTable {
    fn get(&self, path: &Hash) -> Option<&Entry> {
        self.unwritten.get(path).map(|unwritten| &unwritten.entry).or_else(|| self.lately.get(path))
    }

    /// Whether it is known that there is a row, with the name and kind of the entry that is the newest.
    fn is_row_known(&self, path: &Hash) -> bool {
        match self.unwritten.get(path) {
            Some(unwritten) => unwritten.key.is_none(),
            None => {
                matches!(self.lately.get(path), Some(Entry::Key(Some(_)) | Entry::Account(Some(_))))
            }
        }
    }

    /// The row of a key.
    pub(crate) fn row(&mut self, db: &Connection, path: Hash) -> Result<Option<Row>, StoreError> {
        if let Some(Entry::Key(row)) = self.get(&path) {
            return Ok(*row);
        }
        let row = keys::row(db, path)?;
        self.lately.put(path, Entry::Key(row));
        Ok(row)
    }

    /// Nonces or grants.
    pub(crate) fn account(
        &mut self,
        db: &Connection,
        path: Hash,
    ) -> Result<Option<StateEntry>, StoreError> {
        if let Some(Entry::Account(entry)) = self.get(&path) {
            return Ok(entry.clone());
        }
        let entry = keys::account(db, path)?;
        self.remember(path, Entry::Account(entry.clone()));
        Ok(entry)
    }

    /// A key has another newest version, with the digest of its value if it has one.
    pub(crate) fn put_key(
        &mut self,
        path: Hash,
        name: &Bytes,
        newest: Newest,
        digest: Option<Hash>,
    ) {
        let has = digest.is_some();
        let same = matches!(self.get(&path), Some(Entry::Key(Some(row))) if row.has == has);
        let known = same && self.is_row_known(&path);
        // The name that was given is a part of the block that it came in, all of which would be kept.
        let key = (!known).then(|| StateKey::Value(Bytes::copy_from_slice(name)));
        let entry = Entry::Key(Some(Row { newest, has }));
        self.unwritten.insert(path, Unwritten { entry, digest, key });
    }

    /// Nonces or grants have changed.
    pub(crate) fn put_account(
        &mut self,
        path: Hash,
        key: &StateKey,
        entry: Option<StateEntry>,
        digest: Option<Hash>,
    ) {
        let key = (!self.is_row_known(&path)).then(|| key.clone());
        let entry = Entry::Account(entry);
        self.unwritten.insert(path, Unwritten { entry, digest, key });
    }

    /// Makes of the leaves that the rows have within a range those that the state has.
    pub(crate) fn correct(&self, range: PathRange, leaves: &mut Vec<Leaf>) {
        let changed = self.unwritten.range(*range.first()..=*range.last());
        correct(leaves, changed.map(|(path, unwritten)| (path, unwritten.digest)));
    }

    /// Writes all rows. What nonces and grants were in the state that was frozen last is kept, unless they have changed
    /// since.
    pub(crate) fn write(&mut self, db: &Connection, frozen: Option<i64>) -> Result<(), StoreError> {
        for (path, unwritten) in std::mem::take(&mut self.unwritten) {
            unwritten.write(db, path, frozen)?;
            self.remember(path, unwritten.entry);
        }
        Ok(())
    }

    /// The same, if many wait for it.
    pub(crate) fn write_many(
        &mut self,
        db: &Connection,
        frozen: Option<i64>,
    ) -> Result<(), StoreError> {
        if self.unwritten.len() >= MANY { self.write(db, frozen) } else { Ok(()) }
    }

    /// Writes a few rows, if many wait: so those that are written together, later, are fewer. It goes round, so that
    /// what changes again and again is not written again and again.
    pub(crate) fn write_few(
        &mut self,
        db: &Connection,
        frozen: Option<i64>,
        [few, many]: [usize; 2],
    ) -> Result<(), StoreError> {
        for _ in 0..few.min(self.unwritten.len().saturating_sub(many)) {
            let after = (Bound::Excluded(self.written), Bound::Unbounded);
            let next = self.unwritten.range(after).next().or_else(|| self.unwritten.iter().next());
            let Some(path) = next.map(|(path, _)| *path) else { break };
            let Some(unwritten) = self.unwritten.remove(&path) else { break };
            unwritten.write(db, path, frozen)?;
            self.remember(path, unwritten.entry);
            self.written = path;
        }
        Ok(())
    }

    /// Remembers what a row says.
    fn remember(&mut self, path: Hash, entry: Entry) {
        match entry {
            // They may be large, and parts of the block that they came in, all of which would be kept.
            Entry::Account(Some(StateEntry::Grants(_))) => drop(self.lately.remove(&path)),
            Entry::Key(_) | Entry::Account(_) => self.lately.put(path, entry),
        }
    }
}

impl Unwritten {
    fn write(&self, db: &Connection, path: Hash, frozen: Option<i64>) -> Result<(), StoreError> {
        let halves = Halves::of(&path);
        match &self.entry {
            Entry::Key(row) => self.write_key(db, halves, row.map(|row| row.newest)),
            Entry::Account(entry) => {
                if let Some(frozen) = frozen {
                    keep_before(db, path, frozen)?;
                }
                self.write_account(db, halves, entry.as_ref())
            }
        }
    }

    fn digest(&self) -> Option<[u8; Hash::LENGTH]> {
        self.digest.map(|digest| *digest.as_bytes())
    }

    fn write_key(
        &self,
        db: &Connection,
        Halves { first, rest }: Halves,
        newest: Option<Newest>,
    ) -> Result<(), StoreError> {
        let Some(Newest { version, nth, leap }) = newest else { return Ok(()) };
        let digest = self.digest();
        let Some(StateKey::Value(name)) = &self.key else {
            // The index over names is left alone, as it would not be if a column changed that it depends on.
            let mut update = db.prepare_cached(
                "UPDATE entry SET digest = ?3, version = ?4, nth = ?5, leap = ?6
                     WHERE half = ?1 AND rest = ?2",
            )?;
            return one(update.execute(params![first, rest, digest, version, nth, leap])?);
        };
        let kind = if digest.is_some() { VALUE } else { REMOVED };
        db.prepare_cached(
            "INSERT INTO entry (half, rest, digest, kind, name, version, nth, leap)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (half, rest) DO UPDATE
                 SET digest = excluded.digest, kind = excluded.kind, version = excluded.version,
                     nth = excluded.nth, leap = excluded.leap",
        )?
        .execute(params![first, rest, digest, kind, name.as_ref(), version, nth, leap])?;
        Ok(())
    }

    fn write_account(
        &self,
        db: &Connection,
        Halves { first, rest }: Halves,
        entry: Option<&StateEntry>,
    ) -> Result<(), StoreError> {
        let (digest, content) = (self.digest(), entry.map(StateEntry::to_bytes));
        let (kind, account) = match &self.key {
            Some(StateKey::Nonces(account)) => (keys::NONCES, account),
            Some(StateKey::Grants(account)) => (keys::GRANTS, account),
            Some(StateKey::Value(_)) | None => {
                let mut update = db.prepare_cached(
                    "UPDATE entry SET digest = ?3, content = ?4 WHERE half = ?1 AND rest = ?2",
                )?;
                return one(update.execute(params![first, rest, digest, content.as_deref()])?);
            }
        };
        db.prepare_cached(
            "INSERT INTO entry (half, rest, digest, kind, name, content)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (half, rest) DO UPDATE
                 SET digest = excluded.digest, content = excluded.content",
        )?
        .execute(params![
            first,
            rest,
            digest,
            kind,
            account.as_bytes(),
            content.as_deref()
        ])?;
        Ok(())
    }
}

/// That one row was changed, which was there when it was looked at.
fn one(changed: usize) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(StoreError::Missing { what: "an entry of the state" }) }
}

/// Keeps what nonces or grants are in their row, unless that was done since the state was frozen last.
fn keep_before(db: &Connection, path: Hash, frozen: i64) -> Result<(), StoreError> {
    let Halves { first, rest } = Halves::of(&path);
    db.prepare_cached(
        "INSERT OR IGNORE INTO before
             VALUES (?1, ?2, (SELECT content FROM entry WHERE half = ?3 AND rest = ?4))",
    )?
    .execute(params![frozen, path.as_bytes(), first, rest])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use quorate_chain::ids::{AccountKey, Nonce};
    use quorate_chain::state::{Changes, Grants, Nonces, StateRead as _, Value};
    use quorate_chain::state_root::{Leaves, StateTree};
    use quorate_replica::store::{State, Store as _, StoreReader as _, suite};
    use rusqlite::types::Value as Cell;

    use super::*;
    use crate::SqliteStore;

    /// What step by step becomes of a few keys and accounts: each comes, changes, goes and comes again.
    fn changes(step: u64) -> Changes {
        let mut dice = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = |below: u64| {
            dice = (dice ^ (dice >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ step;
            (dice >> 7) % below
        };
        let mut changes = Changes::new();
        for _ in 0..1 + draw(6) {
            let account = AccountKey::new([u8::try_from(draw(9)).unwrap(); AccountKey::LENGTH]);
            let stays = draw(3) > 0;
            let (key, entry) = match draw(4) {
                0 => {
                    let mut nonces = Nonces::default();
                    nonces.take(Nonce::new(step)).unwrap_or_default();
                    (StateKey::Nonces(account), StateEntry::Nonces(nonces))
                }
                1 => {
                    let grants = Grants([Bytes::from(format!("{step}/"))].into());
                    (StateKey::Grants(account), StateEntry::Grants(grants))
                }
                _ => {
                    let value = suite::genesis().applied.block;
                    let (height, tx) = (value.height, quorate_chain::ids::TxId::ZERO);
                    let bytes = Bytes::from(step.to_string());
                    let key = Bytes::from(format!("key {}", draw(12)));
                    (StateKey::Value(key), StateEntry::Value(Value { height, tx, bytes }))
                }
            };
            changes.insert(key, stays.then_some(entry));
        }
        changes
    }

    /// All rows that a question finds.
    fn rows(db: &Connection, question: &str) -> Vec<Vec<Cell>> {
        let mut select = db.prepare(question).unwrap();
        let count = select.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..count).map(|at| row.get(at)).collect();
        select.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The leaves that the writer sees.
    struct Seen<'a>(&'a dyn State<StoreError>);

    impl Leaves for Seen<'_> {
        type Error = StoreError;

        fn within(&self, range: PathRange) -> Result<Vec<Leaf>, StoreError> {
            self.0.within(range)
        }
    }

    #[test]
    fn a_row_that_was_there_and_is_not_any_more_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chain.db");
        let mut store = SqliteStore::open(&file, suite::CHAIN).unwrap();
        store.begin(suite::genesis(), &Changes::new()).unwrap();
        let mut chain = suite::Chain::default();
        let value = |bytes: &'static str| {
            let (height, tx) = (quorate_chain::ids::Height::ZERO, quorate_chain::ids::TxId::ZERO);
            let value = Value { height, tx, bytes: Bytes::from_static(bytes.as_bytes()) };
            Changes::from([(StateKey::Value("k".into()), Some(StateEntry::Value(value)))])
        };
        store.apply(chain.batch(1, value("first"))).unwrap();
        store.settle().unwrap();
        Connection::open(&file).unwrap().execute("DELETE FROM entry", []).unwrap();
        store.apply(chain.batch(1, value("second"))).unwrap();
        let settled = store.settle();
        assert!(matches!(settled, Err(StoreError::Missing { .. })), "{settled:?}");
    }

    #[test]
    fn rows_that_are_written_late_are_those_that_are_written_at_once() {
        const STEPS: u64 = 600;
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let mut store = SqliteStore::open(&folder.path().join(name), suite::CHAIN).unwrap();
            store.begin(suite::genesis(), &Changes::new()).unwrap();
            store
        };
        let (mut late, mut soon) = (made("late.db"), made("soon.db"));
        let mut chains = [suite::Chain::default(), suite::Chain::default()];
        for step in 1..=STEPS {
            let [first, second] = chains.each_mut().map(|chain| chain.batch(1, changes(step)));
            // Whoever asks has all rows written.
            let asked = soon.reader();
            let leaves = asked.leaves_after(None, 1_000).unwrap();
            let mut tree = StateTree::rebuild(leaves.into_iter().map(Ok::<_, StoreError>)).unwrap();
            late.apply_from(|state| {
                for number in 0..9 {
                    let account = AccountKey::new([number; AccountKey::LENGTH]);
                    assert_eq!(state.nonces(account)?, asked.nonces(account)?, "at step {step}");
                    assert_eq!(state.grants(account)?, asked.grants(account)?, "at step {step}");
                }
                for number in 0..12 {
                    let key = Bytes::from(format!("key {number}"));
                    assert_eq!(state.value(&key)?, asked.value(&key)?, "at step {step}");
                }
                // The tree finds out if the leaves are not those.
                tree.update(&first.leaves, &Seen(state)).unwrap();
                Ok::<_, StoreError>(first)
            })
            .unwrap();
            soon.apply(second).unwrap();
            // Some of them go before the others.
            late.writer().write_few([2, 3]).unwrap();
            if step % 70 == 0 {
                assert!(late.freeze(None).unwrap() && soon.freeze(None).unwrap());
            }
        }
        let files = ["late.db", "soon.db"].map(|name| folder.path().join(name));
        late.settle().unwrap();
        soon.settle().unwrap();
        let [late, soon] = files.map(|file| Connection::open(file).unwrap());
        for table in ["entry", "before", "standing", "version"] {
            let question = format!("SELECT * FROM {table} ORDER BY 1, 2");
            assert_eq!(rows(&late, &question), rows(&soon, &question), "{table}");
        }
    }
}
