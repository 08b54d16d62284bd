//! Proof that a validator has signed what no honest one signs.
//!
//! Evidence is exactly one of these five:
//!
//! 1. two blocks of one proposer, of the same term and height;
//! 2. two votes of one validator in one term that differ in candidate or tip;
//! 3. two acks of one validator, of the same term and height, for different blocks;
//! 4. an ack for a block and a vote in a later term for a tip of lower rank than that block;
//! 5. a signed block that is not well formed on its parent, with that parent, unless it is the
//!    genesis.
//!
//! It is *not* evidence to ack different blocks at one height in different terms, to pre-vote for
//! two candidates, to vote for others in later terms, or to have signed a block that nobody stored.
//!
//! Two certified blocks that exclude each other always yield some of the first four: see [`accuse()`].
//!
//! Evidence names an id and convicts a key. An id is unique on one branch only: a change that was
//! abandoned may have given it to somebody else. So everything in a piece of evidence must be signed
//! by one key that some roster has under the id, and the [`Conviction`] says which.
//!
//! Left out: what is done about it. People decide.

mod accuse;

pub use accuse::{Branch, accuse};

use crate::block::{Header, Item, SignedHeader};
use crate::checked::Checked;
use crate::codec::{Decode, DecodeError, Encode, Reader, put_option};
use crate::crypto::{ValidatorKey, Verifier};
use crate::ids::{ChainId, NodeId, RosterHash, Signature, TimeUs};
use crate::merkle::{InclusionError, InclusionProof};
use crate::roster::Roster;
use crate::statement::{SignedStatement, Statement};
use crate::well_formed::{self, Malformed, Parent};

/// The item of a block, with proof that the block's header names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenItem {
    /// The item.
    pub item: Item,
    /// Its place in the body's Merkle tree.
    pub inclusion: InclusionProof,
}

impl ProvenItem {
    /// Checks that this header's body holds the item.
    ///
    /// # Errors
    /// What is wrong with the proof.
    pub fn check(&self, header: &Header) -> Result<(), InclusionError> {
        let root = crate::ids::Hash::new(*header.body_root.as_bytes());
        // An item is always the first leaf, and the transactions follow it.
        let count = u64::from(header.transactions) + 1;
        if self.inclusion.index != 0 {
            return Err(InclusionError::Index { index: self.inclusion.index, count });
        }
        self.inclusion.verify(self.item.leaf(), count, root)
    }
}

/// Two things that one validator signed and no honest one would.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "evidence is rare, and never held in numbers")]
pub enum Evidence {
    /// Two blocks in one place.
    TwoBlocks {
        /// One of them.
        a: SignedHeader,
        /// The other.
        b: SignedHeader,
    },
    /// Two votes in one term.
    TwoVotes {
        /// One of them.
        a: SignedStatement,
        /// The other.
        b: SignedStatement,
    },
    /// Two acks in one place.
    TwoAcks {
        /// One of them.
        a: SignedStatement,
        /// The other.
        b: SignedStatement,
    },
    /// A vote that denies an earlier ack.
    VoteBelowAck {
        /// The ack.
        ack: SignedStatement,
        /// The vote, in a later term, for a tip of lower rank.
        vote: SignedStatement,
    },
    /// A block that may not stand on its parent.
    Malformed(Box<MalformedBlock>),
}

/// A block that may not stand on its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedBlock {
    /// The parent; `None` for the genesis, which has no header.
    pub parent: Option<Header>,
    /// The block.
    pub child: SignedHeader,
    /// The block's item, if its kind asks for one.
    pub item: Option<ProvenItem>,
}

/// The rosters that a chain has had.
pub trait Rosters {
    /// The time of the genesis and its roster, if they are known: against them the first block is
    /// judged.
    fn genesis(&self) -> Option<(TimeUs, &Roster)>;

    /// The roster with this hash.
    fn roster(&self, hash: RosterHash) -> Option<&Roster>;

    /// Every key that any of them has under this id, each once. On one chain an id is given once, and
    /// its key does not change; but a change that was entered on a branch and abandoned may have given
    /// an id that the chain gave to somebody else later.
    fn keys(&self, id: NodeId) -> Vec<&ValidatorKey>;
}

/// Some rosters, without the genesis.
impl Rosters for [Roster] {
    fn genesis(&self) -> Option<(TimeUs, &Roster)> {
        None
    }

    fn roster(&self, hash: RosterHash) -> Option<&Roster> {
        self.iter().find(|roster| roster.hash() == hash)
    }

    fn keys(&self, id: NodeId) -> Vec<&ValidatorKey> {
        keys_of(self.iter(), id)
    }
}

/// Every key that one of these rosters has under an id, each once.
fn keys_of<'a>(rosters: impl Iterator<Item = &'a Roster>, id: NodeId) -> Vec<&'a ValidatorKey> {
    let mut keys = Vec::new();
    let members = rosters.flat_map(Roster::parts).filter_map(|part| part.member(id));
    for key in members.map(|member| &member.key) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// The rosters of a chain from its genesis on.
