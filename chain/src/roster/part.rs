//! One set of members with its quorum rules.
//!
//! Invariants of a [`Part`], checked when it is made or decoded:
//! - at least one voter, ids and names and keys each used once, every id below `next_id`;
//! - `vote_quorum` and `finality_quorum` are at most all of the voters. A number below the strict
//!   majority means the majority (it may have been above it before a voter was added), so that any
//!   two quorums of a part share a voter;
//! - at least as many admins as the threshold asks for.

use std::collections::BTreeSet;

use crate::codec::{Decode, DecodeError, Encode, Reader, put_list};
use crate::crypto::{ValidatorKey, check_account_key};
use crate::ids::{AccountKey, NodeId};
use crate::limits;
use crate::roster::Member;

/// How many voters decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumSize {
    /// The strict majority, however many voters there are.
    Majority,
    /// A number, or the strict majority where that is more.
    Voters(u16),
}

/// What a quorum is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumKind {
    /// To elect a leader: `vote_quorum`.
    Election,
    /// To commit a block: the strict majority.
    Commit,
    /// To make a block final: `finality_quorum`.
    Finality,
}

/// The keys that may change the roster and give grants, and how many of them it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admins {
    /// How many must agree.
    pub threshold: u16,
    /// The keys, sorted.
    pub keys: Vec<AccountKey>,
}

impl Admins {
    /// Whether these keys, each counted once, are enough admins.
    pub fn approve(&self, keys: impl IntoIterator<Item = AccountKey>) -> bool {
        let agreeing: BTreeSet<_> =
            keys.into_iter().filter(|key| self.keys.binary_search(key).is_ok()).collect();
        agreeing.len() >= usize::from(self.threshold)
    }
}

/// One set of members with its quorum rules: all of a roster, or a half of a joint one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The members, sorted by id.
    pub members: Vec<Member>,
    /// The id that the next new member gets.
    pub next_id: NodeId,
    /// How many changes have led to it. Each has another number, so no roster ever comes back, and
    /// with it what was signed under its hash.
    pub changes: u64,
    /// How many voters elect a leader.
    pub vote_quorum: QuorumSize,
    /// How many acks make a block final.
    pub finality_quorum: QuorumSize,
    /// Who may change all this.
    pub admins: Admins,
}

impl Part {
    /// The member with this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        Some(&self.members[at])
    }

    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_voter())
    }

    /// How many voters it takes.
    #[must_use]
    pub fn quorum(&self, kind: QuorumKind) -> usize {
        let majority = self.voters().count() / 2 + 1;
        let size = match kind {
            QuorumKind::Election => self.vote_quorum,
            QuorumKind::Commit => QuorumSize::Majority,
            QuorumKind::Finality => self.finality_quorum,
        };
        match size {
            QuorumSize::Majority => majority,
            QuorumSize::Voters(number) => usize::from(number).max(majority),
        }
    }

    pub(super) fn has_quorum(&self, kind: QuorumKind, signers: &BTreeSet<NodeId>) -> bool {
        let agreeing = self.voters().filter(|voter| signers.contains(&voter.id)).count();
        agreeing >= self.quorum(kind)
    }

    /// Checks the invariants of the type.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check(&self) -> Result<(), RosterError> {
        self.check_members()?;
        let voters = self.voters().count();
        for size in [self.vote_quorum, self.finality_quorum] {
            if let QuorumSize::Voters(number) = size
                && !(1..=voters).contains(&usize::from(number))
            {
                return Err(RosterError::Quorum { found: number, voters });
            }
        }
        self.check_admins()
    }

    /// Checks that a quorum of this size can be asked for: a number that is less than the majority
    /// would not mean what it says.
    ///
    /// # Errors
    /// If it is less than the majority, or more than all.
    pub fn check_size(&self, size: QuorumSize) -> Result<(), RosterError> {
        let voters = self.voters().count();
        match size {
            QuorumSize::Majority => Ok(()),
            QuorumSize::Voters(number)
                if (voters / 2 + 1..=voters).contains(&usize::from(number)) =>
            {
                Ok(())
            }
            QuorumSize::Voters(found) => Err(RosterError::Quorum { found, voters }),
        }
    }

    fn check_members(&self) -> Result<(), RosterError> {
        let members = &self.members;
        if self.voters().next().is_none() {
            return Err(RosterError::NoVoter);
        }
        if members.len() > limits::MEMBERS {
            return Err(RosterError::TooManyMembers { found: members.len() });
        }
        if !members.is_sorted_by(|a, b| a.id < b.id) {
            return Err(RosterError::Unsorted);
        }
        if let Some(last) = members.last()
            && last.id >= self.next_id
        {
            return Err(RosterError::NextId { last: last.id, next: self.next_id });
        }
        let mut names = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for member in members {
            check_name(&member.name)?;
            for address in member.p2p.iter().chain(&member.api) {
                check_address(member.id, address)?;
            }
            if member.p2p.len().max(member.api.len()) > limits::ADDRESSES {
                return Err(RosterError::TooManyAddresses { id: member.id });
            }
            if !names.insert(&member.name) {
                return Err(RosterError::NameTwice { name: member.name.clone() });
            }
            if !keys.insert(&member.key) {
                return Err(RosterError::KeyTwice { id: member.id });
            }
        }
        Ok(())
    }

    fn check_admins(&self) -> Result<(), RosterError> {
        let Admins { threshold, keys } = &self.admins;
        let enough = (1..=keys.len()).contains(&usize::from(*threshold));
        if !enough || keys.len() > limits::ADMINS {
            return Err(RosterError::Threshold { threshold: *threshold, admins: keys.len() });
        }
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err(RosterError::Unsorted);
        }
        // The stricter of the two signature rules applies to roster changes.
        match keys.iter().find(|key| {
            check_account_key(key).is_err() || ValidatorKey::from_bytes(key.as_bytes()).is_err()
        }) {
            None => Ok(()),
            Some(key) => Err(RosterError::AdminKey { key: *key }),
        }
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), RosterError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let good = !name.is_empty() && name.len() <= limits::NAME && name.chars().all(allowed);
    if good { Ok(()) } else { Err(RosterError::Name { name: name.to_owned() }) }
}

