//! The power goes out between any two disk operations; what was confirmed is there, whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::sync::{Arc, Mutex};

use common::{IDENTITY, Log, Owned, Rng, append, image, open, open_with, options};
use quorate_wal::{Error, Lsn, Memory, Operation, Options, Step, Verdict, Wal};

/// What must be there, what may be, and what may be gone.
#[derive(Clone, Default)]
struct Oracle {
    durable: Log,
    in_flight: Vec<Owned>,
    pruned_below: u64,
    height: u64,
}

fn random_group(rng: &mut Rng, options: &Options, oracle: &mut Oracle) -> Vec<Owned> {
    let count = 1 + rng.below(3);
    let mut room = options.max_group;
    let mut group = Vec::new();
    for _ in 0..count {
        let is_preamble = rng.below(6) == 0;
        let most = match rng.below(3) {
            _ if is_preamble => options.max_preamble * 2 / 3,
            0 => options.max_record * 2 / 3,
            _ => 90,
        };
        let length = rng.below(most as u64) as usize;
        let Some(left) = room.checked_sub(Options::group_bytes(length)) else { break };
        room = left;
        group.push(if is_preamble {
            Owned::Preamble(rng.bytes(length))
        } else {
            oracle.height += u64::from(rng.below(5) != 0);
            common::record(oracle.height, rng.bytes(length))
        });
    }
    group
}

fn step(
    wal: &mut Wal<Memory>,
    rng: &mut Rng,
    options: &Options,
    oracle: &mut Oracle,
) -> Result<(), Error> {
    match rng.below(10) {
        0..=5 => {
            let group = random_group(rng, options, oracle);
            oracle.in_flight = group.clone();
            let done = append(wal, &group)?;
            oracle.in_flight.clear();
            oracle.durable.extend(done);
        }
        6 => {
            let below = oracle.height.saturating_sub(rng.below(6));
            oracle.pruned_below = oracle.pruned_below.max(below);
            wal.prune(below)?;
        }
        _ => {
            for _ in 0..=rng.below(4) {
                wal.idle_work()?;
            }
        }
    }
    Ok(())
}

/// Opens, compares with the oracle, and makes the oracle agree where it left a choice.
fn check(disk: Memory, oracle: &mut Oracle, what: &str) -> Wal<Memory> {
    let (wal, found, log) = open(disk).unwrap_or_else(|refused| panic!("{what}: {refused}"));
    agree(&found.preamble, &log, oracle, what);
    assert_eq!(found.durable, log.last().map_or(found.durable, |(lsn, _)| *lsn), "{what}");
    wal
}

fn agree(preamble: &Option<Vec<u8>>, log: &Log, oracle: &mut Oracle, what: &str) {
    let mut expected = oracle.durable.clone();
    let next = expected.last().map_or(Lsn::new(1), |(lsn, _)| lsn.next());
    let whole: Log = (next.get()..).map(Lsn::new).zip(oracle.in_flight.clone()).collect();
    let has_more = log.last().is_some_and(|(lsn, _)| *lsn >= next);
    if has_more {
        expected.extend(whole);
    }
    let missing = expected.len().checked_sub(log.len());
    let missing = missing.unwrap_or_else(|| panic!("{what}: more than was ever written"));
    assert_eq!(&expected[missing..], log.as_slice(), "{what}");
    for (lsn, gone) in &expected[..missing] {
        assert!(gone.height() < oracle.pruned_below, "{what}: {lsn} is gone");
    }
    let newest = expected.iter().rev().find_map(|(_, entry)| match entry {
        Owned::Preamble(bytes) => Some(bytes),
        Owned::Record { .. } => None,
    });
    assert_eq!(newest, preamble.as_ref(), "{what}: preamble");
    oracle.durable = expected;
    oracle.in_flight.clear();
}

fn crash_at(disk: &mut Memory, index: u64) {
    disk.set_hook(Some(Arc::new(Mutex::new(move |step: &Step<'_>| {
        if step.index >= index { Verdict::Crash } else { Verdict::Proceed }
    }))));
}

/// Runs a workload until it ends or the power does.
fn life(disk: Memory, seed: u64, steps: usize, oracle: &mut Oracle) -> (Memory, bool) {
    life_with(options(), disk, seed, steps, oracle)
}

