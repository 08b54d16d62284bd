//! How much there is.
//!
//! Whoever fills a block counts the bytes that travel. Whoever bounds memory does not: a removal of a short key
//! takes six bytes there and about a hundred in memory.

use quorate_chain::ids::{AccountKey, Height, Nonce, TxId};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::time::Moment;

use super::{Sender, Waiting};

/// What one that waits takes beside what it leads to: its places in the maps of the mempool and in the queue of
/// what is to be forwarded. The nodes of a map may be half empty.
const PLACES: usize = 2
    * (size_of::<(AccountKey, Sender)>()
        + size_of::<(Nonce, Waiting)>()
        + size_of::<(TxId, (AccountKey, Nonce))>()
        + size_of::<(Height, TxId)>()
        + size_of::<(Moment, TxId)>()
        + 2 * size_of::<TxId>());

/// How large one is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    bytes: usize,
    /// What it takes of the memory, alone of its sender.
    pub(super) memory: usize,
}

impl Size {
    pub(super) fn of(transaction: &SignedTransaction) -> Self {
        Self { bytes: transaction.bytes().len(), memory: PLACES + transaction.held() }
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Transactions.
    pub transactions: usize,
    /// Bytes of them, as they travel.
    pub bytes: usize,
    /// Bytes of memory that they take.
    pub memory: usize,
}

impl Load {
    pub(super) fn add(&mut self, size: Size) {
        self.transactions += 1;
        self.bytes += size.bytes;
        self.memory += size.memory;
    }

    pub(super) fn remove(&mut self, size: Size) {
        self.transactions -= 1;
        self.bytes -= size.bytes;
        self.memory -= size.memory;
    }
}
