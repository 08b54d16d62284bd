//! What is asked of a store in memory.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::ids::{AccountKey, BlockHash, Hash, Height, StateRoot, TxId};
use quorate_chain::outcome::Outcome;
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::Roster;
use quorate_chain::state::{Grants, Nonces, StateEntry, StateKey, StateRead, Value};
use quorate_chain::state_root::{Leaf, Leaves, PathRange};

use super::{MemoryError, MemoryReader, Written, lock};
use crate::store::{Convicted, Entries, Place, Range, Standing, StoreReader, Version};

impl StateRead for MemoryReader {
    type Error = MemoryError;

    fn value(&self, key: &Bytes) -> Result<Option<Value>, MemoryError> {
        Ok(match lock(&self.contents).entries.get(&StateKey::Value(key.clone())) {
            Some(StateEntry::Value(value)) => Some(value.clone()),
            Some(StateEntry::Nonces(_) | StateEntry::Grants(_)) | None => None,
        })
    }

    fn nonces(&self, account: AccountKey) -> Result<Nonces, MemoryError> {
        Ok(match lock(&self.contents).entries.get(&StateKey::Nonces(account)) {
            Some(StateEntry::Nonces(nonces)) => *nonces,
            Some(StateEntry::Value(_) | StateEntry::Grants(_)) | None => Nonces::default(),
        })
    }

    fn grants(&self, account: AccountKey) -> Result<Grants, MemoryError> {
        Ok(match lock(&self.contents).entries.get(&StateKey::Grants(account)) {
            Some(StateEntry::Grants(grants)) => grants.clone(),
            Some(StateEntry::Value(_) | StateEntry::Nonces(_)) | None => Grants::default(),
        })
    }
}

impl Leaves for MemoryReader {
    type Error = MemoryError;

    fn within(&self, range: PathRange) -> Result<Vec<Leaf>, MemoryError> {
        let contents = lock(&self.contents);
        let found = contents.leaves.range(range.first()..=range.last());
        Ok(found.map(|(path, digest)| Leaf { path: *path, digest: *digest }).collect())
    }
}

impl StoreReader for MemoryReader {
    fn standing(&self) -> Result<Option<Standing>, MemoryError> {
        Ok(lock(&self.contents).standing.clone())
    }

    fn block(&self, height: Height) -> Result<Option<Block>, MemoryError> {
        Ok(lock(&self.contents).blocks.get(&height).and_then(|kept| kept.block.clone()))
    }

    fn header(&self, height: Height) -> Result<Option<SignedHeader>, MemoryError> {
        Ok(lock(&self.contents).header(height).cloned())
    }

    fn height_of(&self, hash: BlockHash) -> Result<Option<Height>, MemoryError> {
        Ok(lock(&self.contents).heights.get(&hash).copied())
    }

    fn oldest(&self) -> Result<Option<Height>, MemoryError> {
        Ok(lock(&self.contents).oldest())
    }

    fn range(&self, from: Height, bytes: usize) -> Result<Option<Range>, MemoryError> {
        Ok(lock(&self.contents).range(from, bytes))
    }

    fn certificate(&self, from: Height) -> Result<Option<Certificate>, MemoryError> {
        let contents = lock(&self.contents);
        Ok(contents.certificates.range(from..).next().map(|(_, certificate)| certificate.clone()))
    }

    fn place(&self, tx: TxId) -> Result<Option<Place>, MemoryError> {
        let contents = lock(&self.contents);
        let Some((height, index)) = contents.places.get(&tx) else { return Ok(None) };
        Ok(contents.blocks.get(height).map(|kept| Place {
            block: kept.at,
            index: *index,
            outcome: kept.outcomes[*index as usize],
        }))
    }

    fn outcomes(&self, height: Height) -> Result<Option<Vec<Outcome>>, MemoryError> {
        Ok(lock(&self.contents).blocks.get(&height).map(|kept| kept.outcomes.clone()))
    }

    fn state_root(&self, height: Height) -> Result<Option<StateRoot>, MemoryError> {
        let contents = lock(&self.contents);
        let standing = contents.standing.as_ref();
        let tip = standing.filter(|standing| standing.applied.block.height == height);
        let kept = contents.roots.get(&height).copied();
        Ok(kept.or(tip.map(|standing| standing.state_root)))
    }

    fn earlier_roots(
        &self,
        below: Height,
        most: usize,
    ) -> Result<Vec<(Height, StateRoot)>, MemoryError> {
        let contents = lock(&self.contents);
        let found = contents.roots.range(..below).rev().take(most);
        Ok(found.map(|(height, root)| (*height, *root)).collect())
    }

    fn roster(&self, height: Height) -> Result<Option<(Height, Arc<Roster>)>, MemoryError> {
        let contents = lock(&self.contents);
        let found = contents.rosters.range(..=height).next_back();
        Ok(found.map(|(since, roster)| (*since, Arc::clone(roster))))
    }

    fn leaves_after(&self, after: Option<Hash>, limit: usize) -> Result<Vec<Leaf>, MemoryError> {
        let contents = lock(&self.contents);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = contents.leaves.range((from, Bound::Unbounded)).take(limit);
        Ok(found.map(|(path, digest)| Leaf { path: *path, digest: *digest }).collect())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Value)>, MemoryError> {
        let contents = lock(&self.contents);
        let key = |bytes: &[u8]| StateKey::Value(Bytes::copy_from_slice(bytes));
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(key(after)),
            Some(_) | None => Bound::Included(key(prefix)),
        };
        let mut found = Vec::new();
        for (key, entry) in contents.entries.range((from, Bound::Unbounded)) {
            let (StateKey::Value(key), StateEntry::Value(value)) = (key, entry) else { break };
            if !key.starts_with(prefix) || found.len() == limit {
                break;
            }
            found.push((key.clone(), value.clone()));
        }
        Ok(found)
    }

    fn history(
        &self,
        key: &[u8],
        before: Option<(Height, u32, u8)>,
        limit: usize,
    ) -> Result<Vec<Version>, MemoryError> {
        let contents = lock(&self.contents);
        let Some(versions) = contents.history.get(key) else { return Ok(Vec::new()) };
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let found = versions.range((Bound::Unbounded, end)).rev().take(limit);
        let version = |(at, (tx, value)): (&Written, &(TxId, Option<Bytes>))| Version {
            height: at.0,
            index: at.1,
            operation: at.2,
            tx: *tx,
            value: value.clone(),
        };
        Ok(found.map(version).collect())
    }

    fn roster_steps(&self, above: Height, bytes: usize) -> Result<Vec<RosterStep>, MemoryError> {
        Ok(lock(&self.contents).steps_above(above, bytes))
    }

    fn convicted(&self) -> Result<Vec<Convicted>, MemoryError> {
        Ok(lock(&self.contents).convicted.clone())
    }

    fn frozen(&self) -> Result<Vec<Standing>, MemoryError> {
        Ok(lock(&self.contents).snapshots.frozen())
    }

    fn frozen_entries(
        &self,
        height: Height,
        after: Option<Hash>,
        bytes: usize,
    ) -> Result<Option<Entries>, MemoryError> {
        Ok(lock(&self.contents).snapshots.entries(height, after, bytes))
    }

    fn staged_leaves(&self, after: Option<Hash>, limit: usize) -> Result<Vec<Leaf>, MemoryError> {
        Ok(lock(&self.contents).snapshots.leaves(after, limit))
    }
}
