//! The one chain that all nodes must agree on, as the world sees it grow.
//!
//! Whatever a node seals, makes durable, commits or applies is compared with what any node did before.
//! Everything is looked up by height, so a check costs the same however long the chain is.

use std::collections::BTreeMap;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::commitment::{Commitment, leaf_changes};
use quorate_chain::execute::{Rules, Writers, execute};
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::{
    BlockHash, BlockRef, ChainId, Hash, Height, NodeId, RosterHash, StateRoot, Term,
};
use quorate_chain::outcome::Outcome;
use quorate_chain::roster::Roster;
use quorate_chain::state::MemoryState;
use quorate_chain::state_root::{MemoryLeaves, StateTree};
use quorate_consensus::log::Anchor;

use crate::forks::Archive;
use crate::violation::{Check, hold};

/// A block that somebody has sealed.
#[derive(Clone, Debug)]
struct Known {
    block: BlockRef,
    parent: BlockHash,
    proposer: NodeId,
    /// Who has had it on disk, a bit for each node.
    durable: u64,
}

/// A block that is committed.
#[derive(Clone, Debug)]
struct Decision {
    block: Checked<Block>,
    root: Option<StateRoot>,
}

/// Who has voted for a leader, or signed a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signers {
    /// A bit for each node.
    bits: u64,
    /// Under which roster.
    under: RosterHash,
}

impl Signers {
    /// Those of a certificate.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        let bits = certificate.signers().into_iter().map(bit).fold(0, |all, bit| all | bit);
        Self { bits, under: certificate.roster_hash() }
    }

    const fn among(self, some: u64) -> bool {
        self.bits & some != 0
    }
}

/// Who leads a term, by which votes.
#[derive(Clone, Copy, Debug)]
struct Leadership {
    node: NodeId,
    voters: Signers,
}

/// A second opinion of what the blocks do to the state.
#[derive(Debug)]
struct Model {
    state: MemoryState,
    leaves: MemoryLeaves,
    commitment: Commitment,
}

/// The one chain.
#[derive(Debug)]
pub struct Ledger {
    chain_id: ChainId,
    writers: Writers,
    /// What has been sealed, by height from 1.
    known: Vec<Vec<Known>>,
    /// What is committed, by height from 1.
    committed: Vec<Decision>,
    /// Who leads which term.
    leaders: BTreeMap<Term, Vec<Leadership>>,
    /// The term of the newest commit certificate.
    certified: Term,
    /// Who has signed it.
    certified_by: Option<Signers>,
    model: Option<Model>,
    /// Whose disk or word does not count.
    pub excused: u64,
    /// Who may have voted twice, or against an ack of its own.
    pub suspects: u64,
    /// Whether a suspect has: there was a second leader of a term, or one that lacked what was committed. From
    /// then on nobody asks whether leaders lack anything.
    pub doubted: bool,
    /// What a fork is judged by, if somebody lies.
    pub archive: Option<Archive>,
}

/// The bit of a node.
#[must_use]
pub const fn bit(node: NodeId) -> u64 {
    1 << (node.get() % 64)
}

fn at(height: Height) -> usize {
    usize::try_from(height.get()).unwrap_or(usize::MAX).saturating_sub(1)
}

impl Ledger {
    /// Nothing but the genesis. With `model`, every block is executed here too.
    #[must_use]
    pub fn new(genesis: &Genesis, chain_id: ChainId, model: bool) -> Self {
        let model = model.then(|| {
            let changes = genesis.state();
            let mut state = MemoryState::default();
            state.apply(&changes);
            let mut leaves = MemoryLeaves::new();
            let mut tree = StateTree::new();
            let changes = leaf_changes(&changes);
            let made = tree.update(&changes, &leaves);
            assert!(made.is_ok(), "a tree in memory can be read");
            leaves.apply(&changes);
            Model { state, leaves, commitment: Commitment::new(tree, Hash::ZERO) }
        });
        Self {
            chain_id,
            writers: genesis.writers,
            known: Vec::new(),
            committed: Vec::new(),
            leaders: BTreeMap::new(),
            certified: Term::ZERO,
            certified_by: None,
            model,
            excused: 0,
            suspects: 0,
            doubted: false,
            archive: None,
        }
    }

    /// The height that is committed.
    #[must_use]
    pub fn height(&self) -> Height {
        Height::new(self.committed.len() as u64)
    }

    /// The newest committed block, and the term of the certificate that committed it.
    #[must_use]
    pub fn tip(&self) -> Option<(BlockRef, Term)> {
        self.committed.last().map(|last| (last.block.block_ref(), self.certified))
    }

    /// The committed block at a height.
    #[must_use]
    pub fn block(&self, height: Height) -> Option<&Checked<Block>> {
        self.committed.get(at(height)).map(|decision| &decision.block)
    }

