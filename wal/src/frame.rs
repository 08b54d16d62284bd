//! One record as bytes: a header of 64 bytes, then the payload padded with zeros to 8 bytes.
//!
//! ```text
//!  offset size field
//!       0    4 magic "QREC"
//!       4    4 payload length
//!       8    8 LSN
//!      16    8 term          \ tag
//!      24    8 height        /
//!      32    8 synced through: the last LSN of the groups before this one
//!      40    8 mask: every 8-byte word of the padded payload is stored xor this
//!      48    4 previous: the header CRC of the record before (the chain)
//!      52    4 CRC32C of the padded payload as stored
//!      56    1 kind, the caller's
//!      57    1 origin, and bit 7: last record of its group
//!      58    2 marker 0xA55A
//!      60    4 CRC32C of the place and of bytes 0..60
//! ```
//!
//! All integers are little-endian. The *place* is (salt, generation, segment, offset): a record is
//! valid only where it was written, so a misdirected write and the remains of a former life of the
//! same file system blocks prove nothing.
//!
//! The header has a CRC of its own so that a damaged payload still has a trusted length, LSN and
//! tag: the report can name what is lost, and a search for records can look at every 8-byte offset
//! of a hostile payload without ever following a length that was not written by this log.
//!
//! **No written sector is blank.** A lost sector of a group in flight reads as zeros. For that to
//! be a proof, a record must never put an all-zero sector on the disk itself. The first and the
//! last word of the header are never zero; for the payload a mask is chosen such that no sector of
//! it is blank. The mask is 0 unless the payload holds a blank sector.
//!
//! Left out: compression and encryption (the caller's bytes are opaque), and records longer than
//! one group.

use crate::record::{Lsn, Tag};

/// Bytes of a record's header.
pub(crate) const HEADER: usize = 64;
/// The unit that a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;
/// No record is longer than this, whatever a header says.
pub(crate) const MAX_PAYLOAD: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"QREC";
const MARKER: u16 = 0xA55A;
const LAST: u8 = 0x80;

/// Who wrote a record and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The caller's record.
    Record,
    /// The caller's preamble.
    Preamble,
    /// The log's own: says that everything before it is durable. Takes no LSN.
    Mark,
    /// The log's own: the next segment exists, and nothing follows in this one. Takes no LSN.
    Seal,
}

impl Origin {
    fn to_byte(self) -> u8 {
        match self {
            Origin::Record => 1,
            Origin::Preamble => 2,
            Origin::Mark => 3,
            Origin::Seal => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Origin> {
        match byte {
            1 => Some(Origin::Record),
            2 => Some(Origin::Preamble),
            3 => Some(Origin::Mark),
            4 => Some(Origin::Seal),
            _ => None,
        }
    }

    /// Whether records of this origin are numbered.
    pub(crate) fn is_numbered(self) -> bool {
        match self {
            Origin::Record | Origin::Preamble => true,
            Origin::Mark | Origin::Seal => false,
        }
    }
}

/// Where a record stands. Part of its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) salt: u64,
    pub(crate) generation: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Place {
    /// The CRC of this place and of a header without its CRC.
    #[inline]
    fn crc(&self, header: &[u8; HEADER]) -> u32 {
        // The header is copied whole although its end does not count: four aligned stores, from
        // which the checksum's loads are served at once.
        let mut bytes = [0; 32 + HEADER];
        bytes[0..8].copy_from_slice(&self.salt.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32..].copy_from_slice(header);
        crc32c(&bytes[..32 + HEADER - 4])
    }
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) length: u32,
    pub(crate) lsn: Lsn,
    pub(crate) tag: Tag,
    pub(crate) synced: Lsn,
    pub(crate) mask: u64,
    pub(crate) previous: u32,
    pub(crate) payload_crc: u32,
    pub(crate) kind: u8,
    pub(crate) origin: Origin,
    pub(crate) last: bool,
}

/// Why 64 bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameFault {
    /// Nothing but zeros.
    Blank,
    /// Neither blank nor a header of this place.
    Crc { expected: u32, found: u32 },
    /// The checksum holds but a field has a value that this version never writes.
    Field,
}