fn life_with(
    options: Options,
    disk: Memory,
    seed: u64,
    steps: usize,
    oracle: &mut Oracle,
) -> (Memory, bool) {
    let mut rng = Rng(seed);
    let (mut wal, found, log) = match open_with(disk, options, 0) {
        Ok(opened) => opened,
        Err(refused) => {
            assert!(matches!(refused.error, Error::Disk { .. }), "{}", refused.error);
            return (refused.disk, false);
        }
    };
    agree(&found.preamble, &log, oracle, "start of a life");
    for _ in 0..steps {
        if step(&mut wal, &mut rng, &options, oracle).is_err() {
            assert!(matches!(
                wal.push(Owned::Preamble(vec![]).entry()),
                Err(Error::Poisoned { .. })
            ));
            return (wal.into_disk(), false);
        }
    }
    (wal.into_disk(), true)
}

/// All subsets if there are few, else none, all, each prefix and some random ones.
fn choices(count: usize, rng: &mut Rng) -> Vec<Vec<bool>> {
    if count <= 5 {
        return (0..1u32 << count)
            .map(|bits| (0..count).map(|index| bits >> index & 1 == 1).collect())
            .collect();
    }
    let mut all: Vec<Vec<bool>> = [0, 1, count / 2, count - 1, count]
        .iter()
        .map(|prefix| (0..count).map(|index| index < *prefix).collect())
        .collect();
    for _ in 0..6 {
        let density = rng.below(4);
        all.push((0..count).map(|_| rng.below(4) <= density).collect());
    }
    all
}

#[test]
fn at_every_operation_with_every_subset_of_what_was_not_synced() {
    for seed in 0..12 {
        let (disk, ended) = life(Memory::new(seed), seed, 26, &mut Oracle::default());
        assert!(ended);
        for index in 0..disk.operations() {
            let mut disk = Memory::new(seed);
            crash_at(&mut disk, index);
            let mut oracle = Oracle::default();
            let (disk, _) = life(disk, seed, 26, &mut oracle);
            let mut rng = Rng(index ^ seed << 32);
            for keep in choices(disk.unsynced().len(), &mut rng) {
                let what = format!("seed {seed}, operation {index}, keeping {keep:?}");
                let mut disk = disk.clone();
                disk.set_hook(None);
                let mut kept = keep.iter();
                disk.crash(|_| *kept.next().unwrap());
                let mut oracle = oracle.clone();
                let mut wal = check(disk, &mut oracle, &what);
                let more = append(&mut wal, &[common::record(oracle.height + 1, vec![7; 700])]);
                oracle.durable.extend(more.unwrap());
                check(wal.into_disk(), &mut oracle, &what);
            }
        }
    }
}

/// Many lives, each ended by a crash, in recovery too; each starts with options of its own.
fn lives(seed: u64, choose: impl Fn(&mut Rng) -> Options) {
    let mut rng = Rng(seed);
    let mut oracle = Oracle::default();
    let mut disk = Memory::new(seed);
    for _ in 0..25 {
        let index = disk.operations() + rng.below(90);
        crash_at(&mut disk, index);
        let options = choose(&mut rng);
        let (mut after, _) = life_with(options, disk, rng.next(), 20, &mut oracle);
        after.set_hook(None);
        if rng.below(4) == 0 {
            after.restart();
        } else {
            let density = rng.below(5);
            after.crash(|_| rng.below(4) < density);
        }
        disk = after;
    }
    check(disk, &mut oracle, &format!("seed {seed}"));
}

#[test]
fn many_lives_in_a_row_with_crashes_in_recovery_too() {
    (0..150).for_each(|seed| lives(seed, |_| options()));
}

/// Sizes and limits that have little to do with each other.
fn any_options(rng: &mut Rng) -> Options {
    let align = 512 << rng.below(4);
    let max_record = [200, 900, 2000, 20_000][rng.below(4) as usize];
    let group = [max_record, 2 * max_record, 3 * max_record, 40_000][rng.below(4) as usize];
    Options {
        segment: align as u64 * [8, 9, 16, 40][rng.below(4) as usize],
        align,
        max_record,
        max_group: Options::group_bytes(group),
        max_preamble: [60, 200][rng.below(2) as usize],
        spares: rng.below(3) as usize,
    }
}

#[test]
fn many_lives_in_a_row_each_with_other_options() {
    (0..300).for_each(|seed| lives(seed, any_options));
}

