//! The writer.
//!
//! ```text
//!   push … push ──▶ staged group ──commit──▶ [room?] ──▶ one write, one sync ──▶ completions
//!                                              │ no
//!                                              ▼
//!                        header into a spare, synced ▶ renamed ▶ directory synced ▶ old one sealed
//! ```
//!
//! Left out: reuse of pruned files (their old records are what the rule for torn tails must never
//! meet) and several groups in flight (a disk that takes one at a time gives nothing for it, and
//! with one in flight everything before it is known to be durable).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, Operation};
use crate::error::Error;
use crate::frame::Origin;
use crate::group::Group;
use crate::options::Options;
use crate::record::{Completion, Entry, Lsn, Peak, Tag};
use crate::scan::Summary;
use crate::segment::{Role, SegmentHeader, SegmentName};
use crate::space::{Space, Spares};

/// Blocks at the end of a segment that groups leave alone: one for the mark of a prune, one for
/// the seal. So a full disk never stands in the way of a prune.
pub(crate) const KEPT: u64 = 2;

/// A log, open for appending.
///
/// Invariants:
///
/// 1. Every group before `active.end` is durable; no byte at or behind `active.end` is anything
///    but zero, except those of the one group whose write was not answered.
/// 2. `active.end` is a multiple of the alignment, so no synced byte is ever written again,
///    but at a start those of the last group by their equals.
/// 3. `active.end` leaves room for the seal.
/// 4. Segment numbers from the first of `closed` to `active` have no gap, on the disk too, at every
///    moment: a segment appears only behind the last and disappears only at the front.
/// 5. `oldest`, as durably recorded, is at most one behind the last segment removed.
/// 6. `active.header` carries the newest preamble of all groups in earlier segments.
/// 7. No group in a segment is longer than its header says one can be.
/// 8. Once `poison` is set nothing is written any more.
#[derive(Debug)]
pub struct Wal<D> {
    pub(crate) disk: D,
    pub(crate) identity: Vec<u8>,
    pub(crate) options: Options,
    pub(crate) role: Role,
    pub(crate) active: Active,
    pub(crate) closed: VecDeque<Closed>,
    pub(crate) ledger: Ledger,
    /// Whether a mark follows the last group.
    pub(crate) covered: bool,
    pub(crate) spares: Spares,
    group: Group,
    note: Group,
    completions: Vec<Completion>,
    poison: Option<(Operation, String, Arc<io::Error>)>,
}

/// The segment being written.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) file: String,
    pub(crate) header: SegmentHeader,
    pub(crate) end: u64,
    pub(crate) highest: u64,
}

/// A segment that is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) name: SegmentName,
    pub(crate) highest: u64,
}

/// What is carried from one segment to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The next number.
    pub(crate) next: Lsn,
    pub(crate) chain: u32,
    pub(crate) last: Tag,
    pub(crate) peak: Peak,
    pub(crate) oldest: u64,
    pub(crate) preamble: Option<Vec<u8>>,
}

impl<D: Disk> Wal<D> {
    pub(crate) fn assemble(
        disk: D,
        identity: &[u8],
        options: Options,
        active: Active,
        ledger: Ledger,
    ) -> Wal<D> {
        Wal {
            disk,
            identity: identity.to_vec(),
            options,
            role: Role::Live,
            active,
            closed: VecDeque::new(),
            ledger,
            covered: true,
            spares: Spares::default(),
            group: Group::default(),
            note: Group::default(),
            completions: Vec::new(),
            poison: None,
        }
    }

    /// Stages an entry for the next [`Wal::commit`] and returns its number.
    pub fn push(&mut self, entry: Entry<'_>) -> Result<Lsn, Error> {
        self.check_poison()?;
        let (payload, limit) = match entry {
            Entry::Record { payload, .. } => (payload, self.options.max_record),
            Entry::Preamble(payload) => (payload, self.options.max_preamble),
        };
        if payload.len() > limit {
            return Err(Error::TooLarge { bytes: payload.len(), limit });
        }
        let bytes = self.group.length() + Options::group_bytes(payload.len());
        if bytes > self.options.max_group {
            return Err(Error::GroupFull { bytes, limit: self.options.max_group });
        }
        let lsn = self.ledger.next.get().saturating_add(self.group.count() as u64);
        let lsn = Lsn::new(lsn);
        match entry {
            Entry::Record { kind, tag, payload } => {
                self.group.push(Origin::Record, kind, lsn, tag, payload);
            }
            Entry::Preamble(payload) => {
                self.group.push(Origin::Preamble, 0, lsn, Tag::ZERO, payload);
            }
        }
        Ok(lsn)
    }

    /// Whether a payload of this length still fits into the staged group.
    #[must_use]
    pub fn fits(&self, payload: usize) -> bool {
        self.group.length() + Options::group_bytes(payload) <= self.options.max_group
    }

