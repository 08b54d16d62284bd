//! The state root depends on the leaves and on nothing else, however they came to be there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use quorate_chain::ids::Hash;
use quorate_chain::state_root::{
    BUCKET, Changes, Leaf, Leaves, MemoryLeaves, PathRange, StateTree, StateTreeError,
};

fn hash(n: u64, version: u64) -> Hash {
    Hash::of(&[&n.to_be_bytes(), &version.to_be_bytes()])
}

/// Random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// The root as the specification defines it, from the leaves alone.
fn root_by_definition(leaves: &[Leaf]) -> Hash {
    fn node(leaves: &[Leaf], depth: usize) -> Hash {
        if leaves.len() <= 8 {
            let listed = leaves.iter().flat_map(|leaf| [leaf.path, leaf.digest]);
            let bytes: Vec<u8> = listed.flat_map(|hash| *hash.as_bytes()).collect();
            return Hash::of(&[&[0], &bytes]);
        }
        let bit = |leaf: &Leaf| leaf.path.as_bytes()[depth / 8] >> (7 - depth % 8) & 1;
        let (left, right): (Vec<_>, Vec<_>) = leaves.iter().partition(|leaf| bit(leaf) == 0);
        let (left, right) = (node(&left, depth + 1), node(&right, depth + 1));
        Hash::of(&[&[1], left.as_bytes(), right.as_bytes()])
    }
    let count = (leaves.len() as u64).to_be_bytes();
    Hash::of(&[&[2], &count, node(leaves, 0).as_bytes()])
}

/// A tree and its leaves, compared with the definition after every update.
#[derive(Default)]
struct Ledger {
    tree: StateTree,
    leaves: MemoryLeaves,
}

impl Ledger {
    fn update(&mut self, changes: &Changes) {
        let before = self.tree.root();
        let undo = self.tree.update(changes, &self.leaves).expect("memory can be read");
        assert_eq!(undo.root(), before);
        self.leaves.apply(changes);
        let all: Vec<Leaf> = self.leaves.iter().collect();
        assert_eq!(self.tree.count(), all.len() as u64);
        assert_eq!(self.tree.root(), root_by_definition(&all), "{} leaves", all.len());
        assert_eq!(rebuilt(&all).root(), self.tree.root(), "{} leaves", all.len());
    }
}

fn rebuilt(leaves: &[Leaf]) -> StateTree {
    StateTree::rebuild(leaves.iter().copied().map(Ok::<_, ()>)).expect("they are in order")
}

#[test]
fn roots_are_those_of_another_implementation() {
    // Made by twelve lines of Python that follow the specification: path = SHA-256(n ‖ 0),
    // digest = SHA-256(n ‖ 1), n from 0, integers as u64.
    let golden = [
        (0, "c0e50f0d90d6e2fea1e6f53d4f758ed5fc9035a399a8eb215c29c6ff3ea05425"),
        (1, "f1451ec7b379fb355132f7c00517cae10e3994a41205464d1a1cd3673cf83621"),
        (8, "323fdf513a028f4cde74e372bd1decfce064cbefe8e84ef43cd5d24ce7658d10"),
        (9, "6e4eada65750ff8c06347d8e573ef46c603bae302533a2b2221554b009110ca2"),
        (20, "b488af0453f2165a5b4f34967a141251b4fef71225fb517101e68605b273a727"),
        (1000, "564e2637ffcb588e7bd48d2491067a5127995cf6d5539c486a1cd34001f9503d"),
    ];
    for (count, root) in golden {
        let changes = (0..count).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect();
        let mut ledger = Ledger::default();
        ledger.update(&changes);
        assert_eq!(ledger.tree.root().to_string(), root, "{count} leaves");
    }
}

#[test]
fn the_root_follows_the_leaves_through_random_updates() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let keys = [12, 40, 300, 1_000, 3_000, 6_000][seed as usize];
        let mut ledger = Ledger::default();
        for step in 0..60 {
            let removals = [0, 30, 50, 70, 100][random.below(5) as usize];
            let writes = random.below(if step % 9 == 0 { keys } else { 20 });
            let changes = (0..writes).map(|_| {
                let path = hash(random.below(keys), 0);
                let gone = random.below(100) < removals;
                (path, (!gone).then(|| hash(random.below(3), 1)))
            });
            ledger.update(&changes.collect());
        }
        let all = ledger.leaves.iter().map(|leaf| (leaf.path, None)).collect();
        ledger.update(&all);
        assert_eq!(ledger.tree.root(), StateTree::new().root());
    }
}

#[test]
fn one_key_at_a_time_up_and_down_again() {
    let mut ledger = Ledger::default();
    let mut roots = vec![ledger.tree.root()];
    for n in 0..150 {
        ledger.update(&Changes::from([(hash(n, 0), Some(hash(n, 1)))]));
        roots.push(ledger.tree.root());
    }
    assert_eq!(roots.iter().collect::<BTreeSet<_>>().len(), roots.len());
    for n in (0..150).rev() {
        ledger.update(&Changes::from([(hash(n, 0), None)]));
        assert_eq!(ledger.tree.root(), roots[n as usize]);
    }
}

#[test]
fn ten_thousand_come_and_go_at_once() {
    let mut ledger = Ledger::default();
    ledger.update(&(0..100).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect());
    let small = ledger.tree.root();
    for _ in 0..3 {
        ledger.update(&(100..10_100).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect());
        ledger.update(&(100..10_100).map(|n| (hash(n, 0), None)).collect());
        assert_eq!(ledger.tree.root(), small);
    }
    // What is freed is used again: three times the growth takes no more room than once.
    assert!(ledger.tree.memory() < 1 << 18, "{}", ledger.tree.memory());
}

