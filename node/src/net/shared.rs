//! What the handle, the lanes and the hub share: the peers, with their queues and when they were heard.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::ids::NodeId;
use tokio::sync::{Semaphore, mpsc};

use super::config::Config;
use super::event::{Lane, NetEvent, Sink};
use super::frame::{Frame, weight};
use super::liveness::Liveness;

/// The name of a link between two peers: whoever dials counts them. It tells a link from the one that
/// replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(pub(super) u64);

/// What has gone wrong so far, all peers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections refused because of their key, or because there were too many.
    pub refused: u64,
    /// Links that were closed because nothing was heard, or nothing could be written.
    pub silent: u64,
    /// Links that were closed because of a frame above the limit.
    pub oversized: u64,
    /// Dials that led to nothing.
    pub failed_dials: u64,
    /// Requests and gossip that could not be sent.
    pub unsent: u64,
}

/// The same, while counting.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) refused: AtomicU64,
    pub(super) silent: AtomicU64,
    pub(super) oversized: AtomicU64,
    pub(super) failed_dials: AtomicU64,
    pub(super) unsent: AtomicU64,
}

impl Counters {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            refused: self.refused.load(Relaxed),
            silent: self.silent.load(Relaxed),
            oversized: self.oversized.load(Relaxed),
            failed_dials: self.failed_dials.load(Relaxed),
            unsent: self.unsent.load(Relaxed),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Whether it is there.
    pub liveness: Liveness,
    /// Whether it has a link.
    pub linked: bool,
    /// Whether it is dialled from here, and does not dial.
    pub dialled: bool,
    /// How long it took the last time to the peer and back on this link; `None` if that is not known yet.
    pub round_trip: Option<Duration>,
    /// How long ago it was heard; `None` if never.
    pub silence: Option<Duration>,
    /// What it sent and nobody took in time.
    pub dropped_in: u64,
    /// What was to be sent to it and was not: it had no link, or too much was waiting for it.
    pub dropped_out: u64,
}

/// The end of a lane that takes what is to be sent.
struct Outlet {
    queue: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

/// The open link of a peer.
struct Outlets {
    control: Outlet,
    blocks: Outlet,
}

/// One peer, as all see it.
pub(super) struct PeerState {
    pub(super) node: NodeId,
    dialled: bool,
    begun: Instant,
    /// Microseconds after `begun` at which it was heard, and one; 0 if never.
    seen: AtomicU64,
    /// Microseconds there and back, and one; 0 if not known.
    round_trip: AtomicU64,
    outlets: Mutex<Option<Outlets>>,
    inbox: Arc<Semaphore>,
    dropped_in: AtomicU64,
    dropped_out: AtomicU64,
}

impl PeerState {
    fn new(node: NodeId, dialled: bool, begun: Instant, config: &Config) -> Self {
        Self {
            node,
            dialled,
            begun,
            seen: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
            outlets: Mutex::new(None),
            inbox: Arc::new(Semaphore::new(config.inbox_bytes)),
            dropped_in: AtomicU64::new(0),
            dropped_out: AtomicU64::new(0),
        }
    }

    /// The peer was heard just now.
    pub(super) fn saw(&self) {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.seen.fetch_max(now.saturating_add(1), Relaxed);
    }

    /// When the peer was heard.
    pub(super) fn seen(&self) -> Option<Instant> {
        let after = self.seen.load(Relaxed).checked_sub(1)?;
        Some(self.begun + Duration::from_micros(after))
    }

    /// So long it took to the peer and back.
    pub(super) fn took(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip.store(micros.saturating_add(1), Relaxed);
    }

    /// Makes the queues of a link; what they give back is for its writers.
    pub(super) fn open(&self, config: &Config) -> [mpsc::Receiver<Frame>; 2] {
        let lane = || {
            let (queue, waiting) = mpsc::channel(config.queue_frames);
            (Outlet { queue, room: Arc::new(Semaphore::new(config.queue_bytes)) }, waiting)
        };
        let ((control, control_waiting), (blocks, blocks_waiting)) = (lane(), lane());
        self.set_outlets(Some(Outlets { control, blocks }));
        [control_waiting, blocks_waiting]
    }

