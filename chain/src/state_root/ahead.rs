//! Leaves of which a few can be seen before they are taken.

use std::collections::VecDeque;
use std::iter::Fuse;

use super::{BUCKET, Leaf, PathRange, StateTreeError};
use crate::ids::Hash;

/// Leaves in ascending order.
pub(super) struct Ahead<I> {
    from: Fuse<I>,
    seen: VecDeque<Leaf>,
    last: Option<Hash>,
    taken: u64,
}

impl<E, I: Iterator<Item = Result<Leaf, E>>> Ahead<I> {
    pub(super) fn new(from: I) -> Self {
        Self { from: from.fuse(), seen: VecDeque::new(), last: None, taken: 0 }
    }

    /// How many leaves have been taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The leaf that is so many after the next one.
    pub(super) fn nth(&mut self, n: usize) -> Result<Option<&Leaf>, StateTreeError<E>> {
        while self.seen.len() <= n {
            let Some(leaf) = self.from.next().transpose().map_err(StateTreeError::Leaves)? else {
                break;
            };
            if self.last.is_some_and(|last| last >= leaf.path) {
                return Err(StateTreeError::Order { path: leaf.path });
            }
            self.last = Some(leaf.path);
            self.seen.push_back(leaf);
        }
        Ok(self.seen.get(n))
    }

    /// Takes the next leaves as long as they are in the range.
    pub(super) fn take_within(&mut self, range: PathRange) -> Result<Vec<Leaf>, StateTreeError<E>> {
        let mut leaves = Vec::with_capacity(BUCKET);
        while self.nth(0)?.is_some_and(|leaf| range.contains(&leaf.path)) {
            leaves.extend(self.seen.pop_front());
            self.taken += 1;
        }
        Ok(leaves)
    }
}