#[test]
fn paths_that_differ_only_at_the_end_are_told_apart() {
    let near = |n: u8| {
        let mut path = [0x55; 32];
        path[31] = n;
        Hash::new(path)
    };
    let mut ledger = Ledger::default();
    for n in 0..=255 {
        ledger.update(&Changes::from([(near(n), Some(hash(n.into(), 1)))]));
    }
    let proof = ledger.tree.prove(near(200), &[], &ledger.leaves).unwrap();
    assert_eq!(proof.siblings.len(), 253);
    assert_eq!(proof.verify(ledger.tree.root(), near(200)), Ok(Some(hash(200, 1))));
    for n in (0..=255).rev() {
        ledger.update(&Changes::from([(near(n), None)]));
    }
}

#[test]
fn changes_that_change_nothing_leave_the_root() {
    let mut ledger = Ledger::default();
    ledger.update(&(0..500).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect());
    let root = ledger.tree.root();
    ledger.update(&Changes::new());
    ledger.update(&(0..500).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect());
    ledger.update(&(500..900).map(|n| (hash(n, 0), None)).collect());
    assert_eq!(ledger.tree.root(), root);
}

/// Leaves that note what is read of them, and cannot be read for the `fails`-th time.
struct Watched<'a> {
    leaves: &'a MemoryLeaves,
    read: RefCell<Vec<PathRange>>,
    fails: usize,
}

impl Leaves for Watched<'_> {
    type Error = &'static str;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, Self::Error> {
        if self.read.borrow().len() == self.fails {
            return Err("unreadable");
        }
        self.read.borrow_mut().push(range);
        self.leaves.within(range).map_err(|never| match never {})
    }
}

#[test]
fn no_leaf_is_read_twice_and_a_failed_update_leaves_no_trace() {
    let mut random = Random(7);
    let mut ledger = Ledger::default();
    ledger.update(&(0..2_000).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect());
    for round in 0..8 {
        let changes: Changes = (0..300)
            .map(|n| {
                let path = hash(random.below(3_000), 0);
                (path, (round % 2 == 0).then(|| hash(n, round)))
            })
            .collect();
        let read = RefCell::default();
        let mut watched = Watched { leaves: &ledger.leaves, read, fails: usize::MAX };
        ledger.tree.clone().update(&changes, &watched).unwrap();
        let mut reads = watched.read.take();
        reads.sort_by_key(|range| *range.first());
        assert!(reads.windows(2).all(|two| two[0].last() < two[1].first()), "read twice");

        for fails in [0, 1, reads.len() / 2, reads.len() - 1] {
            watched = Watched { leaves: &ledger.leaves, read: RefCell::default(), fails };
            let (root, count) = (ledger.tree.root(), ledger.tree.count());
            let error = ledger.tree.update(&changes, &watched).unwrap_err();
            assert_eq!(error, StateTreeError::Leaves("unreadable"));
            assert_eq!((ledger.tree.root(), ledger.tree.count()), (root, count));
        }
        ledger.update(&changes);
    }
}

#[test]
fn a_long_chain_of_empty_buckets_is_not_read() {
    let near = |n: u8| {
        let mut path = [0x55; 32];
        path[31] = n;
        Hash::new(path)
    };
    let mut ledger = Ledger::default();
    ledger.update(&(0..9).map(|n| (near(n), Some(Hash::ZERO))).collect());
    let watched = Watched { leaves: &ledger.leaves, read: RefCell::default(), fails: usize::MAX };
    ledger.tree.update(&Changes::from([(near(3), None)]), &watched).unwrap();
    assert_eq!(watched.read.take().len(), 2, "its own bucket and the one beside it");
}

#[test]
fn leaves_that_are_not_those_of_the_tree_are_noticed() {
    let mut ledger = Ledger::default();
    ledger.update(&(0..100).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect());
    let root = ledger.tree.root();
    for damage in [Some(hash(8, 8)), None] {
        let mut damaged = ledger.leaves.clone();
        damaged.apply(&Changes::from([(hash(5, 0), damage)]));
        let write = Changes::from([(hash(5, 0), Some(hash(6, 6)))]);
        let error = ledger.tree.update(&write, &damaged).unwrap_err();
        assert!(matches!(error, StateTreeError::Mismatch { range } if range.contains(&hash(5, 0))));
        assert_eq!(ledger.tree.prove(hash(5, 0), &[], &damaged).unwrap_err(), error);
        assert_eq!(ledger.tree.root(), root);
    }
}

#[test]
fn leaves_out_of_order_are_not_rebuilt_from() {
    let mut all: Vec<Leaf> =
        (0..100).map(|n| Leaf { path: hash(n, 0), digest: hash(n, 1) }).collect();
    all.sort();
    for at in 1..all.len() {
        let mut twice = all.clone();
        twice[at] = twice[at - 1];
        let error = StateTree::rebuild(twice.iter().copied().map(Ok::<_, ()>)).unwrap_err();
        assert_eq!(error, StateTreeError::Order { path: twice[at].path });
    }
    let broken = all.iter().copied().map(Ok).chain([Err("unreadable")]);
    assert_eq!(StateTree::rebuild(broken).unwrap_err(), StateTreeError::Leaves("unreadable"));
}

#[test]
fn a_tree_is_as_large_as_its_state() {
    let empty = StateTree::new();
    assert!(empty.memory() <= 80);
    let leaves: BTreeMap<Hash, Hash> = (0..50_000).map(|n| (hash(n, 0), hash(n, 1))).collect();
    let leaves: Vec<Leaf> =
        leaves.into_iter().map(|(path, digest)| Leaf { path, digest }).collect();
    let each = rebuilt(&leaves).memory() / leaves.len();
    assert!(each < 25, "{each} bytes for each of the leaves, {BUCKET} to a bucket");
}
