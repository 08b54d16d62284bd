//! Who may vote, with which keys, and how many make a quorum.
//!
//! A roster has one part, or two while a change is under way: then it is *joint*, and a quorum of it
//! is a quorum of the old part and a quorum of the new part (Raft §6). Certificates and headers name
//! a roster by its hash, so the bytes of a roster are canonical: members are sorted by id.
//!
//! Left out: what a member's addresses mean; the network knows.

mod change;
mod member;
mod part;

use std::collections::BTreeSet;

use crate::codec::{Decode, DecodeError, Encode, Reader, put_option};
use crate::ids::{Hash, NodeId, RosterHash};

pub use change::DOMAIN as CHANGE_DOMAIN;
pub(crate) use change::verify_approvals;
pub use change::{Change, ChangeError, NewMember, RosterChange, SignedRosterChange};
pub use member::{Lead, Member, Role};
pub(crate) use part::check_name;
pub use part::{Admins, Part, QuorumKind, QuorumSize, RosterError};

/// A roster in force: its parts, and the hash that certificates and headers name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    current: Part,
    next: Option<Part>,
    hash: RosterHash,
}

impl Roster {
    /// A roster with one part.
    ///
    /// # Errors
    /// If the part breaks an invariant.
    pub fn single(part: Part) -> Result<Self, RosterError> {
        part.check()?;
        Ok(Self::with_hash(part, None))
    }

    /// A roster on its way from one part to another.
    ///
    /// # Errors
    /// If a part breaks an invariant.
    pub fn joint(current: Part, next: Part) -> Result<Self, RosterError> {
        current.check()?;
        next.check()?;
        if current.changes.checked_add(1) != Some(next.changes) {
            let (current, next) = (current.changes, next.changes);
            return Err(RosterError::Changes { current, next });
        }
        for member in &next.members {
            if current.member(member.id).is_some_and(|before| before.key != member.key) {
                return Err(RosterError::OtherKey { id: member.id });
            }
        }
        Ok(Self::with_hash(current, Some(next)))
    }

    fn with_hash(current: Part, next: Option<Part>) -> Self {
        let mut roster = Self { current, next, hash: RosterHash::ZERO };
        let hash = Hash::of(&[b"quorate/1/roster", &roster.to_bytes()]);
        roster.hash = RosterHash::new(*hash.as_bytes());
        roster
    }

    /// The hash of its bytes.
    #[must_use]
    pub const fn hash(&self) -> RosterHash {
        self.hash
    }

    /// Whether a change is under way.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        self.next.is_some()
    }

    /// Its only part; of a joint roster, the one that is being left.
    #[must_use]
    pub const fn current(&self) -> &Part {
        &self.current
    }

    /// The part that a joint roster is on its way to.
    #[must_use]
    pub const fn next(&self) -> Option<&Part> {
        self.next.as_ref()
    }

    /// The one or two parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.current).chain(&self.next)
    }

    /// What a joint roster turns into when it is left: its new part alone.
    #[must_use]
    pub fn left(&self) -> Option<Self> {
        self.next.clone().map(|part| Self::with_hash(part, None))
    }

    /// The parts of a joint roster, each as a roster by itself.
    #[must_use]
    pub fn halves(&self) -> Vec<Self> {
        self.parts().map(|part| Self::with_hash(part.clone(), None)).collect()
    }

    /// The member with this id, as the newest part has it.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        let newest = self.next.as_ref().and_then(|part| part.member(id));
        newest.or_else(|| self.current.member(id))
    }

    /// The ids of all members of its parts, sorted.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<NodeId> {
        self.parts().flat_map(|part| &part.members).map(|member| member.id).collect()
    }

    /// Whether this member votes in one of the parts.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.parts().any(|part| part.member(id).is_some_and(Member::is_voter))
    }

    /// Whether these voters are a quorum of every part.
    #[must_use]
    pub fn has_quorum(&self, kind: QuorumKind, signers: &BTreeSet<NodeId>) -> bool {
        self.parts().all(|part| part.has_quorum(kind, signers))
    }
}

impl Encode for Roster {
    fn encode(&self, out: &mut Vec<u8>) {
        self.current.encode(out);
        put_option(out, self.next.as_ref());
    }
}

impl Decode for Roster {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let current = Part::decode(from)?;
        let offset = from.offset();
        match from.option("next part")? {
            None => Ok(Self::with_hash(current, None)),
            Some(next) => Self::joint(current, next).map_err(|_| DecodeError::Invalid {
                field: "next part",
                offset,
                rule: "it is one change on, and gives no id to another key",
            }),
        }
    }
}
