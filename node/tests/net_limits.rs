//! What a stranger, a flood and nonsense can do to a network: nothing that anyone would notice.
#![allow(clippy::unwrap_used)]

mod group;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use group::{CHAIN, Group, Node, Told, config, keys, node, peer};
use quorate_chain::ids::ChainId;
use quorate_node::net::{Lane, Net, NetError};
use tokio::runtime::Builder;

fn socket(address: &str) -> SocketAddr {
    let mut parts = address.split('/').skip(2).step_by(2);
    let (ip, port) = (parts.next().unwrap(), parts.next().unwrap());
    format!("{ip}:{port}").parse().unwrap()
}

fn wait(what: &str, group: &mut Group, holds: impl FnMut(&mut Group) -> bool) {
    group.wait(what, holds);
}

#[test]
fn a_stranger_is_refused_until_it_is_allowed_and_again_when_it_is_not_any_more() {
    let mut group = Group::apart(2, &config());
    // The first dials the second, which does not know it.
    let known =
        [0, 1].map(|id| peer(id, &group.keys[id], std::slice::from_ref(&group.nodes[id].address)));
    group.nodes[0].handle.allow(known.to_vec());
    wait("it is refused", &mut group, |group| group.nodes[1].handle.counts().refused >= 2);
    wait("it tries again", &mut group, |group| group.nodes[0].handle.counts().failed_dials >= 2);
    assert_eq!(group.nodes[1].count(|_| true), 0);
    assert_eq!(group.nodes[0].count(|told| matches!(told, Told::Up(_))), 0);

    group.nodes[1].handle.allow(known.to_vec());
    wait("it is let in", &mut group, Group::is_linked);
    group.say(0, 1, Lane::Control, "at last");

    group.nodes[1].handle.allow(Vec::new());
    wait("its link is closed", &mut group, |group| {
        group.nodes[0].has(&Told::Lost(node(1))) && group.nodes[1].has(&Told::Lost(node(0)))
    });
    assert!(group.nodes[1].handle.peers().is_empty());
    assert!(!group.nodes[1].handle.send(node(0), Lane::Control, Bytes::from_static(b"?")));
}

#[test]
fn a_change_of_the_roster_leaves_the_links_of_those_who_stay() {
    let mut group = Group::new(3, &config());
    let stay =
        [0, 1].map(|id| peer(id, &group.keys[id], std::slice::from_ref(&group.nodes[id].address)));
    for id in [0, 1] {
        group.nodes[id].handle.allow(stay.to_vec());
    }
    wait("the third has no link", &mut group, |group| {
        [0, 1].iter().all(|id| group.nodes[2].has(&Told::Lost(node(*id))))
    });
    group.say(0, 1, Lane::Blocks, "still here");
    for id in [0, 1] {
        assert!(!group.nodes[id].has(&Told::Lost(node(1 - id))));
    }
}

