//! States that are frozen for others, and one that others send.

use bytes::Bytes;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, DecodeError, Encode, Reader};
use quorate_chain::ids::{Hash, Height};
use quorate_chain::state::{StateEntry, StateKey, Value};
use quorate_chain::state_root::Leaf;
use quorate_replica::store::{Entries, Install};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::batch::keep;
use crate::blocks::number;
use crate::entries::EntryTable;
use crate::error::StoreError;
use crate::index::Index;
use crate::keys::{NONCES, REMOVED, VALUE};
use crate::path::{Halves, above, join};
use crate::place::version;
use crate::read::{leaves, version_at};
use crate::standing::{self, decode};
use crate::steps;
use crate::versions::{self, Newest, newest_below};

/// Freezes the state as it is; of those frozen before only the one at a height stays. Returns the newest height.
pub(crate) fn freeze(db: &Connection, keep: Option<Height>) -> Result<Option<i64>, StoreError> {
    let keep = keep.map(number);
    // What entries were is kept with the newest frozen state before their change. Whoever is older needs it too.
    db.execute(
        "UPDATE OR IGNORE before SET frozen = (SELECT max(height) FROM frozen WHERE height = ?1)
         WHERE frozen > ?1",
        [keep],
    )?;
    db.execute("DELETE FROM frozen WHERE height IS NOT ?1", [keep])?;
    db.execute("DELETE FROM before WHERE frozen NOT IN (SELECT height FROM frozen)", [])?;
    db.execute(
        "INSERT INTO frozen SELECT height, term, hash, kind, time_us, leader, leader_key,
             roster_since, state_root, outcomes, certificate, replaced, entries, top FROM standing
         WHERE height IS NOT ?1",
        [keep],
    )?;
    Ok(db.query_row("SELECT max(height) FROM frozen", [], |row| row.get(0))?)
}

/// A row of `entry` as a frozen state needs it.
struct Found {
    half: i64,
    rest: Vec<u8>,
    kind: i64,
    name: Vec<u8>,
    version: Option<i64>,
    content: Option<Vec<u8>>,
}

impl Found {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            half: row.get(0)?,
            rest: row.get(1)?,
            kind: row.get(2)?,
            name: row.get(3)?,
            version: row.get(4)?,
            content: row.get(5)?,
        })
    }
}

/// The entries of a frozen state.
pub(crate) fn entries(
    db: &Connection,
    height: Height,
    after: Option<Hash>,
    bytes: usize,
) -> Result<Option<Entries>, StoreError> {
    let mut select = db.prepare_cached("SELECT height FROM frozen ORDER BY height")?;
    let frozen: Vec<i64> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    // What an entry was is kept with the first frozen state that came before its change.
    let Some(from) = frozen.iter().position(|at| *at == number(height)) else { return Ok(None) };
    let then = Then { db, end: version(height, 0, 0)? + (1 << 21), frozen: &frozen[from..] };
    let mut select = db.prepare_cached(
        "SELECT half, rest, kind, name, version, content FROM entry
         WHERE (half, rest) > (?1, ?2) ORDER BY half, rest",
    )?;
    let mut rows = select.query(above(after.as_ref()))?;
    let (mut room, mut entries) = (bytes, Entries::new());
    while let Some(row) = rows.next()? {
        let found = Found::of(row)?;
        let path = join(found.half, &found.rest)?;
        let Some((key, entry)) = then.entry(path, found)? else { continue };
        if key.path() != path {
            return Err(StoreError::Missing { what: "an entry at its path" });
        }
        let size = key.to_bytes().len() + entry.to_bytes().len();
        if size > room && !entries.is_empty() {
            break;
        }
        room = room.saturating_sub(size);
        entries.push((key, entry));
    }
    Ok(Some(entries))
}

/// A frozen state: what entries were.
struct Then<'a> {
    db: &'a Connection,
    /// The first version that came after it.
    end: i64,
    /// The heights of it and of all that were frozen after it.
    frozen: &'a [i64],
}

impl Then<'_> {
    fn entry(
        &self,
        path: Hash,
        found: Found,
    ) -> Result<Option<(StateKey, StateEntry)>, StoreError> {
        if found.kind == VALUE || found.kind == REMOVED {
            let value = self.value(found.version)?.map(StateEntry::Value);
            return Ok(value.map(|value| (StateKey::Value(found.name.into()), value)));
        }
        let Some(bytes) = self.content(path, found.content)? else { return Ok(None) };
        let account = decode("an account", found.name)?;
        let key = if found.kind == NONCES { StateKey::Nonces } else { StateKey::Grants };
        Ok(Some((key(account), decode("an entry of the state", bytes)?)))
    }

    /// What a value was: its newest version of then.
    fn value(&self, newest: Option<i64>) -> Result<Option<Value>, StoreError> {
        let Some(number) = newest_below(self.db, newest, self.end)? else { return Ok(None) };
        let missing = StoreError::Missing { what: "a version of a key" };
        let (version, _) = version_at(self.db, number)?.ok_or(missing)?;
        let (height, tx) = (version.height, version.tx);
        Ok(version.value.map(|bytes| Value { height, tx, bytes }))
    }

    /// What nonces or grants were.
    fn content(&self, path: Hash, now: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
        let mut select =
            self.db.prepare_cached("SELECT content FROM before WHERE frozen = ?1 AND path = ?2")?;
        for frozen in self.frozen {
            let kept =
                select.query_row(params![frozen, path.as_bytes()], |row| row.get(0)).optional()?;
            if let Some(content) = kept {
                return Ok(content);
            }
        }
        Ok(now)
    }
}

