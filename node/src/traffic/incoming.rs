//! From other nodes to the driver. Runs on the network's threads, so what takes long goes elsewhere.
//!
//! **Which order holds.** The frames of a lane reach the driver as they were sent. That a link has begun or ended
//! stands between the frames of that link and those of the one before or after it, on both lanes, however long the
//! checks of some of them take: who has learned that its leader's link is closed waits for no sign of life any more,
//! and would be told otherwise by an append that the leader sent before it died.
//!
//! Requests and answers that are for the driver have an order among themselves. Between the two lanes, between a lane and requests or answers,
//! and between any of these and gossip there is none: a request can be handled after the end of the link beside which
//! it came. None of them says that a leader is alive, and who judges an answer does so by what is in it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quorate_chain::codec::{Decode as _, DecodeError, Encode as _, Reader};
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_chain::transaction::{SignedTransaction, verify_each};
use quorate_consensus::codec;
use quorate_consensus::message::Message;
use quorate_replica::io::Input;
use quorate_replica::snapshot::{Ask, Piece};
use tracing::{debug, warn};

use super::forwards::Forwards;
use super::neighbours::Neighbours;
use super::pending::{Pending, Wanted};
use super::{REQUESTS, kind, tagged};
use crate::net::{Frame, Lane, NetEvent, Reply, Sink, Topic};
use crate::telemetry::Seldom;
use crate::threads::{Check, Gates, Line};

/// What is at most so long is checked at once, by who brings it; links wait for that.
const SMALL: usize = 4 << 10;

/// Takes what the network brings.
pub(super) struct Incoming {
    pub(super) gates: Gates,
    pub(super) pending: Arc<Pending>,
    pub(super) forwards: Arc<Forwards>,
    pub(super) neighbours: Arc<Neighbours>,
}

const fn line(node: NodeId, lane: Lane) -> Line {
    let stream = match lane {
        Lane::Control => 0,
        Lane::Blocks => 1,
    };
    Line { node, stream }
}

/// The lines of a node that its links have.
fn lanes(node: NodeId) -> [Line; 2] {
    Lane::ALL.map(|lane| line(node, lane))
}

/// Bytes of a peer that are not what they should be: we would never send them.
fn garbled(from: NodeId, why: &dyn std::fmt::Display) {
    static GARBLED: Seldom = Seldom::new();
    if let Some(left_out) = GARBLED.now(Instant::now()) {
        warn!(peer = from.get(), %why, left_out, "a message cannot be used");
    }
}

fn received(from: NodeId, message: Message) -> Box<Input> {
    Box::new(Input::Received { from, message })
}

fn checked(
    from: NodeId,
    incoming: codec::Incoming,
    chain_id: ChainId,
    verifier: &dyn Verifier,
) -> Option<Box<Input>> {
    match incoming.verify(chain_id, verifier) {
        Ok(message) => Some(received(from, message)),
        Err(why) => {
            garbled(from, &why);
            None
        }
    }
}

fn decoded<T>(from: NodeId, found: Result<T, DecodeError>) -> Option<T> {
    found.inspect_err(|why| garbled(from, why)).ok()
}

impl Incoming {
    /// Takes a message; false if there is no room.
    fn message(&self, from: NodeId, line: Line, frame: Frame) -> bool {
        let length = frame.bytes().len();
        let check: Check = Box::new(move |chain_id, verifier| {
            let incoming = decoded(from, codec::Incoming::from_bytes(frame.bytes()))?;
            checked(from, incoming, chain_id, verifier)
        });
        self.check(line, length, check)
    }

    fn request(&self, from: NodeId, frame: Frame, reply: Reply) -> bool {
        let line = Line { node: from, stream: REQUESTS };
        let bytes = frame.bytes();
        let length = bytes.len();
        match bytes.first() {
            Some(&kind::MESSAGE) => {
                let body = bytes.slice(1..);
                let Some(incoming) = decoded(from, codec::Incoming::from_bytes(&body)) else {
                    return true;
                };
                if let Some(wanted) = wanted(&incoming) {
                    self.pending.keep(from, wanted, reply);
                }
                let check: Check =
                    Box::new(move |chain_id, verifier| checked(from, incoming, chain_id, verifier));
                self.check(line, length, check)
            }
            Some(&kind::FORWARD) => {
                let check: Check = Box::new(move |chain_id, verifier| {
                    let body = frame.bytes().slice(1..);
                    let input = forwarded(from, body, chain_id, verifier);
                    // The sender only wants to know that it has arrived.
                    reply.answer(Bytes::from_static(&[kind::FORWARD]));
                    input
                });
                self.gates.pool.message(line, length, check)
            }
            Some(&kind::PIECE) => {
                let Some(ask) = decoded(from, Ask::from_bytes(&bytes.slice(1..))) else {
                    return true;
                };
                let answer = |piece: &Piece| {
                    reply.answer(tagged(kind::PIECE, 0, |out| piece.encode(out)));
                };
                self.gates.questions.put(from, ask, Box::new(answer));
                true
            }
            _ => {
                garbled(from, &"a request of an unknown kind");
                true
            }
        }
    }
}

