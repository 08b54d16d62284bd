//! One peer as the hub sees it: its link, half a link, or the way to one.
//!
//! ```text
//!              dialer (lower peer id)                     the other
//!
//!   Idle ──▶ Waiting ──▶ Busy: dial, open, hello         nothing
//!               ▲          │                              │ hello on one lane
//!               │ failed   │ hello back on both          half a link
//!               ├──────────┤                              │ hello on the other, the same name
//!               │          ▼                              ▼
//!               └───────  link  ◀──────────────────────▶ link
//!                 lost                                    lost: back to nothing
//! ```
//!
//! Invariants: a link is never replaced by one of a lower generation; whatever belongs to a link that is
//! not the current one has no effect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, Stream};
use tokio::task::AbortHandle;

use super::backoff::Backoff;
use super::config::Config;
use super::event::Lane;
use super::identity::Peer;
use super::lane::Gate;
use super::shared::{Generation, PeerState};

/// An open link. Dropped, it ends its tasks, and none of its frames is told any more: its end is told after that.
pub(super) struct Link {
    pub(super) generation: Generation,
    pub(super) since: Instant,
    tasks: Vec<AbortHandle>,
    gates: [Gate; 2],
}

impl Link {
    pub(super) fn new(generation: Generation, tasks: Vec<AbortHandle>, gates: [Gate; 2]) -> Self {
        Self { generation, since: Instant::now(), tasks, gates }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for gate in &self.gates {
            gate.shut();
        }
    }
}

/// Where the dialer is on its way to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// Not on the way: there is a link, or the other one dials.
    Idle,
    /// To be dialled then.
    Waiting(Instant),
    /// Being dialled, or, with the name of the link, greeted. It ends by itself, well or not.
    Busy(Option<Generation>),
}

/// Lanes that have been greeted and wait for the other one of the same link.
pub(super) struct Half<S = Stream> {
    lanes: [Option<(Generation, S)>; 2],
}

impl<S> Half<S> {
    /// Adds a lane; both streams of a link, in the order of [`Lane::ALL`], if it was the second. A lane of an older
    /// link than the one that waits in its place has come too late.
    pub(super) fn add(&mut self, lane: Lane, generation: Generation, stream: S) -> Option<[S; 2]> {
        let place = match lane {
            Lane::Control => 0,
            Lane::Blocks => 1,
        };
        let names = |half: &Option<(Generation, S)>| half.as_ref().map(|(name, _)| *name);
        if names(&self.lanes[place]) > Some(generation) {
            return None;
        }
        self.lanes[place] = Some((generation, stream));
        if names(&self.lanes[0]) != names(&self.lanes[1]) {
            return None;
        }
        let [control, blocks] = std::mem::take(&mut self.lanes);
        Some([control?.1, blocks?.1])
    }
}

impl<S> Default for Half<S> {
    fn default() -> Self {
        Self { lanes: [None, None] }
    }
}

/// One peer.
pub(super) struct PeerLinks {
    pub(super) id: PeerId,
    pub(super) peer: Peer,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) state: Arc<PeerState>,
    pub(super) link: Option<Link>,
    pub(super) half: Half,
    /// Lanes that came and have not been greeted yet.
    pub(super) greeting: usize,
    /// If it has a connection and no link: when to give up on it.
    pub(super) greet_by: Option<Instant>,
    /// Whether we dial, and not the peer.
    pub(super) ours: bool,
    pub(super) dial: Dial,
    pub(super) backoff: Backoff,
    last: Generation,
}

impl PeerLinks {
    pub(super) fn new(
        id: PeerId,
        peer: Peer,
        addresses: Vec<Multiaddr>,
        state: Arc<PeerState>,
        ours: bool,
        config: &Config,
    ) -> Self {
        Self {
            id,
            peer,
            addresses,
            state,
            link: None,
            half: Half::default(),
            greeting: 0,
            greet_by: None,
            ours,
            dial: Dial::Idle,
            backoff: Backoff::new(config.backoff_least, config.backoff_most),
            last: Generation(0),
        }
    }

    /// Whether this is the current link.
    pub(super) fn is_current(&self, generation: Generation) -> bool {
        self.link.as_ref().is_some_and(|link| link.generation == generation)
    }

    /// Whether the current link, if there is one, gives way to this one. A greeting can be late: that of
    /// a link which was given up must not take down the one that replaced it.
    pub(super) fn gives_way_to(&self, generation: Generation) -> bool {
        self.link.as_ref().is_none_or(|link| link.generation < generation)
    }

