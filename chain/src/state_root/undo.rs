//! What an update overwrote.

use std::collections::BTreeMap;

use super::PathRange;
use super::nodes::Node;
use crate::ids::Hash;

/// One path and its digest, or none.
pub(super) type Change = (Hash, Option<Hash>);

/// What was there before an update: the root, and what it takes to prove against it.
#[derive(Clone, Debug)]
pub struct Undo {
    root: Hash,
    count: u64,
    /// Ascending by slot.
    nodes: Vec<(u32, Node)>,
    /// Ascending by path.
    leaves: Vec<Change>,
}

impl Undo {
    pub(super) fn new(
        root: Hash,
        count: u64,
        mut nodes: Vec<(u32, Node)>,
        leaves: Vec<Change>,
    ) -> Self {
        nodes.sort_unstable_by_key(|(slot, _)| *slot);
        Self { root, count, nodes, leaves }
    }

    /// The root before the update.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// How much memory it has reserved, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<(u32, Node)>()
            + self.leaves.capacity() * size_of::<Change>()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The node that was in this slot, if the update wrote to it.
    pub(super) fn node(&self, slot: u32) -> Option<Node> {
        let at = self.nodes.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        Some(self.nodes[at].1)
    }

    /// Makes of the leaves after the update those before it, within the range.
    pub(super) fn take_back(&self, leaves: &mut BTreeMap<Hash, Hash>, range: PathRange) {
        let start = self.leaves.partition_point(|(path, _)| path < range.first());
        let within = self.leaves[start..].iter().take_while(|(path, _)| path <= range.last());
        for (path, was) in within {
            match was {
                Some(digest) => leaves.insert(*path, *digest),
                None => leaves.remove(path),
            };
        }
    }
}