/// What a request asks for; nothing if it is no request.
fn wanted(incoming: &codec::Incoming) -> Option<Wanted> {
    match incoming.message() {
        Message::PreVoteRequest { .. } | Message::VoteRequest { .. } => Some(Wanted::Vote),
        Message::Pull { .. } => Some(Wanted::Chain),
        Message::Vote(_)
        | Message::Refuse { .. }
        | Message::Append(_)
        | Message::Stored(_)
        | Message::Reject { .. }
        | Message::Stale(_)
        | Message::Committed(_)
        | Message::Pulled { .. }
        | Message::Snapshot(_)
        | Message::ReadRequest { .. }
        | Message::ReadAt { .. }
        | Message::Greet(_)
        | Message::Known(_)
        | Message::Whereabouts { .. }
        | Message::Standing { .. }
        | Message::Recovering { .. }
        | Message::Handover(_) => None,
    }
}

/// Transactions for the leader. The bad ones among them are left out: a node that works sends none.
pub(super) fn forwarded(
    from: NodeId,
    body: Bytes,
    chain_id: ChainId,
    verifier: &dyn Verifier,
) -> Option<Box<Input>> {
    let mut reader = Reader::new(body);
    let mut transactions = Vec::new();
    while reader.left() > 0 {
        transactions.push(decoded(from, SignedTransaction::decode(&mut reader))?);
    }
    let verdicts = verify_each(transactions, chain_id, verifier).into_iter();
    let good = verdicts.filter_map(|verdict| verdict.inspect_err(|why| garbled(from, why)).ok());
    let transactions: Vec<_> = good.collect();
    (!transactions.is_empty()).then(|| Box::new(Input::Forwarded { from, transactions }))
}

impl Sink for Incoming {
    fn offer(&self, event: NetEvent) -> Result<(), NetEvent> {
        // What finds no room is dropped and counted by the pool: it cannot be given back any more.
        let taken = match event {
            NetEvent::Frame { from, lane, frame } => self.message(from, line(from, lane), frame),
            NetEvent::Request { from, frame, reply } => self.request(from, frame, reply),
            NetEvent::Answer { id, from, bytes } => {
                self.forwards.over(id);
                self.answer(from, &bytes)
            }
            NetEvent::Gossip { from, topic: Topic::Beat, frame } => {
                self.neighbours.hear(from, frame.bytes());
                true
            }
            // Nobody sends these to a validator yet.
            NetEvent::Gossip { topic: Topic::Block, .. } => true,
            NetEvent::LinkUp { node } => {
                self.gates.pool.fence(lanes(node), Input::LinkOpened { node });
                true
            }
            NetEvent::LinkLost { node } => {
                self.gates.pool.fence(lanes(node), Input::LinkLost { node });
                true
            }
            // The core asks again in its own time.
            NetEvent::Unanswered { id, .. } => {
                self.forwards.over(id);
                true
            }
        };
        if !taken {
            debug!("a message was dropped: too many wait");
        }
        Ok(())
    }
}

impl Incoming {
    /// Takes an answer. Whether it was asked for is for the driver to judge.
    fn answer(&self, from: NodeId, bytes: &Bytes) -> bool {
        let line = Line { node: from, stream: REQUESTS };
        let length = bytes.len();
        let body = bytes.slice(length.min(1)..);
        let check: Check = match bytes.first() {
            Some(&kind::MESSAGE) => Box::new(move |chain_id, verifier| {
                let incoming = decoded(from, codec::Incoming::from_bytes(&body))?;
                checked(from, incoming, chain_id, verifier)
            }),
            Some(&kind::PIECE) => Box::new(move |_, _| {
                let piece = decoded(from, Piece::from_bytes(&body))?;
                Some(Box::new(Input::Brought { from, piece }))
            }),
            Some(&kind::FORWARD) => return true,
            _ => {
                garbled(from, &"an answer of an unknown kind");
                return true;
            }
        };
        self.check(line, length, check)
    }

