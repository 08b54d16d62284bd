//! The nodes of the tree, in flat memory.

use super::{Leaf, bit, bucket_hash};
use crate::ids::Hash;

/// The hash of a prefix, and what is below.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) hash: Hash,
    pub(super) below: Below,
}

/// What is below a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Below {
    /// That many leaves, at most [`BUCKET`](super::BUCKET).
    Bucket(u32),
    /// Two nodes, in this slot, which is even, and the next.
    Pair(u32),
}

impl Node {
    pub(super) fn bucket(leaves: &[Leaf]) -> Self {
        Self { hash: bucket_hash(leaves), below: Below::Bucket(leaves.len() as u32) }
    }
}

/// Two siblings: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Siblings([Hash; 2]);

/// Slots for nodes, numbered from 0; an even number of them.
///
/// What is below stands apart from the hashes, so that the way down touches little memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    hashes: Vec<Siblings>,
    below: Vec<[Below; 2]>,
}

impl Nodes {
    pub(super) fn slots(&self) -> usize {
        2 * self.below.len()
    }

    pub(super) fn hash(&self, slot: u32) -> &Hash {
        &self.hashes[slot as usize / 2].0[slot as usize % 2]
    }

    pub(super) fn below(&self, slot: u32) -> Below {
        self.below[slot as usize / 2][slot as usize % 2]
    }

    pub(super) fn get(&self, slot: u32) -> Node {
        Node { hash: *self.hash(slot), below: self.below(slot) }
    }

    /// Touches what is on the way to these paths, for all of them a level at a time: the loads then
    /// overlap, whereas an update that goes down one path after the other waits for each of them.
    pub(super) fn warm<'a>(&self, paths: impl Iterator<Item = &'a Hash>) {
        let mut ways: Vec<(&Hash, u32)> = paths.map(|path| (path, 0)).collect();
        let (mut depth, mut touched) = (0, 0);
        while !ways.is_empty() {
            ways.retain_mut(|(path, slot)| {
                touched ^= self.hash(*slot).as_bytes()[0];
                let Below::Pair(pair) = self.below(*slot) else { return false };
                *slot = pair + u32::from(bit(path, depth));
                true
            });
            depth += 1;
        }
        std::hint::black_box(touched);
    }

    /// Puts the node into the slot, and what was in the slot into `node`.
    pub(super) fn swap(&mut self, slot: u32, node: &mut Node) {
        let (pair, side) = (slot as usize / 2, slot as usize % 2);
        std::mem::swap(&mut self.hashes[pair].0[side], &mut node.hash);
        std::mem::swap(&mut self.below[pair][side], &mut node.below);
    }

    /// Adds slots until there are that many.
    pub(super) fn extend_to(&mut self, slots: usize) {
        let (held, pairs) = (self.below.len(), slots / 2);
        if pairs > self.below.capacity() {
            // An eighth at a time: doubling would leave up to half of a large tree empty.
            let more = (pairs - held).max(held / 8);
            self.hashes.reserve_exact(more);
            self.below.reserve_exact(more);
        }
        self.hashes.resize(pairs, Siblings([Hash::ZERO; 2]));
        self.below.resize(pairs, [Below::Bucket(0); 2]);
    }

    /// How many bytes are reserved.
    pub(super) fn memory(&self) -> usize {
        self.hashes.capacity() * size_of::<Siblings>()
            + self.below.capacity() * size_of::<[Below; 2]>()
    }
}
