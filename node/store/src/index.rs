//! Where transactions stand, by their ids.
//!
//! Ids are in no order, and a table that is written at a random place for each of them costs a page each time. So the
//! newest ones stand in memory; when they are many they are sorted and become a table, which is written from its one end
//! to the other, a piece with each batch. Rows of `tx` have the ids too, and so what stood in memory is read from there
//! when a store is opened.
//!
//! A table that is finished stays in memory until it is committed: whoever looks up looks in memory first, and what is not
//! there any more has been committed before.
//!
//! What is here is a first half of an id, and may be that of another one: whoever looks up compares with the row of `tx`.
//! There may be none, if what was taken up last has not been written yet.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use quorate_chain::ids::TxId;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::schema;

/// How many become a table.
const ROWS: usize = 1 << 17;
/// How many rows of a table are written for each transaction that is added: it is there before there are
/// enough for the next one.
const PACE: usize = 4;

/// The first half of a transaction's id, as the index has it.
pub(crate) fn half(id: TxId) -> i64 {
    let bytes = id.as_bytes().first_chunk().copied().unwrap_or_default();
    i64::from_be_bytes(bytes)
}

/// A table while it is written.
#[derive(Debug)]
struct Sorted {
    number: i64,
    /// Halves and places, ascending.
    rows: Vec<(i64, i64)>,
    /// The highest place among them.
    last: i64,
    /// How many of them are in the table.
    written: usize,
    /// All of them are, and it is known as a table of the index to whoever sees this transaction.
    is_finished: bool,
}

#[derive(Debug, Default)]
struct Newest {
    /// Places by halves. Two transactions with one half are as good as never.
    places: HashMap<i64, Vec<i64>>,
    count: usize,
    /// The highest place among them.
    last: i64,
    sorted: Option<Sorted>,
}

impl Newest {
    fn add(&mut self, half: i64, place: i64) {
        self.places.entry(half).or_default().push(place);
        self.count += 1;
        self.last = self.last.max(place);
    }

    /// Sorts what is there for a table.
    fn sort(&mut self, number: i64) {
        let places = std::mem::take(&mut self.places).into_iter();
        let rows = places.flat_map(|(half, at)| at.into_iter().map(move |place| (half, place)));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        self.count = 0;
        self.sorted =
            Some(Sorted { number, rows, last: self.last, written: 0, is_finished: false });
    }
}

/// The newest transactions, for the writer and all readers.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    newest: Arc<RwLock<Newest>>,
    /// How many become a table.
    most: usize,
}

impl Index {
    /// Takes up what stands in no table yet.
    pub(crate) fn open(db: &Connection) -> Result<Self, StoreError> {
        Self::with(db, ROWS)
    }

    fn with(db: &Connection, most: usize) -> Result<Self, StoreError> {
        let index = Self { newest: Arc::default(), most };
        // Of one that was not finished nobody knows.
        db.execute_batch(&format!("DROP TABLE IF EXISTS {}", schema::index_name(next(db)?)))?;
        let last: Option<i64> =
            db.query_row("SELECT max(last) FROM tx_index", [], |row| row.get(0))?;
        let mut select = db.prepare("SELECT place, id FROM tx WHERE place > ?1 ORDER BY place")?;
        let mut rows = select.query([last.unwrap_or(i64::MIN)])?;
        let mut newest = index.newest.write().unwrap_or_else(PoisonError::into_inner);
        while let Some(row) = rows.next()? {
            let id: [u8; 32] = row.get(1)?;
            newest.add(half(TxId::new(id)), row.get(0)?);
        }
        drop(newest);
        Ok(index)
    }

    /// Adds transactions, and writes a piece of a table if one is to be written.
    pub(crate) fn add(
        &self,
        db: &Connection,
        more: impl IntoIterator<Item = (TxId, i64)>,
    ) -> Result<(), StoreError> {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        let before = newest.count;
        for (id, place) in more {
            newest.add(half(id), place);
        }
        let added = newest.count - before;
        if newest.sorted.is_none() && newest.count >= self.most {
            let number = next(db)?;
            db.execute_batch(&schema::index_table(number))?;
            newest.sort(number);
        }
        let Some(sorted) = &mut newest.sorted else { return Ok(()) };
        let piece = sorted.rows.iter().skip(sorted.written).take(PACE * added);
        let insert = format!("INSERT INTO {} VALUES (?1, ?2)", schema::index_name(sorted.number));
        let mut insert = db.prepare_cached(&insert)?;
        for (half, place) in piece {
            insert.execute([half, place])?;
            sorted.written += 1;
        }
        if !sorted.is_finished && sorted.written == sorted.rows.len() {
            let rows = i64::try_from(sorted.written).unwrap_or(i64::MAX);
            db.execute(
                "INSERT INTO tx_index (number, rows, last) VALUES (?1, ?2, ?3)",
                [sorted.number, rows, sorted.last],
            )?;
            sorted.is_finished = true;
        }
        Ok(())
    }

    /// What was added so far has been committed.
    pub(crate) fn committed(&self) {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        newest.sorted.take_if(|sorted| sorted.is_finished);
    }