fn check_address(id: NodeId, address: &str) -> Result<(), RosterError> {
    let good = !address.is_empty()
        && address.len() <= limits::ADDRESS
        && address.chars().all(|c| c.is_ascii_graphic());
    if good { Ok(()) } else { Err(RosterError::Address { id, address: address.to_owned() }) }
}

/// Why something is not a roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// Nobody votes.
    #[error("a roster needs at least one voter")]
    NoVoter,
    /// The parts of a joint roster are not one change apart.
    #[error("change {next} does not follow change {current}")]
    Changes {
        /// How many changes led to the current part.
        current: u64,
        /// What the next part counts.
        next: u64,
    },
    /// The parts of a joint roster have one id with two keys.
    #[error("member {id} has another key in the next part")]
    OtherKey {
        /// The id.
        id: NodeId,
    },
    /// More members than the format allows.
    #[error("{found} members, at most {limit} are allowed", limit = limits::MEMBERS)]
    TooManyMembers {
        /// How many there are.
        found: usize,
    },
    /// Members or admins are not sorted, or stand there twice.
    #[error("members are sorted by id and admins by key, each once")]
    Unsorted,
    /// The id for the next member is already taken.
    #[error("the next id is {next}, but {last} is taken")]
    NextId {
        /// The highest id in use.
        last: NodeId,
        /// The id that should still be free.
        next: NodeId,
    },
    /// A name that is empty, too long, or has other characters.
    #[error("{name:?} is no name: 1 to {limit} of a-z, 0-9, '-', '.'", limit = limits::NAME)]
    Name {
        /// The name.
        name: String,
    },
    /// An address that is empty, too long, or has spaces or control characters.
    #[error("node {id}: {address:?} is no address")]
    Address {
        /// Whose address it is.
        id: NodeId,
        /// The address.
        address: String,
    },
    /// More addresses than the format allows.
    #[error("node {id} has more than {limit} addresses", limit = limits::ADDRESSES)]
    TooManyAddresses {
        /// Whose they are.
        id: NodeId,
    },
    /// Two members share a name.
    #[error("two members are called {name}")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// Two members share a key.
    #[error("node {id} has the key of another member")]
    KeyTwice {
        /// The second of them.
        id: NodeId,
    },
    /// A quorum that nobody could reach, or that was asked for although the majority is more.
    #[error("a quorum of {found} of {voters} voters: it takes from {} to {voters}", voters / 2 + 1)]
    Quorum {
        /// The quorum asked for.
        found: u16,
        /// How many voters there are.
        voters: usize,
    },
    /// A threshold that no set of admins, or the empty one, reaches.
    #[error("{threshold} of {admins} admins: it takes at least 1, at most all, of 1 to {limit}",
        limit = limits::ADMINS)]
    Threshold {
        /// How many must agree.
        threshold: u16,
        /// How many there are.
        admins: usize,
    },
    /// An admin key that cannot sign.
    #[error("admin {key} is not a usable key")]
    AdminKey {
        /// The key.
        key: AccountKey,
    },
}

impl Encode for QuorumSize {
    fn encode(&self, out: &mut Vec<u8>) {
        let number = match self {
            Self::Majority => 0,
            Self::Voters(number) => *number,
        };
        out.extend_from_slice(&number.to_be_bytes());
    }
}

impl Decode for QuorumSize {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match from.u16("quorum")? {
            0 => Self::Majority,
            number => Self::Voters(number),
        })
    }
}

impl Encode for Admins {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.threshold.to_be_bytes());
        put_list(out, &self.keys);
    }
}

impl Decode for Admins {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { threshold: from.u16("threshold")?, keys: from.list("admins", limits::ADMINS)? })
    }
}

impl Encode for Part {
    fn encode(&self, out: &mut Vec<u8>) {
        put_list(out, &self.members);
        self.next_id.encode(out);
        out.extend_from_slice(&self.changes.to_be_bytes());
        self.vote_quorum.encode(out);
        self.finality_quorum.encode(out);
        self.admins.encode(out);
    }
}

impl Decode for Part {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let part = Self {
            members: from.list("members", limits::MEMBERS)?,
            next_id: NodeId::decode(from)?,
            changes: from.u64("changes")?,
            vote_quorum: QuorumSize::decode(from)?,
            finality_quorum: QuorumSize::decode(from)?,
            admins: Admins::decode(from)?,
        };
        part.check().map_err(|_| DecodeError::Invalid {
            field: "roster",
            offset,
            rule: "its members, quorums and admins fit together",
        })?;
        Ok(part)
    }
}
