//! What is known of other nodes: that they are there, by what is heard; how they fare, by their word.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use quorate_chain::crypto::Ed25519;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_chain::roster::Roster;
use tracing::debug;

use super::beat::Beat;
use crate::api::{Liveness, Neighbour, Neighbourhood};
use crate::net::{self, NetHandle};

struct Known {
    roster: Roster,
    beats: BTreeMap<NodeId, Beat>,
}

/// What is known of other nodes.
pub(crate) struct Neighbours {
    chain_id: ChainId,
    known: Mutex<Known>,
    net: OnceLock<NetHandle>,
}

impl Neighbours {
    pub(super) fn new(chain_id: ChainId, roster: Roster) -> Self {
        let known = Mutex::new(Known { roster, beats: BTreeMap::new() });
        Self { chain_id, known, net: OnceLock::new() }
    }

    /// Says which network tells who is there.
    pub(super) fn connect(&self, net: NetHandle) {
        let first = self.net.set(net).is_ok();
        assert!(first, "a node has one network");
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another roster is in force.
    pub(super) fn know(&self, roster: &Roster) {
        let mut known = self.known();
        known.roster = roster.clone();
        known.beats.retain(|node, _| roster.member(*node).is_some());
    }

    /// Takes what somebody says of itself.
    pub(super) fn hear(&self, from: NodeId, bytes: &Bytes) {
        let mut known = self.known();
        let roster = &known.roster;
        let key = |node| Some(roster.member(node)?.key.clone());
        match Beat::read(bytes, self.chain_id, &Ed25519, key) {
            Ok(beat) => {
                let before = known.beats.get(&beat.node);
                // Starts of two logs cannot be compared; whom it came from itself is not long gone.
                let newer = |last: &Beat| match beat.incarnation == last.incarnation {
                    true => (beat.boot, beat.number) > (last.boot, last.number),
                    false => from == beat.node,
                };
                if before.is_none_or(newer) {
                    known.beats.insert(beat.node, beat);
                }
            }
            Err(why) => debug!(peer = from.get(), %why, "a beat is not listened to"),
        }
    }

    /// Who is there.
    pub(super) fn alive(&self) -> Vec<NodeId> {
        let all = self.net.get().map(NetHandle::peers).unwrap_or_default();
        let alive = all.into_iter().filter(|peer| peer.liveness == net::Liveness::Alive);
        alive.map(|peer| peer.node).collect()
    }
}

impl Neighbourhood for Neighbours {
    fn neighbours(&self) -> Vec<Neighbour> {
        let all = self.net.get().map(NetHandle::peers).unwrap_or_default();
        let known = self.known();
        let neighbour = |peer: net::PeerStatus| {
            let beat = known.beats.get(&peer.node);
            Neighbour {
                node: peer.node,
                liveness: match peer.liveness {
                    net::Liveness::Alive => Liveness::Alive,
                    net::Liveness::Suspect => Liveness::Suspect,
                    net::Liveness::Dead => Liveness::Dead,
                },
                last_seen: peer.silence,
                round_trip: peer.round_trip,
                dialled: peer.linked.then_some(peer.dialled),
                committed: beat.map(|beat| beat.committed.height),
                term: beat.map(|beat| beat.term),
                api: beat.map(|beat| beat.api.clone()).filter(|api| !api.is_empty()),
            }
        };
        all.into_iter().map(neighbour).collect()
    }
}
