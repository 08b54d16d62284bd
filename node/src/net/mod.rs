//! The network: bytes, peers and links. It knows no rule of consensus, and libp2p is named nowhere else.
//!
//! **Who.** A peer is a node of the roster; its validator key is its identity on the network. Whoever has
//! no such key is refused as soon as it has shown its own. The list of peers can change at any time
//! ([`NetHandle::allow`]).
//!
//! **Links.** Two peers have one connection (TCP, Noise, Yamux), dialled by the one with the lower peer
//! id, again and again, with waits that double and a part left to chance. On it run two ordered streams,
//! the lanes: [`Lane::Control`] for what is small and urgent, [`Lane::Blocks`] for blocks. When both
//! ends have both lanes there is a *link*, and [`NetEvent::LinkUp`] says so. It has a number that grows;
//! whatever belongs to an older link has no effect on a newer one, and none of its frames is told after its
//! end.
//!
//! **Beside the lanes**, on the same connection: requests with an answer each, for what is rare or large
//! (catch-up, snapshots, forwarded transactions), and gossip for what all should hear
//! ([`Topic`]). Gossip goes from each to each and is not forwarded.
//!
//! **Who is there.** Any frame counts as being heard, and who has nothing to say sends an empty one now
//! and then. Silence makes a peer suspect and then dead; a dead one loses its link and is dialled again.
//! A closed link is told at once, before anything is known of the peer. If this process itself was
//! stopped for a while, that is not held against the peers.
//!
//! **What is bounded.** Frames that wait to be sent, by lane, in number and bytes: what is too much is
//! dropped and counted, on either lane, because the protocol above sends again what is missing and an
//! old message is never worth a wait. A link that takes nothing at all for as long as makes a peer
//! dead is closed. Frames that wait to be taken, by peer, in bytes: the bound is above what a correct
//! peer has in flight, so what is dropped (and counted) is a flood, or the node is far behind. Lengths
//! of frames, before anything is allocated; connections, streams, requests.
//!
//! **Cost.** A frame does not pass through the task that owns the connections: who sends puts it into the
//! queue of the lane, and the lane's reader gives it to the [`Sink`]. Small frames are gathered, and
//! flushed when nothing more waits.
//!
//! Left out: observers, who are not in the roster (their gossip would need a mesh and validation before
//! it is forwarded); QUIC; finding peers (the roster has their addresses); hiding from a peer who is
//! allowed in that this process runs while its driver does not (leaders are known by what they say).

mod backoff;
mod behaviour;
mod config;
mod event;
mod frame;
mod gossip;
mod greet;
mod handle;
mod hub;
mod identity;
mod lane;
mod links;
mod liveness;
mod request;
mod resolve;
mod shared;
mod talk;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use libp2p::futures::StreamExt as _;
use libp2p::swarm::SwarmEvent;
use libp2p::{Swarm, TransportError};
use quorate_chain::crypto::SecretKey;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use config::Config;
pub use event::{Lane, NetEvent, RequestId, Sink, Topic};
pub use frame::Frame;
pub use handle::{NetHandle, Reply};
pub use identity::{Peer, peer_id_text};
pub(crate) use identity::{is_address, is_address_of_peer};
pub use liveness::Liveness;
pub use shared::{Counts, PeerStatus};

use behaviour::Behaviour;
use hub::{Arrival, Hub};
use shared::Shared;

/// Orders of handles that wait for the hub.
const ORDERS: usize = 1_024;
/// Lanes that wait for the hub.
const ARRIVALS: usize = 64;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The node's own key is none for libp2p.
    #[error("the node's key cannot be used on the network")]
    Key,
    /// libp2p refuses the settings.
    #[error("the network cannot be set like this: {0}")]
    Settings(String),
    /// An address to listen on that is none.
    #[error("{address:?} is no multiaddress, such as /ip4/127.0.0.1/tcp/7700")]
    Address {
        /// The address.
        address: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: String,
        /// What the operating system says.
        why: String,
    },
}

/// The running network. Dropped, it is gone at once, as if the process had died.
pub struct Net {
    handle: NetHandle,
    listening: Vec<String>,
    task: JoinHandle<()>,
}

