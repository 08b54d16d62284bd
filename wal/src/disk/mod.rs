//! The seam between the log and the world: a flat directory of named files.
//!
//! Everything the log wants from outside comes through here, the randomness of its salts too, so
//! that a simulated disk makes every run repeatable. The log is the only user of the directory.
//!
//! Left out: truncation (a file has its length from birth), subdirectories, reads past the end.

mod file;
mod memory;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

pub use file::File;
pub use memory::{Hook, Memory, Step, Unsynced, Verdict};

/// What the log asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Disk::list`]
    List,
    /// [`Disk::length`]
    Length,
    /// [`Disk::read`]
    Read,
    /// [`Disk::create`]
    Create,
    /// [`Disk::write`]
    Write,
    /// [`Disk::sync`]
    Sync,
    /// [`Disk::rename`]
    Rename,
    /// [`Disk::remove`]
    Remove,
    /// [`Disk::sync_directory`]
    SyncDirectory,
    /// [`Disk::salt`]
    Salt,
}

/// A flat directory of files.
///
/// What an implementation promises:
///
/// 1. After `sync(name)` returned `Ok`, the bytes written to the file before survive a power cut.
/// 2. After `sync_directory` returned `Ok`, the names as they were survive a power cut.
/// 3. A write that was not synced leaves, after a power cut, each 512-byte sector either as it was
///    or as it was to be.
/// 4. `rename` replaces nothing half-way: after a power cut there is the old name or the new one.
pub trait Disk {
    /// The names of all files, in any order.
    fn list(&mut self) -> io::Result<Vec<String>>;
    /// The length of a file.
    fn length(&mut self, name: &str) -> io::Result<u64>;
    /// Fills `into` from `offset`; reading past the end is an error.
    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Makes an empty file; an error if the name is taken.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Writes at `offset`, growing the file if need be. Not durable before [`Disk::sync`].
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes all that was written to the file durable, its length too.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Writes and makes durable in one go: what a group commit costs.
    fn write_synced(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(name, offset, bytes)?;
        self.sync(name)
    }
    /// Gives a file another name. Not durable before [`Disk::sync_directory`].
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Not durable before [`Disk::sync_directory`].
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes all names durable.
    fn sync_directory(&mut self) -> io::Result<()>;
    /// A number that no earlier segment had.
    fn salt(&mut self) -> io::Result<u64>;
}

/// A disk that somebody else looks at too: the simulator, which breaks it.
impl<D: Disk> Disk for Arc<Mutex<D>> {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.lock().unwrap_or_else(PoisonError::into_inner).list()
    }
    fn length(&mut self, name: &str) -> io::Result<u64> {
        self.lock().unwrap_or_else(PoisonError::into_inner).length(name)
    }
    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).read(name, offset, into)
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).create(name)
    }
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).write(name, offset, bytes)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).sync(name)
    }
    fn write_synced(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).write_synced(name, offset, bytes)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).rename(from, to)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }
    fn sync_directory(&mut self) -> io::Result<()> {
        self.lock().unwrap_or_else(PoisonError::into_inner).sync_directory()
    }
    fn salt(&mut self) -> io::Result<u64> {
        self.lock().unwrap_or_else(PoisonError::into_inner).salt()
    }
}
