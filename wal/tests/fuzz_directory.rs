//! A directory of arbitrary bytes: opening, salvaging and inspecting it never panics, never
//! allocates beyond a bound, and touches nothing unless it succeeds.
//!
//! Runs under plain `cargo test`, and under `testnet/fuzz.sh`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::sync::{Arc, Mutex};

use common::{IDENTITY, Log, Owned, append, idle, image, open, options, record, segments};
use quorate_wal::{Fault, Memory, Step, Tag, Verdict, inspect, salvage};

fn sample() -> (Memory, Log) {
    let (mut wal, ..) = open(Memory::new(9)).unwrap();
    let mut log = append(&mut wal, &[Owned::Preamble(vec![5; 70])]).unwrap();
    for height in 1..=9 {
        let group = [record(height, vec![height as u8; 300]), record(height, vec![0; 700])];
        log.extend(append(&mut wal, &group).unwrap());
    }
    idle(&mut wal);
    (wal.into_disk(), log)
}

/// Everything that reads, on any directory. Returns what was recovered, if it opened.
fn read_all(mut disk: Memory) -> Option<Log> {
    let before = image(&disk);
    let _ = inspect(&mut disk);
    let _ = salvage(&mut disk, IDENTITY, Tag::ZERO, |_| {});
    assert_eq!(image(&disk), before);
    match open(disk) {
        Ok((mut wal, _, log)) => {
            append(&mut wal, &[record(1 << 40, vec![1; 100])]).unwrap();
            let (_, _, more) = open(wal.into_disk()).unwrap();
            assert_eq!(more.len(), log.len() + 1);
            Some(log)
        }
        Err(refused) => {
            assert_eq!(image(&refused.disk), before);
            None
        }
    }
}

#[test]
fn fuzz_directory() {
    bolero::check!().with_iterations(1_500).with_max_len(1_600).for_each(|bytes: &[u8]| {
        let mut disk = Memory::new(1);
        let names = [
            "00000001-0000000000000001.wal",
            "00000001-0000000000000002.wal",
            "00000001-fffffffffffffffe.wal",
            "00000002-0000000000000001.new",
            "00000000-0000000000000000.damaged",
            "spare-00000001.zero",
            "spare-00000001.tmp",
            "something else",
        ];
        for (index, part) in bytes.chunks(200).take(names.len()).enumerate() {
            disk.put_file(names[(index + bytes.len()) % names.len()], part);
        }
        read_all(disk);
    });
}

#[test]
fn fuzz_record() {
    let (disk, log) = sample();
    let files = segments(&disk);
    bolero::check!().with_iterations(3_000).with_max_len(176).for_each(|bytes: &[u8]| {
        // Each edit: which file, where, and up to 40 bytes.
        let mut disk = disk.clone();
        for edit in bytes.chunks(44).take(4) {
            let [file, high, low, _, new @ ..] = edit else { continue };
            let file = &files[usize::from(*file) % files.len()];
            let at = u64::from(*high) * 256 + u64::from(*low);
            disk.overwrite(file, at % 6000, new);
        }
        if let Some(recovered) = read_all(disk) {
            assert_eq!(recovered, log);
        }
    });
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The record header at `at`, checksummed anew for its place (offsets: `docs/wal.md`).
fn repair_record(file: &mut [u8], at: usize) {
    let place = [&file[32..40], &file[16..24], &file[24..32], &(at as u64).to_le_bytes()[..]];
    let crc = crc_fast::crc32_iscsi(&[&place.concat(), &file[at..at + 60]].concat());
    put(file, at + 60, &crc.to_le_bytes());
}

/// Opens, salvages and inspects; the longest read, the faults that were reported, and whether it
/// opened with a torn tail.
fn longest_read(mut disk: Memory) -> (usize, Vec<Fault>, bool) {
    let longest = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&longest);
    disk.set_hook(Some(Arc::new(Mutex::new(move |step: &Step<'_>| {
        let mut seen = seen.lock().unwrap();
        *seen = step.bytes.max(*seen);
        Verdict::Proceed
    }))));
    let _ = inspect(&mut disk);
    let faults = match salvage(&mut disk, IDENTITY, Tag::ZERO, |_| {}) {
        Ok((report, _)) => report.map_or(Vec::new(), |report| {
            report.damages.iter().map(|damage| damage.fault).collect()
        }),
        Err(_) => Vec::new(),
    };
    let torn = open(disk).is_ok_and(|(_, found, _)| found.torn.is_some());
    let longest = *longest.lock().unwrap();
    (longest, faults, torn)
}

/// Lengths that lie under checksums that hold. Only one who knows the salt can write them, and
/// still no read, each of which fills a buffer of just its length, is longer than the file.
///
/// What this does not see is memory that no read ever fills; the window alone has such, and its
/// growth is bounded by the file where it is computed (`reader.rs`).
#[test]
fn a_length_is_checked_before_anything_is_allocated() {
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    append(&mut wal, &[record(1, vec![1; 500])]).unwrap();
    let disk = wal.into_disk();
    let name = segments(&disk)[0].clone();
    let whole = disk.bytes(&name).unwrap();
    let at = 1024;
    let room = (whole.len() - at - 64) as u32;
    for length in [499, room, room + 1, 1 << 20, 256 << 20, (256 << 20) + 1, u32::MAX - 7, u32::MAX]
    {
        let mut file = whole.clone();
        put(&mut file, at + 4, &length.to_le_bytes());
        repair_record(&mut file, at);
        let mut disk = disk.clone();
        disk.put_file(&name, &file);
        let (longest, faults, torn) = longest_read(disk);
        if length == room {
            // It fits the file to the byte: the payload is read, and is mostly blank.
            assert!(torn && faults.is_empty());
        } else {
            // Not the checksum of the header: that one was believed.
            assert_eq!(faults.first(), Some(&Fault::Field), "{length}");
        }
        assert!(longest as u64 <= options().segment, "{length}: {longest}");
    }
    // The lengths in the header of the segment: of the preamble, of the file, of a group.
    for (field, value) in [(116, u64::from(u32::MAX)), (40, u64::MAX - 511), (108, 0xFFFF_FFFF)] {
        let mut file = whole.clone();
        let width = if field == 40 { 8 } else { 4 };
        for copy in [0, 512] {
            put(&mut file, copy + field, &value.to_le_bytes()[..width]);
            let crc = crc_fast::crc32_iscsi(&file[copy..copy + 196]);
            put(&mut file, copy + 196, &crc.to_le_bytes());
        }
        let mut disk = disk.clone();
        disk.put_file(&name, &file);
        let (longest, ..) = longest_read(disk);
        assert!(longest as u64 <= options().segment, "{field}: {longest}");
    }
}
