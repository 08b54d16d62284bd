//! Reading the log back: what stands above the applied tip.
//!
//! A log that is whole is read strictly: what cannot be is an error. Of a damaged one everything is read
//! that is left, and then the question is whether it says as much as the whole one did.
//!
//! A branch of several parts counts only with its last one, and its parts are pruned from the front. Parts
//! without the ones before them are read if what is missing is applied: if their first block stands at most
//! one above the applied one. Anything else without its beginning is a loss, and so are parts at the end of the
//! log whose blocks are applied all the same: nobody applies a branch that is not durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::codec::{Decode, DecodeError};
use quorate_chain::ids::{BlockRef, Height, Term};
use quorate_wal::{Entry, Lsn, Record, Report};

use crate::record::{BRANCH, CERTIFICATE, Part, START};

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
        /// The lowest block above it that does not follow.
        found: BlockRef,
    },
    /// Parts of a branch without the ones before them, which had blocks above the applied tip.
    #[error("record {lsn} goes on with {found}, and the parts of its branch before it are gone")]
    Headless {
        /// The first such record.
        lsn: Lsn,
        /// Its first block.
        found: BlockRef,
    },
    /// Parts of a branch without its last one, although it was durable: blocks of it are applied.
    #[error("the branch above {above} has no end, and {applied}, which is of it, is applied")]
    Endless {
        /// The block that the branch stands on.
        above: BlockRef,
        /// The applied tip.
        applied: BlockRef,
    },
}

impl ReplayError {
    /// Whether the log has lost records that it had: then it is repaired like a damaged one.
    pub(crate) const fn is_loss(&self) -> bool {
        match self {
            Self::Headless { .. } | Self::Endless { .. } => true,
            Self::Record { .. } | Self::Kind { .. } | Self::Gap { .. } => false,
        }
    }
}

/// What a log has above the applied tip.
#[derive(Debug, Default)]
pub(crate) struct Above {
    /// The blocks, in order.
    pub(crate) blocks: Vec<Checked<Block>>,
    /// Certificates for them, and perhaps for some that were lost, by height.
    pub(crate) certificates: Vec<Checked<Certificate>>,
    /// In which term a block took the place of another at its height, and the highest one of that term that
    /// was there before.
    pub(crate) replaced: (Term, Height),
    /// The highest rank of all blocks in the records.
    pub(crate) highest: (Term, Height),
}

impl Above {
    /// How many of the blocks name a state that is covered by a certificate, one of these or one for a block
    /// at a height.
    pub(crate) fn covered(&self, floor: Height) -> usize {
        let heights = self.certificates.iter().map(|certificate| certificate.block().height);
        let highest = heights.fold(floor, Height::max);
        self.blocks.iter().take_while(|block| block.header().executed <= highest).count()
    }
}

/// Reads the records of a log, one after the other.
#[derive(Debug)]
pub(crate) struct Replay {
    applied: BlockRef,
    /// The chain above the applied tip, as far as it has been read.
    chain: BTreeMap<Height, Block>,
    /// The commit certificates for blocks above it.
    certificates: BTreeMap<Height, Certificate>,
    /// In which term a block took the place of another, and the highest one that was there before.
    replaced: (Term, Height),
    highest: (Term, Height),
    /// The parts of a branch whose last part has not come yet.
    parts: Vec<Part>,
    /// The first part without the ones before it that cannot be read, and the last one.
    headless: Option<(ReplayError, Lsn)>,
    wrong: Option<ReplayError>,
    /// Where the log begins anew, if it says so.
    started: Option<BlockRef>,
    /// The newest preamble that is a record.
    preamble: Lsn,
    /// The newest record that says how the chain ends, whatever stood before it.
    joined: Lsn,
}

