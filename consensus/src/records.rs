//! What is written to the log, in which order.
//!
//! Records become durable in the order in which they are asked for (see `durability`), so what must be
//! durable before something else is asked for first:
//!
//! - the ballot before anything that is signed in its term (Raft §5);
//! - before a branch whose blocks name a state, a commit certificate for that height or a higher one. A
//!   state is named because a quorum has applied it, so somebody had the certificate; but a store may come
//!   back from a loss of power without what it was given last, and so may all stores at once. Without the
//!   certificate in the log, the group would hold blocks that none may take, because nobody can tell
//!   whether what they name is committed.
//!
//! A certificate that is needed is the newest one, so one covers many blocks while many are in flight.
//!
//! Left out: what the log had before this life and is not given back by it. It is taken to cover nothing,
//! which costs one certificate.

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height};

use crate::ballot::{Ballot, Choice};
use crate::effect::{Effect, Record};
use crate::raft::Core;

impl Core {
    /// Replaces the ballot. It is durable before anything that depends on it is signed.
    ///
    /// # Panics
    /// If the term would fall, or a vote of this term change.
    pub(crate) fn set_ballot(&mut self, ballot: Ballot) {
        assert!(ballot.term >= self.ballot.term, "the term never falls");
        let kept = self.ballot.choice == ballot.choice || self.ballot.choice == Choice::Open;
        let readmitted = self.ballot.recovering && ballot.choice == Choice::Spent;
        assert!(ballot.term > self.ballot.term || kept || readmitted, "a vote never changes");
        self.ballot = ballot.clone();
        let ticket = self.disk.ballot(self.now.moment);
        self.effects.push(Effect::Persist { ticket, record: Record::Ballot(ballot) });
    }

    /// Writes these blocks above that one, as the end of the chain; they are in the log already.
    pub(crate) fn write_branch(&mut self, above: BlockRef, blocks: Vec<Checked<Block>>) {
        let Some(last) = blocks.last().map(|block| block.block_ref()) else { return };
        let names = blocks.iter().map(|block| block.header().executed).max();
        self.write_certificate(names.unwrap_or_default());
        let ticket = self.disk.branch(above, last, self.now.moment);
        self.effects.push(Effect::Persist { ticket, record: Record::Branch { above, blocks } });
    }

    /// Writes the newest certificate, unless one that covers this height is written.
    fn write_certificate(&mut self, names: Height) {
        if names <= self.disk.covered() {
            return;
        }
        let on_chain = self.commits.on_chain(|block| self.log.contains(block));
        let known = [on_chain, self.commits.reached(), self.commits.newest_ahead()];
        let covers = |it: &&Checked<Certificate>| it.block().height >= names;
        if let Some(certificate) = known.into_iter().flatten().find(covers).cloned() {
            let ticket = self.disk.certificate(certificate.block().height, self.now.moment);
            self.effects.push(Effect::Persist { ticket, record: Record::Certificate(certificate) });
        }
    }
}
