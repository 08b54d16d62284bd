//! The tree of hashes over the leaves.

use std::collections::BTreeMap;

use super::edit::{Draft, Edit, check, read};
use super::nodes::{Below, Node, Nodes};
use super::undo::{Change, Undo};
use super::{Leaf, Leaves, PathRange, StateProof, StateSize, bit};
use crate::ids::Hash;
use crate::lately::Lately;

/// How many buckets are in memory at most: some fifteen megabytes.
const BUCKETS: usize = 32_768;

/// What becomes of paths: a new digest, or none.
pub type Changes = BTreeMap<Hash, Option<Hash>>;

/// Why the tree could not read what it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateTreeError<E> {
    /// The leaves could not be read.
    #[error("cannot read the leaves of the state")]
    Leaves(#[source] E),
    /// The leaves of a bucket are not those the tree has the hash of: one of the two is damaged, or
    /// they are not of the same height.
    #[error("the leaves from path {} to {} are not those of the tree", .range.first(), .range.last())]
    Mismatch {
        /// The range of the bucket.
        range: PathRange,
    },
    /// The leaves to rebuild from do not ascend.
    #[error("the leaves are not in ascending order at path {path}")]
    Order {
        /// The path that is too low.
        path: Hash,
    },
}

/// The commitment to a set of leaves.
///
/// Invariants: slot 0 is the top, slot 1 is empty, every other pair of slots either has one parent
/// or is free; a node with a pair below has more than [`BUCKET`](super::BUCKET) leaves, any other
/// is the bucket of all it has; leaves that are remembered are those of the bucket in their slot, as long as that has a
/// parent.
#[derive(Clone, Debug)]
pub struct StateTree {
    count: u64,
    nodes: Nodes,
    /// Pairs without a parent.
    free: Vec<u32>,
    /// The leaves of buckets that were changed lately, by their slots: those that change next are mostly among them.
    lately: Lately<u32, Box<[Leaf]>>,
}

impl Default for StateTree {
    fn default() -> Self {
        Self::new()
    }
}

impl StateTree {
    /// The tree over no leaves.
    #[must_use]
    pub fn new() -> Self {
        let mut nodes = Nodes::default();
        nodes.extend_to(2);
        nodes.swap(0, &mut Node::bucket(&[]));
        Self { count: 0, nodes, free: Vec::new(), lately: Lately::new(BUCKETS) }
    }

    /// The tree over these leaves, which come in the order of their paths.
    ///
    /// # Errors
    /// If a leaf cannot be read or is out of order.
    pub fn rebuild<E>(
        leaves: impl Iterator<Item = Result<Leaf, E>>,
    ) -> Result<Self, StateTreeError<E>> {
        let mut tree = Self::new();
        let draft = Edit::new(&tree.nodes, &tree.free, &tree.lately).fill(leaves)?;
        tree.commit(draft);
        Ok(tree)
    }

    /// How many leaves there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The commitment.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.size().root()
    }

    /// What the commitment is made of.
    #[must_use]
    pub fn size(&self) -> StateSize {
        StateSize { count: self.count, top: *self.nodes.hash(0) }
    }

    /// How much memory it has reserved, in bytes, without the leaves that it remembers.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.nodes.memory() + self.free.capacity() * size_of::<u32>()
    }

    /// Makes the changes; all of them, or on an error none. `before` are the leaves as they are
    /// without the changes; each bucket is read at most once, in the order of paths, and not if it was
    /// changed lately.
    ///
    /// # Errors
    /// If the leaves cannot be read, or are not those that the tree stands for.
    pub fn update<L: Leaves>(
        &mut self,
        changes: &Changes,
        before: &L,
    ) -> Result<Undo, StateTreeError<L::Error>> {
        let changes: Vec<Change> = changes.iter().map(|(path, new)| (*path, *new)).collect();
        let draft = Edit::new(&self.nodes, &self.free, &self.lately).change(&changes, before)?;
        Ok(self.commit(draft))
    }

    /// The proof for this path, as of before the updates that returned these undos, newest first;
    /// without undos, as of now. `leaves` are those of now.
    ///
    /// # Errors
    /// If the leaves cannot be read, or are not those that the tree stands for.
    pub fn prove<L: Leaves>(
        &self,
        path: Hash,
        undos: &[&Undo],
        leaves: &L,
    ) -> Result<StateProof, StateTreeError<L::Error>> {
        // The oldest of the updates that wrote to a slot knows what was there before all of them.
        let then = |slot: u32| {
            let mut oldest_first = undos.iter().rev();
            oldest_first.find_map(|undo| undo.node(slot)).unwrap_or_else(|| self.nodes.get(slot))
        };
        let mut siblings = Vec::new();
        let mut node = then(0);
        while let Below::Pair(pair) = node.below {
            let side = u32::from(bit(&path, siblings.len()));
            siblings.push(then(pair + 1 - side).hash);
            node = then(pair + side);
        }
        let range = PathRange::around(&path, siblings.len());
        siblings.reverse();
        let Some(oldest) = undos.last() else {
            let bucket = read(node, range, leaves)?;
            return Ok(StateProof { count: self.count, bucket, siblings });
        };
        let now = leaves.within(range).map_err(StateTreeError::Leaves)?;
        let mut old = now.into_iter().map(|leaf| (leaf.path, leaf.digest)).collect();
        undos.iter().for_each(|undo| undo.take_back(&mut old, range));
        let bucket: Vec<_> = old.into_iter().map(|(path, digest)| Leaf { path, digest }).collect();
        check(node, &bucket, range)?;
        Ok(StateProof { count: oldest.count(), bucket, siblings })
    }

    fn commit(&mut self, draft: Draft) -> Undo {
        let (root, count, slots) = (self.root(), self.count, self.nodes.slots());
        self.nodes.extend_to(draft.slots);
        // A slot that is freed is written before it is a bucket again.
        for (slot, _) in &draft.writes {
            self.lately.remove(slot);
        }
        for (slot, leaves) in draft.buckets {
            self.lately.put(slot, leaves);
        }
        let mut nodes = draft.writes;
        for (slot, node) in &mut nodes {
            self.nodes.swap(*slot, node);
        }
        nodes.retain(|(slot, _)| (*slot as usize) < slots);
        self.free.truncate(self.free.len() - draft.reused);
        self.free.extend(draft.freed);
        self.count = count + draft.added - draft.removed;
        Undo::new(root, count, nodes, draft.before)
    }
}
