//! Where the driver takes from: one place, three queues.
//!
//! Completions come first: what the node waits for itself. Then a part of what other nodes have sent,
//! then a part of what clients want, so that neither can keep the other waiting. That a link has begun or ended
//! is no completion: it has its place among the messages, behind those that came over the link before.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use quorate_chain::checked::Checked;
use quorate_chain::ids::{Height, TxId};
use quorate_chain::roster::SignedRosterChange;
use quorate_chain::transaction::{SignedTransaction, TransactionError};
use quorate_consensus::membership::Refusal as ChangeRefusal;
use quorate_consensus::reads::Unread;
use quorate_replica::io::{Answer, Input};
use tokio::sync::oneshot;

/// Most messages of other nodes in one turn of the driver.
const MESSAGES: usize = 64;
/// Most requests of clients in one turn of the driver.
const REQUESTS: usize = 256;

/// What a client hears of its transaction.
#[derive(Debug)]
pub(crate) enum Word {
    /// It waits for a block.
    Accepted {
        /// Whether it did before it was sent this time.
        was_here: bool,
    },
    /// It is not acceptable, whatever the state.
    Bad(TransactionError),
    /// Too many requests wait for the driver.
    Busy,
    /// What became of it.
    Answer(Answer),
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// That its transaction was taken.
    Accepted,
    /// That it is known what became of it.
    Settled,
}

/// Something that somebody on this node asks the driver for.
#[derive(Debug)]
pub(crate) enum Request {
    /// A transaction for the chain.
    Submit {
        /// The transaction.
        transaction: Box<Checked<SignedTransaction>>,
        /// What is waited for.
        wish: Wish,
        /// Who waits.
        reply: oneshot::Sender<Word>,
    },
    /// To read what is committed by now.
    Read {
        /// Who waits.
        reply: oneshot::Sender<Result<Height, Unread>>,
    },
    /// Another roster.
    Change {
        /// What the admins want changed.
        change: Box<SignedRosterChange>,
        /// Who waits for the height at which it is entered.
        reply: oneshot::Sender<Result<Height, ChangeRefusal>>,
    },
    /// Whether a transaction waits in the mempool.
    IsWaiting {
        /// The transaction.
        tx: TxId,
        /// Who wants to know.
        reply: oneshot::Sender<bool>,
    },
}

/// What the driver takes in one turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Completions and messages.
    pub(crate) inputs: VecDeque<Input>,
    /// What clients want.
    pub(crate) requests: VecDeque<Request>,
}

#[derive(Debug, Default)]
struct Queues {
    completions: VecDeque<Input>,
    messages: VecDeque<Input>,
    requests: VecDeque<Request>,
    dropped: u64,
    closed: bool,
}

impl Queues {
    fn is_empty(&self) -> bool {
        self.completions.is_empty() && self.messages.is_empty() && self.requests.is_empty()
    }
}

/// The queues of the driver.
#[derive(Debug)]
pub(crate) struct Inbox {
    queues: Mutex<Queues>,
    wake: Condvar,
    most_messages: usize,
    most_requests: usize,
}

