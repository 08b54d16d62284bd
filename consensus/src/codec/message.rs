//! Messages: what validators tell each other.

use std::sync::Arc;

use quorate_chain::block::{Block, BlockError};
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, DecodeError, Encode, Reader, put_count, put_list, put_option};
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{BlockRef, ChainId, Height, RosterHash, Term};
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::statement::SignedStatement;

use super::BLOCKS;
use crate::config::Incarnation;
use crate::life::SignedLife;
use crate::message::{Append, Beat, Known, Lap, Message, Nonce, Proof, Snapshot, Stored};

/// A message as it came from a peer: the bodies of its blocks are not verified yet, which is most of the
/// work that a message makes and needs nothing of the chain. It can be done anywhere, as long as the
/// messages of one peer reach the core in their order.
///
/// It encodes as the [`Message`] that it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The message without its blocks.
    message: Message,
    /// Its blocks.
    blocks: Vec<Block>,
}

impl Incoming {
    /// The message, without its blocks.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// The blocks that it brings.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Verifies the bodies of its blocks, one after the other.
    ///
    /// # Errors
    /// The first thing that is wrong with one of them.
    pub fn verify(self, chain_id: ChainId, verifier: &dyn Verifier) -> Result<Message, BlockError> {
        let Self { mut message, blocks } = self;
        let blocks = blocks.into_iter().map(|block| block.verify_body(chain_id, verifier));
        let blocks: Vec<_> = blocks.collect::<Result<_, _>>()?;
        if let Some(place) = blocks_of(&mut message) {
            *place = blocks;
        }
        Ok(message)
    }
}

/// Where a message has its blocks, if it may bring any.
fn blocks_of(message: &mut Message) -> Option<&mut Vec<Checked<Block>>> {
    match message {
        Message::Append(append) => Some(&mut append.blocks),
        Message::Pulled { blocks, .. } => Some(blocks),
        Message::PreVoteRequest { .. }
        | Message::VoteRequest { .. }
        | Message::Vote(_)
        | Message::Refuse { .. }
        | Message::Stored(_)
        | Message::Reject { .. }
        | Message::Stale(_)
        | Message::Committed(_)
        | Message::Pull { .. }
        | Message::Snapshot(_)
        | Message::Handover(_)
        | Message::ReadRequest { .. }
        | Message::ReadAt { .. }
        | Message::Greet(_)
        | Message::Known(_)
        | Message::Whereabouts { .. }
        | Message::Standing { .. }
        | Message::Recovering { .. } => None,
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, self, None);
    }
}

impl Encode for Incoming {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, &self.message, Some(&self.blocks));
    }
}

/// An option as a field.
struct Maybe<'a, T>(&'a Option<T>);

impl<T: Encode> Encode for Maybe<'_, T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_option(out, self.0.as_ref());
    }
}

/// A bool as a field.
struct Flag(bool);

impl Encode for Flag {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.0));
    }
}

/// Acks as a field.
struct Acks<'a>(&'a [SignedStatement]);

impl Encode for Acks<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.0.len() <= BLOCKS, "no message brings acks for more than a window");
        put_list(out, self.0);
    }
}

/// Blocks as a field: those aside, if there is such a list, else the message's own.
struct Blocks<'a>(&'a [Checked<Block>], Option<&'a [Block]>);

impl Encode for Blocks<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self(own, aside) = self;
        if let Some(blocks) = aside {
            return put_list(out, blocks);
        }
        assert!(own.len() <= BLOCKS, "no message brings more than a window");
        out.reserve(4 + own.iter().map(|block| block.bytes().len()).sum::<usize>());
        put_count(out, own.len());
        for block in *own {
            block.get().encode(out);
        }
    }
}

/// Appends a tag and the fields behind it.
fn put_fields(out: &mut Vec<u8>, tag: u8, fields: &[&dyn Encode]) {
    out.push(tag);
    for field in fields {
        field.encode(out);
    }
}

/// Appends a message, with the blocks aside instead of its own if there is such a list.
fn put(out: &mut Vec<u8>, message: &Message, aside: Option<&[Block]>) {
    match message {
        Message::PreVoteRequest { term, tip, roster, proof, handover } => {
            put_fields(out, 1, &[term, tip, &**roster, &Maybe(proof), &Maybe(handover)]);
        }
        Message::VoteRequest { tip, proof, handover } => {
            put_fields(out, 2, &[tip, proof, &Maybe(handover)]);
        }
        Message::Vote(statement) => put_fields(out, 3, &[statement]),
        Message::Refuse { proof, tip, committed } => {
            put_fields(out, 4, &[&Maybe(proof), tip, committed]);
        }
        Message::Append(append) => {
            let Append { term, election, lap, beat, parent, blocks, certificate } = &**append;
            let (election, blocks) = (Maybe(election), Blocks(blocks, aside));
            let certificate = Maybe(certificate);
            put_fields(out, 5, &[term, &election, lap, beat, parent, &blocks, &certificate]);
        }
        Message::Stored(stored) => {
            let Stored { term, matched, applied, incarnation, lead, beat, acks } = &**stored;
            put_fields(out, 6, &[term, matched, applied, incarnation, lead, beat, &Acks(acks)]);
        }
        Message::Reject { lap, committed, incarnation, unknown } => {
            put_fields(out, 7, &[lap, committed, incarnation, &Flag(*unknown)]);
        }
        Message::Stale(proof) => put_fields(out, 8, &[proof]),
        Message::Committed(certificate) => put_fields(out, 9, &[certificate]),
        Message::Pull { committed } => put_fields(out, 10, &[committed]),
        Message::Pulled { parent, blocks, certificate } => {
            put_fields(out, 11, &[parent, &Blocks(blocks, aside), &Maybe(certificate)]);
        }
        Message::Handover(statement) => put_fields(out, 12, &[statement]),
        Message::Snapshot(snapshot) => {
            let Snapshot { block, proof } = &**snapshot;
            put_fields(out, 13, &[block, proof]);
        }
        Message::ReadRequest { nonce } => put_fields(out, 14, &[nonce]),
        Message::ReadAt { nonce, height } => put_fields(out, 15, &[nonce, &Maybe(height)]),
        Message::Greet(life) => put_fields(out, 16, &[life]),
        Message::Known(known) => {
            let Known { life, other, vote, ack } = &**known;
            put_fields(out, 17, &[life, &Maybe(other), &Maybe(vote), &Maybe(ack)]);
        }
        Message::Whereabouts { nonce } => put_fields(out, 18, &[nonce]),
        Message::Standing { nonce, proof, roster_hash } => {
            put_fields(out, 19, &[nonce, &Maybe(proof), roster_hash]);
        }
        Message::Recovering { above } => put_fields(out, 20, &[above]),
    }
}

