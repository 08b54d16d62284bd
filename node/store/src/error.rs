//! Why the store could not do what was asked: the disk, never the question.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_chain::codec::DecodeError;
use quorate_chain::ids::{ChainId, Height};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// SQLite's log could not be synced.
    #[error("SQLite's log: {0}")]
    Log(io::Error),
    /// There is no thread to be had, or it has panicked.
    #[error("the thread behind the writer: {0}")]
    Thread(io::Error),
    /// The thread behind the writer has failed: what was committed may not be safe.
    #[error("what was committed could not be made safe: {0}")]
    Behind(Arc<StoreError>),
    /// It has failed before. What it had taken over and not written by then is gone, and the log has it.
    #[error("the store has failed before, and takes nothing more")]
    Failed,
    /// The operating system has no more files to give, to this process or to any; that passes.
    #[error("no more files can be opened")]
    Exhausted,
    /// The file is a database of another program.
    #[error("{file} is no store of this program (application id {found:08x})")]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What it says it belongs to.
        found: i32,
    },
    /// The file was written by another version.
    #[error("{file} has schema version {found}, this program reads {expected}")]
    UnknownVersion {
        /// The file.
        file: PathBuf,
        /// The version this program writes.
        expected: i32,
        /// The version in the file.
        found: i32,
    },
    /// The file holds another chain.
    #[error("{file} holds chain {found:.16}, this is chain {expected:.16}")]
    OtherChain {
        /// The file.
        file: PathBuf,
        /// This chain.
        expected: ChainId,
        /// The chain in the file.
        found: ChainId,
    },
    /// A row does not hold what was written there.
    #[error("the row of {what} is damaged: {why}")]
    Damaged {
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        why: DecodeError,
    },
    /// A row that must be there is not, or has a field of the wrong length.
    #[error("{what} is missing or damaged")]
    Missing {
        /// What should be there.
        what: &'static str,
    },
    /// A chain higher than the numbers of its transactions reach.
    #[error("height {height} is above what the store can number")]
    TooHigh {
        /// The height.
        height: Height,
    },
}
