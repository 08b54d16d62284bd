//! A segment file: two copies of its header, then groups of records, then zeros.
//!
//! ```text
//!  offset size field                          offset size field
//!       0    8 magic "QUORWAL1"                    88    8 height  / before, term first
//!       8    4 version                             96    8 oldest segment
//!      12    4 reserved, zero                     104    4 chain: CRC of the last record before
//!      16    8 generation                         108    4 most bytes of a group
//!      24    8 number                             112    4 alignment of groups
//!      32    8 salt                               116    4 preamble length
//!      40    8 bytes of the file                  120    1 identity length
//!      48    8 first LSN                          121    1 1 if there is a preamble
//!      56    8 term    \ tag of the last          122    6 reserved, zero
//!      64    8 height  / record before            128   64 identity, padded with zeros
//!      72    8 highest height before              192    4 CRC32C of the preamble
//!      80    8 term    \ highest rank             196    4 CRC32C of bytes 0..196
//!                                                 200    … preamble, then zeros to the alignment
//! ```
//!
//! The copy is repeated right behind the first one: without the salt no record of the segment could
//! be told from noise, so one bad sector must not cost 64 MiB. The header is written and synced
//! before the file gets its name, so a named segment never has a torn header.
//!
//! File names are `GGGGGGGG-NNNNNNNNNNNNNNNN.EXT` in hexadecimal: generation, number, and `wal`
//! for the log, `new` for a rebuild not yet switched to, `damaged` for what a rebuild put aside.
//! Prepared files are `spare-….tmp` while zeros are being written and `spare-….zero` after.
//!
//! Left out: a table of contents at the end. A segment is read once, from front to back.

use crate::frame::{Place, crc32c, is_blank, u32_at, u64_at};
use crate::record::{Lsn, Peak, Tag};

const MAGIC: [u8; 8] = *b"QUORWAL1";
pub(crate) const VERSION: u32 = 1;
/// Bytes of a header besides the preamble.
pub(crate) const FIXED: usize = 200;
pub(crate) const MAX_IDENTITY: usize = 64;
/// No preamble is longer than this.
pub(crate) const MAX_PREAMBLE: usize = 64 << 10;
/// A header copy begins within this many bytes.
pub(crate) const MAX_HEADER: usize = 2 * (MAX_PREAMBLE + MAX_ALIGN);
pub(crate) const MAX_ALIGN: usize = 64 << 10;

/// The facts at the head of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) generation: u64,
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) size: u64,
    pub(crate) first: Lsn,
    pub(crate) before: Tag,
    pub(crate) peak: Peak,
    pub(crate) oldest: u64,
    pub(crate) chain: u32,
    pub(crate) max_group: u32,
    pub(crate) align: u32,
    pub(crate) identity: Vec<u8>,
    pub(crate) preamble: Option<Vec<u8>>,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// A checksum fails, or a field is impossible, or the bytes end too early.
    Bad { expected: u32, found: u32 },
    /// An intact header of another version.
    Version(u32),
}

impl SegmentHeader {
    /// Bytes of one copy.
    pub(crate) fn copy_bytes(&self) -> usize {
        let preamble = self.preamble.as_ref().map_or(0, Vec::len);
        (FIXED + preamble).next_multiple_of(self.align as usize)
    }

    /// Where the first group begins.
    pub(crate) fn data(&self) -> u64 {
        2 * self.copy_bytes() as u64
    }

    /// The place of a record at this offset.
    pub(crate) fn place(&self, offset: u64) -> Place {
        Place { salt: self.salt, generation: self.generation, segment: self.number, offset }
    }

