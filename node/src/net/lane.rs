//! One lane of an open link: a task that reads it and a task that writes it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::Stream;
use libp2p::futures::AsyncReadExt as _;
use libp2p::futures::io::{BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::event::{Lane, NetEvent, Sink};
use super::frame::{self, Frame};
use super::shared::PeerState;

/// Frames from here on are written by themselves; smaller ones are gathered.
const LARGE: usize = 16 << 10;
/// How much is gathered before it is written.
const GATHER: usize = 64 << 10;

/// What the frames of a link's lane go through to be told. A reader that is in the middle of its work ends only when
/// it next waits; until then it could tell frames after the end of its link, among those of the next.
#[derive(Clone, Default)]
pub(super) struct Gate {
    shut: Arc<Mutex<bool>>,
}

impl Gate {
    /// Has something told, unless the link is over; whether it was.
    fn pass(&self, tell: impl FnOnce()) -> bool {
        let shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        if !*shut {
            tell();
        }
        !*shut
    }

    /// Nothing is told any more. Waits for what is being told: that is for a sink, which does not wait.
    pub(super) fn shut(&self) {
        *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// A lane: the peer, which of its two, the largest frame on it, and what its frames go through.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) peer: Arc<PeerState>,
    pub(super) lane: Lane,
    pub(super) limit: usize,
    pub(super) gate: Gate,
}

pub(super) type Halves = (BufReader<ReadHalf<Stream>>, WriteHalf<Stream>);

/// Takes a stream apart. The read half has a buffer, so that small frames do not cost two polls each.
pub(super) fn halves(stream: Stream) -> Halves {
    let (read, write) = stream.split();
    (BufReader::with_capacity(32 << 10, read), write)
}

/// Reads until the lane ends; why it did.
pub(super) async fn read(
    ends: Ends,
    mut from: BufReader<ReadHalf<Stream>>,
    sink: Arc<dyn Sink>,
) -> io::Error {
    loop {
        match frame::read(&mut from, ends.limit).await {
            Ok(bytes) if bytes.is_empty() => ends.peer.saw(),
            Ok(bytes) => {
                let (from, lane) = (ends.peer.node, ends.lane);
                let event = |frame| NetEvent::Frame { from, lane, frame };
                if !ends.gate.pass(|| ends.peer.take(&*sink, bytes, event)) {
                    return io::ErrorKind::ConnectionAborted.into();
                }
            }
            Err(error) => return error,
        }
    }
}

/// Writes what waits until the lane ends; why it did. With a `keepalive` it says that it is there
/// whenever it has said nothing for as long. `hello` goes first.
pub(super) async fn write(
    mut to: WriteHalf<Stream>,
    mut waiting: mpsc::Receiver<Frame>,
    hello: Vec<u8>,
    keepalive: Option<Duration>,
    stall: Duration,
) -> io::Error {
    let mut gathered = hello;
    loop {
        if let Err(error) = push(&mut to, &mut gathered, &mut waiting, stall).await {
            return error;
        }
        let next = match keepalive {
            Some(pause) => timeout(pause, waiting.recv()).await,
            None => Ok(waiting.recv().await),
        };
        match next {
            Ok(Some(frame)) => {
                if let Err(error) = gather(&mut to, &mut gathered, frame, stall).await {
                    return error;
                }
            }
            Ok(None) => return io::ErrorKind::ConnectionAborted.into(),
            Err(_) => frame::put(&mut gathered, &[]),
        }
    }
}

/// Writes what has been gathered and what waits behind it, and flushes once.
async fn push(
    to: &mut WriteHalf<Stream>,
    gathered: &mut Vec<u8>,
    waiting: &mut mpsc::Receiver<Frame>,
    stall: Duration,
) -> io::Result<()> {
    while let Ok(frame) = waiting.try_recv() {
        gather(to, gathered, frame, stall).await?;
    }
    frame::write(to, gathered, stall).await?;
    gathered.clear();
    frame::flush(to, stall).await
}

/// Puts a frame behind the others; writes them if they are many, or if it is large.
async fn gather(
    to: &mut WriteHalf<Stream>,
    gathered: &mut Vec<u8>,
    frame: Frame,
    stall: Duration,
) -> io::Result<()> {
    let bytes = frame.bytes();
    if bytes.len() < LARGE {
        frame::put(gathered, bytes);
        if gathered.len() < GATHER {
            return Ok(());
        }
        frame::write(to, gathered, stall).await?;
        gathered.clear();
        return Ok(());
    }
    frame::put_length(gathered, bytes.len());
    frame::write(to, gathered, stall).await?;
    gathered.clear();
    frame::write(to, bytes, stall).await
}
