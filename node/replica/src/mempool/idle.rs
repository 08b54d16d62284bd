//! Senders of whom nothing waits any more, and their nonces: who has sent something will send more, and the store need
//! not be asked again.

use std::collections::BTreeMap;

use quorate_chain::ids::AccountKey;
use quorate_chain::state::Nonces;

/// How many are remembered at least; twice as many at most.
const SENDERS: usize = 2_048;

/// Senders of whom nothing waits, as long as they are remembered.
#[derive(Debug, Default)]
pub(super) struct Idle {
    young: BTreeMap<AccountKey, Nonces>,
    /// Those before. They are forgotten together.
    old: BTreeMap<AccountKey, Nonces>,
}

impl Idle {
    /// The nonces of a sender in the applied state.
    pub(super) fn nonces(&self, sender: AccountKey) -> Option<Nonces> {
        self.young.get(&sender).or_else(|| self.old.get(&sender)).copied()
    }

    /// The same, when the applied state moves on.
    pub(super) fn nonces_mut(&mut self, sender: AccountKey) -> Option<&mut Nonces> {
        self.young.get_mut(&sender).or_else(|| self.old.get_mut(&sender))
    }

    /// Nothing of a sender waits any more.
    pub(super) fn add(&mut self, sender: AccountKey, nonces: Nonces) {
        if self.young.len() >= SENDERS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(sender, nonces);
    }

    /// Something of a sender waits.
    pub(super) fn remove(&mut self, sender: AccountKey) {
        self.young.remove(&sender);
        self.old.remove(&sender);
    }

    /// The applied state is another one.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_no_more_than_twice_as_many() {
        let sender = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            AccountKey::new(key)
        };
        let mut idle = Idle::default();
        for number in 0..10 * SENDERS {
            idle.add(sender(number), Nonces::default());
            assert!(idle.nonces(sender(number.saturating_sub(SENDERS - 1))).is_some());
            assert!(idle.young.len() + idle.old.len() <= 2 * SENDERS);
        }
        idle.remove(sender(10 * SENDERS - 1));
        assert!(idle.nonces(sender(10 * SENDERS - 1)).is_none());
    }
}
