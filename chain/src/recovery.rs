//! What the admins may do when a quorum is gone for good.
//!
//! A group that has lost a majority of its disks can elect nobody and can change no roster. The
//! admins may then name, over one exact tip, the roster that goes on and the validator that leads
//! its first term. The block that carries the order opens that term.
//!
//! ```text
//! "quorate/1/recovery" ‖ chain id ‖ roster hash ‖ tip ‖ term ‖ proposer ‖ roster part ‖ approvals
//! └──────────────────── what every approving admin signs ┘
//! ```
//!
//! While a change is under way the admins of both parts must agree, each by their threshold. A joint
//! roster names the admins that it takes out of office, and a light client believes it until the next
//! change: on their word alone, one who is no admin any more could take every client along.
//!
//! It is a way to go on, not a proof that nothing was lost: what only the lost disks held is lost,
//! and whoever verifies the chain sees the order, its signers and its place.
//!
//! Left out: how the survivors find the highest tip among them.

use crate::codec::{Decode, DecodeError, Encode, Reader, put_list};
use crate::crypto::{SecretKey, Verifier};
use crate::ids::{AccountKey, BlockRef, ChainId, NodeId, RosterHash, Term};
use crate::roster::{ChangeError, Member, Part, Roster, verify_approvals};
use crate::transaction::{Approval, decode_approvals};

/// What the bytes and the signed message of a recovery begin with.
pub const DOMAIN: &[u8] = b"quorate/1/recovery";

/// An order to go on with another roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The chain.
    pub chain_id: ChainId,
    /// The roster that cannot go on, in force at the tip.
    pub roster_hash: RosterHash,
    /// The last block that is kept.
    pub tip: BlockRef,
    /// The term that begins.
    pub term: Term,
    /// Who leads it.
    pub proposer: NodeId,
    /// The roster that goes on.
    pub part: Part,
}

impl Recovery {
    /// The bytes that every approving admin signs.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut out = DOMAIN.to_vec();
        self.chain_id.encode(&mut out);
        self.roster_hash.encode(&mut out);
        self.tip.encode(&mut out);
        self.term.encode(&mut out);
        self.proposer.encode(&mut out);
        self.part.encode(&mut out);
        out
    }

    /// An admin's approval of it.
    #[must_use]
    pub fn approve(&self, key: &SecretKey) -> Approval {
        Approval { admin: key.account_key(), signature: key.sign(&self.message()) }
    }

    /// Joins approvals to it. They are not verified here.
    #[must_use]
    pub fn assemble(self, mut approvals: Vec<Approval>) -> SignedRecovery {
        approvals.sort_by_key(|approval| approval.admin);
        approvals.dedup_by_key(|approval| approval.admin);
        SignedRecovery { recovery: self, approvals }
    }
}

/// A recovery with the approvals of admins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRecovery {
    recovery: Recovery,
    approvals: Vec<Approval>,
}

impl SignedRecovery {
    /// The order.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Checks that enough admins of every part of the roster that it replaces have signed it, and
    /// that the roster that goes on can; returns the latter.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(
        &self,
        chain_id: ChainId,
        roster: &Roster,
        verifier: &dyn Verifier,
    ) -> Result<Roster, RecoveryError> {
        let Recovery { chain_id: found, roster_hash, proposer, part, .. } = &self.recovery;
        if *found != chain_id {
            return Err(ChangeError::OtherChain { expected: chain_id, found: *found }.into());
        }
        if *roster_hash != roster.hash() {
            let (expected, found) = (roster.hash(), *roster_hash);
            return Err(ChangeError::OtherRoster { expected, found }.into());
        }
        if !part.member(*proposer).is_some_and(|member| member.is_voter()) {
            return Err(RecoveryError::Proposer { proposer: *proposer });
        }
        let given = roster.parts().map(|old| old.next_id).max().unwrap_or_default();
        if part.next_id < given {
            return Err(RecoveryError::IdsReused { given, next: part.next_id });
        }
        let same =
            |member: &Member| roster.member(member.id).is_some_and(|known| known.key == member.key);
        let mut known = part.members.iter().filter(|member| member.id < given);
        if let Some(other) = known.find(|member| !same(member)) {
            return Err(RecoveryError::OtherMember { id: other.id });
        }
        let made = roster.parts().map(|old| old.changes).max().unwrap_or_default();
        if part.changes <= made {
            return Err(RecoveryError::NotNew { made, found: part.changes });
        }
        self.check_approvals(roster, verifier)?;
        Ok(Roster::single(part.clone()).map_err(ChangeError::from)?)
    }

    /// Checks that it has the approvals that each part asks for, and that each one is by an admin of
    /// some part.
    fn check_approvals(&self, roster: &Roster, verifier: &dyn Verifier) -> Result<(), ChangeError> {
        let is_admin = |part: &Part, key: &AccountKey| part.admins.keys.binary_search(key).is_ok();
        let known = |key: &AccountKey| roster.parts().any(|part| is_admin(part, key));
        if let Some(Approval { admin, .. }) = self.approvals.iter().find(|it| !known(&it.admin)) {
            return Err(ChangeError::BadApproval { admin: *admin });
        }
        let message = self.recovery.message();
        for part in roster.parts() {
            let mut approvals = self.approvals.clone();
            approvals.retain(|approval| is_admin(part, &approval.admin));
            verify_approvals(&message, &approvals, &part.admins, verifier)?;
        }
        Ok(())
    }
}

/// Why a recovery is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// It does not fit the chain or the roster, or too few admins have signed it.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The leader that it names does not vote in the roster that goes on.
    #[error("proposer {proposer} is no voter of the roster that goes on")]
    Proposer {
        /// The leader that it names.
        proposer: NodeId,
    },
    /// An id that was given once could be given again.
    #[error("its next id is {next}, ids below {given} have been given")]
    IdsReused {
        /// Ids below this have been given.
        given: NodeId,
        /// The next id of the roster that goes on.
        next: NodeId,
    },
    /// An id that was given once belongs to another key, or to nobody in the roster any more.
    #[error("member {id} is not the one that has this id in the roster it replaces")]
    OtherMember {
        /// The id.
        id: NodeId,
    },
    /// The roster that goes on could be one that the chain has had.
    #[error("its number of changes is {found}, {made} have been made")]
    NotNew {
        /// How many changes led to the roster that it replaces.
        made: u64,
        /// The number that the roster that goes on has.
        found: u64,
    },
}

impl Encode for SignedRecovery {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.recovery.message());
        put_list(out, &self.approvals);
    }
}

impl Decode for SignedRecovery {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let domain = from.array::<{ DOMAIN.len() }>("recovery")?;
        Reader::require(domain == DOMAIN, "recovery", offset, "it begins with quorate/1/recovery")?;
        let recovery = Recovery {
            chain_id: ChainId::decode(from)?,
            roster_hash: RosterHash::decode(from)?,
            tip: BlockRef::decode(from)?,
            term: Term::decode(from)?,
            proposer: NodeId::decode(from)?,
            part: Part::decode(from)?,
        };
        Ok(Self { recovery, approvals: decode_approvals(from)? })
    }
}
