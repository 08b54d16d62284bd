//! The blocks above the applied tip, and what must be known of each to judge the next.
//!
//! Invariants, checked by [`Log::check_whole`], and as far as a step can break them by [`Log::check`]:
//! - each block is well formed on the one before, the first one on the applied tip;
//! - applied ≤ committed ≤ tip, by height;
//! - a block at or below the committed tip is never cut (Raft §5.4.3).
//!
//! Raft's Log Matching (§5.3) holds by construction: a block has its parent's hash.
//!
//! **Ancestors.** A block that changes the roster names a certified block that must be its ancestor, at or
//! above the first one of the roster that it leaves (`chain` leaves that to those who hold the chain).
//! It is compared as a whole, height, term and hash. Above the applied tip the blocks are here. Of those
//! below, the refs are kept: only of blocks under the roster in force at the applied tip, for no other can
//! be named, and at most [`limits::PATH`] of them, for no block further below can be. What is not known
//! all the same, because a life or a snapshot began above it, is not compared: a certificate for a block
//! there that is no ancestor contradicts the one by which its height was committed here, so a quorum has
//! lied, and the two certificates convict it wherever they meet.
//!
//! Left out: everything else of what is below the applied tip. The store has it.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_chain::block::{Block, BlockKind, Header, Item};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::{ValidatorKey, Verifier};
use quorate_chain::ids::{BlockRef, ChainId, Height, NodeId, Term, TimeUs};
use quorate_chain::limits;
use quorate_chain::roster::Roster;
use quorate_chain::statement::Statement;
use quorate_chain::well_formed::{self, Malformed, Parent};

use crate::judge::Proven;
use crate::progress::after;

/// What must be known of a block to judge its child.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Its place and name.
    pub block: BlockRef,
    /// What it is for; the genesis is no block.
    pub kind: Option<BlockKind>,
    /// Its time.
    pub time: TimeUs,
    /// Who leads its term, and with which key; nobody at the genesis.
    pub leader: Option<(NodeId, ValidatorKey)>,
    /// The roster in force at it.
    pub roster: Arc<Roster>,
    /// The first height under that roster.
    pub roster_since: Height,
}

impl Anchor {
    fn parent(&self) -> Parent<'_> {
        Parent {
            block: self.block,
            time: self.time,
            proposer: self.leader.as_ref().map(|(id, _)| *id),
            roster: &self.roster,
        }
    }
}

/// Why a block cannot follow another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It may not stand there.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its proposer did not sign it.
    #[error("proposer {proposer} did not sign it, or is not known")]
    Unsigned {
        /// Who should have signed.
        proposer: NodeId,
    },
    /// It changes the roster on the word of a certificate for a block that is not below it, or that the
    /// roster is older than.
    #[error(
        "its certificate is for {certified}, which is no ancestor under the roster that it leaves"
    )]
    NoAncestor {
        /// The certified block.
        certified: BlockRef,
    },
}

/// A block with what is known of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The block.
    pub block: Checked<Block>,
    /// What its child is judged by.
    pub anchor: Anchor,
    /// The certificate that it opened its term with, if it did.
    pub opening: Option<Proven>,
}

/// Most rosters remembered after they were left.
pub const LEFT: usize = 16;

/// The blocks above the applied tip.
#[derive(Clone, Debug)]
pub struct Log {
    /// Ancestors of the applied tip under its roster, lowest first.
    ancestors: VecDeque<BlockRef>,
    /// The newest rosters that were left at or below the committed tip, oldest first.
    left: VecDeque<Arc<Roster>>,
    applied: Anchor,
    /// Of the applied block, if it has been here: it may be needed to convict who seals on it.
    header: Option<Header>,
    entries: VecDeque<Entry>,
    committed: BlockRef,
    bytes: usize,
    /// The heights of the entries that open a term, in order.
    openings: VecDeque<Height>,
}

