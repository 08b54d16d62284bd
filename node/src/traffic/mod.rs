//! What travels between nodes, and which way.
//!
//! | what | way | why |
//! |---|---|---|
//! | appends, with blocks or empty | blocks lane | their order is what a follower checks first |
//! | answers to them, certificates, handovers, reads, recovery | control lane | small, and must not wait behind blocks |
//! | requests for pre-votes and votes, pulls | request | each has one answer |
//! | votes, refusals, pulled chains | the answer to such a request | if it is still awaited; else a lane |
//! | transactions for the leader | request ([`forwards`]) | its answer says that they were taken in, so there is no flood |
//! | questions for a piece of a snapshot, and the pieces | request and answer | large, and in no hurry |
//! | what a node says of itself ([`beat`]) | gossip | all should hear it, and may miss it |
//!
//! A message is the bytes of [`quorate_consensus::codec`]; requests and answers have a byte before them that
//! says of which kind they are. What is small is decoded where it comes in; what may be large, and what has
//! signatures of senders, goes through the pool ([`crate::threads`]).
//!
//! Left out: observers, and headers that are gossiped to them.

mod admitted;
mod beat;
#[cfg(test)]
mod decoders;
mod forwards;
mod incoming;
mod neighbours;
mod outgoing;
mod pending;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::NodeId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::net::{self, Net, NetError, NetHandle, Topic};
use crate::threads::{End, Ending, Gates, View, task};

pub(crate) use neighbours::Neighbours;
pub(crate) use outgoing::Outgoing;

use admitted::Admitted;
use beat::Speaker;
use forwards::Forwards;
use incoming::Incoming;
use pending::Pending;

/// The first byte of a request, and of an answer.
mod kind {
    /// A message follows.
    pub(super) const MESSAGE: u8 = 1;
    /// Transactions follow; in an answer, nothing: they have arrived.
    pub(super) const FORWARD: u8 = 2;
    /// A question for a piece of a snapshot follows; in an answer, the piece.
    pub(super) const PIECE: u8 = 3;
}

/// A request or an answer: the kind, and what follows.
fn tagged(kind: u8, length: usize, put: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + length);
    bytes.push(kind);
    put(&mut bytes);
    bytes.into()
}

/// The stream of a line that is made of requests and answers.
const REQUESTS: u8 = 2;

/// How often a node says of itself what has not changed.
const BEAT: Duration = Duration::from_millis(500);
/// How soon after the last time it says what has.
const SOON: Duration = Duration::from_millis(100);

/// The network of a node, with all that goes through it.
pub(crate) struct Traffic {
    pub(crate) net: Net,
    neighbours: Arc<Neighbours>,
    pending: Arc<Pending>,
    forwards: Arc<Forwards>,
    admitted: Admitted,
    gates: Gates,
}

/// Who this node is to others.
pub(crate) struct Identity {
    pub(crate) id: NodeId,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) chain_id: quorate_chain::ids::ChainId,
    pub(crate) incarnation: quorate_consensus::config::Incarnation,
    pub(crate) boot: u64,
    pub(crate) lead: quorate_chain::roster::Lead,
    pub(crate) api: Option<String>,
}

fn cannot(error: &NetError) -> Failure {
    Failure::new(Exit::Configuration, error)
}

impl Traffic {
    /// Starts the network. What comes in waits at the gates.
    ///
    /// # Errors
    /// If it cannot listen.
    pub(crate) async fn start(
        identity: &Identity,
        config: &Config,
        view: &View,
        gates: &Gates,
    ) -> Result<Self, Failure> {
        let settings = net::Config {
            listen: vec![config.p2p_listen.clone()],
            // Any range of blocks fits: `Config::check` has the sum.
            blocks_frame: config.window_bytes + (8 << 20),
            queue_bytes: config.window_bytes + (16 << 20),
            inbox_bytes: 2 * config.window_bytes,
            ..net::Config::new(identity.chain_id)
        };
        let answer_bytes = settings.answer_bytes;
        let pending = Arc::new(Pending::new(answer_bytes));
        // Less the byte that says what it is.
        let forwards = Forwards::new(config.mempool_bytes, settings.request_bytes - 1);
        let forwards = Arc::new(forwards);
        let neighbours = Arc::new(Neighbours::new(identity.chain_id, (*view.roster).clone()));
        let incoming = Incoming {
            gates: gates.clone(),
            pending: Arc::clone(&pending),
            forwards: Arc::clone(&forwards),
            neighbours: Arc::clone(&neighbours),
        };
        let rosters = [&*view.roster, &*view.tip_roster];
        let admitted = Admitted::new(identity.id, config.p2p_peers.clone(), rosters);
        let net = Net::start(&identity.key, settings, admitted.all(), incoming).await;
        let net = net.map_err(|error| cannot(&error))?;
        neighbours.connect(net.handle());
        let handle = net.handle();
        forwards.connect(move |to, bytes| handle.request(to, bytes));
        Ok(Self { net, neighbours, pending, forwards, admitted, gates: gates.clone() })
    }

    /// The way out, for the driver.
    pub(crate) fn outgoing(&self) -> Outgoing {
        let (pending, forwards) = (Arc::clone(&self.pending), Arc::clone(&self.forwards));
        Outgoing { net: self.net.handle(), pending, forwards }
    }

    /// Who else is there.
    pub(crate) fn neighbours(&self) -> Arc<Neighbours> {
        Arc::clone(&self.neighbours)
    }

    /// Keeps the network going until the node ends: says what the node is, and lets in who is in the
    /// roster. Then the network is gone at once.
    pub(crate) fn run(
        self,
        identity: Identity,
        mut view: watch::Receiver<View>,
        ending: Arc<Ending>,
    ) -> JoinHandle<()> {
        let Self { mut net, neighbours, pending: _, forwards: _, mut admitted, gates } = self;
        let end = Arc::clone(&ending);
        task("network task", &end, async move {
            let handle = net.handle();
            let mut speaker = Speaker::new(identity, Arc::clone(&neighbours));
            let mut roster = view.borrow().roster.hash();
            let mut said = tokio::time::Instant::now();
            let mut wait = Duration::ZERO;
            let mut dropped = 0;
            loop {
                tokio::select! {
                    () = net.ended() => {
                        let why = "the network has ended by itself; this is a bug";
                        return ending.begin(End::Failed(Failure::new(Exit::Bug, why)));
                    }
                    _ = ending.wait() => return,
                    () = tokio::time::sleep_until(said + wait) => {}
                    changed = view.changed(), if wait == BEAT => {
                        if changed.is_err() {
                            return;
                        }
                        wait = SOON;
                        continue;
                    }
                }
                let now = view.borrow_and_update().clone();
                if now.roster.hash() != roster {
                    roster = now.roster.hash();
                    neighbours.know(&now.roster);
                }
                let rosters = [&*now.roster, &*now.tip_roster];
                if admitted.follow(rosters, tokio::time::Instant::now()) {
                    handle.allow(admitted.all());
                }
                publish(&handle, &mut speaker, &now);
                let all = gates.dropped();
                if all > dropped {
                    warn!(
                        messages = all - dropped,
                        "messages of others were dropped: too many wait"
                    );
                    dropped = all;
                }
                said = tokio::time::Instant::now();
                wait = BEAT;
            }
        })
    }
}

fn publish(handle: &NetHandle, speaker: &mut Speaker, view: &View) {
    if !handle.publish(Topic::Beat, speaker.say(view)) {
        warn!("too much is waiting to be sent: a beat was left out");
    }
}
