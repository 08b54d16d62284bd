//! Proof that a path is present with a digest, or absent.

use super::{BUCKET, Leaf, PATH_BITS, PathRange, bit, bucket_hash, root_hash};
use crate::codec::{Decode, DecodeError, Encode, Reader, put_list};
use crate::ids::Hash;
use crate::merkle::node_hash;

/// The bucket that a path belongs to, and the way from there to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateProof {
    /// How many leaves there are under the root.
    pub count: u64,
    /// All leaves of the bucket, ascending by path.
    pub bucket: Vec<Leaf>,
    /// The siblings on the way up, lowest first.
    pub siblings: Vec<Hash>,
}

/// Why a state proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateProofError {
    /// More leaves than a bucket holds.
    #[error("the bucket lists {found} leaves, at most {BUCKET} is allowed")]
    Bucket {
        /// How many are listed.
        found: usize,
    },
    /// More siblings than a path has bits.
    #[error("the proof has {found} siblings, a path has {PATH_BITS} bits")]
    Siblings {
        /// How many there are.
        found: usize,
    },
    /// A leaf is not above the one before it.
    #[error("the leaves are not in ascending order at path {path}")]
    Order {
        /// The path that is too low.
        path: Hash,
    },
    /// A leaf belongs to another bucket than the path asked for.
    #[error("the leaf at path {path} does not share the first {depth} bits of the path asked for")]
    Outside {
        /// The path of the leaf.
        path: Hash,
        /// How many bits it must share.
        depth: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to state root {found}, not to {expected}")]
    Root {
        /// The root that was to be reached.
        expected: Hash,
        /// The root that was reached.
        found: Hash,
    },
}

impl StateProof {
    /// The digest that stands at the path under this root, or `None` if the path is absent.
    ///
    /// # Errors
    /// If the proof says neither.
    pub fn verify(&self, root: Hash, path: Hash) -> Result<Option<Hash>, StateProofError> {
        let (leaves, depth) = (&self.bucket, self.siblings.len());
        if leaves.len() > BUCKET {
            return Err(StateProofError::Bucket { found: leaves.len() });
        }
        if depth > PATH_BITS {
            return Err(StateProofError::Siblings { found: depth });
        }
        if let Some(two) = leaves.windows(2).find(|two| two[0].path >= two[1].path) {
            return Err(StateProofError::Order { path: two[1].path });
        }
        let range = PathRange::around(&path, depth);
        if let Some(leaf) = leaves.iter().find(|leaf| !range.contains(&leaf.path)) {
            return Err(StateProofError::Outside { path: leaf.path, depth });
        }
        let up = self.siblings.iter().zip((0..depth).rev());
        let top = up.fold(bucket_hash(leaves), |hash, (sibling, depth)| {
            if bit(&path, depth) { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
        });
        let found = root_hash(self.count, &top);
        if found != root {
            return Err(StateProofError::Root { expected: root, found });
        }
        Ok(leaves.iter().find(|leaf| leaf.path == path).map(|leaf| leaf.digest))
    }
}

impl Encode for StateProof {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_be_bytes());
        put_list(out, &self.bucket);
        put_list(out, &self.siblings);
    }
}

impl Decode for StateProof {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            count: from.u64("count")?,
            bucket: from.list("bucket", BUCKET)?,
            siblings: from.list("siblings", PATH_BITS)?,
        })
    }
}
