//! Who belongs to the group, and what waits here.

use std::collections::BTreeMap;

use quorate_chain::ids::{Height, NodeId, RosterHash};
use quorate_chain::roster::{Lead, Member, QuorumKind};
use serde::Serialize;

use super::answers::Peer;
use super::ledger::{Answered, Ledger};
use super::status::{millis, word};
use crate::net::peer_id_text;

/// How many heights back it is looked whose signatures stand under certificates.
const LOOK_BACK: u64 = 64;

/// `GET /v1/validators`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Validators {
    roster_hash: RosterHash,
    quorum: usize,
    finality_quorum: usize,
    joint: bool,
    validators: Vec<Validator>,
}

#[derive(Clone, Debug, Serialize)]
struct Validator {
    node_id: NodeId,
    name: String,
    public_key: String,
    peer_id: Option<String>,
    voter: bool,
    lead: Lead,
    state: &'static str,
    last_seen_ms: Option<u64>,
    last_signed_height: Option<Height>,
    api: Option<String>,
    p2p: Vec<String>,
}

/// `GET /v1/peers`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerInfo {
    #[serde(flatten)]
    peer: Peer,
    address: Option<String>,
    rtt_us: Option<u64>,
    direction: Option<&'static str>,
}

/// `GET /v1/mempool`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mempool {
    transactions: usize,
    /// Of memory, as the limit is.
    bytes: usize,
    /// How long what has waited longest waits.
    oldest_ms: Option<u64>,
    limit_transactions: usize,
    limit_bytes: usize,
}

impl Ledger {
    /// Everybody in the roster, this node among them.
    pub(crate) async fn validators(&self) -> Answered<Validators> {
        let view = self.view.borrow().clone();
        let signed = self.last_signed(view.status.applied.height).await?;
        let neighbours = self.neighbours();
        let current = view.roster.current();
        let validator = |member: &Member| {
            let neighbour = neighbours.get(&member.id);
            let own = member.id == self.facts.id;
            let state = neighbour.map_or("dead", |other| word(other.liveness));
            let seen = neighbour.and_then(|other| other.last_seen);
            Validator {
                node_id: member.id,
                name: member.name.clone(),
                public_key: member.key.to_string(),
                peer_id: peer_id_text(&member.key),
                voter: member.is_voter(),
                lead: if own { self.lead() } else { member.lead },
                state: if own { "alive" } else { state },
                last_seen_ms: if own { Some(0) } else { seen.map(millis) },
                last_signed_height: signed.get(&member.id).copied(),
                api: self.api_of(&view, member.id),
                p2p: member.p2p.clone(),
            }
        };
        let members = view.roster.ids().into_iter().filter_map(|id| view.roster.member(id));
        Ok(Validators {
            roster_hash: view.roster.hash(),
            quorum: current.quorum(QuorumKind::Commit),
            finality_quorum: current.quorum(QuorumKind::Finality),
            joint: view.roster.is_joint(),
            validators: members.map(validator).collect(),
        })
    }

    /// The newest height for which each validator's ack stands in a certificate here, as far as the
    /// newest certificates tell.
    async fn last_signed(&self, applied: Height) -> Answered<BTreeMap<NodeId, Height>> {
        let from = applied.get().saturating_sub(LOOK_BACK).max(1);
        self.read(move |store| {
            let (mut signed, mut next) = (BTreeMap::new(), Some(Height::new(from)));
            while let Some(at) = next.filter(|at| *at <= applied) {
                let Some(certificate) = store.certificate(at)? else { break };
                let height = certificate.block().height;
                signed.extend(certificate.signers().into_iter().map(|signer| (signer, height)));
                next = height.next();
            }
            Ok(signed)
        })
        .await
    }

    /// The other nodes. What this node does not know of a connection is null.
    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        let view = self.view.borrow().clone();
        let neighbours = self.neighbours();
        let info = |peer: Peer| {
            let address = view.roster.member(peer.node_id).and_then(|m| m.p2p.first().cloned());
            let neighbour = neighbours.get(&peer.node_id);
            let round_trip = neighbour.and_then(|other| other.round_trip);
            let dialled = neighbour.and_then(|other| other.dialled);
            PeerInfo {
                peer,
                address,
                rtt_us: round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
                direction: dialled.map(|ours| if ours { "outbound" } else { "inbound" }),
            }
        };
        self.status().peers.into_iter().map(info).collect()
    }

    /// What waits to be ordered, and what may.
    pub(crate) fn mempool(&self) -> Mempool {
        let (load, since) = {
            let status = &self.view.borrow().status;
            (status.mempool, status.waiting_since)
        };
        let now = self.clock.now().moment;
        let oldest_ms = since.map(|since| now.since(since).as_micros() / 1_000);
        Mempool {
            transactions: load.transactions,
            bytes: load.memory,
            oldest_ms,
            limit_transactions: self.facts.mempool_transactions,
            limit_bytes: self.facts.mempool_bytes,
        }
    }
}
