//! Describes a log for a person: segment by segment, record by record, damage by damage.
//!
//! Reads only, and asks for no identity, so that it can look at any log, one in use too (then the
//! last group may look torn, because it is being written).
//!
//! Left out: payloads. They are the caller's to decode.

use crate::disk::Disk;
use crate::error::{Damage, Error};
use crate::frame::Origin;
use crate::layout::Layout;
use crate::record::{Lsn, Tag};
use crate::scan::{Event, Scan};
use crate::segment::SegmentName;
use crate::tail::TornTail;

/// A directory of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The segments of the log whose headers can be read, in order.
    pub segments: Vec<SegmentFacts>,
    /// All damage.
    pub damages: Vec<Damage>,
    /// The group in flight at the end, if one was cut short.
    pub torn: Option<TornTail>,
    /// Files that earlier rebuilds put aside.
    pub put_aside: Vec<String>,
    /// Prepared segments, finished or not.
    pub spares: Vec<String>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// The file.
    pub file: String,
    /// Its length, as written in its header.
    pub bytes: u64,
    /// Whose log it is.
    pub identity: Vec<u8>,
    /// How often the log was rebuilt, plus one.
    pub generation: u64,
    /// Its number.
    pub number: u64,
    /// The number of its first record.
    pub first: Lsn,
    /// The tag of the last record before it.
    pub before: Tag,
    /// Bytes of the preamble at its head, if there is one.
    pub preamble: Option<usize>,
    /// Its intact records.
    pub records: Vec<RecordFacts>,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFacts {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its number; a mark or seal has that of the record before.
    pub lsn: Lsn,
    /// The last record that was durable when its group was written.
    pub synced_through: Lsn,
    /// What it is.
    pub what: RecordKind,
    /// Bytes of its payload.
    pub bytes: usize,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// The caller's.
    Record {
        /// The caller's kind.
        kind: u8,
        /// The caller's tag.
        tag: Tag,
    },
    /// The caller's preamble.
    Preamble,
    /// The log's own: everything before is durable.
    Mark,
    /// The log's own: the segment is complete and the next one exists.
    Seal,
}

/// Looks at everything.
pub fn inspect<D: Disk>(disk: &mut D) -> Result<Inspection, Error> {
    let layout = Layout::read(disk)?;
    let mut segments: Vec<SegmentFacts> = Vec::new();
    let scan = Scan::run(disk, &layout, None, &mut |event| match event {
        Event::Segment { file, header } => segments.push(SegmentFacts {
            file: file.to_owned(),
            bytes: header.size,
            identity: header.identity.clone(),
            generation: header.generation,
            number: header.number,
            first: header.first,
            before: header.before,
            preamble: header.preamble.as_ref().map(Vec::len),
            records: Vec::new(),
        }),
        Event::Record { offset, frame, payload, .. } => {
            let what = match frame.origin {
                Origin::Record => RecordKind::Record { kind: frame.kind, tag: frame.tag },
                Origin::Preamble => RecordKind::Preamble,
                Origin::Mark => RecordKind::Mark,
                Origin::Seal => RecordKind::Seal,
            };
            if let Some(segment) = segments.last_mut() {
                let (lsn, synced_through) = (frame.lsn, frame.synced);
                let bytes = payload.len();
                segment.records.push(RecordFacts { offset, lsn, synced_through, what, bytes });
            }
        }
    })?;
    Ok(Inspection {
        segments,
        damages: scan.damages,
        torn: scan.torn,
        put_aside: layout.damaged.iter().map(SegmentName::format).collect(),
        spares: layout.spares.into_iter().chain(layout.unfinished).collect(),
    })
}
