//! What each validator has promised and what its disk has, across all of its lives.
//!
//! The world follows every record to the disk: [`Shadow`] is what the log must hold, exactly. So it can be
//! said at once whether a statement that leaves is true already, and after every start whether the log has
//! come back with all that was durable and nothing that was never written.

use std::collections::{BTreeMap, VecDeque};

use quorate_chain::ids::{BlockRef, Height, NodeId, Term};
use quorate_chain::statement::Statement;
use quorate_consensus::ballot::Choice;
use quorate_consensus::effect::{Record, Ticket};
use quorate_replica::io::{JournalJob, Written};

use crate::violation::{Check, Violation, hold};

/// What matters of a record.
#[derive(Clone, Debug)]
enum Mark {
    Ballot(Term, Choice),
    Certificate,
    Branch { above: Height, blocks: Vec<BlockRef> },
    Start { block: BlockRef, ballot: Option<(Term, Choice)> },
}

/// What says that a record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Ticket(Ticket),
    Start(BlockRef),
}

/// What the log of a node must hold.
#[derive(Clone, Debug)]
pub struct Shadow {
    term: Term,
    choice: Choice,
    /// The chain, by height from 1.
    chain: Vec<BlockRef>,
    /// What has been given to the journal and is not known to be durable.
    waiting: VecDeque<(Sign, Mark)>,
    /// A snapshot that the store has taken over: the log begins anew at this block, as soon as it is told
    /// or at the next start.
    installed: Option<BlockRef>,
}

/// What one validator has promised.
#[derive(Clone, Debug)]
pub struct Promises {
    node: NodeId,
    genesis: BlockRef,
    /// What its log must hold.
    pub shadow: Shadow,
    votes: BTreeMap<Term, (NodeId, BlockRef)>,
    /// The highest ack of each term.
    highest: BTreeMap<Term, BlockRef>,
    /// The newest ack at each height from 1.
    acks: Vec<Option<BlockRef>>,
}

fn at(height: Height) -> usize {
    usize::try_from(height.get()).unwrap_or(usize::MAX).saturating_sub(1)
}

impl Shadow {
    /// The log of a node that was never run.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            term: Term::ZERO,
            choice: Choice::Open,
            chain: Vec::new(),
            waiting: VecDeque::new(),
            installed: None,
        }
    }

    /// A job is given to the journal.
    pub fn give(&mut self, job: &JournalJob) {
        let item = match job {
            JournalJob::Record { ticket, record: Record::Ballot(ballot) } => {
                (Sign::Ticket(*ticket), Mark::Ballot(ballot.term, ballot.choice))
            }
            JournalJob::Record { ticket, record: Record::Branch { above, blocks } } => {
                let blocks = blocks.iter().map(|block| block.block_ref()).collect();
                (Sign::Ticket(*ticket), Mark::Branch { above: above.height, blocks })
            }
            JournalJob::Record { ticket, record: Record::Certificate(_) } => {
                (Sign::Ticket(*ticket), Mark::Certificate)
            }
            JournalJob::Start { block, ballot } => {
                let ballot = ballot.as_ref().map(|ballot| (ballot.term, ballot.choice));
                (Sign::Start(*block), Mark::Start { block: *block, ballot })
            }
        };
        self.waiting.push_back(item);
    }

    /// The store has taken over a snapshot.
    pub fn installs(&mut self, block: BlockRef) {
        self.installed = Some(block);
    }

    /// The journal has written. Calls `durable` with each block.
    ///
    /// # Errors
    /// What `durable` says.
    pub fn persisted(
        &mut self,
        written: &Written,
        mut durable: impl FnMut(BlockRef) -> Check,
    ) -> Check {
        let done = |sign: &Sign| match sign {
            Sign::Ticket(ticket) => Some(*ticket) <= written.ticket,
            Sign::Start(block) => Some(*block) == written.started,
        };
        while self.waiting.front().is_some_and(|(sign, _)| done(sign)) {
            let Some((_, mark)) = self.waiting.pop_front() else { break };
            match &mark {
                Mark::Branch { blocks, .. } => {
                    blocks.iter().try_for_each(|block| durable(*block))?;
                }
                Mark::Start { .. } => self.installed = None,
                Mark::Ballot(..) | Mark::Certificate => {}
            }
            self.take(mark);
        }
        Ok(())
    }

    fn take(&mut self, mark: Mark) {
        match mark {
            Mark::Ballot(term, choice) => (self.term, self.choice) = (term, choice),
            Mark::Branch { above, blocks } => {
                self.chain.truncate(at(above) + usize::from(above > Height::ZERO));
                self.chain.extend(blocks);
            }
            Mark::Certificate => {}
            Mark::Start { block, ballot } => {
                if let Some((term, choice)) = ballot {
                    (self.term, self.choice) = (term, choice);
                }
                self.begin_at(block);
            }
        }
    }

    /// The ballot is of this term now, without a choice.
    pub fn raise(&mut self, term: Term) {
        (self.term, self.choice) = (term, Choice::Open);
    }

    /// The chain begins at a block; what is below it is not in the log.
    fn begin_at(&mut self, block: BlockRef) {
        let nothing = BlockRef { height: Height::ZERO, ..block };
        self.chain.clear();
        self.chain.resize(at(block.height), nothing);
        self.chain.push(block);
    }

    /// How many records are on their way.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn tip(&self) -> Option<BlockRef> {
        self.chain.last().copied()
    }

    /// The height up to which the log is known to be durable.
    #[must_use]
    pub fn height(&self) -> Height {
        Height::new(self.chain.len() as u64)
    }

    /// Whether a block is durable.
    #[must_use]
    pub fn has(&self, block: BlockRef) -> bool {
        self.chain.get(at(block.height)) == Some(&block)
    }
}

