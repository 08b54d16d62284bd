//! Half a link that is given up must not stand in the way of a whole one.
#![allow(clippy::unwrap_used)]

mod group;

use std::time::Duration;

use group::{CHAIN, Group, Node, config, keys, peer};
use libp2p::futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use quorate_chain::crypto::SecretKey;
use quorate_node::net::Lane;
use tokio::runtime::Builder;

/// The same key for libp2p.
fn keypair(key: &SecretKey) -> Keypair {
    let is_it =
        |seed: &u8| SecretKey::from_seed(&[*seed; 32]).validator_key() == key.validator_key();
    let seed = (1..=2).find(is_it).unwrap();
    Keypair::ed25519_from_bytes([seed; 32]).unwrap()
}

/// Opens one lane of a link with the highest name there is, and never the other, until the callee has had enough.
async fn greet_by_half(key: &SecretKey, callee: &Node) {
    let builder = SwarmBuilder::with_existing_identity(keypair(key)).with_tokio();
    let builder =
        builder.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default);
    let builder = builder.unwrap().with_behaviour(|_| libp2p_stream::Behaviour::new()).unwrap();
    let idle = Duration::from_secs(300);
    let mut swarm = builder.with_swarm_config(|it| it.with_idle_connection_timeout(idle)).build();
    let control = swarm.behaviour().new_control();
    swarm.dial(callee.address.parse::<Multiaddr>().unwrap()).unwrap();
    let mut lane = None;
    loop {
        #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is of interest")]
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                let mut control = control.clone();
                let protocol = format!("/quorate/1/{CHAIN}/control");
                let protocol = StreamProtocol::try_from_owned(protocol).unwrap();
                lane = Some(tokio::spawn(async move {
                    let mut stream = control.open_stream(peer_id, protocol).await.unwrap();
                    let hello = [&8_u32.to_be_bytes()[..], &u64::MAX.to_be_bytes()].concat();
                    stream.write_all(&hello).await.unwrap();
                    stream.flush().await.unwrap();
                    stream
                }));
            }
            SwarmEvent::ConnectionClosed { .. } => break,
            _ => {}
        }
    }
    // It had been said before the callee hung up.
    drop(lane.unwrap().await.unwrap());
}

#[test]
fn half_a_link_with_a_name_from_the_future_keeps_no_other_link_out() {
    let mut config = config();
    config.handshake = Duration::from_millis(500);
    let mut group = Group::apart(0, &config);
    group.keys = keys(2);
    group.nodes.push(Node::start(&group.keys[1], config.clone(), Vec::new(), 1 << 10));
    let callee = peer(1, &group.keys[1], std::slice::from_ref(&group.nodes[0].address));
    group.nodes[0].handle.allow(vec![peer(0, &group.keys[0], &[]), callee.clone()]);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(greet_by_half(&group.keys[0], &group.nodes[0]));
    // The same one, with a clock that is right.
    let caller = Node::start(&group.keys[0], config, vec![callee], 1 << 10);
    group.nodes.insert(0, caller);
    group.wait("a link", Group::is_linked);
    group.say(0, 1, Lane::Control, "at last");
}
