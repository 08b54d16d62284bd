//! A line between two nodes that can be cut, slowed and made unreliable.
//!
//! It stands where one node believes the other to be, and passes bytes on. What passes is encrypted
//! and has an order, so nothing can be dropped out of the middle: a piece that is *lost* arrives
//! later, as TCP would have it, and everything after it waits for it.
//!
//! Left out: cutting one direction alone, because a connection of TCP dies with either.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Bytes that are passed on as one piece.
const PIECE: usize = 16 << 10;
/// Pieces under way in one direction.
const UNDER_WAY: usize = 256;
/// How much later a lost piece arrives: the shortest time after which Linux sends one again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long to wait before the next connection when none could be accepted.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fault {
    /// Nothing passes, and connections break.
    pub(crate) cut: bool,
    /// How long each piece is under way.
    pub(crate) delay: Duration,
    /// How many of a thousand pieces are lost.
    pub(crate) lost: u16,
}

/// A line to one node.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A line to what listens there, or will.
    pub(crate) async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (fault, seen) = watch::channel(Fault::default());
        let task = tokio::spawn(serve(listener, target, seen));
        Ok(Self { address, fault, task })
    }

    /// Where the line begins.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is wrong with it.
    #[cfg(test)]
    pub(crate) fn fault(&self) -> Fault {
        *self.fault.borrow()
    }

    /// Changes what is wrong with it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Fault)) {
        self.fault.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, fault: watch::Receiver<Fault>) {
    // Dropped with the task, and with it every connection.
    let mut connections = JoinSet::new();
    let mut number = 0_u64;
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // No file is left to open, for instance.
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        if fault.borrow().cut {
            continue;
        }
        number += 1;
        connections.spawn(connect(near, target, fault.clone(), number));
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes both ways until one end closes or the line is cut.
async fn connect(
    near: TcpStream,
    target: SocketAddr,
    mut fault: watch::Receiver<Fault>,
    number: u64,
) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let there = pass(near_in, far_out, fault.clone(), number << 1);
    let back = pass(far_in, near_out, fault.clone(), number << 1 | 1);
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = fault.wait_for(|fault| fault.cut) => {}
    }
}

/// Passes bytes one way. Reading goes on while pieces are under way, so that a delay costs no
/// throughput.
async fn pass(from: OwnedReadHalf, to: OwnedWriteHalf, fault: watch::Receiver<Fault>, seed: u64) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    tokio::select! {
        () = read(from, sender, fault, seed) => {}
        () = write(to, receiver) => {}
    }
}

async fn read(
    mut from: OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
    fault: watch::Receiver<Fault>,
    mut dice: u64,
) {
    loop {
        let mut piece = vec![0; PIECE];
        let length = match from.read(&mut piece).await {
            Ok(length) if length > 0 => length,
            Ok(_) | Err(_) => break,
        };
        piece.truncate(length);
        let Fault { delay, lost, .. } = *fault.borrow();
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let is_lost = (dice >> 33) % 1_000 < u64::from(lost);
        let due = Instant::now() + delay + if is_lost { AGAIN } else { Duration::ZERO };
        if sender.send((due, piece)).await.is_err() {
            return;
        }
    }
    // What is under way still arrives.
    drop(sender);
    std::future::pending::<()>().await;
}

async fn write(mut to: OwnedWriteHalf, mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, piece)) = receiver.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something that sends back what it gets, and a line to it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Proxy::start(address).await.unwrap()
    }

    async fn there_and_back(stream: &mut TcpStream) -> io::Result<Duration> {
        let begin = Instant::now();
        stream.write_all(b"hello").await?;
        let mut back = [0; 5];
        stream.read_exact(&mut back).await?;
        assert_eq!(&back, b"hello");
        Ok(begin.elapsed())
    }

    #[tokio::test]
    async fn bytes_pass_until_the_line_is_cut_and_again_when_it_is_healed() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        there_and_back(&mut stream).await.unwrap();
        proxy.change(|fault| fault.cut = true);
        assert!(there_and_back(&mut stream).await.is_err());
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(there_and_back(&mut stream).await.is_err());
        proxy.change(|fault| fault.cut = false);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        there_and_back(&mut stream).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_delayed_or_lost_arrives_no_sooner_than_it_should() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.change(|fault| fault.delay = Duration::from_millis(30));
        assert!(there_and_back(&mut stream).await.unwrap() >= Duration::from_millis(60));
        proxy.change(|fault| *fault = Fault { lost: 1_000, ..Fault::default() });
        assert!(there_and_back(&mut stream).await.unwrap() >= 2 * AGAIN);
    }
}
