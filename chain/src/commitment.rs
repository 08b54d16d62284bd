//! What a header says of the state.
//!
//! ```text
//! state root = SHA-256("quorate/1/state" ‖ root of the entries ‖ link of the outcomes)
//! ```
//!
//! The root of the entries is that of [`crate::state_root`], the link that of [`crate::outcome`]. The
//! first depends on the entries alone, so that a copy of the state can be checked by itself; the
//! second on every outcome since the genesis.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::execute::Execution;
use crate::ids::{Hash, StateRoot};
use crate::outcome;
use crate::state::{Changes, StateEntry, StateKey};
use crate::state_root::{self, Leaves, StateProof, StateProofError, StateTree, StateTreeError};

/// The state root made of its two parts.
#[must_use]
pub fn state_root(entries: Hash, outcomes: Hash) -> StateRoot {
    let root = Hash::of(&[b"quorate/1/state", entries.as_bytes(), outcomes.as_bytes()]);
    StateRoot::new(*root.as_bytes())
}

/// What changed entries mean to the tree that commits to them.
#[must_use]
pub fn leaf_changes(changes: &Changes) -> state_root::Changes {
    let digest = |entry: &Option<StateEntry>| entry.as_ref().map(StateEntry::digest);
    changes.iter().map(|(key, entry)| (key.path(), digest(entry))).collect()
}

/// What a node keeps in memory to say the state root at the height it has applied.
#[derive(Clone, Debug)]
pub struct Commitment {
    entries: StateTree,
    outcomes: Hash,
}

impl Commitment {
    /// Takes up where a store stands: the tree over its entries, and the newest link of its outcomes,
    /// which is all zeros at the genesis.
    #[must_use]
    pub const fn new(entries: StateTree, outcomes: Hash) -> Self {
        Self { entries, outcomes }
    }

    /// Takes over what the next block has done, and says what that means to the leaves. `before` holds the
    /// leaves before that block.
    ///
    /// # Errors
    /// If the leaves cannot be read, or are not those of the tree. Nothing has changed then.
    pub fn advance<L: Leaves>(
        &mut self,
        done: &Execution,
        before: &L,
    ) -> Result<state_root::Changes, StateTreeError<L::Error>> {
        let leaves = leaf_changes(&done.changes);
        self.entries.update(&leaves, before)?;
        self.outcomes = outcome::link(self.outcomes, outcome::root(&done.outcomes));
        Ok(leaves)
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> StateRoot {
        state_root(self.entries.root(), self.outcomes)
    }

    /// The tree over the entries.
    #[must_use]
    pub const fn entries(&self) -> &StateTree {
        &self.entries
    }

    /// The newest link of the outcomes.
    #[must_use]
    pub const fn outcomes(&self) -> Hash {
        self.outcomes
    }
}

/// Proof of what the state has under one key, against a state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// The root of the entries.
    pub entries: Hash,
    /// The other part of the state root.
    pub outcomes: Hash,
    /// The entry's place in the tree, or its absence.
    pub place: StateProof,
}

impl EntryProof {
    /// Checks that the state with this root has exactly this under the key.
    ///
    /// # Errors
    /// Why it proves nothing, or that it proves something else.
    pub fn check(
        &self,
        root: StateRoot,
        key: &StateKey,
        entry: Option<&StateEntry>,
    ) -> Result<(), EntryProofError> {
        let found = state_root(self.entries, self.outcomes);
        if found != root {
            return Err(EntryProofError::Root { expected: root, found });
        }
        let proven = self.place.verify(self.entries, key.path())?;
        if proven != entry.map(StateEntry::digest) {
            return Err(EntryProofError::OtherEntry { present: proven.is_some() });
        }
        Ok(())
    }
}

/// Why a proof of an entry proves nothing, or not what was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProofError {
    /// It belongs to another state.
    #[error("it belongs to state root {found:.16}, not to {expected:.16}")]
    Root {
        /// The state root that was asked for.
        expected: StateRoot,
        /// The one it belongs to.
        found: StateRoot,
    },
    /// The entry has no such place in the tree.
    #[error(transparent)]
    Place(#[from] StateProofError),
    /// The state has something else under the key.
    #[error("the state has {} under this key", if *present { "another entry" } else { "nothing" })]
    OtherEntry {
        /// Whether it has anything.
        present: bool,
    },
}

impl Encode for EntryProof {
    fn encode(&self, out: &mut Vec<u8>) {
        self.entries.encode(out);
        self.outcomes.encode(out);
        self.place.encode(out);
    }
}

impl Decode for EntryProof {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            entries: Hash::decode(from)?,
            outcomes: Hash::decode(from)?,
            place: StateProof::decode(from)?,
        })
    }
}