impl Inbox {
    /// Empty queues, with room for so many messages and requests.
    pub(crate) fn new(most_messages: usize, most_requests: usize) -> Self {
        let (queues, wake) = (Mutex::default(), Condvar::new());
        Self { queues, wake, most_messages, most_requests }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // Nothing panics between two changes that belong together.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that the driver has asked for is done, or the node itself wants something. There is
    /// always room: of each kind there are as many as the driver has asked for.
    pub(crate) fn complete(&self, input: Input) {
        self.queues().completions.push_back(input);
        self.wake.notify_one();
    }

    /// A message of another node; false if it was dropped for want of room.
    pub(crate) fn message(&self, input: Input) -> bool {
        let mut queues = self.queues();
        if queues.messages.len() >= self.most_messages {
            queues.dropped += 1;
            return false;
        }
        queues.messages.push_back(input);
        drop(queues);
        self.wake.notify_one();
        true
    }

    /// What stands between messages of another node, behind those that are here. It always has room: there are as
    /// many as links have begun and ended since the driver last took some.
    pub(crate) fn fence(&self, input: Input) {
        self.queues().messages.push_back(input);
        self.wake.notify_one();
    }

    /// A request of a client; given back if there is no room.
    pub(crate) fn request(&self, request: Request) -> Result<(), Request> {
        let mut queues = self.queues();
        if queues.requests.len() >= self.most_requests || queues.closed {
            return Err(request);
        }
        queues.requests.push_back(request);
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    /// How many messages were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.queues().dropped
    }

    /// Waits until there is something, it is that late, or the inbox is closed; takes one turn's
    /// share. False if it is closed.
    pub(crate) fn take(&self, until: Instant, turn: &mut Turn) -> bool {
        let mut queues = self.queues();
        while queues.is_empty() && !queues.closed {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|t| !t.is_zero())
            else {
                return true;
            };
            let woken = self.wake.wait_timeout(queues, left);
            queues = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        turn.inputs.append(&mut queues.completions);
        let messages = queues.messages.len().min(MESSAGES);
        turn.inputs.extend(queues.messages.drain(..messages));
        let requests = queues.requests.len().min(REQUESTS);
        turn.requests.extend(queues.requests.drain(..requests));
        !queues.closed
    }

    /// No more requests; the driver wakes and sees that it is over.
    pub(crate) fn close(&self) {
        self.queues().closed = true;
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_chain::ids::NodeId;

    use super::*;

    fn lost(node: u32) -> Input {
        Input::LinkLost { node: NodeId::new(node) }
    }

    fn nodes(turn: &Turn) -> Vec<u32> {
        let node = |input: &Input| {
            let Input::LinkLost { node } = input else { panic!("{input:?}") };
            node.get()
        };
        turn.inputs.iter().map(node).collect()
    }

    #[test]
    fn completions_come_first_and_a_flood_of_messages_takes_turns() {
        let inbox = Inbox::new(1_000, 10);
        for node in 0..100 {
            assert!(inbox.message(lost(node)));
        }
        inbox.complete(lost(777));
        let mut turn = Turn::default();
        assert!(inbox.take(Instant::now(), &mut turn));
        assert_eq!(nodes(&turn)[..3], [777, 0, 1]);
        assert_eq!(turn.inputs.len(), 1 + MESSAGES);
    }

    #[test]
    fn messages_beyond_the_room_are_dropped_and_counted() {
        let inbox = Inbox::new(2, 2);
        assert_eq!([1, 2, 3].map(|node| inbox.message(lost(node))), [true, true, false]);
        assert_eq!(inbox.dropped(), 1);
        inbox.fence(lost(8));
        inbox.complete(lost(9));
        let mut turn = Turn::default();
        assert!(inbox.take(Instant::now(), &mut turn));
        assert_eq!(nodes(&turn), [9, 1, 2, 8], "a fence stays in its place");
        let ask = || {
            let (reply, _) = oneshot::channel();
            inbox.request(Request::IsWaiting { tx: TxId::ZERO, reply }).is_ok()
        };
        assert_eq!([ask(), ask(), ask()], [true, true, false]);
    }

    #[test]
    fn it_wakes_when_something_comes_or_it_is_closed() {
        let inbox = Inbox::new(2, 2);
        let never = Instant::now() + Duration::from_secs(3_600);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut turn = Turn::default();
                let open = inbox.take(never, &mut turn);
                (open, turn.inputs.len(), inbox.take(never, &mut turn))
            });
            inbox.complete(lost(1));
            while !inbox.queues().is_empty() {
                std::thread::yield_now();
            }
            inbox.close();
            assert_eq!(taker.join().unwrap(), (true, 1, false));
        });
    }
}