    /// Nothing can be sent to it any more.
    pub(super) fn close(&self) {
        self.round_trip.store(0, Relaxed);
        self.set_outlets(None);
    }

    fn set_outlets(&self, outlets: Option<Outlets>) {
        *self.outlets.lock().unwrap_or_else(PoisonError::into_inner) = outlets;
    }

    /// Puts a frame into the queue of its lane, if there is room.
    fn send(&self, lane: Lane, bytes: Bytes) -> bool {
        let outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        let outlet = outlets.as_ref().map(|outlets| match lane {
            Lane::Control => &outlets.control,
            Lane::Blocks => &outlets.blocks,
        });
        let sent = outlet.is_some_and(|outlet| {
            let room = Arc::clone(&outlet.room).try_acquire_many_owned(weight(&bytes));
            room.is_ok_and(|room| outlet.queue.try_send(Frame::new(bytes, room)).is_ok())
        });
        if !sent {
            count(&self.dropped_out);
        }
        sent
    }

    /// Gives bytes of this peer room in its budget, and the event that is made of them to the sink.
    pub(super) fn take(
        &self,
        sink: &dyn Sink,
        bytes: Bytes,
        event: impl FnOnce(Frame) -> NetEvent,
    ) {
        self.saw();
        let room = Arc::clone(&self.inbox).try_acquire_many_owned(weight(&bytes));
        let taken = room.is_ok_and(|room| sink.offer(event(Frame::new(bytes, room))).is_ok());
        if !taken {
            count(&self.dropped_in);
        }
    }

    fn status(&self, config: &Config) -> PeerStatus {
        let linked = self.outlets.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let silence = self.seen().map(|seen| seen.elapsed());
        let round_trip = self.round_trip.load(Relaxed).checked_sub(1);
        PeerStatus {
            node: self.node,
            liveness: Liveness::of(linked, silence, config.suspect_after, config.dead_after),
            linked,
            dialled: self.dialled,
            round_trip: round_trip.map(Duration::from_micros),
            silence,
            dropped_in: self.dropped_in.load(Relaxed),
            dropped_out: self.dropped_out.load(Relaxed),
        }
    }
}

/// What is shared.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: Counters,
    begun: Instant,
    peers: RwLock<BTreeMap<NodeId, Arc<PeerState>>>,
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        let (counters, peers) = (Counters::default(), RwLock::new(BTreeMap::new()));
        Self { config, counters, begun: Instant::now(), peers }
    }

    /// The state of a peer that is allowed from now on.
    pub(super) fn add(&self, node: NodeId, dialled: bool) -> Arc<PeerState> {
        let state = Arc::new(PeerState::new(node, dialled, self.begun, &self.config));
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.insert(node, Arc::clone(&state));
        state
    }

    /// Forgets a peer, unless another has its name by now.
    pub(super) fn remove(&self, state: &Arc<PeerState>) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.get(&state.node).is_some_and(|known| Arc::ptr_eq(known, state)) {
            peers.remove(&state.node);
        }
    }

    fn peer(&self, node: NodeId) -> Option<Arc<PeerState>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// Sends a frame, if its link is open and has room.
    pub(super) fn send(&self, to: NodeId, lane: Lane, bytes: Bytes) -> bool {
        let limit = match lane {
            Lane::Control => self.config.control_frame,
            Lane::Blocks => self.config.blocks_frame,
        };
        // An empty frame is a keepalive.
        let fits = !bytes.is_empty() && bytes.len() <= limit;
        match self.peer(to) {
            Some(peer) if fits => peer.send(lane, bytes),
            Some(peer) => {
                count(&peer.dropped_out);
                false
            }
            None => false,
        }
    }

    pub(super) fn statuses(&self) -> Vec<PeerStatus> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.values().map(|peer| peer.status(&self.config)).collect()
    }
}
