//! What the network tells the node.

use std::sync::mpsc::{SyncSender, TrySendError};

use bytes::Bytes;
use quorate_chain::ids::NodeId;

use super::frame::Frame;
use super::handle::Reply;

/// One of the two ordered streams of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Small messages that must not wait behind blocks.
    Control,
    /// Blocks.
    Blocks,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Control, Self::Blocks];
}

/// What is gossiped about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// What each validator says of itself.
    Beat,
    /// Committed headers with certificates.
    Block,
}

impl Topic {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Beat, Self::Block];
}

/// The name of a request among those of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What happens on the network. The frames of a link come after its [`LinkUp`](Self::LinkUp) and before its
/// [`LinkLost`](Self::LinkLost); those of a lane in the order in which they were sent, and some may be missing.
#[derive(Debug)]
pub enum NetEvent {
    /// A peer has sent something.
    Frame {
        /// The peer.
        from: NodeId,
        /// On which lane.
        lane: Lane,
        /// What.
        frame: Frame,
    },
    /// A peer can be reached.
    LinkUp {
        /// The peer.
        node: NodeId,
    },
    /// The link to a peer is closed.
    LinkLost {
        /// The peer.
        node: NodeId,
    },
    /// A peer wants to know something.
    Request {
        /// The peer.
        from: NodeId,
        /// What.
        frame: Frame,
        /// For the answer.
        reply: Reply,
    },
    /// A peer has answered.
    Answer {
        /// Which request.
        id: RequestId,
        /// The peer.
        from: NodeId,
        /// What.
        bytes: Bytes,
    },
    /// A peer has not answered, and will not.
    Unanswered {
        /// Which request.
        id: RequestId,
        /// The peer.
        to: NodeId,
    },
    /// A peer has gossiped something.
    Gossip {
        /// The peer that it came from.
        from: NodeId,
        /// About what.
        topic: Topic,
        /// What. Who says it is for its signature to tell.
        frame: Frame,
    },
}

/// Where events go.
pub trait Sink: Send + Sync + 'static {
    /// Takes an event without waiting.
    ///
    /// # Errors
    /// Gives it back if there is no room. The end of a link and its beginning are offered again later, and
    /// frames that have come since may be taken before them; everything else is dropped and counted.
    fn offer(&self, event: NetEvent) -> Result<(), NetEvent>;
}

impl Sink for SyncSender<NetEvent> {
    fn offer(&self, event: NetEvent) -> Result<(), NetEvent> {
        self.try_send(event).map_err(|refused| match refused {
            TrySendError::Full(event) | TrySendError::Disconnected(event) => event,
        })
    }
}
