//! A store in memory, which several hold: the replica, and who breaks it.
//!
//! It keeps what it takes to undo each batch since the last checkpoint, so that a power cut can be
//! played: [`MemoryStore::power_cut`].

mod blocks;
mod reader;
mod snapshots;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::commitment::leaf_changes;
use quorate_chain::ids::{BlockHash, BlockRef, Hash, Height, StateRoot, TxId};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::Roster;
use quorate_chain::state::{Changes, StateEntry, StateKey};
use quorate_chain::state_root;

use super::{Batch, Convicted, Entries, Install, Standing, State, Store};
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
    /// The header of that anchor.
    base_header: Option<SignedHeader>,
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
    /// How often it is asked whether a checkpoint that was begun is through, before it is.
    late: u32,
    begun: Option<Begun>,
}

/// A checkpoint that was begun.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// How many batches it covers of those that a power cut may take.
    batches: usize,
    /// How often it is still asked for.
    late: u32,
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

    /// An empty store in which a checkpoint that was begun is through only when it was asked for so often.
    #[must_use]
    pub fn with_late_checkpoints(late: u32) -> Self {
        Self { late, ..Self::default() }
    }

    /// An empty store of the same kind.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::with_late_checkpoints(self.late)
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
        let contents = Arc::new(Mutex::new(lock(&self.contents).clone()));
        Self { contents, late: self.late, begun: None }
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

    fn begin_checkpoint(&mut self) -> Result<(), MemoryError> {
        self.begun = Some(Begun { batches: self.at_risk(), late: self.late });
        Ok(())
    }

    fn is_safe(&mut self) -> Result<bool, MemoryError> {
        match &mut self.begun {
            Some(Begun { late, .. }) if *late > 0 => {
                *late -= 1;
                return Ok(false);
            }
            Some(Begun { batches, .. }) => drop(lock(&self.contents).undos.drain(..*batches)),
            None => {}
        }
        self.begun = None;
        Ok(true)
    }

    fn checkpoint(&mut self) -> Result<(), MemoryError> {
        lock(&self.contents).undos.clear();
        self.begun = None;
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
