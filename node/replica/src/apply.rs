//! The applier: it owns the store's writer, and applies committed blocks.
//!
//! Blocks are executed in order on the state in the store and the changes of the batch so far, the
//! commitment to the state is moved on with each, and all of it goes to the store as one
//! transaction: blocks, outcomes, state, rosters and the steps between them, the certificate, the applied height. So after any crash
//! they are there together or not at all.
//!
//! Old blocks are pruned in small steps: only below the height of a frozen state that can be offered,
//! and only what a power cut could not bring back into question. While somebody gets a frozen state it does not
//! go for a newer one, nor do the blocks above it.
//!
//! After an error the applier is of no more use: the node must stop, and open what is on the disk.

use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::commitment::Commitment;
use quorate_chain::evidence::Conviction;
use quorate_chain::execute::{Rules, Writers, execute};
use quorate_chain::ids::Height;
use quorate_chain::state_root::{StateTree, StateTreeError};
use quorate_consensus::codec::RANGE;
use quorate_consensus::log::Anchor;

use crate::io::{Applied, AppliedBlock, ApplyJob, InstallJob, StageJob};
use crate::overlay::Overlay;
use crate::setup::Limits;
use crate::snapshot::rosters::Pending;
use crate::snapshot::{self, Demand, timeouts};
use crate::store::{Batch, Convicted, Executed, Install, Standing, Store, StoreReader, pages};

/// Why blocks could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E> {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] E),
    /// The leaves of the state in the store are not those that were computed here.
    #[error("the state in the store is damaged: {0}")]
    State(StateTreeError<E>),
}

/// The owner of the store's writer.
#[derive(Debug)]
pub struct Applier<S: Store> {
    store: S,
    reader: S::Reader,
    commitment: Commitment,
    standing: Standing,
    rosters: Pending,
    writers: Writers,
    /// The height that survives a power cut.
    checkpointed: Height,
    checkpoint_every: u64,
    /// What will survive one as soon as the store says so.
    under_way: Option<UnderWay>,
    /// How many bytes of blocks are beyond both.
    unsafe_bytes: usize,
    /// After how many of them the store is made safe.
    window_bytes: usize,
    /// About how many bytes of blocks are in one message to others.
    message_bytes: usize,
    /// K: the state is frozen at every height that is a multiple of it; never if 0.
    snapshot_every: u64,
    /// How many blocks are kept whole at least; all if 0.
    keep_blocks: u64,
    /// Below this height no block is needed by whoever gets a state from here.
    offered: Height,
    /// The same, as far as the frozen states that it rests on survive a power cut.
    prunable: Height,
    /// Below this height nothing is left to prune.
    pruned: Height,
    /// Who gets which frozen state.
    demand: Arc<Demand>,
    /// At how many heights in a row no state was frozen because somebody gets one that would go.
    held: u64,
}

/// A checkpoint that was begun.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// What was applied then.
    height: Height,
    /// What may be pruned once it is through.
    prunable: Height,
}

/// How many blocks are pruned at once, at least: the next ones wait no longer for it than for a batch.
const PRUNED: u64 = 64;

impl<S: Store> Applier<S> {
    pub(crate) fn new(
        store: S,
        commitment: Commitment,
        standing: Standing,
        writers: Writers,
        limits: &Limits,
    ) -> Result<Self, S::Error> {
        let (reader, checkpointed) = (store.reader(), standing.applied.block.height);
        let rosters = Pending::restored(&reader, &standing)?;
        Ok(Self {
            store,
            reader,
            commitment,
            standing,
            rosters,
            writers,
            checkpointed,
            checkpoint_every: limits.checkpoint_every,
            under_way: None,
            unsafe_bytes: 0,
            window_bytes: limits.window_bytes,
            message_bytes: limits.message_bytes,
            snapshot_every: limits.snapshot_every,
            keep_blocks: limits.keep_blocks,
            offered: Height::ZERO,
            prunable: Height::ZERO,
            pruned: Height::ZERO,
            demand: Arc::default(),
            held: 0,
        })
    }

    /// Applies committed blocks, in one transaction of the store; in several, if a state is to be frozen
    /// between them.
    ///
    /// # Errors
    /// If the store failed, or the state in it is damaged: then the node must stop.
    ///
    /// # Panics
    /// If the blocks do not follow the applied tip.
    pub fn apply(
        &mut self,
        jobs: impl IntoIterator<Item = ApplyJob>,
    ) -> Result<Applied, ApplyError<S::Error>> {
        let mut applied = Vec::new();
        let mut run = Vec::new();
        let size = |(block, _): &(Checked<Block>, Anchor)| block.bytes().len();
        let mut bytes = 0;
        for ApplyJob { blocks, certificate } in jobs {
            let more: usize = blocks.iter().map(size).sum();
            let many = run.len() + blocks.len() > RANGE;
            if !run.is_empty() && (bytes + more > self.message_bytes || many) {
                // Of the certificates of a transaction the store keeps the last one, and others want more.
                applied.extend(self.apply_run(std::mem::take(&mut run))?);
                bytes = 0;
            }
            bytes += more;
            for (block, anchor) in blocks {
                let height = anchor.block.height;
                run.push((block, anchor, certificate.clone()));
                if self.is_frozen_at(height) {
                    applied.extend(self.apply_run(std::mem::take(&mut run))?);
                    self.freeze()?;
                }
            }
        }
        applied.extend(self.apply_run(run)?);
        self.look_after_checkpoint()?;
        self.prune(applied.len())?;
        Ok(Applied { blocks: applied, checkpointed: self.checkpointed })
    }

