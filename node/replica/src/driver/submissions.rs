//! Transactions on their way into the mempool.
//!
//! Who is told that a nonce is used, or that a height is past, may have submitted what stands in the chain. The
//! driver does not look: for a transaction that nobody knows that would go through the whole index, as often as any
//! client likes, while everything else waits. Whoever tells the client asks the store before, on a thread of its own.

use quorate_chain::block::Block;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{Height, NodeId};
use quorate_chain::state::StateRead;
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::raft::Standing;
use quorate_wal::Space;

use super::Driver;
use crate::io::{Answer, Notice, Output, Refusal, Submission};
use crate::mempool::Known;
use crate::store::Store;

impl<S: Store> Driver<S> {
    /// The chain ends with other blocks: what stood in those that are cut begins to wait again.
    pub(super) fn branched(
        &mut self,
        above: Height,
        blocks: &[Checked<Block>],
        out: &mut Vec<Output>,
    ) {
        let cut = self.mempool.branch(above, blocks);
        for transaction in cut {
            // It was verified with its block. If there is no room, whoever wants it sends it again.
            if self.take(Checked::vouch(transaction), None, out).is_none() {
                return;
            }
        }
    }

    /// Takes a transaction that is not there yet; `None` if the store cannot be read.
    fn take(
        &mut self,
        transaction: Checked<SignedTransaction>,
        submission: Option<Submission>,
        out: &mut Vec<Output>,
    ) -> Option<Result<(), Refusal>> {
        let (id, sender) = (transaction.id(), transaction.content().sender);
        let nonces = match self.mempool.nonces(sender) {
            Some(nonces) => nonces,
            None => self.read(|reader| reader.nonces(sender), out)?,
        };
        let known = Known { nonces, has_a_say: self.has_a_say(&transaction, out)? };
        let applied = self.core.log().applied().block.height;
        let taken = self.mempool.take(transaction, known, applied, submission);
        if taken.is_ok() {
            self.forwarder.add(id);
        }
        Some(taken)
    }

    /// A client wants a transaction in the chain.
    pub(super) fn submitted(
        &mut self,
        submission: Submission,
        transaction: Checked<SignedTransaction>,
        out: &mut Vec<Output>,
    ) {
        let id = transaction.id();
        let refused = if self.stopping {
            Err(Refusal::Stopping)
        } else if self.mempool.contains(id) {
            self.mempool.wait(id, submission)
        } else if self.space > Space::Ok {
            Err(Refusal::DiskLow)
        } else {
            match self.take(transaction, Some(submission), out) {
                Some(taken) => taken,
                // The node stops, and so nobody knows.
                None => return out.push(Output::Answer { submission, answer: Answer::Unknown }),
            }
        };
        if let Err(refusal) = refused {
            out.push(Output::Answer { submission, answer: Answer::Refused(refusal) });
        }
    }

    /// Another node has transactions for the leader.
    pub(super) fn forwarded(
        &mut self,
        from: NodeId,
        transactions: Vec<Checked<SignedTransaction>>,
        out: &mut Vec<Output>,
    ) {
        // Whoever forwards to another than the leader will learn who leads, and forward again.
        if self.core.standing() != Standing::Leader || self.stopping {
            return;
        }
        for transaction in transactions {
            if self.mempool.contains(transaction.id()) {
                continue;
            }
            let taken = match self.space {
                Space::Ok => self.take(transaction, None, out),
                Space::Low | Space::Reserve => Some(Err(Refusal::DiskLow)),
            };
            match taken {
                Some(Ok(())) => {}
                Some(Err(refusal)) => {
                    out.push(Output::Notice(Notice::NotTaken { from, refusal }));
                }
                None => return,
            }
        }
    }
}