impl Log {
    /// An empty log on an applied tip, before which these rosters were left.
    #[must_use]
    pub fn new(applied: Anchor, left: Vec<Arc<Roster>>) -> Self {
        let (ancestors, entries, openings) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let committed = applied.block;
        let mut log = Self {
            ancestors,
            left: VecDeque::new(),
            applied,
            header: None,
            entries,
            committed,
            bytes: 0,
            openings,
        };
        log.leave(left);
        log
    }

    /// Lets go of the ancestors that no block to come can name.
    fn forget_ancestors(&mut self) {
        let since = self.applied.roster_since;
        while let Some(first) = self.ancestors.front() {
            if first.height >= since && self.ancestors.len() <= limits::PATH {
                break;
            }
            self.ancestors.pop_front();
        }
    }

    /// The applied tip.
    #[must_use]
    pub const fn applied(&self) -> &Anchor {
        &self.applied
    }

    /// The last block held.
    #[must_use]
    pub fn tip(&self) -> &Anchor {
        self.entries.back().map_or(&self.applied, |entry| &entry.anchor)
    }

    /// The committed tip.
    #[must_use]
    pub const fn committed(&self) -> BlockRef {
        self.committed
    }

    /// How many blocks it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes its blocks have.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is known of the block at a height, from the applied tip on.
    #[must_use]
    pub fn anchor(&self, height: Height) -> Option<&Anchor> {
        match height.get().checked_sub(self.applied.block.height.get())? {
            0 => Some(&self.applied),
            above => self.entries.get(usize::try_from(above).ok()? - 1).map(|entry| &entry.anchor),
        }
    }

    /// Whether this very block is the applied tip or above it.
    #[must_use]
    pub fn contains(&self, block: BlockRef) -> bool {
        self.anchor(block.height).is_some_and(|anchor| anchor.block == block)
    }

    /// The blocks from a height on, as far as they are held.
    pub fn from(&self, height: Height) -> impl Iterator<Item = &Entry> {
        let below = height.get().saturating_sub(self.applied.block.height.get() + 1);
        self.entries.iter().skip(usize::try_from(below).unwrap_or(usize::MAX))
    }

    /// The rosters in force at the committed tip and above, oldest first.
    pub fn rosters(&self) -> impl Iterator<Item = &Arc<Roster>> {
        let committed = self.anchor(self.committed.height).unwrap_or(&self.applied);
        let above = self.from(after(self.committed.height)).map(|entry| &entry.anchor);
        let brought = above.filter(|anchor| anchor.roster_since == anchor.block.height);
        std::iter::once(committed).chain(brought).map(|anchor| &anchor.roster)
    }

    /// The block at a height, if it is known here.
    pub(crate) fn at(&self, height: Height) -> Option<BlockRef> {
        if let Some(anchor) = self.anchor(height) {
            return Some(anchor.block);
        }
        let at = self.ancestors.binary_search_by_key(&height, |block| block.height).ok()?;
        self.ancestors.get(at).copied()
    }

    /// Checks that the certified block by which a roster is left is an ancestor.
    fn check_ancestor(
        &self,
        parent: &Anchor,
        between: &[Entry],
        item: Option<&Item>,
    ) -> Result<(), Unfit> {
        let certified = match item {
            Some(Item::Enter { certificate, .. } | Item::Leave { certificate }) => {
                certificate.block()
            }
            Some(Item::Opening(_) | Item::Recovery(_)) | None => return Ok(()),
        };
        let mut above = between.iter().map(|entry| entry.anchor.block);
        let branches = between.first().map(|entry| entry.anchor.block.height);
        let known = match branches {
            Some(first) if certified.height >= first => {
                above.find(|block| block.height == certified.height)
            }
            Some(_) | None => self.at(certified.height),
        };
        let other = known.is_some_and(|block| block != certified);
        if other || certified.height < parent.roster_since {
            return Err(Unfit::NoAncestor { certified });
        }
        Ok(())
    }

    /// Judges a block as the child of another, which is held or the last of the blocks `between`, judged
    /// before, that stand between the log and the block. The body has been checked; everything that
    /// rests on the chain is checked here.
    ///
    /// # Errors
    /// Why it cannot stand there.
    pub fn judge(
        &self,
        parent: &Anchor,
        between: &[Entry],
        block: Checked<Block>,
        chain_id: ChainId,
        verifier: &dyn Verifier,
    ) -> Result<Entry, Unfit> {
        let (anchor, opening) = self.weigh(parent, between, &block, chain_id, verifier)?;
        Ok(Entry { block, anchor, opening })
    }

