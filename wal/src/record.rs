//! What goes in and what comes out: records, their numbers and their tags.

use std::fmt;

/// The number of a record in the log: the first is 1 and each next one adds one.
///
/// Zero stands for "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first record.
    pub const ZERO: Lsn = Lsn(0);

    /// The record with this number.
    #[must_use]
    pub const fn new(number: u64) -> Lsn {
        Lsn(number)
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The record after this one. Saturates: a number read from a disk may be anything.
    #[must_use]
    pub const fn next(self) -> Lsn {
        Lsn(self.0.saturating_add(1))
    }

    /// The record before this one, or zero.
    #[must_use]
    pub const fn before(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The caller's two numbers on a record; their order, term first, is the *rank*. The log compares
/// heights when it prunes, and heights and ranks when it checks the floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The term.
    pub term: u64,
    /// The height.
    pub height: u64,
}

impl Tag {
    /// Term zero, height zero: says nothing.
    pub const ZERO: Tag = Tag { term: 0, height: 0 };
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(term {}, height {})", self.term, self.height)
    }
}

/// How far a log has ever got, whatever was pruned or written over since.
///
/// Both, because neither says the other: the same height can be written again in a later term, and
/// a record of a later term can stand at a lower height, or at none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    /// The highest height.
    pub(crate) height: u64,
    /// The highest rank.
    pub(crate) rank: Tag,
}

impl Peak {
    /// The peak of two logs, one after the other.
    pub(crate) fn max(self, other: Peak) -> Peak {
        Peak { height: self.height.max(other.height), rank: self.rank.max(other.rank) }
    }

    /// Whether a log that got this far may have had a record with this tag.
    pub(crate) fn reaches(self, floor: Tag) -> bool {
        self.height >= floor.height && self.rank >= floor
    }
}

impl From<Tag> for Peak {
    fn from(tag: Tag) -> Peak {
        Peak { height: tag.height, rank: tag }
    }
}

/// What the caller appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record: the log keeps it until the whole segment is pruned.
    Record {
        /// The caller's own distinction; the log only carries it.
        kind: u8,
        /// The caller's numbers.
        tag: Tag,
        /// The bytes.
        payload: &'a [u8],
    },
    /// The new preamble: durable with its group like a record, and from then on repeated at the
    /// head of every new segment, so that pruning can never forget it.
    Preamble(&'a [u8]),
}

/// A record read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// What the caller appended.
    pub entry: Entry<'a>,
}

/// Says that one entry is durable.
///
/// It carries the whole tag because the same height can be written twice, in two terms or even in
/// one: the number alone tells which of the two is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The number the entry was given.
    pub lsn: Lsn,
    /// Its tag; [`Tag::ZERO`] for a preamble.
    pub tag: Tag,
}