    /// The state after a height, as the first who applied it said.
    #[must_use]
    pub fn root(&self, height: Height) -> Option<StateRoot> {
        self.committed.get(at(height)).and_then(|decision| decision.root)
    }

    /// A node leads a term, by these votes.
    ///
    /// # Errors
    /// If another does, and no suspect has voted for both.
    pub fn leads(&mut self, node: NodeId, term: Term, voters: Signers) -> Check {
        let leaders = self.leaders.entry(term).or_default();
        let suspects = self.suspects;
        for other in leaders.iter().filter(|other| other.node != node) {
            // Quorums of two rosters meet by way of others between them. One of those has lied then, if not both.
            let (ours, theirs) = (voters.among(suspects), other.voters.among(suspects));
            let same = voters.under == other.voters.under;
            let twice =
                if same { voters.among(suspects & other.voters.bits) } else { ours || theirs };
            // After a leader that lacked something the rosters themselves may be in doubt.
            hold(twice || self.doubted && !same, "at most one leader a term", || {
                format!("term {term}: {other:?} and {node} by {voters:?}")
            })?;
            self.doubted = true;
        }
        leaders.push(Leadership { node, voters });
        Ok(())
    }

    /// A block was sealed, or came to a node's disk.
    ///
    /// # Errors
    /// If its slot is filled already, its parent is unknown, or its ranks do not rise.
    pub fn seen(&mut self, block: &Block) -> Check {
        let here = block.block_ref();
        if self.find(here).is_some() {
            return Ok(());
        }
        if let Some(archive) = &mut self.archive {
            archive.block(block);
        }
        let (header, below) = (block.header(), here.height.previous().unwrap_or(Height::ZERO));
        let first = self.chain_id.genesis_ref();
        let parent = match below {
            Height::ZERO => (header.parent == first.hash).then_some(first),
            below => {
                let known = self.known.get(at(below)).into_iter().flatten();
                known.map(|known| known.block).find(|known| known.hash == header.parent)
            }
        };
        let rule = "the chain of hashes is whole and ranks rise";
        hold(parent.is_some_and(|parent| parent.rank() < here.rank()), rule, || {
            format!("{here} on {:?}", parent)
        })?;
        if self.known.len() <= at(here.height) {
            self.known.resize(at(here.height) + 1, Vec::new());
        }
        let slot = &mut self.known[at(here.height)];
        let mut same = slot.iter().filter(|known| known.block.term == here.term);
        // A liar votes twice: then a term has two leaders, and each has one block for a slot.
        let other = same.find(|it| it.proposer == header.proposer || self.excused == 0);
        let excused = self.excused & bit(header.proposer) != 0;
        hold(other.is_none() || excused, "no correct node fills a slot twice", || {
            format!("{here} and {other:?}")
        })?;
        let (parent, proposer) = (header.parent, header.proposer);
        slot.push(Known { block: here, parent, proposer, durable: 0 });
        Ok(())
    }

    fn find(&self, block: BlockRef) -> Option<&Known> {
        let slot = self.known.get(at(block.height))?;
        slot.iter().find(|known| known.block == block)
    }

    /// A block is durable at a node.
    ///
    /// # Errors
    /// If nobody has sealed it.
    pub fn durable(&mut self, node: NodeId, block: BlockRef) -> Check {
        let slot = self.known.get_mut(at(block.height)).into_iter().flatten();
        match slot.into_iter().find(|known| known.block == block) {
            Some(known) => {
                known.durable |= bit(node);
                Ok(())
            }
            None => hold(false, "what is durable was sealed", || block.to_string()),
        }
    }

    /// A node has learned that blocks are committed.
    ///
    /// # Errors
    /// If others are, or they were not certified by a quorum that has them on disk.
    pub fn committed(
        &mut self,
        node: NodeId,
        blocks: &[(Checked<Block>, Anchor)],
        certificate: &Certificate,
    ) -> Check {
        let mut new = false;
        for (block, anchor) in blocks {
            let here = block.block_ref();
            if let Some(before) = self.committed.get(at(here.height)) {
                let before = before.block.block_ref();
                hold(before == here, "committed blocks are the same everywhere", || {
                    format!("{before} before, {here} at node {node}")
                })?;
                continue;
            }
            new = true;
            let follows = at(here.height) == self.committed.len();
            let below = self.committed.last().map(|last| last.block.hash());
            let follows = follows && below.is_none_or(|below| below == block.header().parent);
            hold(follows, "what is committed is one chain", || {
                format!("{here} above {}", self.height())
            })?;
            self.committed.push(Decision { block: block.clone(), root: None });
            self.execute(block, &anchor.roster)?;
        }
        let Some((_, last)) = blocks.last() else { return Ok(()) };
        if new {
            self.certified = self.certified.max(certificate.term());
            self.certified_by = Some(Signers::of(certificate));
            self.stands_on_disks(certificate, &last.roster)?;
        }
        Ok(())
    }

