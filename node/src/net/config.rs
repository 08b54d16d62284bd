//! What the network is set to.

use std::time::Duration;

use quorate_chain::ids::ChainId;

/// What the network is set to. Everything that could grow has a limit here.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain. Nodes of different chains never understand each other.
    pub chain_id: ChainId,
    /// Multiaddresses to listen on, such as `/ip4/127.0.0.1/tcp/7700`. Port 0 takes any.
    pub listen: Vec<String>,
    /// A peer that has been silent for longer is suspect. More than two keepalives.
    pub suspect_after: Duration,
    /// A peer that has been silent for longer is dead: its link is closed and made anew. So is a link
    /// that takes no bytes for as long.
    pub dead_after: Duration,
    /// How long a link says nothing before it says that it is there.
    pub keepalive: Duration,
    /// How often it is measured how long it takes to a peer and back.
    pub ping_every: Duration,
    /// How long to wait before the second dial of a peer that did not answer the first; doubled each
    /// time.
    pub backoff_least: Duration,
    /// How long to wait at most.
    pub backoff_most: Duration,
    /// How long each step towards a link may take: the connection, and the greeting on it.
    pub handshake: Duration,
    /// Bytes of a frame on the control lane. The largest message there is a stored with the acks of a
    /// window.
    pub control_frame: usize,
    /// Bytes of a frame on the blocks lane. More than a window of blocks.
    pub blocks_frame: usize,
    /// Frames that wait for a link to take them, for each lane.
    pub queue_frames: usize,
    /// Bytes of frames that wait for a link to take them, for each lane. At least one frame.
    pub queue_bytes: usize,
    /// Bytes from one peer that wait to be taken. More than a correct peer has in flight: what is above
    /// is dropped.
    pub inbox_bytes: usize,
    /// Bytes of a request.
    pub request_bytes: usize,
    /// Bytes of an answer.
    pub answer_bytes: usize,
    /// Requests in flight to and from one peer.
    pub requests: usize,
    /// How long a request waits for its answer.
    pub request_timeout: Duration,
    /// Bytes of a gossiped beat.
    pub beat_bytes: usize,
    /// Bytes of a gossiped block.
    pub block_bytes: usize,
    /// Gossip that waits for a peer to take it.
    pub gossip_queue: usize,
    /// Connections that are being established from outside. Whoever is not allowed in is among them
    /// until it has shown its key, or [`handshake`](Self::handshake) is over.
    pub pending: u32,
}

impl Config {
    /// The defaults, for a window of 32 MiB.
    #[must_use]
    pub fn new(chain_id: ChainId) -> Self {
        Self {
            chain_id,
            listen: Vec::new(),
            suspect_after: Duration::from_millis(750),
            dead_after: Duration::from_millis(1_500),
            keepalive: Duration::from_millis(250),
            ping_every: Duration::from_secs(5),
            backoff_least: Duration::from_millis(50),
            backoff_most: Duration::from_millis(800),
            handshake: Duration::from_secs(2),
            control_frame: 2 << 20,
            blocks_frame: 40 << 20,
            queue_frames: 4_096,
            queue_bytes: 48 << 20,
            inbox_bytes: 64 << 20,
            // The transactions that a node forwards at once, and what kind of request that is.
            request_bytes: (1 << 20) + 1,
            answer_bytes: 8 << 20,
            requests: 32,
            request_timeout: Duration::from_secs(10),
            beat_bytes: 16 << 10,
            block_bytes: 256 << 10,
            gossip_queue: 256,
            pending: 32,
        }
    }
}
