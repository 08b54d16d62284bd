//! States that were frozen, and one that is being brought.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use quorate_chain::codec::Encode;
use quorate_chain::ids::{Hash, Height};
use quorate_chain::state::{StateEntry, StateKey};
use quorate_chain::state_root::Leaf;

use super::{Contents, Undo};
use crate::store::{Entries, Install, Standing};

/// Entries by path.
pub(super) type ByPath = BTreeMap<Hash, (StateKey, StateEntry)>;

/// States that were frozen, oldest first.
pub(super) type Frozen = Vec<(Standing, Arc<ByPath>)>;

#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    frozen: Frozen,
    staged: ByPath,
}

impl Snapshots {
    pub(super) fn frozen(&self) -> Vec<Standing> {
        self.frozen.iter().rev().map(|(standing, _)| standing.clone()).collect()
    }

    /// Keeps these in place of those that are frozen now.
    pub(super) fn restore(&mut self, frozen: Frozen) {
        self.frozen = frozen;
    }

    /// Forgets what was frozen above a height.
    pub(super) fn cut(&mut self, applied: Height) {
        self.frozen.retain(|(standing, _)| standing.applied.block.height <= applied);
    }

    pub(super) fn entries(
        &self,
        height: Height,
        after: Option<Hash>,
        bytes: usize,
    ) -> Option<Entries> {
        let at = |(standing, _): &&(Standing, _)| standing.applied.block.height == height;
        let (_, entries) = self.frozen.iter().find(at)?;
        let mut room = bytes;
        let mut found = Vec::new();
        for (key, entry) in entries.range(above(after)).map(|(_, both)| both) {
            let size = key.to_bytes().len() + entry.to_bytes().len();
            if size > room && !found.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            found.push((key.clone(), entry.clone()));
        }
        Some(found)
    }

    pub(super) fn stage(&mut self, entries: Entries, first: bool) {
        if first {
            self.staged.clear();
        }
        self.staged.extend(entries.into_iter().map(|(key, entry)| (key.path(), (key, entry))));
    }

    pub(super) fn leaves(&self, after: Option<Hash>, limit: usize) -> Vec<Leaf> {
        let leaf = |(path, (_, entry)): (&Hash, &(StateKey, StateEntry))| Leaf {
            path: *path,
            digest: entry.digest(),
        };
        self.staged.range(above(after)).take(limit).map(leaf).collect()
    }
}

fn above(after: Option<Hash>) -> (std::ops::Bound<Hash>, std::ops::Bound<Hash>) {
    (after.map_or(Unbounded, Excluded), Unbounded)
}

impl Contents {
    pub(super) fn freeze(&mut self, keep: Option<Height>) {
        let Some(standing) = self.standing.clone() else { return };
        let by_path =
            |(key, entry): (&StateKey, &StateEntry)| (key.path(), (key.clone(), entry.clone()));
        let entries: ByPath = self.entries.iter().map(by_path).collect();
        let frozen = &mut self.snapshots.frozen;
        self.undos.push(Undo::Freeze(frozen.clone()));
        frozen.retain(|(standing, _)| Some(standing.applied.block.height) == keep);
        frozen.push((standing, Arc::new(entries)));
    }

    pub(super) fn install(&mut self, install: Install) {
        let undos = std::mem::take(&mut self.undos);
        let before = self.clone();
        let staged = std::mem::take(&mut self.snapshots.staged);
        let standing = install.standing;
        let anchor = &standing.applied;
        let certificate = standing.certificate.as_ref().map(|checked| checked.get().clone());
        *self = Self {
            rosters: BTreeMap::from([(anchor.roster_since, Arc::clone(&anchor.roster))]),
            base: Some(anchor.block),
            base_header: Some(install.header),
            certificates: certificate.into_iter().map(|it| (it.block().height, it)).collect(),
            convicted: before.convicted.clone(),
            steps: before.steps.clone(),
            undos,
            ..Self::default()
        };
        let changes = staged.into_values().map(|(key, entry)| (key, Some(entry))).collect();
        self.change_anew(changes);
        self.keep_steps(install.steps);
        self.standing = Some(standing);
        self.undos.push(Undo::Install(Box::new(before)));
        if install.frozen {
            self.freeze(None);
        }
    }
}
