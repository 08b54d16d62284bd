//! The node's side of the network: plain calls that never wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use libp2p::request_response::ResponseChannel;
use quorate_chain::ids::NodeId;
use tokio::sync::{mpsc, watch};

use super::event::{Lane, RequestId, Topic};
use super::identity::Peer;
use super::shared::{Counts, PeerStatus, Shared, count};

/// What a handle asks of the hub.
pub(super) enum Order {
    /// Ask a peer.
    Request { id: RequestId, to: NodeId, bytes: Bytes },
    /// Answer a peer.
    Answer { channel: ResponseChannel<Bytes>, bytes: Bytes },
    /// Tell all.
    Publish { topic: Topic, bytes: Bytes },
}

/// The way to answer one request. Dropped, it tells the peer that there is no answer.
#[derive(Debug)]
pub struct Reply {
    pub(super) channel: ResponseChannel<Bytes>,
    pub(super) orders: mpsc::WeakSender<Order>,
}

impl Reply {
    /// Answers. The answer may be lost.
    pub fn answer(self, bytes: Bytes) {
        let Self { channel, orders } = self;
        if let Some(orders) = orders.upgrade() {
            // Too much is asked of the network: the peer learns that there is no answer.
            drop(orders.try_send(Order::Answer { channel, bytes }));
        }
    }
}

/// The network, for every thread that wants something of it. No call waits.
#[derive(Clone)]
pub struct NetHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) allowed: watch::Sender<Arc<Vec<Peer>>>,
    pub(super) requests: Arc<AtomicU64>,
}

impl NetHandle {
    /// Sends a frame to a peer; whether it could be queued. The frames of one lane arrive in their
    /// order. They may be lost, with the link or because too many wait; an empty frame or one above the
    /// limit is not sent.
    pub fn send(&self, to: NodeId, lane: Lane, bytes: Bytes) -> bool {
        self.shared.send(to, lane, bytes)
    }

    /// Asks a peer. An answer comes as an event, and so does that there will be none. `None` if the
    /// network has too much to do.
    #[must_use]
    pub fn request(&self, to: NodeId, bytes: Bytes) -> Option<RequestId> {
        let id = RequestId(self.requests.fetch_add(1, Relaxed));
        self.order(Order::Request { id, to, bytes }).then_some(id)
    }

    /// Tells all peers that are there; whether it could be queued.
    pub fn publish(&self, topic: Topic, bytes: Bytes) -> bool {
        self.order(Order::Publish { topic, bytes })
    }

    fn order(&self, order: Order) -> bool {
        let queued = self.orders.try_send(order).is_ok();
        if !queued {
            count(&self.shared.counters.unsent);
        }
        queued
    }

    /// Says who may connect from now on. Links to others are closed. A peer whose key and name stay the
    /// same keeps its link, also if it has other addresses now.
    pub fn allow(&self, peers: Vec<Peer>) {
        self.allowed.send_replace(Arc::new(peers));
    }

    /// What is known of each peer, by node.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.shared.statuses()
    }

    /// What has gone wrong so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counters.counts()
    }
}
