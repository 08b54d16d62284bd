//! What the commitment to the state costs: `cargo bench -p quorate-chain --bench state_root`.
//!
//! Arguments are numbers of keys, by default 10,000 1,000,000 5,000,000. Every update writes 1,000
//! keys. Printed are the median update per key, how many times SHA-256 of 64 bytes that is, measured
//! in the same run, what of it is reading the leaves, which here live in memory, and the fastest and
//! the longest update. A machine that is busy with other things shows in all of them.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::cell::Cell;
use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use quorate_chain::ids::Hash;
use quorate_chain::state_root::{Changes, Leaf, Leaves, MemoryLeaves, PathRange, StateTree};

const WRITES: u64 = 1_000;
const ROUNDS: u64 = 200;
const PROOFS: u64 = 10_000;
const KEPT: usize = 8;

/// The path of key `n`, or a digest of its version.
fn hash(n: u64, version: u64) -> Hash {
    Hash::of(&[&n.to_be_bytes(), &version.to_be_bytes()])
}

/// Numbers that jump about (splitmix64).
fn shuffled(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn micros(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn bare_sha256() -> f64 {
    let mut input = [7; 64];
    let start = Instant::now();
    for _ in 0..1_000_000 {
        let hash = Hash::of(&[&input]);
        input[..32].copy_from_slice(hash.as_bytes());
    }
    black_box(input);
    micros(start.elapsed(), 1_000_000)
}

/// Leaves in memory, and how long it took to read them.
struct Timed<'a>(&'a MemoryLeaves, Cell<Duration>);

impl Leaves for Timed<'_> {
    type Error = Infallible;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, Infallible> {
        let start = Instant::now();
        let found = self.0.within(range);
        self.1.set(self.1.get() + start.elapsed());
        found
    }
}

/// What one kind of update costs.
#[derive(Default)]
struct Cost {
    /// Of each update: all of it, and what of it was reading.
    times: Vec<(Duration, Duration)>,
}

impl Cost {
    fn update(&mut self, tree: &mut StateTree, leaves: &mut MemoryLeaves, changes: &Changes) {
        let timed = Timed(leaves, Cell::default());
        let start = Instant::now();
        let undo = tree.update(changes, &timed);
        let time = start.elapsed();
        self.times.push((time, timed.1.get()));
        undo.expect("memory can be read");
        leaves.apply(changes);
    }

    fn print(mut self, name: &str, sha: f64) {
        self.times.sort();
        let (fastest, longest) = (self.times[0].0, self.times[self.times.len() - 1].0);
        let (median, reading) = self.times[self.times.len() / 2];
        let each = |time| micros(time, WRITES);
        println!(
            "  {name:<10} {:.2} us/key = x{:.1}, reading {:.2}, fastest {:.2}; longest {:.2} ms",
            each(median),
            each(median) / sha,
            each(reading),
            each(fastest),
            longest.as_secs_f64() * 1e3,
        );
    }
}

fn proofs(tree: &mut StateTree, leaves: &mut MemoryLeaves, keys: u64) {
    let mut undos = Vec::new();
    let old = tree.root();
    for block in 0..KEPT as u64 {
        let first = block * WRITES;
        let at = |n| (hash(shuffled(n) % keys, 0), Some(hash(n, 9)));
        let changes: Changes = (first..first + WRITES).map(at).collect();
        undos.insert(0, tree.update(&changes, leaves).expect("memory can be read"));
        leaves.apply(&changes);
    }
    let all: Vec<_> = undos.iter().collect();
    let kept = all.iter().map(|undo| undo.memory()).sum::<usize>() >> 10;
    println!("  the undos of {KEPT} updates take {kept} KiB");
    for (name, undos, root) in [("now", &all[..0], tree.root()), ("8 blocks ago", &all[..], old)] {
        let paths: Vec<Hash> = (0..PROOFS).map(|n| hash(shuffled(n) % keys, 0)).collect();
        let start = Instant::now();
        let prove = |path: &Hash| tree.prove(*path, undos, leaves).expect("memory can be read");
        let made: Vec<_> = paths.iter().map(prove).collect();
        let prove = micros(start.elapsed(), PROOFS);
        let start = Instant::now();
        for (proof, path) in made.iter().zip(&paths) {
            proof.verify(root, *path).expect("it was just made");
        }
        let verify = micros(start.elapsed(), PROOFS);
        println!("  proof {name:<14} made in {prove:.2} us, verified in {verify:.2} us");
    }
}

fn measure(keys: u64, sha: f64) {
    let mut leaves = MemoryLeaves::new();
    leaves.apply(&(0..keys).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect());
    let start = Instant::now();
    let mut tree = StateTree::rebuild(leaves.iter().map(Ok::<_, std::io::Error>)).expect("sorted");
    let rebuilt = start.elapsed().as_secs_f64();
    let mebibytes = tree.memory() as f64 / f64::from(1 << 20);
    println!("{keys} keys: {mebibytes:.2} MiB, rebuilt in {rebuilt:.2} s");

    let [mut overwrite, mut insert, mut remove] = [(); 3].map(|()| Cost::default());
    for round in 0..ROUNDS {
        let block = round * WRITES..(round + 1) * WRITES;
        let old = |n| (hash(shuffled(n) % keys, 0), Some(hash(n, 2)));
        overwrite.update(&mut tree, &mut leaves, &block.clone().map(old).collect());
        let new = |n| (hash(keys + n, 0), Some(hash(n, 3)));
        insert.update(&mut tree, &mut leaves, &block.clone().map(new).collect());
        let gone = |n| (hash(keys + n, 0), None);
        remove.update(&mut tree, &mut leaves, &block.map(gone).collect());
    }
    overwrite.print("overwrite", sha);
    insert.print("insert", sha);
    remove.print("remove", sha);
    proofs(&mut tree, &mut leaves, keys);
    let mebibytes = tree.memory() as f64 / f64::from(1 << 20);
    println!("  afterwards {mebibytes:.2} MiB");
}

fn main() {
    let sha = bare_sha256();
    println!("SHA-256 of 64 bytes: {sha:.3} us");
    let sizes: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10_000, 1_000_000, 5_000_000] } else { sizes };
    for keys in sizes {
        measure(keys, sha);
    }
}
