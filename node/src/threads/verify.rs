//! The threads that check signatures before the driver sees what they are on.
//!
//! Messages come in over *lines*, one for each ordered stream of each node. Those of one line are
//! checked in parallel and reach the driver in their order:
//!
//! ```text
//!   line  ┌ checked ┬ in work ┬ checked ┬ waits ┐
//!         └────┬────┴─────────┴─────────┴───────┘
//!              ▼ goes to the driver; what is behind it waits for the one in work
//! ```
//!
//! Transactions of clients are checked in batches, because a batch is cheaper than its parts: whoever is
//! free takes all that wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use quorate_chain::checked::Checked;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_chain::transaction::{SignedTransaction, verify_each};
use quorate_replica::io::{Answer, Input, Refusal};
use tokio::sync::oneshot;

use super::inbox::{Request, Wish, Word};
use super::{Inbox, Plan};
use crate::exit::Failure;

/// Most transactions in one batch.
const BATCH: usize = 64;

/// An ordered stream of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    /// The node.
    pub(crate) node: NodeId,
    /// Which of its streams.
    pub(crate) stream: u8,
}

/// Checks one message; `None` if it is not acceptable.
pub(crate) type Check = Box<dyn FnOnce(ChainId, &dyn Verifier) -> Option<Box<Input>> + Send>;

/// A message on its way through a line.
enum Cell {
    /// Nobody has looked at it.
    Waits(Check),
    /// Somebody is at it.
    InWork,
    /// It was looked at; `None` if it was not acceptable.
    Done(Option<Box<Input>>),
}

#[derive(Default)]
struct Queue {
    /// The number of the first cell.
    first: u64,
    cells: VecDeque<Cell>,
    bytes: usize,
    sizes: VecDeque<usize>,
}

/// A transaction of a client.
struct Submitted {
    transaction: SignedTransaction,
    wish: Wish,
    reply: oneshot::Sender<Word>,
}

#[derive(Default)]
struct Work {
    lines: BTreeMap<Line, Queue>,
    /// Messages that nobody has looked at, in the order in which they came.
    messages: VecDeque<(Line, u64)>,
    submitted: VecDeque<Submitted>,
    dropped: u64,
    closed: bool,
}

/// One piece of work.
enum Piece {
    Message(Line, u64, Check),
    Batch(Vec<Submitted>),
}

/// The pool.
pub(crate) struct Pool {
    chain_id: ChainId,
    verifier: Arc<dyn Verifier>,
    inbox: Arc<Inbox>,
    work: Mutex<Work>,
    wake: Condvar,
    most_cells: usize,
    most_bytes: usize,
    most_submitted: usize,
}