    /// Judges a block without taking it: see [`Log::judge`].
    ///
    /// # Errors
    /// Why it cannot stand there.
    pub fn weigh(
        &self,
        parent: &Anchor,
        between: &[Entry],
        block: &Checked<Block>,
        chain_id: ChainId,
        verifier: &dyn Verifier,
    ) -> Result<(Anchor, Option<Proven>), Unfit> {
        let (header, item) = (block.header(), block.body().item.as_ref());
        let brought = well_formed::check(&parent.parent(), header, item, chain_id, verifier)?;
        self.check_ancestor(parent, between, item)?;
        let changes = brought.is_some();
        let roster = brought.map_or_else(|| Arc::clone(&parent.roster), Arc::new);
        let leader = match &parent.leader {
            Some(leader) if !header.kind.begins_term() => Some(leader.clone()),
            _ => roster.member(header.proposer).map(|member| (member.id, member.key.clone())),
        };
        let unsigned = Unfit::Unsigned { proposer: header.proposer };
        let Some((_, key)) = &leader else { return Err(unsigned) };
        block.signed_header().check(key, verifier).map_err(|_| unsigned)?;
        let roster_since = if changes { header.height } else { parent.roster_since };
        let anchor = Anchor {
            block: block.block_ref(),
            kind: Some(header.kind),
            time: header.time,
            leader,
            roster,
            roster_since,
        };
        let opening = match item {
            Some(Item::Opening(election)) => {
                let roster = Arc::clone(&parent.roster);
                let certificate = election.clone().verify(chain_id, &roster, verifier);
                let certificate = certificate.map_err(Malformed::from)?;
                Some(Proven { certificate, roster })
            }
            Some(Item::Enter { .. } | Item::Leave { .. } | Item::Recovery(_)) | None => None,
        };
        Ok((anchor, opening))
    }

    /// Cuts what stands above a block and puts these in its place.
    ///
    /// # Panics
    /// If the block is not held, a committed block would go, or the entries do not continue it.
    pub fn branch(&mut self, above: BlockRef, entries: Vec<Entry>) {
        assert!(self.contains(above), "a branch stands on a block that is held");
        assert!(above.height >= self.committed.height, "a committed block is never cut");
        while self.tip().block.height > above.height {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= entry.block.bytes().len();
        }
        while self.openings.back().is_some_and(|opening| *opening > above.height) {
            self.openings.pop_back();
        }
        for entry in entries {
            let (here, below) = (entry.anchor.block, self.tip().block);
            assert!(entry.block.header().parent == below.hash, "a branch is one chain");
            assert!(Some(here.height) == below.height.next(), "heights follow");
            assert!(here.rank() > below.rank(), "ranks rise");
            self.bytes += entry.block.bytes().len();
            self.openings.extend(entry.opening.as_ref().map(|_| here.height));
            self.entries.push_back(entry);
        }
    }

    /// How many blocks of a term and of later ones, up to a height, it holds that open no term.
    #[must_use]
    pub fn plain_since(&self, term: Term, height: Height) -> usize {
        let applied = self.applied.block.height.get();
        let held = height.min(self.tip().block.height).get().saturating_sub(applied);
        let earlier = self.entries.partition_point(|entry| entry.anchor.block.term < term);
        let first = Height::new(applied + earlier as u64);
        let up_to = |height: Height| self.openings.partition_point(|opening| *opening <= height);
        let openings = up_to(height).saturating_sub(up_to(first));
        usize::try_from(held).unwrap_or(usize::MAX).saturating_sub(earlier + openings)
    }

    /// How many bytes the blocks of a term and of later ones have, up to a height.
    #[must_use]
    pub fn bytes_since(&self, term: Term, height: Height) -> usize {
        let counts = |entry: &&Entry| {
            let block = entry.anchor.block;
            block.term >= term && block.height <= height
        };
        self.entries.iter().filter(counts).map(|entry| entry.block.bytes().len()).sum()
    }

