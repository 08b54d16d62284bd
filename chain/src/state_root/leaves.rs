//! Leaves, and where they live.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::PATH_BITS;
use super::tree::Changes;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::Hash;

/// One entry of the state, as the commitment sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// The hash of the entry's key: where it stands.
    pub path: Hash,
    /// The hash of the entry: what stands there.
    pub digest: Hash,
}

impl Encode for Leaf {
    fn encode(&self, out: &mut Vec<u8>) {
        self.path.encode(out);
        self.digest.encode(out);
    }
}

impl Decode for Leaf {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { path: Hash::decode(from)?, digest: Hash::decode(from)? })
    }
}

/// All paths with one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRange {
    first: Hash,
    last: Hash,
}

impl PathRange {
    /// All paths.
    pub(super) const ALL: Self = Self { first: Hash::ZERO, last: Hash::new([0xff; Hash::LENGTH]) };

    /// The paths that share their first `depth` bits with this one.
    pub(super) fn around(path: &Hash, depth: usize) -> Self {
        let (mut first, mut last) = (*path.as_bytes(), *path.as_bytes());
        let whole = depth.min(PATH_BITS) / 8;
        if let Some(split) = first.get_mut(whole) {
            let rest = 0xff_u8 >> (depth % 8);
            *split &= !rest;
            last[whole] |= rest;
            first[whole + 1..].fill(0);
            last[whole + 1..].fill(0xff);
        }
        Self { first: Hash::new(first), last: Hash::new(last) }
    }

    /// The half whose paths have this bit, if the range is a prefix of `depth` bits.
    pub(super) fn half(&self, depth: usize, bit: bool) -> Self {
        Self::around(if bit { &self.last } else { &self.first }, depth + 1)
    }

    /// The first path of the range.
    #[must_use]
    pub fn first(&self) -> &Hash {
        &self.first
    }

    /// The last path of the range, which belongs to it.
    #[must_use]
    pub fn last(&self) -> &Hash {
        &self.last
    }

    /// Whether the path is in the range.
    #[must_use]
    pub fn contains(&self, path: &Hash) -> bool {
        (self.first..=self.last).contains(path)
    }
}

/// Where the leaves live: a store, or memory. The tree itself holds only hashes.
pub trait Leaves {
    /// Why the leaves cannot be read.
    type Error;

    /// The leaves with a path in the range, ascending by path.
    ///
    /// # Errors
    /// If they cannot be read.
    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, Self::Error>;
}

/// Makes of leaves, ascending by path, those that they are after changes within their range.
pub fn correct<'a>(
    leaves: &mut Vec<Leaf>,
    changes: impl IntoIterator<Item = (&'a Hash, Option<Hash>)>,
) {
    for (path, digest) in changes {
        let at = leaves.binary_search_by(|leaf| leaf.path.cmp(path));
        match (at, digest) {
            (Ok(at), Some(digest)) => leaves[at].digest = digest,
            (Ok(at), None) => {
                leaves.remove(at);
            }
            (Err(at), Some(digest)) => leaves.insert(at, Leaf { path: *path, digest }),
            (Err(_), None) => {}
        }
    }
}

/// Leaves in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryLeaves(BTreeMap<Hash, Hash>);

impl MemoryLeaves {
    /// No leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the changes.
    pub fn apply(&mut self, changes: &Changes) {
        for (path, digest) in changes {
            match digest {
                Some(digest) => self.0.insert(*path, *digest),
                None => self.0.remove(path),
            };
        }
    }

    /// All leaves, ascending by path.
    pub fn iter(&self) -> impl Iterator<Item = Leaf> {
        self.0.iter().map(|(path, digest)| Leaf { path: *path, digest: *digest })
    }
}

impl Leaves for MemoryLeaves {
    type Error = Infallible;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, Infallible> {
        // One search instead of the two that a range with an end takes.
        let found = self.0.range(range.first..).take_while(|(path, _)| **path <= range.last);
        Ok(found.map(|(path, digest)| Leaf { path: *path, digest: *digest }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_the_prefix_does() {
        let path = Hash::new([0b1010_1010; 32]);
        assert_eq!(PathRange::around(&path, 0), PathRange::ALL);
        let three = PathRange::around(&path, 3);
        assert_eq!(three.first.as_bytes()[..2], [0b1010_0000, 0]);
        assert_eq!(three.last.as_bytes()[..2], [0b1011_1111, 0xff]);
        let eight = PathRange::around(&path, 8);
        assert_eq!(eight.first.as_bytes()[..2], [0b1010_1010, 0]);
        assert_eq!(eight.last.as_bytes()[..2], [0b1010_1010, 0xff]);
        for depth in [255, 256] {
            let range = PathRange::around(&path, depth);
            assert_eq!(range.first.as_bytes()[31], 0b1010_1010);
            assert_eq!(range.last.as_bytes()[31], 0b1010_1010 | u8::from(depth == 255));
        }
        assert_eq!(three.half(3, false).last.as_bytes()[0], 0b1010_1111);
        assert_eq!(three.half(3, true).first.as_bytes()[0], 0b1011_0000);
    }
}
