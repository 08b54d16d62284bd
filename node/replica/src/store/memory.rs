//! A store in memory, which several hold: the replica, and who breaks it.
//!
//! It keeps what it takes to undo each batch since the last checkpoint, so that a power cut can be
//! played: [`MemoryStore::power_cut`].

mod blocks;
mod snapshots;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::commitment::leaf_changes;
use quorate_chain::ids::{AccountKey, BlockHash, BlockRef, Hash, Height, StateRoot, TxId};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::Roster;
use quorate_chain::state::{Changes, Grants, Nonces, StateEntry, StateKey, StateRead, Value};
use quorate_chain::state_root::{self, Leaf, Leaves, PathRange};

use super::{
    Batch, Convicted, Entries, Install, Place, Range, Standing, State, Store, StoreReader, Version,
};
use snapshots::{Frozen, Snapshots};

/// A store in memory never fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {}

/// The place of a write in the chain.
type Written = (Height, u32, u8);

#[derive(Clone, Debug)]
struct Kept {
    header: SignedHeader,
    /// The block's place and name.
    at: BlockRef,
    /// The block, unless it was pruned.
    block: Option<Block>,
    outcomes: Vec<Outcome>,
    /// The keys that it wrote.
    keys: Vec<Bytes>,
}

/// What one transaction has replaced.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are batches")]
enum Undo {
    /// A batch.
    Batch {
        standing: Option<Standing>,
        entries: Changes,
        /// The certificate's height, if the batch brought it.
        certified: Option<Height>,
        /// The heights of the steps that it brought.
        steps: Vec<Height>,
    },
    /// A snapshot.
    Install(Box<Contents>),
    /// The states that were frozen before one more was.
    Freeze(Frozen),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    standing: Option<Standing>,
    blocks: BTreeMap<Height, Arc<Kept>>,
    /// The state after each block: all of them are asked for at every start.
    roots: BTreeMap<Height, StateRoot>,
    heights: BTreeMap<BlockHash, Height>,
    places: BTreeMap<TxId, (Height, u32)>,
    entries: BTreeMap<StateKey, StateEntry>,
    leaves: BTreeMap<Hash, Hash>,
    history: BTreeMap<Bytes, BTreeMap<Written, (TxId, Option<Bytes>)>>,
    rosters: BTreeMap<Height, Arc<Roster>>,
    steps: BTreeMap<Height, RosterStep>,
    certificates: BTreeMap<Height, Certificate>,
    /// What the first block stands on: the genesis, or the anchor of a snapshot.
    base: Option<BlockRef>,
    /// Where pruning ended.
    pruned: Height,
    snapshots: Snapshots,
    convicted: Vec<Convicted>,
    undos: Vec<Undo>,
}

impl Contents {
    /// Changes entries and the leaves that belong to them. Returns what the entries were.
    fn change(&mut self, changes: Changes, leaves: state_root::Changes) -> Changes {
        for (path, digest) in leaves {
            match digest {
                Some(digest) => self.leaves.insert(path, digest),
                None => self.leaves.remove(&path),
            };
        }
        let before = changes.into_iter().map(|(key, entry)| {
            let was = match entry {
                Some(entry) => self.entries.insert(key.clone(), entry),
                None => self.entries.remove(&key),
            };
            (key, was)
        });
        before.collect()
    }

    /// Changes entries, with leaves that nobody has computed yet.
    fn change_anew(&mut self, changes: Changes) -> Changes {
        let leaves = leaf_changes(&changes);
        self.change(changes, leaves)
    }

    fn take(&mut self, batch: Batch) {
        let entries = self.change(batch.changes, batch.leaves);
        for executed in batch.blocks {
            let block = executed.block.into_inner();
            let (height, hash) = (block.block_ref().height, block.hash());
            for (index, outcome) in (0_u32..).zip(&executed.outcomes) {
                if !matches!(outcome.status, Status::Void(_)) {
                    self.places.insert(outcome.tx, (height, index));
                }
            }
            let keys = executed.writes.iter().map(|write| write.key.clone()).collect();
            for write in executed.writes {
                let tx = executed.outcomes[write.index as usize].tx;
                let versions = self.history.entry(write.key).or_default();
                versions.insert((height, write.index, write.operation), (tx, write.value));
            }
            self.rosters.extend(executed.roster.map(|roster| (height, roster)));
            self.heights.insert(hash, height);
            self.roots.insert(height, executed.state_root);
            let (header, at) = (block.signed_header().clone(), block.block_ref());
            let (outcomes, block) = (executed.outcomes, Some(block));
            self.blocks.insert(height, Arc::new(Kept { header, at, block, outcomes, keys }));
        }
        let brought = batch.standing.certificate.as_ref().map(|checked| checked.get().clone());
        let certified = brought.and_then(|certificate| {
            let height = certificate.block().height;
            self.certificates.insert(height, certificate).is_none().then_some(height)
        });
        let standing = self.standing.replace(batch.standing);
        let steps = self.keep_steps(batch.steps);
        self.undos.push(Undo::Batch { standing, entries, certified, steps });
    }

