//! The groups of one segment.
//!
//! ```text
//!   read a group ──whole──▶ hand it on ▶ check the padding ▶ next
//!        │
//!        ├─ nothing but zeros ▶ end
//!        └─ broken ──▶ torn? ──yes──▶ end, the group is dropped
//!                        └──no──▶ hand on what is intact ▶ report ▶ step over
//! ```
//!
//! Left out: a limit on the number of reports. There is at most one for each intact record.

use std::ops::ControlFlow;

use super::{Event, Scan, Sink, Summary};
use crate::disk::Disk;
use crate::error::{Error, Fault};
use crate::frame::{Frame, FrameFault, HEADER, Origin, apply_mask, is_blank};
use crate::reader::{Buffers, Reader};
use crate::record::{Lsn, Peak};
use crate::segment::{SegmentHeader, SegmentName};
use crate::tail::{TornTail, check_payload, decode, is_torn, not_blank, search};

/// How reading a group ended.
enum Outcome {
    /// Go on at this offset.
    Group(u64),
    /// Nothing but zeros from here on.
    End,
    Broken(Broken),
}

/// A place where no good record is.
pub(crate) struct Broken {
    pub(crate) group: u64,
    pub(crate) at: u64,
    pub(crate) fault: Fault,
    /// The header, if it is intact, and its checksum.
    pub(crate) frame: Option<(Frame, u32)>,
}

impl Scan {
    pub(super) fn groups<D: Disk>(
        &mut self,
        mut reader: Reader<'_, D>,
        name: SegmentName,
        header: SegmentHeader,
        is_last: bool,
        sink: Sink<'_>,
    ) -> Result<Buffers, Error> {
        let mut at = header.data();
        self.segments.push(Summary {
            name,
            end: at,
            peak: Peak::default(),
            group: None,
            covered: true,
            sealed: false,
            chain: header.chain,
            last: header.first.before(),
            header: header.clone(),
        });
        loop {
            match self.group(&mut reader, &header, at)? {
                Outcome::Group(next) => {
                    self.deliver(&mut reader, &name, sink)?;
                    at = self.check_padding(&mut reader, &header, &name, next)?;
                }
                Outcome::End => break,
                Outcome::Broken(broken) => {
                    let expected = self.expected(&broken);
                    if is_last
                        && self.damages.is_empty()
                        && let Some(bytes) = is_torn(&mut reader, &header, &broken, expected)?
                    {
                        let (offset, first) = (broken.group, self.next);
                        self.torn = Some(TornTail { file: name.format(), offset, bytes, first });
                        break;
                    }
                    self.deliver(&mut reader, &name, sink)?;
                    match self.step_over(&mut reader, &header, &name, &broken)? {
                        ControlFlow::Continue(next) => at = next,
                        ControlFlow::Break(()) => break,
                    }
                }
            }
        }
        Ok(reader.into_buffers())
    }

    /// Reads one group into `held`.
    fn group<D: Disk>(
        &mut self,
        reader: &mut Reader<'_, D>,
        header: &SegmentHeader,
        group: u64,
    ) -> Result<Outcome, Error> {
        self.held.clear();
        reader.pin(group);
        let sealed = self.segments.last().is_some_and(|segment| segment.sealed);
        let (mut at, mut next, mut chain) = (group, self.next, self.chain);
        loop {
            let bytes = reader.bytes(at, HEADER)?;
            if bytes.len() < HEADER || sealed {
                let rest = search(reader, header, at, false)?;
                let at_end = at == group && !self.inside && rest.end <= at;
                let fault = not_blank(reader, at)?;
                let broken = Broken { group, at, fault, frame: None };
                return Ok(if at_end { Outcome::End } else { Outcome::Broken(broken) });
            }
            let (frame, crc) = match decode(bytes, header, at) {
                Ok(decoded) => decoded,
                Err(FrameFault::Blank)
                    if at == group
                        && !self.inside
                        && search(reader, header, at, false)?.end <= at =>
                {
                    return Ok(Outcome::End);
                }
                Err(fault) => {
                    let fault = match fault {
                        FrameFault::Blank => Fault::Blank,
                        FrameFault::Crc { expected, found } => {
                            Fault::RecordHeader { expected, found }
                        }
                        FrameFault::Field => Fault::Field,
                    };
                    return Ok(Outcome::Broken(Broken { group, at, fault, frame: None }));
                }
            };
            let fault = match self.check(&frame, next, chain, at == group, reader.length() - at) {
                Some(fault) => Some(fault),
                None => check_payload(reader, at, &frame)?,
            };
            if let Some(fault) = fault {
                let frame = Some((frame, crc));
                return Ok(Outcome::Broken(Broken { group, at, fault, frame }));
            }
            self.held.push((at, frame));
            next = frame.lsn.next();
            chain = Some(crc);
            at += frame.extent() as u64;
            if frame.last {
                return Ok(Outcome::Group(at));
            }
        }
    }

