//! The own acks between being wanted and being of use.

use std::collections::VecDeque;

use quorate_chain::ids::{Height, Term};
use quorate_chain::statement::SignedStatement;

/// The acks of the own validator, on their way to being signed.
#[derive(Clone, Debug)]
pub(crate) struct Acks {
    /// The height up to which acks have been asked for.
    pub(crate) asked: Height,
    /// Nothing at or below this height is ever asked for: it was committed before this life of the log.
    floor: Height,
    /// How many are being signed.
    pub(crate) signing: usize,
    /// Those given in the own term for blocks that are not known to be committed, in order.
    pub(crate) given: VecDeque<SignedStatement>,
    /// How many of these the leader has been sent. Messages are lost, and the last block of a busy
    /// time has none after it that would commit it: so each heartbeat begins anew.
    pub(crate) sent: usize,
}

impl Acks {
    /// None are given yet; those up to a height are not wanted.
    pub(crate) const fn new(asked: Height) -> Self {
        Self { asked, floor: asked, signing: 0, given: VecDeque::new(), sent: 0 }
    }

    /// The log begins anew. Nothing up to a height is to be acked, and what was given is of no use.
    pub(crate) fn begin(&mut self, floor: Height) {
        *self = Self { signing: self.signing, ..Self::new(floor) };
    }

    /// The blocks above a height are others now, or the acks for them have another use.
    pub(crate) fn again_above(&mut self, height: Height) {
        self.asked = height.max(self.floor);
    }

    /// The acks that the leader may not have.
    pub(crate) fn unsent(&mut self) -> Vec<SignedStatement> {
        let unsent = self.given.iter().skip(self.sent).cloned().collect();
        self.sent = self.given.len();
        unsent
    }

    /// What was given in an older term counts no more. Who leads now has been sent nothing yet.
    pub(crate) fn enter(&mut self, term: Term) {
        self.given.retain(|ack| ack.statement.term() == term);
        self.sent = 0;
    }

    /// Nobody waits any more for what was sent and is committed now.
    pub(crate) fn committed(&mut self, height: Height) {
        let done = |ack: &SignedStatement| ack.statement.block().height <= height;
        while self.sent > 0 && self.given.front().is_some_and(done) {
            self.given.pop_front();
            self.sent -= 1;
        }
    }
}