impl Default for Shadow {
    fn default() -> Self {
        Self::new()
    }
}

impl Promises {
    /// A validator that has promised nothing.
    #[must_use]
    pub const fn new(node: NodeId, genesis: BlockRef) -> Self {
        let shadow = Shadow::new();
        Self {
            node,
            genesis,
            shadow,
            votes: BTreeMap::new(),
            highest: BTreeMap::new(),
            acks: Vec::new(),
        }
    }

    /// A statement of its own leaves, or is in a message that does.
    ///
    /// # Errors
    /// If it contradicts an earlier one, or is not true of the disk yet.
    pub fn says(&mut self, statement: &Statement) -> Check {
        let node = self.node;
        let (term, choice) = (self.shadow.term, self.shadow.choice);
        match *statement {
            Statement::Vote { term: at, candidate, tip } => {
                let first = *self.votes.entry(at).or_insert((candidate, tip));
                hold(first == (candidate, tip), "a vote never changes", || {
                    format!("node {node}, term {at}: {first:?}, then for {candidate} on {tip}")
                })?;
                let durable = term > at || term == at && choice == Choice::For { candidate, tip };
                hold(durable, "no vote leaves before the ballot is durable", || {
                    format!("node {node}: {statement:?}, the disk has term {term}, {choice:?}")
                })
            }
            Statement::Ack { block } => self.acks(block),
            Statement::PreVote { .. } | Statement::Handover { .. } => Ok(()),
        }
    }

    fn acks(&mut self, block: BlockRef) -> Check {
        let (node, here) = (self.node, at(block.height));
        let durable = self.shadow.has(block);
        hold(durable, "no ack leaves before the block is durable", || {
            format!("node {node}: {block}, the disk has {:?}", self.shadow.chain.get(here))
        })?;
        let term = self.shadow.term;
        hold(term <= block.term, "acks are for blocks of the own term", || {
            format!("node {node}: {block}, the disk has term {term}")
        })?;
        let voted = self.votes.last_key_value().map(|(term, _)| *term);
        hold(voted <= Some(block.term), "no ack below a vote", || {
            format!("node {node}: {block} after a vote in term {voted:?}")
        })?;
        let highest = self.highest.entry(block.term).or_insert(block);
        *highest = (*highest).max(block);
        if self.acks.len() <= here {
            self.acks.resize(here + 1, None);
        }
        let before = self.acks[here].replace(block);
        let same = before.is_none_or(|before| before.term != block.term || before == block);
        hold(same, "no two acks for one slot", || format!("node {node}: {before:?}, {block}"))
    }