impl Net {
    /// Starts the network on the runtime that this is called in, and listens.
    ///
    /// # Errors
    /// If it cannot listen, or be set like this.
    pub async fn start(
        key: &SecretKey,
        config: Config,
        peers: Vec<Peer>,
        sink: impl Sink,
    ) -> Result<Self, NetError> {
        let keypair = identity::keypair(key).ok_or(NetError::Key)?;
        let own = keypair.public().to_peer_id();
        let mut swarm = behaviour::swarm(keypair, &config)?;
        let listening = listen(&mut swarm, &config.listen).await?;
        let mut control = swarm.behaviour().streams.new_control();
        let shared = Arc::new(Shared::new(config));
        let (orders, waiting) = mpsc::channel(ORDERS);
        let (allowed, list) = watch::channel(Arc::new(peers));
        let (arrived, arrivals) = mpsc::channel(ARRIVALS);
        let acceptors = accept(&mut control, &shared.config, &arrived);
        let hub = Hub {
            own,
            swarm,
            control,
            shared: Arc::clone(&shared),
            sink: Arc::new(sink),
            orders: waiting,
            reply_orders: orders.downgrade(),
            allowed: list,
            arrivals,
            acceptors,
            tasks: JoinSet::new(),
            peers: BTreeMap::new(),
            ids: BTreeMap::new(),
            asked: BTreeMap::new(),
            untold: VecDeque::new(),
        };
        let task = tokio::spawn(hub.run());
        let handle = NetHandle { shared, orders, allowed, requests: Arc::default() };
        Ok(Self { handle, listening, task })
    }

    /// A handle for any thread.
    #[must_use]
    pub fn handle(&self) -> NetHandle {
        self.handle.clone()
    }

    /// The multiaddresses that it listens on.
    #[must_use]
    pub fn listening(&self) -> &[String] {
        &self.listening
    }

    /// Waits until the network has ended. It never does by itself: then something is wrong with us.
    pub async fn ended(&mut self) {
        // Why it ended has been printed by the panic.
        let _ended = (&mut self.task).await;
    }
}

/// Listens on all of the addresses; the ones it got.
async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[String],
) -> Result<Vec<String>, NetError> {
    let mut listening = Vec::new();
    for text in addresses {
        let address =
            identity::address(text).ok_or_else(|| NetError::Address { address: text.clone() })?;
        let fail = |why: String| NetError::Listen { address: text.clone(), why };
        let listener = swarm.listen_on(address).map_err(|error| fail(why(error)))?;
        loop {
            #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is of interest yet")]
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } if listener_id == listener => {
                    listening.push(address.to_string());
                    break;
                }
                SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                    return Err(fail(error.to_string()));
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. }
                    if listener_id == listener =>
                {
                    let why = reason.err().map_or_else(String::new, |error| error.to_string());
                    return Err(fail(why));
                }
                _ => {}
            }
        }
    }
    Ok(listening)
}

fn why(error: TransportError<std::io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => {
            "it is no address of TCP over IP, such as /ip4/127.0.0.1/tcp/7700".to_owned()
        }
        TransportError::Other(error) => error.to_string(),
    }
}

/// Starts what takes the lanes that peers open. It is apart from the hub, because libp2p keeps one of
/// them for us and drops the next.
fn accept(
    control: &mut libp2p_stream::Control,
    config: &Config,
    arrived: &mpsc::Sender<Arrival>,
) -> JoinSet<()> {
    let mut acceptors = JoinSet::new();
    for lane in Lane::ALL {
        let protocol = greet::protocol(config.chain_id, lane);
        let mut incoming = control.accept(protocol).expect("each lane is taken once");
        let arrived = arrived.clone();
        acceptors.spawn(async move {
            while let Some((peer, stream)) = incoming.next().await {
                if arrived.send((lane, peer, stream)).await.is_err() {
                    return;
                }
            }
        });
    }
    acceptors
}

impl Drop for Net {
    fn drop(&mut self) {
        self.task.abort();
    }
}
