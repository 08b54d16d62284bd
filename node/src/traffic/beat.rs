//! What a node says of itself, signed, to all who listen.
//!
//! ```text
//! "quorate/1/beat" ‖ chain id ‖ node ‖ incarnation ‖ boot ‖ number ‖ term ‖ leader: option
//!    ‖ tip ‖ committed ‖ applied ‖ lead ‖ alive: list of node ‖ api: text ‖ signature
//! ```
//!
//! Numbers count the beats of one start of a node, and boots its starts: of two beats the one with the
//! higher (boot, number) is the newer one, and an older one is not listened to.
//!
//! Nothing rests on a beat but what people are shown: whoever signs may say anything of itself.

use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::codec::{Decode, DecodeError, Encode, Reader, put_bytes, put_list, put_option};
use quorate_chain::crypto::{ValidatorKey, Verifier};
use quorate_chain::ids::{BlockRef, ChainId, Height, NodeId, Signature, Term};
use quorate_chain::limits;
use quorate_chain::roster::Lead;
use quorate_consensus::config::Incarnation;

use super::{Identity, Neighbours};
use crate::threads::View;

const DOMAIN: &[u8] = b"quorate/1/beat";

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: u64,
    pub(crate) number: u64,
    pub(crate) term: Term,
    pub(crate) leader: Option<NodeId>,
    pub(crate) tip: BlockRef,
    pub(crate) committed: BlockRef,
    pub(crate) applied: Height,
    pub(crate) lead: Lead,
    pub(crate) alive: Vec<NodeId>,
    pub(crate) api: String,
}

impl Encode for Beat {
    fn encode(&self, out: &mut Vec<u8>) {
        self.node.encode(out);
        self.incarnation.encode(out);
        out.extend_from_slice(&self.boot.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        self.term.encode(out);
        put_option(out, self.leader.as_ref());
        self.tip.encode(out);
        self.committed.encode(out);
        self.applied.encode(out);
        self.lead.encode(out);
        put_list(out, &self.alive);
        put_bytes(out, self.api.as_bytes());
    }
}

impl Decode for Beat {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            node: NodeId::decode(from)?,
            incarnation: Incarnation::decode(from)?,
            boot: from.u64("boot")?,
            number: from.u64("number")?,
            term: Term::decode(from)?,
            leader: from.option("leader")?,
            tip: BlockRef::decode(from)?,
            committed: BlockRef::decode(from)?,
            applied: Height::decode(from)?,
            lead: Lead::decode(from)?,
            alive: from.list("alive", 2 * limits::MEMBERS)?,
            api: from.text("api", limits::ADDRESS)?,
        })
    }
}

fn message(chain_id: ChainId, beat: &Beat) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    chain_id.encode(&mut message);
    beat.encode(&mut message);
    message
}

/// Why something is no beat.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadBeat {
    /// It cannot be read.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// It is meant for another chain, or is something else.
    #[error("it is no beat of this chain")]
    OtherChain,
    /// Nobody with this id is known.
    #[error("it is of node {0}, who is not in the roster")]
    Unknown(NodeId),
    /// It is not signed by who it says.
    #[error("it is not signed by node {0}")]
    Signature(NodeId),
}

impl Beat {
    /// Reads a beat, and checks that the node has signed it whose key is asked for.
    pub(super) fn read(
        bytes: &Bytes,
        chain_id: ChainId,
        verifier: &dyn Verifier,
        key: impl FnOnce(NodeId) -> Option<ValidatorKey>,
    ) -> Result<Self, BadBeat> {
        let mut reader = Reader::new(bytes.clone());
        let domain = reader.array::<{ DOMAIN.len() }>("domain")?;
        if domain != DOMAIN || ChainId::decode(&mut reader)? != chain_id {
            return Err(BadBeat::OtherChain);
        }
        let beat = Self::decode(&mut reader)?;
        let signed = reader.offset();
        let signature = Signature::decode(&mut reader)?;
        reader.finish()?;
        let key = key(beat.node).ok_or(BadBeat::Unknown(beat.node))?;
        verifier
            .validator(&key, &bytes[..signed], &signature)
            .map_err(|_| BadBeat::Signature(beat.node))?;
        Ok(beat)
    }
}

