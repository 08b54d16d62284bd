//! A window that slides over a segment file.
//!
//! ```text
//!            pin          asked for
//!   ──────────┬──────────────┬─────┬───────────────────┬──────────
//!             │ held: verified or about to be          │ not read
//!   ──────────┴──────────────┴─────┴───────────────────┴──────────
//! ```
//!
//! Recovery reads from front to back, but a group is handed on only when its last record has proved
//! good, so the window keeps everything from the pinned offset on and is never longer than that
//! plus one chunk: what is handed on are the very bytes that were checked, never a second reading
//! of them. Looking far ahead for the end of the log therefore has a window of its own.
//!
//! Chunks are small enough to stay in the processor's cache between the copy out of the kernel and
//! the checksum. Both ends of a read, in the file and in memory, are multiples of the page size,
//! which copies faster.
//!
//! What the disk cannot give (`EIO`) is lost and nothing else: the pages around it are read one by
//! one. In its place stand bytes that no record begins with and that are not blank, so a place
//! there is broken, and what is noted here keeps it from ever being taken for a torn tail.
//!
//! Left out: more tries. The kernel and the disk have made theirs.

use std::ops::Range;

use crate::disk::{Disk, Operation};
use crate::error::{Error, Fault};
use crate::group::{PAGE, PageBuffer};

const CHUNK: u64 = 256 << 10;
/// What stands where the disk could not give a byte.
const LOST: u8 = 0xEE;

/// Where the disk could not give the bytes of a file.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Vec<Range<u64>>);

impl Unreadable {
    fn add(&mut self, range: Range<u64>) {
        match self.0.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.0.push(range),
        }
    }

    /// The fault of this range if the disk could not give all of it, else the one that its bytes have.
    pub(crate) fn fault(&self, range: Range<u64>, fault: Fault) -> Fault {
        let hit = self.0.iter().find(|it| it.start < range.end && range.start < it.end);
        hit.map_or(fault, |it| Fault::Unreadable { offset: it.start, bytes: it.end - it.start })
    }
}

/// Reads all that the disk can give.
pub(crate) fn read<D: Disk>(
    disk: &mut D,
    file: &str,
    offset: u64,
    into: &mut [u8],
    unreadable: &mut Unreadable,
) -> Result<(), Error> {
    match disk.read(file, offset, into).map_err(Error::disk(Operation::Read, file)) {
        Err(error) if error.is_unreadable() => {}
        done => return done,
    }
    let mut rest = into;
    let mut at = offset;
    while !rest.is_empty() {
        let page = (page_of(at) + PAGE as u64 - at).min(rest.len() as u64);
        let (now, later) = rest.split_at_mut(page as usize);
        match disk.read(file, at, now).map_err(Error::disk(Operation::Read, file)) {
            Err(error) if error.is_unreadable() => {
                now.fill(LOST);
                unreadable.add(at..at + page);
            }
            done => done?,
        }
        at += page;
        rest = later;
    }
    Ok(())
}

/// The memory of both windows, reused from file to file.
#[derive(Default)]
pub(crate) struct Buffers {
    near: PageBuffer,
    far: PageBuffer,
}

/// Bytes of one file.
pub(crate) struct Reader<'d, D> {
    disk: &'d mut D,
    file: &'d str,
    length: u64,
    pin: u64,
    near: Window,
    far: Window,
    unreadable: Unreadable,
}

/// Bytes of a file in memory.
struct Window {
    start: u64,
    filled: usize,
    buffer: PageBuffer,
}

impl Window {
    fn new(buffer: PageBuffer) -> Window {
        Window { start: 0, filled: 0, buffer }
    }

    fn end(&self) -> u64 {
        self.start + self.filled as u64
    }

    #[inline]
    fn holds(&self, offset: u64, end: u64) -> bool {
        self.start <= offset && end <= self.end()
    }

    /// The bytes `offset..end`, which it holds.
    #[inline]
    fn bytes(&self, offset: u64, end: u64) -> &[u8] {
        &self.buffer.bytes()[(offset - self.start) as usize..(end - self.start) as usize]
    }
}

impl<'d, D: Disk> Reader<'d, D> {
    /// Reads the first `length` bytes of `file`.
    pub(crate) fn new(disk: &'d mut D, file: &'d str, length: u64, buffers: Buffers) -> Self {
        let (near, far) = (Window::new(buffers.near), Window::new(buffers.far));
        Reader { disk, file, length, pin: 0, near, far, unreadable: Unreadable::default() }
    }

    /// Where the disk could not give the bytes that were asked for so far.
    pub(crate) fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    /// The buffers, for the next file.
    pub(crate) fn into_buffers(self) -> Buffers {
        Buffers { near: self.near.buffer, far: self.far.buffer }
    }

    /// How far the bytes go.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes from this offset on are kept.
    pub(crate) fn pin(&mut self, offset: u64) {
        self.pin = offset;
    }

    /// The bytes `offset..offset + count`, fewer where the file ends.
    #[inline]
    pub(crate) fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], Error> {
        let (offset, end) = self.clamp(offset, count);
        if !self.near.holds(offset, end) {
            self.slide(offset, end)?;
        }
        Ok(self.near.bytes(offset, end))
    }

    /// The same without moving the window: for bytes that are looked at and not handed on.
    pub(crate) fn far_bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], Error> {
        let (offset, end) = self.clamp(offset, count);
        if self.near.holds(offset, end) {
            return Ok(self.near.bytes(offset, end));
        }
        if !self.far.holds(offset, end) {
            self.far.start = page_of(offset);
            self.far.filled = 0;
            let (window, lost) = (&mut self.far, &mut self.unreadable);
            Self::fill(self.disk, self.file, self.length, window, end, lost)?;
        }
        Ok(self.far.bytes(offset, end))
    }

    #[inline]
    fn clamp(&self, offset: u64, count: usize) -> (u64, u64) {
        let offset = offset.min(self.length);
        (offset, offset.saturating_add(count as u64).min(self.length))
    }

    #[cold]
    fn slide(&mut self, offset: u64, end: u64) -> Result<(), Error> {
        let window = &mut self.near;
        let from = page_of(self.pin.min(offset));
        if (window.start..=window.end()).contains(&from) {
            let drop = (from - window.start) as usize;
            window.buffer.bytes_mut().copy_within(drop..window.filled, 0);
            window.filled -= drop;
            window.start = from;
        } else {
            window.start = page_of(offset);
            window.filled = 0;
        }
        let lost = &mut self.unreadable;
        Self::fill(self.disk, self.file, self.length, window, end.max(offset + CHUNK), lost)
    }

    /// Reads on to the page that ends at or behind `target`.
    fn fill(
        disk: &mut D,
        file: &str,
        length: u64,
        window: &mut Window,
        target: u64,
        unreadable: &mut Unreadable,
    ) -> Result<(), Error> {
        let target = target.checked_next_multiple_of(PAGE as u64).unwrap_or(length).min(length);
        let want = (target - window.start) as usize;
        // Twice as much as before when it has to grow, but never beyond the file.
        let most = (length - window.start) as usize;
        window.buffer.grow(want, (2 * window.buffer.bytes().len()).min(most), window.filled);
        let at = window.end();
        let into = &mut window.buffer.bytes_mut()[window.filled..want];
        read(disk, file, at, into, unreadable)?;
        window.filled = want;
        Ok(())
    }
}

fn page_of(offset: u64) -> u64 {
    offset / PAGE as u64 * PAGE as u64
}
