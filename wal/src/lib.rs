//! A write-ahead log of opaque records.

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

#[cfg(test)]
mod decoders;
