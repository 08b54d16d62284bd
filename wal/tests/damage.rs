//! Whatever happens to the bytes, the log says so and touches nothing; what it still returns is
//! exactly what was written, and what it does not return it names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use common::{IDENTITY, Log, Owned, Rng, append, idle, image, open, options, record, segments};
use quorate_wal::{Error, Fault, Memory, Rebuild, Report, Tag, salvage};

/// Three segments, groups of one and of several, a preamble, a blank payload; everything marked.
fn sample() -> (Memory, Log) {
    // No spares: hundreds of thousands of openings would read their zeros.
    let options = quorate_wal::Options { spares: 0, ..options() };
    let (mut wal, ..) = common::open_with(Memory::new(9), options, 0).unwrap();
    let mut rng = Rng(4);
    let mut log = Log::new();
    log.extend(append(&mut wal, &[Owned::Preamble(vec![5; 70])]).unwrap());
    for height in 1..=7 {
        let mut group = vec![record(height, rng.bytes(40)), record(height, vec![0; 1100])];
        group.push(record(height, rng.bytes(height as usize * 13)));
        group.truncate(1 + height as usize % 3);
        log.extend(append(&mut wal, &group).unwrap());
    }
    log.extend(append(&mut wal, &[Owned::Preamble(vec![6; 50])]).unwrap());
    idle(&mut wal);
    assert!(wal.segments() >= 3, "{}", wal.segments());
    (wal.into_disk(), log)
}

/// Opens; either all of `log` is there, or the report accounts for every record that is not.
fn check(disk: Memory, log: &Log, what: &str) -> Option<Report> {
    let before = image(&disk);
    let (mut disk, report) = match open(disk) {
        Ok((_, found, recovered)) => {
            assert_eq!(&recovered, log, "{what}: silently different");
            assert_eq!(found.preamble, Some(vec![6; 50]), "{what}");
            return None;
        }
        Err(refused) => {
            let Error::Corrupt(report) = refused.error else { panic!("{what}: {}", refused.error) };
            (refused.disk, *report)
        }
    };
    let mut saved = Log::new();
    let result = salvage(&mut disk, IDENTITY, Tag::ZERO, |record| {
        saved.push((record.lsn, Owned::of(&record)));
    });
    assert_eq!(result.unwrap().0.as_ref(), Some(&report), "{what}");
    assert_eq!(image(&disk), before, "{what}: touched");
    for entry in &saved {
        assert!(log.contains(entry), "{what}: {} was never written", entry.0);
    }
    for (lsn, _) in log.iter().filter(|entry| !saved.contains(entry)) {
        let named = report
            .damages
            .iter()
            .any(|damage| damage.first <= *lsn && damage.next.is_none_or(|next| next > *lsn));
        assert!(named, "{what}: {lsn} is lost without a word: {report:?}");
    }
    for damage in &report.damages {
        if let Some(next) = damage.next.filter(|_| damage.loses_records()) {
            for (lsn, _) in &saved {
                assert!(*lsn < damage.first || *lsn >= next, "{what}: {lsn} is not lost");
            }
        }
    }
    Some(report)
}

#[test]
fn every_bit_of_every_byte_of_every_segment() {
    let (disk, log) = sample();
    assert!(check(disk.clone(), &log, "sound").is_none());
    let (mut harmless, mut reported) = (0, 0);
    for file in segments(&disk) {
        let bytes = disk.bytes(&file).unwrap();
        for (offset, byte) in bytes.iter().enumerate() {
            for bit in 0..8 {
                let mut disk = disk.clone();
                disk.overwrite(&file, offset as u64, &[byte ^ 1 << bit]);
                let what = format!("{file}, byte {offset}, bit {bit}");
                match check(disk, &log, &what) {
                    None => harmless += 1,
                    Some(report) => {
                        reported += 1;
                        assert_eq!(report.damages[0].file, file, "{what}");
                        assert_eq!(report.damages.len(), 1, "{what}: {report:?}");
                        let damage = &report.damages[0];
                        let end = damage.offset + damage.bytes.max(1);
                        let near = (damage.offset..end).contains(&(offset as u64));
                        let in_header = matches!(damage.fault, Fault::Header { .. });
                        assert!(near || in_header, "{what}: {damage}");
                    }
                }
            }
        }
    }
    // Only the zeros that the next group would overwrite are nobody's loss.
    assert!(reported > 4 * harmless, "{reported} reported, {harmless} harmless");
}

