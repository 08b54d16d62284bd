//! The group being staged: the bytes of one write.
//!
//! Payloads are copied and checksummed when they are pushed; headers are filled in when the group
//! is sealed, because only then is its place known. The buffer begins at an address that is a
//! multiple of the page size, so that the write can go around the page cache.

use crate::frame::{Frame, HEADER, Origin, apply_mask, choose_mask, crc32c, padded, stage};
use crate::record::{Lsn, Tag};
use crate::segment::SegmentHeader;

/// Bytes of a page; what direct writes are aligned to.
pub(crate) const PAGE: usize = 4096;

/// Bytes whose address is a multiple of the page size.
#[derive(Debug, Default)]
pub(crate) struct PageBuffer {
    storage: Vec<u8>,
    start: usize,
}

impl PageBuffer {
    /// That many zeros.
    pub(crate) fn zeros(bytes: usize) -> PageBuffer {
        let storage = vec![0; bytes + PAGE];
        let start = storage.as_ptr().align_offset(PAGE).min(PAGE);
        PageBuffer { storage, start }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..]
    }

    /// Makes room for `bytes`, keeping the first `keep`; if that takes new memory, then `at_least`
    /// so much of it.
    pub(crate) fn grow(&mut self, bytes: usize, at_least: usize, keep: usize) {
        if self.bytes().len() < bytes {
            let mut grown = PageBuffer::zeros(bytes.max(at_least));
            grown.bytes_mut()[..keep].copy_from_slice(&self.bytes()[..keep]);
            *self = grown;
        }
    }

    fn reserve(&mut self, bytes: usize, keep: usize) {
        self.grow(bytes, bytes.next_power_of_two().max(PAGE), keep);
    }
}

/// Records waiting for one write.
#[derive(Debug, Default)]
pub(crate) struct Group {
    buffer: PageBuffer,
    length: usize,
    frames: Vec<(usize, Frame)>,
    preamble: Option<Vec<u8>>,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn count(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().map(|(_, frame)| frame)
    }

    /// The newest preamble in it.
    pub(crate) fn take_preamble(&mut self) -> Option<Vec<u8>> {
        self.preamble.take()
    }

    /// Adds a record at the end. The caller has checked the limits.
    pub(crate) fn push(&mut self, origin: Origin, kind: u8, lsn: Lsn, tag: Tag, payload: &[u8]) {
        let at = self.length;
        let body = at + HEADER;
        let end = body + padded(payload.len());
        self.buffer.reserve(end, at);
        let bytes = &mut self.buffer.bytes_mut()[body..end];
        let (mut payload_crc, blank) = stage(payload, bytes, body);
        let mask = if blank { choose_mask(body, bytes) } else { 0 };
        if mask != 0 {
            apply_mask(bytes, mask);
            payload_crc = crc32c(bytes);
        }
        let frame = Frame {
            length: payload.len() as u32,
            lsn,
            tag,
            synced: Lsn::ZERO,
            mask,
            previous: 0,
            payload_crc,
            kind,
            origin,
            last: false,
        };
        if origin == Origin::Preamble {
            self.preamble = Some(payload.to_vec());
        }
        self.frames.push((at, frame));
        self.length = end;
    }

    /// Writes the headers for this place and returns the bytes, padded to the alignment, and the
    /// checksum of the last header.
    pub(crate) fn seal(
        &mut self,
        segment: &SegmentHeader,
        offset: u64,
        chain: u32,
        synced: Lsn,
    ) -> (&[u8], u32) {
        let mut previous = chain;
        let count = self.frames.len();
        let padded = self.length.next_multiple_of(segment.align as usize);
        self.buffer.reserve(padded, self.length);
        let bytes = &mut self.buffer.bytes_mut()[..padded];
        bytes[self.length..].fill(0);
        for (index, (at, frame)) in self.frames.iter_mut().enumerate() {
            frame.previous = previous;
            frame.synced = synced;
            frame.last = index + 1 == count;
            let (header, crc) = frame.encode(&segment.place(offset + *at as u64));
            bytes[*at..*at + HEADER].copy_from_slice(&header);
            previous = crc;
        }
        (&self.buffer.bytes()[..padded], previous)
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.length = 0;
        self.preamble = None;
    }
}