impl Frame {
    /// The header's bytes, and its CRC for the chain.
    pub(crate) fn encode(&self, place: &Place) -> ([u8; HEADER], u32) {
        let mut out = [0; HEADER];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.lsn.get().to_le_bytes());
        out[16..24].copy_from_slice(&self.tag.term.to_le_bytes());
        out[24..32].copy_from_slice(&self.tag.height.to_le_bytes());
        out[32..40].copy_from_slice(&self.synced.get().to_le_bytes());
        out[40..48].copy_from_slice(&self.mask.to_le_bytes());
        out[48..52].copy_from_slice(&self.previous.to_le_bytes());
        out[52..56].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[56] = self.kind;
        out[57] = self.origin.to_byte() | if self.last { LAST } else { 0 };
        out[58..60].copy_from_slice(&MARKER.to_le_bytes());
        let crc = place.crc(&out);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// The header and its CRC, if these bytes were written by this log at this very place.
    ///
    /// Inlined: a copy of the struct through memory is a tenth of a recovery of small records.
    #[inline]
    pub(crate) fn decode(bytes: &[u8; HEADER], place: &Place) -> Result<(Frame, u32), FrameFault> {
        let expected = place.crc(bytes);
        let found = u32_at(bytes, 60);
        if bytes[0..4] != MAGIC || expected != found {
            let blank = bytes.iter().all(|byte| *byte == 0);
            return Err(if blank {
                FrameFault::Blank
            } else {
                FrameFault::Crc { expected, found }
            });
        }
        let origin = Origin::from_byte(bytes[57] & !LAST).ok_or(FrameFault::Field)?;
        let frame = Frame {
            length: u32_at(bytes, 4),
            lsn: Lsn::new(u64_at(bytes, 8)),
            tag: Tag { term: u64_at(bytes, 16), height: u64_at(bytes, 24) },
            synced: Lsn::new(u64_at(bytes, 32)),
            mask: u64_at(bytes, 40),
            previous: u32_at(bytes, 48),
            payload_crc: u32_at(bytes, 52),
            kind: bytes[56],
            origin,
            last: bytes[57] & LAST != 0,
        };
        let marker = u16::from_le_bytes([bytes[58], bytes[59]]);
        if marker != MARKER || frame.length as usize > MAX_PAYLOAD {
            return Err(FrameFault::Field);
        }
        Ok((frame, found))
    }

    /// Bytes of the padded payload.
    pub(crate) fn padded(&self) -> usize {
        padded(self.length as usize)
    }

    /// Bytes of the whole record.
    pub(crate) fn extent(&self) -> usize {
        HEADER + self.padded()
    }
}

/// Whether these bytes may begin a header; the cheap first look of a search.
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// CRC32C.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Copies `from` to the front of `to`, fills the rest with zeros, and returns the CRC32C of `to` and
/// whether one of its sectors is blank; `to` begins `at` bytes after the start of a group.
///
/// Piece by piece, so that the checksum and the look for blanks read from the processor's nearest
/// cache what the copy has just put there.
pub(crate) fn stage(from: &[u8], to: &mut [u8], at: usize) -> (u32, bool) {
    const PIECE: usize = 16 << 10;
    to[from.len()..].fill(0);
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    let mut blank = false;
    let skip = to_sector(at);
    let (mut start, mut end) = (0, skip + PIECE);
    while start < to.len() {
        end = end.min(to.len());
        // The last piece may hold nothing but padding.
        let piece = &from[start.min(from.len())..end.min(from.len())];
        to[start..start + piece.len()].copy_from_slice(piece);
        digest.update(&to[start..end]);
        let mut sectors = to[start.max(skip).min(end)..end].chunks(SECTOR);
        blank |= sectors.any(is_blank);
        start = end;
        end += PIECE;
    }
    (digest.finalize() as u32, blank)
}

/// Bytes to the next sector boundary.
fn to_sector(at: usize) -> usize {
    at.next_multiple_of(SECTOR) - at
}

/// A payload's length rounded up to whole words.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// Xors every word of `body`, whose length is a multiple of 8, with the mask.
pub(crate) fn apply_mask(body: &mut [u8], mask: u64) {
    if mask == 0 {
        return;
    }
    let mask = mask.to_le_bytes();
    for word in body.chunks_exact_mut(8) {
        word.iter_mut().zip(mask).for_each(|(byte, key)| *byte ^= key);
    }
}

/// The smallest mask under which no sector of `body` is blank, where `body` begins `at` bytes
/// after a sector boundary or after the start of a group.
///
/// The sector that also holds the end of the header is never blank, so it does not matter.
pub(crate) fn choose_mask(at: usize, body: &[u8]) -> u64 {
    let skip = to_sector(at);
    let sectors = || body.get(skip..).unwrap_or(&[]).chunks(SECTOR);
    if !sectors().any(|sector| constant(sector) == Some(0)) {
        return 0;
    }
    let mut taken: Vec<u64> = sectors().filter_map(constant).collect();
    taken.sort_unstable();
    taken.dedup();
    // The first gap: `taken` is sorted and begins with 0.
    let gap = (0u64..).zip(&taken).find(|(candidate, word)| candidate != *word);
    gap.map_or(taken.len() as u64, |(candidate, _)| candidate)
}

/// The word that all of `sector` repeats, if it does.
fn constant(sector: &[u8]) -> Option<u64> {
    let mut words = sector.chunks_exact(8).map(|word| u64_at(word, 0));
    let first = words.next()?;
    words.all(|word| word == first).then_some(first)
}

/// Whether all bytes are zero.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The little-endian integer at an offset that the caller knows to be inside.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

/// The little-endian integer at an offset that the caller knows to be inside.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}
