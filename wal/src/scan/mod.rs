//! Reads a whole log, record by record, and tells a torn tail from damage.
//!
//! One pass serves recovery, salvage and inspection; it never writes. A group is handed on when its
//! last record proved good. At the first bad place the question is which of the two it is; the
//! crate's documentation has the rule and the proof, `tail.rs` has the code.
//!
//! After damage the pass goes on: behind a damaged payload whose header is intact at the next
//! record, else at the next 8-byte offset where a record proves its own place. The numbers of the
//! records on both sides say which ones are lost.
//!
//! Left out: repair of single bits from the checksum. The peers have the block.

mod groups;

use crate::disk::{Disk, Operation};
use crate::error::{Damage, Error, Fault};
use crate::frame::{Frame, HEADER};
use crate::head::read_header;
use crate::layout::Layout;
use crate::reader::{Buffers, Reader};
use crate::record::{Lsn, Peak, Tag};
use crate::segment::{SegmentHeader, SegmentName};
use crate::tail::TornTail;

pub(crate) use groups::Broken;

/// What the pass meets, in order.
pub(crate) enum Event<'a> {
    /// A segment whose header can be read.
    Segment { file: &'a str, header: &'a SegmentHeader },
    /// An intact record.
    Record { offset: u64, frame: &'a Frame, payload: &'a [u8] },
}

/// What a segment turned out to hold.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) name: SegmentName,
    pub(crate) header: SegmentHeader,
    /// Where the next group would go.
    pub(crate) end: u64,
    /// How far it gets.
    pub(crate) peak: Peak,
    /// The last group, be it a mark: offset and bytes.
    pub(crate) group: Option<(u64, usize)>,
    /// Whether no record stands behind the last mark or seal.
    pub(crate) covered: bool,
    pub(crate) sealed: bool,
    /// The chain and the last number at its end.
    pub(crate) chain: u32,
    pub(crate) last: Lsn,
}

/// The state of the pass, and in the end its result.
#[derive(Default)]
pub(crate) struct Scan {
    /// The number that the next record must have.
    pub(crate) next: Lsn,
    /// The checksum it must name; `None` behind damage.
    pub(crate) chain: Option<u32>,
    pub(crate) last: Option<(Lsn, Tag)>,
    pub(crate) peak: Peak,
    pub(crate) oldest: u64,
    pub(crate) preamble: Option<Vec<u8>>,
    pub(crate) records: u64,
    pub(crate) damages: Vec<Damage>,
    pub(crate) torn: Option<TornTail>,
    pub(crate) segments: Vec<Summary>,
    /// `damages[..settled]` know what follows them.
    settled: usize,
    /// Whether a group goes on here whose beginning was damaged.
    inside: bool,
    /// Records of the group being read.
    held: Vec<(u64, Frame)>,
    scratch: Vec<u8>,
}

type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

impl Scan {
    /// Reads the log that `layout` describes. With an identity, one that differs is an error.
    pub(crate) fn run<D: Disk>(
        disk: &mut D,
        layout: &Layout,
        identity: Option<&[u8]>,
        sink: Sink<'_>,
    ) -> Result<Scan, Error> {
        let mut scan = Scan::default();
        let mut buffers = Buffers::default();
        for (index, name) in layout.log.iter().enumerate() {
            let is_last = index + 1 == layout.log.len();
            let previous = index.checked_sub(1).and_then(|before| layout.log.get(before));
            buffers = scan.segment(disk, *name, previous, is_last, identity, sink, buffers)?;
        }
        scan.check_ends(layout);
        Ok(scan)
    }

    /// Segments missing before the first or behind the last.
    fn check_ends(&mut self, layout: &Layout) {
        let (Some(first), Some(last)) = (layout.log.first(), layout.log.last()) else { return };
        if self.oldest < first.number && self.oldest > 0 {
            let fault = Fault::Missing { first: self.oldest, last: first.number - 1 };
            let next = self.segments.first().map(|segment| segment.header.first);
            self.damages.insert(0, Damage { next, ..self.damage_at(first, 0, 0, fault) });
            self.damages[0].first = Lsn::ZERO.next();
            self.damages[0].before = None;
            self.settled += 1;
        }
        if self.segments.last().is_some_and(|segment| segment.name == *last && segment.sealed) {
            let number = last.number.saturating_add(1);
            let missing = SegmentName { number, ..*last };
            let fault = Fault::Missing { first: number, last: number };
            self.damages.push(self.damage_at(&missing, 0, 0, fault));
        }
    }