#[test]
fn every_bit_of_a_last_group_that_nothing_covers_yet() {
    let (mut wal, ..) = open(Memory::new(2)).unwrap();
    let mut log = append(&mut wal, &[Owned::Preamble(vec![6; 50])]).unwrap();
    // Blank payloads are what a lost sector looks like; the mask tells them apart.
    let group = [record(1, vec![0; 1500]), record(1, vec![1; 100])];
    log.extend(append(&mut wal, &group).unwrap());
    let disk = wal.into_disk();
    let file = &segments(&disk)[0];
    let bytes = disk.bytes(file).unwrap();
    for (offset, byte) in bytes.iter().enumerate() {
        for bit in 0..8 {
            let mut disk = disk.clone();
            disk.overwrite(file, offset as u64, &[byte ^ 1 << bit]);
            check(disk, &log, &format!("byte {offset}, bit {bit}"));
        }
    }
}

#[test]
fn every_sector_zeroed_or_filled_or_exchanged() {
    let (disk, log) = sample();
    let mut reported = 0;
    for file in segments(&disk) {
        let bytes = disk.bytes(&file).unwrap();
        for sector in (0..bytes.len()).step_by(512) {
            let old = &bytes[sector..sector + 512];
            let stale = &bytes[(sector + 1536) % bytes.len()..][..512];
            for new in [[0; 512].as_slice(), &[0xFF; 512], stale] {
                let mut disk = disk.clone();
                disk.overwrite(&file, sector as u64, new);
                let report = check(disk, &log, &format!("{file}, sector {sector}"));
                // The last mark is the one thing whose absence nobody notices, nor misses.
                reported += usize::from(report.is_some() && old != new);
            }
        }
    }
    assert!(reported > 50, "{reported}");
}

#[test]
fn every_sector_unreadable() {
    let (disk, log) = sample();
    for file in segments(&disk) {
        for sector in (0..disk.bytes(&file).unwrap().len()).step_by(512) {
            let mut disk = disk.clone();
            disk.break_sector(&file, sector as u64);
            let what = format!("{file}, sector {sector}");
            let report = check(disk, &log, &what).expect(&what);
            let named = |fault: Fault| {
                let Fault::Unreadable { offset, bytes } = fault else { return false };
                (offset..offset + bytes).contains(&(sector as u64))
            };
            let told = report.damages.iter().any(|it| it.file == file && named(it.fault));
            assert!(told, "{what}: {report:?}");
        }
    }
}

#[test]
fn a_last_group_of_which_a_sector_is_unreadable_is_never_torn() {
    let (mut wal, ..) = open(Memory::new(3)).unwrap();
    let mut log = append(&mut wal, &[Owned::Preamble(vec![6; 50])]).unwrap();
    idle(&mut wal);
    let file = segments(wal.disk())[0].clone();
    let used = |disk: &Memory| {
        let bytes = disk.bytes(&file).unwrap();
        (bytes.iter().rposition(|byte| *byte != 0).unwrap() / 512 + 1) * 512
    };
    let begin = used(wal.disk()) as u64;
    log.extend(append(&mut wal, &[record(1, vec![3; 900]), record(2, vec![4; 900])]).unwrap());
    let disk = wal.into_disk();
    let end = used(&disk) as u64;
    let sectors = (end - begin) / 512;
    assert_eq!(sectors, 4);
    for lost in 0..1_u32 << sectors {
        // A state that a crash leaves.
        let mut torn = disk.clone();
        for sector in (0..sectors).filter(|sector| lost >> sector & 1 == 1) {
            torn.overwrite(&file, begin + sector * 512, &[0; 512]);
        }
        assert!(open(torn.clone()).is_ok());
        // Also behind it, where nothing was written yet as far as anybody can tell.
        for sector in 0..sectors + 2 {
            let mut disk = torn.clone();
            disk.break_sector(&file, begin + sector * 512);
            let what = format!("{lost:04b} lost, {sector} unreadable");
            let report = check(disk, &log, &what).expect(&what);
            let is_unreadable = |fault| matches!(fault, Fault::Unreadable { .. });
            assert!(report.damages.iter().any(|it| is_unreadable(it.fault)), "{what}: {report:?}");
        }
    }
}