impl Pool {
    pub(super) fn new(plan: &Plan, inbox: Arc<Inbox>) -> Self {
        Self {
            chain_id: plan.chain_id,
            verifier: Arc::clone(&plan.verifier),
            inbox,
            work: Mutex::default(),
            wake: Condvar::new(),
            most_cells: plan.orders(),
            most_bytes: 2 * plan.window_bytes,
            most_submitted: plan.mempool_transactions,
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message that is checked in no time: at once, if nothing on its line is before it.
    pub(crate) fn small(&self, line: Line, bytes: usize, check: Check) -> bool {
        let first = self.work().lines.get(&line).is_none_or(|queue| queue.cells.is_empty());
        if !first {
            return self.message(line, bytes, check);
        }
        // Who brings the messages of a line brings one at a time, so none can overtake this one.
        check(self.chain_id, &*self.verifier).is_none_or(|input| self.inbox.message(*input))
    }

    /// Takes a message of so many bytes; false if its line has no room and it was dropped.
    pub(crate) fn message(&self, line: Line, bytes: usize, check: Check) -> bool {
        let mut work = self.work();
        let closed = work.closed;
        let queue = work.lines.entry(line).or_default();
        let full = queue.cells.len() >= self.most_cells
            || !queue.cells.is_empty() && queue.bytes + bytes > self.most_bytes;
        if full || closed {
            work.dropped += 1;
            return false;
        }
        let at = queue.first + queue.cells.len() as u64;
        queue.cells.push_back(Cell::Waits(check));
        queue.sizes.push_back(bytes);
        queue.bytes += bytes;
        work.messages.push_back((line, at));
        drop(work);
        self.wake.notify_one();
        true
    }

    /// Takes a transaction of a client.
    pub(crate) fn submit(
        &self,
        transaction: SignedTransaction,
        wish: Wish,
    ) -> oneshot::Receiver<Word> {
        let (reply, word) = oneshot::channel();
        let mut work = self.work();
        if work.closed {
            drop(reply.send(Word::Answer(Answer::Refused(Refusal::Stopping))));
        } else if work.submitted.len() >= self.most_submitted {
            drop(reply.send(Word::Busy));
        } else {
            work.submitted.push_back(Submitted { transaction, wish, reply });
            drop(work);
            self.wake.notify_one();
        }
        word
    }

    /// How many messages were dropped because their line had no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.work().dropped
    }

    /// Nothing is taken any more, and the threads return.
    pub(super) fn close(&self) {
        let mut work = self.work();
        work.closed = true;
        for submitted in work.submitted.drain(..) {
            let stopping = Word::Answer(Answer::Refused(Refusal::Stopping));
            drop(submitted.reply.send(stopping));
        }
        drop(work);
        self.wake.notify_all();
    }

    /// Works until the pool is closed.
    pub(super) fn run(&self) -> Result<(), Failure> {
        while let Some(piece) = self.next() {
            match piece {
                Piece::Message(line, at, check) => {
                    let input = check(self.chain_id, &*self.verifier);
                    self.done(line, at, input);
                }
                Piece::Batch(batch) => self.batch(batch),
            }
        }
        Ok(())
    }

    /// The next piece of work; `None` if the pool is closed.
    fn next(&self) -> Option<Piece> {
        let mut work = self.work();
        loop {
            if work.closed {
                return None;
            }
            if let Some((line, at)) = work.messages.pop_front() {
                let queue = work.lines.get_mut(&line);
                let cell = queue.and_then(|queue| {
                    let place = usize::try_from(at.checked_sub(queue.first)?).ok()?;
                    queue.cells.get_mut(place)
                });
                if let Some(cell) = cell
                    && let Cell::Waits(check) = std::mem::replace(cell, Cell::InWork)
                {
                    return Some(Piece::Message(line, at, check));
                }
                unreachable!("a message that waits is in its line");
            }
            if !work.submitted.is_empty() {
                let count = work.submitted.len().min(BATCH);
                return Some(Piece::Batch(work.submitted.drain(..count).collect()));
            }
            work = self.wake.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A message was looked at: it goes to the driver with all that waited for it.
    fn done(&self, line: Line, at: u64, input: Option<Box<Input>>) {
        let mut work = self.work();
        let Some(queue) = work.lines.get_mut(&line) else { return };
        let place = at.checked_sub(queue.first).and_then(|place| usize::try_from(place).ok());
        let Some(cell) = place.and_then(|place| queue.cells.get_mut(place)) else { return };
        *cell = Cell::Done(input);
        while let Some(Cell::Done(_)) = queue.cells.front() {
            let Some(Cell::Done(input)) = queue.cells.pop_front() else { break };
            queue.first += 1;
            queue.bytes -= queue.sizes.pop_front().unwrap_or_default();
            // Under the lock, or two threads could swap two messages on this last step.
            if let Some(input) = input {
                self.inbox.message(*input);
            }
        }
    }

    fn batch(&self, batch: Vec<Submitted>) {
        let (transactions, rest): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|one| (one.transaction, (one.wish, one.reply))).unzip();
        let verdicts = verify_each(transactions, self.chain_id, &*self.verifier);
        for (verdict, (wish, reply)) in verdicts.into_iter().zip(rest) {
            match verdict {
                Ok(transaction) => self.request(Box::new(transaction), wish, reply),
                Err(bad) => drop(reply.send(Word::Bad(bad))),
            }
        }
    }

    fn request(
        &self,
        transaction: Box<Checked<SignedTransaction>>,
        wish: Wish,
        reply: oneshot::Sender<Word>,
    ) {
        let refused = self.inbox.request(Request::Submit { transaction, wish, reply });
        if let Err(Request::Submit { reply, .. }) = refused {
            drop(reply.send(Word::Busy));
        }
    }
}