    fn undo(&mut self, undo: Undo) {
        let (standing, entries, certified, steps) = match undo {
            Undo::Batch { standing, entries, certified, steps } => {
                (standing, entries, certified, steps)
            }
            Undo::Freeze(before) => return self.snapshots.restore(before),
            Undo::Install(before) => {
                let undos = std::mem::take(&mut self.undos);
                let convicted = std::mem::take(&mut self.convicted);
                *self = Self { undos, convicted, ..*before };
                return;
            }
        };
        self.standing = standing;
        let applied = self.applied();
        self.snapshots.cut(applied);
        self.change_anew(entries);
        while let Some(entry) = self.rosters.last_entry().filter(|it| *it.key() > applied) {
            entry.remove();
        }
        while let Some(entry) = self.blocks.last_entry().filter(|it| *it.key() > applied) {
            let (height, kept) = entry.remove_entry();
            self.roots.remove(&height);
            self.heights.remove(&kept.at.hash);
            for outcome in &kept.outcomes {
                if self.places.get(&outcome.tx).is_some_and(|(at, _)| *at == height) {
                    self.places.remove(&outcome.tx);
                }
            }
            for key in &kept.keys {
                self.forget_version(key.clone(), height);
            }
        }
        if let Some(height) = certified {
            self.certificates.remove(&height);
        }
        self.steps.retain(|height, _| !steps.contains(height));
    }

    /// A key was not written at a height.
    fn forget_version(&mut self, key: Bytes, height: Height) {
        let Entry::Occupied(mut versions) = self.history.entry(key) else { return };
        while let Some(newest) = versions.get_mut().last_entry().filter(|it| it.key().0 >= height) {
            newest.remove();
        }
        if versions.get().is_empty() {
            versions.remove();
        }
    }

    fn applied(&self) -> Height {
        self.standing.as_ref().map_or(Height::ZERO, |standing| standing.applied.block.height)
    }
}

/// A store in memory. A clone is another handle on the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
}

/// A reader of a store in memory.
#[derive(Clone, Debug)]
pub struct MemoryReader {
    contents: Arc<Mutex<Contents>>,
}

fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many batches a power cut may take: those since the last checkpoint.
    #[must_use]
    pub fn at_risk(&self) -> usize {
        lock(&self.contents).undos.len()
    }

    /// The power goes out and comes back: what the last checkpoint covered is there, and the first
    /// `keep` of the batches after it.
    pub fn power_cut(&mut self, keep: usize) {
        let mut contents = lock(&self.contents);
        while contents.undos.len() > keep {
            let Some(undo) = contents.undos.pop() else { break };
            contents.undo(undo);
        }
        contents.undos.clear();
    }

    /// A store with the same contents that shares nothing with this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { contents: Arc::new(Mutex::new(lock(&self.contents).clone())) }
    }
}

impl Store for MemoryStore {
    type Error = MemoryError;
    type Reader = MemoryReader;

    fn reader(&self) -> MemoryReader {
        MemoryReader { contents: Arc::clone(&self.contents) }
    }

    fn begin(&mut self, standing: Standing, changes: &Changes) -> Result<(), MemoryError> {
        let mut contents = lock(&self.contents);
        contents.change_anew(changes.clone());
        let height = standing.applied.roster_since;
        contents.rosters.insert(height, Arc::clone(&standing.applied.roster));
        contents.base = Some(standing.applied.block);
        contents.standing = Some(standing);
        Ok(())
    }

    fn apply_from<E: From<MemoryError>>(
        &mut self,
        make: impl FnOnce(&dyn State<MemoryError>) -> Result<Batch, E>,
    ) -> Result<(), E> {
        let batch = make(&self.reader())?;
        lock(&self.contents).take(batch);
        Ok(())
    }

    fn keep(&mut self, certificate: Certificate) -> Result<(), MemoryError> {
        lock(&self.contents).certificates.insert(certificate.block().height, certificate);
        Ok(())
    }

    fn convict(&mut self, convicted: Convicted) -> Result<(), MemoryError> {
        lock(&self.contents).convict(convicted);
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), MemoryError> {
        lock(&self.contents).undos.clear();
        Ok(())
    }

    fn prune(&mut self, below: Height) -> Result<(), MemoryError> {
        lock(&self.contents).prune(below);
        Ok(())
    }

    fn freeze(&mut self, keep: Option<Height>) -> Result<bool, MemoryError> {
        lock(&self.contents).freeze(keep);
        Ok(true)
    }

    fn stage(&mut self, entries: Entries, first: bool) -> Result<bool, MemoryError> {
        lock(&self.contents).snapshots.stage(entries, first);
        Ok(true)
    }

    fn install(&mut self, install: Install) -> Result<bool, MemoryError> {
        lock(&self.contents).install(install);
        Ok(true)
    }
}

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
        Ok(lock(&self.contents).blocks.get(&height).map(|kept| kept.header.clone()))
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
