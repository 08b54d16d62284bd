//! Blocks: a block is a log entry is a height.
//!
//! ```text
//! header (220 bytes) ‖ proposer's signature (64 bytes) ‖ body
//! ```
//!
//! A block is sealed once, by the leader. From then on its bytes go unchanged into the log, to the
//! other nodes and into the store.
//!
//! Invariants of a [`Block`], checked when it is made or decoded: `bytes` is the canonical encoding
//! of the rest and `hash` the header's; the header's kind fits the body's item, and its count and
//! size fit the body. That the header's root fits the body and that the signatures are good, is what
//! [`Block::verify`] adds. Whether it may stand on its parent is for [`crate::well_formed`].

mod body;
mod header;

use std::sync::Arc;

use bytes::Bytes;

use crate::checked::Checked;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::{Signer, ValidatorKey, Verifier};
use crate::ids::{
    BlockHash, BlockRef, BodyRoot, ChainId, Height, NodeId, RosterHash, StateRoot, Term, TimeUs,
};
use crate::transaction::{self, BadTransaction};

pub use body::{Body, EnterChange, Item, transaction_leaf};
pub use header::{BlockKind, DOMAIN, Header, SignedHeader};

/// What a leader decides of a block that it seals.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The chain.
    pub chain_id: ChainId,
    /// The roster in force at the block.
    pub roster_hash: RosterHash,
    /// What the block is for.
    pub kind: BlockKind,
    /// The block below.
    pub parent: BlockRef,
    /// The term in which it is sealed.
    pub term: Term,
    /// Who seals it.
    pub proposer: NodeId,
    /// When.
    pub time: TimeUs,
    /// A height below it that a quorum has applied.
    pub executed: Height,
    /// The state at that height.
    pub state_root: StateRoot,
    /// What it holds.
    pub body: Body,
}

/// A signed block.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    bytes: Bytes,
    hash: BlockHash,
    signed: SignedHeader,
    /// Shared: a block is copied to the log, the disk and every peer.
    body: Arc<Body>,
}

impl Block {
    /// Seals a block.
    ///
    /// # Errors
    /// If the body is larger than the format allows, its item does not fit the kind, or no height
    /// follows the parent's.
    pub fn seal(draft: Draft, signer: &dyn Signer) -> Result<Checked<Self>, DecodeError> {
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let body = draft.body.to_bytes();
        let last = DecodeError::Invalid { field: "height", offset: 0, rule: "a height follows" };
        let header = Header {
            chain_id: draft.chain_id,
            roster_hash: draft.roster_hash,
            kind: draft.kind,
            height: draft.parent.height.next().ok_or(last)?,
            term: draft.term,
            parent: draft.parent.hash,
            proposer: draft.proposer,
            time: draft.time,
            transactions: size(draft.body.transactions.len()),
            body_size: size(body.len()),
            body_root: draft.body.root(),
            executed: draft.executed,
            state_root: draft.state_root,
        };
        let mut bytes = Vec::with_capacity(Header::LENGTH + 64 + body.len());
        header.sign(signer).encode(&mut bytes);
        bytes.extend_from_slice(&body);
        // Reading it back applies every rule of the format to what we seal ourselves.
        let read = Self::from_bytes(&Bytes::from(bytes))?;
        // The transactions are already in memory, and the mempool keeps them as long as the block.
        Ok(Checked::verified(Self { body: Arc::new(draft.body), ..read }))
    }

    /// Its name.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Its place and name.
    #[must_use]
    pub const fn block_ref(&self) -> BlockRef {
        BlockRef {
            term: self.signed.header.term,
            height: self.signed.header.height,
            hash: self.hash,
        }
    }

    /// Its canonical bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.signed.header
    }

    /// Its header with the proposer's signature.
    #[must_use]
    pub const fn signed_header(&self) -> &SignedHeader {
        &self.signed
    }

    /// What it holds.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Checks a block's body, which is most of the work and needs nothing of the chain: that it belongs
    /// to this chain, that its header names its body, and that every transaction is acceptable.
    ///
    /// Whether its proposer signed the header, and may propose at all, is for those who hold the chain.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn verify_body(
        self,
        chain_id: ChainId,
        verifier: &dyn Verifier,
    ) -> Result<Checked<Self>, BlockError> {
        let header = self.header();
        if header.chain_id != chain_id {
            return Err(BlockError::WrongChain { expected: chain_id, found: header.chain_id });
        }
        let found = self.body.root();
        if header.body_root != found {
            return Err(BlockError::BodyRoot { named: header.body_root, found });
        }
        transaction::verify_all(&self.body.transactions, chain_id, verifier)?;
        Ok(Checked::verified(self))
    }

    /// Checks all that can be checked of a block by itself: its body, and that its proposer signed it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn verify(
        self,
        chain_id: ChainId,
        proposer: &ValidatorKey,
        verifier: &dyn Verifier,
    ) -> Result<Checked<Self>, BlockError> {
        let signer = self.header().proposer;
        self.signed
            .check(proposer, verifier)
            .map_err(|_| BlockError::BadSignature { proposer: signer })?;
        self.verify_body(chain_id, verifier)
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Block({} {:?}, {} bytes)",
            self.block_ref(),
            self.header().kind,
            self.bytes.len()
        )
    }
}

impl Encode for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }

    fn to_bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Decode for Block {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let start = from.offset();
        let signed = SignedHeader::decode(from)?;
        let header = &signed.header;
        let at = from.offset();
        let body = Body::decode(from)?;
        let size = from.offset() - at;
        let rule = |holds, field, rule| Reader::require(holds, field, at, rule);
        rule(header.body_size as usize == size, "body", "it has the size that its header names")?;
        let count = body.transactions.len();
        let counted = header.transactions as usize == count;
        rule(counted, "transactions", "there are as many as the header names")?;
        let kinds = match &body.item {
            Some(item) => item.kind() == header.kind,
            None => matches!(header.kind, BlockKind::Transactions | BlockKind::Closing),
        };
        rule(kinds, "item", "it is the one that the header's kind asks for")?;
        let allowed = count == 0 || header.kind.may_hold_transactions();
        rule(allowed, "transactions", "a block of this kind holds none")?;
        Ok(Self { bytes: from.since(start), hash: header.hash(), signed, body: Arc::new(body) })
    }
}

/// Why a block is not acceptable, whatever it stands on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It belongs to another chain.
    #[error("it belongs to chain {found:.16}, this is chain {expected:.16}")]
    WrongChain {
        /// This chain.
        expected: ChainId,
        /// The chain it names.
        found: ChainId,
    },
    /// Its body is not the one its header names.
    #[error("its header names body root {named:.16}, the body has {found:.16}")]
    BodyRoot {
        /// The root in the header.
        named: BodyRoot,
        /// The root of the body.
        found: BodyRoot,
    },
    /// The proposer's signature does not fit.
    #[error("the signature of proposer {proposer} does not fit")]
    BadSignature {
        /// Who should have signed.
        proposer: NodeId,
    },
    /// One of its transactions is not acceptable.
    #[error(transparent)]
    Transaction(#[from] BadTransaction),
}