    /// Whether an intact header belongs where it stands.
    #[inline]
    fn check(
        &self,
        frame: &Frame,
        next: Lsn,
        chain: Option<u32>,
        begins: bool,
        room: u64,
    ) -> Option<Fault> {
        let numbered = frame.origin.is_numbered();
        // Marks and seals carry the number of the record before them and stand alone.
        let expected = if numbered { next } else { next.before() };
        let Some(chain) = chain else {
            // Behind damage anything later will do; what comes before it is a ghost.
            let found = frame.lsn;
            let ghost = found < expected;
            let sane = frame.extent() as u64 <= room && (numbered || frame.last);
            return match (ghost, sane) {
                (true, _) => Some(Fault::Lsn { expected, found }),
                (false, true) => None,
                (false, false) => Some(Fault::Field),
            };
        };
        let synced = match self.held.first() {
            Some((_, first)) => first.synced,
            None => next.before(),
        };
        // In the middle of a group whose beginning was damaged, the watermark is not known.
        let synced_fits = frame.synced == synced || (self.held.is_empty() && self.settled > 0);
        if frame.lsn != expected {
            Some(Fault::Lsn { expected, found: frame.lsn })
        } else if frame.previous != chain {
            Some(Fault::Chain { expected: chain, found: frame.previous })
        } else if !synced_fits
            || frame.extent() as u64 > room
            || !(numbered || begins && frame.last)
        {
            Some(Fault::Field)
        } else {
            None
        }
    }

    /// The number of the record that should be at a broken place.
    fn expected(&self, broken: &Broken) -> Lsn {
        let held = self.held.last().filter(|(at, _)| *at < broken.at);
        held.map_or(self.next, |(_, frame)| frame.lsn.next())
    }

    /// Hands on what is held.
    fn deliver<D: Disk>(
        &mut self,
        reader: &mut Reader<'_, D>,
        name: &SegmentName,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let held = std::mem::take(&mut self.held);
        if let Some((at, frame)) = held.first() {
            let numbered = frame.origin.is_numbered();
            let lsn = if numbered { frame.lsn } else { frame.lsn.next() };
            if self.settled == self.damages.len() && lsn > self.next {
                let fault = Fault::Lsn { expected: self.next, found: lsn };
                self.damages.push(self.damage_at(name, *at, 0, fault));
            }
            self.settle(lsn, (frame.origin == Origin::Record).then_some(frame.tag));
        }
        for (at, frame) in &held {
            let payload = reader.bytes(at + HEADER as u64, frame.padded())?;
            let payload = if frame.mask == 0 {
                payload
            } else {
                self.scratch.clear();
                self.scratch.extend_from_slice(payload);
                apply_mask(&mut self.scratch, frame.mask);
                &self.scratch
            };
            let payload = &payload[..frame.length as usize];
            match frame.origin {
                Origin::Record => self.peak = self.peak.max(frame.tag.into()),
                Origin::Preamble => self.preamble = Some(payload.to_vec()),
                Origin::Mark | Origin::Seal => {
                    let oldest = payload.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                    self.oldest = self.oldest.max(oldest);
                }
            }
            if frame.origin.is_numbered() {
                self.last = Some((frame.lsn, frame.tag));
                self.records += 1;
            }
            sink(Event::Record { offset: *at, frame, payload });
        }
        self.advance(&held);
        self.held = held;
        Ok(())
    }