    /// Whether this link is on its way.
    pub(super) fn is_opening(&self, generation: Generation) -> bool {
        self.dial == Dial::Busy(Some(generation))
    }

    /// The name of the next link: the time, so that it is above those of an earlier life, or one more
    /// than the last if the clock was set back.
    pub(super) fn next_generation(&mut self, unix: Duration) -> Generation {
        let time = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        self.last = Generation(time.max(self.last.0.saturating_add(1)));
        self.last
    }

    /// When something is due for this peer.
    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        let dead = self.link.as_ref().map(|link| {
            self.state.seen().unwrap_or(link.since).max(link.since) + config.dead_after
        });
        let dial = match self.dial {
            Dial::Waiting(until) if self.link.is_none() => Some(until),
            Dial::Waiting(_) | Dial::Idle | Dial::Busy(_) => None,
        };
        [dead, dial, self.greet_by].into_iter().flatten().min()
    }

    /// Whether the link has been silent for too long.
    pub(super) fn is_silent(&self, now: Instant, config: &Config) -> bool {
        self.link.as_ref().is_some_and(|link| {
            let heard = self.state.seen().unwrap_or(link.since).max(link.since);
            now.saturating_duration_since(heard) >= config.dead_after
        })
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::crypto::SecretKey;
    use quorate_chain::ids::{ChainId, NodeId};

    use super::super::identity;
    use super::super::shared::Shared;
    use super::*;

    fn links() -> PeerLinks {
        let config = Config::new(ChainId::default());
        let key = SecretKey::from_seed(&[1; 32]).validator_key();
        let id = identity::peer_id(&key).unwrap();
        let node = NodeId::new(0);
        let state = Shared::new(config.clone()).add(node, true);
        let peer = Peer { node, key, addresses: Vec::new() };
        PeerLinks::new(id, peer, Vec::new(), state, true, &config)
    }

    #[test]
    fn a_link_gives_way_to_a_newer_one_only() {
        let mut links = links();
        assert!(links.gives_way_to(Generation(1)));
        links.link = Some(Link::new(Generation(5), Vec::new(), <[Gate; 2]>::default()));
        let way = [4, 5, 6].map(|number| links.gives_way_to(Generation(number)));
        assert_eq!(way, [false, false, true]);
        let current = [4, 5, 6].map(|number| links.is_current(Generation(number)));
        assert_eq!(current, [false, true, false]);
    }

    #[test]
    fn a_lane_that_comes_too_late_does_not_take_the_place_of_a_newer_one() {
        let mut half = Half::default();
        let (old, new) = (Generation(4), Generation(5));
        assert_eq!(half.add(Lane::Control, new, "new control"), None);
        assert_eq!(half.add(Lane::Control, old, "old control"), None);
        assert_eq!(half.add(Lane::Blocks, old, "old blocks"), None);
        let link = half.add(Lane::Blocks, new, "new blocks");
        assert_eq!(link, Some(["new control", "new blocks"]));
        // Nothing is left behind of either.
        assert_eq!(half.add(Lane::Control, old, "control"), None);
        assert_eq!(half.add(Lane::Blocks, old, "blocks"), Some(["control", "blocks"]));
    }

    #[test]
    fn the_number_of_a_link_grows_even_if_the_clock_is_set_back() {
        let mut links = links();
        let times = [10, 10, 3, 20].map(Duration::from_micros);
        let numbers = times.map(|time| links.next_generation(time).0);
        assert_eq!(numbers, [10, 11, 12, 20]);
    }

    #[test]
    fn nothing_is_due_for_a_peer_that_dials_and_is_not_there() {
        let (mut links, config) = (links(), Config::new(ChainId::default()));
        assert_eq!(links.deadline(&config), None);
        let soon = Instant::now();
        links.dial = Dial::Waiting(soon);
        assert_eq!(links.deadline(&config), Some(soon));
        links.dial = Dial::Busy(None);
        assert_eq!(links.deadline(&config), None);
        // A link is due when it has been silent for too long, counted from its beginning at least.
        links.link = Some(Link::new(Generation(1), Vec::new(), <[Gate; 2]>::default()));
        let begun = links.link.as_ref().unwrap().since;
        assert_eq!(links.deadline(&config), Some(begun + config.dead_after));
        assert!(!links.is_silent(begun, &config));
        assert!(links.is_silent(begun + config.dead_after, &config));
    }
}
