//! One node: its core, if it lives, and what is around it.

use std::collections::{BTreeMap, VecDeque};

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{Height, RosterHash, StateRoot, Term};
use quorate_chain::roster::Lead;
use quorate_chain::statement::Statement;
use quorate_consensus::ballot::Ballot;
use quorate_consensus::effect::{Record, Slot, Ticket};
use quorate_consensus::log::Anchor;
use quorate_consensus::message::Snapshot;
use quorate_consensus::raft::Core;

use super::keys::state_root;

/// What a node has on its disk, and on the way there.
#[derive(Default)]
pub struct Disk {
    /// Held back: nothing becomes durable until it is released.
    pub held: bool,
    pub written: VecDeque<(Ticket, Record)>,
    pub ballot: Ballot,
    /// The chain above the genesis, by height.
    pub blocks: Vec<Checked<Block>>,
    /// Certificates for some of them.
    pub certificates: Vec<Checked<Certificate>>,
    /// In which term a block took the place of another, and the highest one that was there before.
    pub replaced: (Term, Height),
    /// The highest rank of the blocks that it has had.
    pub highest: (Term, Height),
}

impl Disk {
    pub fn write(&mut self, record: Record) {
        match record {
            Record::Ballot(ballot) => self.ballot = ballot,
            Record::Certificate(certificate) => self.certificates.push(certificate),
            Record::Branch { above, blocks } => {
                self.note_replaced(above.height, &blocks);
                let ranks = blocks.iter().map(|block| block.block_ref().rank());
                self.highest = ranks.fold(self.highest, Ord::max);
                self.blocks.truncate(usize::try_from(above.height.get()).unwrap());
                self.blocks.extend(blocks);
            }
        }
    }

    fn note_replaced(&mut self, above: Height, blocks: &[Checked<Block>]) {
        let cut = self.blocks.iter().skip(usize::try_from(above.get()).unwrap());
        let cut: Vec<_> = cut.map(|block| block.block_ref()).collect();
        for (old, new) in cut.iter().zip(blocks) {
            if old.term == new.block_ref().term && *old != new.block_ref() {
                let last = cut.iter().rfind(|block| block.term == old.term);
                self.replaced = self.replaced.max((old.term, last.unwrap().height));
            }
        }
    }
}

/// One node: its core, if it lives, and what is around it.
pub struct Node {
    pub core: Option<Core>,
    pub disk: Disk,
    pub slot: Option<Slot>,
    pub applied: Height,
    pub applied_anchor: Anchor,
    pub certificate: Option<Checked<Certificate>>,
    /// The one that came with a snapshot. Its store keeps it until its block is applied.
    pub brought: Option<Checked<Certificate>>,
    /// The certificates by which blocks were committed, by height.
    pub certificates: BTreeMap<Height, Checked<Certificate>>,
    /// Applied blocks, from height 1.
    pub chain: Vec<Checked<Block>>,
    /// Whether blocks are applied as soon as they are committed.
    pub applies: bool,
    pub to_apply: VecDeque<Checked<Block>>,
    /// Whether statements are signed as soon as that is wanted.
    pub signs: bool,
    pub to_sign: VecDeque<(Statement, RosterHash)>,
    /// What every chain begins with.
    pub genesis: Anchor,
    /// What is known of the applied blocks.
    pub anchors: BTreeMap<Height, Anchor>,
    /// The height of its newest snapshot. Blocks up to it are pruned.
    pub snapshot: Option<Height>,
    /// Whether it installs a snapshot as soon as that is wanted.
    pub installs: bool,
    pub to_install: Option<(u32, Snapshot)>,
    /// Whether its store finds blocks for others.
    pub fetches: bool,
    /// Whether it computes another state than the others.
    pub strays: bool,
    /// By how many microseconds its calendar is ahead.
    pub ahead: u64,
    /// Which log it has.
    pub incarnation: u64,
    /// How often that has been begun.
    pub boot: u64,
    /// Whether it wants to lead, if its operator has said so.
    pub lead: Option<Lead>,
    /// Which machine it runs on.
    pub machine: u64,
    /// Whether it has stopped for good.
    pub halted: bool,
}

impl Node {
    /// A node that has never run.
    pub fn new(id: u32, genesis: Anchor) -> Self {
        Self {
            core: None,
            disk: Disk::default(),
            slot: None,
            applied: Height::ZERO,
            applied_anchor: genesis.clone(),
            genesis,
            certificate: None,
            brought: None,
            certificates: BTreeMap::new(),
            chain: Vec::new(),
            applies: true,
            to_apply: VecDeque::new(),
            anchors: BTreeMap::new(),
            snapshot: None,
            installs: true,
            to_install: None,
            signs: true,
            to_sign: VecDeque::new(),
            fetches: true,
            strays: false,
            ahead: 0,
            incarnation: u64::from(id),
            boot: 0,
            lead: None,
            machine: 0,
            halted: false,
        }
    }

    /// The states below its applied tip. A node that began with a snapshot has those above it.
    pub fn earlier(&self) -> Vec<(Height, StateRoot)> {
        let first = self.snapshot.map_or(0, |height| height.get());
        let heights = (first..self.applied.get()).map(Height::new);
        heights.map(|height| (height, state_root(height))).collect()
    }

    /// The height that the header of its applied tip names.
    pub fn executed(&self) -> Height {
        let below = self.applied.get().checked_sub(1).and_then(|below| usize::try_from(below).ok());
        let tip = below.and_then(|below| self.chain.get(below));
        tip.map(|block| block.header().executed).unwrap_or_default()
    }

    /// The commit certificates that its store has of use to itself.
    pub fn stored_certificates(&self) -> Vec<Checked<Certificate>> {
        let brought = self.brought.iter().filter(|it| it.block().height > self.applied);
        self.certificate.iter().chain(brought).cloned().collect()
    }

    /// What its disk and store have.
    pub fn kept(&self) -> Self {
        let disk = Disk {
            ballot: self.disk.ballot.clone(),
            blocks: self.disk.blocks.clone(),
            certificates: self.disk.certificates.clone(),
            replaced: self.disk.replaced,
            highest: self.disk.highest,
            ..Disk::default()
        };
        Self {
            disk,
            applied: self.applied,
            applied_anchor: self.applied_anchor.clone(),
            certificate: self.certificate.clone(),
            brought: self.brought.clone(),
            certificates: self.certificates.clone(),
            chain: self.chain.clone(),
            incarnation: self.incarnation,
            boot: self.boot,
            lead: self.lead,
            ..Self::new(0, self.applied_anchor.clone())
        }
    }

    /// The blocks that its store has from a height on, and a certificate for the last of them: at
    /// least so many, and on to the next one that has a certificate.
    pub fn fetch(&self, from: Height, least: u64) -> (Vec<Checked<Block>>, Option<Certificate>) {
        if !self.fetches {
            return (Vec::new(), None);
        }
        let below = usize::try_from(from.get() - 1).unwrap();
        let certified = self.certificates.range(Height::new(from.get() + least - 1)..);
        let stored = |(height, _): &(&Height, _)| height.get() <= self.chain.len() as u64;
        let nearer = || self.certificates.range(from..).rfind(stored);
        let Some((height, certificate)) = certified.into_iter().find(stored).or_else(nearer) else {
            return (Vec::new(), None);
        };
        let end = usize::try_from(height.get()).unwrap();
        (self.chain[below..end].to_vec(), Some(certificate.get().clone()))
    }
}
