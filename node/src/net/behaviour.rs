//! What is spoken on a connection, and who may have one.

use std::time::Duration;

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Swarm, SwarmBuilder, noise, ping, tcp, yamux};

use super::config::Config;
use super::{NetError, gossip, request};

/// Connections of one peer: its link, and the one that takes its place.
const PER_PEER: u32 = 2;
/// Peers at once: both parts of a joint roster.
const PEERS: u32 = 128;
/// Links are closed by silence, never for having nothing to say.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is spoken, and who may. Whoever is not allowed is refused as soon as its key is known.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) allowed: allow_block_list::Behaviour<AllowedPeers>,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
    pub(super) requests: request::Behaviour,
    pub(super) gossip: gossip::Behaviour,
    /// How long it takes to a peer and back, for people to see.
    pub(super) ping: ping::Behaviour,
}

pub(super) fn swarm(keypair: Keypair, config: &Config) -> Result<Swarm<Behaviour>, NetError> {
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(config.pending))
        .with_max_pending_outgoing(Some(PEERS))
        .with_max_established_per_peer(Some(PER_PEER))
        .with_max_established(Some(PER_PEER * PEERS));
    let behaviour = Behaviour {
        allowed: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(limits),
        streams: libp2p_stream::Behaviour::new(),
        requests: request::behaviour(config),
        gossip: gossip::behaviour(config).map_err(NetError::Settings)?,
        ping: ping::Behaviour::new(ping::Config::new().with_interval(config.ping_every)),
    };
    let settings = |error: &dyn std::error::Error| NetError::Settings(error.to_string());
    let builder = SwarmBuilder::with_existing_identity(keypair).with_tokio();
    let builder = builder
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| settings(&error))?;
    let builder = builder.with_behaviour(|_| behaviour).map_err(|error| settings(&error))?;
    let swarm = builder
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(IDLE)
                // With the eager one, a hung peer holds each negotiation for ten seconds.
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
                .with_max_negotiating_inbound_streams(config.requests.saturating_add(16))
        })
        .with_connection_timeout(config.handshake)
        .build();
    Ok(swarm)
}
