//! Sizes and limits.

use crate::error::Error;
use crate::frame::{HEADER, MAX_PAYLOAD, padded};
use crate::segment::{FIXED, MAX_IDENTITY, MAX_PREAMBLE, is_alignment};
use crate::wal::KEPT;

/// Sizes and limits. They may change from one start to the next: what a reader needs to know about
/// the writer stands in each segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a segment file. A group that needs more gets a segment of its own size.
    pub segment: u64,
    /// Groups begin at multiples of this many bytes: a power of two from 512 to 65,536.
    ///
    /// With the page size (4,096, the default) no page of the cache is ever written twice, and
    /// writes can go around the cache. Smaller values save space and are for simulations.
    pub align: usize,
    /// Most bytes of one payload.
    pub max_record: usize,
    /// Most bytes of one group, headers included.
    pub max_group: usize,
    /// Most bytes of the preamble.
    pub max_preamble: usize,
    /// How many segments of zeros to keep ready: the next one, and the reserve for a full disk.
    pub spares: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment: 64 << 20,
            align: 4096,
            max_record: 8 << 20,
            max_group: 16 << 20,
            max_preamble: 16 << 10,
            spares: 2,
        }
    }
}

impl Options {
    /// Most bytes that a group may have to find room in a segment of the usual size, whatever the preamble is.
    ///
    /// A longer one gets a file of its own size, for which no spare stands ready: on a full disk it waits, and
    /// what comes after it too. Who wants the reserve to be one keeps `max_group` within this.
    #[must_use]
    pub fn usual_group(&self) -> usize {
        let align = self.align as u64;
        let heads = 2 * ((FIXED + self.max_preamble) as u64).next_multiple_of(align);
        let room = self.segment.saturating_sub(heads + KEPT * align) / align * align;
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Bytes that a payload of this length adds to a group.
    #[must_use]
    pub fn group_bytes(payload: usize) -> usize {
        HEADER + padded(payload)
    }

    pub(crate) fn check(&self, identity: &[u8]) -> Result<(), Error> {
        let refuse = |option, value: u64, must_be| Err(Error::Options { option, value, must_be });
        let most = MAX_PAYLOAD + HEADER;
        if identity.len() > MAX_IDENTITY {
            refuse("identity", identity.len() as u64, "at most 64 bytes")
        } else if !is_alignment(self.align) {
            refuse("align", self.align as u64, "a power of two from 512 to 65536")
        } else if !self.segment.is_multiple_of(self.align as u64)
            || self.segment < 8 * self.align as u64
        {
            refuse("segment", self.segment, "a multiple of align, eight times as long at least")
        } else if self.max_group > most || self.max_group < Options::group_bytes(self.max_record) {
            refuse("max_group", self.max_group as u64, "room for one record, and below 256 MiB")
        } else if self.max_preamble > MAX_PREAMBLE.min(self.max_record) {
            refuse("max_preamble", self.max_preamble as u64, "at most max_record and 64 KiB")
        } else {
            Ok(())
        }
    }
}