    /// One copy.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let preamble = self.preamble.as_deref().unwrap_or(&[]);
        let mut out = vec![0; self.copy_bytes()];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let words = [
            self.generation,
            self.number,
            self.salt,
            self.size,
            self.first.get(),
            self.before.term,
            self.before.height,
            self.peak.height,
            self.peak.rank.term,
            self.peak.rank.height,
            self.oldest,
        ];
        for (at, word) in (16..).step_by(8).zip(words) {
            out[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        out[104..108].copy_from_slice(&self.chain.to_le_bytes());
        out[108..112].copy_from_slice(&self.max_group.to_le_bytes());
        out[112..116].copy_from_slice(&self.align.to_le_bytes());
        out[116..120].copy_from_slice(&(preamble.len() as u32).to_le_bytes());
        out[120] = self.identity.len() as u8;
        out[121] = u8::from(self.preamble.is_some());
        out[128..128 + self.identity.len()].copy_from_slice(&self.identity);
        out[192..196].copy_from_slice(&crc32c(preamble).to_le_bytes());
        let crc = crc32c(&out[..196]);
        out[196..200].copy_from_slice(&crc.to_le_bytes());
        out[FIXED..FIXED + preamble.len()].copy_from_slice(preamble);
        out
    }

    /// Reads a copy that begins at the first byte; what follows it is ignored.
    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderFault> {
        if bytes.len() < FIXED {
            return Err(HeaderFault::Bad { expected: 0, found: 0 });
        }
        let version = u32_at(bytes, 8);
        let (expected, found) = (crc32c(&bytes[..196]), u32_at(bytes, 196));
        if bytes[..8] != MAGIC {
            return Err(HeaderFault::Bad { expected, found });
        }
        if version != VERSION {
            // Another version may keep its checksum elsewhere; ours failing with one bit changed
            // in the version is told apart by trying our own version.
            let mut ours = [0; 196];
            ours.copy_from_slice(&bytes[..196]);
            ours[8..12].copy_from_slice(&VERSION.to_le_bytes());
            return Err(if crc32c(&ours) == found {
                HeaderFault::Bad { expected, found }
            } else {
                HeaderFault::Version(version)
            });
        }
        let bad = HeaderFault::Bad { expected, found };
        if expected != found {
            return Err(bad);
        }
        let preamble_length = u32_at(bytes, 116) as usize;
        let identity_length = usize::from(bytes[120]);
        let align = u32_at(bytes, 112);
        let sane = preamble_length <= MAX_PREAMBLE
            && identity_length <= MAX_IDENTITY
            && is_alignment(align as usize)
            && bytes[121] <= 1
            && (bytes[121] == 1 || preamble_length == 0)
            && is_blank(&bytes[12..16])
            && is_blank(&bytes[122..128])
            && is_blank(&bytes[128 + identity_length..192]);
        let copy = (FIXED + preamble_length).next_multiple_of((align as usize).max(1));
        if !sane || bytes.len() < copy || !is_blank(&bytes[FIXED + preamble_length..copy]) {
            return Err(bad);
        }
        let preamble = &bytes[FIXED..FIXED + preamble_length];
        let (expected, found) = (crc32c(preamble), u32_at(bytes, 192));
        if expected != found {
            return Err(HeaderFault::Bad { expected, found });
        }
        Ok(SegmentHeader {
            generation: u64_at(bytes, 16),
            number: u64_at(bytes, 24),
            salt: u64_at(bytes, 32),
            size: u64_at(bytes, 40),
            first: Lsn::new(u64_at(bytes, 48)),
            before: Tag { term: u64_at(bytes, 56), height: u64_at(bytes, 64) },
            peak: Peak {
                height: u64_at(bytes, 72),
                rank: Tag { term: u64_at(bytes, 80), height: u64_at(bytes, 88) },
            },
            oldest: u64_at(bytes, 96),
            chain: u32_at(bytes, 104),
            max_group: u32_at(bytes, 108),
            align,
            identity: bytes[128..128 + identity_length].to_vec(),
            preamble: (bytes[121] == 1).then(|| preamble.to_vec()),
        })
    }
}

/// Whether groups may be aligned to this.
pub(crate) fn is_alignment(bytes: usize) -> bool {
    bytes.is_power_of_two() && (crate::frame::SECTOR..=MAX_ALIGN).contains(&bytes)
}

/// What a file of the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Part of the log.
    Live,
    /// Part of a rebuild that may or may not have been switched to.
    New,
    /// Put aside by a rebuild.
    Damaged,
}

impl Role {
    fn extension(self) -> &'static str {
        match self {
            Role::Live => "wal",
            Role::New => "new",
            Role::Damaged => "damaged",
        }
    }
}

/// The name of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) generation: u64,
    pub(crate) number: u64,
    pub(crate) role: Role,
}

impl SegmentName {
    pub(crate) fn format(&self) -> String {
        format!("{:08x}-{:016x}.{}", self.generation, self.number, self.role.extension())
    }

    pub(crate) fn parse(name: &str) -> Option<SegmentName> {
        let (stem, extension) = name.split_once('.')?;
        let (generation, number) = stem.split_once('-')?;
        let roles = [Role::Live, Role::New, Role::Damaged];
        let role = roles.into_iter().find(|role| role.extension() == extension)?;
        let generation = u64::from_str_radix(generation, 16).ok()?;
        let number = u64::from_str_radix(number, 16).ok()?;
        let parsed = SegmentName { generation, number, role };
        // Only the one spelling: "+1" and "1" parse as well. And no number without a next one.
        let has_next = generation < u64::MAX && number < u64::MAX;
        (has_next && parsed.format() == name).then_some(parsed)
    }
}
