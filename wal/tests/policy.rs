//! Space, pruning, limits, rebuilds, inspection, and faults while running.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use common::{
    IDENTITY, Log, Owned, append, idle, image, open, open_with, options, record, segments,
};
use quorate_wal::{
    Disk, Entry, Error, Fault, File, Lsn, Memory, Operation, Rebuild, RecordKind, Space, Step, Tag,
    Verdict, Wal, inspect, salvage,
};

fn fill(wal: &mut Wal<Memory>, heights: std::ops::Range<u64>) -> Log {
    heights.flat_map(|height| append(wal, &[record(height, vec![8; 900])]).unwrap()).collect()
}

#[test]
fn a_full_disk_is_told_early_and_recovers_by_itself() {
    let mut disk = Memory::new(1);
    disk.set_capacity(Some(4 * 6144));
    let shared = Arc::new(Mutex::new(disk));
    let (mut wal, ..) = open(Arc::clone(&shared)).unwrap();
    assert_eq!(wal.space(), Space::Ok);
    let mut seen = Vec::new();
    let mut height = 0;
    let error = loop {
        while wal.idle_work().unwrap() {}
        seen.push(wal.space());
        height += 1;
        if let Err(error) = append(&mut wal, &[record(height, vec![1; 900])]) {
            break error;
        }
        assert!(height < 50);
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    seen.dedup();
    assert_eq!(seen, [Space::Ok, Space::Low, Space::Reserve]);

    // Nothing is lost, the group is still staged; a prune is possible, and then all is well.
    let durable = wal.durable();
    assert!(matches!(wal.commit(), Err(Error::NoSpace { .. })));
    assert!(wal.prune(height - 4).unwrap() > 0);
    assert_eq!(wal.commit().unwrap()[0].lsn, durable.next());
    wal.prune(height).unwrap();
    while wal.idle_work().unwrap() {}
    shared.lock().unwrap().set_capacity(None);
    while wal.idle_work().unwrap() {}
    assert_eq!(wal.space(), Space::Ok);
    drop(wal);
    let (_, found, _) = open_with(shared, options(), height).unwrap();
    assert_eq!(found.durable, durable.next());
}

#[test]
fn pruning_keeps_the_last_segment_the_preamble_and_every_record_at_or_above() {
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    append(&mut wal, &[Owned::Preamble(b"ballot".to_vec())]).unwrap();
    let log = fill(&mut wal, 1..40);
    let before = wal.segments();
    let dropped = wal.prune(20).unwrap();
    assert!(dropped > 2 && wal.segments() == before - dropped);
    let (mut wal, found, kept) = open(wal.into_disk()).unwrap();
    assert_eq!(found.preamble.as_deref(), Some(b"ballot".as_slice()));
    assert!(log[19..].iter().all(|entry| kept.contains(entry)));
    assert!(!kept.contains(&log[0]));
    wal.prune(u64::MAX).unwrap();
    assert_eq!(wal.segments(), 1);
    let (wal, found, _) = open_with(wal.into_disk(), options(), 39).unwrap();
    assert_eq!(found.preamble.as_deref(), Some(b"ballot".as_slice()));
    assert_eq!((found.highest, wal.durable()), (39, Lsn::new(40)));
}

#[test]
fn the_same_height_twice_is_told_apart_by_its_number_and_tag() {
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    let tags = [Tag { term: 1, height: 5 }, Tag { term: 2, height: 5 }];
    let group = tags.map(|tag| Entry::Record { kind: 1, tag, payload: b"x" });
    let done = wal.append(&group).unwrap();
    assert_eq!([done[0].tag, done[1].tag], tags);
    assert_eq!((done[0].lsn, done[1].lsn), (Lsn::new(1), Lsn::new(2)));
}

#[test]
fn limits_are_checked_before_anything_is_staged() {
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    let big = record(1, vec![1; 2001]);
    assert!(matches!(wal.push(big.entry()), Err(Error::TooLarge { bytes: 2001, limit: 2000 })));
    let half = record(1, vec![1; 2000]);
    wal.push(half.entry()).unwrap();
    wal.push(half.entry()).unwrap();
    assert!(!wal.fits(100));
    assert!(matches!(wal.push(half.entry()), Err(Error::GroupFull { .. })));
    assert_eq!(wal.commit().unwrap().len(), 2);
    let bad = quorate_wal::Options { align: 100, ..options() };
    assert!(matches!(
        open_with(Memory::new(1), bad, 0).unwrap_err().error,
        Error::Options { option: "align", .. }
    ));
    let long = Wal::open(Memory::new(1), &[0; 65], options(), Tag::ZERO, |_| {});
    assert!(matches!(long.unwrap_err().error, Error::Options { option: "identity", .. }));
}

#[test]
fn a_group_longer_than_a_segment_gets_one_of_its_own() {
    let large = quorate_wal::Options { max_record: 30_000, max_group: 40_000, ..options() };
    let (mut wal, ..) = open_with(Memory::new(1), large, 0).unwrap();
    let mut log = append(&mut wal, &[record(1, vec![3; 30_000])]).unwrap();
    log.extend(append(&mut wal, &[record(2, vec![4; 20])]).unwrap());
    log.extend(append(&mut wal, &[record(3, vec![0; 29_000])]).unwrap());
    // Smaller options later on: the log says itself what its writer was allowed.
    let (_, _, recovered) = open(wal.into_disk()).unwrap();
    assert_eq!(recovered, log);
}

fn break_in_the_middle() -> (Memory, Log, Log) {
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    let mut log = append(&mut wal, &[Owned::Preamble(b"ballot".to_vec())]).unwrap();
    log.extend(fill(&mut wal, 1..20));
    idle(&mut wal);
    let mut disk = wal.into_disk();
    let file = segments(&disk)[1].clone();
    disk.overwrite(&file, 1500, b"rot");
    let mut saved = Log::new();
    let (report, _) = salvage(&mut disk, IDENTITY, Tag::ZERO, |record| {
        saved.push((record.lsn, Owned::of(&record)));
    })
    .unwrap();
    assert_eq!(report.unwrap().damages.len(), 1);
    assert_eq!(saved.len(), log.len() - 1);
    (disk, log, saved)
}

#[test]
fn a_rebuild_crashed_anywhere_leaves_the_old_log_or_the_new_one() {
    let (disk, log, _) = break_in_the_middle();
    let entries = |log: &Log| log.iter().map(|(_, entry)| entry.clone()).collect::<Vec<_>>();
    let rebuild = |disk: Memory| {
        let mut rebuild = Rebuild::begin(disk, IDENTITY, options())?;
        for (_, entry) in &log {
            rebuild.push(entry.entry())?;
        }
        rebuild.finish()
    };
    let damaged = image(&disk);
    let start = disk.operations();
    let whole = rebuild(disk.clone()).unwrap();
    let end = whole.disk().operations();
    for index in start..=end {
        for mode in 0..8u64 {
            let shared = Arc::new(Mutex::new(disk.clone()));
            let hook = move |step: &Step<'_>| {
                if step.index >= index { Verdict::Crash } else { Verdict::Proceed }
            };
            shared.lock().unwrap().set_hook(Some(Arc::new(Mutex::new(hook))));
            let result = Rebuild::begin(Arc::clone(&shared), IDENTITY, options());
            let result = result.and_then(|mut rebuild| {
                for (_, entry) in &log {
                    rebuild.push(entry.entry())?;
                }
                rebuild.finish()
            });
            assert_eq!(result.is_ok(), index == end);
            drop(result);
            let mut after = shared.lock().unwrap().clone();
            after.set_hook(None);
            let mut rng = common::Rng(index << 8 | mode);
            after.crash(|_| match mode {
                0 => false,
                1 => true,
                _ => rng.below(2) == 0,
            });
            let what = format!("operation {index}, mode {mode}");
            match open(after) {
                Ok((wal, found, recovered)) => {
                    assert_eq!(entries(&recovered), entries(&log), "{what}");
                    assert_eq!(found.preamble.as_deref(), Some(b"ballot".as_slice()), "{what}");
                    let disk = wal.into_disk();
                    for (name, bytes) in damaged.iter().filter(|(name, _)| name.ends_with("wal")) {
                        let aside = disk.bytes(&name.replace("wal", "damaged"));
                        assert_eq!(aside.as_ref(), Some(bytes), "{what}: {name}");
                    }
                }
                Err(refused) => {
                    assert!(index < end, "{what}");
                    assert!(matches!(refused.error, Error::Corrupt(_)), "{what}: {refused}");
                    for (name, bytes) in damaged.iter().filter(|(name, _)| name.ends_with("wal")) {
                        let old = refused.disk.bytes(name);
                        assert_eq!(old.as_ref(), Some(bytes), "{what}: {name}");
                    }
                    // And it can be tried again.
                    let wal = rebuild(refused.disk).unwrap();
                    let (_, _, recovered) = open(wal.into_disk()).unwrap();
                    assert_eq!(entries(&recovered), entries(&log), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_rebuilt_log_goes_on_and_can_be_rebuilt_again() {
    let (disk, _, saved) = break_in_the_middle();
    let mut disk = disk;
    for round in 0..3 {
        let mut rebuild = Rebuild::begin(disk, IDENTITY, options()).unwrap();
        for (_, entry) in &saved {
            rebuild.push(entry.entry()).unwrap();
        }
        let mut wal = rebuild.finish().unwrap();
        fill(&mut wal, 30..40);
        assert!(wal.prune(10).unwrap() > 0);
        let (wal, _, log) = open_with(wal.into_disk(), options(), 39).unwrap();
        assert_eq!(log.last().unwrap().1.height(), 39, "round {round}");
        disk = wal.into_disk();
    }
    let aside: BTreeSet<_> = disk.names().filter(|name| name.ends_with("damaged")).collect();
    assert!(aside.iter().any(|name| name.starts_with("00000001")));
    assert!(aside.iter().any(|name| name.starts_with("00000003")));
}

#[test]
fn inspection_lists_segments_records_and_damage() {
    let (disk, log, saved) = break_in_the_middle();
    let mut disk = disk;
    let before = image(&disk);
    let found = inspect(&mut disk).unwrap();
    assert_eq!(image(&disk), before);
    let records = found.segments.iter().flat_map(|segment| &segment.records);
    let callers = records
        .filter(|record| matches!(record.what, RecordKind::Record { .. } | RecordKind::Preamble));
    assert_eq!(callers.count(), saved.len());
    assert_eq!(found.segments[0].identity, IDENTITY);
    assert_eq!(found.segments[1].preamble, Some(6));
    assert_eq!(found.damages.len(), 1);
    let damage = &found.damages[0];
    assert!(matches!(damage.fault, Fault::Payload { .. }));
    let lost = log.iter().find(|entry| !saved.contains(entry)).unwrap();
    assert_eq!((damage.first, damage.next), (lost.0, Some(lost.0.next())));
    assert_eq!(damage.tag.unwrap().height, lost.1.height());
    assert_names_the_facts(&damage.to_string());
}

/// The sentence an operator reads names the file, the place, the loss and its tag.
fn assert_names_the_facts(sentence: &str) {
    for part in ["00000001-0000000000000002.wal", "offset ", "payload: checksum", "lost", "height"]
    {
        assert!(sentence.contains(part), "{part} in {sentence}");
    }
}

#[test]
fn writes_lost_or_misdirected_and_stale_reads_are_noticed_once_something_follows() {
    for verdict in [Verdict::Lose, Verdict::Misdirect(5632), Verdict::Misdirect(1024)] {
        let (mut wal, ..) = open(Memory::new(1)).unwrap();
        let mut log = append(&mut wal, &[record(1, vec![1; 300])]).unwrap();
        let mut disk = wal.into_disk();
        let mut armed = true;
        disk.set_hook(Some(Arc::new(Mutex::new(move |step: &Step<'_>| {
            let hit = step.operation == Operation::Write && step.bytes == 1024 && armed;
            armed &= !hit;
            if hit { verdict } else { Verdict::Proceed }
        }))));
        let (mut wal, ..) = open(disk).unwrap();
        log.extend(append(&mut wal, &[record(2, vec![2; 700])]).unwrap());
        log.extend(append(&mut wal, &[record(3, vec![3; 300])]).unwrap());
        let refused = open(wal.into_disk()).unwrap_err();
        let Error::Corrupt(report) = refused.error else { panic!("{}", refused.error) };
        assert!(report.damages.iter().any(|damage| damage.first <= Lsn::new(2)), "{report}");
    }
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    let log = append(&mut wal, &[record(1, vec![1; 300])]).unwrap();
    idle(&mut wal);
    let mut disk = wal.into_disk();
    // Reads show the segment as it was before its last sync, which wrote the mark: no record less.
    disk.set_hook(Some(Arc::new(Mutex::new(|step: &Step<'_>| {
        if step.operation == Operation::Read { Verdict::Stale } else { Verdict::Proceed }
    }))));
    assert_eq!(open(disk).unwrap().2, log);
}

#[test]
fn an_error_of_the_disk_is_an_error_at_every_operation() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        for index in 0..140 {
            let mut disk = Memory::new(1);
            disk.set_hook(Some(Arc::new(Mutex::new(move |step: &Step<'_>| {
                if step.index == index { Verdict::Fail(kind) } else { Verdict::Proceed }
            }))));
            let mut log = Log::new();
            let disk = match open(disk) {
                Err(refused) => refused.disk,
                Ok((mut wal, ..)) => {
                    for height in 1..14 {
                        let Ok(done) = append(&mut wal, &[record(height, vec![1; 900])]) else {
                            break;
                        };
                        log.extend(done);
                        let _ = wal.idle_work().and_then(|_| wal.prune(height.saturating_sub(9)));
                    }
                    wal.into_disk()
                }
            };
            let mut disk = disk;
            disk.set_hook(None);
            disk.crash(|_| false);
            let (_, _, recovered) = open(disk).unwrap();
            let below = log.last().map_or(0, |(_, last)| last.height().saturating_sub(9));
            for entry in log.iter().filter(|(_, entry)| entry.height() >= below) {
                assert!(recovered.contains(entry), "{kind}, operation {index}, {}", entry.0);
            }
        }
    }
}

#[test]
fn a_real_directory_works_the_same_and_admits_one_process() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("wal");
    for align in [512, 4096] {
        let path = path.join(align.to_string());
        std::fs::create_dir_all(&path).unwrap();
        let options =
            quorate_wal::Options { segment: 256 << 10, align, ..quorate_wal::Options::default() };
        let mut all = Log::new();
        for round in 0..3 {
            let disk = File::open(&path).unwrap();
            assert_eq!(File::open(&path).unwrap_err().kind(), ErrorKind::ResourceBusy);
            let (mut wal, found, log) = open_with(disk, options, round * 20).unwrap();
            assert_eq!(log, all, "round {round}");
            assert!(found.torn.is_none());
            for height in round * 20 + 1..=round * 20 + 20 {
                let payload = vec![height as u8; 3000 * height as usize % 90_000];
                all.extend(append(&mut wal, &[record(height, payload)]).unwrap());
                wal.idle_work().unwrap();
            }
        }
        let mut disk = File::read_only(&path).unwrap();
        assert!(inspect(&mut disk).unwrap().damages.is_empty());
        assert!(disk.create("x").is_err());
        assert!(disk.read("../x", 0, &mut []).is_err());
    }
}

