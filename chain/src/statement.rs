//! What a validator signs besides blocks.
//!
//! Every statement is signed over a message of fixed length:
//!
//! ```text
//! "quorate/1/" kind ‖ chain id ‖ roster hash ‖ fields
//!
//! prevote   term ‖ candidate ‖ tip      I heard no leader, my term was term − 1, and this tip is not below mine
//! vote      term ‖ candidate ‖ tip      no other vote in this term, and no ack below it any more
//! ack       block                       it and its ancestors are durable, my term is its term, I checked the root it names
//! handover  term ‖ to ‖ tip             I lead this term and ask `to` to campaign for the next
//! ```
//!
//! The roster is the one in force at the tip, or at the block that is acked. No kind is a prefix of
//! another, so no message of one kind is one of another.
//!
//! Left out: when a statement may be signed. That is the protocol's business.

use crate::certificate::CertificateError;
use crate::checked::Checked;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::Verifier;
use crate::ids::{BlockRef, ChainId, NodeId, RosterHash, Signature, Term};
use crate::roster::Roster;

/// What a validator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statement {
    /// It would vote. Binds to nothing, and may be given to many.
    PreVote {
        /// The term the candidate would campaign for.
        term: Term,
        /// The candidate.
        candidate: NodeId,
        /// The candidate's tip.
        tip: BlockRef,
    },
    /// It votes, once in a term.
    Vote {
        /// The term.
        term: Term,
        /// The candidate.
        candidate: NodeId,
        /// The candidate's tip.
        tip: BlockRef,
    },
    /// It has the block and all its ancestors on disk.
    Ack {
        /// The block.
        block: BlockRef,
    },
    /// The leader asks another to campaign for the next term.
    Handover {
        /// The leader's term.
        term: Term,
        /// Who is to campaign.
        to: NodeId,
        /// The tip that it must have.
        tip: BlockRef,
    },
}

impl Statement {
    /// What the signed message begins with.
    #[must_use]
    pub const fn domain(&self) -> &'static [u8] {
        match self {
            Self::PreVote { .. } => b"quorate/1/prevote",
            Self::Vote { .. } => b"quorate/1/vote",
            Self::Ack { .. } => b"quorate/1/ack",
            Self::Handover { .. } => b"quorate/1/handover",
        }
    }

    /// The term it belongs to. An ack belongs to the term of its block.
    #[must_use]
    pub const fn term(&self) -> Term {
        match self {
            Self::PreVote { term, .. } | Self::Vote { term, .. } | Self::Handover { term, .. } => {
                *term
            }
            Self::Ack { block } => block.term,
        }
    }

    /// The block it speaks of.
    #[must_use]
    pub const fn block(&self) -> BlockRef {
        match self {
            Self::PreVote { tip, .. } | Self::Vote { tip, .. } | Self::Handover { tip, .. } => *tip,
            Self::Ack { block } => *block,
        }
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self, chain_id: ChainId, roster_hash: RosterHash) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.extend_from_slice(self.domain());
        chain_id.encode(&mut out);
        roster_hash.encode(&mut out);
        self.encode_fields(&mut out);
        out
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::PreVote { term, candidate: id, tip }
            | Self::Vote { term, candidate: id, tip }
            | Self::Handover { term, to: id, tip } => {
                term.encode(out);
                id.encode(out);
                tip.encode(out);
            }
            Self::Ack { block } => block.encode(out),
        }
    }
}

impl Encode for Statement {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::PreVote { .. } => 1,
            Self::Vote { .. } => 2,
            Self::Ack { .. } => 3,
            Self::Handover { .. } => 4,
        });
        self.encode_fields(out);
    }
}

impl Decode for Statement {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let tag = from.u8("statement")?;
        if tag == 3 {
            return Ok(Self::Ack { block: BlockRef::decode(from)? });
        }
        if !matches!(tag, 1 | 2 | 4) {
            return Err(DecodeError::UnknownTag { field: "statement", offset, found: tag });
        }
        let term = Term::decode(from)?;
        let id = NodeId::decode(from)?;
        let tip = BlockRef::decode(from)?;
        Ok(match tag {
            1 => Self::PreVote { term, candidate: id, tip },
            2 => Self::Vote { term, candidate: id, tip },
            _ => Self::Handover { term, to: id, tip },
        })
    }
}

/// A statement with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    /// What is said.
    pub statement: Statement,
    /// The roster it is said under.
    pub roster_hash: RosterHash,
    /// Who says it.
    pub signer: NodeId,
    /// The signature.
    pub signature: Signature,
}

impl SignedStatement {
    /// Checks that a voter of this roster said it, under this roster.
    ///
    /// # Errors
    /// If it names another roster, its signer does not vote there, or the signature does not fit.
    pub fn verify(
        self,
        chain_id: ChainId,
        roster: &Roster,
        verifier: &dyn Verifier,
    ) -> Result<Checked<Self>, CertificateError> {
        let found = self.roster_hash;
        if found != roster.hash() {
            return Err(CertificateError::OtherRoster { expected: roster.hash(), found });
        }
        let signer = self.signer;
        let voter = roster.member(signer).filter(|_| roster.is_voter(signer));
        let key = &voter.ok_or(CertificateError::NotVoter { signer })?.key;
        let message = self.statement.message(chain_id, self.roster_hash);
        let checked = verifier.validator(key, &message, &self.signature);
        checked.map_err(|_| CertificateError::BadSignature { signer })?;
        Ok(Checked::verified(self))
    }
}

impl Encode for SignedStatement {
    fn encode(&self, out: &mut Vec<u8>) {
        self.statement.encode(out);
        self.roster_hash.encode(out);
        self.signer.encode(out);
        self.signature.encode(out);
    }
}

impl Decode for SignedStatement {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            statement: Statement::decode(from)?,
            roster_hash: RosterHash::decode(from)?,
            signer: NodeId::decode(from)?,
            signature: Signature::decode(from)?,
        })
    }
}
