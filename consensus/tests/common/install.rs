//! Snapshots of a world: who has pruned what, and how one comes from another.

use std::sync::Arc;

use quorate_chain::ids::{Height, NodeId};
use quorate_chain::roster::Roster;
use quorate_consensus::event::{Event, Installed};
use quorate_consensus::judge::Proven;
use quorate_consensus::message::{Proof, Snapshot};

use super::World;
use super::keys::state_root;
use super::node::Node;

impl Node {
    /// The newest snapshot: at the highest height that a header below its newest certificate names.
    fn newest_snapshot(&self) -> Option<Height> {
        let (newest, _) = self.certificates.range(..=self.applied).next_back()?;
        let named = self.chain.iter().take_while(|block| block.header().height <= *newest);
        let named = named.map(|block| block.header().executed).max()?;
        (named > Height::ZERO && self.anchors.contains_key(&named)).then_some(named)
    }

    /// The rosters that were left before its applied tip.
    pub fn left(&self) -> Vec<Arc<Roster>> {
        let applied = self.anchors.range(..=self.applied).map(|(_, anchor)| &anchor.roster);
        let mut left: Vec<_> =
            std::iter::once(&self.genesis.roster).chain(applied).cloned().collect();
        left.dedup_by_key(|roster| roster.hash());
        left.pop();
        left
    }

    /// What it offers instead of the blocks that it has pruned.
    pub fn snapshot(&self) -> Option<Box<Snapshot>> {
        let at = self.snapshot?;
        let proven = self.certified(at)?;
        let block = self.anchors[&at].block;
        Some(Box::new(Snapshot { block, proof: proven.to_proof() }))
    }

    /// A certificate for an applied block at or above a height, with its roster.
    fn certified(&self, at: Height) -> Option<Proven> {
        let (height, certificate) = self.certificates.range(at..=self.applied).next_back()?;
        let roster = Arc::clone(&self.anchors.get(height)?.roster);
        Some(Proven { certificate: certificate.clone(), roster })
    }
}

impl World {
    /// A node makes a snapshot and prunes everything up to it. Returns whether it could.
    pub fn prune(&mut self, id: u32) -> bool {
        let node = self.node(id);
        let newest = node.newest_snapshot().filter(|at| Some(*at) > node.snapshot);
        node.snapshot = newest.or(node.snapshot);
        newest.is_some()
    }

    /// A node makes a snapshot at a height that it has applied, and prunes everything up to it.
    pub fn prune_at(&mut self, id: u32, height: u64) {
        let height = Height::new(height);
        let node = self.node(id);
        assert!(node.anchors.contains_key(&height), "that height is not applied");
        node.snapshot = Some(height);
    }

    /// Whether a node has pruned a height.
    pub fn has_pruned(&self, id: u32, height: Height) -> bool {
        self.nodes[id as usize].snapshot.is_some_and(|at| height <= at)
    }

    pub fn hold_installs(&mut self, id: u32, held: bool) {
        self.node(id).installs = !held;
        self.install(id);
    }

    /// The snapshot that a node waits for does not come.
    pub fn fail_install(&mut self, id: u32) {
        if self.node(id).to_install.take().is_some() {
            self.step(id, Event::Installed(None));
        }
    }

    /// Installs the snapshot that a node waits for, if nothing is in its way.
    pub fn install(&mut self, id: u32) {
        let node = self.node(id);
        if !node.installs || node.disk.held {
            return;
        }
        if let Some(installed) = self.make_install_durable(id) {
            self.step(id, Event::Installed(installed.map(Box::new)));
        }
    }

    /// Makes the snapshot that a node waits for durable. The node has not heard of it yet.
    pub fn make_install_durable(&mut self, id: u32) -> Option<Option<Installed>> {
        let (from, offered) = self.node(id).to_install.take()?;
        let source = &self.nodes[from as usize];
        let height = offered.block.height;
        let there = source.anchors.get(&height).filter(|anchor| anchor.block == offered.block);
        let Some(anchor) = there.cloned().filter(|_| !self.cut.contains(&(from, id))) else {
            return Some(None);
        };
        let Proof { certificate, roster } = offered.proof;
        let (certificate, roster) = (quorate_chain::checked::Checked::vouch(certificate), roster);
        let certificate = Proven { certificate, roster };
        let chain = source.chain[..usize::try_from(height.get()).unwrap()].to_vec();
        let anchors = source.anchors.clone();
        self.installed += 1;
        let node = self.node(id);
        assert!(node.to_apply.is_empty(), "nothing is applied while a snapshot is installed");
        node.disk.written.clear();
        (node.disk.blocks, node.chain) = (chain.clone(), chain);
        (node.applied, node.applied_anchor) = (height, anchor.clone());
        node.anchors = anchors.into_iter().filter(|(at, _)| *at <= height).collect();
        node.snapshot = Some(height);
        if certificate.term() > node.disk.ballot.term {
            node.disk.ballot = node.disk.ballot.raised(certificate.clone());
        }
        let newest = certificate.certificate.clone();
        node.certificates = std::iter::once((newest.block().height, newest.clone())).collect();
        node.brought = Some(newest.clone());
        node.certificate = Some(newest);
        let left = node.left();
        Some(Some(Installed { anchor, left, state_root: state_root(height), certificate }))
    }

    /// A node's snapshot is durable, and the node dies before it hears of that.
    pub fn die_installing(&mut self, id: u32) {
        if !self.node(id).disk.held && self.make_install_durable(id).is_some() {
            self.lose_power(id);
        }
    }

    pub(super) fn ask_install(&mut self, id: u32, from: NodeId, snapshot: Snapshot) {
        let node = self.node(id);
        assert!(node.to_install.is_none(), "one snapshot at a time");
        node.to_install = Some((from.get(), snapshot));
        self.install(id);
    }
}