    /// Has what was applied made safe once there is much of it, and does not wait for that: only if there is as much again
    /// before it is through, because then the chain grows faster than the disk takes it.
    fn look_after_checkpoint(&mut self) -> Result<(), ApplyError<S::Error>> {
        self.note_safe()?;
        let height = self.standing.applied.block.height;
        let begun = self.under_way.map_or(self.checkpointed, |begun| begun.height);
        let far = height.get() - begun.get() >= self.checkpoint_every;
        if !far && self.unsafe_bytes < self.window_bytes {
            return Ok(());
        }
        if self.under_way.is_some() {
            return self.checkpoint().map(drop);
        }
        self.store.begin_checkpoint().map_err(ApplyError::Store)?;
        self.under_way = Some(UnderWay { height, prunable: self.offered });
        self.unsafe_bytes = 0;
        self.note_safe()
    }

    /// Learns whether the checkpoint that was begun is through.
    fn note_safe(&mut self) -> Result<(), ApplyError<S::Error>> {
        let Some(UnderWay { height, prunable }) = self.under_way else { return Ok(()) };
        if self.store.is_safe().map_err(ApplyError::Store)? {
            (self.checkpointed, self.prunable) = (height, prunable);
            self.under_way = None;
        }
        Ok(())
    }

    /// Freezes the state, unless the newest frozen one is still to be named by a header. A store keeps two, and one
    /// that can be offered must not go for one that cannot yet, or, where a quorum applies slowly, there would
    /// never be one, and blocks that others lack have been pruned because there was. Nor may it go when headers
    /// have passed over the newest: where a quorum applies in leaps, not every height for a snapshot is named.
    ///
    /// One that somebody gets shall be got whole, so it does not go either as long as that may take.
    fn freeze(&mut self) -> Result<(), ApplyError<S::Error>> {
        self.demand.pass();
        let applied = self.standing.applied.block.height;
        let frozen = self.reader.frozen().map_err(ApplyError::Store)?;
        let newest = frozen.first().map(|standing| standing.applied.block.height);
        let named = self.reader.block(applied).map_err(ApplyError::Store)?;
        let named = named.map(|block| block.header().executed);
        if frozen.len() > 1 && named < newest {
            return Ok(());
        }
        let offered = snapshot::newest(&self.reader).map_err(ApplyError::Store)?;
        let kept = offered.as_ref().map(|snapshot| snapshot.block.height).or(newest);
        if self.is_wanted(frozen.iter().find(|it| Some(it.applied.block.height) != kept)) {
            self.held += 1;
            return Ok(());
        }
        self.held = 0;
        self.store.freeze(kept).map_err(ApplyError::Store)?;
        if self.keep_blocks > 0 && offered.is_some() {
            // Who gets it needs the blocks above it, too.
            self.offered = kept.unwrap_or(self.offered);
        }
        Ok(())
    }

    /// Whether somebody gets this frozen state, and has not been waited for longer than it may take.
    fn is_wanted(&self, frozen: Option<&Standing>) -> bool {
        frozen.is_some_and(|standing| {
            let entries = standing.size.map_or(0, |size| size.count);
            self.demand.is_for(standing.applied.block.height) && self.held < timeouts(entries)
        })
    }

    /// Forgets old blocks: a few more than have been applied, so that it comes to an end.
    fn prune(&mut self, applied: usize) -> Result<(), ApplyError<S::Error>> {
        let kept = self.standing.applied.block.height.get().saturating_sub(self.keep_blocks);
        let goal = self.prunable.get().min(kept).min(self.checkpointed.get());
        if self.keep_blocks == 0 || goal <= self.pruned.get() {
            return Ok(());
        }
        let oldest = self.reader.oldest().map_err(ApplyError::Store)?;
        self.pruned = Height::new(goal);
        if let Some(oldest) = oldest.map(Height::get).filter(|oldest| *oldest < goal) {
            let step = PRUNED.max(2 * applied as u64);
            self.pruned = Height::new(goal.min(oldest + step));
            self.store.prune(self.pruned).map_err(ApplyError::Store)?;
        }
        Ok(())
    }

    fn is_frozen_at(&self, height: Height) -> bool {
        self.snapshot_every > 0 && height.get().is_multiple_of(self.snapshot_every)
    }

