//! Reads the two copies of a segment header.

use crate::disk::Disk;
use crate::error::{Error, Fault};
use crate::frame::{SECTOR, crc32c};
use crate::reader::{Unreadable, read};
use crate::segment::{HeaderFault, MAX_HEADER, SegmentHeader, SegmentName, VERSION};

/// Enough for both copies in nearly every case.
const FIRST_LOOK: u64 = 16 << 10;

/// The header, if one of its copies is intact, and what is wrong, if anything is.
pub(crate) fn read_header<D: Disk>(
    disk: &mut D,
    file: &str,
    name: SegmentName,
    length: u64,
) -> Result<(Option<SegmentHeader>, Option<Fault>), Error> {
    let mut found = (None, None);
    for look in [FIRST_LOOK, MAX_HEADER as u64] {
        let mut bytes = vec![0; look.min(length) as usize];
        let mut lost = Unreadable::default();
        read(disk, file, 0, &mut bytes, &mut lost)?;
        let (header, fault) = either_copy(&bytes, file)?;
        // Without a header nobody knows how far its copies go.
        let end = header.as_ref().map_or(look, SegmentHeader::data);
        found = (header, fault.map(|fault| lost.fault(0..end, fault)));
        if found.1.is_none() || length <= look {
            break;
        }
    }
    let (Some(header), fault) = found else { return Ok(found) };
    if (header.generation, header.number) != (name.generation, name.number) {
        let (generation, number) = (header.generation, header.number);
        return Ok((None, Some(Fault::Misnamed { generation, number })));
    }
    Ok((Some(header), fault))
}

fn either_copy(bytes: &[u8], file: &str) -> Result<(Option<SegmentHeader>, Option<Fault>), Error> {
    match SegmentHeader::decode(bytes) {
        Ok(header) => {
            let copy = header.copy_bytes();
            let second = bytes.get(copy..2 * copy).unwrap_or(&[]);
            let fault = (second != &bytes[..copy]).then(|| Fault::Header {
                copy: 1,
                expected: crc32c(&bytes[..copy]),
                found: crc32c(second),
            });
            Ok((Some(header), fault))
        }
        Err(fault) => {
            let second = (SECTOR..bytes.len()).step_by(SECTOR).find_map(|at| {
                let header = SegmentHeader::decode(&bytes[at..]).ok()?;
                (header.copy_bytes() == at).then_some(header)
            });
            match (fault, second) {
                (HeaderFault::Bad { expected, found }, second) => {
                    Ok((second, Some(Fault::Header { copy: 0, expected, found })))
                }
                (HeaderFault::Version(found), None) => {
                    Err(Error::UnknownVersion { file: file.to_owned(), expected: VERSION, found })
                }
                (HeaderFault::Version(_), second) => {
                    Ok((second, Some(Fault::Header { copy: 0, expected: 0, found: 0 })))
                }
            }
        }
    }
}
