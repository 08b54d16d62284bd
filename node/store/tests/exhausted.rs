//! A reader that gets no files says so, and reads when there are some again.
//!
//! A file of its own: how many files may be open is a matter of the whole process.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::fs::File;

use quorate_chain::ids::ChainId;
use quorate_replica::store::{Store as _, StoreReader as _};
use quorate_store::{SqliteStore, StoreError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn no_files_to_be_had_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chain.db");
    let store = SqliteStore::open(&path, ChainId::new([7; 32])).unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    let mut taken: Vec<File> =
        std::iter::repeat_with(|| File::open(&path)).map_while(Result::ok).collect();
    assert!(!taken.is_empty());
    // With some of the files that it needs it may do, or not: what counts is what it says.
    for free in 0..3 {
        match store.reader().standing() {
            Ok(standing) => assert!(free > 0 && standing.is_none()),
            Err(error) => {
                assert!(matches!(error, StoreError::Exhausted), "{free} are free: {error}");
                assert_eq!(error.to_string(), "no more files can be opened");
            }
        }
        drop(taken.pop());
    }
    taken.clear();
    assert!(store.reader().standing().unwrap().is_none());
}
