//! Transactions that wait for their place in the chain.
//!
//! A transaction is kept from when it is taken until it has been applied or never can be. While it
//! stands in a block that is not applied it is *in flight* and not offered; if that block is cut, it is
//! offered again, and so is what others had put into it.
//!
//! - Each id is there once, each nonce of a sender too: the first one wins.
//! - Room is bounded by count and by what all of it takes in memory, and by count for each sender. What
//!   does not fit is refused; nothing that was taken is pushed out.
//! - What is kept has bytes of its own: nothing holds the message, the request or the block that it came
//!   in.
//! - Which of them go into a block, `batch` says.
//!
//! Left out: priorities and replacement. There are no fees.

mod batch;
mod flight;
mod idle;
mod load;

use std::collections::{BTreeMap, BTreeSet};

use quorate_chain::block::Block;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{AccountKey, BlockRef, Height, Nonce, TxId};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::state::{NonceError, Nonces};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::time::Moment;

use crate::io::{Answer, Dropped, Placed, Refusal, Submission};
use flight::Flight;
use idle::Idle;
pub use load::Load;
use load::Size;

/// Most submissions of one transaction that wait.
const WAITERS: usize = 64;

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Most transactions.
    pub(crate) transactions: usize,
    /// Most bytes of memory.
    pub(crate) memory: usize,
    /// Most transactions of one sender.
    pub(crate) sender: usize,
}

/// What the applied state, or a later one, knows of a sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) nonces: Nonces,
    /// Whether it could have any effect at all.
    pub(crate) has_a_say: bool,
}

/// A transaction that waits.
#[derive(Debug)]
struct Waiting {
    transaction: Checked<SignedTransaction>,
    /// When it was taken.
    since: Moment,
    submissions: Vec<Submission>,
}

/// A sender some of whose transactions wait.
#[derive(Debug)]
struct Sender {
    /// Its nonces in the applied state.
    nonces: Nonces,
    waiting: BTreeMap<Nonce, Waiting>,
}

/// What is to be said of a transaction that is gone.
pub(crate) enum Gone {
    /// Answers for all who wait.
    Answers(Vec<(Submission, Answer)>),
    /// Nobody waits for it.
    Silent(Dropped),
}

/// Transactions that wait.
///
/// Invariants, checked by [`Mempool::check`]: an id is known exactly if its transaction is there, and so
/// is its age; the loads are those of the transactions; no sender is there without a transaction, nor idle with one.
#[derive(Debug)]
pub(crate) struct Mempool {
    room: Room,
    senders: BTreeMap<AccountKey, Sender>,
    idle: Idle,
    ids: BTreeMap<TxId, (AccountKey, Nonce)>,
    expiries: BTreeSet<(Height, TxId)>,
    /// Since when each is there.
    ages: BTreeSet<(Moment, TxId)>,
    /// When what is being handled has happened.
    now: Moment,
    flight: Flight,
    /// All of it.
    all: Load,
    /// What is not in flight.
    free: Load,
    /// The sender that was served last.
    served: Option<AccountKey>,
}

