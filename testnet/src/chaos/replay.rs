//! What the keys were at every height, told from the chain's transactions alone: the rules of execution once
//! more, in a few lines, so that the nodes are not believed in this either.

use std::collections::BTreeMap;

use quorate_chain::ids::{Height, TxId};

use super::history::{Action, Block, Change, Entry, Place};

/// What the keys were, at every height.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    versions: BTreeMap<String, Vec<(Height, Option<Entry>)>>,
    /// Whether each transaction took effect, in order.
    effects: Vec<(Place, TxId, bool)>,
}

impl Replay {
    /// Executes a chain in which no key has a value at first.
    pub(crate) fn new(chain: &[Block]) -> Self {
        let mut replay = Self::default();
        for block in chain {
            for (index, tx) in (0..).zip(&block.txs) {
                let applied = replay.execute(&tx.changes, block.height, tx.id);
                replay.effects.push((Place { height: block.height, index }, tx.id, applied));
            }
        }
        replay
    }

    /// All changes of a transaction or none; whether all could be made.
    fn execute(&mut self, changes: &[Change], height: Height, tx: TxId) -> bool {
        let mut after: BTreeMap<&str, Option<Entry>> = BTreeMap::new();
        for Change { key, action } in changes {
            let before = after.get(key.as_str()).cloned().unwrap_or_else(|| self.newest(key));
            let before = before.map(|entry| entry.value);
            let value = match action {
                Action::Put(value) if before.is_none() => Some(value),
                Action::Update(value) => Some(value),
                Action::Remove if before.is_some() => None,
                Action::Cas(expected, value) if before == *expected => Some(value),
                Action::Put(_) | Action::Remove | Action::Cas(..) => return false,
            };
            after.insert(key, value.map(|value| Entry { value: value.clone(), height, tx }));
        }
        for (key, entry) in after {
            self.versions.entry(key.to_owned()).or_default().push((height, entry));
        }
        true
    }

    fn newest(&self, key: &str) -> Option<Entry> {
        self.versions.get(key)?.last()?.1.clone()
    }

    /// What a key was at the end of a height.
    pub(crate) fn at(&self, key: &str, height: Height) -> Option<&Entry> {
        let versions = self.versions.get(key)?;
        let below = versions.partition_point(|(since, _)| *since <= height);
        versions[..below].last()?.1.as_ref()
    }

    /// All keys that had a value at the end of a height.
    pub(crate) fn entries(&self, height: Height) -> Vec<(&str, &Entry)> {
        let keys = self.versions.keys();
        keys.filter_map(|key| Some((key.as_str(), self.at(key, height)?))).collect()
    }

    /// Whether each transaction took effect, in order.
    pub(crate) fn effects(&self) -> &[(Place, TxId, bool)] {
        &self.effects
    }
}
