//! Pieces of a snapshot, and what asks for them, as bytes.
//!
//! ```text
//! ask     block ref ‖ 1 head · 2 entries: option of path · 3 steps: height
//! piece   1 head: signed header ‖ roster ‖ its first height ‖ number of entries ‖ hash at the top of their tree
//!           ‖ link of the outcomes ‖ certificate path
//!         2 entries: list of (state key ‖ state entry)
//!         3 gone
//!         4 steps: list of roster step
//! ```

use quorate_chain::block::SignedHeader;
use quorate_chain::certificate::CertificatePath;
use quorate_chain::codec::{Decode, DecodeError, Encode, Reader, put_count, put_list, put_option};
use quorate_chain::ids::{BlockRef, Hash, Height};
use quorate_chain::roster::Roster;
use quorate_chain::state::{StateEntry, StateKey};
use quorate_chain::state_root::StateSize;

use super::{Ask, Head, Piece, Wanted};

/// Most entries in a piece: far more than fit into the bytes of one.
const ENTRIES: usize = 1 << 20;
/// Most steps in a piece.
const STEPS: usize = 1 << 12;

impl Encode for Ask {
    fn encode(&self, out: &mut Vec<u8>) {
        self.block.encode(out);
        match &self.what {
            Wanted::Head => out.push(1),
            Wanted::Entries { after } => {
                out.push(2);
                put_option(out, after.as_ref());
            }
            Wanted::Steps { above } => {
                out.push(3);
                above.encode(out);
            }
        }
    }
}

impl Decode for Ask {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let block = BlockRef::decode(from)?;
        let offset = from.offset();
        let what = match from.u8("wanted")? {
            1 => Wanted::Head,
            2 => Wanted::Entries { after: from.option("after")? },
            3 => Wanted::Steps { above: Height::decode(from)? },
            found => return Err(DecodeError::UnknownTag { field: "wanted", offset, found }),
        };
        Ok(Self { block, what })
    }
}

impl Encode for Head {
    fn encode(&self, out: &mut Vec<u8>) {
        self.anchor.encode(out);
        self.roster.encode(out);
        self.roster_since.encode(out);
        self.size.encode(out);
        self.outcomes.encode(out);
        self.path.encode(out);
    }
}

impl Decode for Head {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            anchor: SignedHeader::decode(from)?,
            roster: Roster::decode(from)?,
            roster_since: Height::decode(from)?,
            size: StateSize::decode(from)?,
            outcomes: Hash::decode(from)?,
            path: CertificatePath::decode(from)?,
        })
    }
}

impl Encode for Piece {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Head(head) => {
                out.push(1);
                head.encode(out);
            }
            Self::Entries(entries) => {
                out.push(2);
                put_count(out, entries.len());
                for (key, entry) in entries {
                    key.encode(out);
                    entry.encode(out);
                }
            }
            Self::Gone => out.push(3),
            Self::Steps(steps) => {
                out.push(4);
                put_list(out, steps);
            }
        }
    }
}

impl Decode for Piece {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("piece")? {
            1 => Ok(Self::Head(Box::new(Head::decode(from)?))),
            2 => {
                let count = from.count("entries", ENTRIES)?;
                let mut entries = Vec::new();
                for _ in 0..count {
                    entries.push((StateKey::decode(from)?, StateEntry::decode(from)?));
                }
                Ok(Self::Entries(entries))
            }
            3 => Ok(Self::Gone),
            4 => Ok(Self::Steps(from.list("steps", STEPS)?)),
            found => Err(DecodeError::UnknownTag { field: "piece", offset, found }),
        }
    }
}
