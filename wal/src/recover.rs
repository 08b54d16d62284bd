//! Opening a log: read it whole, decide, and only then touch it.
//!
//! ```text
//!   list ▶ scan ▶ damaged? ──yes──▶ refuse with the report, nothing touched
//!                    │ no
//!                    ▼
//!   names made durable ▶ torn tail zeroed ▶ last group written again ▶ sealed ▶ marked
//! ```
//!
//! *Last group written again*: the process before may have died, or failed to sync, after its write
//! reached the page cache. Then a read shows bytes that the disk does not have, and the kernel may
//! think them clean. The same bytes written and synced once more make sure. Only the last group
//! needs it, be it a mark: whatever stands before it was synced before it was written. Each of its
//! sectors is replaced by an equal one.
//!
//! Left out: a repair in place. Damaged files stay as they are, see [`crate::Rebuild`].

use std::collections::VecDeque;
use std::fmt;

use crate::disk::{Disk, Operation};
use crate::error::{Damage, Error, Fault, Report};
use crate::frame::{Origin, is_blank};
use crate::group::PageBuffer;
use crate::layout::Layout;
use crate::options::Options;
use crate::reader::{Buffers, Reader};
use crate::record::{Entry, Lsn, Peak, Record, Tag};
use crate::scan::{Event, Scan, Summary};
use crate::segment::{Role, SegmentName};
use crate::space::Spares;
use crate::tail::TornTail;
use crate::wal::{Active, Closed, Ledger, Wal, start_segment};

/// What opening a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The newest preamble.
    pub preamble: Option<Vec<u8>>,
    /// The last durable record.
    pub durable: Lsn,
    /// Its tag; [`Tag::ZERO`] for a preamble, `None` if the log never had a record.
    pub last: Option<Tag>,
    /// The highest height that the log has ever had.
    pub highest: u64,
    /// How many records were read, preambles included.
    pub records: u64,
    /// The group in flight when the power went out, if there was one. It was never confirmed.
    pub torn: Option<TornTail>,
}

/// A log that could not be opened, and the disk, given back so that its owner can salvage.
#[derive(Debug)]
pub struct Refused<D> {
    /// The disk.
    pub disk: D,
    /// Why.
    pub error: Error,
}

impl<D> fmt::Display for Refused<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<D: fmt::Debug> std::error::Error for Refused<D> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<D: Disk> Wal<D> {
    /// Opens the log on `disk`, or starts one.
    ///
    /// `visit` is given every record in order. If the answer is an error, forget what it was given.
    /// `floor` is a tag that the log has had in an earlier life (that of the last record which the
    /// caller's store has applied); a log that never reached its height or its rank is damaged, not
    /// torn. With term zero it is a height alone. The rank says nothing where a record of a higher
    /// one came before that of the floor, so tags should rise as blocks do: give other records
    /// [`Tag::ZERO`], or term zero with the height of the block they are about.
    pub fn open(
        mut disk: D,
        identity: &[u8],
        options: Options,
        floor: Tag,
        mut visit: impl FnMut(Record<'_>),
    ) -> Result<(Wal<D>, Recovered), Box<Refused<D>>> {
        let scanned = options.check(identity).and_then(|()| {
            let layout = Layout::read(&mut disk)?;
            let scan = Scan::run(&mut disk, &layout, Some(identity), &mut |event| {
                if let Some(record) = as_record(&event) {
                    visit(record);
                }
            })?;
            Ok((layout, judge(scan, floor)?))
        });
        let prepared = scanned.and_then(|(layout, scan)| {
            let spares = tidy(&mut disk, &layout, &options)?;
            Ok((layout, scan, spares))
        });
        match prepared {
            Err(error) => Err(Box::new(Refused { disk, error })),
            Ok((layout, scan, spares)) => {
                let found = Recovered {
                    preamble: scan.preamble.clone(),
                    durable: scan.next.before(),
                    last: scan.last.map(|(_, tag)| tag),
                    highest: scan.peak.height,
                    records: scan.records,
                    torn: scan.torn.clone(),
                };
                let wal = continue_log(disk, identity, options, &layout, scan, spares)?;
                Ok((wal, found))
            }
        }
    }
}

/// The caller's view of an event.
fn as_record<'a>(event: &Event<'a>) -> Option<Record<'a>> {
    match *event {
        Event::Segment { .. } => None,
        Event::Record { frame, payload, .. } => {
            let entry = match frame.origin {
                Origin::Record => Entry::Record { kind: frame.kind, tag: frame.tag, payload },
                Origin::Preamble => Entry::Preamble(payload),
                Origin::Mark | Origin::Seal => return None,
            };
            Some(Record { lsn: frame.lsn, entry })
        }
    }
}

