//! A validator or a learner, and what is known of it.

use crate::codec::{Decode, DecodeError, Encode, Reader, put_bytes, put_count};
use crate::crypto::ValidatorKey;
use crate::ids::NodeId;
use crate::limits;

/// Whether a member takes part in quorums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Votes and acks.
    Voter,
    /// Gets blocks and signs nothing.
    Learner {
        /// Becomes a voter by itself once it has caught up.
        promote: bool,
    },
}

/// Whether a voter wants to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lead {
    /// Only as a last resort, and not for longer than it must.
    No,
    /// When its turn comes.
    Yes,
    /// Before the others.
    Prefer,
}

/// A validator or a learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, given once on one chain. (Two branches of which one is abandoned may both give it.)
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// The key of its statements and blocks, and of its connections.
    pub key: ValidatorKey,
    /// Where other nodes reach it.
    pub p2p: Vec<String>,
    /// Where clients reach it, as far as it says.
    pub api: Vec<String>,
    /// Whether it votes.
    pub role: Role,
    /// Whether it wants to lead.
    pub lead: Lead,
}

impl Member {
    /// Whether it takes part in quorums.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.role == Role::Voter
    }
}

impl Encode for Role {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Voter => 1,
            Self::Learner { promote: false } => 2,
            Self::Learner { promote: true } => 3,
        });
    }
}

impl Decode for Role {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("role")? {
            1 => Ok(Self::Voter),
            2 => Ok(Self::Learner { promote: false }),
            3 => Ok(Self::Learner { promote: true }),
            found => Err(DecodeError::UnknownTag { field: "role", offset, found }),
        }
    }
}

impl Encode for Lead {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::No => 1,
            Self::Yes => 2,
            Self::Prefer => 3,
        });
    }
}

impl Decode for Lead {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("lead")? {
            1 => Ok(Self::No),
            2 => Ok(Self::Yes),
            3 => Ok(Self::Prefer),
            found => Err(DecodeError::UnknownTag { field: "lead", offset, found }),
        }
    }
}

/// Appends a list of addresses.
pub(crate) fn put_addresses(out: &mut Vec<u8>, addresses: &[String]) {
    put_count(out, addresses.len());
    for address in addresses {
        put_bytes(out, address.as_bytes());
    }
}

/// Reads a list of addresses.
pub(crate) fn addresses(
    from: &mut Reader,
    field: &'static str,
) -> Result<Vec<String>, DecodeError> {
    let count = from.count(field, limits::ADDRESSES)?;
    (0..count).map(|_| from.text("address", limits::ADDRESS)).collect()
}

impl Encode for Member {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        put_bytes(out, self.name.as_bytes());
        self.key.encode(out);
        put_addresses(out, &self.p2p);
        put_addresses(out, &self.api);
        self.role.encode(out);
        self.lead.encode(out);
    }
}

impl Decode for Member {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            id: NodeId::decode(from)?,
            name: from.text("name", limits::NAME)?,
            key: ValidatorKey::decode(from)?,
            p2p: addresses(from, "p2p addresses")?,
            api: addresses(from, "api addresses")?,
            role: Role::decode(from)?,
            lead: Lead::decode(from)?,
        })
    }
}
