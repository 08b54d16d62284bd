//! A directory of arbitrary bytes: opening, salvaging and inspecting it never panics, never
//! allocates beyond a bound, and touches nothing unless it succeeds.
//!
//! Runs under plain `cargo test`, and as `cargo bolero test NAME -s NONE`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use common::{IDENTITY, Log, Owned, append, idle, image, open, options, record, segments};
use quorate_wal::{Memory, Tag, inspect, salvage};

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

/// Lengths in headers that lie, with checksums that hold: only one who knows the salt can write
/// them, and still nothing is allocated that the file does not hold.
#[test]
fn a_length_is_checked_before_anything_is_allocated() {
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    append(&mut wal, &[record(1, vec![1; 500])]).unwrap();
    let disk = wal.into_disk();
    let file = segments(&disk)[0].clone();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(0));
    let most = std::sync::Arc::clone(&seen);
    for offset in 1024..1100 {
        let mut disk = disk.clone();
        disk.overwrite(&file, offset, &[0xFF; 4]);
        let most = std::sync::Arc::clone(&most);
        disk.set_hook(Some(std::sync::Arc::new(std::sync::Mutex::new(
            move |step: &quorate_wal::Step<'_>| {
                let mut most = most.lock().unwrap();
                *most = step.bytes.max(*most);
                quorate_wal::Verdict::Proceed
            },
        ))));
        let _ = open(disk);
    }
    // A read fills a buffer of just its length, so no buffer was longer than the file.
    assert!(*seen.lock().unwrap() as u64 <= options().segment);
}