impl Decode for Incoming {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let mut blocks = Vec::new();
        let offset = from.offset();
        let message = match from.u8("message")? {
            5 => Message::Append(Box::new(decode_append(from, &mut blocks)?)),
            11 => {
                let parent = BlockRef::decode(from)?;
                blocks = from.list("blocks", BLOCKS)?;
                let certificate = from.option("certificate")?;
                Message::Pulled { parent, blocks: Vec::new(), certificate }
            }
            tag => decode_without_blocks(tag, offset, from)?,
        };
        Ok(Self { message, blocks })
    }
}

/// Reads an append, its blocks into a list of their own.
fn decode_append(from: &mut Reader, blocks: &mut Vec<Block>) -> Result<Append, DecodeError> {
    let term = Term::decode(from)?;
    let election = from.option("election")?;
    let lap = Lap::decode(from)?;
    let beat = Beat::decode(from)?;
    let parent = BlockRef::decode(from)?;
    *blocks = from.list("blocks", BLOCKS)?;
    let certificate = from.option("certificate")?;
    Ok(Append { term, election, lap, beat, parent, blocks: Vec::new(), certificate })
}

/// Reads the fields behind the tag of a message that brings no blocks. The tag stands at `offset`.
fn decode_without_blocks(
    tag: u8,
    offset: usize,
    from: &mut Reader,
) -> Result<Message, DecodeError> {
    Ok(match tag {
        1 => Message::PreVoteRequest {
            term: Term::decode(from)?,
            tip: BlockRef::decode(from)?,
            roster: Arc::new(Roster::decode(from)?),
            proof: from.option("proof")?,
            handover: from.option("handover")?,
        },
        2 => Message::VoteRequest {
            tip: BlockRef::decode(from)?,
            proof: Proof::decode(from)?,
            handover: from.option("handover")?,
        },
        3 => Message::Vote(SignedStatement::decode(from)?),
        4 => Message::Refuse {
            proof: from.option("proof")?,
            tip: BlockRef::decode(from)?,
            committed: BlockRef::decode(from)?,
        },
        6 => Message::Stored(Box::new(Stored {
            term: Term::decode(from)?,
            matched: BlockRef::decode(from)?,
            applied: Height::decode(from)?,
            incarnation: Incarnation::decode(from)?,
            lead: Lead::decode(from)?,
            beat: Beat::decode(from)?,
            acks: from.list("acks", BLOCKS)?,
        })),
        7 => Message::Reject {
            lap: Lap::decode(from)?,
            committed: BlockRef::decode(from)?,
            incarnation: Incarnation::decode(from)?,
            unknown: from.bool("unknown")?,
        },
        8 => Message::Stale(Proof::decode(from)?),
        9 => Message::Committed(Certificate::decode(from)?),
        10 => Message::Pull { committed: BlockRef::decode(from)? },
        12 => Message::Handover(SignedStatement::decode(from)?),
        13 => {
            let (block, proof) = (BlockRef::decode(from)?, Proof::decode(from)?);
            Message::Snapshot(Box::new(Snapshot { block, proof }))
        }
        tag => return decode_question(tag, offset, from),
    })
}

/// Reads the fields behind the tag of a question, or of an answer to one. The tag stands at `offset`.
fn decode_question(tag: u8, offset: usize, from: &mut Reader) -> Result<Message, DecodeError> {
    Ok(match tag {
        14 => Message::ReadRequest { nonce: Nonce::decode(from)? },
        15 => Message::ReadAt { nonce: Nonce::decode(from)?, height: from.option("height")? },
        16 => Message::Greet(SignedLife::decode(from)?),
        17 => Message::Known(Box::new(Known {
            life: SignedLife::decode(from)?,
            other: from.option("other")?,
            vote: from.option("vote")?,
            ack: from.option("ack")?,
        })),
        18 => Message::Whereabouts { nonce: Nonce::decode(from)? },
        19 => Message::Standing {
            nonce: Nonce::decode(from)?,
            proof: from.option("proof")?,
            roster_hash: RosterHash::decode(from)?,
        },
        20 => Message::Recovering { above: Term::decode(from)? },
        found => return Err(DecodeError::UnknownTag { field: "message", offset, found }),
    })
}