#[test]
fn what_was_unreadable_is_written_anew_beside_it() {
    let (disk, log) = sample();
    for file in segments(&disk) {
        let mut disk = disk.clone();
        disk.break_sector(&file, 2048);
        let mut saved = Log::new();
        salvage(&mut disk, IDENTITY, Tag::ZERO, |record| {
            saved.push((record.lsn, Owned::of(&record)));
        })
        .unwrap();
        assert!(saved.len() < log.len());
        let mut rebuild = Rebuild::begin(disk, IDENTITY, options()).unwrap();
        for (_, entry) in &log {
            rebuild.push(entry.entry()).unwrap();
        }
        let (_, found, recovered) = open(rebuild.finish().unwrap().into_disk()).unwrap();
        assert_eq!((recovered, found.torn), (log.clone(), None));
    }
}

#[test]
fn every_file_cut_at_every_byte() {
    let (disk, log) = sample();
    for file in segments(&disk) {
        let bytes = disk.bytes(&file).unwrap();
        for length in 0..bytes.len() {
            let mut disk = disk.clone();
            disk.put_file(&file, &bytes[..length]);
            let what = format!("{file} cut at {length}");
            assert!(check(disk, &log, &what).is_some(), "{what}");
        }
    }
}

#[test]
fn the_last_write_cut_at_every_byte() {
    let (mut wal, ..) = open(Memory::new(3)).unwrap();
    let first = append(&mut wal, &[Owned::Preamble(vec![6; 50]), record(1, vec![2; 900])]).unwrap();
    idle(&mut wal);
    let before = wal.disk().clone();
    let mut log = first.clone();
    log.extend(append(&mut wal, &[record(2, vec![3; 700]), record(3, vec![4; 700])]).unwrap());
    let after = wal.into_disk();
    let file = segments(&after)[0].clone();
    let (old, new) = (before.bytes(&file).unwrap(), after.bytes(&file).unwrap());
    for cut in 0..new.len() {
        let mut disk = after.clone();
        disk.overwrite(&file, cut as u64, &old[cut..]);
        let what = format!("cut at {cut}");
        match open(disk.clone()) {
            Ok((_, found, recovered)) if recovered == first => {
                assert!(cut % 512 == 0 || found.torn.is_none() || old[cut..] != new[cut..]);
            }
            Ok((_, _, recovered)) => assert_eq!(recovered, log, "{what}"),
            Err(_) => {
                // Disks do not tear sectors; if one did, it would be called damage, not silence.
                assert!(!cut.is_multiple_of(512), "{what}");
                check(disk, &log, &what);
            }
        }
    }
}

#[test]
fn every_file_missing_or_another_ones_copy() {
    let (disk, log) = sample();
    let files = segments(&disk);
    for file in &files {
        let mut gone = disk.clone();
        gone.lose_file(file);
        let report = check(gone, &log, &format!("{file} missing"));
        let fault = report.unwrap().damages[0].fault;
        assert!(matches!(fault, Fault::Missing { .. }), "{file}: {fault}");
        for other in files.iter().filter(|other| *other != file) {
            let mut copied = disk.clone();
            copied.put_file(file, &disk.bytes(other).unwrap());
            let what = format!("{file} is a copy of {other}");
            assert!(check(copied, &log, &what).is_some(), "{what}");
        }
    }
    let mut empty = disk.clone();
    files.iter().for_each(|file| empty.lose_file(file));
    assert!(common::open_with(empty.clone(), options(), 7).is_err());
    assert!(common::open_with(empty, options(), 0).is_ok());
}

