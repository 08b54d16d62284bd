//! The task that owns the connections: it brings peers and links together, and decides nothing else.
//!
//! Frames do not pass through it: the lanes have tasks of their own. What does pass is what opens and
//! closes links, requests, and gossip.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::futures::StreamExt as _;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, Swarm, ping};
use quorate_chain::ids::NodeId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::event::{Lane, NetEvent, RequestId, Sink};
use super::handle::Order;
use super::identity::{self, Peer};
use super::lane::{self, Ends, Gate};
use super::links::{Dial, Half, Link, PeerLinks};
use super::shared::{Generation, Shared, count};
use super::{greet, resolve};

/// Lanes of one peer that may wait to be greeted: those of a link and of the one that replaces it.
const GREETINGS: usize = 4;
/// How soon an event of a link is offered again that there was no room for.
const AGAIN: Duration = Duration::from_millis(5);
/// This much later than asked for, and it was not the peers who were silent: we were not there to hear.
const OVERSLEPT: Duration = Duration::from_millis(250);

/// What a task of the hub has found out.
pub(super) enum Note {
    /// A peer's addresses.
    Resolved { peer: PeerId, addresses: Vec<Multiaddr> },
    /// A link that was opened, or not.
    Opened { peer: PeerId, generation: Generation, streams: Option<[Stream; 2]> },
    /// A lane that was greeted, or not.
    Greeted { peer: PeerId, lane: Lane, hello: Option<(Generation, Stream)> },
    /// A lane that has ended.
    Ended { peer: PeerId, generation: Generation, why: io::Error },
}

/// A lane that a peer has opened.
pub(super) type Arrival = (Lane, PeerId, Stream);

/// The task's state.
pub(super) struct Hub {
    pub(super) own: PeerId,
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) control: libp2p_stream::Control,
    pub(super) shared: Arc<Shared>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) reply_orders: mpsc::WeakSender<Order>,
    pub(super) allowed: watch::Receiver<Arc<Vec<Peer>>>,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
    /// What takes the lanes that peers open.
    pub(super) acceptors: JoinSet<()>,
    pub(super) tasks: JoinSet<Note>,
    pub(super) peers: BTreeMap<PeerId, PeerLinks>,
    pub(super) ids: BTreeMap<NodeId, PeerId>,
    pub(super) asked: BTreeMap<OutboundRequestId, (RequestId, NodeId)>,
    /// Events of links, and of requests, that there was no room for yet.
    pub(super) untold: VecDeque<NetEvent>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        for peer in self.peers.values() {
            peer.state.close();
        }
    }
}

