//! What stands in the log: the records of a replica, byte for byte.
//!
//! The preamble of the log is the [`Life`]: which log this is, and the newest ballot. A record is a
//! part of a branch:
//!
//! ```text
//! part u32 ‖ more bool ‖ above (term, height, hash) ‖ blocks: count u32, then each
//! ```
//!
//! or is a commit certificate, which stands before the first block that names a state it covers, or says
//! where the log begins anew: above the applied block, whose ref it has. A log has one after a
//! repair and after a snapshot.
//!
//! A branch that is too long for one record is cut into parts, numbered from 0. Only with its last
//! part, which says that no more follow, does it count; parts without it are what a crash left of a
//! branch that nobody was told is durable. The tag of every part is the rank of the last block of the whole
//! branch: the log is pruned by tags, and must not let go of the first part while the last one counts.
//! (Older logs have parts with the rank of their own last block; `replay` reads what is left of those.)
//!
//! Left out: compression, and the signatures of what stands here: the log has checksums, and blocks and
//! certificates have signatures of their own.

use bytes::Bytes;
use quorate_chain::block::Block;
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, DecodeError, Encode, Reader, put_count};
use quorate_chain::ids::BlockRef;
use quorate_consensus::ballot::Ballot;
use quorate_consensus::codec::{BLOCKS, Written};
use quorate_consensus::config::Incarnation;
use quorate_consensus::judge::Proven;
use quorate_consensus::message::Proof;
use quorate_wal::Tag;

/// The kind of a record that holds a part of a branch.
pub const BRANCH: u8 = 1;

/// The kind of a record that says where the log begins anew: its payload is the ref of the block that is
/// applied, and what stands before it counts no more.
pub const START: u8 = 2;

/// The kind of a record that is a commit certificate. Its tag is the rank of the certified block.
pub const CERTIFICATE: u8 = 3;

/// Bytes of a part besides its blocks.
const PART: usize = 4 + 1 + 8 + 8 + 32 + 4;

/// What the preamble of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Which log this is.
    pub incarnation: Incarnation,
    /// How often it has been opened.
    pub boot: u64,
    /// The ballot.
    pub ballot: Ballot,
}

impl Encode for Life {
    fn encode(&self, out: &mut Vec<u8>) {
        self.incarnation.encode(out);
        out.extend_from_slice(&self.boot.to_be_bytes());
        self.ballot.encode(out);
    }
}

impl Decode for Life {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let incarnation = Incarnation::decode(from)?;
        let boot = from.u64("boot")?;
        let offset = from.offset();
        let Written::Ballot { term, proof, choice, recovering } = Written::decode(from)? else {
            let rule = "the preamble has a ballot";
            return Err(DecodeError::Invalid { field: "record", offset, rule });
        };
        // The proof was judged before it was written.
        let proof = proof.map(|Proof { certificate, roster }| Proven {
            certificate: Checked::vouch(certificate),
            roster,
        });
        Ok(Self { incarnation, boot, ballot: Ballot { term, proof, choice, recovering } })
    }
}

/// A part of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 0.
    pub number: u32,
    /// Whether more follow.
    pub more: bool,
    /// The block that the branch stands on.
    pub above: BlockRef,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

impl Encode for Part {
    fn encode(&self, out: &mut Vec<u8>) {
        put_part(out, self.number, self.more, self.above, self.blocks.iter());
    }
}

impl Decode for Part {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let number = from.u32("part")?;
        let more = from.bool("more")?;
        let above = BlockRef::decode(from)?;
        let offset = from.offset();
        let blocks: Vec<Block> = from.list("blocks", BLOCKS)?;
        Reader::require(!blocks.is_empty(), "blocks", offset, "a part has at least one block")?;
        Ok(Self { number, more, above, blocks })
    }
}

/// The tag of a record that ends with this block.
pub(crate) fn tag(block: BlockRef) -> Tag {
    Tag { term: block.term.get(), height: block.height.get() }
}

/// The tag of a record about this block, which need not be in the log yet: it is kept as long as the block, and does
/// not say that the log has got so far. A log that has lost its last blocks would seem to be whole.
pub(crate) fn about(block: BlockRef) -> Tag {
    Tag { term: 0, height: block.height.get() }
}

/// A branch as records, each of at most `limit` bytes unless a single block needs more.
pub fn parts(above: BlockRef, blocks: &[Checked<Block>], limit: usize) -> Vec<(Tag, Bytes)> {
    let mut groups: Vec<&[Checked<Block>]> = Vec::new();
    let (mut start, mut length) = (0, PART);
    for (at, block) in blocks.iter().enumerate() {
        let size = block.bytes().len();
        if at > start && (length + size > limit || at - start == BLOCKS) {
            groups.push(&blocks[start..at]);
            (start, length) = (at, PART);
        }
        length += size;
    }
    groups.push(&blocks[start..]);
    let last = groups.len() - 1;
    let end = tag(blocks.last().map_or(above, |block| block.block_ref()));
    let part = |(number, group): (u32, &[Checked<Block>])| {
        let mut out = Vec::new();
        let more = (number as usize) < last;
        put_part(&mut out, number, more, above, group.iter().map(Checked::get));
        (end, Bytes::from(out))
    };
    (0_u32..).zip(groups).map(part).collect()
}

fn put_part<'a>(
    out: &mut Vec<u8>,
    number: u32,
    more: bool,
    above: BlockRef,
    blocks: impl ExactSizeIterator<Item = &'a Block> + Clone,
) {
    out.reserve(PART + blocks.clone().map(|block| block.bytes().len()).sum::<usize>());
    out.extend_from_slice(&number.to_be_bytes());
    out.push(u8::from(more));
    above.encode(out);
    put_count(out, blocks.len());
    blocks.for_each(|block| block.encode(out));
}
