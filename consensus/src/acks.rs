//! The own acks between being wanted and being of use.
//!
//! An ack says what a successful answer to an append says in Raft (§5.3), and it is signed. It is given in the
//! term of its block only (Raft §5.4.2), so never after a vote in a later one (Raft §5.4.3), and forbids a vote
//! for less (Raft §5.4.1).

use std::collections::VecDeque;

use quorate_chain::ids::{BlockRef, Height, Term};
use quorate_chain::statement::SignedStatement;

use crate::codec::BLOCKS;

/// The acks of the own validator, on their way to being signed.
#[derive(Clone, Debug)]
pub(crate) struct Acks {
    /// The height up to which acks have been asked for.
    pub(crate) asked: Height,
    /// Nothing at or below this height is ever asked for: it was committed before this life of the log.
    floor: Height,
    /// Nor at or below this height in this term: certified blocks took the place of others that stood there and
    /// may have been acked. Their leader signed twice, and the certificate has what it takes without us.
    replaced: (Term, Height),
    /// The rank of the highest block that was acked to a leader, in any term and life: all that the log had when
    /// this life began may have been. Its chain may be replaced by a certified one of lower rank, and then the tip does
    /// not say any more what may be voted for.
    highest: (Term, Height),
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
        Self {
            asked,
            floor: asked,
            replaced: (Term::ZERO, Height::ZERO),
            highest: (Term::ZERO, Height::ZERO),
            signing: 0,
            given: VecDeque::new(),
            sent: 0,
        }
    }

    /// Those up to a height are not wanted, nor those up to another in the own term, if blocks of it were
    /// replaced. What was acked before is not above the highest rank that the log has had.
    pub(crate) fn restored(
        asked: Height,
        replaced: Option<(Term, Height)>,
        highest: (Term, Height),
    ) -> Self {
        let mut acks = Self { highest, ..Self::new(asked) };
        if let Some((term, last)) = replaced {
            acks.replace(asked, term, last);
            acks.again_above(asked);
        }
        acks
    }

    /// The log begins anew, in a term. Nothing up to a height is to be acked, nor in that term what may take the place
    /// of what was; and what was given is of no use.
    pub(crate) fn begin(&mut self, floor: Height, term: Term) {
        let acked = if self.highest.0 == term { self.highest.1 } else { Height::ZERO };
        let last = if self.replaced.0 == term { acked.max(self.replaced.1) } else { acked };
        let (signing, highest) = (self.signing, self.highest);
        *self = Self { signing, highest, replaced: (term, last), ..Self::new(floor) };
        self.again_above(floor);
    }

    /// The blocks above a height are others now, or the acks for them have another use.
    pub(crate) fn again_above(&mut self, height: Height) {
        self.asked = height.max(self.floor).max(self.replaced.1);
    }

    /// Blocks of the own term above one height and up to another are no longer what they were. Acks for them
    /// that were lost on their way are not sent again.
    pub(crate) fn replace(&mut self, above: Height, term: Term, last: Height) {
        self.replaced = self.replaced.max((term, last));
        self.given.retain(|ack| ack.statement.block().height <= above);
        self.sent = self.sent.min(self.given.len());
    }

    /// An ack is signed, for a leader.
    pub(crate) fn give(&mut self, ack: SignedStatement) {
        self.highest = self.highest.max(ack.statement.block().rank());
        self.given.push_back(ack);
    }

    /// Whether this block, or one of higher rank, was acked to a leader, or may have been before this life.
    pub(crate) fn gave(&self, block: BlockRef) -> bool {
        block.rank() <= self.highest
    }

    /// Whether no block of higher rank than this one was acked to a leader.
    pub(crate) fn allow(&self, tip: BlockRef) -> bool {
        tip.rank() >= self.highest
    }

    /// What may have been acked above this tip does not count any more.
    pub(crate) fn forget_above(&mut self, tip: BlockRef) {
        self.highest = self.highest.min(tip.rank());
    }

    /// The acks that the leader may not have, as many as one message can bring.
    pub(crate) fn unsent(&mut self) -> Vec<SignedStatement> {
        let unsent: Vec<_> = self.given.iter().skip(self.sent).take(BLOCKS).cloned().collect();
        self.sent += unsent.len();
        unsent
    }

    /// What was given in an older term counts no more (Raft §5.4.2). Who leads now has been sent nothing yet.
    pub(crate) fn enter(&mut self, term: Term) {
        self.given.retain(|ack| ack.statement.term() == term);
        if self.replaced.0 != term {
            self.replaced = (term, Height::ZERO);
        }
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

#[cfg(test)]
mod tests {
    use quorate_chain::ids::{BlockHash, NodeId, RosterHash, Signature};
    use quorate_chain::statement::Statement;

    use super::*;

    fn ack(term: u64, height: u64) -> SignedStatement {
        let (term, height) = (Term::new(term), Height::new(height));
        let block = BlockRef { term, height, hash: BlockHash::ZERO };
        SignedStatement {
            statement: Statement::Ack { block },
            roster_hash: RosterHash::ZERO,
            signer: NodeId::new(2),
            signature: Signature::new([0; 64]),
        }
    }

    /// A snapshot may take the place of blocks that were acked, and their leader may have signed others.
    #[test]
    fn nothing_is_acked_again_in_a_term_whose_acks_a_snapshot_has_replaced() {
        let mut acks = Acks::new(Height::ZERO);
        acks.enter(Term::new(1));
        acks.give(ack(1, 5));
        acks.begin(Height::new(4), Term::new(1));
        assert_eq!(acks.asked, Height::new(5));
        acks.again_above(Height::new(4));
        assert_eq!(acks.asked, Height::new(5));
        // In another term they do not count.
        acks.enter(Term::new(2));
        acks.again_above(Height::new(4));
        assert_eq!(acks.asked, Height::new(4));
        acks.begin(Height::new(4), Term::new(2));
        assert_eq!(acks.asked, Height::new(4));
    }
}