    /// Has something checked, at once if it is small.
    fn check(&self, line: Line, length: usize, check: Check) -> bool {
        if length > SMALL {
            self.gates.pool.message(line, length, check)
        } else {
            self.gates.pool.small(line, length, check)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use quorate_chain::crypto::Ed25519;
    use quorate_chain::ids::{Term, TxId};
    use quorate_consensus::message::{Append, Beat, Lap};
    use tokio::sync::Semaphore;

    use super::super::admitted::tests::roster;
    use super::*;
    use crate::clock::Clock;
    use crate::net::RequestId;
    use crate::threads::{Plan, Turn};

    const LEADER: NodeId = NodeId::new(1);

    fn incoming() -> Incoming {
        let plan = Plan {
            chain_id: ChainId::ZERO,
            verifier: Arc::new(Ed25519),
            clock: Clock::start(),
            window_blocks: 8,
            window_bytes: 1 << 20,
            most_records: 512,
            mempool_transactions: 8,
            verify_threads: 1,
            read_threads: 1,
        };
        Incoming {
            gates: Gates::new(&plan),
            pending: Arc::new(Pending::new(1 << 20)),
            forwards: Arc::new(Forwards::new(16 << 20, 1 << 19)),
            neighbours: Arc::new(Neighbours::new(ChainId::ZERO, roster(&[0, 1, 2]))),
        }
    }

    fn frame(lane: Lane, bytes: Vec<u8>) -> NetEvent {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        NetEvent::Frame { from: LEADER, lane, frame: Frame::new(bytes.into(), room) }
    }

    /// The sign of life of a leader.
    fn append(beat: u64) -> NetEvent {
        let append = Append {
            term: Term::new(3),
            election: None,
            lap: Lap(1),
            beat: Beat(beat),
            parent: ChainId::ZERO.genesis_ref(),
            blocks: Vec::new(),
            certificate: None,
        };
        let mut bytes = Vec::new();
        Message::Append(Box::new(append)).encode(&mut bytes);
        frame(Lane::Blocks, bytes)
    }

    /// What the driver takes next.
    fn taken(incoming: &Incoming) -> Vec<String> {
        let mut turn = Turn::default();
        assert!(incoming.gates.inbox.take(Instant::now(), &mut turn));
        let name = |input: &Input| {
            if let Input::Received { message: Message::Append(append), .. } = input {
                format!("append {}", append.beat.0)
            } else {
                format!("{input:?}")
            }
        };
        turn.inputs.iter().map(name).collect()
    }

    fn offer(incoming: &Incoming, events: impl IntoIterator<Item = NetEvent>) {
        for event in events {
            assert!(incoming.offer(event).is_ok());
        }
    }

    #[test]
    fn a_request_that_is_over_makes_room_for_the_next_however_it_ended() {
        let incoming = incoming();
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let ask = move |_, _| Some(RequestId(count.fetch_add(1, SeqCst)));
        incoming.forwards.connect(ask);
        for number in 0..9 {
            let transaction = (TxId::new([number; 32]), Bytes::from(vec![0; 1 << 19]));
            incoming.forwards.put(LEADER, [transaction]);
        }
        let under_way = asked.load(SeqCst);
        assert!(under_way < 9);
        let arrived = Bytes::from_static(&[kind::FORWARD]);
        offer(&incoming, [NetEvent::Answer { id: RequestId(0), from: LEADER, bytes: arrived }]);
        assert_eq!(asked.load(SeqCst), under_way + 1);
        offer(&incoming, [NetEvent::Unanswered { id: RequestId(1), to: LEADER }]);
        assert_eq!(asked.load(SeqCst), under_way + 2);
    }

    #[test]
    fn the_last_append_of_a_dead_leader_comes_before_the_end_of_its_link() {
        let incoming = incoming();
        let (up, lost) = (NetEvent::LinkUp { node: LEADER }, NetEvent::LinkLost { node: LEADER });
        offer(&incoming, [append(7), lost, up, append(8)]);
        let (up, lost) = (Input::LinkOpened { node: LEADER }, Input::LinkLost { node: LEADER });
        let in_order = ["append 7", &format!("{lost:?}"), &format!("{up:?}"), "append 8"];
        assert_eq!(taken(&incoming), in_order);
    }

    #[test]
    fn the_end_of_a_link_waits_for_the_check_of_what_came_over_it_and_the_next_link_waits_too() {
        // Nobody checks anything here: what is large enough for the pool stays in it.
        let large = || vec![0; SMALL + 1];
        for lane in Lane::ALL {
            let incoming = incoming();
            let (up, lost) =
                (NetEvent::LinkUp { node: LEADER }, NetEvent::LinkLost { node: LEADER });
            let other = NetEvent::LinkLost { node: NodeId::new(2) };
            offer(&incoming, [frame(lane, large()), lost, up, append(8), other]);
            let other = Input::LinkLost { node: NodeId::new(2) };
            assert_eq!(taken(&incoming), [format!("{other:?}")], "{lane:?}");
        }
    }
}