#[derive(Clone, Copy, Debug)]
pub struct RosterHistory<'a> {
    /// The time of the genesis.
    pub genesis_time: TimeUs,
    /// The roster of the genesis.
    pub genesis: &'a Roster,
    /// Those that came after it, in any order; also those of branches that were abandoned.
    pub later: &'a [Roster],
}

impl RosterHistory<'_> {
    fn all(&self) -> impl Iterator<Item = &Roster> {
        std::iter::once(self.genesis).chain(self.later)
    }
}

impl Rosters for RosterHistory<'_> {
    fn genesis(&self) -> Option<(TimeUs, &Roster)> {
        Some((self.genesis_time, self.genesis))
    }

    fn roster(&self, hash: RosterHash) -> Option<&Roster> {
        self.all().find(|roster| roster.hash() == hash)
    }

    fn keys(&self, id: NodeId) -> Vec<&ValidatorKey> {
        keys_of(self.all(), id)
    }
}

/// Evidence that was verified, and the key that it convicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conviction {
    evidence: Checked<Evidence>,
    key: ValidatorKey,
}

impl Conviction {
    /// What convicts it.
    #[must_use]
    pub const fn evidence(&self) -> &Checked<Evidence> {
        &self.evidence
    }

    /// The key that made every signature in it.
    #[must_use]
    pub const fn key(&self) -> &ValidatorKey {
        &self.key
    }
}

impl Evidence {
    /// The id under which it was signed: a hint at whom it accuses. Who is convicted is the key in the
    /// [`Conviction`]: on another branch the same id may be somebody else's.
    #[must_use]
    pub const fn accused(&self) -> NodeId {
        match self {
            Self::TwoBlocks { a, .. } => a.header.proposer,
            Self::TwoVotes { a, .. } | Self::TwoAcks { a, .. } => a.signer,
            Self::VoteBelowAck { ack, .. } => ack.signer,
            Self::Malformed(block) => block.child.header.proposer,
        }
    }

    /// Which of the five it is, by the number that the module gives it.
    const fn sort(&self) -> u8 {
        match self {
            Self::TwoBlocks { .. } => 1,
            Self::TwoVotes { .. } => 2,
            Self::TwoAcks { .. } => 3,
            Self::VoteBelowAck { .. } => 4,
            Self::Malformed(_) => 5,
        }
    }

    /// Checks that it convicts a key that some roster has under the id it names.
    ///
    /// # Errors
    /// Why it does not.
    pub fn verify(
        self,
        chain_id: ChainId,
        rosters: &(impl Rosters + ?Sized),
        verifier: &dyn Verifier,
    ) -> Result<Conviction, EvidenceError> {
        let id = self.accused();
        let keys = rosters.keys(id);
        if keys.is_empty() {
            return Err(EvidenceError::UnknownSigner { id });
        }
        let conflict = match &self {
            Self::TwoBlocks { a, b } => are_twins(a, b, chain_id),
            Self::TwoVotes { .. } | Self::TwoAcks { .. } | Self::VoteBelowAck { .. } => {
                self.is_conflict()
            }
            Self::Malformed(_) => true,
        };
        if !conflict {
            return Err(EvidenceError::NoConflict);
        }
        // One key for all of it: two members that were given one id have signed one each.
        let signed = self.signed(chain_id);
        let all = |key: &&ValidatorKey| {
            signed.iter().all(|(message, by)| verifier.validator(key, message, by).is_ok())
        };
        let key = keys.into_iter().find(all).ok_or(EvidenceError::BadSignature { id })?.clone();
        if let Self::Malformed(block) = &self {
            block.check(chain_id, rosters, verifier)?;
        }
        Ok(Conviction { evidence: Checked::verified(self), key })
    }

    /// The messages in it, with the signatures under them.
    fn signed(&self, chain_id: ChainId) -> Vec<(Vec<u8>, Signature)> {
        let header = |it: &SignedHeader| (it.header.message(), it.signature);
        let statement =
            |it: &SignedStatement| (it.statement.message(chain_id, it.roster_hash), it.signature);
        match self {
            Self::TwoBlocks { a, b } => vec![header(a), header(b)],
            Self::TwoVotes { a, b }
            | Self::TwoAcks { a, b }
            | Self::VoteBelowAck { ack: a, vote: b } => vec![statement(a), statement(b)],
            Self::Malformed(block) => vec![header(&block.child)],
        }
    }

    /// Whether two statements conflict in the way that this evidence claims, if it claims that.
    fn is_conflict(&self) -> bool {
        match self {
            Self::TwoVotes { a, b } => match (&a.statement, &b.statement) {
                (Statement::Vote { term, .. }, Statement::Vote { term: other, .. }) => {
                    a.signer == b.signer && term == other && a.statement != b.statement
                }
                _ => false,
            },
            Self::TwoAcks { a, b } => match (&a.statement, &b.statement) {
                (Statement::Ack { block }, Statement::Ack { block: other }) => {
                    a.signer == b.signer && block.rank() == other.rank() && block != other
                }
                _ => false,
            },
            Self::VoteBelowAck { ack, vote } => match (&ack.statement, &vote.statement) {
                (Statement::Ack { block }, Statement::Vote { term, tip, .. }) => {
                    ack.signer == vote.signer && *term > block.term && tip.rank() < block.rank()
                }
                _ => false,
            },
            Self::TwoBlocks { .. } | Self::Malformed(_) => false,
        }
    }
}