    /// The node has started again and its log says this. Returns what there is to say against it.
    pub fn comes_back(&mut self, term: Term, choice: Choice, tip: BlockRef) -> Option<Violation> {
        let waiting = std::mem::take(&mut self.shadow.waiting);
        let installed = self.shadow.installed.take();
        let expected = (self.shadow.term, self.shadow.tip());
        let found = (term, choice, (tip != self.genesis).then_some(tip));
        let mut marks = waiting.into_iter();
        loop {
            let shadow = &self.shadow;
            if (shadow.term, shadow.choice, shadow.tip()) == found {
                return None;
            }
            match marks.next() {
                Some((_, mark)) => self.shadow.take(mark),
                None => break,
            }
        }
        if installed == Some(tip) && term >= expected.0 {
            self.forgets(term, choice, [tip]);
            return None;
        }
        let node = self.node;
        let facts = format!("node {node}: found {found:?}, durable was at least {expected:?}");
        Some(Violation { rule: "a log comes back with what was durable", found: facts })
    }

    /// Its disk has broken its promise, and this is what is left: a ballot, and a chain from a block on. What the
    /// node has said stays said.
    pub fn forgets(
        &mut self,
        term: Term,
        choice: Choice,
        chain: impl IntoIterator<Item = BlockRef>,
    ) {
        self.shadow = Shadow { term, choice, ..Shadow::new() };
        let mut chain = chain.into_iter().skip_while(|block| *block == self.genesis);
        if let Some(first) = chain.next() {
            self.shadow.begin_at(first);
            self.shadow.chain.extend(chain);
        }
    }

    /// Whether the node has voted or acked beyond a ballot and a tip that it has come back with.
    #[must_use]
    pub fn go_beyond(&self, term: Term, choice: Choice, tip: BlockRef) -> bool {
        let voted = self.votes.last_key_value().is_some_and(|(at, &(candidate, tip))| {
            let known = choice == Choice::For { candidate, tip } || choice == Choice::Spent;
            *at > term || *at == term && !known
        });
        let newest = self.acks.iter().flatten().map(|block| block.rank()).max();
        voted || newest > Some(tip.rank())
    }

    /// Whether the node, readmitted with its vote of a term spent and a committed block of another term, has voted in
    /// no later term and acked in none that is not below that block's.
    #[must_use]
    pub fn are_below(&self, spent: Term, committed: Term) -> bool {
        let voted = self.votes.last_key_value().is_some_and(|(term, _)| *term > spent);
        let acked = self.highest.last_key_value().is_some_and(|(term, _)| *term >= committed);
        !voted && !acked
    }

    /// Whether the node has said this.
    #[must_use]
    pub fn have(&self, statement: &Statement) -> bool {
        match *statement {
            Statement::Vote { term, candidate, tip } => {
                self.votes.get(&term) == Some(&(candidate, tip))
            }
            Statement::Ack { block } => {
                let here = self.acks.get(at(block.height)).copied().flatten();
                here == Some(block) || self.highest.get(&block.term) == Some(&block)
            }
            Statement::PreVote { .. } | Statement::Handover { .. } => false,
        }
    }

    /// Whether it would be evidence against the key if another process with it had said this: another vote in a
    /// term, another ack for a slot, or an ack and a later vote for a tip below it.
    #[must_use]
    pub fn excludes(&self, statement: &Statement) -> bool {
        match *statement {
            Statement::Vote { term, candidate, tip } => {
                let voted = self.votes.get(&term).is_some_and(|vote| *vote != (candidate, tip));
                let acked = self.highest.range(..term).any(|(_, ack)| ack.rank() > tip.rank());
                voted || acked
            }
            Statement::Ack { block } => {
                let here = self.acks.get(at(block.height)).copied().flatten();
                let twice = here.is_some_and(|ack| ack.term == block.term && ack != block);
                let mut later =
                    self.votes.range(block.term..).skip_while(|(at, _)| **at == block.term);
                twice || later.any(|(_, (_, tip))| tip.rank() < block.rank())
            }
            Statement::PreVote { .. } | Statement::Handover { .. } => false,
        }
    }

    /// The blocks of the chain that a start may have found durable without anybody having been told.
    pub fn chain(&self) -> impl Iterator<Item = BlockRef> {
        let stands = |block: &&BlockRef| block.height > Height::ZERO;
        self.shadow.chain.iter().rev().take(256).filter(stands).copied()
    }
}
