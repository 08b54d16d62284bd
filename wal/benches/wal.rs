//! What the log costs over the bare disk: `cargo bench -p quorate-wal`.
//!
//! Every figure is a ratio to the bare cost measured in the same run, because machines differ and
//! neighbours are noisy: the two alternate in short rounds, and the median of the rounds' ratios is
//! printed. Group commits are compared with the best bare way to write the same payload with the
//! same safety (a preallocated file of written zeros, one write and one sync for each payload, no
//! synced block written again) and recovery with reading the same files.
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

    fn write(&mut self, bytes: usize) {
        self.at = if self.at + bytes as u64 > BARE { 0 } else { self.at };
        let bytes = &mut self.storage[self.start..self.start + bytes];
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

fn commits(home: &Path) {
    let disk = File::open(&home.join("log")).unwrap();
    let options = Options::default();
    let (mut wal, _) = Wal::open(disk, b"bench", options, Tag::ZERO, |_| {}).unwrap();
    let mut bares: Vec<(&str, Bare)> = [("fdatasync", false), ("O_DIRECT|O_DSYNC", true)]
        .into_iter()
        .filter_map(|(name, direct)| {
            Some((name, Bare::new(&home.join(name.replace('|', "")), direct)?))
        })
        .collect();
    let mut height = 0;
    for (bytes, count) in [(4 << 10, 60), (64 << 10, 40), (1 << 20, 12)] {
        let payload: Vec<u8> = (0..bytes).map(|index| (index * 31 % 251) as u8).collect();
        let mut ratios = Vec::new();
        let mut times = Vec::new();
        for _ in 0..41 {
            // Spares are made while idle, so not in the measured time.
            while wal.idle_work().unwrap() {}
            let log = time(
                || {
                    height += 1;
                    let tag = Tag { term: 1, height };
                    wal.append(&[Entry::Record { kind: 1, tag, payload: &payload }]).unwrap();
                },
                count,
            );
            wal.prune(height).unwrap();
            let bare: Vec<Duration> =
                bares.iter_mut().map(|(_, bare)| time(|| bare.write(bytes), count)).collect();
            let best = bare.iter().min().copied().unwrap();
            ratios.push(best.as_secs_f64() / log.as_secs_f64());
            times.push((log, bare));
        }
        let log = median(times.iter().map(|(log, _)| *log).collect());
        print!("commit of {:5} KiB: {:.2} of the best bare write", bytes >> 10, median(ratios));
        print!("   (log {log:?}");
        for (index, (name, _)) in bares.iter().enumerate() {
            print!(", {name} {:?}", median(times.iter().map(|(_, bare)| bare[index]).collect()));
        }
        println!(")");
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
            black_box(&buffer);
        }
    }
}

fn recover(path: &Path) {
    let mut disk = File::read_only(path).unwrap();
    let mut seen = 0u64;
    let visit = |record: quorate_wal::Record<'_>| seen += record.lsn.get() & 1;
    let (report, _) = quorate_wal::salvage(&mut disk, b"bench", Tag::ZERO, visit).unwrap();
    assert!(report.is_none());
    black_box(seen);
}

fn recovery(home: &Path, payload: usize) {
    let (path, other) = (home.join("recovery"), home.join("other"));
    let files = build(&path, payload);
    let others = build(&other, payload);
    let total: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    let gib = total as f64 / f64::from(1 << 30);
    let print = |how, log: Duration, bare: Duration, ratio: f64| {
        println!(
            "recovery of {gib:.2} GiB in records of {payload:7} B, {how}: {ratio:.2} of reading it   \
             (log {log:?}, read {bare:?})",
        );
    };
    let bare = time(|| read(&others), 1);
    let log = time(|| recover(&path), 1);
    print("both cold", log, bare, bare.as_secs_f64() / log.as_secs_f64());
    read(&files);
    let mut times = Vec::new();
    for _ in 0..7 {
        let bare = time(|| read(&files), 1);
        times.push((time(|| recover(&path), 1), bare));
    }
    let ratios = times.iter().map(|(log, bare)| bare.as_secs_f64() / log.as_secs_f64()).collect();
    let ratio = median(ratios);
    let (log, bare) = median(times);
    print("both from the page cache", log, bare, ratio);
    fs::remove_dir_all(&path).unwrap();
    fs::remove_dir_all(&other).unwrap();
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
