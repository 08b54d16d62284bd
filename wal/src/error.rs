//! What can be wrong, with the facts.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::disk::Operation;
use crate::record::{Lsn, Tag};

/// The error of a disk that cannot give the bytes of a sector.
pub(crate) const EIO: i32 = 5;

/// Why the log refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed. On a write or sync of the log's own data this is final: the log refuses
    /// every later call with [`Error::Poisoned`].
    #[error("{operation:?} of {file:?} failed: {source}")]
    Disk {
        /// What the log asked of the disk.
        operation: Operation,
        /// On which file; empty for the directory.
        file: String,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// An earlier write failed, and what the disk holds is unknown until it is read back.
    #[error("the log stopped earlier: {operation:?} of {file:?} failed: {source}")]
    Poisoned {
        /// What the log asked of the disk then.
        operation: Operation,
        /// On which file.
        file: String,
        /// What the disk said then.
        source: Arc<io::Error>,
    },
    /// A new segment is needed and the disk has no room. Nothing was written, the group is still
    /// staged, and [`crate::Wal::commit`] may be called again.
    #[error("no room for another segment of {bytes} bytes")]
    NoSpace {
        /// Bytes the segment needs.
        bytes: u64,
    },
    /// The log is damaged. No file was touched.
    #[error("{0}")]
    Corrupt(Box<Report>),
    /// The log belongs to somebody else.
    #[error("{file} belongs to {found:02x?}, not to {expected:02x?}")]
    WrongIdentity {
        /// The segment.
        file: String,
        /// The identity given by the caller.
        expected: Vec<u8>,
        /// The identity in the segment.
        found: Vec<u8>,
    },
    /// The log was written by another version of this format.
    #[error("{file} has format version {found}, this program reads {expected}")]
    UnknownVersion {
        /// The segment.
        file: String,
        /// The version this program writes.
        expected: u32,
        /// The version in the segment.
        found: u32,
    },
    /// An entry is longer than the options allow.
    #[error("a record of {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The group has no room for the entry: commit first.
    #[error("the group would grow to {bytes} bytes; the limit is {limit}")]
    GroupFull {
        /// Bytes the group would have.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The options contradict each other or the identity is too long.
    #[error("option {option} is {value}, which must be {must_be}")]
    Options {
        /// The field.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        must_be: &'static str,
    },
}

impl Error {
    pub(crate) fn disk(operation: Operation, file: &str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Disk { operation, file: file.to_owned(), source: Arc::new(source) }
    }

    /// Whether the disk said that it cannot give the bytes: `EIO`, which has this number on every Unix. Any other
    /// error of a read says nothing of the bytes.
    pub(crate) fn is_unreadable(&self) -> bool {
        let Error::Disk { operation: Operation::Read, source, .. } = self else { return false };
        source.raw_os_error() == Some(EIO)
    }

    /// Whether the disk said that it is full.
    pub(crate) fn is_full(&self) -> bool {
        let Error::Disk { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// All that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Each damage, in the order of the log. At least one.
    pub damages: Vec<Damage>,
}

/// One damaged place.
///
/// Records `first..next` are lost; if the two are equal, none is. `next` is `None` when nothing
/// intact follows, and how many are lost is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it the damage begins.
    pub offset: u64,
    /// How many bytes from there on could not be used.
    pub bytes: u64,
    /// What was expected and what was found.
    pub fault: Fault,
    /// The last intact record before.
    pub before: Option<(Lsn, Tag)>,
    /// The first record that may be lost.
    pub first: Lsn,
    /// The tag of that record, if its header is intact.
    pub tag: Option<Tag>,
    /// The next record known to be in place.
    pub next: Option<Lsn>,
    /// Its tag, if it is a record of the caller's; `None` when it is known only by its number.
    pub next_tag: Option<Tag>,
}

impl Damage {
    /// Whether a record is lost, or may be.
    #[must_use]
    pub fn loses_records(&self) -> bool {
        self.next.is_none_or(|next| next > self.first)
    }
}

/// What is wrong at a damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Both copies of a segment header are damaged, or one of them is.
    #[error("segment header copy {copy}: checksum {found:08x} where {expected:08x} was expected")]
    Header {
        /// Which copy, 0 or 1; a damaged copy 0 is reported first.
        copy: u8,
        /// Computed over the bytes.
        expected: u32,
        /// Stored in the bytes.
        found: u32,
    },
    /// The header is intact but is of another segment.
    #[error("the header says generation {generation} segment {number}, the name does not")]
    Misnamed {
        /// The generation in the header.
        generation: u64,
        /// The number in the header.
        number: u64,
    },
    /// The file is not as long as its header says.
    #[error("{expected} bytes expected, {found} found")]
    Length {
        /// In the header.
        expected: u64,
        /// Of the file.
        found: u64,
    },
    /// The disk cannot give these bytes. What stood there is lost, be it nothing.
    #[error("the disk cannot read {bytes} bytes at offset {offset}")]
    Unreadable {
        /// Where the first of them is.
        offset: u64,
        /// How many there are in one stretch.
        bytes: u64,
    },
    /// Zeros where a record should be.
    #[error("zeros where a record was written")]
    Blank,
    /// A record header that fails its checksum.
    #[error("record header: checksum {found:08x} where {expected:08x} was expected")]
    RecordHeader {
        /// Computed over the bytes.
        expected: u32,
        /// Stored in the bytes.
        found: u32,
    },
    /// A record header whose checksum holds but whose fields make no sense.
    #[error("record header with fields that no version writes")]
    Field,
    /// A payload that fails its checksum.
    #[error("payload: checksum {found:08x} where {expected:08x} was expected")]
    Payload {
        /// Computed over the bytes.
        expected: u32,
        /// Stored in the header.
        found: u32,
    },
    /// An intact record that does not follow the one before.
    #[error("the chain says {expected:08x}, the record follows {found:08x}")]
    Chain {
        /// The checksum of the record before.
        expected: u32,
        /// What the record names.
        found: u32,
    },
    /// An intact record with another number than the next one.
    #[error("record {found} where {expected} was expected")]
    Lsn {
        /// The next number.
        expected: Lsn,
        /// The number found.
        found: Lsn,
    },
    /// Something else than zeros where nothing was ever written.
    #[error("byte {found:02x} where nothing was written")]
    NotBlank {
        /// The first byte that is not zero.
        found: u8,
    },
    /// Segments that must be there are not.
    #[error("segments {first} to {last} are missing")]
    Missing {
        /// The first one.
        first: u64,
        /// The last one known to have existed.
        last: u64,
    },
    /// The caller's store has applied a record that the log no longer knows.
    #[error("the store is at {floor}, the log has reached only {rank} and height {height}")]
    BelowFloor {
        /// The tag that the store has applied.
        floor: Tag,
        /// The highest rank, term before height, that the log has ever had.
        rank: Tag,
        /// The highest height that the log has ever had.
        height: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at offset {}, {} bytes: {}; ",
            self.file, self.offset, self.bytes, self.fault
        )?;
        match self.next {
            Some(next) if next <= self.first => write!(f, "no record is lost"),
            Some(next) => write!(f, "records {} to {} are lost", self.first, next.before()),
            None => write!(f, "records from {} on are lost, if there were any", self.first),
        }?;
        if let Some(tag) = self.tag {
            write!(f, "; the first has tag {tag}")?;
        }
        if let Some((lsn, tag)) = self.before {
            write!(f, "; intact before: {lsn} {tag}")?;
        }
        if let Some(tag) = self.next_tag {
            write!(f, "; intact after: {tag}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log is damaged in {} places", self.damages.len())?;
        self.damages.first().map_or(Ok(()), |damage| write!(f, ": {damage}"))
    }
}