/// Every intact record of a log, damaged or not, in order, and the report if it is damaged.
///
/// Reads only. The newest preamble comes second; if damage may have taken a newer one, the report
/// says which records are lost.
pub fn salvage<D: Disk>(
    disk: &mut D,
    identity: &[u8],
    floor: Tag,
    mut visit: impl FnMut(Record<'_>),
) -> Result<(Option<Report>, Option<Vec<u8>>), Error> {
    let layout = Layout::read(disk)?;
    let scan = Scan::run(disk, &layout, Some(identity), &mut |event| {
        if let Some(record) = as_record(&event) {
            visit(record);
        }
    })?;
    let preamble = scan.preamble.clone();
    match judge(scan, floor) {
        Ok(_) => Ok((None, preamble)),
        Err(Error::Corrupt(report)) => Ok((Some(*report), preamble)),
        Err(error) => Err(error),
    }
}

/// Damage, also below the floor, is an error.
pub(crate) fn judge(mut scan: Scan, floor: Tag) -> Result<Scan, Error> {
    let Peak { height, rank } = scan.peak;
    if scan.damages.is_empty() && !scan.peak.reaches(floor) {
        let last = scan.segments.last();
        let torn = scan.torn.as_ref();
        scan.damages.push(Damage {
            file: last.map(|segment| segment.name.format()).unwrap_or_default(),
            offset: last.map_or(0, |segment| segment.end),
            bytes: torn.map_or(0, |torn| torn.bytes),
            fault: Fault::BelowFloor { floor, rank, height },
            before: scan.last,
            first: scan.next,
            tag: None,
            next: None,
            next_tag: None,
        });
    }
    if scan.damages.is_empty() {
        Ok(scan)
    } else {
        Err(Error::Corrupt(Box::new(Report { damages: scan.damages })))
    }
}

/// Finishes a rebuild that was switched to, puts aside what it replaced, removes what was never
/// finished, and keeps the spares that are really zeros.
fn tidy<D: Disk>(disk: &mut D, layout: &Layout, options: &Options) -> Result<Spares, Error> {
    for name in layout.log.iter().filter(|name| name.role == Role::New) {
        rename(disk, &name.format(), &SegmentName { role: Role::Live, ..*name }.format())?;
    }
    for name in &layout.old {
        rename(disk, &name.format(), &SegmentName { role: Role::Damaged, ..*name }.format())?;
    }
    let abandoned = layout.abandoned.iter().map(SegmentName::format);
    for file in abandoned.chain(layout.unfinished.iter().cloned()) {
        disk.remove(&file).map_err(Error::disk(Operation::Remove, &file))?;
    }
    let mut spares = Spares::default();
    for file in &layout.spares {
        if is_spare(disk, file, options.segment)? && spares.count() < options.spares {
            spares.add(file.clone());
        } else {
            disk.remove(file).map_err(Error::disk(Operation::Remove, file))?;
        }
    }
    // A rename seen in the directory may be in memory only.
    disk.sync_directory().map_err(Error::disk(Operation::SyncDirectory, ""))?;
    Ok(spares)
}

fn rename<D: Disk>(disk: &mut D, from: &str, to: &str) -> Result<(), Error> {
    disk.rename(from, to).map_err(Error::disk(Operation::Rename, to))
}

fn is_spare<D: Disk>(disk: &mut D, file: &str, size: u64) -> Result<bool, Error> {
    let length = disk.length(file).map_err(Error::disk(Operation::Length, file))?;
    if length != size {
        return Ok(false);
    }
    let mut reader = Reader::new(disk, file, length, Buffers::default());
    let mut at = 0;
    while at < length {
        let bytes = reader.far_bytes(at, 256 << 10)?;
        if !is_blank(bytes) {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
    Ok(true)
}

/// Makes what was read durable and goes on behind it.
fn continue_log<D: Disk>(
    mut disk: D,
    identity: &[u8],
    options: Options,
    layout: &Layout,
    scan: Scan,
    mut spares: Spares,
) -> Result<Wal<D>, Box<Refused<D>>> {
    let mut ledger = Ledger {
        next: scan.next,
        chain: scan.chain.unwrap_or(0),
        last: scan.last.map_or(Tag::ZERO, |(_, tag)| tag),
        peak: scan.peak,
        oldest: scan.oldest,
        preamble: scan.preamble,
    };
    let Some(last) = scan.segments.last() else {
        ledger = Ledger { next: Lsn::ZERO.next(), oldest: 1, ..ledger };
        // The damaged files of earlier generations keep their names to themselves.
        let used = layout.damaged.iter().chain(&layout.abandoned).map(|name| name.generation);
        let generation = used.max().unwrap_or(0).saturating_add(1);
        let name = SegmentName { generation, number: 1, role: Role::Live };
        return match start_segment(&mut disk, &mut spares, identity, &options, &ledger, name, 0) {
            Ok(active) => {
                let mut wal = Wal::assemble(disk, identity, options, active, ledger);
                wal.spares = spares;
                Ok(wal)
            }
            Err(error) => Err(Box::new(Refused { disk, error })),
        };
    };
    if let Err(error) = settle_tail(&mut disk, &scan.segments, scan.torn.as_ref()) {
        return Err(Box::new(Refused { disk, error }));
    }
    let active = Active {
        file: live(last).format(),
        header: last.header.clone(),
        end: last.end,
        highest: last.peak.height,
    };
    let mut wal = Wal::assemble(disk, identity, options, active, ledger);
    wal.spares = spares;
    wal.closed = scan
        .segments
        .iter()
        .take(scan.segments.len() - 1)
        .map(|segment| Closed { name: live(segment), highest: segment.peak.height })
        .collect::<VecDeque<Closed>>();
    wal.covered = last.covered;
    match wal.seal_and_mark(&scan.segments) {
        Ok(()) => Ok(wal),
        Err(error) => Err(Box::new(Refused { disk: wal.into_disk(), error })),
    }
}

fn live(segment: &Summary) -> SegmentName {
    SegmentName { role: Role::Live, ..segment.name }
}

/// Zeroes a torn tail and writes the last group once more.
fn settle_tail<D: Disk>(
    disk: &mut D,
    segments: &[Summary],
    torn: Option<&TornTail>,
) -> Result<(), Error> {
    let Some(last) = segments.last() else { return Ok(()) };
    let file = live(last).format();
    let file = file.as_str();
    if let Some(torn) = torn {
        let bytes = torn.bytes.next_multiple_of(u64::from(last.header.align)) as usize;
        let zeros = PageBuffer::zeros(bytes);
        disk.write_synced(file, torn.offset, &zeros.bytes()[..bytes])
            .map_err(Error::disk(Operation::Write, file))?;
    }
    // A mark too: what is written next names it, and would follow nothing if it vanished. A segment
    // without a group may follow one whose last group nothing covers yet; its header does, but only
    // if that was synced, and it was before it got its name.
    if let Some((offset, bytes)) = last.group {
        let mut group = vec![0; bytes];
        disk.read(file, offset, &mut group).map_err(Error::disk(Operation::Read, file))?;
        disk.write_synced(file, offset, &group).map_err(Error::disk(Operation::Write, file))?;
    }
    Ok(())
}
