//! Reading the log back: what stands above the applied tip.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_chain::block::Block;
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, DecodeError};
use quorate_chain::ids::{BlockRef, Height};
use quorate_wal::{Entry, Lsn, Record};

use crate::record::{BRANCH, Part};

/// Why the log is not one of a replica.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record that cannot be read.
    #[error("record {lsn}: {why}")]
    Record {
        /// The record.
        lsn: Lsn,
        /// What is wrong with it.
        why: DecodeError,
    },
    /// A record of a kind that no version writes.
    #[error("record {lsn} has the unknown kind {kind}")]
    Kind {
        /// The record.
        lsn: Lsn,
        /// Its kind.
        kind: u8,
    },
    /// The blocks of the log do not continue the applied tip.
    #[error("the log goes on with {found} above the applied block {applied}")]
    Gap {
        /// The applied tip.
        applied: BlockRef,
        /// The lowest block above it.
        found: BlockRef,
    },
}

/// Reads the records of a log, one after the other.
#[derive(Debug)]
pub(crate) struct Replay {
    applied: BlockRef,
    /// The chain above the applied tip, as far as it has been read.
    chain: BTreeMap<Height, Block>,
    /// The parts of a branch whose last part has not come yet.
    parts: Vec<Part>,
    wrong: Option<ReplayError>,
}

impl Replay {
    pub(crate) fn new(applied: BlockRef) -> Self {
        let (chain, parts) = (BTreeMap::new(), Vec::new());
        Self { applied, chain, parts, wrong: None }
    }

    /// The next record.
    pub(crate) fn visit(&mut self, record: &Record<'_>) {
        if self.wrong.is_none() {
            self.wrong = self.read(record).err();
        }
    }

    fn read(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        let lsn = record.lsn;
        let wrong = |why| ReplayError::Record { lsn, why };
        match record.entry {
            // The newest one counts, and the log says which that is.
            Entry::Preamble(_) => {}
            Entry::Record { kind: BRANCH, payload, .. } => {
                let part = Part::from_bytes(&Bytes::copy_from_slice(payload));
                self.part(part.map_err(wrong)?);
            }
            Entry::Record { kind, .. } => return Err(ReplayError::Kind { lsn, kind }),
        }
        Ok(())
    }

    fn part(&mut self, part: Part) {
        if part.number as usize != self.parts.len() {
            // A crash has left the parts before it without their last one.
            self.parts.clear();
        }
        if part.number as usize != self.parts.len() {
            return;
        }
        let more = part.more;
        self.parts.push(part);
        if !more {
            for part in std::mem::take(&mut self.parts) {
                self.branch(part);
            }
        }
    }

    fn branch(&mut self, part: Part) {
        if part.number == 0 {
            self.chain.retain(|height, _| *height <= part.above.height);
        }
        let applied = self.applied.height;
        for block in part.blocks {
            let height = block.block_ref().height;
            if height > applied {
                self.chain.insert(height, block);
            }
        }
    }

    /// The blocks above the applied tip.
    pub(crate) fn finish(self) -> Result<Vec<Checked<Block>>, ReplayError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let mut below = self.applied;
        let mut blocks = Vec::with_capacity(self.chain.len());
        for block in self.chain.into_values() {
            let found = block.block_ref();
            if Some(found.height) != below.height.next() || block.header().parent != below.hash {
                return Err(ReplayError::Gap { applied: self.applied, found });
            }
            below = found;
            // Its body was checked before it was written, and the core judges the rest again.
            blocks.push(Checked::vouch(block));
        }
        Ok(blocks)
    }
}
