//! Reading the log back: what stands above the applied tip.
//!
//! A log that is whole is read strictly: what cannot be is an error. Of a damaged one everything is read
//! that is left, and then the question is whether it says as much as the whole one did.

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
                self.parts.clear();
                self.chain.clear();
                self.certificates.clear();
                self.joined = lsn;
            }
            Entry::Record { kind, .. } => return Err(ReplayError::Kind { lsn, kind }),
        }
        Ok(())
    }

    fn part(&mut self, lsn: Lsn, part: Part) {
        if part.number == 0 {
            // A crash may have left the parts before it without their last one.
            self.parts.clear();
        }
        let follows = self.parts.last().is_none_or(|last| last.above == part.above);
        if part.number as usize != self.parts.len() || !follows {
            return;
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
            // A branch from below that goes through the applied block.
            joins |= at == applied;
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

    /// What stands above the applied tip, of a log that is whole.
    pub(crate) fn finish(self) -> Result<Above, ReplayError> {
        if let Some(wrong) = self.wrong {
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
    pub(crate) fn is_whole(&self, report: &Report) -> bool {
        let lossy = || report.damages.iter().filter(|damage| damage.loses_records());
        let last_lost = lossy().map(|damage| damage.next.map(Lsn::before)).max();
        let known = lossy().all(|damage| damage.next.is_some()) && self.wrong.is_none();
        let last_lost = last_lost.flatten().unwrap_or(Lsn::ZERO);
        let all_linked = self.linked() == self.chain.len();
        known
            && all_linked
            && (last_lost == Lsn::ZERO || last_lost < self.preamble.min(self.joined))
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::block::{BlockKind, Body, Draft};
    use quorate_chain::crypto::SecretKey;
    use quorate_chain::ids::{BlockHash, ChainId, NodeId, RosterHash, StateRoot, TimeUs};

    use super::*;

    const GENESIS: BlockRef =
        BlockRef { term: Term::ZERO, height: Height::ZERO, hash: BlockHash::ZERO };

    fn block(parent: BlockRef, term: u64, time: u64) -> Block {
        naming(Height::ZERO, parent, term, time)
    }

    fn naming(executed: Height, parent: BlockRef, term: u64, time: u64) -> Block {
        let draft = Draft {
            chain_id: ChainId::ZERO,
            roster_hash: RosterHash::ZERO,
            kind: BlockKind::Transactions,
            parent,
            term: Term::new(term),
            proposer: NodeId::new(0),
            time: TimeUs::new(time),
            executed,
            state_root: StateRoot::ZERO,
            body: Body { item: None, transactions: Vec::new() },
        };
        let sealed = Block::seal(draft, &SecretKey::from_seed(&[1; 32]));
        sealed.expect("a block without transactions is small").into_inner()
    }

    #[test]
    fn blocks_that_took_the_place_of_others_of_their_term_are_found() {
        let mut replay = Replay::new(GENESIS);
        let first = block(GENESIS, 2, 0);
        let second = block(first.block_ref(), 2, 0);
        let third = block(second.block_ref(), 2, 0);
        let chain = || [&first, &second, &third].into_iter().cloned();
        replay.branch(Lsn::ZERO, GENESIS, chain());
        // The same blocks once more, and others of a later term, replace nothing that could be acked again.
        replay.branch(Lsn::ZERO, GENESIS, chain());
        replay.branch(Lsn::ZERO, first.block_ref(), [block(first.block_ref(), 3, 0)].into_iter());
        assert_eq!(replay.replaced, (Term::ZERO, Height::ZERO));
        replay.branch(Lsn::ZERO, GENESIS, chain());
        let twin = block(first.block_ref(), 2, 1);
        replay.branch(Lsn::ZERO, first.block_ref(), [twin].into_iter());
        assert_eq!(replay.replaced, (Term::new(2), Height::new(3)));
        let above = replay.replaced();
        assert!(above.blocks.is_empty());
        // The block of term 3, which has long been replaced.
        assert_eq!(above.highest, (Term::new(3), Height::new(2)));
    }

    #[test]
    fn a_branch_cuts_all_that_stood_above_its_parent() {
        let mut replay = Replay::new(GENESIS);
        let first = block(GENESIS, 2, 0);
        let second = block(first.block_ref(), 2, 0);
        let third = block(second.block_ref(), 2, 0);
        let other = block(first.block_ref(), 3, 0);
        let stays = [first.block_ref(), other.block_ref()];
        replay.branch(Lsn::ZERO, GENESIS, [first.clone(), second, third].into_iter());
        replay.branch(Lsn::ZERO, first.block_ref(), [other].into_iter());
        let above = replay.finish().expect("it is whole");
        let held: Vec<_> = above.blocks.iter().map(|block| block.block_ref()).collect();
        assert_eq!(held, stays);
    }

    #[test]
    fn a_block_whose_certificate_is_lost_is_not_covered() {
        let first = block(GENESIS, 1, 0);
        let second = naming(first.block_ref().height, first.block_ref(), 1, 0);
        let blocks = vec![Checked::vouch(first), Checked::vouch(second)];
        let above = Above { blocks, ..Above::default() };
        assert_eq!(above.covered(Height::ZERO), 1);
        assert_eq!(above.covered(Height::new(1)), 2);
    }
}