#[test]
fn a_flood_that_nobody_takes_is_dropped_and_counted_and_the_link_stays() {
    let mut config = config();
    config.inbox_bytes = 64 << 10;
    let keys = keys(2);
    let flooder = Node::start(&keys[0], config.clone(), Vec::new(), 1 << 10);
    // There is room for four events, and that a link is up comes even so.
    let mut flooded = Node::start(&keys[1], config, Vec::new(), 4);
    let peers = [peer(0, &keys[0], &[]), peer(1, &keys[1], &[flooded.address.clone()])];
    flooder.handle.allow(peers.to_vec());
    flooded.handle.allow(peers.to_vec());
    let patience = std::time::Instant::now();
    let until = |what: &str, holds: &mut dyn FnMut() -> bool| {
        while !holds() {
            assert!(patience.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    until("the link is up", &mut || flooder.is_alive(node(1)) && flooded.has(&Told::Up(node(0))));
    flooded.forget();
    let large = Bytes::from(vec![1; 30 << 10]);
    let mut sent = 0;
    until("the flood is dropped", &mut || {
        for bytes in [large.clone(), Bytes::from_static(b"small")] {
            sent += u64::from(flooder.handle.send(node(1), Lane::Control, bytes));
        }
        flooded.status(node(0)).dropped_in > 1_000
    });
    until("all has come", &mut || {
        flooded.take();
        let (dropped, taken) = (flooded.status(node(0)).dropped_in, flooded.told.len() as u64);
        dropped + taken == sent
    });
    // With room again, the next one comes.
    assert!(flooder.handle.send(node(1), Lane::Control, Bytes::from_static(b"after")));
    let after =
        Told::Frame { from: node(0), lane: Lane::Control, bytes: Bytes::from_static(b"after") };
    until("what comes after the flood", &mut || flooded.has(&after));
    assert_eq!(flooded.count(|told| matches!(told, Told::Lost(_))), 0);
}

#[test]
fn what_a_peer_does_not_take_fills_its_queue_and_no_more() {
    let mut config = config();
    config.queue_bytes = 1 << 20;
    config.dead_after = Duration::from_secs(30);
    config.suspect_after = Duration::from_secs(20);
    let mut group = Group::new(2, &config);
    let hang = group.nodes[1].hang();
    let bytes = Bytes::from(vec![2; 100 << 10]);
    // The sockets and the multiplexer take some; then the queue is full, and stays so.
    group.wait("the queue is full", |group| {
        group.nodes[0].handle.send(node(1), Lane::Blocks, bytes.clone());
        group.nodes[0].status(node(1)).dropped_out > 100
    });
    // The other lane does not wait behind it.
    assert!(group.nodes[0].handle.send(node(1), Lane::Control, Bytes::from_static(b"urgent")));
    drop(hang);
    group.wait("the urgent one", |group| !group.nodes[1].frames(node(0), Lane::Control).is_empty());
}

#[test]
fn an_oversized_frame_is_not_sent_and_one_that_comes_closes_the_link() {
    let mut small = config();
    small.control_frame = 100;
    let mut large = config();
    large.control_frame = 1_000;
    let keys = keys(2);
    let mut group = Group::apart(0, &small);
    group.keys = keys;
    for (key, config) in group.keys.iter().zip([large, small]) {
        group.nodes.push(Node::start(key, config, Vec::new(), 1 << 10));
    }
    let known =
        [0, 1].map(|id| peer(id, &group.keys[id], std::slice::from_ref(&group.nodes[id].address)));
    for node in &group.nodes {
        node.handle.allow(known.to_vec());
    }
    wait("the link", &mut group, Group::is_linked);
    let bytes = Bytes::from(vec![3; 500]);
    assert!(!group.nodes[1].handle.send(node(0), Lane::Control, bytes.clone()));
    assert!(!group.nodes[1].handle.send(node(0), Lane::Control, Bytes::new()));
    assert!(group.nodes[0].handle.send(node(1), Lane::Control, bytes));
    wait("the link is closed", &mut group, |group| group.nodes[1].has(&Told::Lost(node(0))));
    assert_eq!(group.nodes[1].handle.counts().oversized, 1);
    wait("the next link", &mut group, Group::is_linked);
    group.say(0, 1, Lane::Control, "sorry");
    assert!(group.nodes[1].frames(node(0), Lane::Control).iter().all(|bytes| bytes.len() <= 100));
}

#[test]
fn nonsense_at_the_port_and_callers_who_say_nothing_are_shown_out() {
    let mut config = config();
    config.handshake = Duration::from_millis(300);
    let mut group = Group::new(2, &config);
    let address = socket(&group.nodes[1].address);
    let say = |bytes: &[u8]| {
        let mut caller = TcpStream::connect(address).unwrap();
        // The other side may close before it has read all of it.
        let _written = caller.write_all(bytes);
        caller
    };
    let mut callers = vec![say(b""), say(b"\x13/multistream/1.0.0\n"), say(&[0xff; 100_000])];
    callers.push(say(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    for caller in &mut callers {
        caller.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // It ends: by the end of the stream, or because the stream was reset.
        let mut rest = Vec::new();
        let ended = caller.read_to_end(&mut rest);
        let timed_out = ended.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        assert!(!timed_out);
    }
    wait("they are counted", &mut group, |group| group.nodes[1].handle.counts().refused >= 4);
    group.say(0, 1, Lane::Control, "as if nothing had been");
    assert_eq!(group.nodes[1].count(|told| matches!(told, Told::Lost(_))), 0);
}

#[test]
fn nodes_of_two_chains_have_no_link() {
    let mut group = Group::apart(0, &config());
    group.keys = keys(2);
    for (key, chain_id) in group.keys.iter().zip([CHAIN, ChainId::new([8; 32])]) {
        let mut config = config();
        config.chain_id = chain_id;
        group.nodes.push(Node::start(key, config, Vec::new(), 1 << 10));
    }
    let known =
        [0, 1].map(|id| peer(id, &group.keys[id], std::slice::from_ref(&group.nodes[id].address)));
    for node in &group.nodes {
        node.handle.allow(known.to_vec());
    }
    wait("the lanes are refused", &mut group, |group| {
        group.nodes[0].handle.counts().failed_dials >= 3
    });
    assert_eq!(group.nodes[0].count(|_| true) + group.nodes[1].count(|_| true), 0);
}

#[test]
fn a_network_that_cannot_listen_says_why() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let start = |listen: &str| {
        let mut config = config();
        config.listen = vec![listen.to_owned()];
        let (sink, _events) = std::sync::mpsc::sync_channel(1);
        runtime.block_on(Net::start(&keys(1)[0], config, Vec::new(), sink)).err()
    };
    assert!(matches!(start("nowhere"), Some(NetError::Address { .. })));
    assert!(matches!(start("/ip4/127.0.0.1/udp/1"), Some(NetError::Listen { .. })));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = start(&format!("/ip4/127.0.0.1/tcp/{port}"));
    assert!(matches!(refused, Some(NetError::Listen { .. })), "{refused:?}");
}