    /// Raft §5.4.2: a block is committed by a quorum that has it on disk, in the term it was sealed in.
    fn stands_on_disks(&self, certificate: &Certificate, roster: &Roster) -> Check {
        let block = certificate.block();
        hold(certificate.term() == block.term, "commits are by blocks of the own term", || {
            format!("{block} in term {}", certificate.term())
        })?;
        let durable = self.find(block).map_or(0, |known| known.durable) | self.excused;
        let missing = certificate.signers().into_iter().find(|node| durable & bit(*node) == 0);
        hold(missing.is_none(), "commits are by durable logs", || {
            format!("{block}: {missing:?} has signed and does not have it")
        })?;
        let same = certificate.roster_hash() == roster.hash();
        let quorum = quorate_chain::roster::QuorumKind::Commit;
        let enough = !same || roster.has_quorum(quorum, &certificate.signers());
        hold(enough, "commits are by a quorum", || format!("{block}: {certificate:?}"))
    }

    fn execute(&mut self, block: &Block, roster: &Roster) -> Check {
        let Some(model) = &mut self.model else { return Ok(()) };
        let height = block.header().height;
        let rules = Rules::under(roster, self.writers);
        let done = match execute(&model.state, &rules, height, &block.body().transactions) {
            Ok(done) => done,
            Err(never) => match never {},
        };
        let moved = model.commitment.advance(&done, &model.leaves);
        hold(moved.is_ok(), "the state can be committed to", || format!("{moved:?}"))?;
        model.leaves.apply(&moved.unwrap_or_default());
        model.state.apply(&done.changes);
        let root = model.commitment.root();
        if let Some(last) = self.committed.last_mut() {
            last.root = Some(root);
        }
        Ok(())
    }

    /// A node has applied a block.
    ///
    /// # Errors
    /// If it is not committed, or the state differs.
    pub fn applied(
        &mut self,
        node: NodeId,
        block: BlockRef,
        root: StateRoot,
        outcomes: &[Outcome],
    ) -> Check {
        let decision = self.committed.get_mut(at(block.height));
        let here = decision.as_ref().map(|decision| decision.block.block_ref());
        hold(here == Some(block), "only what is committed is applied", || {
            format!("{block} at node {node}, committed is {here:?}")
        })?;
        let Some(decision) = decision else { return Ok(()) };
        let expected = *decision.root.get_or_insert(root);
        hold(expected == root, "one height, one state", || {
            format!("height {}: {expected} and at node {node} {root}", block.height)
        })?;
        let transactions = &decision.block.body().transactions;
        let fits = transactions.iter().map(|tx| tx.id()).eq(outcomes.iter().map(|o| o.tx));
        hold(fits, "every transaction has an outcome", || format!("{block} at node {node}"))
    }

    /// A leader's log must hold what is committed in the terms before its own (Raft §5.4).
    ///
    /// # Errors
    /// If it does not, and no suspect has brought it to power.
    pub fn is_complete(
        &mut self,
        node: NodeId,
        term: Term,
        applied: Height,
        holds: impl Fn(BlockRef) -> bool,
    ) -> Check {
        let Some((tip, certified)) = self.tip() else { return Ok(()) };
        let complete = certified >= term || tip.height <= applied || holds(tip);
        if complete || self.doubted {
            return Ok(());
        }
        let of = self.leaders.get(&term).into_iter().flatten().find(|leader| leader.node == node);
        let voters = of.map(|leader| leader.voters);
        let brought = self.is_brought_by_suspects(tip, voters);
        hold(brought, "a leader has all that is committed", || {
            let by = self.certified_by;
            format!(
                "{of:?} leads term {term} without {tip}, certified in term {certified} by {by:?}"
            )
        })?;
        self.doubted = true;
        Ok(())
    }

    /// Whether a suspect has acked a block and voted for a leader that lacks it, or has sealed two in its place.
    fn is_brought_by_suspects(&self, missing: BlockRef, voters: Option<Signers>) -> bool {
        let sealed = self.find(missing).is_some_and(|it| self.suspects & bit(it.proposer) != 0);
        let (Some(voters), Some(signers)) = (voters, self.certified_by) else { return sealed };
        // From one roster to the next a certificate between has the suspect, and the votes do.
        let acked = voters.under != signers.under || voters.among(signers.bits & self.suspects);
        sealed || acked && voters.among(self.suspects)
    }

    /// The parent of a block that somebody has sealed.
    #[must_use]
    pub fn parent(&self, block: BlockRef) -> Option<BlockHash> {
        self.find(block).map(|known| known.parent)
    }
}
