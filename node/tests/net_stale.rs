//! A link that was given up at one end and not at the other must not harm the one that replaced it.
#![allow(clippy::unwrap_used)]

mod group;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use group::{Group, Node, Told, config, keys, node, peer};
use quorate_node::net::{Lane, Net, NetEvent, Sink};
use tokio::runtime::Builder;

/// One connection through the wire.
struct Passage {
    /// The end at the one who was dialled.
    callee: TcpStream,
    frozen: Arc<AtomicBool>,
    /// The callee has closed.
    closed: Arc<AtomicBool>,
}

/// A wire between two nodes that can go dead without either end being told.
struct Wire {
    address: SocketAddr,
    passages: Arc<Mutex<Vec<Passage>>>,
}

impl Wire {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let passages: Arc<Mutex<Vec<Passage>>> = Arc::default();
        let address = listener.local_addr().unwrap();
        let made = Arc::clone(&passages);
        std::thread::spawn(move || {
            while let Ok((caller, _)) = listener.accept() {
                let Ok(callee) = TcpStream::connect(target) else { continue };
                let (frozen, closed) = (Arc::default(), Arc::default());
                let (there, back) = (caller.try_clone().unwrap(), callee.try_clone().unwrap());
                let onwards = callee.try_clone().unwrap();
                // It is known before anything passes, so whoever sees a link up finds its passage.
                let (ice, end) = (Arc::clone(&frozen), Arc::clone(&closed));
                made.lock().unwrap().push(Passage { callee, frozen, closed });
                pass(there, onwards, Arc::clone(&ice), Arc::default());
                pass(back, caller, ice, end);
            }
        });
        Self { address, passages }
    }
}

/// Copies until the end, and passes the end on, unless frozen by then.
fn pass(mut from: TcpStream, mut to: TcpStream, frozen: Arc<AtomicBool>, ended: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4_096];
        loop {
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(_) if frozen.load(SeqCst) => {}
                Ok(length) => {
                    if to.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        ended.store(true, SeqCst);
        if !frozen.load(SeqCst) {
            // It may be closed already.
            let _closed = to.shutdown(Shutdown::Both);
        }
    });
}

#[test]
fn the_end_of_a_stale_link_does_not_take_down_its_successor() {
    // Nothing is found out by silence in this test.
    let mut config = config();
    config.suspect_after = Duration::from_secs(300);
    config.dead_after = Duration::from_secs(600);
    let mut group = Group::apart(2, &config);
    let port: u16 = group.nodes[1].address.rsplit('/').next().unwrap().parse().unwrap();
    let wire = Wire::to(SocketAddr::from(([127, 0, 0, 1], port)));
    let through = format!("/ip4/127.0.0.1/tcp/{}", wire.address.port());
    let caller = peer(0, &group.keys[0], &[]);
    let callee = peer(1, &group.keys[1], &[through]);
    group.nodes[1].handle.allow(vec![caller]);
    group.nodes[0].handle.allow(vec![callee.clone()]);
    group.wait("the first link", Group::is_linked);
    group.say(0, 1, Lane::Control, "first");

    // The caller dies behind a dead wire: the callee learns nothing, and still has the link.
    let freeze = |passages: &[Passage]| {
        // A call that came before the callee knew the caller was refused, and another followed.
        passages.iter().for_each(|passage| passage.frozen.store(true, SeqCst));
        passages.len()
    };
    let first = freeze(&wire.passages.lock().unwrap()) - 1;
    group.nodes[0].kill();
    assert!(group.nodes[1].status(node(0)).linked);
    // It knows no other way than the wire from the first moment on.
    group.peers[1] = callee;
    group.revive(0);
    group.wait("the second link", |group| {
        group.nodes[0].has(&Told::Up(node(1)))
            && group.nodes[1].count(|told| *told == Told::Up(node(0))) == 2
    });
    group.say(0, 1, Lane::Control, "second");

    // Now the callee learns of the end of the first.
    let passages = wire.passages.lock().unwrap();
    assert_eq!(passages.len(), first + 2);
    let _closed = passages[first].callee.shutdown(Shutdown::Write);
    group.wait("the callee has closed the first", |_| passages[first].closed.load(SeqCst));
    assert!(!passages[first + 1].closed.load(SeqCst));
    group.say(0, 1, Lane::Blocks, "third");
    group.say(1, 0, Lane::Control, "fourth");
    assert_eq!(group.nodes[1].count(|told| *told == Told::Lost(node(0))), 1);
    assert_eq!(group.nodes[0].count(|told| matches!(told, Told::Lost(_))), 0);
}

/// A sink that is in the middle of taking the first frame until it is released.
struct Slow {
    told: Sender<&'static str>,
    began: Sender<()>,
    release: Mutex<Receiver<()>>,
}

impl Sink for Slow {
    fn offer(&self, event: NetEvent) -> Result<(), NetEvent> {
        let what = if let NetEvent::Frame { frame, .. } = event {
            if frame.bytes() != "first" {
                "later"
            } else {
                self.began.send(()).unwrap();
                // Whatever else its thread has to do is done by another one.
                tokio::task::block_in_place(|| self.release.lock().unwrap().recv().unwrap());
                "first"
            }
        } else if matches!(event, NetEvent::LinkLost { .. }) {
            "lost"
        } else {
            return Ok(());
        };
        // Who listens may have gone.
        let _told = self.told.send(what);
        Ok(())
    }
}

#[test]
fn no_frame_of_a_link_is_told_after_its_end_though_its_reader_is_in_the_middle_of_them() {
    let keys = keys(2);
    let mut sender = Node::start(&keys[0], config(), Vec::new(), 1 << 10);
    let (told, events) = mpsc::channel();
    let (began, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let slow = Slow { told, began, release: Mutex::new(released) };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let peers = vec![peer(0, &keys[0], &[])];
    let net = runtime.block_on(Net::start(&keys[1], config(), peers, slow)).unwrap();
    let handle = net.handle();
    sender.handle.allow(vec![peer(1, &keys[1], net.listening())]);
    let linked = || handle.peers().iter().any(|peer| peer.linked);
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait("a link", &|| linked() && sender.status(node(1)).linked);
    // They go out together, so the reader has all of them when it begins.
    let hang = sender.hang();
    for text in ["first", "second", "third", "fourth"] {
        assert!(sender.handle.send(node(1), Lane::Blocks, Bytes::from_static(text.as_bytes())));
    }
    drop(hang);
    begun.recv_timeout(Duration::from_secs(60)).unwrap();
    sender.kill();
    wait("the end of the link", &|| !linked());
    // Time to do it wrong: the end could be told at once.
    std::thread::sleep(Duration::from_millis(50));
    release.send(()).unwrap();
    let mut all = Vec::new();
    while all.last() != Some(&"lost") {
        all.push(events.recv_timeout(Duration::from_secs(60)).unwrap());
    }
    // What the reader is at is finished first.
    drop(net);
    runtime.shutdown_timeout(Duration::from_secs(10));
    all.extend(events.try_iter());
    assert_eq!((all.first(), all.last()), (Some(&"first"), Some(&"lost")), "{all:?}");
}