/// Whether these are two blocks of this chain by one proposer in one place.
fn are_twins(a: &SignedHeader, b: &SignedHeader, chain_id: ChainId) -> bool {
    let place = |signed: &SignedHeader| {
        let header = &signed.header;
        (header.chain_id, header.proposer, header.term, header.height)
    };
    a.header.chain_id == chain_id && place(a) == place(b) && a.header != b.header
}

impl MalformedBlock {
    fn check(
        &self,
        chain_id: ChainId,
        rosters: &(impl Rosters + ?Sized),
        verifier: &dyn Verifier,
    ) -> Result<(), EvidenceError> {
        let child = &self.child.header;
        let hash = self.parent.as_ref().map_or(chain_id.genesis_ref().hash, Header::hash);
        let other = self.parent.as_ref().is_some_and(|parent| parent.chain_id != chain_id);
        if other || child.parent != hash {
            return Err(EvidenceError::NoConflict);
        }
        if let Some(proven) = &self.item {
            proven.check(child)?;
        }
        let parent = self.parent(chain_id, rosters)?;
        let item = self.item.as_ref().map(|proven| &proven.item);
        match well_formed::check(&parent, child, item, chain_id, verifier) {
            // Without its item a block proves nothing: the accuser may have kept it back.
            Ok(_) | Err(Malformed::Item { .. }) => Err(EvidenceError::NoConflict),
            Err(_) => Ok(()),
        }
    }

    /// What must be known of the block below.
    fn parent<'a>(
        &self,
        chain_id: ChainId,
        rosters: &'a (impl Rosters + ?Sized),
    ) -> Result<Parent<'a>, EvidenceError> {
        let Some(parent) = &self.parent else {
            let (time, roster) = rosters.genesis().ok_or(EvidenceError::UnknownGenesis)?;
            return Ok(Parent { block: chain_id.genesis_ref(), time, proposer: None, roster });
        };
        let hash = parent.roster_hash;
        let roster = rosters.roster(hash).ok_or(EvidenceError::UnknownRoster { hash })?;
        Ok(Parent::of(parent, roster))
    }
}

/// Why evidence convicts nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Nobody with this id has been in a roster.
    #[error("no roster has had a member {id}")]
    UnknownSigner {
        /// The id.
        id: NodeId,
    },
    /// The parent's roster is not known.
    #[error("roster {hash:.16} is not known")]
    UnknownRoster {
        /// Its hash.
        hash: RosterHash,
    },
    /// The first block is judged by the genesis, which is not known.
    #[error("the genesis is not known")]
    UnknownGenesis,
    /// An honest validator could have signed both.
    #[error("an honest validator could have signed this")]
    NoConflict,
    /// No key that was ever under this id has made every signature in it.
    #[error("no key of {id} fits every signature")]
    BadSignature {
        /// Under whose id it was signed.
        id: NodeId,
    },
    /// The item is not the one in the block.
    #[error("the item: {0}")]
    Inclusion(#[from] InclusionError),
}

impl Encode for ProvenItem {
    fn encode(&self, out: &mut Vec<u8>) {
        self.item.encode(out);
        self.inclusion.encode(out);
    }
}

impl Decode for ProvenItem {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { item: Item::decode(from)?, inclusion: InclusionProof::decode(from)? })
    }
}

impl Encode for Evidence {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.sort());
        let mut pair = |a: &dyn Encode, b: &dyn Encode| {
            a.encode(out);
            b.encode(out);
        };
        match self {
            Self::TwoBlocks { a, b } => pair(a, b),
            Self::TwoVotes { a, b } | Self::TwoAcks { a, b } => pair(a, b),
            Self::VoteBelowAck { ack, vote } => pair(ack, vote),
            Self::Malformed(block) => {
                put_option(out, block.parent.as_ref());
                block.child.encode(out);
                put_option(out, block.item.as_ref());
            }
        }
    }
}

impl Decode for Evidence {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("evidence")? {
            1 => Ok(Self::TwoBlocks { a: Decode::decode(from)?, b: Decode::decode(from)? }),
            2 => Ok(Self::TwoVotes { a: Decode::decode(from)?, b: Decode::decode(from)? }),
            3 => Ok(Self::TwoAcks { a: Decode::decode(from)?, b: Decode::decode(from)? }),
            4 => Ok(Self::VoteBelowAck { ack: Decode::decode(from)?, vote: Decode::decode(from)? }),
            5 => Ok(Self::Malformed(Box::new(MalformedBlock {
                parent: from.option("parent")?,
                child: SignedHeader::decode(from)?,
                item: from.option("item")?,
            }))),
            found => Err(DecodeError::UnknownTag { field: "evidence", offset, found }),
        }
    }
}