impl Hub {
    /// Works until nobody has a handle any more.
    pub(super) async fn run(mut self) {
        self.reallow();
        loop {
            let wake = self.deadline();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(note) => self.on_note(note),
                    Err(error) if error.is_panic() => {
                        std::panic::resume_unwind(error.into_panic());
                    }
                    // The task of a link that is no more.
                    Err(_) => {}
                },
                // Without them no peer could open a lane. They never end by themselves.
                Some(_) = self.acceptors.join_next() => return,
                Some((lane, peer, stream)) = self.arrivals.recv() => {
                    self.on_arrival(lane, peer, stream);
                }
                order = self.orders.recv() => match order {
                    Some(order) => self.on_order(order),
                    None => return,
                },
                changed = self.allowed.changed() => match changed {
                    Ok(()) => self.reallow(),
                    Err(_) => return,
                },
                () = sleep_until(wake.into()) => {}
            }
            self.on_time(wake);
        }
    }

    fn deadline(&self) -> Instant {
        let config = &self.shared.config;
        let peers = self.peers.values().filter_map(|peer| peer.deadline(config));
        let again = (!self.untold.is_empty()).then(|| Instant::now() + AGAIN);
        let latest = Instant::now() + config.dead_after;
        peers.chain(again).min().unwrap_or(latest).min(latest)
    }

    /// Does what is due.
    fn on_time(&mut self, wake: Instant) {
        while let Some(event) = self.untold.pop_front() {
            if let Err(event) = self.sink.offer(event) {
                self.untold.push_front(event);
                break;
            }
        }
        let now = Instant::now();
        let overslept = now.saturating_duration_since(wake) > OVERSLEPT;
        let mut silent = Vec::new();
        let mut ungreeted = Vec::new();
        let mut due = Vec::new();
        for (id, peer) in &mut self.peers {
            if overslept && peer.link.is_some() {
                peer.state.saw();
            }
            if peer.is_silent(now, &self.shared.config) {
                silent.push(*id);
            }
            if peer.greet_by.is_some_and(|by| by <= now) {
                peer.greet_by = None;
                // With a link, it is of another connection that came for nothing.
                if peer.link.is_none() {
                    ungreeted.push(*id);
                }
            }
            if matches!(peer.dial, Dial::Waiting(until) if until <= now) {
                peer.dial = Dial::Busy(None);
                due.push((*id, peer.addresses.clone()));
            }
        }
        for id in silent {
            count(&self.shared.counters.silent);
            self.lose(id);
        }
        for id in ungreeted {
            self.disconnect(id);
        }
        let patience = self.shared.config.handshake;
        for (peer, addresses) in due {
            self.tasks.spawn(async move {
                let addresses = timeout(patience, resolve::all(addresses)).await;
                Note::Resolved { peer, addresses: addresses.unwrap_or_default() }
            });
        }
    }

    /// Offers an event that must not be lost: later, if there is no room now.
    pub(super) fn tell(&mut self, event: NetEvent) {
        if !self.untold.is_empty() {
            self.untold.push_back(event);
        } else if let Err(event) = self.sink.offer(event) {
            self.untold.push_back(event);
        }
    }

    /// Takes up the newest list of who may connect.
    fn reallow(&mut self) {
        let list = Arc::clone(&self.allowed.borrow_and_update());
        let mut wanted: BTreeMap<PeerId, Peer> = BTreeMap::new();
        for peer in &*list {
            if let Some(id) = identity::peer_id(&peer.key).filter(|id| *id != self.own) {
                wanted.insert(id, peer.clone());
            }
        }
        let gone: Vec<_> = self
            .peers
            .values()
            .filter(|known| wanted.get(&known.id).is_none_or(|peer| peer.node != known.peer.node))
            .map(|known| known.id)
            .collect();
        for id in gone {
            self.forget(id);
        }
        for (id, peer) in wanted {
            let addresses: Vec<_> =
                peer.addresses.iter().filter_map(|text| identity::address(text)).collect();
            if let Some(known) = self.peers.get_mut(&id) {
                known.addresses = addresses;
                known.peer = peer;
            } else {
                self.admit(id, peer, addresses);
            }
        }
    }

    fn admit(&mut self, id: PeerId, peer: Peer, addresses: Vec<Multiaddr>) {
        self.swarm.behaviour_mut().allowed.allow_peer(id);
        self.ids.insert(peer.node, id);
        let ours = self.own < id;
        let state = self.shared.add(peer.node, ours);
        let mut links = PeerLinks::new(id, peer, addresses, state, ours, &self.shared.config);
        if ours {
            links.dial = Dial::Waiting(Instant::now());
        }
        self.peers.insert(id, links);
    }

    fn forget(&mut self, id: PeerId) {
        // It closes the connections, too.
        self.swarm.behaviour_mut().allowed.disallow_peer(id);
        let Some(links) = self.peers.remove(&id) else { return };
        let node = links.peer.node;
        links.state.close();
        self.shared.remove(&links.state);
        if self.ids.get(&node) == Some(&id) {
            self.ids.remove(&node);
        }
        let linked = links.link.is_some();
        drop(links);
        if linked {
            self.tell(NetEvent::LinkLost { node });
        }
    }

    /// Ends the link of a peer, if it has one, and all its connections; then the way to a new one begins.
    fn lose(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some(link) = peer.link.take() {
            peer.state.close();
            if link.since.elapsed() > self.shared.config.backoff_most {
                peer.backoff.reset();
            }
            let node = peer.peer.node;
            drop(link);
            self.tell(NetEvent::LinkLost { node });
        }
        self.disconnect(id);
        self.dial_again(id);
    }

    fn disconnect(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            // What waits there is of a connection that is closed. Its name may be above that of every link to come: the
            // peer's clock may have been ahead.
            peer.half = Half::default();
        }
        // Not being connected is as well.
        let _connected = self.swarm.disconnect_peer_id(id);
    }

    /// Sets out for a new link, unless it is not for us to dial, or on the way already.
    fn dial_again(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.ours && peer.link.is_none() && peer.dial == Dial::Idle {
            let random = getrandom::u64().unwrap_or_default();
            peer.dial = Dial::Waiting(Instant::now() + peer.backoff.next(random));
        }
    }

    /// The way to a link has led to nothing.
    fn dial_failed(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Dial::Busy(_) = peer.dial {
            count(&self.shared.counters.failed_dials);
            peer.dial = Dial::Idle;
            self.disconnect(id);
            self.dial_again(id);
        }
    }

    fn on_note(&mut self, note: Note) {
        match note {
            Note::Resolved { peer, addresses } => self.dial(peer, addresses),
            Note::Opened { peer, generation, streams } => {
                if !self.peers.get(&peer).is_some_and(|known| known.is_opening(generation)) {
                    return;
                }
                match streams {
                    Some(streams) => self.begin(peer, generation, streams, Vec::new()),
                    None => self.dial_failed(peer),
                }
            }
            Note::Greeted { peer, lane, hello } => self.on_greeted(peer, lane, hello),
            Note::Ended { peer, generation, why } => self.on_ended(peer, generation, &why),
        }
    }

    fn dial(&mut self, id: PeerId, addresses: Vec<Multiaddr>) {
        if !self.peers.get(&id).is_some_and(|peer| peer.dial == Dial::Busy(None)) {
            return;
        }
        let options =
            DialOpts::peer_id(id).condition(PeerCondition::NotDialing).addresses(addresses).build();
        if self.swarm.dial(options).is_err() {
            self.dial_failed(id);
        }
    }

    /// A peer has opened a lane.
    fn on_arrival(&mut self, lane: Lane, peer: PeerId, stream: Stream) {
        let Some(known) = self.peers.get_mut(&peer).filter(|known| !known.ours) else { return };
        if known.greeting >= GREETINGS {
            return;
        }
        known.greeting += 1;
        let patience = self.shared.config.handshake;
        self.tasks.spawn(async move {
            Note::Greeted { peer, lane, hello: greet::greeted(stream, patience).await }
        });
    }

    fn on_greeted(&mut self, peer: PeerId, lane: Lane, hello: Option<(Generation, Stream)>) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.greeting = known.greeting.saturating_sub(1);
        let Some((generation, stream)) = hello else { return };
        if !known.gives_way_to(generation) {
            return;
        }
        if let Some(streams) = known.half.add(lane, generation, stream) {
            self.begin(peer, generation, streams, greet::hello(generation));
        }
    }

    /// There is a link: its lanes get their tasks. `hello` is what is still to be said on each.
    fn begin(
        &mut self,
        peer: PeerId,
        generation: Generation,
        streams: [Stream; 2],
        hello: Vec<u8>,
    ) {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let node = known.peer.node;
        let replaced = known.link.take().is_some();
        known.dial = Dial::Idle;
        known.greet_by = None;
        let queues = known.state.open(config);
        known.state.saw();
        let state = Arc::clone(&known.state);
        if replaced {
            self.tell(NetEvent::LinkLost { node });
        }
        // Before the first of its frames.
        self.tell(NetEvent::LinkUp { node });
        let mut tasks = Vec::with_capacity(4);
        let gates = <[Gate; 2]>::default();
        let lanes = Lane::ALL.into_iter().zip(streams).zip(queues);
        for (((lane, stream), waiting), gate) in lanes.zip(gates.clone()) {
            let (limit, keepalive) = match lane {
                Lane::Control => (config.control_frame, Some(config.keepalive)),
                Lane::Blocks => (config.blocks_frame, None),
            };
            let ends = Ends { peer: Arc::clone(&state), lane, limit, gate };
            let (read, write) = lane::halves(stream);
            let reading = lane::read(ends, read, Arc::clone(&self.sink));
            let writing = lane::write(write, waiting, hello.clone(), keepalive, config.dead_after);
            let ended = move |why| Note::Ended { peer, generation, why };
            tasks.push(self.tasks.spawn(async move { ended(reading.await) }));
            tasks.push(self.tasks.spawn(async move { ended(writing.await) }));
        }
        let known = self.peers.get_mut(&peer);
        known.expect("it was there above").link = Some(Link::new(generation, tasks, gates));
    }

    /// A lane has ended, and with it the link, if it still is the one.
    fn on_ended(&mut self, peer: PeerId, generation: Generation, why: &io::Error) {
        if !self.peers.get(&peer).is_some_and(|known| known.is_current(generation)) {
            return;
        }
        if why.kind() == io::ErrorKind::InvalidData {
            count(&self.shared.counters.oversized);
        } else if why.kind() == io::ErrorKind::TimedOut {
            count(&self.shared.counters.silent);
        }
        self.lose(peer);
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "libp2p tells much that is not needed")]
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => self.on_request(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result, .. })) => {
                // A ping that fails says nothing that silence does not say better.
                if let (Some(known), Ok(round_trip)) = (self.peers.get(&peer), result) {
                    known.state.took(round_trip);
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, endpoint.is_dialer());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.lose(peer_id);
            }
            // Once connected, whether the lanes open is what counts.
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), .. }
                if self.peers.get(&peer).is_some_and(|known| known.dial == Dial::Busy(None)) =>
            {
                self.dial_failed(peer);
            }
            SwarmEvent::IncomingConnectionError { .. } => count(&self.shared.counters.refused),
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, dialled: bool) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if dialled != known.ours || dialled && known.dial != Dial::Busy(None) {
            // One of the two dials, and once at a time.
            self.swarm.close_connection(connection);
            return;
        }
        if !dialled {
            known.greet_by = Some(Instant::now() + self.shared.config.handshake);
            return;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let generation = known.next_generation(unix);
        known.dial = Dial::Busy(Some(generation));
        let control = self.control.clone();
        let (chain_id, patience) = (self.shared.config.chain_id, self.shared.config.handshake);
        self.tasks.spawn(async move {
            let streams = greet::open(control, peer, chain_id, generation, patience).await;
            Note::Opened { peer, generation, streams }
        });
    }
}
