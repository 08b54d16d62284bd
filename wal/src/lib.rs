//! A write-ahead log of opaque records that never loses what it called durable.
//!
//! The log knows bytes and tags. It does not know what a record means, and it does not know blocks.
//!
//! # What it promises
//!
//! 1. A group whose [`Wal::commit`] returned `Ok` is there after any crash, whole and in order,
//!    until it is pruned. One whose commit did not return is there whole or not at all.
//! 2. [`Wal::open`] returns exactly that, or it says precisely what is damaged and touches nothing.
//! 3. The newest durable preamble is never forgotten, whatever is pruned.
//! 4. After a failed write or sync of its own data the log refuses everything (*poisoned*). A full
//!    disk is no such failure: it is met when zeros are written ahead of need.
//! 5. No bytes on the disk cause a panic, or an allocation beyond the length of the file they are
//!    in.
//!
//! # Words
//!
//! A *segment* is a file. A *group* is what one commit writes: records, one after the other,
//! beginning at a multiple of the alignment and padded with zeros to the next. The *chain* is each
//! record's naming of the checksum of the one before. A *mark* is a record of the log's own that
//! says "everything before me is durable"; a *seal* is one that says "the next segment exists".
//! *Synced through* in a record is the last number of the groups before its own: since one group is
//! in flight at a time, they were durable when it was written.
//!
//! # Torn or damaged
//!
//! Model of the disk: [`Disk`], promises 1 to 4. A sector (512 bytes) is written whole or not at all.
//!
//! ```text
//!     durable: proved by what follows        in flight at the crash        never written
//!   ┌─────────┬─────────┬─────────┬────────┬─────────────────────────────┬──────────────
//!   │ group   │ group   │ group   │ mark   │ any subset of its sectors   │ zeros zeros …
//!   └─────────┴─────────┴─────────┴────────┴─────────────────────────────┴──────────────
//!                                          ▲ at most max_group bytes     ▲
//! ```
//!
//! A place where no good record is, is the tail of a **torn** group if *all* of these hold; then
//! that group is cut off whole, its bytes are zeroed and synced, and the log goes on in its place:
//!
//! 1. it is in the last segment, that segment has its full length, and there is no damage before;
//! 2. a sector that the record at this place needs is blank (a written one never is: see the mask in
//!    `frame.rs`);
//! 3. every intact header behind it, at whatever 8-byte offset, says *synced through* less than the
//!    number that should stand here;
//! 4. nothing but zeros stands further from the beginning of the group than one group can reach;
//! 5. the disk can read all of it from the beginning of the group on;
//! 6. the log still reaches the floor that the caller gives, in height and in rank (term before
//!    height: the same height may have been written again in a later term).
//!
//! Everything else is **damage**, also a page that the disk cannot give (`EIO`), wherever it is: what stood
//! there is unknown, and what is around it is read. Any other error of a read is an error.
//!
//! *Every crash state is called torn.* When the power goes out, everything before the group in
//! flight is durable (it was synced, and no synced byte is written again but by its equal, when a
//! start writes the last group once more: groups do not share sectors, nor, with the default
//! alignment, pages). The file was zeros there before, so each sector
//! of the group is as written or blank, and behind it are zeros: 4. If the group is not whole, then
//! the first record that is not good lacks a sector: 2. Intact records behind it are of the same
//! group, whose watermark is below its own first number: 3. A new segment gets its name only after
//! its header was synced, and its first group is written only after the name was: 1. The floor is the
//! tag of a record that was durable: 6. A power cut leaves no sector that cannot be read: 5. Zeroing the tail moves within the same set of states, so a crash
//! during recovery is no different.
//!
//! *What is called torn was not confirmed*, unless the disk broke its promise in just the shape of a
//! crash, at the very end of the log, with nothing after it: a whole sector of the last group lost
//! after it was synced. That window is open only until the next group, the next segment, or the mark
//! that [`Wal::idle_work`] writes as soon as nothing waits; after any of the three the same loss is
//! called damage. In the window the floor still tells if the caller had applied it and has kept that, unless a record of
//! the same rank or a higher one, and one as high, were there before; and a changed bit is always
//! told, because of 2. A torn tail is never silent: see [`Recovered::torn`].
//!
//! Where this is finer than "no valid record may follow": in a group of several records the first
//! may be torn and the second intact. Condition 3 tells that crash from damage; without it an
//! unlucky crash would stop a node that has lost nothing.
//!
//! Segments that vanish are told by gaps in the numbers, by the seal (the last one), and by the
//! *oldest segment* that marks and headers record before a prune removes anything (the first one).
//!
//! # What to do with damage
//!
//! [`salvage`] returns every intact record around it; the [`Report`] names file, offset, numbers and
//! tags of the rest. When the caller has them again, [`Rebuild`] writes a new log beside the old one
//! and switches over with a single rename; the damaged files are kept under another name.
//! [`inspect()`] describes a log for a person.
//!
//! # What is left out, and why
//!
//! - Truncation: the caller appends a record that says so. What was written stays written.
//! - Several groups in flight, and a writing thread: the caller's journal owns the log by value.
//! - Reuse of pruned files: zeros behind the end are what the rule above rests on.
//! - Random reads: the log is read once, from front to back, at start.
//! - Sectors torn in the middle: such a state is reported as damage, never taken for less.
//! - Scrubbing: [`inspect()`] or [`salvage`] on a read-only [`File`] is one.
//! - Secrecy and protection from a person with write access: checksums are no signatures.

mod disk;
mod error;
mod frame;
mod group;
mod head;
mod inspect;
mod layout;
mod options;
mod reader;
mod rebuild;
mod record;
mod recover;
mod scan;
mod segment;
mod space;
mod tail;
mod wal;

#[cfg(test)]
mod decoders;

pub use disk::{Disk, File, Hook, Memory, Operation, Step, Unsynced, Verdict};
pub use error::{Damage, Error, Fault, Report};
pub use inspect::{Inspection, RecordFacts, RecordKind, SegmentFacts, inspect};
pub use options::Options;
pub use rebuild::Rebuild;
pub use record::{Completion, Entry, Lsn, Record, Tag};
pub use recover::{Recovered, Refused, salvage};
pub use space::Space;
pub use tail::TornTail;
pub use wal::Wal;
