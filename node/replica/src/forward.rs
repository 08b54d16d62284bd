//! Which transactions are sent on to the leader.
//!
//! Everything in the mempool that is not in flight is forwarded once to each new leader, and again if it
//! is still not in flight after a while: a forwarded message may be lost, and a leader may have no room.
//! One message leaves at a time; what is left asks for a tick at once.

use std::collections::{BTreeSet, VecDeque};

use quorate_chain::checked::Checked;
use quorate_chain::ids::{NodeId, TxId};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::time::{Moment, Span};

use crate::mempool::Mempool;

/// What is still to be forwarded.
#[derive(Debug)]
pub(crate) struct Forwarder {
    again: Span,
    bytes: usize,
    leader: Option<NodeId>,
    queue: VecDeque<TxId>,
    queued: BTreeSet<TxId>,
    /// When everything is forwarded again.
    due: Moment,
    /// When there is something to do; `None` without a leader elsewhere.
    deadline: Option<Moment>,
}

impl Forwarder {
    pub(crate) const fn new(again: Span, bytes: usize) -> Self {
        Self {
            again,
            bytes,
            leader: None,
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            due: Moment::micros(0),
            deadline: None,
        }
    }

    /// A transaction begins to wait.
    pub(crate) fn add(&mut self, id: TxId) {
        if self.leader.is_some() && self.queued.insert(id) {
            self.queue.push_back(id);
        }
    }

    /// When it wants a tick.
    pub(crate) const fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// What to send to this leader now.
    pub(crate) fn next(
        &mut self,
        moment: Moment,
        leader: Option<NodeId>,
        mempool: &Mempool,
    ) -> Vec<Checked<SignedTransaction>> {
        if self.leader != leader {
            (self.leader, self.due) = (leader, moment);
        }
        if leader.is_none() {
            self.queue.clear();
            self.queued.clear();
            self.deadline = None;
            return Vec::new();
        }
        if moment >= self.due {
            self.due = moment.after(self.again);
            self.queued = mempool.offered_ids().collect();
            self.queue = self.queued.iter().copied().collect();
        }
        let (mut chosen, mut room) = (Vec::new(), self.bytes);
        while let Some(id) = self.queue.front() {
            if let Some(transaction) = mempool.offered(*id) {
                let size = transaction.bytes().len();
                if size > room && !chosen.is_empty() {
                    break;
                }
                room = room.saturating_sub(size);
                chosen.push(transaction.clone());
            }
            self.queued.remove(id);
            self.queue.pop_front();
        }
        let waits = mempool.load().transactions > 0;
        self.deadline = match (self.queue.is_empty(), waits) {
            (false, _) => Some(moment),
            (true, true) => Some(self.due),
            (true, false) => None,
        };
        chosen
    }

    /// Checks that the queue is bounded by the mempool.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn check(&self, mempool: &Mempool) {
        assert!(self.queue.len() == self.queued.len(), "each is queued once");
        let gone = self.queue.iter().filter(|id| !mempool.contains(**id)).count();
        let most = mempool.load().transactions + gone;
        assert!(self.queue.len() <= most, "the queue holds what waits");
    }
}
