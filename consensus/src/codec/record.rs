//! Records: what the log keeps.

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::codec::{Decode, DecodeError, Encode, Reader, put_count, put_option};
use quorate_chain::ids::{BlockRef, NodeId, Term};

use super::{BLOCKS, put_proof};
use crate::ballot::{Ballot, Choice};
use crate::effect::Record;
use crate::message::Proof;

/// A record as the log has it: nothing in it is marked as verified.
///
/// It encodes as the [`Record`] that it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A [`Ballot`]. Its proof is of its term, and absent at term 0 only.
    Ballot {
        /// The term.
        term: Term,
        /// What raised the term.
        proof: Option<Proof>,
        /// The vote.
        choice: Choice,
        /// Whether something that was signed may be forgotten.
        recovering: bool,
    },
    /// A commit certificate.
    Certificate(Certificate),
    /// The chain ends with these blocks above that one.
    Branch {
        /// The block that the first one stands on.
        above: BlockRef,
        /// The blocks, in order.
        blocks: Vec<Block>,
    },
}

const BALLOT: u8 = 1;
const BRANCH: u8 = 2;
const CERTIFICATE: u8 = 3;

impl Encode for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ballot(ballot) => ballot.encode(out),
            Self::Certificate(certificate) => put_certificate(out, certificate),
            Self::Branch { above, blocks } => {
                let blocks = blocks.iter().map(|block| block.get());
                put_branch(out, *above, blocks);
            }
        }
    }
}

/// Encodes a ballot as the record that keeps it.
impl Encode for Ballot {
    fn encode(&self, out: &mut Vec<u8>) {
        let proof = self.proof.as_ref();
        let raised = proof.map_or(Term::ZERO, |proof| proof.term());
        assert_eq!(self.term, raised, "a ballot's proof is of its term");
        out.push(BALLOT);
        self.term.encode(out);
        out.push(u8::from(proof.is_some()));
        if let Some(proof) = proof {
            put_proof(out, &proof.certificate, &proof.roster);
        }
        self.choice.encode(out);
        out.push(u8::from(self.recovering));
    }
}

impl Encode for Written {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ballot { term, proof, choice, recovering } => {
                out.push(BALLOT);
                term.encode(out);
                put_option(out, proof.as_ref());
                choice.encode(out);
                out.push(u8::from(*recovering));
            }
            Self::Certificate(certificate) => put_certificate(out, certificate),
            Self::Branch { above, blocks } => put_branch(out, *above, blocks.iter()),
        }
    }
}

fn put_certificate(out: &mut Vec<u8>, certificate: &Certificate) {
    out.push(CERTIFICATE);
    certificate.encode(out);
}

fn put_branch<'a>(
    out: &mut Vec<u8>,
    above: BlockRef,
    blocks: impl ExactSizeIterator<Item = &'a Block> + Clone,
) {
    assert!(blocks.len() <= BLOCKS, "no branch is longer than a window");
    out.reserve(64 + blocks.clone().map(|block| block.bytes().len()).sum::<usize>());
    out.push(BRANCH);
    above.encode(out);
    put_count(out, blocks.len());
    for block in blocks {
        block.encode(out);
    }
}

impl Decode for Written {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("record")? {
            BALLOT => {
                let offset = from.offset();
                let term = Term::decode(from)?;
                let proof: Option<Proof> = from.option("proof")?;
                let raised = proof.as_ref().map_or(Term::ZERO, |proof| proof.certificate.term());
                Reader::require(raised == term, "term", offset, "it is the one of the proof")?;
                let (choice, recovering) = (Choice::decode(from)?, from.bool("recovering")?);
                Ok(Self::Ballot { term, proof, choice, recovering })
            }
            BRANCH => Ok(Self::Branch {
                above: BlockRef::decode(from)?,
                blocks: from.list("blocks", BLOCKS)?,
            }),
            CERTIFICATE => Ok(Self::Certificate(Certificate::decode(from)?)),
            found => Err(DecodeError::UnknownTag { field: "record", offset, found }),
        }
    }
}

impl Encode for Choice {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open => out.push(1),
            Self::For { candidate, tip } => {
                out.push(2);
                candidate.encode(out);
                tip.encode(out);
            }
            Self::Spent => out.push(3),
        }
    }
}

impl Decode for Choice {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("choice")? {
            1 => Ok(Self::Open),
            2 => Ok(Self::For { candidate: NodeId::decode(from)?, tip: BlockRef::decode(from)? }),
            3 => Ok(Self::Spent),
            found => Err(DecodeError::UnknownTag { field: "choice", offset, found }),
        }
    }
}
