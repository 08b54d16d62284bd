//! What the log costs over the bare disk: `cargo bench -p quorate-wal`, about a minute.
//!
//! Machines differ and neighbours are noisy, so every figure is a ratio to a bare cost measured in
//! the same minute: log and bare ways take turns in short rounds, in another order each round. Of
//! the rounds the median of each is taken, and the ratio of the medians; all that three times. What
//! is printed is the best of the three ratios (the one with least noise in it) and all of them. 1.0
//! would be free.
//!
//! A group commit is compared with the best bare way to write the same payload with the same
//! safety: a preallocated file of written zeros, one write and one sync for each payload, no synced
//! block written again. *Old bytes* is a bare write of a buffer that nobody has touched since the
//! last write; *new bytes* one of a buffer into which the payload was copied first, as it is in any
//! program that has something new to say. The log copies the payload and checksums it.
//!
//! Recovery is compared with reading the same files into one small buffer.
//!
//! The directory is a temporary one; `QUORATE_BENCH_DIR` names another.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark says so by panicking")]

use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_wal::{Entry, File, Options, Tag, Wal};

const BARE: u64 = 256 << 20;
const REPETITIONS: usize = 3;
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
const O_DIRECT: i32 = 0o200_000;
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm")))]
const O_DIRECT: i32 = 0o40_000;
const O_DSYNC: i32 = 0o10_000;

/// A preallocated file of zeros, written round and round.
struct Bare {
    file: fs::File,
    direct: bool,
    at: u64,
    storage: Vec<u8>,
    start: usize,
}

impl Bare {
    fn new(path: &Path, direct: bool) -> Option<Bare> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
        for at in (0..BARE).step_by(1 << 20) {
            file.write_all_at(&vec![0; 1 << 20], at).unwrap();
        }
        file.sync_all().unwrap();
        let flags = if direct { O_DIRECT | O_DSYNC } else { 0 };
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).ok()?;
        let storage = vec![0; (1 << 20) + 4096];
        let start = storage.as_ptr().align_offset(4096);
        Some(Bare { file, direct, at: 0, storage, start })
    }

    fn write(&mut self, payload: &[u8], new: bool) {
        self.at = if self.at + payload.len() as u64 > BARE { 0 } else { self.at };
        let bytes = &mut self.storage[self.start..self.start + payload.len()];
        if new {
            bytes.copy_from_slice(payload);
        }
        bytes[0] = bytes[0].wrapping_add(1);
        self.file.write_all_at(bytes, self.at).unwrap();
        if !self.direct {
            self.file.sync_data().unwrap();
        }
        self.at += bytes.len() as u64;
    }
}

fn time(mut work: impl FnMut(), count: usize) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| work());
    start.elapsed() / count as u32
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// Runs every way once a round, beginning with another one each time, and returns the medians.
fn rounds<const N: usize>(count: usize, mut run: impl FnMut(usize) -> Duration) -> [Duration; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..count {
        for turn in 0..N {
            let way = (round + turn) % N;
            times[way].push(run(way));
        }
    }
    times.map(median)
}

/// The best of the repetitions first.
fn ratios(mut all: Vec<f64>) -> String {
    all.sort_by(|a, b| b.total_cmp(a));
    let rest: Vec<String> = all.iter().map(|ratio| format!("{ratio:.2}")).collect();
    format!("{:.2} (of {})", all[0], rest.join(" "))
}

fn commits(home: &Path) {
    let disk = File::open(&home.join("log")).unwrap();
    let options = Options::default();
    let (mut wal, _) = Wal::open(disk, b"bench", options, Tag::ZERO, |_| {}).unwrap();
    let mut buffered = Bare::new(&home.join("buffered"), false).unwrap();
    // Where direct writes are refused, the buffered ones stand in for them.
    let mut direct = Bare::new(&home.join("direct"), true)
        .unwrap_or_else(|| Bare::new(&home.join("direct"), false).unwrap());
    let mut height = 0;
    for (bytes, count, rounds_each) in [(4 << 10, 60, 15), (64 << 10, 40, 15), (1 << 20, 12, 25)] {
        let payload: Vec<u8> = (0..bytes).map(|index| (index * 31 % 251) as u8).collect();
        let (mut old, mut new, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            let times: [Duration; 5] = rounds(rounds_each, |way| match way {
                0 => {
                    // Spares are made while idle, so not in the measured time.
                    while wal.idle_work().unwrap() {}
                    let append = || {
                        height += 1;
                        let tag = Tag { term: 1, height };
                        wal.append(&[Entry::Record { kind: 1, tag, payload: &payload }]).unwrap();
                    };
                    let took = time(append, count);
                    wal.prune(height).unwrap();
                    took
                }
                1 | 2 => time(|| buffered.write(&payload, way == 2), count),
                _ => time(|| direct.write(&payload, way == 4), count),
            });
            let best = |a: Duration, b: Duration| a.min(b).as_secs_f64() / times[0].as_secs_f64();
            old.push(best(times[1], times[3]));
            new.push(best(times[2], times[4]));
            shown.push(times);
        }
        println!("commit of {:4} KiB, ratio to the best bare write:", bytes >> 10);
        println!("    of old bytes {}", ratios(old));
        println!("    of new bytes {}", ratios(new));
        for [log, old, new, direct_old, direct_new] in shown {
            println!(
                "      log {log:.1?}; fdatasync, old {old:.1?}, new {new:.1?}; \
                 O_DIRECT|O_DSYNC, old {direct_old:.1?}, new {direct_new:.1?}"
            );
        }
    }
}

