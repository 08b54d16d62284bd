//! What a core keeps and says, as bytes. The conventions are those of [`quorate_chain::codec`]: one
//! encoding for each value, limits before allocation, nothing after the last field.
//!
//! Encoding is of what the core has: [`Record`] and [`Message`]. Decoding gives less, because bytes
//! prove nothing, and the type says so:
//!
//! - [`Written`] is a record as the log has it. Whether what a validator reads back from its own log may
//!   be taken for verified is for the replica to say, which owns the log.
//! - [`Incoming`] is a message as a peer has sent it. Its blocks are verified by
//!   [`Incoming::verify`], on whatever thread; the rest of it by the core, which knows the rosters.
//!
//! ```text
//! message   1 pre-vote request  term ‖ tip ‖ roster ‖ option of proof ‖ option of handover
//!           2 vote request      tip ‖ proof ‖ option of handover
//!           3 vote              signed statement
//!           4 refuse            option of proof ‖ tip ‖ committed
//!           5 append            term ‖ election: option of proof ‖ lap ‖ beat ‖ parent ‖ blocks
//!                               ‖ option of certificate
//!           6 stored            term ‖ matched ‖ applied ‖ incarnation ‖ lead ‖ beat ‖ acks
//!           7 reject            lap ‖ committed ‖ incarnation ‖ unknown: bool
//!           8 stale             proof
//!           9 committed         certificate
//!          10 pull              committed
//!          11 pulled            parent ‖ blocks ‖ option of certificate
//!          12 handover          signed statement
//!          13 snapshot          block: block ref ‖ proof
//!          14 read request      nonce
//!          15 read at           nonce ‖ option of height
//!          16 greet             life
//!          17 known             life ‖ other: option of life ‖ vote: option of signed statement
//!                               ‖ ack: option of signed statement
//!          18 whereabouts       nonce
//!          19 standing          nonce ‖ option of proof ‖ roster hash
//!          20 recovering        above: term
//!
//! record    1 ballot            term ‖ option of proof ‖ choice ‖ recovering: bool
//!           2 branch            above: block ref ‖ blocks
//!           3 certificate       certificate
//!
//! proof     certificate ‖ roster            the roster is the one that the certificate names
//! choice    1 open · 2 for: candidate ‖ tip · 3 spent
//! life      incarnation ‖ boot ‖ nonce
//! blocks    list of block ≤ 4,096
//! acks      list of signed statement ≤ 4,096
//! ```
//!
//! A ballot's proof is of the ballot's term, and absent at term 0 only.
//!
//! Left out: versions. The log's own header has one, and peers agree on one when they connect.

mod message;
mod record;

use std::sync::Arc;

use quorate_chain::certificate::Certificate;
use quorate_chain::codec::{Decode, DecodeError, Encode, Reader};
use quorate_chain::ids::Signature;
use quorate_chain::roster::Roster;

use crate::config::{Boot, Incarnation};
use crate::life::{Life, SignedLife};
use crate::message::{Beat, Lap, Nonce, Proof};

pub use message::Incoming;
pub use record::Written;

#[expect(unused_imports, reason = "for the links above")]
use crate::{effect::Record, message::Message};

/// Blocks in one record or message, and acks in one message. No window is larger.
pub const BLOCKS: usize = 4_096;

/// Blocks in a range that is read for another node, if certificates let it end: as many again may have to follow up to
/// the next one.
pub const RANGE: usize = BLOCKS / 2;

/// Encodes a newtype as its bare value.
macro_rules! numbers {
    ($($number:ident $field:literal),*) => {
        $(impl Encode for $number {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0.to_be_bytes());
            }
        }
        impl Decode for $number {
            fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
                from.u64($field).map(Self)
            }
        })*
    };
}

numbers! { Lap "lap", Beat "beat", Nonce "nonce", Incarnation "incarnation", Boot "boot" }

impl Encode for Life {
    fn encode(&self, out: &mut Vec<u8>) {
        self.incarnation.encode(out);
        self.boot.encode(out);
        self.nonce.encode(out);
    }
}

impl Decode for Life {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            incarnation: Incarnation::decode(from)?,
            boot: Boot::decode(from)?,
            nonce: Nonce::decode(from)?,
        })
    }
}

impl Encode for SignedLife {
    fn encode(&self, out: &mut Vec<u8>) {
        self.life.encode(out);
        self.signature.encode(out);
    }
}

impl Decode for SignedLife {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { life: Life::decode(from)?, signature: Signature::decode(from)? })
    }
}

/// Appends a proof by its parts.
fn put_proof(out: &mut Vec<u8>, certificate: &Certificate, roster: &Roster) {
    assert_eq!(certificate.roster_hash(), roster.hash(), "a proof brings the roster it names");
    certificate.encode(out);
    roster.encode(out);
}

impl Encode for Proof {
    fn encode(&self, out: &mut Vec<u8>) {
        put_proof(out, &self.certificate, &self.roster);
    }
}

impl Decode for Proof {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let certificate = Certificate::decode(from)?;
        let offset = from.offset();
        let roster = Arc::new(Roster::decode(from)?);
        let named = certificate.roster_hash() == roster.hash();
        Reader::require(named, "roster", offset, "it is the one that the certificate names")?;
        Ok(Self { certificate, roster })
    }
}