impl Mempool {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            senders: BTreeMap::new(),
            idle: Idle::default(),
            ids: BTreeMap::new(),
            expiries: BTreeSet::new(),
            ages: BTreeSet::new(),
            now: Moment::micros(0),
            flight: Flight::default(),
            all: Load::default(),
            free: Load::default(),
            served: None,
        }
    }

    /// How much there is.
    pub(crate) const fn load(&self) -> Load {
        self.all
    }

    /// How much of it is not in flight.
    pub(crate) const fn free(&self) -> Load {
        self.free
    }

    /// What is taken from now on is taken at this moment.
    pub(crate) const fn at(&mut self, moment: Moment) {
        self.now = moment;
    }

    /// Since when the one that has been there longest is there.
    pub(crate) fn oldest(&self) -> Option<Moment> {
        self.ages.first().map(|(since, _)| *since)
    }

    /// Whether this transaction is there.
    pub(crate) fn contains(&self, id: TxId) -> bool {
        self.ids.contains_key(&id)
    }

    /// One more submission waits for a transaction that is there.
    pub(crate) fn wait(&mut self, id: TxId, submission: Submission) -> Result<(), Refusal> {
        let Some(waiting) = self.waiting_mut(id) else { return Err(Refusal::Full) };
        if waiting.submissions.len() >= WAITERS {
            return Err(Refusal::WaitersFull);
        }
        waiting.submissions.push(submission);
        Ok(())
    }

    fn waiting_mut(&mut self, id: TxId) -> Option<&mut Waiting> {
        let (sender, nonce) = self.ids.get(&id)?;
        self.senders.get_mut(sender)?.waiting.get_mut(nonce)
    }

    /// The nonces of a sender in the applied state, if they are known here.
    pub(crate) fn nonces(&self, sender: AccountKey) -> Option<Nonces> {
        let waiting = self.senders.get(&sender).map(|sender| sender.nonces);
        waiting.or_else(|| self.idle.nonces(sender))
    }

    /// Whether a block in flight grants an account something, if it takes effect.
    pub(crate) fn is_being_granted(&self, account: AccountKey) -> bool {
        self.flight.grants(account)
    }

    /// Takes a transaction that is not there yet.
    pub(crate) fn take(
        &mut self,
        transaction: Checked<SignedTransaction>,
        sender: Known,
        applied: Height,
        submission: Option<Submission>,
    ) -> Result<(), Refusal> {
        let (id, size) = (transaction.id(), Size::of(&transaction));
        let content = transaction.content();
        let (account, nonce, expires) = (content.sender, content.nonce, content.expires);
        if expires.is_some_and(|last| last <= applied) {
            return Err(Refusal::Expired);
        }
        let known = self.nonces(account).unwrap_or(sender.nonces);
        match known.check(nonce) {
            Ok(()) => {}
            Err(NonceError::Used) => return Err(Refusal::NonceUsed),
            Err(NonceError::TooFar) => return Err(Refusal::NonceTooFar),
        }
        // After the nonce: who asks again for what stands in the chain already shall learn so.
        if !sender.has_a_say {
            return Err(Refusal::NotPermitted);
        }
        let full = self.all.transactions >= self.room.transactions
            || self.all.memory + size.memory > self.room.memory;
        if full {
            return Err(Refusal::Full);
        }
        if let Some(sender) = self.senders.get(&account) {
            if sender.waiting.contains_key(&nonce) {
                return Err(Refusal::NonceTaken);
            }
            if sender.waiting.len() >= self.room.sender {
                return Err(Refusal::SenderFull);
            }
        }
        let fresh = || Sender { nonces: known, waiting: BTreeMap::new() };
        let sender = self.senders.entry(account).or_insert_with(fresh);
        self.idle.remove(account);
        let transaction = transaction.detached();
        let (since, submissions) = (self.now, submission.into_iter().collect());
        sender.waiting.insert(nonce, Waiting { transaction, since, submissions });
        self.ids.insert(id, (account, nonce));
        self.ages.insert((since, id));
        self.expiries.extend(expires.map(|last| (last, id)));
        self.all.add(size);
        if !self.flight.contains(id) {
            self.free.add(size);
        }
        Ok(())
    }

    /// The applied state is another one, and nothing is in flight. Returns whose nonces are to be read
    /// again.
    pub(crate) fn begin_anew(&mut self) -> Vec<AccountKey> {
        for transaction in self.flight.cut(Height::ZERO) {
            self.landed(transaction.id());
        }
        self.idle.clear();
        self.senders.keys().copied().collect()
    }

    /// The nonces of a sender in the new state. What has used one of them stands in a block that is not
    /// kept here, so nobody here knows what became of it.
    pub(crate) fn renew(&mut self, account: AccountKey, nonces: Nonces) -> Vec<Submission> {
        let Some(sender) = self.senders.get_mut(&account) else { return Vec::new() };
        sender.nonces = nonces;
        let mut unknown = Vec::new();
        for id in self.used(account) {
            unknown.extend(self.take_out(id).into_iter().flatten());
        }
        unknown
    }

    /// The chain ends with these blocks above that height. What stood above it and is neither among them
    /// nor kept here is returned: it should be taken again.
    pub(crate) fn branch<'a>(
        &mut self,
        above: Height,
        blocks: impl IntoIterator<Item = &'a Checked<Block>>,
    ) -> Vec<SignedTransaction> {
        let mut cut = self.flight.cut(above);
        for transaction in &cut {
            self.landed(transaction.id());
        }
        for block in blocks {
            let height = block.block_ref().height;
            for transaction in &block.body().transactions {
                self.lifted(transaction.id());
            }
            self.flight.push(height, block.body().transactions.clone());
        }
        cut.retain(|cut| !self.contains(cut.id()) && !self.flight.contains(cut.id()));
        cut
    }

    /// It stands in one more block in flight.
    fn lifted(&mut self, id: TxId) {
        if let Some(size) = self.size(id)
            && !self.flight.contains(id)
        {
            self.free.remove(size);
        }
    }

    /// It may stand in no block in flight any more.
    fn landed(&mut self, id: TxId) {
        if let Some(size) = self.size(id)
            && !self.flight.contains(id)
        {
            self.free.add(size);
        }
    }

    fn size(&self, id: TxId) -> Option<Size> {
        let (sender, nonce) = self.ids.get(&id)?;
        let waiting = self.senders.get(sender)?.waiting.get(nonce)?;
        Some(Size::of(&waiting.transaction))
    }

    /// A block has been applied: what it decides is answered and let go of.
    pub(crate) fn applied(&mut self, block: BlockRef, outcomes: &[Outcome]) -> Vec<Gone> {
        let mut gone = Vec::new();
        let transactions = self.flight.pop(block.height);
        assert!(transactions.len() == outcomes.len(), "every transaction has an outcome");
        for ((index, transaction), outcome) in (0_u32..).zip(&transactions).zip(outcomes) {
            let (account, nonce) = (transaction.content().sender, transaction.content().nonce);
            self.landed(outcome.tx);
            if matches!(outcome.status, Status::Void(_)) {
                continue;
            }
            let nonces = match self.senders.get_mut(&account) {
                Some(sender) => Some(&mut sender.nonces),
                None => self.idle.nonces_mut(account),
            };
            // The reader may have been ahead: then it is used already.
            let _ = nonces.map(|nonces| nonces.take(nonce));
            let placed = Placed { block, index, status: outcome.status, duplicate: false };
            gone.extend(self.remove(outcome.tx, Ok(placed)));
        }
        let senders: BTreeSet<_> = transactions.iter().map(|tx| tx.content().sender).collect();
        for account in senders {
            self.drop_used(account, &mut gone);
        }
        while let Some((last, id)) = self.expiries.first().copied() {
            if last > block.height {
                break;
            }
            self.expiries.remove(&(last, id));
            gone.extend(self.remove(id, Err(Dropped::Expired)));
        }
        gone
    }

    fn drop_used(&mut self, account: AccountKey, gone: &mut Vec<Gone>) {
        for id in self.used(account) {
            gone.extend(self.remove(id, Err(Dropped::NonceUsed)));
        }
    }

    /// What waits of a sender although its nonce is used.
    fn used(&self, account: AccountKey) -> Vec<TxId> {
        let Some(sender) = self.senders.get(&account) else { return Vec::new() };
        let used = |nonce: &Nonce| sender.nonces.check(*nonce) == Err(NonceError::Used);
        let waiting = sender.waiting.iter().filter(|(nonce, _)| used(nonce));
        waiting.map(|(_, waiting)| waiting.transaction.id()).collect()
    }

    fn remove(&mut self, id: TxId, why: Result<Placed, Dropped>) -> Option<Gone> {
        let submissions = self.take_out(id)?;
        match why {
            Ok(_) if submissions.is_empty() => None,
            Ok(placed) => {
                // Who came after the first one sent what was known.
                let duplicates = std::iter::once(false).chain(std::iter::repeat(true));
                let answers =
                    submissions.into_iter().zip(duplicates).map(|(submission, duplicate)| {
                        (submission, Answer::Placed(Placed { duplicate, ..placed }))
                    });
                Some(Gone::Answers(answers.collect()))
            }
            Err(dropped) if submissions.is_empty() => Some(Gone::Silent(dropped)),
            Err(dropped) => {
                let answers = submissions.into_iter().map(|it| (it, Answer::Dropped(dropped)));
                Some(Gone::Answers(answers.collect()))
            }
        }
    }

    fn take_out(&mut self, id: TxId) -> Option<Vec<Submission>> {
        let (account, nonce) = self.ids.remove(&id)?;
        let sender = self.senders.get_mut(&account)?;
        let Waiting { transaction, since, submissions } = sender.waiting.remove(&nonce)?;
        if sender.waiting.is_empty() {
            self.idle.add(account, sender.nonces);
            self.senders.remove(&account);
        }
        let size = Size::of(&transaction);
        self.all.remove(size);
        if !self.flight.contains(id) {
            self.free.remove(size);
        }
        self.ages.remove(&(since, id));
        if let Some(last) = transaction.content().expires {
            self.expiries.remove(&(last, id));
        }
        Some(submissions)
    }

    /// A transaction that is there and not in flight.
    pub(crate) fn offered(&self, id: TxId) -> Option<&Checked<SignedTransaction>> {
        let (sender, nonce) = self.ids.get(&id)?;
        let waiting = self.senders.get(sender)?.waiting.get(nonce)?;
        (!self.flight.contains(id)).then_some(&waiting.transaction)
    }

    /// The ids of all that is not in flight.
    pub(crate) fn offered_ids(&self) -> impl Iterator<Item = TxId> {
        self.ids.keys().copied().filter(|id| !self.flight.contains(*id))
    }

    /// Everybody who waits. Nobody does any more.
    pub(crate) fn abandon(&mut self) -> Vec<Submission> {
        let waiting = self.senders.values_mut().flat_map(|sender| sender.waiting.values_mut());
        waiting.flat_map(|waiting| std::mem::take(&mut waiting.submissions)).collect()
    }

    /// Checks the invariants of the type.
    ///
    /// # Panics
    /// If one does not hold.
    pub(crate) fn check(&self) {
        let (mut all, mut free) = (Load::default(), Load::default());
        for (account, sender) in &self.senders {
            assert!(!sender.waiting.is_empty(), "a sender has a transaction");
            assert!(self.idle.nonces(*account).is_none(), "who waits is not idle");
            assert!(sender.waiting.len() <= self.room.sender, "a sender has its room");
            for (nonce, waiting) in &sender.waiting {
                let (id, size) = (waiting.transaction.id(), Size::of(&waiting.transaction));
                assert!(self.ids.get(&id) == Some(&(*account, *nonce)), "what is there is known");
                assert!(self.ages.contains(&(waiting.since, id)), "its age is known");
                assert!(waiting.submissions.len() <= WAITERS, "those who wait are bounded");
                all.add(size);
                if !self.flight.contains(id) {
                    free.add(size);
                }
            }
        }
        assert!(self.ages.len() == self.ids.len(), "no other age is known");
        assert!(self.ids.len() == all.transactions, "what is known is there");
        assert!(self.all == all && self.free == free, "the loads are right");
        assert!(all.transactions <= self.room.transactions, "transactions are bounded");
        assert!(all.memory <= self.room.memory, "memory is bounded");
        assert!(self.expiries.len() <= self.ids.len(), "expiries are bounded");
    }
}

#[cfg(test)]
mod tests;
