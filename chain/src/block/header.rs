//! The header of a block: everything that its hash and its signature cover.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{BadSignature, Signer, ValidatorKey, Verifier};
use crate::ids::{
    BlockHash, BlockRef, BodyRoot, ChainId, Hash, Height, NodeId, RosterHash, Signature, StateRoot,
    Term, TimeUs,
};

/// What a header's bytes, and so its signed message, begin with.
pub const DOMAIN: &[u8] = b"quorate/1/block";

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// The first of a term: it carries the election certificate of its proposer.
    Opening,
    /// Transactions, or nothing if blocks are made at an interval.
    Transactions,
    /// The roster becomes joint.
    Enter,
    /// The joint roster becomes its new part.
    Leave,
    /// Empty: it carries the root of the newest state while nothing else is to be said.
    Closing,
    /// The first of a term that no quorum could elect: it carries an order of the admins.
    Recovery,
}

impl BlockKind {
    const fn tag(self) -> u8 {
        match self {
            Self::Opening => 1,
            Self::Transactions => 2,
            Self::Enter => 3,
            Self::Leave => 4,
            Self::Closing => 5,
            Self::Recovery => 6,
        }
    }

    /// Whether it is the first block of its term.
    #[must_use]
    pub const fn begins_term(self) -> bool {
        matches!(self, Self::Opening | Self::Recovery)
    }

    /// Whether such a block may hold transactions.
    #[must_use]
    pub const fn may_hold_transactions(self) -> bool {
        matches!(self, Self::Opening | Self::Transactions)
    }
}

impl Decode for BlockKind {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("kind")? {
            1 => Ok(Self::Opening),
            2 => Ok(Self::Transactions),
            3 => Ok(Self::Enter),
            4 => Ok(Self::Leave),
            5 => Ok(Self::Closing),
            6 => Ok(Self::Recovery),
            found => Err(DecodeError::UnknownTag { field: "kind", offset, found }),
        }
    }
}

/// Everything that a block's hash covers. Its bytes have a fixed length, and they are what the
/// proposer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The chain.
    pub chain_id: ChainId,
    /// The roster in force at this block.
    pub roster_hash: RosterHash,
    /// What the block is for.
    pub kind: BlockKind,
    /// The block's place, one above its parent's.
    pub height: Height,
    /// The term in which its proposer leads.
    pub term: Term,
    /// The hash of the block below.
    pub parent: BlockHash,
    /// Who sealed it.
    pub proposer: NodeId,
    /// When, by the proposer's clock; never before the parent's time.
    pub time: TimeUs,
    /// How many transactions the body holds.
    pub transactions: u32,
    /// How many bytes the body has.
    pub body_size: u32,
    /// The root of the Merkle tree over the body's items.
    pub body_root: BodyRoot,
    /// A height below this block that a quorum had applied.
    pub executed: Height,
    /// The state at that height.
    pub state_root: StateRoot,
}

impl Header {
    /// How many bytes a header has.
    pub const LENGTH: usize = DOMAIN.len() + 205;

    /// The block's name.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        BlockHash::new(*Hash::of(&[&self.message()]).as_bytes())
    }

    /// The block's place and name.
    #[must_use]
    pub fn block_ref(&self) -> BlockRef {
        BlockRef { term: self.term, height: self.height, hash: self.hash() }
    }

    /// The bytes that the proposer signs: all of the header.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LENGTH);
        self.encode(&mut out);
        out
    }

    /// Puts the proposer's signature under it.
    #[must_use]
    pub fn sign(self, signer: &dyn Signer) -> SignedHeader {
        let signature = signer.sign(&self.message());
        SignedHeader { header: self, signature }
    }
}

impl Encode for Header {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(DOMAIN);
        self.chain_id.encode(out);
        self.roster_hash.encode(out);
        out.push(self.kind.tag());
        self.height.encode(out);
        self.term.encode(out);
        self.parent.encode(out);
        self.proposer.encode(out);
        self.time.encode(out);
        out.extend_from_slice(&self.transactions.to_be_bytes());
        out.extend_from_slice(&self.body_size.to_be_bytes());
        self.body_root.encode(out);
        self.executed.encode(out);
        self.state_root.encode(out);
    }
}

impl Decode for Header {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let domain = from.array::<{ DOMAIN.len() }>("header")?;
        Reader::require(domain == DOMAIN, "header", offset, "it begins with quorate/1/block")?;
        Ok(Self {
            chain_id: ChainId::decode(from)?,
            roster_hash: RosterHash::decode(from)?,
            kind: BlockKind::decode(from)?,
            height: Height::decode(from)?,
            term: Term::decode(from)?,
            parent: BlockHash::decode(from)?,
            proposer: NodeId::decode(from)?,
            time: TimeUs::decode(from)?,
            transactions: from.u32("transaction count")?,
            body_size: from.u32("body size")?,
            body_root: BodyRoot::decode(from)?,
            executed: Height::decode(from)?,
            state_root: StateRoot::decode(from)?,
        })
    }
}

/// A header with its proposer's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// The header.
    pub header: Header,
    /// The proposer's signature over its bytes.
    pub signature: Signature,
}

impl SignedHeader {
    /// Checks the signature.
    ///
    /// # Errors
    /// If it does not fit the key or the header.
    pub fn check(&self, key: &ValidatorKey, verifier: &dyn Verifier) -> Result<(), BadSignature> {
        verifier.validator(key, &self.header.message(), &self.signature)
    }
}

impl Encode for SignedHeader {
    fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        self.signature.encode(out);
    }
}

impl Decode for SignedHeader {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { header: Header::decode(from)?, signature: Signature::decode(from)? })
    }
}