    /// Forgets all of it, and the tables too.
    pub(crate) fn forget(&self, db: &Connection) -> Result<(), StoreError> {
        for number in 0..=next(db)? {
            db.execute_batch(&format!("DROP TABLE IF EXISTS {}", schema::index_name(number)))?;
        }
        db.execute("DELETE FROM tx_index", [])?;
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Newest::default();
        Ok(())
    }

    /// Where a transaction may stand. Nothing may have been read in the reader's transaction before.
    pub(crate) fn places(&self, db: &Connection, id: TxId) -> Result<Vec<i64>, StoreError> {
        let half = half(id);
        let mut found = self.in_memory(half);
        let mut numbers = db.prepare_cached("SELECT number FROM tx_index ORDER BY number DESC")?;
        for number in numbers.query_map([], |row| row.get::<_, i64>(0))? {
            let name = schema::index_name(number?);
            let mut select =
                db.prepare_cached(&format!("SELECT place FROM {name} WHERE half = ?1"))?;
            for place in select.query_map([half], |row| row.get(0))? {
                found.push(place?);
            }
        }
        Ok(found)
    }

    fn in_memory(&self, half: i64) -> Vec<i64> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = newest.places.get(&half).into_iter().flatten().copied().collect();
        if let Some(Sorted { rows, .. }) = &newest.sorted {
            let first = rows.partition_point(|row| row.0 < half);
            let same = rows[first..].iter().take_while(|row| row.0 == half);
            found.extend(same.map(|(_, place)| *place));
        }
        found
    }
}

/// The number of the next table.
fn next(db: &Connection) -> Result<i64, StoreError> {
    let newest: Option<i64> =
        db.query_row("SELECT max(number) FROM tx_index", [], |row| row.get(0))?;
    Ok(newest.map_or(0, |number| number + 1))
}

#[cfg(test)]
mod tests {
    use quorate_chain::ids::Hash;
    use rusqlite::params;

    use super::*;

    fn id(place: i64) -> TxId {
        TxId::new(*Hash::of(&[b"transaction", &place.to_be_bytes()]).as_bytes())
    }

    fn empty() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        for step in schema::STEPS {
            db.execute_batch(step).unwrap();
        }
        db
    }

    /// Takes up transactions at these places as a batch does.
    fn add(db: &Connection, index: &Index, places: std::ops::Range<i64>) {
        for place in places.clone() {
            db.prepare_cached("INSERT INTO tx VALUES (?1, ?2, x'00', 0, x'00')")
                .unwrap()
                .execute(params![place, id(place).as_bytes()])
                .unwrap();
        }
        index.add(db, places.map(|place| (id(place), place))).unwrap();
    }

    fn check(db: &Connection, index: &Index, places: std::ops::Range<i64>) {
        for place in places.clone() {
            let mut found = index.places(db, id(place)).unwrap();
            // In memory and in a table at once, until that is committed.
            found.dedup();
            assert_eq!(found, [place], "of {places:?}");
        }
        assert!(index.places(db, id(places.end)).unwrap().is_empty());
    }

    #[test]
    fn a_transaction_is_found_wherever_it_stands_and_whenever_the_store_is_opened() {
        let (db, mut end) = (empty(), 0);
        let mut index = Index::with(&db, 64).unwrap();
        for batch in 1..=60 {
            let more = 1 + batch % 11;
            add(&db, &index, end..end + more);
            end += more;
            if batch % 3 == 0 {
                index.committed();
            }
            check(&db, &index, 0..end);
            if batch % 7 == 0 {
                // What stood in memory is gone with the process, and so is a table that was not finished.
                index = Index::with(&db, 64).unwrap();
                check(&db, &index, 0..end);
            }
        }
        let tables: i64 =
            db.query_row("SELECT count(*) FROM tx_index", [], |row| row.get(0)).unwrap();
        assert!(tables > 1, "{tables} tables");
        index.forget(&db).unwrap();
        db.execute("DELETE FROM tx", []).unwrap();
        check(&db, &index, 0..0);
        add(&db, &index, 0..200);
        check(&db, &index, 0..200);
    }

    #[test]
    fn while_a_finished_table_is_not_committed_others_find_what_is_in_it_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("index.db");
        let db = Connection::open(&file).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        for step in schema::STEPS {
            db.execute_batch(step).unwrap();
        }
        let index = Index::with(&db, 64).unwrap();
        let other = Connection::open(&file).unwrap();
        let mut end = 0;
        let tables = |db: &Connection| -> i64 {
            db.query_row("SELECT count(*) FROM tx_index", [], |row| row.get(0)).unwrap()
        };
        db.execute_batch("BEGIN").unwrap();
        while tables(&db) == 0 {
            add(&db, &index, end..end + 10);
            end += 10;
        }
        assert_eq!(tables(&other), 0);
        check(&other, &index, 0..end);
        db.execute_batch("COMMIT").unwrap();
        check(&other, &index, 0..end);
        index.committed();
        check(&other, &index, 0..end);
        add(&db, &index, end..end + 200);
        check(&other, &index, 0..end + 200);
    }
}
