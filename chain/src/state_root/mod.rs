//! The commitment to the state: one hash for a set of leaves, with proofs of presence and absence.
//!
//! A leaf stands for one entry of the state. Its `path` is the hash of the entry's key, its `digest`
//! the hash of the whole entry; both are the caller's. No two leaves have the same path. The root is
//! a function of the set of leaves and of nothing else: not of their order, not of what was there
//! before. Whoever holds a copy of the state can compute it again.
//!
//! ## Shape
//!
//! A tree over the bits of the path; bit 0 is the highest bit of the first byte. A *prefix* is the
//! first d bits of a path, and the node at depth d stands for all leaves with its prefix:
//!
//! - at most 8 leaves: the node is a **bucket** and lists them, in the order of their paths;
//! - more: the node has two **children**, the one with the next bit 0 on the left and 1 on the right.
//!   A child may be an empty bucket.
//!
//! ```text
//!                      ● depth 0: everything                20 leaves
//!               0┌─────┴─────┐1
//!        [ 7 leaves ]        ●  depth 1: paths that begin with 1      13
//!                       0┌───┴───┐1
//!                 [ 8 leaves ]  [ 5 leaves ]   depth 2
//! ```
//!
//! So the tree has a node for about every third leaf and grows and shrinks by a pair of children at
//! a time, where the change is. Nothing ever has to be arranged anew. Each bucket is a contiguous
//! range of paths, which a store that is ordered by path reads at once.
//!
//! ## Hashes
//!
//! ```text
//! bucket(leaves)     = SHA-256(0x00 ‖ path₁ ‖ digest₁ ‖ path₂ ‖ digest₂ ‖ …)      1 + 64·n bytes
//! inner(left, right) = SHA-256(0x01 ‖ left ‖ right)                               65 bytes
//! root               = SHA-256(0x02 ‖ count of all leaves: u64 ‖ hash of the node at depth 0)
//! ```
//!
//! The root of no leaves is therefore `SHA-256(0x02 ‖ 0⁸ ‖ SHA-256(0x00))`.
//!
//! ## Proof
//!
//! ```text
//! count:    u64                     the number of all leaves
//! bucket:   list of at most 8       path: 32 bytes, digest: 32 bytes
//! siblings: list of at most 256     32 bytes each, from the bucket up to the children of the top
//! ```
//!
//! Lists have their count in front, as a `u32`; integers are big-endian. To verify it for a path and
//! a root, with d the number of siblings:
//!
//! 1. The paths of the bucket are strictly ascending, and the first d bits of each are those of the
//!    path asked for.
//! 2. Start with `bucket(leaves)`. For each sibling, with bit number d−1, d−2, … 0 of the path asked
//!    for: if the bit is 0 hash as `inner(so far, sibling)`, if it is 1 as `inner(sibling, so far)`.
//! 3. `SHA-256(0x02 ‖ count ‖ result)` is the root.
//!
//! The path is then present with the digest the bucket lists for it, or absent if it lists none. One
//! path has one proof for one root: any other would be two inputs with one SHA-256 hash.
//!
//! ## Older roots
//!
//! [`StateTree::update`] returns an [`Undo`]: what the nodes it wrote, the leaves and the count were
//! before. With the undos of the latest updates, [`StateTree::prove`] proves against the root that
//! was there before the oldest of them, while the store holds only the newest leaves.
//!
//! ## What an enemy can do
//!
//! A writer may try keys until their paths share many bits. To make a bucket one level deeper takes
//! nine such paths and twice the trying; 2⁵⁰ hashes give nine paths that share about 54 bits. What
//! that buys is three times the nodes on this one path and a proof of 2.5 KB. No bucket ever holds
//! more than eight leaves, so for each key it writes a block reads at most its bucket and, if buckets
//! merge, eight leaves more, and hashes one path. (Buckets that are addressed by a fixed number of bits would instead grow without
//! a limit under such keys, and with them every proof and every block that touches them.)
//!
//! ## Left out
//!
//! - A proof of several paths at once, and of a range: each path is proven alone.
//! - Nodes on disk: the tree is in memory, 40 bytes a node (and the leaves of buckets that changed lately), and [`StateTree::rebuild`] makes it again
//!   from one ordered pass over the leaves.
//! - Giving memory back when the state shrinks: freed nodes are used again, and a restart forgets
//!   them. A pause to compact would cost more than it saves.
//! - Several threads: whoever calls decides about threads.

mod ahead;
mod edit;
mod leaves;
mod nodes;
mod proof;
mod size;
mod tree;
mod undo;

pub use leaves::{Leaf, Leaves, MemoryLeaves, PathRange, correct};
pub use proof::{StateProof, StateProofError};
pub use size::StateSize;
pub use tree::{Changes, StateTree, StateTreeError};
pub use undo::Undo;

use sha2::{Digest, Sha256};

use crate::ids::Hash;

/// Most leaves in a bucket.
pub const BUCKET: usize = 8;

/// Bits in a path.
const PATH_BITS: usize = 8 * Hash::LENGTH;

/// Whether the bit is set.
fn bit(path: &Hash, number: usize) -> bool {
    path.as_bytes()[number / 8] & (0x80 >> (number % 8)) != 0
}

fn bucket_hash(leaves: &[Leaf]) -> Hash {
    let mut hasher = Sha256::new_with_prefix([0]);
    for leaf in leaves {
        hasher.update(leaf.path.as_bytes());
        hasher.update(leaf.digest.as_bytes());
    }
    Hash::new(hasher.finalize().into())
}

fn root_hash(count: u64, top: &Hash) -> Hash {
    Hash::of(&[&[2], &count.to_be_bytes(), top.as_bytes()])
}
