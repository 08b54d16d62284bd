//! The transactions in the blocks above the applied tip.

use std::collections::{BTreeMap, VecDeque};

use quorate_chain::ids::{AccountKey, Height, Nonce, TxId};
use quorate_chain::state::Nonces;
use quorate_chain::transaction::{Operation, SignedTransaction};

/// The transactions in the blocks above the applied tip, in the order of the chain.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    blocks: VecDeque<(Height, Vec<SignedTransaction>)>,
    /// How often each stands there; a dishonest leader may repeat one.
    ids: BTreeMap<TxId, u32>,
    /// The same, by sender and nonce.
    nonces: BTreeMap<(AccountKey, Nonce), u32>,
    /// How often each account is granted something.
    granted: BTreeMap<AccountKey, u32>,
}

impl Flight {
    /// Whether a transaction is in flight.
    pub(crate) fn contains(&self, id: TxId) -> bool {
        self.ids.contains_key(&id)
    }

    /// The nonces of a sender after what is in flight.
    pub(crate) fn after(&self, sender: AccountKey, mut nonces: Nonces) -> Nonces {
        let ends = (sender, Nonce::ZERO)..=(sender, Nonce::new(u64::MAX));
        for ((_, nonce), _) in self.nonces.range(ends) {
            // One that is void uses nothing.
            let _ = nonces.take(*nonce);
        }
        nonces
    }

    /// Whether something is granted to an account, if it takes effect.
    pub(crate) fn grants(&self, account: AccountKey) -> bool {
        self.granted.contains_key(&account)
    }

    /// One more block.
    pub(crate) fn push(&mut self, height: Height, transactions: Vec<SignedTransaction>) {
        for transaction in &transactions {
            let content = transaction.content();
            *self.ids.entry(transaction.id()).or_default() += 1;
            *self.nonces.entry((content.sender, content.nonce)).or_default() += 1;
            for account in granted(transaction) {
                *self.granted.entry(account).or_default() += 1;
            }
        }
        self.blocks.push_back((height, transactions));
    }

    /// Cuts the blocks above a height; returns what stood in them.
    pub(crate) fn cut(&mut self, above: Height) -> Vec<SignedTransaction> {
        let mut cut = Vec::new();
        while self.blocks.back().is_some_and(|(height, _)| *height > above) {
            let Some((_, transactions)) = self.blocks.pop_back() else { break };
            self.forget(&transactions);
            cut.extend(transactions);
        }
        cut
    }

    /// The lowest block has been applied; returns what stood in it.
    ///
    /// # Panics
    /// If it is another block.
    pub(crate) fn pop(&mut self, height: Height) -> Vec<SignedTransaction> {
        let first = self.blocks.pop_front();
        let (at, transactions) = first.expect("what is applied was in flight");
        assert!(at == height, "blocks are applied in order");
        self.forget(&transactions);
        transactions
    }

    fn forget(&mut self, transactions: &[SignedTransaction]) {
        for transaction in transactions {
            let content = transaction.content();
            let key = (content.sender, content.nonce);
            less(&mut self.ids, &transaction.id());
            less(&mut self.nonces, &key);
            for account in granted(transaction) {
                less(&mut self.granted, &account);
            }
        }
    }
}

/// To whom a transaction grants something.
fn granted(transaction: &SignedTransaction) -> impl Iterator<Item = AccountKey> {
    transaction.content().operations.iter().filter_map(|operation| match operation {
        Operation::Grant { account, .. } => Some(*account),
        Operation::Put { .. }
        | Operation::Update { .. }
        | Operation::Remove { .. }
        | Operation::Cas { .. }
        | Operation::Revoke { .. } => None,
    })
}

fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