    /// Moves on behind records that proved good.
    fn advance(&mut self, held: &[(u64, Frame)]) {
        self.inside = false;
        let (Some((first, _)), Some((at, last))) = (held.first(), held.last()) else { return };
        self.next = last.lsn.next();
        let Some(segment) = self.segments.last_mut() else { return };
        let place = segment.header.place(*at);
        let (_, crc) = last.encode(&place);
        segment.peak =
            held.iter().fold(segment.peak, |peak, (_, frame)| peak.max(frame.tag.into()));
        segment.last = last.lsn;
        segment.end = at + last.extent() as u64;
        segment.sealed = last.origin == Origin::Seal;
        let bytes = (segment.end - first) as usize;
        segment.group = Some((*first, bytes));
        segment.covered = !last.origin.is_numbered();
        // The chain goes on from what precedes a seal: the next segment was there before it.
        if last.origin != Origin::Seal {
            segment.chain = crc;
            self.chain = Some(crc);
        }
    }

    /// Between the end of a group and the next one nothing is ever written.
    fn check_padding<D: Disk>(
        &mut self,
        reader: &mut Reader<'_, D>,
        header: &SegmentHeader,
        name: &SegmentName,
        end: u64,
    ) -> Result<u64, Error> {
        let next = end.next_multiple_of(u64::from(header.align));
        let padding = reader.bytes(end, (next - end) as usize)?;
        if !is_blank(padding)
            && let Some(position) = padding.iter().position(|byte| *byte != 0)
        {
            let at = end + position as u64;
            let fault = Fault::NotBlank { found: padding[position] };
            let fault = reader.unreadable().fault(at..at + 1, fault);
            let damage = self.damage_at(name, at, 1, fault);
            self.damages.push(damage);
            self.settle(self.next, None);
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.end = next;
        }
        Ok(next)
    }

    /// Reports a damaged place and finds where to go on.
    fn step_over<D: Disk>(
        &mut self,
        reader: &mut Reader<'_, D>,
        header: &SegmentHeader,
        name: &SegmentName,
        broken: &Broken,
    ) -> Result<ControlFlow<(), u64>, Error> {
        let at = broken.at;
        let mut damage = self.damage_at(name, at, 0, broken.fault);
        let fits = |frame: &Frame| frame.extent() as u64 <= reader.length() - at;
        match (&broken.fault, &broken.frame) {
            (Fault::Payload { .. }, Some((frame, crc))) if fits(frame) => {
                damage.bytes = frame.extent() as u64;
                damage.fault = reader.unreadable().fault(at..at + damage.bytes, damage.fault);
                damage.tag = (frame.origin == Origin::Record).then_some(frame.tag);
                self.damages.push(damage);
                self.settle(frame.lsn.next(), None);
                self.next = frame.lsn.next();
                self.inside = !frame.last;
                match (frame.origin, self.segments.last_mut()) {
                    (Origin::Seal, Some(segment)) => segment.sealed = true,
                    _ => self.chain = Some(*crc),
                }
                let end = at + frame.extent() as u64;
                let align = u64::from(if frame.last { header.align } else { 1 });
                return Ok(ControlFlow::Continue(end.next_multiple_of(align)));
            }
            (Fault::Lsn { .. } | Fault::Chain { .. }, Some((frame, _)))
                if self.chain.is_some() && frame.lsn >= self.next =>
            {
                // A later record stands here: what is between is lost, and it is where to go on.
                self.damages.push(damage);
                self.chain = None;
                return Ok(ControlFlow::Continue(at));
            }
            _ => {}
        }
        self.chain = None;
        self.inside = false;
        let rest = search(reader, header, at + 8, true)?;
        let head = reader.bytes(at, 8)?.iter().rposition(|byte| *byte != 0);
        let end = rest.end.max(head.map_or(at, |last| at + last as u64 + 1));
        damage.bytes = rest.header.unwrap_or(end) - at;
        damage.fault = reader.unreadable().fault(at..at + damage.bytes, damage.fault);
        self.damages.push(damage);
        Ok(rest.header.map_or(ControlFlow::Break(()), ControlFlow::Continue))
    }
}
