//! Transactions that nobody will order any more, as far as this node has heard of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_chain::ids::TxId;

/// How many are remembered.
const MOST: usize = 4_096;

/// The newest of them. What has expired has done so for good: the chain takes nothing above its last
/// height.
#[derive(Debug, Default)]
pub(crate) struct Expired(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    known: BTreeSet<TxId>,
    order: VecDeque<TxId>,
}

impl Expired {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers one more, and forgets the oldest if there are too many.
    pub(crate) fn remember(&self, tx: TxId) {
        let mut memory = self.memory();
        if memory.known.insert(tx) {
            memory.order.push_back(tx);
        }
        while memory.order.len() > MOST {
            if let Some(oldest) = memory.order.pop_front() {
                memory.known.remove(&oldest);
            }
        }
    }

    /// Whether this is one of them.
    pub(crate) fn knows(&self, tx: TxId) -> bool {
        self.memory().known.contains(&tx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_no_more() {
        let expired = Expired::default();
        let tx = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            TxId::new(bytes)
        };
        (0..=MOST).for_each(|number| expired.remember(tx(number)));
        expired.remember(tx(MOST));
        assert!(!expired.knows(tx(0)) && expired.knows(tx(1)) && expired.knows(tx(MOST)));
        assert_eq!(expired.memory().known.len(), MOST);
    }
}
