//! What a lane costs over a bare socket: `cargo bench -p quorate-node --bench net`, some seconds.
//!
//! Two networks in one process on loopback, each with a runtime of its own; beside them two threads
//! with a TCP connection, no Nagle. Both ways send the same bytes in the same minute, and the ratio is
//! what counts.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark says so by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_node::net::{Config, Lane, Net, NetEvent, NetHandle, Peer};
use tokio::runtime::{Builder, Runtime};

const TRIPS: usize = 5_000;
const SMALL: usize = 200;
const LARGE: usize = 1 << 20;
const LARGE_COUNT: usize = 400;
/// Large frames in flight: about what a follower is sent ahead.
const AHEAD: usize = 4;

struct Side {
    _runtime: Runtime,
    _net: Net,
    handle: NetHandle,
    events: Receiver<NetEvent>,
    peer: Peer,
}

fn side(id: u32) -> Side {
    let key = SecretKey::from_seed(&[u8::try_from(id).unwrap() + 1; 32]);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut config = Config::new(ChainId::new([7; 32]));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let (sink, events) = mpsc::sync_channel(1 << 16);
    let net = runtime.block_on(Net::start(&key, config, Vec::new(), sink)).unwrap();
    let addresses = net.listening().to_vec();
    let peer = Peer { node: NodeId::new(id), key: key.validator_key(), addresses };
    Side { handle: net.handle(), _net: net, _runtime: runtime, events, peer }
}

impl Side {
    /// The next frame.
    fn frame(&self) -> Bytes {
        loop {
            if let NetEvent::Frame { frame, .. } = self.events.recv().unwrap() {
                return frame.into_bytes();
            }
        }
    }
}

/// The median.
fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn trips_by_lane(near: &Side, far: &mut Side) -> Duration {
    let bytes = Bytes::from(vec![1; SMALL]);
    let (here, there) = (near.peer.node, far.peer.node);
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..TRIPS {
                let bytes = far.frame();
                assert!(far.handle.send(here, Lane::Control, bytes));
            }
        });
        let trip = || {
            let begun = Instant::now();
            assert!(near.handle.send(there, Lane::Control, bytes.clone()));
            near.frame();
            begun.elapsed()
        };
        middle((0..TRIPS).map(|_| trip()).collect())
    })
}

fn large_by_lane(near: &Side, far: &mut Side) -> Duration {
    let bytes = Bytes::from(vec![2; LARGE]);
    let (here, there) = (near.peer.node, far.peer.node);
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..LARGE_COUNT {
                far.frame();
                assert!(far.handle.send(here, Lane::Control, Bytes::from_static(b"got it")));
            }
        });
        let begun = Instant::now();
        for number in 0..LARGE_COUNT + AHEAD {
            if number >= AHEAD {
                near.frame();
            }
            if number < LARGE_COUNT {
                assert!(near.handle.send(there, Lane::Blocks, bytes.clone()));
            }
        }
        begun.elapsed()
    })
}

fn bare() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

fn trips_by_socket() -> Duration {
    let (mut near, mut far) = bare();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut bytes = [0; SMALL];
            for _ in 0..TRIPS {
                far.read_exact(&mut bytes).unwrap();
                far.write_all(&bytes).unwrap();
            }
        });
        let mut bytes = [1; SMALL];
        let mut trip = || {
            let begun = Instant::now();
            near.write_all(&bytes).unwrap();
            near.read_exact(&mut bytes).unwrap();
            begun.elapsed()
        };
        middle((0..TRIPS).map(|_| trip()).collect())
    })
}

fn large_by_socket() -> Duration {
    let (mut near, mut far) = bare();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut bytes = vec![0; LARGE];
            for _ in 0..LARGE_COUNT {
                far.read_exact(&mut bytes).unwrap();
                far.write_all(b"!").unwrap();
            }
        });
        let bytes = vec![2; LARGE];
        let begun = Instant::now();
        for number in 0..LARGE_COUNT + AHEAD {
            if number >= AHEAD {
                near.read_exact(&mut [0]).unwrap();
            }
            if number < LARGE_COUNT {
                near.write_all(&bytes).unwrap();
            }
        }
        begun.elapsed()
    })
}

fn ratio(ours: Duration, bare: Duration) -> f64 {
    ours.as_secs_f64() / bare.as_secs_f64()
}

fn main() {
    let (near, mut far) = (side(0), side(1));
    let peers = vec![near.peer.clone(), far.peer.clone()];
    for side in [&near, &far] {
        side.handle.allow(peers.clone());
    }
    for side in [&near, &far] {
        while !matches!(side.events.recv().unwrap(), NetEvent::LinkUp { .. }) {}
    }
    println!(
        "there and back, {SMALL} bytes, median of {TRIPS}; {LARGE_COUNT} of 1 MiB, {AHEAD} ahead"
    );
    for _ in 0..3 {
        let (lane, socket) = (trips_by_lane(&near, &mut far), trips_by_socket());
        println!("small: lane {lane:?}, socket {socket:?}, ratio {:.1}", ratio(lane, socket));
        let (lane, socket) = (large_by_lane(&near, &mut far), large_by_socket());
        let rate = |time: Duration| (LARGE_COUNT as f64) * 1.048_576 / time.as_secs_f64();
        println!(
            "large: lane {:.0} MB/s, socket {:.0} MB/s, ratio {:.1}",
            rate(lane),
            rate(socket),
            ratio(lane, socket)
        );
    }
}