/// Stages entries.
pub(crate) fn stage(db: &Connection, entries: &Entries, first: bool) -> Result<(), StoreError> {
    if first {
        db.execute("DELETE FROM staged", [])?;
    }
    let mut insert = db.prepare_cached("REPLACE INTO staged VALUES (?1, ?2, ?3, ?4)")?;
    for (key, entry) in entries {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        entry.encode(&mut bytes);
        let Halves { first, rest } = Halves::of(&key.path());
        insert.execute(params![first, rest, entry.digest().as_bytes(), &bytes])?;
    }
    Ok(())
}

/// The leaves of what was staged.
pub(crate) fn staged_leaves(
    db: &Connection,
    after: Option<Hash>,
    limit: usize,
) -> Result<Vec<Leaf>, StoreError> {
    let mut select = db.prepare_cached(
        "SELECT half, rest, digest FROM staged
         WHERE (half, rest) > (?1, ?2) ORDER BY half, rest LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (half, rest) = above(after.as_ref());
    leaves(select.query(params![half, rest, limit])?)
}

/// What came before.
const FORGET: &str = "
    DELETE FROM block; DELETE FROM certificate; DELETE FROM roster; DELETE FROM tx;
    DELETE FROM entry; DELETE FROM version; DELETE FROM base; DELETE FROM frozen; DELETE FROM before;
";

/// Makes what was staged the state, in the place of all that was. Returns the height at which it is frozen, if it is.
pub(crate) fn install(
    db: &Connection,
    index: &Index,
    entries: &mut EntryTable,
    Install { standing, header, frozen, steps }: &Install,
) -> Result<Option<i64>, StoreError> {
    db.execute_batch(FORGET)?;
    index.forget(db)?;
    *entries = EntryTable::default();
    let mut select = db.prepare_cached("SELECT bytes FROM staged ORDER BY half, rest")?;
    let mut rows = select.query([])?;
    let mut next = -1;
    while let Some(row) = rows.next()? {
        let (key, entry) = staged(row.get(0)?)
            .map_err(|why| StoreError::Damaged { what: "an entry that was staged", why })?;
        match (&key, &entry) {
            (StateKey::Value(name), StateEntry::Value(value)) => {
                let newest = base_value(db, next, name, value)?;
                entries.put_key(key.path(), name, newest, Some(entry.digest()));
                next -= 1;
            }
            _ => {
                let digest = entry.digest();
                entries.put_account(key.path(), &key, Some(entry), Some(digest));
            }
        }
        entries.write_many(db, None)?;
    }
    entries.write(db, None)?;
    db.execute("DELETE FROM staged", [])?;
    let anchor = &standing.applied;
    let (base, header) = (anchor.block.to_bytes(), header.to_bytes());
    let update = "UPDATE chain SET base = ?1, base_header = ?2, pruned = 0";
    db.execute(update, [base.as_ref(), header.as_ref()])?;
    let (since, roster) = (number(anchor.roster_since), anchor.roster.to_bytes());
    db.execute("INSERT INTO roster VALUES (?1, ?2)", params![since, roster.as_ref()])?;
    if let Some(certificate) = standing.certificate.as_ref().map(Checked::<Certificate>::get) {
        keep(db, certificate)?;
    }
    standing::write(db, standing)?;
    steps::keep(db, steps)?;
    if *frozen { freeze(db, None) } else { Ok(None) }
}

fn staged(bytes: Vec<u8>) -> Result<(StateKey, StateEntry), DecodeError> {
    let mut reader = Reader::new(bytes.into());
    let both = (Decode::decode(&mut reader)?, Decode::decode(&mut reader)?);
    reader.finish()?;
    Ok(both)
}

/// Each key comes once.
fn base_value(
    db: &Connection,
    number: i64,
    name: &Bytes,
    value: &Value,
) -> Result<Newest, StoreError> {
    let newest = versions::add(db, number, None, name, Some(&value.bytes))?;
    db.prepare_cached("INSERT INTO base VALUES (?1, ?2, ?3)")?.execute(params![
        number,
        value.height.get().cast_signed(),
        value.tx.as_bytes()
    ])?;
    Ok(newest)
}
