//! A Merkle tree over a list, as in RFC 6962 §2.1 (now RFC 9162 §2.1), with SHA-256.
//!
//! ```text
//! leaf(input)       = SHA-256(0x00 ‖ input)
//! node(left, right) = SHA-256(0x01 ‖ left ‖ right)
//! root of 0 leaves  = SHA-256("")
//! root of 1 leaf    = the leaf
//! root of n leaves  = node(root of the first k, root of the rest),
//!                     k = the largest power of two below n
//! ```
//!
//! The same shape seen from below: the nodes of a level are paired from the left; an odd one at the
//! end moves up as it is, unhashed; and so on until one is left.
//!
//! ```text
//!  count 5                root
//!                 ┌────────┴───┐
//!              ┌──┴──┐         │
//!            ┌─┴─┐ ┌─┴─┐       │
//!            0   1 2   3       4
//! ```
//!
//! An inclusion proof of the leaf at `index` among `count` is the sibling of every node on the way
//! up that has one, lowest first. To verify: start with the leaf hash and `(i, n) = (index, count)`;
//! while n > 1, if `i ^ 1 < n` take the next sibling and hash it in on the left if i is odd, on the
//! right if i is even; then `(i, n) = (i / 2, ⌈n / 2⌉)`. All siblings must be used up and the result
//! must be the root.
//!
//! **The root does not fix the count.** The proof of leaf 0 among 3 is, hash for hash, a proof of
//! leaf 0 among 4, and that of leaf 2 among 3 one of leaf 1 among 2. So whoever verifies must know
//! the count from where the root comes from, and then index, leaf and siblings are fixed too.
//!
//! Encoding of a proof: `index: u64, count: u64, siblings: list of at most 64 hashes`. The number of
//! siblings must be the one that index and count imply.
//!
//! Left out: consistency proofs between two sizes, because blocks are chained by their hashes; and
//! proofs of several leaves at once, because nobody asks for them.

use sha2::{Digest, Sha256};

use crate::codec::{Decode, DecodeError, Encode, Reader, put_list};
use crate::ids::Hash;

/// Most siblings a proof can have: the count is a `u64`.
const MAX_SIBLINGS: usize = 64;

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(input: &[u8]) -> Hash {
    Hash::of(&[&[0], input])
}

/// The hash of a node with two children.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [1; 1 + 2 * Hash::LENGTH];
    input[1..=Hash::LENGTH].copy_from_slice(left.as_bytes());
    input[1 + Hash::LENGTH..].copy_from_slice(right.as_bytes());
    Hash::new(Sha256::digest(input).into())
}

/// The root over leaf hashes, in one pass and with room for one hash a level.
pub fn root(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    // The roots of perfect trees from left to right, one for each bit set in `count`.
    let mut peaks: Vec<Hash> = Vec::new();
    for (count, mut hash) in leaves.into_iter().enumerate() {
        for _ in 0..count.trailing_ones() {
            if let Some(left) = peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        peaks.push(hash);
    }
    let root = peaks.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
    root.unwrap_or_else(|| Hash::of(&[]))
}

/// The proof that the leaf at `index` is there; `None` if there is no such leaf.
#[must_use]
pub fn prove(leaves: &[Hash], index: usize) -> Option<InclusionProof> {
    leaves.get(index)?;
    let mut siblings = Vec::new();
    let mut level = leaves.to_vec();
    let mut at = index;
    while level.len() > 1 {
        siblings.extend(level.get(at ^ 1));
        let pairs = level.chunks(2);
        level = pairs
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                odd => odd[0],
            })
            .collect();
        at /= 2;
    }
    Some(InclusionProof { index: index as u64, count: leaves.len() as u64, siblings })
}

/// A proof that a leaf stands at an index of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Where the leaf stands, counted from 0.
    pub index: u64,
    /// How many leaves the list has.
    pub count: u64,
    /// The siblings on the way up, lowest first.
    pub siblings: Vec<Hash>,
}

/// Why an inclusion proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InclusionError {
    /// The index is not in the list.
    #[error("index {index} is not in a list of {count}")]
    Index {
        /// The index of the proof.
        index: u64,
        /// The count of the proof.
        count: u64,
    },
    /// The proof is for a list of another length.
    #[error("the list has {expected} items, the proof is for {found}")]
    Count {
        /// How many the list has.
        expected: u64,
        /// What the proof says.
        found: u64,
    },
    /// Too many or too few siblings for this index and count.
    #[error("index and count imply {expected} siblings, the proof has {found}")]
    Siblings {
        /// How many index and count imply.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to root {found}, not to {expected}")]
    Root {
        /// The root that was to be reached.
        expected: Hash,
        /// The root that was reached.
        found: Hash,
    },
}

impl InclusionProof {
    /// The root that this proof leads to from this leaf hash.
    ///
    /// # Errors
    /// If the index is not in the list, or the number of siblings is not what the index implies.
    pub fn root(&self, leaf: Hash) -> Result<Hash, InclusionError> {
        let (index, count) = (self.index, self.count);
        if index >= count {
            return Err(InclusionError::Index { index, count });
        }
        let (expected, found) = (siblings_of(index, count).count(), self.siblings.len());
        if expected != found {
            return Err(InclusionError::Siblings { expected, found });
        }
        let sides = siblings_of(index, count).zip(&self.siblings);
        Ok(sides.fold(leaf, |hash, (side, sibling)| match side {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        }))
    }

    /// Checks that the leaf stands at `self.index` of the list of `count` leaves with this root.
    ///
    /// # Errors
    /// What is wrong with the proof.
    pub fn verify(&self, leaf: Hash, count: u64, root: Hash) -> Result<(), InclusionError> {
        if self.count != count {
            return Err(InclusionError::Count { expected: count, found: self.count });
        }
        let found = self.root(leaf)?;
        if found != root {
            return Err(InclusionError::Root { expected: root, found });
        }
        Ok(())
    }
}

/// On which side of the path a sibling stands.
enum Side {
    Left,
    Right,
}

/// The side of every sibling on the way up from `index`, lowest first.
fn siblings_of(index: u64, count: u64) -> impl Iterator<Item = Side> {
    let levels =
        std::iter::successors(Some((index, count)), |&(i, n)| Some((i / 2, n.div_ceil(2))));
    levels.take_while(|&(_, n)| n > 1).filter_map(|(i, n)| match i % 2 {
        1 => Some(Side::Left),
        _ => (i + 1 < n).then_some(Side::Right),
    })
}

impl Encode for InclusionProof {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        put_list(out, &self.siblings);
    }
}

impl Decode for InclusionProof {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let start = from.offset();
        let index = from.u64("index")?;
        let count = from.u64("count")?;
        Reader::require(index < count, "index", start, "the index is below the count")?;
        let at = from.offset();
        let siblings: Vec<Hash> = from.list("siblings", MAX_SIBLINGS)?;
        let exact = siblings.len() == siblings_of(index, count).count();
        Reader::require(exact, "siblings", at, "index and count imply how many there are")?;
        Ok(Self { index, count, siblings })
    }
}