#[test]
fn the_reserve_takes_a_group_of_any_size_that_a_segment_has_room_for() {
    for preamble in [0, 299, 300] {
        let usual = options().usual_group();
        let options =
            quorate_wal::Options { max_group: usual, max_record: usual - 64, ..options() };
        let (mut wal, ..) = open_with(Memory::new(1), options, 0).unwrap();
        append(&mut wal, &[Owned::Preamble(vec![1; preamble])]).unwrap();
        idle(&mut wal);
        let mut disk = wal.into_disk();
        let used = disk.names().map(|name| disk.bytes(name).unwrap().len() as u64).sum();
        disk.set_capacity(Some(used));
        let (mut wal, ..) = open_with(disk, options, 0).unwrap();
        for height in 1..=2 {
            append(&mut wal, &[record(height, vec![7; usual - 64])]).unwrap();
        }
        assert_eq!(wal.segments(), 3, "each spare took one");
        let full = append(&mut wal, &[record(3, vec![7; usual - 64])]);
        assert!(matches!(full, Err(Error::NoSpace { .. })));
    }
}

#[test]
fn a_spare_segment_that_is_not_zeros_is_not_taken() {
    let mut disk = Memory::new(1);
    let mut bytes = vec![0; options().segment as usize];
    bytes[3000..3100].fill(0xEE);
    disk.put_file("spare-00000001.zero", &bytes);
    disk.put_file("spare-00000002.zero", &bytes[..2048]);
    disk.put_file("spare-00000003.tmp", &bytes);
    let (mut wal, ..) = open(disk).unwrap();
    let log = fill(&mut wal, 1..20);
    let (_, found, recovered) = open(wal.into_disk()).unwrap();
    assert_eq!((recovered, found.torn), (log, None));
}
