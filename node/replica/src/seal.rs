//! When a block is sealed, and what goes into it.
//!
//! The core offers a slot, this module fills it: at once when it must be filled or nothing is in flight,
//! else when there are transactions enough for a full block. With a block interval one block is sealed in
//! each, empty or not; only the opening of a term and changes of the roster do not wait. An interval begins when the
//! block before was sealed, not when it should have been: one that comes late makes none after it come early, so
//! that any ten intervals of a term take as long as ten intervals.

use quorate_chain::block::{Block, BlockKind, Body, Draft};
use quorate_chain::checked::Checked;
use quorate_chain::codec::DecodeError;
use quorate_chain::crypto::Signer;
use quorate_chain::ids::{ChainId, TimeUs};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::effect::{Slot, Urgency};
use quorate_consensus::time::{Moment, Now, Span};

use crate::mempool::Load;

/// Bytes of a body besides its transactions and its item.
const BODY: usize = 16;

/// The slot on offer, and the rhythm.
#[derive(Debug)]
pub(crate) struct Sealer {
    slot: Option<Slot>,
    interval: Option<Span>,
    /// When the next block is due, with an interval.
    due: Moment,
    transactions: usize,
    bytes: usize,
}

impl Sealer {
    pub(crate) const fn new(interval: Option<Span>, transactions: usize, bytes: usize) -> Self {
        Self { slot: None, interval, due: Moment::micros(0), transactions, bytes }
    }

    /// The slot replaces the one before.
    pub(crate) fn offer(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// There is no slot.
    pub(crate) fn withdraw(&mut self) {
        self.slot = None;
    }

    /// When a block is due, if the clock decides.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let slot = self.slot.as_ref()?;
        (self.interval.is_some() && waits(slot)).then_some(self.due)
    }

    /// The slot, if a block should be sealed for it now, with so much on offer.
    pub(crate) fn due(&self, moment: Moment, free: Load) -> Option<&Slot> {
        let slot = self.slot.as_ref()?;
        let now = match slot.urgency {
            _ if self.interval.is_some() && waits(slot) => moment >= self.due,
            Urgency::Now => true,
            Urgency::Idle => free.transactions > 0,
            Urgency::Busy => {
                free.transactions >= self.transactions || free.bytes >= self.room(slot)
            }
        };
        now.then_some(slot)
    }

    /// Whether an empty block may be sealed for the slot.
    pub(crate) fn may_be_empty(&self, slot: &Slot) -> bool {
        self.interval.is_some() || slot.urgency == Urgency::Now
    }

    /// Most transactions and most bytes of them for a slot.
    pub(crate) fn caps(&self, slot: &Slot) -> (usize, usize) {
        (if may_hold(slot.kind) { self.transactions } else { 0 }, self.room(slot))
    }

    fn room(&self, slot: &Slot) -> usize {
        use quorate_chain::codec::Encode;
        let item = slot.item.as_ref().map_or(0, |item| item.to_bytes().len());
        self.bytes.min(slot.room).saturating_sub(BODY + item)
    }

    /// Takes the slot: a block is sealed for it.
    pub(crate) fn take(&mut self, moment: Moment) -> Option<Slot> {
        if let Some(interval) = self.interval {
            self.due = moment.after(interval);
        }
        self.slot.take()
    }
}

/// Whether the slot waits for the rhythm, if there is one.
fn waits(slot: &Slot) -> bool {
    matches!(slot.kind, BlockKind::Transactions | BlockKind::Closing)
}

/// Whether transactions may be put into a block for a slot of this kind. A closing block that has some
/// is a block of transactions.
fn may_hold(kind: BlockKind) -> bool {
    kind.may_hold_transactions() || kind == BlockKind::Closing
}

/// Seals a block for a slot.
pub(crate) fn seal(
    slot: Slot,
    transactions: Vec<SignedTransaction>,
    now: Now,
    chain_id: ChainId,
    signer: &dyn Signer,
) -> Result<Checked<Block>, DecodeError> {
    let closing = slot.kind == BlockKind::Closing;
    let kind =
        if closing && !transactions.is_empty() { BlockKind::Transactions } else { slot.kind };
    let draft = Draft {
        chain_id,
        roster_hash: slot.roster_hash,
        kind,
        parent: slot.parent,
        term: slot.term,
        proposer: slot.proposer,
        // The slot's time is not below its parent's.
        time: TimeUs::new(slot.time.get().max(now.time.get())),
        executed: slot.executed,
        state_root: slot.state_root,
        body: Body { item: slot.item, transactions },
    };
    Block::seal(draft, signer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_block_makes_no_other_come_early() {
        let mut sealer = Sealer::new(Some(Span::millis(100)), 1, 1);
        sealer.take(Moment::micros(100_000));
        assert_eq!(sealer.due, Moment::micros(200_000));
        sealer.take(Moment::micros(290_000));
        assert_eq!(sealer.due, Moment::micros(390_000));
    }
}
