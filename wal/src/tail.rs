//! The end of a log: torn, or damaged?
//!
//! The rule is in the crate's documentation. Here is the code of each of its conditions.

use crate::disk::Disk;
use crate::error::{Error, Fault};
use crate::frame::{Frame, FrameFault, HEADER, SECTOR, apply_mask, crc32c, has_magic, is_blank};
use crate::reader::Reader;
use crate::record::Lsn;
use crate::scan::Broken;
use crate::segment::SegmentHeader;

/// How much a search looks at in one go.
const SEARCH: usize = 256 << 10;

/// A group that was in flight when the power went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment, always the last.
    pub file: String,
    /// Where the group begins.
    pub offset: u64,
    /// How far its bytes go.
    pub bytes: u64,
    /// The number of its first record.
    pub first: Lsn,
}

/// What a search through the rest of a segment found.
#[derive(Default)]
pub(crate) struct Rest {
    /// One behind the last byte that is not zero; 0 if there is none.
    pub(crate) end: u64,
    /// The first place with an intact header.
    pub(crate) header: Option<u64>,
    /// The highest "synced through" of all intact headers.
    pub(crate) synced: Lsn,
}

/// Decides whether a broken place in the last segment can only be a group in flight; if so, says
/// how many bytes of it there are. `expected` is the number of the record that should be there.
pub(crate) fn is_torn<D: Disk>(
    reader: &mut Reader<'_, D>,
    header: &SegmentHeader,
    broken: &Broken,
    expected: Lsn,
) -> Result<Option<u64>, Error> {
    if !lacks_sector(reader, broken)? {
        return Ok(None);
    }
    let rest = search(reader, header, broken.at, false)?;
    let align = u64::from(header.align);
    let most = u64::from(header.max_group).next_multiple_of(align);
    let end = rest.end.max(broken.at);
    // A later group could not have begun before this one was durable.
    if rest.synced >= expected || end - broken.group > most {
        return Ok(None);
    }
    // What the disk cannot give may be a sector that arrived, or a record behind this one.
    let range = broken.group..reader.length();
    if matches!(reader.unreadable().fault(range, broken.fault), Fault::Unreadable { .. }) {
        return Ok(None);
    }
    Ok(Some(end - broken.group))
}

/// Whether a sector that the broken record needs is blank. None was blank when it was written, so
/// that sector never arrived; where all arrived, the bytes were changed afterwards.
fn lacks_sector<D: Disk>(reader: &mut Reader<'_, D>, broken: &Broken) -> Result<bool, Error> {
    let end = match (broken.fault, &broken.frame) {
        (Fault::Blank | Fault::RecordHeader { .. }, None) => broken.at + HEADER as u64,
        (Fault::Payload { .. }, Some((frame, _))) => broken.at + frame.extent() as u64,
        _ => return Ok(false),
    };
    let mut at = broken.at;
    while at < end {
        let boundary = (at + 1).next_multiple_of(SECTOR as u64);
        if is_blank(reader.bytes(at, (boundary - at) as usize)?) {
            return Ok(true);
        }
        at = boundary;
    }
    Ok(false)
}

/// Looks at every 8-byte offset from `from` on for a record that proves its own place.
pub(crate) fn search<D: Disk>(
    reader: &mut Reader<'_, D>,
    header: &SegmentHeader,
    from: u64,
    first_only: bool,
) -> Result<Rest, Error> {
    let mut rest = Rest::default();
    let mut at = from;
    while at < reader.length() {
        let bytes = reader.far_bytes(at, SEARCH + HEADER)?;
        let fresh = &bytes[..bytes.len().min(SEARCH)];
        if !is_blank(fresh) {
            let used = fresh.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            rest.end = at + used as u64;
            for offset in (0..fresh.len()).step_by(8) {
                if !has_magic(&bytes[offset..]) {
                    continue;
                }
                let place = at + offset as u64;
                if let Ok((frame, _)) = decode(&bytes[offset..], header, place) {
                    rest.header.get_or_insert(place);
                    rest.synced = rest.synced.max(frame.synced);
                    if first_only {
                        return Ok(rest);
                    }
                }
            }
        }
        at += fresh.len() as u64;
    }
    Ok(rest)
}

/// Decodes the header at `offset` of a segment, given bytes that begin there.
#[inline]
pub(crate) fn decode(
    bytes: &[u8],
    header: &SegmentHeader,
    offset: u64,
) -> Result<(Frame, u32), FrameFault> {
    let bytes = bytes.first_chunk::<HEADER>().ok_or(FrameFault::Blank)?;
    Frame::decode(bytes, &header.place(offset))
}

/// Whether the payload behind an intact header is what was written.
#[inline]
pub(crate) fn check_payload<D: Disk>(
    reader: &mut Reader<'_, D>,
    at: u64,
    frame: &Frame,
) -> Result<Option<Fault>, Error> {
    let payload = reader.bytes(at + HEADER as u64, frame.padded())?;
    let expected = crc32c(payload);
    if expected != frame.payload_crc {
        return Ok(Some(Fault::Payload { expected, found: frame.payload_crc }));
    }
    if payload.len() > frame.length as usize
        && let Some(tail) = payload.last_chunk::<8>()
    {
        let mut word = *tail;
        apply_mask(&mut word, frame.mask);
        if !is_blank(&word[frame.length as usize % 8..]) {
            return Ok(Some(Fault::Field));
        }
    }
    Ok(None)
}

/// The fault of bytes where nothing was ever written.
pub(crate) fn not_blank<D: Disk>(reader: &mut Reader<'_, D>, at: u64) -> Result<Fault, Error> {
    let bytes = reader.bytes(at, SECTOR)?;
    let found = bytes.iter().copied().find(|byte| *byte != 0);
    Ok(found.map_or(Fault::Blank, |found| Fault::NotBlank { found }))
}
