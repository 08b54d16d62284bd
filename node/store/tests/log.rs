//! SQLite's log stays short, whoever reads.
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::path::Path;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use quorate_chain::ids::{ChainId, Height, TxId};
use quorate_chain::state::{StateEntry, StateKey, Value};
use quorate_replica::store::{Entries, Store as _};
use quorate_store::SqliteStore;
use rusqlite::Connection;

/// The second of two readers begins before the first one ends, again and again: after each write, or soon.
fn take_turns(file: &Path, begun: &Barrier, writes: &Receiver<()>) {
    begun.wait();
    let readers = [0; 2].map(|_| Connection::open(file).unwrap());
    for (at, reader) in readers.iter().enumerate().cycle() {
        reader.execute_batch("BEGIN").unwrap();
        reader.query_row("SELECT count(*) FROM staged", [], |_| Ok(())).unwrap();
        let before = &readers[1 - at];
        if !before.is_autocommit() {
            before.execute_batch("COMMIT").unwrap();
        }
        if writes.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Writes about 300 MiB while others read; how long the log was in the end.
fn log_beside(read: impl FnOnce(&Path, &Barrier, &Receiver<()>) + Send) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.db");
    let mut store = SqliteStore::open(&file, ChainId::new([7; 32])).unwrap();
    let bytes = vec![7; 60_000].into();
    let value = StateEntry::Value(Value { height: Height::new(1), tx: TxId::ZERO, bytes });
    let key = |number: u32| StateKey::Value(number.to_string().into());
    let mut entries: Entries = (0..100).map(|number| (key(number), value.clone())).collect();
    entries.sort_by_key(|(key, _)| key.path());
    let ((wrote, writes), begun) = (channel(), Barrier::new(2));
    std::thread::scope(|scope| {
        let (file, begun) = (&file, &begun);
        scope.spawn(move || read(file, begun, &writes));
        begun.wait();
        for _ in 0..50 {
            store.stage(entries.clone(), true).unwrap();
            wrote.send(()).unwrap();
        }
        let log = std::fs::metadata(folder.path().join("chain.db-wal")).unwrap().len();
        drop(wrote);
        log
    })
}

#[test]
fn a_log_that_is_always_read_by_somebody_begins_anew() {
    let log = log_beside(take_turns);
    assert!(log < 160 << 20, "{} MiB", log >> 20);
}

/// A reader begins before all that is written, and ends after it.
fn read_on(file: &Path, begun: &Barrier, writes: &Receiver<()>) {
    let reader = Connection::open(file).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM staged", [], |_| Ok(())).unwrap();
    begun.wait();
    while writes.recv().is_ok() {}
}

#[test]
fn who_reads_on_and_on_stops_nobody() {
    let log = log_beside(read_on);
    assert!(log > 160 << 20, "nothing can be taken away under a reader: {} MiB", log >> 20);
}