#[test]
fn a_tail_below_the_floor_is_damage_however_it_looks() {
    let (mut wal, ..) = open(Memory::new(3)).unwrap();
    append(&mut wal, &[record(1, vec![2; 900])]).unwrap();
    append(&mut wal, &[record(2, vec![3; 700])]).unwrap();
    let mut disk = wal.into_disk();
    let file = segments(&disk)[0].clone();
    let bytes = disk.bytes(&file).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 512 * 512;
    disk.overwrite(&file, end as u64, &[0; 512]);
    // No one can tell this lost write from a torn one, except the store that has applied it.
    let (_, found, log) = open(disk.clone()).unwrap();
    assert_eq!((log.len(), found.torn.is_some()), (1, true));
    let refused = common::open_with(disk, options(), 2).unwrap_err();
    let Error::Corrupt(report) = refused.error else { panic!("{}", refused.error) };
    let floor = Tag { term: 0, height: 2 };
    let rank = Tag { term: 3, height: 1 };
    assert_eq!(report.damages[0].fault, Fault::BelowFloor { floor, rank, height: 1 });
}

/// Records with these tags, each a group of its own; all but the last marked; then the first
/// sector of the last one lost after it was synced. Whether it opens with this floor, and if not,
/// the fault.
fn lose_the_last(tags: &[(u64, u64)], prune: Option<u64>, floor: (u64, u64)) -> Option<Fault> {
    let tags = tags.iter().map(|(term, height)| Tag { term: *term, height: *height });
    let entries: Vec<Owned> = tags
        .map(|tag| Owned::Record { kind: 1, tag, payload: vec![tag.term as u8; 900] })
        .collect();
    let (last, before) = entries.split_last().unwrap();
    let (mut wal, ..) = open(Memory::new(3)).unwrap();
    for entry in before {
        append(&mut wal, std::slice::from_ref(entry)).unwrap();
    }
    if let Some(below) = prune {
        assert!(wal.prune(below).unwrap() > 0);
    }
    idle(&mut wal);
    let sound = wal.disk().clone();
    append(&mut wal, std::slice::from_ref(last)).unwrap();
    let mut disk = wal.into_disk();
    let file = segments(&disk).pop().unwrap();
    let (old, new) = (sound.bytes(&file), disk.bytes(&file).unwrap());
    let at = match old {
        Some(old) => (0..new.len()).find(|at| old[*at] != new[*at]).unwrap(),
        None => 1024,
    };
    assert_eq!(new[at..at + 4], *b"QREC");
    disk.overwrite(&file, at as u64, &[0; 512]);
    assert!(open(disk.clone()).unwrap().1.torn.is_some());
    let floor = Tag { term: floor.0, height: floor.1 };
    match quorate_wal::Wal::open(disk, IDENTITY, options(), floor, |_| {}) {
        Ok((_, found)) => {
            assert!(found.torn.is_some());
            None
        }
        Err(refused) => {
            let Error::Corrupt(report) = refused.error else { panic!("{}", refused.error) };
            assert_eq!(report.damages.len(), 1);
            Some(report.damages[0].fault)
        }
    }
}

