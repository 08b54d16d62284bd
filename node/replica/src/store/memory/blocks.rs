//! Blocks in a row, those that are needed no more, steps from roster to roster, and evidence.

use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use quorate_chain::block::SignedHeader;
use quorate_chain::codec::Encode;
use quorate_chain::ids::{BlockRef, Height};
use quorate_chain::proof::RosterStep;
use quorate_consensus::codec::RANGE;

use super::Contents;
use crate::store::{Convicted, EVIDENCE, Range};

impl Contents {
    pub(super) fn header(&self, height: Height) -> Option<&SignedHeader> {
        let base = self.base_header.as_ref().filter(|base| base.header.height == height);
        self.blocks.get(&height).map(|kept| &kept.header).or(base)
    }

    pub(super) fn prune(&mut self, below: Height) {
        for (_, kept) in self.blocks.range_mut(self.pruned..below.max(self.pruned)) {
            if kept.block.as_ref().is_some_and(|block| block.body().item.is_none()) {
                Arc::make_mut(kept).block = None;
            }
        }
        self.pruned = self.pruned.max(below);
        self.certificates.retain(|height, _| *height >= below);
    }

    /// Keeps steps, each once. Returns the heights of those that are new.
    pub(super) fn keep_steps(&mut self, steps: Vec<RosterStep>) -> Vec<Height> {
        let mut new = Vec::new();
        for step in steps {
            if let Entry::Vacant(place) = self.steps.entry(step.header.height) {
                new.push(*place.key());
                place.insert(step);
            }
        }
        new
    }

    pub(super) fn steps_above(&self, above: Height, bytes: usize) -> Vec<RosterStep> {
        let mut room = bytes;
        let mut found = Vec::new();
        for step in self.steps.range((Excluded(above), Unbounded)).map(|(_, step)| step) {
            let size = step.to_bytes().len();
            if size > room && !found.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            found.push(step.clone());
        }
        found
    }

    pub(super) fn convict(&mut self, convicted: Convicted) {
        let against = self.convicted.iter().filter(|it| it.key == convicted.key).count();
        if against < EVIDENCE && !self.convicted.contains(&convicted) {
            self.convicted.push(convicted);
        }
    }

    pub(super) fn oldest(&self) -> Option<Height> {
        self.blocks.range(self.pruned..).next().map(|(height, _)| *height)
    }

    fn parent_of(&self, height: Height) -> Option<BlockRef> {
        let below = height.previous()?;
        let kept = self.blocks.get(&below).map(|kept| kept.at);
        kept.or(self.base.filter(|base| base.height == below))
    }

    pub(super) fn range(&self, from: Height, bytes: usize) -> Option<Range> {
        if from < self.pruned {
            return None;
        }
        let parent = self.parent_of(from)?;
        let mut room = bytes;
        let mut blocks = Vec::new();
        let mut certified = None;
        for (height, kept) in self.blocks.range(from..) {
            let Some(block) = &kept.block else { break };
            let full = !blocks.is_empty() && block.bytes().len() > room || blocks.len() >= RANGE;
            if full && certified.is_some() {
                break;
            }
            room = room.saturating_sub(block.bytes().len());
            blocks.push(block.clone());
            if let Some(certificate) = self.certificates.get(height) {
                certified = Some((blocks.len(), certificate.clone()));
            }
        }
        let (count, certificate) = certified?;
        blocks.truncate(count);
        Some(Range { parent, blocks, certificate })
    }
}