impl Replay {
    pub(crate) fn new(applied: BlockRef) -> Self {
        Self {
            applied,
            chain: BTreeMap::new(),
            certificates: BTreeMap::new(),
            replaced: (Term::ZERO, Height::ZERO),
            highest: (Term::ZERO, Height::ZERO),
            parts: Vec::new(),
            headless: None,
            wrong: None,
            started: None,
            preamble: Lsn::ZERO,
            joined: Lsn::ZERO,
        }
    }

    /// The next record.
    pub(crate) fn visit(&mut self, record: &Record<'_>) {
        let read = self.read(record);
        self.wrong = self.wrong.take().or(read.err());
    }

    fn read(&mut self, record: &Record<'_>) -> Result<(), ReplayError> {
        let lsn = record.lsn;
        let wrong = |why| ReplayError::Record { lsn, why };
        if !matches!(record.entry, Entry::Record { kind: BRANCH, .. }) {
            // Nothing is ever written between the parts of a branch: a crash has left these.
            self.parts.clear();
        }
        match record.entry {
            // The newest one counts, and the log says which that is.
            Entry::Preamble(_) => self.preamble = lsn,
            Entry::Record { kind: BRANCH, payload, .. } => {
                let part = Part::from_bytes(&Bytes::copy_from_slice(payload));
                self.part(lsn, part.map_err(wrong)?);
            }
            Entry::Record { kind: CERTIFICATE, payload, .. } => {
                let certificate = Certificate::from_bytes(&Bytes::copy_from_slice(payload));
                let certificate = certificate.map_err(wrong)?;
                let height = certificate.block().height;
                if height > self.applied.height {
                    self.certificates.insert(height, certificate);
                }
            }
            Entry::Record { kind: START, payload, .. } => {
                let block = BlockRef::from_bytes(&Bytes::copy_from_slice(payload));
                self.started = Some(block.map_err(wrong)?);
                self.headless = None;
                self.chain.clear();
                self.certificates.clear();
                self.joined = lsn;
            }
            Entry::Record { kind, .. } => return Err(ReplayError::Kind { lsn, kind }),
        }
        Ok(())
    }

    fn part(&mut self, lsn: Lsn, part: Part) {
        if !self.parts.last().is_some_and(|last| goes_on(last, &part)) {
            // A crash may have left the parts before it without their last one.
            self.parts.clear();
            let found = part.blocks[0].block_ref();
            let next = self.applied.height.next();
            if part.number > 0 && next.is_some_and(|next| found.height > next) {
                let first = ReplayError::Headless { lsn, found };
                let first = self.headless.take().map_or(first, |(first, _)| first);
                self.headless = Some((first, lsn));
                return;
            }
        }
        let more = part.more;
        self.parts.push(part);
        if !more {
            let parts = std::mem::take(&mut self.parts);
            let above = parts[0].above;
            self.branch(lsn, above, parts.into_iter().flat_map(|part| part.blocks));
        }
    }

    fn branch(&mut self, lsn: Lsn, above: BlockRef, blocks: impl Iterator<Item = Block>) {
        let applied = self.applied;
        let cut = match above.height.next() {
            Some(first) => self.chain.split_off(&first),
            None => BTreeMap::new(),
        };
        let below = self.chain.get(&above.height).map(Block::block_ref);
        let mut joins = above == applied || below == Some(above);
        for block in blocks {
            let at = block.block_ref();
            self.highest = self.highest.max(at.rank());
            // A branch from below that goes through the applied block, whose part before it may be pruned.
            joins |= at == applied || block.header().parent == applied.hash;
            let before = cut.get(&at.height).map(Block::block_ref);
            if before.is_some_and(|before| before.term == at.term && before != at) {
                let heights = cut.values().map(Block::block_ref).filter(|it| it.term == at.term);
                let last = heights.map(|it| it.height).max().unwrap_or_default();
                self.replaced = self.replaced.max((at.term, last));
            }
            if at.height > applied.height {
                self.chain.insert(at.height, block);
            }
        }
        if joins {
            self.joined = lsn;
        }
    }

