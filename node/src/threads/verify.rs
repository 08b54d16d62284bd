//! The threads that check signatures before the driver sees what they are on.
//!
//! Messages keep the order of the lines that they come in over ([`lines`](super::lines)), though several of a line
//! are checked at a time.
//!
//! Transactions of clients are checked in batches, because a batch is cheaper than its parts: whoever is
//! free takes all that wait.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use quorate_chain::checked::Checked;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, TxId};
use quorate_chain::transaction::{SignedTransaction, verify_each};
use quorate_replica::io::{Answer, Input, Refusal};
use tokio::sync::oneshot;

use super::inbox::{Request, Wish, Word};
use super::lines::{Check, Line, Lines, Ready};
use super::{Inbox, Plan};
use crate::exit::Failure;

/// Most transactions in one batch.
const BATCH: usize = 64;

/// A transaction of a client.
struct Submitted {
    transaction: SignedTransaction,
    wish: Wish,
    reply: oneshot::Sender<Word>,
}

struct Work {
    lines: Lines,
    submitted: VecDeque<Submitted>,
    /// Those that were submitted and are neither with the driver nor refused yet, and how often each.
    held: BTreeMap<TxId, usize>,
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
    most_submitted: usize,
}

impl Pool {
    pub(super) fn new(plan: &Plan, inbox: Arc<Inbox>) -> Self {
        let lines = Lines::new(plan.orders(), 2 * plan.window_bytes);
        let (submitted, held) = (VecDeque::new(), BTreeMap::new());
        let work = Work { lines, submitted, held, dropped: 0, closed: false };
        Self {
            chain_id: plan.chain_id,
            verifier: Arc::clone(&plan.verifier),
            inbox,
            work: Mutex::new(work),
            wake: Condvar::new(),
            most_submitted: plan.mempool_transactions,
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message that is checked in no time: at once, if nothing on its line is before it.
    pub(crate) fn small(&self, line: Line, bytes: usize, check: Check) -> bool {
        if !self.work().lines.is_empty(line) {
            return self.message(line, bytes, check);
        }
        // Who brings the messages of a line brings one at a time, so none can overtake this one.
        check(self.chain_id, &*self.verifier).is_none_or(|input| self.inbox.message(*input))
    }

    /// Takes a message of so many bytes; false if its line has no room and it was dropped.
    pub(crate) fn message(&self, line: Line, bytes: usize, check: Check) -> bool {
        let mut work = self.work();
        if work.closed || !work.lines.put(line, bytes, check) {
            work.dropped += 1;
            return false;
        }
        drop(work);
        self.wake.notify_one();
        true
    }

    /// Has the driver told of something between what is on two lines by now and what follows there. It is never
    /// dropped.
    pub(crate) fn fence(&self, lines: [Line; 2], input: Input) {
        let mut work = self.work();
        if !work.closed {
            let ready = work.lines.fence(lines, Box::new(input));
            self.give(ready);
        }
    }

    /// Takes transactions of a client, and says where it is heard what becomes of each.
    pub(crate) fn submit(
        &self,
        transactions: impl IntoIterator<Item = SignedTransaction>,
        wish: Wish,
    ) -> Vec<oneshot::Receiver<Word>> {
        let mut work = self.work();
        let mut words = Vec::new();
        for transaction in transactions {
            let (reply, word) = oneshot::channel();
            words.push(word);
            if work.closed {
                drop(reply.send(Word::Answer(Answer::Refused(Refusal::Stopping))));
            } else if work.submitted.len() >= self.most_submitted {
                drop(reply.send(Word::Busy));
            } else {
                *work.held.entry(transaction.id()).or_default() += 1;
                work.submitted.push_back(Submitted { transaction, wish, reply });
            }
        }
        let pieces = work.submitted.len().div_ceil(BATCH);
        drop(work);
        if pieces > 1 {
            self.wake.notify_all();
        } else if pieces == 1 {
            self.wake.notify_one();
        }
        words
    }

    /// Takes a transaction of a client and checks it here and now: for one that has nobody to be checked with, to wake
    /// another thread takes as long as the check.
    pub(crate) fn submit_now(
        &self,
        transaction: SignedTransaction,
        wish: Wish,
    ) -> oneshot::Receiver<Word> {
        let (reply, word) = oneshot::channel();
        let mut work = self.work();
        if work.closed {
            drop(reply.send(Word::Answer(Answer::Refused(Refusal::Stopping))));
            return word;
        }
        *work.held.entry(transaction.id()).or_default() += 1;
        drop(work);
        self.batch(vec![Submitted { transaction, wish, reply }]);
        word
    }

    /// Whether a transaction is being checked, or waits for that.
    pub(crate) fn holds(&self, id: TxId) -> bool {
        self.work().held.contains_key(&id)
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
            if let Some((line, at, check)) = work.lines.next() {
                return Some(Piece::Message(line, at, check));
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
        let ready = work.lines.done(line, at, input);
        self.give(ready);
    }

    /// Gives the driver what is ready. Who calls it has the lock, or two threads could swap two messages on this last
    /// step.
    fn give(&self, ready: Vec<Ready>) {
        for ready in ready {
            match ready {
                Ready::Message(input) => drop(self.inbox.message(*input)),
                Ready::Fence(input) => self.inbox.fence(*input),
            }
        }
    }

    fn batch(&self, batch: Vec<Submitted>) {
        let ids: Vec<_> = batch.iter().map(|one| one.transaction.id()).collect();
        let (transactions, rest): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|one| (one.transaction, (one.wish, one.reply))).unzip();
        let verdicts = verify_each(transactions, self.chain_id, &*self.verifier);
        // In one step: whoever does not find one here asks the driver, and that must have heard of it; and whoever hears
        // what became of one must not find it here.
        let mut work = self.work();
        for ((verdict, (wish, reply)), id) in verdicts.into_iter().zip(rest).zip(ids) {
            match verdict {
                Ok(transaction) => self.request(Box::new(transaction), wish, reply),
                Err(bad) => drop(reply.send(Word::Bad(bad))),
            }
            if let Entry::Occupied(mut held) = work.held.entry(id) {
                *held.get_mut() -= 1;
                if *held.get() == 0 {
                    held.remove();
                }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use quorate_chain::crypto::{Ed25519, SecretKey};
    use quorate_chain::ids::{NodeId, Nonce};
    use quorate_chain::transaction::{Operation, Transaction};

    use super::super::inbox::Turn;
    use super::*;
    use crate::clock::Clock;

    fn pool(window_blocks: usize, window_bytes: usize, submitted: usize) -> Pool {
        let plan = Plan {
            chain_id: ChainId::ZERO,
            verifier: Arc::new(Ed25519),
            clock: Clock::start(),
            window_blocks,
            window_bytes,
            most_records: 512,
            mempool_transactions: submitted,
            verify_threads: 2,
            read_threads: 1,
        };
        Pool::new(&plan, Arc::new(Inbox::new(plan.orders(), submitted)))
    }

    fn line(node: u32) -> Line {
        Line { node: NodeId::new(node), stream: 0 }
    }

    fn told(number: u32) -> Option<Box<Input>> {
        Some(Box::new(Input::LinkLost { node: NodeId::new(number) }))
    }

    /// Takes what has reached the driver until there are so many.
    fn wait(pool: &Pool, count: usize) -> Vec<u32> {
        let mut turn = Turn::default();
        while turn.inputs.len() < count {
            pool.inbox.take(Instant::now() + Duration::from_millis(50), &mut turn);
        }
        let number = |input: &Input| {
            let Input::LinkLost { node } = input else { panic!("{input:?}") };
            node.get()
        };
        turn.inputs.iter().map(number).collect()
    }

    #[test]
    fn messages_of_a_line_keep_their_order_and_wait_for_no_other_line() {
        let pool = pool(8, 1 << 20, 8);
        let (release, released) = mpsc::channel();
        // The first takes until it is released; the second is not acceptable.
        let first: Check = Box::new(move |_, _| released.recv().ok().and_then(|()| told(1)));
        assert!(pool.message(line(1), 10, first));
        assert!(pool.message(line(1), 10, Box::new(|_, _| None)));
        assert!(pool.message(line(1), 10, Box::new(|_, _| told(3))));
        // What is small may not overtake either.
        assert!(pool.small(line(1), 10, Box::new(|_, _| told(4))));
        assert!(pool.message(line(2), 10, Box::new(|_, _| told(9))));
        assert!(
            pool.small(line(3), 10, Box::new(|_, _| told(8))),
            "with nothing before it, at once"
        );
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| pool.run().unwrap());
            }
            assert_eq!(wait(&pool, 2), [8, 9]);
            release.send(()).unwrap();
            assert_eq!(wait(&pool, 3), [1, 3, 4]);
            pool.close();
        });
    }

    #[test]
    fn a_line_without_room_drops_and_counts_and_the_others_have_theirs() {
        let pool = pool(1, 50, 8);
        let check = || -> Check { Box::new(|_, _| None) };
        // The first one is taken whatever it measures; then a line has room for twice the window.
        assert!(pool.message(line(1), 1_000, check()));
        assert!(!pool.message(line(1), 1, check()));
        for _ in 0..2 {
            assert!(pool.message(line(2), 50, check()));
        }
        assert!(!pool.message(line(2), 1, check()));
        assert_eq!(pool.dropped(), 2);
    }

    fn transaction(nonce: u64) -> (Transaction, SecretKey) {
        let key = SecretKey::from_seed(&[7; 32]);
        let transaction = Transaction {
            chain_id: ChainId::ZERO,
            sender: key.account_key(),
            nonce: Nonce::new(nonce),
            expires: None,
            approvers: Vec::new(),
            operations: vec![Operation::Remove { key: "k".into() }],
        };
        (transaction, key)
    }

    #[test]
    fn of_a_batch_the_bad_ones_are_told_so_and_the_others_go_on() {
        let pool = pool(8, 1 << 20, 16);
        let words: Vec<_> = (0..9)
            .map(|nonce| {
                let (transaction, key) = transaction(nonce);
                let forged = key.sign(b"something else");
                let signed = if nonce % 3 == 0 {
                    transaction.assemble(forged, &[]).unwrap()
                } else {
                    transaction.sign(&key).unwrap()
                };
                pool.submit([signed], Wish::Accepted).pop().unwrap()
            })
            .collect();
        std::thread::scope(|scope| {
            scope.spawn(|| pool.run().unwrap());
            let mut turn = Turn::default();
            while turn.requests.len() < 6 {
                pool.inbox.take(Instant::now() + Duration::from_millis(50), &mut turn);
            }
            let nonce = |request: &Request| {
                let Request::Submit { transaction, .. } = request else { panic!("{request:?}") };
                transaction.get().content().nonce.get()
            };
            let taken: Vec<_> = turn.requests.iter().map(nonce).collect();
            assert_eq!(taken, [1, 2, 4, 5, 7, 8]);
            pool.close();
        });
        for (nonce, mut word) in words.into_iter().enumerate() {
            let bad = matches!(word.try_recv(), Ok(Word::Bad(_)));
            assert_eq!(bad, nonce % 3 == 0, "transaction {nonce}");
        }
    }

    #[test]
    fn clients_beyond_the_room_are_told_to_come_back_and_all_that_it_is_over() {
        let pool = pool(8, 1 << 20, 2);
        let submit = |nonce| {
            let (transaction, key) = transaction(nonce);
            pool.submit([transaction.sign(&key).unwrap()], Wish::Settled).pop().unwrap()
        };
        let [mut first, mut second, mut third] = [1, 2, 3].map(submit);
        assert!(matches!(third.try_recv(), Ok(Word::Busy)));
        pool.close();
        let mut late = submit(4);
        for word in [&mut first, &mut second, &mut late] {
            let word = word.try_recv();
            let stopping = Answer::Refused(Refusal::Stopping);
            assert!(matches!(&word, Ok(Word::Answer(answer)) if *answer == stopping), "{word:?}");
        }
        assert!(!pool.message(line(1), 1, Box::new(|_, _| None)), "nor is a message taken");
    }

    #[test]
    fn one_that_is_checked_at_once_reaches_the_driver_without_another_thread_or_is_refused() {
        let pool = pool(8, 1 << 20, 16);
        let submit = |nonce, forged: bool| {
            let (transaction, key) = transaction(nonce);
            let forgery = transaction.clone().assemble(key.sign(b"something else"), &[]).unwrap();
            let signed = transaction.sign(&key).unwrap();
            let id = signed.id();
            let word = pool.submit_now(if forged { forgery } else { signed }, Wish::Settled);
            assert!(!pool.holds(id));
            word
        };
        let (mut good, mut bad) = (submit(1, false), submit(2, true));
        let mut turn = Turn::default();
        assert!(pool.inbox.take(Instant::now(), &mut turn));
        assert_eq!(turn.requests.len(), 1);
        assert!(good.try_recv().is_err(), "it is heard later what becomes of it");
        assert!(matches!(bad.try_recv(), Ok(Word::Bad(_))));
        pool.close();
        let word = submit(3, false).try_recv();
        let stopping = Answer::Refused(Refusal::Stopping);
        assert!(matches!(&word, Ok(Word::Answer(answer)) if *answer == stopping), "{word:?}");
    }

    #[test]
    fn what_is_checked_is_held_until_the_driver_has_it() {
        let pool = pool(8, 1 << 20, 16);
        let (transaction, key) = transaction(1);
        let transaction = transaction.sign(&key).unwrap();
        let id = transaction.id();
        assert!(!pool.holds(id));
        // The same bytes twice: they are held until the second one is through, too.
        let words = [1, 2].map(|_| pool.submit([transaction.clone()], Wish::Accepted));
        assert!(pool.holds(id));
        let Some(Piece::Batch(mut batch)) = pool.next() else { panic!("it waits to be checked") };
        let second = batch.split_off(1);
        pool.batch(batch);
        assert!(pool.holds(id));
        pool.batch(second);
        assert!(!pool.holds(id));
        let mut turn = Turn::default();
        assert!(pool.inbox.take(Instant::now(), &mut turn));
        assert_eq!(turn.requests.len(), words.len());
    }
}