    /// Moves the committed tip up.
    ///
    /// # Panics
    /// If it would go down, or the block is not held.
    pub fn commit(&mut self, block: BlockRef) {
        assert!(self.contains(block), "only a block that is held is committed");
        assert!(block.height >= self.committed.height, "the committed tip never goes down");
        let mut in_force =
            self.anchor(self.committed.height).map(|anchor| Arc::clone(&anchor.roster));
        let above = self.from(after(self.committed.height)).map(|entry| &entry.anchor);
        let committed = above.take_while(|anchor| anchor.block.height <= block.height);
        let brings = committed.filter(|anchor| anchor.roster_since == anchor.block.height);
        let left: Vec<_> =
            brings.filter_map(|anchor| in_force.replace(Arc::clone(&anchor.roster))).collect();
        self.leave(left);
        self.committed = block;
    }

    fn leave(&mut self, rosters: impl IntoIterator<Item = Arc<Roster>>) {
        self.left.extend(rosters);
        let surplus = self.left.len().saturating_sub(LEFT);
        self.left.drain(..surplus);
    }

    /// The newest rosters that were left at or below the committed tip, oldest first.
    pub fn left(&self) -> impl Iterator<Item = &Arc<Roster>> {
        self.left.iter()
    }

    /// Lets go of the blocks up to a height that has been applied.
    ///
    /// # Panics
    /// If it is above the committed tip.
    pub fn release(&mut self, applied: Height) {
        assert!(applied <= self.committed.height, "only what is committed is applied");
        while self.applied.block.height < applied {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= entry.block.bytes().len();
            if entry.opening.is_some() {
                self.openings.pop_front();
            }
            self.header = Some(entry.block.header().clone());
            let below = std::mem::replace(&mut self.applied, entry.anchor);
            self.ancestors.push_back(below.block);
            self.forget_ancestors();
        }
    }

    /// The header of a block that is held, or of the applied one if it has been.
    #[must_use]
    pub fn header(&self, block: BlockRef) -> Option<&Header> {
        let held = self.from(block.height).next().map(|entry| entry.block.header());
        let known = self.header.iter().chain(held);
        known.into_iter().find(|header| header.block_ref() == block)
    }

    /// The certificate by which a block of this chain opened its term, if this is what it says.
    #[must_use]
    pub fn opening(&self, election: &Statement) -> Option<&Proven> {
        let entries = self.openings.iter().flat_map(|height| self.from(*height).next());
        let mut openings = entries.filter_map(|entry| entry.opening.as_ref());
        openings.find(|proven| proven.certificate.statement() == election)
    }

    /// Checks those invariants of the type that do not need a walk: [`Log::branch`] has checked every
    /// block on the one before when it came.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        assert!(self.applied.block.height <= self.committed.height, "applied ≤ committed");
        assert!(self.contains(self.committed), "the committed tip is held");
    }

    /// Checks all invariants of the type, and what is counted along.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check_whole(&self) {
        self.check();
        assert!(self.ancestors.len() <= limits::PATH, "the refs of ancestors are bounded");
        assert!(self.left.len() <= LEFT, "the rosters that were left are bounded");
        let mut below = self.applied.block;
        for entry in &self.entries {
            assert!(entry.block.header().parent == below.hash, "the chain of hashes is whole");
            assert!(Some(entry.anchor.block.height) == below.height.next(), "heights follow");
            assert!(entry.anchor.block.rank() > below.rank(), "ranks rise");
            below = entry.anchor.block;
        }
        let bytes: usize = self.entries.iter().map(|entry| entry.block.bytes().len()).sum();
        assert!(bytes == self.bytes, "bytes are counted");
        let openings = self.entries.iter().filter(|entry| entry.opening.is_some());
        let openings = openings.map(|entry| entry.anchor.block.height);
        assert!(openings.eq(self.openings.iter().copied()), "openings are known");
    }
}
