//! The applier: it owns the store's writer, and applies committed blocks.
//!
//! Blocks are executed in order on the state in the store and the changes of the batch so far, the
//! commitment to the state is moved on with each, and all of it goes to the store as one
//! transaction: blocks, outcomes, state, rosters, the certificate, the applied height. So after any crash
//! they are there together or not at all.
//!
//! After an error the applier is of no more use: the node must stop, and open what is on the disk.

use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::commitment::{Commitment, leaf_changes};
use quorate_chain::execute::{Rules, Writers, execute};
use quorate_chain::ids::Height;
use quorate_chain::state_root::StateTreeError;

use crate::io::{Applied, AppliedBlock, ApplyJob};
use crate::overlay::Overlay;
use crate::store::{Batch, Executed, Standing, Store};

/// Why blocks could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E> {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[source] E),
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
    writers: Writers,
    /// The height that survives a power cut.
    checkpointed: Height,
    checkpoint_every: u64,
}

impl<S: Store> Applier<S> {
    pub(crate) fn new(
        store: S,
        commitment: Commitment,
        standing: Standing,
        writers: Writers,
        checkpoint_every: u64,
    ) -> Self {
        let (reader, checkpointed) = (store.reader(), standing.applied.block.height);
        Self { store, reader, commitment, standing, writers, checkpointed, checkpoint_every }
    }

    /// Applies committed blocks, in one transaction of the store.
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
        let mut overlay = Overlay::new(&self.reader);
        let (mut blocks, mut applied) = (Vec::new(), Vec::new());
        let mut standing = self.standing.clone();
        for job in jobs {
            for (block, anchor) in job.blocks {
                let (header, height) = (block.header(), anchor.block.height);
                let follows = header.parent == standing.applied.block.hash;
                assert!(follows, "blocks are applied one after the other");
                let rules = Rules::under(&anchor.roster, self.writers);
                let done = execute(&overlay, &rules, height, &block.body().transactions);
                let done = done.map_err(ApplyError::Store)?;
                let moved = self.commitment.advance(&done, &overlay);
                moved.map_err(ApplyError::State)?;
                let state_root = self.commitment.root();
                applied.push(AppliedBlock {
                    block: anchor.block,
                    state_root,
                    outcomes: done.outcomes.clone(),
                });
                let leaves = leaf_changes(&done.changes);
                overlay.extend(done.changes, leaves);
                let begins = anchor.roster_since == height;
                let roster = begins.then(|| anchor.roster.clone());
                let (outcomes, writes) = (done.outcomes, done.writes);
                blocks.push(Executed { block, roster, outcomes, writes, state_root });
                standing.applied = anchor;
                standing.state_root = state_root;
            }
            standing.certificate = Some(job.certificate);
        }
        standing.outcomes = self.commitment.outcomes();
        let (changes, leaves) = overlay.into_changes();
        self.standing = standing.clone();
        let batch = Batch { blocks, changes, leaves, standing };
        self.store.apply(batch).map_err(ApplyError::Store)?;
        let height = self.standing.applied.block.height;
        if height.get() - self.checkpointed.get() >= self.checkpoint_every {
            self.checkpoint()?;
        }
        Ok(Applied { blocks: applied, checkpointed: self.checkpointed })
    }

    /// Keeps a certificate that more have signed than the one that is kept.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn keep(&mut self, certificate: Checked<Certificate>) -> Result<(), ApplyError<S::Error>> {
        self.store.keep(certificate.into_inner()).map_err(ApplyError::Store)
    }

    /// Makes all that was applied survive a power cut. Returns up to which height.
    ///
    /// # Errors
    /// If the store failed: then the node must stop.
    pub fn checkpoint(&mut self) -> Result<Height, ApplyError<S::Error>> {
        self.store.checkpoint().map_err(ApplyError::Store)?;
        self.checkpointed = self.standing.applied.block.height;
        Ok(self.checkpointed)
    }

    /// Where the store stands.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
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