    /// Applies blocks, each with the certificate that covers it, in one transaction of the store.
    fn apply_run(
        &mut self,
        run: Vec<(Checked<Block>, Anchor, Checked<Certificate>)>,
    ) -> Result<Vec<AppliedBlock>, ApplyError<S::Error>> {
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let steps = self.rosters.complete(&self.reader, &run).map_err(ApplyError::Store)?;
        let Self { store, commitment, standing: stands, unsafe_bytes, writers, .. } = self;
        let mut applied = Vec::new();
        store.apply_from(|state| {
            let (mut overlay, mut blocks) = (Overlay::new(state), Vec::new());
            let mut standing = stands.clone();
            for (block, anchor, certificate) in run {
                let (header, height) = (block.header(), anchor.block.height);
                let follows = header.parent == standing.applied.block.hash;
                assert!(follows, "blocks are applied one after the other");
                let rules = Rules::under(&anchor.roster, *writers);
                let done = execute(&overlay, &rules, height, &block.body().transactions)?;
                let moved = commitment.advance(&done, &overlay);
                let leaves = moved.map_err(ApplyError::State)?;
                let (state_root, outcomes) = (commitment.root(), done.outcomes);
                let at = anchor.block;
                *unsafe_bytes += block.bytes().len();
                applied.push(AppliedBlock { block: at, state_root, outcomes: outcomes.clone() });
                overlay.extend(done.changes, leaves);
                let begins = anchor.roster_since == height;
                let roster = begins.then(|| anchor.roster.clone());
                blocks.push(Executed { block, roster, outcomes, writes: done.writes, state_root });
                standing.applied = anchor;
                standing.state_root = state_root;
                standing.size = Some(commitment.entries().size());
                standing.certificate = Some(certificate);
            }
            standing.outcomes = commitment.outcomes();
            let tip = standing.applied.block;
            standing.replaced = standing.replaced.and_then(|replaced| replaced.above(tip));
            let (changes, leaves) = overlay.into_changes();
            *stands = standing.clone();
            Ok::<_, ApplyError<S::Error>>(Batch { blocks, changes, leaves, steps, standing })
        })?;
        Ok(applied)
    }

    /// Stages entries of a snapshot. Returns whether the store takes snapshots.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn stage(&mut self, job: StageJob) -> Result<bool, ApplyError<S::Error>> {
        self.store.stage(job.entries, job.first).map_err(ApplyError::Store)
    }

    /// Installs the snapshot whose entries have been staged, if they make the state root that it names. It
    /// survives a power cut. Returns whether it was installed; if not, nothing has changed.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn install(&mut self, job: InstallJob) -> Result<bool, ApplyError<S::Error>> {
        let InstallJob { standing, header, steps } = job;
        let leaves = pages(|after, limit| self.reader.staged_leaves(after, limit));
        let tree = match StateTree::rebuild(leaves) {
            Ok(tree) => tree,
            Err(StateTreeError::Leaves(error)) => return Err(ApplyError::Store(error)),
            Err(_) => return Ok(false),
        };
        let commitment = Commitment::new(tree, standing.outcomes);
        if commitment.root() != standing.state_root {
            return Ok(false);
        }
        let frozen = self.snapshot_every > 0;
        let install = Install { standing: standing.clone(), header, frozen, steps };
        if !self.store.install(install).map_err(ApplyError::Store)? {
            return Ok(false);
        }
        (self.standing, self.commitment) = (standing, commitment);
        self.rosters = Pending::NONE;
        self.checkpoint()?;
        Ok(true)
    }

    /// Keeps a certificate that more have signed than the one that is kept.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn keep(&mut self, certificate: Checked<Certificate>) -> Result<(), ApplyError<S::Error>> {
        self.store.keep(certificate.into_inner()).map_err(ApplyError::Store)
    }

    /// Keeps evidence.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn convict(&mut self, conviction: &Conviction) -> Result<(), ApplyError<S::Error>> {
        let (key, evidence) = (conviction.key().clone(), conviction.evidence().get().clone());
        self.store.convict(Convicted { key, evidence }).map_err(ApplyError::Store)
    }

    /// There is nothing to apply at the moment.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn pause(&mut self) -> Result<(), ApplyError<S::Error>> {
        self.store.pause().map_err(ApplyError::Store)
    }

    /// There is nothing to apply for a while.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn settle(&mut self) -> Result<(), ApplyError<S::Error>> {
        self.store.settle().map_err(ApplyError::Store)
    }

    /// Makes all that was applied survive a power cut. Returns up to which height.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn checkpoint(&mut self) -> Result<Height, ApplyError<S::Error>> {
        self.store.checkpoint().map_err(ApplyError::Store)?;
        (self.checkpointed, self.unsafe_bytes) = (self.standing.applied.block.height, 0);
        (self.prunable, self.under_way) = (self.offered, None);
        Ok(self.checkpointed)
    }

    /// Where the store stands.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Where it is told who gets which frozen state.
    #[must_use]
    pub const fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// The store, to look at.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Gives the store back.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }
}
