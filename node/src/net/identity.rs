//! One key, three names: what signs for a validator also opens its connections, and names it to the
//! others.

use libp2p::identity::{Keypair, PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use quorate_chain::crypto::{SecretKey, ValidatorKey};
use quorate_chain::ids::NodeId;

/// Another node that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name in the roster.
    pub node: NodeId,
    /// Its key.
    pub key: ValidatorKey,
    /// The multiaddresses at which it listens.
    pub addresses: Vec<String>,
}

/// What libp2p calls the owner of this key, as text.
#[must_use]
pub fn peer_id_text(key: &ValidatorKey) -> Option<String> {
    peer_id(key).map(|id| id.to_base58())
}

/// `None` for bytes that are no key for libp2p. A [`ValidatorKey`] always is one, as far as we know.
pub(super) fn peer_id(key: &ValidatorKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

pub(super) fn keypair(key: &SecretKey) -> Option<Keypair> {
    // The copy is erased by the decoder, the seed when it is dropped.
    Keypair::ed25519_from_bytes(&mut key.seed()[..]).ok()
}

/// An address, without the peer id that may stand at its end: whom we dial is said by the roster.
pub(super) fn address(text: &str) -> Option<Multiaddr> {
    let address: Multiaddr = text.parse().ok()?;
    let without_id = address.iter().filter(|part| !matches!(part, Protocol::P2p(_)));
    Some(without_id.collect())
}

/// Whether this is a multiaddress.
#[must_use]
pub(crate) fn is_address(text: &str) -> bool {
    text.parse::<Multiaddr>().is_ok_and(|address| !address.is_empty())
}

/// Whether this is a multiaddress that ends in `/p2p/` and the id of the peer that is to be found there, as
/// [`peer_id_text`] writes it.
#[must_use]
pub(crate) fn is_address_of_peer(text: &str) -> bool {
    let Some((before, id)) = text.rsplit_once("/p2p/") else { return false };
    is_address(before) && id.parse::<PeerId>().is_ok_and(|peer| peer.to_base58() == id)
}