#[test]
fn a_height_written_again_in_a_later_term_is_below_the_floor_if_only_the_earlier_one_is_left() {
    let (floor, rank) = (Tag { term: 5, height: 10 }, Tag { term: 3, height: 10 });
    let fault = Some(Fault::BelowFloor { floor, rank, height: 10 });
    assert_eq!(lose_the_last(&[(3, 9), (3, 10), (5, 10)], None, (5, 10)), fault);
    // A later term at a lower height, too: what was cut off had been higher.
    let floor = Tag { term: 5, height: 9 };
    let fault = Some(Fault::BelowFloor { floor, rank, height: 10 });
    assert_eq!(lose_the_last(&[(3, 9), (3, 10), (5, 9)], None, (5, 9)), fault);
    // What the store had not applied is torn as ever, and a floor without a term asks less.
    assert_eq!(lose_the_last(&[(3, 9), (3, 10), (5, 10)], None, (3, 10)), None);
    assert_eq!(lose_the_last(&[(3, 9), (3, 10), (5, 10)], None, (0, 10)), None);
    // A later term alone does not reach the floor: its height must have been reached as well.
    let (floor, rank) = (Tag { term: 3, height: 10 }, Tag { term: 5, height: 0 });
    let fault = Some(Fault::BelowFloor { floor, rank, height: 9 });
    assert_eq!(lose_the_last(&[(3, 9), (5, 0), (3, 10)], None, (3, 10)), fault);
}

#[test]
fn the_rank_outlives_the_segment_that_it_was_reached_in() {
    // The records of term 5 are pruned; those after them have less.
    let mut tags: Vec<(u64, u64)> = (1..=10).map(|height| (5, height)).collect();
    tags.extend((1..=12).map(|height| (3, 10 + height)));
    tags.push((3, 23));
    assert_eq!(lose_the_last(&tags, Some(11), (5, 10)), None);
    let (floor, rank) = (Tag { term: 6, height: 10 }, Tag { term: 5, height: 10 });
    let fault = Some(Fault::BelowFloor { floor, rank, height: 22 });
    assert_eq!(lose_the_last(&tags, Some(11), (6, 10)), fault);
}

#[test]
fn an_old_group_in_the_place_of_a_newer_one_is_a_ghost() {
    // Two lives that differ after the first record, on disks with the same salts.
    let life = |fill: u8| {
        let (mut wal, ..) = open(Memory::new(3)).unwrap();
        let mut log = append(&mut wal, &[Owned::Preamble(vec![6; 50])]).unwrap();
        log.extend(append(&mut wal, &[record(1, vec![fill; 300])]).unwrap());
        log.extend(append(&mut wal, &[record(2, vec![9; 300])]).unwrap());
        log.extend(append(&mut wal, &[record(3, vec![fill; 300])]).unwrap());
        idle(&mut wal);
        (wal.into_disk(), log)
    };
    let (disk, log) = life(1);
    let (ghost, _) = life(2);
    let file = segments(&disk)[0].clone();
    let old = ghost.bytes(&file).unwrap();
    let mut reported = 0;
    for sector in (0..old.len()).step_by(512) {
        let mut mixed = disk.clone();
        mixed.overwrite(&file, sector as u64, &old[sector..sector + 512]);
        let before = mixed.bytes(&file);
        match open(mixed) {
            Ok((_, _, recovered)) => assert_eq!(recovered, log, "sector {sector}"),
            Err(refused) => {
                assert!(matches!(refused.error, Error::Corrupt(_)));
                assert_eq!(refused.disk.bytes(&file), before);
                reported += 1;
            }
        }
    }
    assert!(reported >= 3, "{reported}");
}

#[test]
fn a_wrong_identity_and_another_version_are_refused_as_what_they_are() {
    let (disk, _) = sample();
    let opened = quorate_wal::Wal::open(disk.clone(), b"other", options(), Tag::ZERO, |_| {});
    assert!(matches!(opened.unwrap_err().error, Error::WrongIdentity { .. }));
    let file = segments(&disk)[0].clone();
    let mut other = disk.clone();
    let mut bytes = disk.bytes(&file).unwrap();
    for copy in [0, 512] {
        bytes[copy + 8] = 2;
        bytes[copy + 116] ^= 1;
    }
    other.put_file(&file, &bytes);
    let error = open(other).unwrap_err().error;
    assert!(matches!(error, Error::UnknownVersion { expected: 1, found: 2, .. }), "{error}");
}
