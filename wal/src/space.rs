//! Segments of zeros, made ahead of need.
//!
//! A file of written zeros takes a group with one write and no change of metadata, which more than
//! halves the cost of a commit. And the spare that is left when the disk is full is what lets the
//! caller wind down in good order.
//!
//! ```text
//!   create .tmp → write zeros, 1 MiB a step, each synced → rename to .zero → sync the directory
//! ```
//!
//! A full disk here is no error: the unfinished file is removed, the level says so, and a later
//! step tries again. Any other failure is as fatal as one of the log's own writes.

use crate::disk::{Disk, Operation};
use crate::error::Error;
use crate::group::PageBuffer;
use crate::layout::{READY, SPARE, UNREADY};

/// Bytes of zeros written in one step.
const STEP: u64 = 1 << 20;

/// How much room the log has. The caller acts on it; the log only tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// No sign of trouble.
    Ok,
    /// The disk is full, but a spare segment stands ready: stop accepting work.
    Low,
    /// The disk is full and the present segment is the last: stop leading, prune.
    Reserve,
}

#[derive(Debug)]
struct Unready {
    file: String,
    written: u64,
    size: u64,
}

/// The spare segments.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    ready: Vec<String>,
    unready: Option<Unready>,
    counter: u64,
    starved: bool,
    zeros: PageBuffer,
}

impl Spares {
    pub(crate) fn add(&mut self, file: String) {
        self.ready.push(file);
    }

    pub(crate) fn count(&self) -> usize {
        self.ready.len()
    }

    /// Whether a spare is being made.
    pub(crate) fn is_trying(&self) -> bool {
        self.unready.is_some()
    }

    pub(crate) fn level(&self) -> Space {
        match (self.starved, self.ready.is_empty()) {
            (false, _) => Space::Ok,
            (true, false) => Space::Low,
            (true, true) => Space::Reserve,
        }
    }

    /// A file of `size` zeros: a spare one if it has the usual size, else made now.
    pub(crate) fn take<D: Disk>(
        &mut self,
        disk: &mut D,
        size: u64,
        usual: u64,
    ) -> Result<String, Error> {
        if size == usual
            && let Some(file) = self.ready.pop()
        {
            return Ok(file);
        }
        if let Some(unready) = self.unready.take_if(|unready| unready.size != size) {
            disk.remove(&unready.file).map_err(Error::disk(Operation::Remove, &unready.file))?;
        }
        // Space may have returned since; the first step that fails says it again.
        self.starved = false;
        while !self.step(disk, size)? {
            if self.starved {
                return Err(Error::NoSpace { bytes: size });
            }
        }
        self.ready.pop().ok_or(Error::NoSpace { bytes: size })
    }

    /// Does a bounded piece of work on the next spare; true when that one is ready.
    pub(crate) fn step<D: Disk>(&mut self, disk: &mut D, size: u64) -> Result<bool, Error> {
        match self.advance(disk, size) {
            Ok(done) => {
                // The unfinished file says nothing yet: only a whole spare ends the shortage, but
                // a try that gets on is no reason to give up.
                self.starved &= !done;
                Ok(done)
            }
            Err(error) if error.is_full() => {
                self.starved = true;
                if let Some(unready) = self.unready.take() {
                    disk.remove(&unready.file)
                        .map_err(Error::disk(Operation::Remove, &unready.file))?;
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn advance<D: Disk>(&mut self, disk: &mut D, size: u64) -> Result<bool, Error> {
        let Some(unready) = &mut self.unready else {
            let file = loop {
                self.counter += 1;
                let file = format!("{SPARE}{:08x}{UNREADY}", self.counter);
                if !self.ready.contains(&file.replace(UNREADY, READY)) {
                    break file;
                }
            };
            disk.create(&file).map_err(Error::disk(Operation::Create, &file))?;
            self.unready = Some(Unready { file, written: 0, size });
            return Ok(false);
        };
        let file = &unready.file;
        if unready.written < unready.size {
            let bytes = STEP.min(unready.size - unready.written);
            self.zeros.grow(bytes as usize, 0, 0);
            let zeros = &self.zeros.bytes()[..bytes as usize];
            disk.write_synced(file, unready.written, zeros)
                .map_err(Error::disk(Operation::Write, file))?;
            unready.written += bytes;
            return Ok(false);
        }
        let ready = file.replace(UNREADY, READY);
        disk.sync(file).map_err(Error::disk(Operation::Sync, file))?;
        disk.rename(file, &ready).map_err(Error::disk(Operation::Rename, &ready))?;
        disk.sync_directory().map_err(Error::disk(Operation::SyncDirectory, ""))?;
        self.unready = None;
        self.ready.push(ready);
        Ok(true)
    }
}
