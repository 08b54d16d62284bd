//! Each fault that bytes can have, by its name: the damage is made so that just that one is right.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use common::{Owned, append, idle, open_with, options, record, segments};
use quorate_wal::{Damage, Error, Fault, Lsn, Memory, Options};

/// Where the first group begins: behind two copies of the header.
const FIRST: usize = 1024;
/// Where the second one does.
const SECOND: usize = 2048;

/// A log with these groups, the last one marked. The same groups give the same bytes.
fn log(groups: &[Vec<Owned>]) -> Memory {
    let options = Options { spares: 0, ..options() };
    let (mut wal, ..) = open_with(Memory::new(9), options, 0).unwrap();
    for group in groups {
        append(&mut wal, group).unwrap();
    }
    idle(&mut wal);
    wal.into_disk()
}

/// Groups of one record, each of two sectors, of which the end of the second is padding.
fn singles(fill: u8, heights: u64) -> Vec<Vec<Owned>> {
    (1..=heights).map(|height| vec![record(height, vec![fill; 600])]).collect()
}

fn damages(disk: Memory) -> Vec<Damage> {
    let refused = open_with(disk, options(), 0).unwrap_err();
    let Error::Corrupt(report) = refused.error else { panic!("{}", refused.error) };
    report.damages
}

#[test]
fn record_header() {
    let mut disk = log(&singles(1, 3));
    let file = segments(&disk)[0].clone();
    let found =
        u32::from_le_bytes(*disk.bytes(&file).unwrap()[SECOND + 60..].first_chunk().unwrap());
    disk.overwrite(&file, SECOND as u64 + 16, &[0xEE]);
    let damages = damages(disk);
    assert!(
        matches!(damages[0].fault, Fault::RecordHeader { found: stored, .. } if stored == found),
        "{damages:?}"
    );
    assert_eq!((damages[0].first, damages[0].next), (Lsn::new(2), Some(Lsn::new(3))));
    assert_eq!((damages[0].offset, damages.len()), (SECOND as u64, 1));
}

#[test]
fn not_blank() {
    let mut disk = log(&singles(1, 3));
    let file = segments(&disk)[0].clone();
    disk.overwrite(&file, SECOND as u64 - 3, &[0xEE]);
    let damages = damages(disk);
    assert_eq!(damages[0].fault, Fault::NotBlank { found: 0xEE });
    assert_eq!((damages[0].offset, damages.len()), (SECOND as u64 - 3, 1));
    assert!(!damages[0].loses_records());
}

#[test]
fn chain() {
    // The second record of a life whose first one was another: intact, in its place, and a ghost.
    let (mut disk, ghost) = (log(&singles(1, 3)), log(&singles(2, 3)));
    let file = segments(&disk)[0].clone();
    let ghost = ghost.bytes(&file).unwrap();
    disk.overwrite(&file, SECOND as u64, &ghost[SECOND..SECOND + 1024]);
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let expected = word(&disk.bytes(&file).unwrap(), FIRST + 60);
    let found = word(&ghost, FIRST + 60);
    let damages = damages(disk);
    assert_eq!(damages[0].fault, Fault::Chain { expected, found });
    assert_eq!(damages[0].offset, SECOND as u64);
}

#[test]
fn lsn() {
    // In the other life the first group had two records, so the same place has the third.
    let mut groups = singles(1, 3);
    groups[0] = vec![record(1, vec![1; 300]), record(1, vec![1; 300])];
    let (mut disk, other) = (log(&singles(1, 3)), log(&groups));
    let file = segments(&disk)[0].clone();
    let other = other.bytes(&file).unwrap();
    disk.overwrite(&file, SECOND as u64, &other[SECOND..SECOND + 1024]);
    let damages = damages(disk);
    assert_eq!(damages[0].fault, Fault::Lsn { expected: Lsn::new(2), found: Lsn::new(3) });
    assert_eq!(damages[0].offset, SECOND as u64);
}

#[test]
fn misnamed() {
    let mut disk = log(&singles(1, 12));
    let files = segments(&disk);
    let second = disk.bytes(&files[1]).unwrap();
    disk.put_file(&files[0], &second);
    let damages = damages(disk);
    assert_eq!(damages[0].fault, Fault::Misnamed { generation: 1, number: 2 });
    assert_eq!(damages[0].file, files[0]);
}

#[test]
fn length() {
    let disk = log(&singles(1, 3));
    let file = segments(&disk)[0].clone();
    let whole = disk.bytes(&file).unwrap();
    let longer = [whole.as_slice(), &[0; 512]].concat();
    for bytes in [&whole[..whole.len() - 512], &longer] {
        let mut disk = disk.clone();
        disk.put_file(&file, bytes);
        let damages = damages(disk);
        let (expected, found) = (whole.len() as u64, bytes.len() as u64);
        assert_eq!(damages[0].fault, Fault::Length { expected, found });
        assert_eq!((damages[0].offset, damages.len()), (expected.min(found), 1));
    }
}