    /// Whether the log begins anew at this block.
    pub(crate) fn is_started_at(&self, block: BlockRef) -> bool {
        self.started == Some(block)
    }

    /// What was lost of branches of several parts.
    pub(crate) fn loss(&self) -> Option<ReplayError> {
        let headless = self.headless.as_ref().map(|(first, _)| first.clone());
        headless.or_else(|| self.endless())
    }

    /// The branch at the end that was durable, and whose last part is not there.
    fn endless(&self) -> Option<ReplayError> {
        let (applied, first) = (self.applied, self.parts.first()?);
        let reached = first.blocks[0].block_ref().height <= applied.height;
        reached.then_some(ReplayError::Endless { above: first.above, applied })
    }

    /// What stands above the applied tip, of a log that is whole.
    pub(crate) fn finish(mut self) -> Result<Above, ReplayError> {
        if let Some(wrong) = self.wrong.take().or_else(|| self.loss()) {
            return Err(wrong);
        }
        let (applied, count) = (self.applied, self.chain.len());
        let first_bad = self.chain.values().map(Block::block_ref).nth(self.linked());
        let above = self.salvaged();
        match first_bad {
            Some(found) if above.blocks.len() < count => Err(ReplayError::Gap { applied, found }),
            Some(_) | None => Ok(above),
        }
    }

    /// What is left of a log that is from before the snapshot in the store: none of its blocks, but what it has had still
    /// binds votes.
    pub(crate) fn replaced(self) -> Above {
        Above { highest: self.highest, ..Above::default() }
    }

    /// How many blocks follow the applied one without a gap.
    fn linked(&self) -> usize {
        let mut below = self.applied;
        let linked = self.chain.values().take_while(|block| {
            let here = block.block_ref();
            let follows =
                Some(here.height) == below.height.next() && block.header().parent == below.hash;
            below = here;
            follows
        });
        linked.count()
    }

    /// What stands above the applied block, of a log that is damaged, as far as there is anything: the
    /// blocks that follow it, and certificates.
    pub(crate) fn salvaged(self) -> Above {
        let linked = self.linked();
        // Bodies and certificates were checked before they were written, and the core judges the rest again.
        let blocks = self.chain.into_values().take(linked).map(Checked::vouch).collect();
        let certificates = self.certificates.into_values().map(Checked::vouch).collect();
        Above { blocks, certificates, replaced: self.replaced, highest: self.highest }
    }

    /// Whether what is left of a damaged log says as much as the whole log did: after the last record
    /// that is lost comes a ballot, and a branch that stands on a block known here. Such a branch names
    /// all blocks below it by hash, and cuts whatever else stood above that block. (Blocks of higher rank that a liar
    /// had sealed, in a record that is lost, are not known any more to bind votes; who has seen an ack for one says so
    /// when the validator greets.)
    pub(crate) fn is_whole(&self, report: Option<&Report>) -> bool {
        let damages = report.map_or(&[][..], |report| &report.damages);
        let lossy = || damages.iter().filter(|damage| damage.loses_records());
        let last_lost = lossy().map(|damage| damage.next.map(Lsn::before)).max().flatten();
        let headless = self.headless.as_ref().map(|(_, last)| *last);
        let last_lost = last_lost.max(headless).unwrap_or(Lsn::ZERO);
        let known = lossy().all(|damage| damage.next.is_some()) && self.wrong.is_none();
        let all_linked = self.linked() == self.chain.len();
        known
            && all_linked
            && self.endless().is_none()
            && (last_lost == Lsn::ZERO || last_lost < self.preamble.min(self.joined))
    }
}

/// Whether a part is the next one of the branch that another part is of.
fn goes_on(last: &Part, next: &Part) -> bool {
    let below = last.blocks.last().map(Block::block_ref);
    let stands = below.is_some_and(|below| next.blocks[0].header().parent == below.hash);
    last.number.checked_add(1) == Some(next.number) && last.above == next.above && stands
}

#[cfg(test)]
mod tests;