/// Says what a node is.
pub(super) struct Speaker {
    identity: Identity,
    neighbours: Arc<Neighbours>,
    number: u64,
}

impl Speaker {
    pub(super) fn new(identity: Identity, neighbours: Arc<Neighbours>) -> Self {
        Self { identity, neighbours, number: 0 }
    }

    /// The next beat, signed.
    pub(super) fn say(&mut self, view: &View) -> Bytes {
        self.number += 1;
        let (identity, status) = (&self.identity, &view.status);
        let beat = Beat {
            node: identity.id,
            incarnation: identity.incarnation,
            boot: identity.boot,
            number: self.number,
            term: status.term,
            leader: status.leader,
            tip: status.tip,
            committed: status.committed,
            applied: status.applied.height,
            lead: identity.lead,
            alive: self.neighbours.alive(),
            api: identity.api.clone().unwrap_or_default(),
        };
        let mut bytes = message(identity.chain_id, &beat);
        identity.key.sign(&bytes).encode(&mut bytes);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::crypto::{Ed25519, SecretKey};

    use super::*;

    const CHAIN: ChainId = ChainId::new([3; 32]);

    fn key() -> SecretKey {
        SecretKey::from_seed(&[1; 32])
    }

    fn beat() -> Beat {
        let genesis = CHAIN.genesis_ref();
        Beat {
            node: NodeId::new(4),
            incarnation: Incarnation(77),
            boot: 2,
            number: 9,
            term: Term::new(5),
            leader: Some(NodeId::new(1)),
            tip: BlockRef { height: Height::new(8), ..genesis },
            committed: BlockRef { height: Height::new(7), ..genesis },
            applied: Height::new(6),
            lead: Lead::Prefer,
            alive: vec![NodeId::new(0), NodeId::new(1)],
            api: "http://127.0.0.1:7604".to_owned(),
        }
    }

    fn signed(beat: &Beat, by: &SecretKey) -> Vec<u8> {
        let mut bytes = message(CHAIN, beat);
        by.sign(&bytes).encode(&mut bytes);
        bytes
    }

    fn read(bytes: Vec<u8>, chain: ChainId) -> Result<Beat, BadBeat> {
        let of = |node: NodeId| (node.get() == 4).then(|| key().validator_key());
        Beat::read(&bytes.into(), chain, &Ed25519, of)
    }

    #[test]
    fn a_beat_is_read_as_it_was_said_by_who_has_signed_it() {
        assert_eq!(read(signed(&beat(), &key()), CHAIN).unwrap(), beat());
        let other = SecretKey::from_seed(&[2; 32]);
        let forged = read(signed(&beat(), &other), CHAIN);
        assert!(matches!(forged, Err(BadBeat::Signature(_))), "{forged:?}");
        let stranger = read(signed(&Beat { node: NodeId::new(5), ..beat() }, &key()), CHAIN);
        assert!(matches!(stranger, Err(BadBeat::Unknown(_))), "{stranger:?}");
        let elsewhere = read(signed(&beat(), &key()), ChainId::new([4; 32]));
        assert!(matches!(elsewhere, Err(BadBeat::OtherChain)), "{elsewhere:?}");
    }

    #[test]
    fn no_changed_byte_and_no_part_of_a_beat_is_one() {
        let whole = signed(&beat(), &key());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(read(changed, CHAIN).is_err(), "with byte {at} changed");
            assert!(read(whole[..at].to_vec(), CHAIN).is_err(), "the first {at} bytes");
        }
        let longer = [whole, vec![0]].concat();
        assert!(read(longer, CHAIN).is_err(), "with a byte more");
    }
}