    /// Writes the staged group and makes it durable. After a crash it is there whole or not at all.
    pub fn commit(&mut self) -> Result<&[Completion], Error> {
        self.check_poison()?;
        self.completions.clear();
        if self.group.is_empty() {
            return Ok(&self.completions);
        }
        let align = self.options_align();
        let group = self.group.length() as u64;
        let end = self.active.end + group.next_multiple_of(align);
        let no_room = end + KEPT * align > self.active.header.size;
        // An earlier start may have allowed less, and the next one judges by the header how far a
        // torn group can reach.
        if no_room || group > u64::from(self.active.header.max_group) {
            self.roll(group)?;
        }
        let mut group = std::mem::take(&mut self.group);
        let result = self.write_group(&mut group);
        for frame in group.frames() {
            self.completions.push(Completion { lsn: frame.lsn, tag: frame.tag });
        }
        if let Some(preamble) = group.take_preamble() {
            self.ledger.preamble = Some(preamble);
        }
        group.clear();
        self.group = group;
        result.map(|()| self.completions.as_slice())
    }

    /// Pushes all entries and commits them as one group.
    pub fn append(&mut self, entries: &[Entry<'_>]) -> Result<&[Completion], Error> {
        for entry in entries {
            self.push(*entry)?;
        }
        self.commit()
    }

    /// Drops the segments at the front whose records are all below a height; returns how many.
    ///
    /// Terms do not matter: of a height that was written twice both records stay or may go. How far
    /// the log ever got, height and rank, stands in the header of the next segment and is not lost.
    ///
    /// The last segment always stays, and with it the preamble.
    pub fn prune(&mut self, below: u64) -> Result<usize, Error> {
        self.check_poison()?;
        if self.prunable(below) == 0 {
            return Ok(0);
        }
        if self.active.end + KEPT * self.options_align() > self.active.header.size {
            self.roll(0)?;
        }
        let count = self.prunable(below);
        // First say what will be gone, then let it go: a file missing for another reason shows.
        self.ledger.oldest = self.active.header.number - (self.closed.len() - count) as u64;
        self.write_note(Origin::Mark)?;
        for _ in 0..count {
            let Some(closed) = self.closed.pop_front() else { break };
            let file = closed.name.format();
            let removed = self.disk.remove(&file).map_err(Error::disk(Operation::Remove, &file));
            self.or_poison(removed)?;
            // One at a time, so that a crash never leaves a gap.
            let synced = self.disk.sync_directory();
            self.or_poison(synced.map_err(Error::disk(Operation::SyncDirectory, "")))?;
        }
        Ok(count)
    }

    fn prunable(&self, below: u64) -> usize {
        self.closed.iter().take_while(|closed| closed.highest < below).count()
    }

    /// One bounded step of what is better done while nothing waits; true if there is more to do.
    ///
    /// First it marks the last group as durable, so that damage to it can never be taken for a torn
    /// tail; then it prepares spare segments. On a full disk it returns false and may be called
    /// again later: it finds out by itself when space has returned.
    pub fn idle_work(&mut self) -> Result<bool, Error> {
        self.check_poison()?;
        if self.wants_mark() {
            self.write_note(Origin::Mark)?;
        } else if self.spares.count() < self.options.spares {
            let done = self.spares.step(&mut self.disk, self.options.segment);
            self.or_poison(done)?;
        }
        let hopeful = self.spares.is_trying() || self.spares.level() == Space::Ok;
        Ok(hopeful && self.spares.count() < self.options.spares)
    }

    /// How much room there is.
    #[must_use]
    pub fn space(&self) -> Space {
        self.spares.level()
    }

    /// The last durable record.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.ledger.next.before()
    }

