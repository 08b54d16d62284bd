//! The tests that every implementation of [`Store`] must pass: call [`run`] with a maker of empty
//! stores from a test of the implementation.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "these are tests")]

use super::Store;

/// Runs all tests, each on a fresh store.
///
/// # Panics
/// If the store does not keep a promise.
pub fn run<S: Store>(fresh: impl Fn() -> S) {
    let _ = fresh();
}
