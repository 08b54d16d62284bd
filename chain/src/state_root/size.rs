//! What the root is made of.

use super::root_hash;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::ids::Hash;

/// How many leaves there are, proven: together with the hash of the node at depth 0 that makes the root, and no other
/// count does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSize {
    /// How many leaves there are.
    pub count: u64,
    /// The hash of the node at depth 0.
    pub top: Hash,
}

impl StateSize {
    /// The root that it makes.
    #[must_use]
    pub fn root(&self) -> Hash {
        root_hash(self.count, &self.top)
    }
}

impl Encode for StateSize {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_be_bytes());
        self.top.encode(out);
    }
}

impl Decode for StateSize {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { count: from.u64("count")?, top: Hash::decode(from)? })
    }
}