    /// The newest durable preamble.
    #[must_use]
    pub fn preamble(&self) -> Option<&[u8]> {
        self.ledger.preamble.as_deref()
    }

    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.closed.len() + 1
    }

    /// The disk, to look at.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Gives the disk back. What was staged and not committed is forgotten.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// After opening: the segment before the last one says that it is complete, and a mark covers
    /// the last group.
    pub(crate) fn seal_and_mark(&mut self, segments: &[Summary]) -> Result<(), Error> {
        if let [.., before, _] = segments
            && !before.sealed
        {
            let active = Active {
                file: SegmentName { role: self.role, ..before.name }.format(),
                header: before.header.clone(),
                end: before.end,
                highest: 0,
            };
            let ledger =
                Ledger { next: before.last.next(), chain: before.chain, ..self.ledger.clone() };
            let active = std::mem::replace(&mut self.active, active);
            let ledger = std::mem::replace(&mut self.ledger, ledger);
            let covered = self.covered;
            self.write_note(Origin::Seal)?;
            self.active = active;
            self.ledger = ledger;
            self.covered = covered;
        }
        self.mark()
    }

    /// Marks the last group as durable if nothing does yet and there is room.
    pub(crate) fn mark(&mut self) -> Result<(), Error> {
        if self.wants_mark() { self.write_note(Origin::Mark) } else { Ok(()) }
    }

    fn wants_mark(&self) -> bool {
        let room = (1 + KEPT) * self.options_align();
        !self.covered && self.active.end + room <= self.active.header.size
    }

    fn options_align(&self) -> u64 {
        u64::from(self.active.header.align)
    }

    fn check_poison(&self) -> Result<(), Error> {
        match &self.poison {
            None => Ok(()),
            Some((operation, file, source)) => Err(Error::Poisoned {
                operation: *operation,
                file: file.clone(),
                source: Arc::clone(source),
            }),
        }
    }

    /// After a failed write or sync nobody knows what the disk holds, and the kernel may report
    /// success for the same bytes next time (Rebello et al., ATC '20). So there is no next time.
    pub(crate) fn or_poison<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Disk { operation, file, source }) = &result {
            self.poison = Some((*operation, file.clone(), Arc::clone(source)));
        }
        result
    }

    fn write_group(&mut self, group: &mut Group) -> Result<(), Error> {
        let Ledger { chain, next, .. } = self.ledger;
        let Active { header, end, file, .. } = &self.active;
        let (bytes, chain) = group.seal(header, *end, chain, next.before());
        let written = self.disk.write_synced(file, *end, bytes);
        let length = bytes.len() as u64;
        let written = written.map_err(Error::disk(Operation::Write, file));
        self.or_poison(written)?;
        self.active.end += length;
        self.ledger.chain = chain;
        for frame in group.frames() {
            self.active.highest = self.active.highest.max(frame.tag.height);
            self.ledger.peak = self.ledger.peak.max(frame.tag.into());
            self.ledger.next = frame.lsn.next();
            self.ledger.last = frame.tag;
            self.covered = !frame.origin.is_numbered();
        }
        Ok(())
    }

    /// Writes a mark or a seal as a group of its own.
    pub(crate) fn write_note(&mut self, origin: Origin) -> Result<(), Error> {
        let mut note = std::mem::take(&mut self.note);
        let oldest = self.ledger.oldest.to_le_bytes();
        note.push(origin, 0, self.ledger.next.before(), Tag::ZERO, &oldest);
        let last = self.ledger.last;
        let chain = self.ledger.chain;
        let result = self.write_group(&mut note);
        self.ledger.last = last;
        if origin == Origin::Seal {
            self.ledger.chain = chain;
        }
        note.clear();
        self.note = note;
        result
    }

    /// Goes on in a new segment, with room for a group of `bytes`.
    fn roll(&mut self, bytes: u64) -> Result<(), Error> {
        let number = self.active.header.number + 1;
        let generation = self.active.header.generation;
        let name = SegmentName { generation, number, role: self.role };
        let fresh = start_segment(
            &mut self.disk,
            &mut self.spares,
            &self.identity,
            &self.options,
            &self.ledger,
            name,
            bytes,
        );
        let fresh = self.or_poison(fresh)?;
        let name = SegmentName { generation, number: number - 1, role: self.role };
        self.closed.push_back(Closed { name, highest: self.active.highest });
        // The next segment has its name for good; from now on its absence is a loss.
        self.write_note(Origin::Seal)?;
        self.active = fresh;
        self.covered = true;
        Ok(())
    }
}

/// Makes a segment with room for a group of `bytes`: the header first, then the name, each synced.
pub(crate) fn start_segment<D: Disk>(
    disk: &mut D,
    spares: &mut Spares,
    identity: &[u8],
    options: &Options,
    ledger: &Ledger,
    name: SegmentName,
    bytes: u64,
) -> Result<Active, Error> {
    let align = options.align as u64;
    let mut header = SegmentHeader {
        generation: name.generation,
        number: name.number,
        salt: disk.salt().map_err(Error::disk(Operation::Salt, ""))?,
        size: 0,
        first: ledger.next,
        before: ledger.last,
        peak: ledger.peak,
        oldest: ledger.oldest,
        chain: ledger.chain,
        max_group: options.max_group as u32,
        align: options.align as u32,
        identity: identity.to_vec(),
        preamble: ledger.preamble.clone(),
    };
    let needed = header.data() + bytes.next_multiple_of(align) + KEPT * align;
    header.size = options.segment.max(needed);
    let spare = spares.take(disk, header.size, options.segment)?;
    let file = name.format();
    let copies = header.encode().repeat(2);
    disk.write_synced(&spare, 0, &copies).map_err(Error::disk(Operation::Write, &spare))?;
    disk.rename(&spare, &file).map_err(Error::disk(Operation::Rename, &file))?;
    disk.sync_directory().map_err(Error::disk(Operation::SyncDirectory, ""))?;
    Ok(Active { file, end: header.data(), header, highest: 0 })
}
