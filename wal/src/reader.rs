//! A window that slides over a segment file.
//!
//! Recovery reads from front to back, but a group is handed on only when its last record has proved
//! good, so the window keeps everything from the pinned offset on and is never longer than that
//! plus one chunk. Chunks are small enough to stay in the processor's cache between the copy out of
//! the kernel and the checksum.

use crate::disk::{Disk, Operation};
use crate::error::Error;

const CHUNK: usize = 256 << 10;

/// Bytes of one file.
pub(crate) struct Reader<'d, D> {
    disk: &'d mut D,
    file: &'d str,
    length: u64,
    start: u64,
    buffer: Vec<u8>,
    filled: usize,
    pin: u64,
}

impl<'d, D: Disk> Reader<'d, D> {
    /// Reads the first `length` bytes of `file`, reusing a buffer.
    pub(crate) fn new(disk: &'d mut D, file: &'d str, length: u64, buffer: Vec<u8>) -> Self {
        Reader { disk, file, length, start: 0, buffer, filled: 0, pin: 0 }
    }

    /// The buffer, for the next file.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// How far the bytes go.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes from this offset on are likely to be asked for again.
    pub(crate) fn pin(&mut self, offset: u64) {
        self.pin = offset;
    }

    /// The bytes `offset..offset + count`, fewer where the file ends.
    pub(crate) fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], Error> {
        let offset = offset.min(self.length);
        let end = offset.saturating_add(count as u64).min(self.length);
        if offset < self.start || end > self.start + self.filled as u64 {
            self.refill(offset, end)?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..from + (end - offset) as usize])
    }

    fn refill(&mut self, offset: u64, end: u64) -> Result<(), Error> {
        let held = self.start..=self.start + self.filled as u64;
        let from = self.pin.min(offset);
        if held.contains(&from) {
            let drop = (from - self.start) as usize;
            if drop > 0 {
                self.buffer.copy_within(drop..self.filled, 0);
            }
            self.filled -= drop;
            self.start = from;
        } else {
            self.start = offset;
            self.filled = 0;
        }
        let target = end.max(offset + CHUNK as u64).min(self.length);
        let want = (target - self.start) as usize;
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        let at = self.start + self.filled as u64;
        let into = &mut self.buffer[self.filled..want];
        self.disk.read(self.file, at, into).map_err(Error::disk(Operation::Read, self.file))?;
        self.filled = want;
        Ok(())
    }
}
