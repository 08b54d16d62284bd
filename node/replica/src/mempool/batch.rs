//! Which transactions go into a block.
//!
//! - A batch takes one transaction of each sender in turn, each sender's in the order of nonces, and
//!   the next batch goes on with the sender after the last one.
//! - It holds nothing that would be void: nonces are judged by the applied state and by what is in
//!   flight.
//! - It is done when no transaction at all could find room, or a few that were next have found none.
//!   Looking for the last one that may still fit would cost a look at every sender for each block.

use std::collections::VecDeque;
use std::collections::btree_map::Values;
use std::ops::Bound::{Excluded, Included, Unbounded};

use quorate_chain::ids::{AccountKey, Height, Nonce};
use quorate_chain::state::Nonces;
use quorate_chain::transaction::SignedTransaction;

use super::{Mempool, Sender, Waiting};

/// Most senders that are passed over because what they have next finds no room.
const MISFITS: usize = 64;

/// A sender whose turn comes while a batch is made.
struct Line<'a> {
    account: AccountKey,
    /// Its nonces after what is in flight and in the batch.
    nonces: Nonces,
    waiting: Values<'a, Nonce, Waiting>,
}

/// A batch while it is made.
struct Batch {
    transactions: Vec<SignedTransaction>,
    /// How many bytes still fit.
    room: usize,
    /// The sender that was served last.
    served: Option<AccountKey>,
    /// How many senders were passed over.
    misfits: usize,
}

impl Batch {
    /// Whether there is hope for one more.
    fn goes_on(&self, count: usize) -> bool {
        let least = if self.transactions.is_empty() { 1 } else { SignedTransaction::SMALLEST };
        self.transactions.len() < count && self.room >= least && self.misfits < MISFITS
    }
}

impl Mempool {
    /// The next transactions for a block at a height, at most so many and so many bytes. If there is
    /// room at all, one of any size finds its place.
    pub(crate) fn batch(
        &mut self,
        height: Height,
        count: usize,
        bytes: usize,
    ) -> Vec<SignedTransaction> {
        let batch = self.pick(height, count, bytes);
        self.served = batch.served;
        batch.transactions
    }

    fn pick(&self, height: Height, count: usize, bytes: usize) -> Batch {
        let (later, sooner) = match self.served {
            Some(served) => ((Excluded(served), Unbounded), (Unbounded, Included(served))),
            None => ((Unbounded, Unbounded), (Unbounded, Excluded(AccountKey::ZERO))),
        };
        let mut fresh = self.senders.range(later).chain(self.senders.range(sooner));
        // Those who have had a turn. There are no more of them than transactions in the batch.
        let mut again = VecDeque::new();
        let (transactions, served) = (Vec::new(), self.served);
        let mut batch = Batch { transactions, room: bytes, served, misfits: 0 };
        while batch.goes_on(count) {
            let next = fresh.next().map(|(account, sender)| self.line(*account, sender));
            let Some(mut line) = next.or_else(|| again.pop_front()) else { break };
            let next = line.waiting.find(|waiting| {
                let content = waiting.transaction.content();
                content.expires.is_none_or(|last| height <= last)
                    && !self.flight.contains(waiting.transaction.id())
                    && line.nonces.check(content.nonce).is_ok()
            });
            let Some(next) = next else { continue };
            let size = next.transaction.bytes().len();
            if size > batch.room && !batch.transactions.is_empty() {
                // Smaller ones of other senders may still fit; this sender keeps its order.
                batch.misfits += 1;
                continue;
            }
            batch.room = batch.room.saturating_sub(size);
            let taken = line.nonces.take(next.transaction.content().nonce);
            assert!(taken.is_ok(), "what was checked can be taken");
            batch.transactions.push(next.transaction.get().clone());
            batch.served = Some(line.account);
            again.push_back(line);
        }
        batch
    }

    fn line<'a>(&self, account: AccountKey, sender: &'a Sender) -> Line<'a> {
        let nonces = self.flight.after(account, sender.nonces);
        Line { account, nonces, waiting: sender.waiting.values() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::mempool::tests::{known, mempool, transaction};

    /// A mempool with one transaction of each of these sizes, each of another sender.
    fn of_sizes(sizes: impl IntoIterator<Item = usize>) -> Mempool {
        let mut mempool = mempool(64 << 20);
        for (sender, size) in (0..).zip(sizes) {
            let taken = mempool.take(transaction(sender, size), known(), Height::ZERO, None);
            taken.unwrap();
        }
        mempool
    }

    #[test]
    fn a_full_block_costs_no_look_at_all_who_wait() {
        let mempool = of_sizes([400; 500]);
        // Ten fit, and then a smaller one would.
        let batch = mempool.pick(Height::new(1), 10_000, 4_300);
        assert_eq!((batch.transactions.len(), batch.room), (10, 300));
        assert_eq!(batch.misfits, MISFITS);
        // Nor would the smallest one.
        let batch = mempool.pick(Height::new(1), 10_000, 4_100);
        assert_eq!((batch.transactions.len(), batch.misfits), (10, 0));
    }

    #[test]
    fn one_that_finds_no_room_does_not_stand_in_the_way_of_a_smaller_one() {
        let mut mempool = of_sizes([400, 900, 300, 900, 200]);
        let batch = mempool.batch(Height::new(1), 10_000, 1_100);
        let total: usize = batch.iter().map(|it| it.bytes().len()).sum();
        assert!((900..=1_100).contains(&total), "{total}");
        let one = mempool.batch(Height::new(1), 10_000, 1);
        assert_eq!(one.len(), 1, "if there is room at all, one of any size finds its place");
        assert_eq!(mempool.batch(Height::new(1), 10_000, 0).len(), 0);
    }
}