#[test]
fn a_group_longer_than_the_start_before_allowed_is_torn_by_a_crash_not_damaged() {
    let small = Options { segment: 64 << 10, max_record: 1900, max_group: 2 << 10, ..options() };
    let large = Options { max_record: 20_000, max_group: 64 << 10, ..small };
    let (mut wal, ..) = open_with(Memory::new(1), small, 0).unwrap();
    let mut oracle = Oracle::default();
    oracle.durable.extend(append(&mut wal, &[common::record(1, vec![1; 600])]).unwrap());
    let disk = open_with(wal.into_disk(), large, 0).unwrap().0.into_disk();
    oracle.in_flight = vec![common::record(2, vec![2; 20_000])];
    let mut rng = Rng(1);
    // The power goes out at each operation in turn, of the opening, then of the commit.
    for index in disk.operations().. {
        let mut disk = disk.clone();
        crash_at(&mut disk, index);
        let (disk, ended) = match open_with(disk, large, 0) {
            Err(refused) => (refused.disk, false),
            Ok((mut wal, ..)) => {
                let done = append(&mut wal, &oracle.in_flight);
                (wal.into_disk(), done.is_ok())
            }
        };
        for keep in choices(disk.unsynced().len(), &mut rng) {
            let mut disk = disk.clone();
            disk.set_hook(None);
            let mut kept = keep.iter();
            disk.crash(|_| *kept.next().unwrap());
            check(disk, &mut oracle.clone(), &format!("operation {index}, keeping {keep:?}"));
        }
        if ended {
            break;
        }
    }
}

#[test]
fn a_sync_that_fails_is_never_tried_again_and_what_the_cache_shows_is_written_again() {
    let (mut wal, ..) = open(Memory::new(1)).unwrap();
    let mut oracle = Oracle::default();
    oracle.durable.extend(append(&mut wal, &[common::record(1, vec![1; 600])]).unwrap());
    let mut disk = wal.into_disk();
    let armed = Arc::new(Mutex::new(false));
    let trigger = Arc::clone(&armed);
    disk.set_hook(Some(Arc::new(Mutex::new(move |step: &Step<'_>| {
        let fail = *trigger.lock().unwrap() && step.operation == Operation::Sync;
        if fail { Verdict::Fail(std::io::ErrorKind::Other) } else { Verdict::Proceed }
    }))));
    let mut wal = check(disk, &mut oracle, "before");
    *armed.lock().unwrap() = true;
    oracle.in_flight = vec![common::record(2, vec![2; 600])];
    let group = oracle.in_flight.clone();
    assert!(matches!(append(&mut wal, &group), Err(Error::Disk { .. })));
    *armed.lock().unwrap() = false;
    assert!(matches!(wal.commit(), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.idle_work(), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.prune(9), Err(Error::Poisoned { .. })));

    // The process starts anew, the power never failed: the cache shows the group.
    let mut disk = wal.into_disk();
    disk.restart();
    let wal = check(disk, &mut oracle, "restart");
    assert_eq!(oracle.durable.len(), 2);
    let mut disk = wal.into_disk();
    disk.crash(|_| false);
    check(disk, &mut oracle, "power cut after the restart");
}

#[test]
fn a_mark_that_only_the_cache_shows_is_written_again_before_anything_follows_it() {
    let mut oracle = Oracle::default();
    // The second sync after the start is that of the mark.
    let mut disk = Memory::new(1);
    let (wal, ..) = open(disk.clone()).unwrap();
    let start = wal.disk().operations();
    let mut syncs = 0;
    disk.set_hook(Some(Arc::new(Mutex::new(move |step: &Step<'_>| {
        syncs += u64::from(step.index >= start && step.operation == Operation::Sync);
        if syncs == 2 { Verdict::Fail(std::io::ErrorKind::Other) } else { Verdict::Proceed }
    }))));
    let (mut wal, ..) = open(disk).unwrap();
    oracle.durable.extend(append(&mut wal, &[common::record(1, vec![1; 600])]).unwrap());
    assert!(matches!(wal.idle_work(), Err(Error::Disk { operation: Operation::Write, .. })));
    let mut disk = wal.into_disk();
    disk.set_hook(None);
    disk.restart();
    let mut wal = check(disk, &mut oracle, "restart");
    oracle.durable.extend(append(&mut wal, &[common::record(2, vec![2; 600])]).unwrap());
    let mut disk = wal.into_disk();
    disk.crash(|_| false);
    check(disk, &mut oracle, "power cut after the restart");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || life(Memory::new(5), 5, 40, &mut Oracle::default()).0;
    assert_eq!(image(&run()), image(&run()));
    assert_eq!(options().align, 512);
    assert!(!IDENTITY.is_empty());
}
