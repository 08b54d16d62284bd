//! What the tests share: small options, a seeded source of numbers, and an oracle.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

use quorate_wal::{Disk, Entry, Error, Lsn, Memory, Options, Record, Recovered, Refused, Tag, Wal};

pub const IDENTITY: &[u8] = b"node 7 of chain test";

pub fn options() -> Options {
    Options {
        segment: 6 << 10,
        align: 512,
        max_record: 2000,
        max_group: 4200,
        max_preamble: 300,
        spares: 2,
    }
}

/// splitmix64
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        match self.below(4) {
            0 => vec![0; length],
            1 => vec![self.below(256) as u8; length],
            _ => (0..length).map(|_| self.next() as u8).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    Record { kind: u8, tag: Tag, payload: Vec<u8> },
    Preamble(Vec<u8>),
}

impl Owned {
    pub fn entry(&self) -> Entry<'_> {
        match self {
            Owned::Record { kind, tag, payload } => {
                Entry::Record { kind: *kind, tag: *tag, payload }
            }
            Owned::Preamble(bytes) => Entry::Preamble(bytes),
        }
    }

    pub fn of(record: &Record<'_>) -> Owned {
        match record.entry {
            Entry::Record { kind, tag, payload } => {
                Owned::Record { kind, tag, payload: payload.to_vec() }
            }
            Entry::Preamble(bytes) => Owned::Preamble(bytes.to_vec()),
        }
    }

    pub fn height(&self) -> u64 {
        match self {
            Owned::Record { tag, .. } => tag.height,
            Owned::Preamble(_) => 0,
        }
    }
}

pub type Log = Vec<(Lsn, Owned)>;

pub fn record(height: u64, payload: Vec<u8>) -> Owned {
    Owned::Record { kind: 1, tag: Tag { term: 3, height }, payload }
}

pub type Opened<D> = Result<(Wal<D>, Recovered, Log), Box<Refused<D>>>;

pub fn open_with<D: Disk>(disk: D, options: Options, floor: u64) -> Opened<D> {
    let mut log = Vec::new();
    let floor = Tag { term: 0, height: floor };
    let (wal, found) = Wal::open(disk, IDENTITY, options, floor, |record| {
        log.push((record.lsn, Owned::of(&record)));
    })?;
    Ok((wal, found, log))
}

pub fn open<D: Disk>(disk: D) -> Opened<D> {
    open_with(disk, options(), 0)
}

pub fn append<D: Disk>(wal: &mut Wal<D>, entries: &[Owned]) -> Result<Log, Error> {
    let entries_ref: Vec<Entry<'_>> = entries.iter().map(Owned::entry).collect();
    let done = wal.append(&entries_ref)?;
    Ok(done.iter().map(|done| done.lsn).zip(entries.iter().cloned()).collect())
}

pub fn idle<D: Disk>(wal: &mut Wal<D>) {
    while wal.idle_work().unwrap() {}
}

/// All files, byte for byte.
pub fn image(disk: &Memory) -> Vec<(String, Vec<u8>)> {
    disk.names().map(|name| (name.to_owned(), disk.bytes(name).unwrap())).collect()
}

pub fn segments(disk: &Memory) -> Vec<String> {
    disk.names().filter(|name| name.ends_with(".wal")).map(str::to_owned).collect()
}
