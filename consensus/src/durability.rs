//! What the disk has, as far as it has said so.
//!
//! Records are numbered by tickets in the order in which they are written, and they become durable in
//! that order. Nothing is signed before the records that it rests on are durable (Raft §5: first
//! the disk, then the answer).

use std::collections::VecDeque;

use quorate_chain::ids::{BlockRef, Height};

use crate::effect::Ticket;
use crate::time::{Moment, Span};

/// What the disk has, as far as it has said so.
#[derive(Clone, Debug)]
pub struct Durability {
    last: Ticket,
    done: Ticket,
    /// Since when something waits and nothing has become durable.
    waits: Option<Moment>,
    /// The newest ballot's ticket.
    ballot: Ticket,
    /// Every branch that is on its way.
    branches: VecDeque<Branch>,
    /// The highest block of the chain that is durable together with all below it.
    tip: BlockRef,
    /// Up to which height the certificates that have been written cover the chain.
    covered: Height,
}

/// A branch that is on its way to the disk.
#[derive(Clone, Copy, Debug)]
struct Branch {
    ticket: Ticket,
    /// The block it stands on.
    above: BlockRef,
    /// Its last block.
    end: BlockRef,
    /// Since when it is on its way.
    since: Moment,
}

impl Durability {
    /// Everything up to this tip is durable, and certificates that cover the chain up to a height.
    #[must_use]
    pub const fn new(tip: BlockRef, covered: Height) -> Self {
        Self {
            last: Ticket(0),
            done: Ticket(0),
            waits: None,
            ballot: Ticket(0),
            branches: VecDeque::new(),
            tip,
            covered,
        }
    }

    fn ticket(&mut self, now: Moment) -> Ticket {
        self.last = Ticket(self.last.0 + 1);
        self.waits.get_or_insert(now);
        self.last
    }

    /// Numbers a ballot.
    pub fn ballot(&mut self, now: Moment) -> Ticket {
        self.ballot = self.ticket(now);
        self.ballot
    }

    /// Numbers a certificate for a block at this height.
    pub fn certificate(&mut self, height: Height, now: Moment) -> Ticket {
        self.covered = self.covered.max(height);
        self.ticket(now)
    }

    /// Up to which height the certificates that have been written cover the chain.
    #[must_use]
    pub const fn covered(&self) -> Height {
        self.covered
    }

    /// What stands above a block counts no more, on the disk or not.
    pub fn cut(&mut self, above: BlockRef) {
        let ends = self.branches.iter_mut().map(|branch| &mut branch.end);
        for end in ends.chain([&mut self.tip]) {
            if end.height > above.height {
                *end = above;
            }
        }
    }

    /// Numbers a branch above a block that ends at another.
    pub fn branch(&mut self, above: BlockRef, end: BlockRef, now: Moment) -> Ticket {
        let ticket = self.ticket(now);
        self.cut(above);
        self.branches.push_back(Branch { ticket, above, end, since: now });
        ticket
    }

    /// The log begins anew at a block, which the store will never fall behind. What was on its way to the
    /// log stood before that.
    pub fn installed(&mut self, anchor: BlockRef) {
        self.branches.clear();
        self.tip = anchor;
        self.covered = anchor.height;
    }

    /// The disk has everything up to this ticket. `held` says whether a block is on the chain now.
    ///
    /// # Panics
    /// If the ticket was never given.
    pub fn persisted(&mut self, ticket: Ticket, now: Moment, held: impl Fn(BlockRef) -> bool) {
        assert!(ticket <= self.last, "the disk answers what was asked");
        if ticket > self.done {
            self.done = ticket;
            self.waits = (self.done < self.last).then_some(now);
        }
        while let Some(Branch { ticket, end, .. }) = self.branches.front().copied() {
            if ticket > self.done {
                break;
            }
            self.branches.pop_front();
            // A branch still on its way will cut there. Until it is durable nothing above counts, even
            // if the same blocks are on the chain again: they may be gone from the disk in between.
            let end = self.branches.iter().fold(end, |end, later| {
                if end.height > later.above.height { later.above } else { end }
            });
            if held(end) && end.height > self.tip.height {
                self.tip = end;
            }
        }
    }

    /// The last block of the first branch that is on its way, and since when.
    #[must_use]
    pub fn first_on_its_way(&self) -> Option<(BlockRef, Moment)> {
        self.branches.front().map(|branch| (branch.end, branch.since))
    }

    /// For how long something has waited and nothing has become durable: no time at all if nothing waits.
    #[must_use]
    pub fn stands_still(&self, now: Moment) -> Span {
        self.waits.map_or(Span::default(), |since| now.since(since))
    }

    /// The highest durable block of the chain.
    #[must_use]
    pub const fn tip(&self) -> BlockRef {
        self.tip
    }

    /// Whether the newest ballot is durable.
    #[must_use]
    pub fn has_ballot(&self) -> bool {
        self.ballot <= self.done
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::ids::{BlockHash, Height, Term};

    use super::*;

    fn block(height: u64, branch: u8) -> BlockRef {
        let hash = BlockHash::new([branch; 32]);
        BlockRef { term: Term::new(1), height: Height::new(height), hash }
    }

    #[test]
    fn a_disk_stands_still_while_something_waits_and_nothing_is_done() {
        let mut disk = Durability::new(block(4, 1), Height::ZERO);
        let at = Moment::micros;
        assert_eq!(disk.stands_still(at(100)), Span::micros(0));
        let first = disk.ballot(at(100));
        let second = disk.certificate(Height::new(4), at(150));
        assert_eq!(disk.stands_still(at(170)), Span::micros(70));
        disk.persisted(first, at(180), |_| true);
        assert_eq!(disk.stands_still(at(190)), Span::micros(10));
        disk.persisted(second, at(200), |_| true);
        assert_eq!(disk.stands_still(at(900)), Span::micros(0));
    }

    #[test]
    fn a_block_that_was_cut_and_came_back_is_durable_only_when_it_is_written_again() {
        let mut disk = Durability::new(block(4, 1), Height::ZERO);
        let now = Moment::default();
        let first = disk.branch(block(4, 1), block(10, 1), now);
        let other = disk.branch(block(7, 1), block(8, 2), now);
        let again = disk.branch(block(7, 1), block(10, 1), now);
        let held = |at: BlockRef| at.hash == BlockHash::new([1; 32]);
        disk.persisted(first, now, held);
        assert_eq!(disk.tip(), block(7, 1));
        disk.persisted(other, now, held);
        assert_eq!(disk.tip(), block(7, 1));
        disk.persisted(again, now, held);
        assert_eq!(disk.tip(), block(10, 1));
    }
}