/// Writes a log of 17 segments and returns its files. Its groups go around the page cache, so a
/// first read of them is a cold one.
fn build(path: &Path, payload: usize) -> Vec<PathBuf> {
    let disk = File::open(path).unwrap();
    let (mut wal, _) = Wal::open(disk, b"bench", Options::default(), Tag::ZERO, |_| {}).unwrap();
    let bytes: Vec<u8> = (0..payload).map(|index| (index * 31 % 251) as u8).collect();
    let mut height = 0;
    while wal.segments() < 17 {
        for _ in 0..((1 << 20) / payload).clamp(1, 64) {
            height += 1;
            let tag = Tag { term: 1, height };
            wal.push(Entry::Record { kind: 1, tag, payload: &bytes }).unwrap();
        }
        wal.commit().unwrap();
    }
    while wal.idle_work().unwrap() {}
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|file| file.extension().is_some_and(|extension| extension == "wal")).collect()
}

fn read(files: &[PathBuf]) {
    let mut buffer = vec![0; 256 << 10];
    for file in files {
        let length = file.metadata().unwrap().len();
        let file = fs::File::open(file).unwrap();
        for at in (0..length).step_by(buffer.len()) {
            let want = buffer.len().min((length - at) as usize);
            file.read_exact_at(&mut buffer[..want], at).unwrap();
            // No pass over the bytes: the copy out of the kernel has touched each of them.
            black_box(&buffer);
        }
    }
}

fn salvage(path: &Path) {
    let mut disk = File::read_only(path).unwrap();
    let mut seen = 0u64;
    let visit = |record: quorate_wal::Record<'_>| seen += record.lsn.get() & 1;
    let (report, _) = quorate_wal::salvage(&mut disk, b"bench", Tag::ZERO, visit).unwrap();
    assert!(report.is_none());
    black_box(seen);
}

fn open(path: &Path) {
    let disk = File::open(path).unwrap();
    let mut seen = 0u64;
    let visit = |record: quorate_wal::Record<'_>| seen += record.lsn.get() & 1;
    black_box(Wal::open(disk, b"bench", Options::default(), Tag::ZERO, visit).unwrap().0);
    black_box(seen);
}

fn recovery(home: &Path, payload: usize) {
    let (path, other) = (home.join("recovery"), home.join("other"));
    let files = build(&path, payload);
    let others = build(&other, payload);
    let total: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    let gib = total as f64 / f64::from(1 << 30);
    println!("recovery of {gib:.2} GiB in records of {payload} B, ratio to reading it:");
    let bare = time(|| read(&others), 1);
    let log = time(|| salvage(&path), 1);
    let ratio = bare.as_secs_f64() / log.as_secs_f64();
    println!("    salvage, both cold, one sample: {ratio:.2} (log {log:.1?}, read {bare:.1?})");
    fs::remove_dir_all(&other).unwrap();
    read(&files);
    // The first open may have something to write; it also brings the spares into the cache.
    open(&path);
    let (mut salvages, mut opens, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let times: [Duration; 3] = rounds(7, |way| match way {
            0 => time(|| read(&files), 1),
            1 => time(|| salvage(&path), 1),
            _ => time(|| open(&path), 1),
        });
        salvages.push(times[0].as_secs_f64() / times[1].as_secs_f64());
        opens.push(times[0].as_secs_f64() / times[2].as_secs_f64());
        shown.push(times);
    }
    println!("    salvage, both from the page cache: {}", ratios(salvages));
    println!("    open, with a look at two spares, the same: {}", ratios(opens));
    for [read, salvage, open] in shown {
        println!("      read {read:.1?}, salvage {salvage:.1?}, open {open:.1?}");
    }
    fs::remove_dir_all(&path).unwrap();
}

fn main() {
    let home = match std::env::var_os("QUORATE_BENCH_DIR") {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    }
    .unwrap();
    commits(home.path());
    recovery(home.path(), 64 << 10);
    recovery(home.path(), 1 << 20);
    recovery(home.path(), 300);
}