    fn damage_at(&self, name: &SegmentName, offset: u64, bytes: u64, fault: Fault) -> Damage {
        Damage {
            file: name.format(),
            offset,
            bytes,
            fault,
            before: self.last,
            first: self.next,
            tag: None,
            next: None,
            next_tag: None,
        }
    }

    /// A record, or the head of a segment, says which number comes next.
    fn settle(&mut self, next: Lsn, tag: Option<Tag>) {
        for damage in &mut self.damages[self.settled..] {
            damage.next = Some(next);
            damage.next_tag = tag;
        }
        self.settled = self.damages.len();
    }

    #[expect(clippy::too_many_arguments, reason = "the loop's own state, in one place")]
    fn segment<D: Disk>(
        &mut self,
        disk: &mut D,
        name: SegmentName,
        previous: Option<&SegmentName>,
        is_last: bool,
        identity: Option<&[u8]>,
        sink: Sink<'_>,
        buffers: Buffers,
    ) -> Result<Buffers, Error> {
        let file = name.format();
        let length = disk.length(&file).map_err(Error::disk(Operation::Length, &file))?;
        if let Some(previous) = previous
            && previous.number.saturating_add(1) < name.number
        {
            let fault = Fault::Missing { first: previous.number + 1, last: name.number - 1 };
            let missing = SegmentName { number: previous.number + 1, ..name };
            self.damages.push(self.damage_at(&missing, 0, 0, fault));
            self.chain = None;
        }
        let (header, fault) = read_header(disk, &file, name, length)?;
        if let Some(fault) = fault {
            let bytes = if header.is_some() { HEADER as u64 } else { length };
            self.damages.push(self.damage_at(&name, 0, bytes, fault));
        }
        let Some(header) = header else {
            self.chain = None;
            return Ok(buffers);
        };
        if let Some(identity) = identity
            && identity != header.identity
        {
            let (expected, found) = (identity.to_vec(), header.identity);
            return Err(Error::WrongIdentity { file, expected, found });
        }
        self.enter(&name, previous.is_none(), &header);
        let size = header.size;
        let fault = Fault::Length { expected: size, found: length };
        if length > size {
            self.damages.push(self.damage_at(&name, size, length - size, fault));
            self.settle(self.next, None);
        }
        sink(Event::Segment { file: &file, header: &header });
        let reader = Reader::new(disk, &file, length.min(size), buffers);
        let buffers = self.groups(reader, name, header, is_last && length >= size, sink)?;
        if length < size {
            self.damages.push(self.damage_at(&name, length, 0, fault));
        }
        Ok(buffers)
    }

    /// Compares the head of a segment with the end of the one before.
    fn enter(&mut self, name: &SegmentName, is_first: bool, header: &SegmentHeader) {
        if is_first {
            self.next = header.first;
            self.damages.iter_mut().for_each(|damage| damage.first = header.first);
            if header.first.before() > Lsn::ZERO {
                self.last = Some((header.first.before(), header.before));
            }
        } else if self.settled == self.damages.len() && self.chain.is_some() {
            let fault = if header.first != self.next {
                Some(Fault::Lsn { expected: self.next, found: header.first })
            } else {
                let expected = self.chain.unwrap_or(header.chain);
                (header.chain != expected).then_some(Fault::Chain { expected, found: header.chain })
            };
            if let Some(fault) = fault {
                self.damages.push(self.damage_at(name, 0, 0, fault));
            }
        }
        self.settle(header.first, None);
        self.next = header.first;
        self.chain = Some(header.chain);
        self.peak = self.peak.max(header.peak);
        self.oldest = self.oldest.max(header.oldest);
        if header.preamble.is_some() {
            self.preamble.clone_from(&header.preamble);
        }
    }
}
