//! What must be true of one process, whatever happens to it.

use quorate_chain::block::Item;
use quorate_chain::ids::{BlockRef, Height, NodeId, Term};
use quorate_consensus::ballot::Choice;
use quorate_consensus::log::Log;
use quorate_consensus::raft::Standing;
use quorate_replica::store::{Store, StoreReader};

use crate::genesis::HEARTBEAT;
use crate::ledger::Signers;
use crate::seat::{Said, Seat, StoreJob};
use crate::violation::{Check, hold};
use crate::world::World;

/// Most records that wait for a journal and carry no block of the two windows: a term brings a ballot, a vote and
/// a cut, and while a disk is slow or full terms go by.
const RECORDS_TERMS: usize = 64;

/// Most blocks in one message of the size that worlds have, twice: what fits, and what comes on top of that up to
/// the next certificate, because whoever must cut a suffix for a range could not take less.
const MESSAGE_BLOCKS: usize = 16 + 2 * (1 << 16) / 280;

/// Most bytes of blocks in one message, by the same count, with the block that goes beyond a window.
const MESSAGE_BYTES: usize = 4 * (1 << 16);

/// Most messages for each node and block: an append, an answer, and as much again for what is lost.
const MESSAGES_BLOCK: u64 = 6;
/// Most messages between two nodes in a second, one way, whatever their clocks do: heartbeats and answers, at
/// twice the rate, campaigns and questions.
const MESSAGES_SECOND: u64 = 60;

/// What breaks when a validator says something else than it has said.
const FORGETTABLE: &[&str] = &[
    "who is readmitted is above what it has forgotten",
    "a fork names nobody who is honest",
    "a fork names who lied",
    "a vote never changes",
    "a key keeps its word",
    "no ack below a vote",
    "no two acks for one slot",
    "at most one leader a term",
    "a leader has all that is committed",
    "no correct node fills a slot twice",
    "committed blocks are the same everywhere",
    "what is committed is one chain",
    "only what is committed is applied",
    "one height, one state",
    "recovery never shortens the committed prefix",
    "no correct node stops for what others say",
    "nobody is convicted who is honest",
    "what was told stands there",
    "what was dropped never stands",
    "a transaction stands once",
    "real-time order",
    "reads are fresh",
];

impl World {
    /// What a process says of itself must be possible, and must not go back.
    pub(super) fn check_seat(&mut self, at: usize) -> Check {
        let every = self.dice.below(64) == 0;
        self.greeted_in_order(at)?;
        let seat = &mut self.seats[at];
        let Some(replica) = &seat.replica else { return Ok(()) };
        let (node, core) = (seat.node, replica.driver.core());
        let log = core.log();
        let (tip, committed, applied) =
            (log.tip().block.height, log.committed().height, log.applied().block.height);
        let leads = (core.standing() == Standing::Leader).then(|| core.term());
        let recovers = core.ballot().recovering;
        let said = Said { term: core.term(), committed, applied, leads, recovers };
        let last = std::mem::replace(&mut seat.said, said);
        goes_forward(node, last, said)?;
        // Whoever takes over a liar's certified second block in the place of one that it has acked lacks that ack.
        let lies = self.liar.is_some();
        remembers(node, recovers, seat.excuse.is_given() || lies)?;
        if last.recovers && !recovers {
            let above = seat.promises.are_below(core.term(), log.committed().term);
            self.misled |= lies && !above;
            is_above(node, above || lies)?;
        }
        if core.may_sign() && !recovers {
            seat.excuse.may_sign();
        }
        if committed > seat.reached.height {
            seat.reached = log.committed();
        }
        if seat.unaware && core.may_sign() {
            seat.unaware = false;
            // Whoever was readmitted has found out.
            let found_out = core.ballot().choice == Choice::Spent;
            self.untold |= !found_out && !seat.heard_enough();
        }
        let durable = seat.promises.shadow.height().max(seat.base);
        Heights { applied, committed, durable, tip }.check(node)?;
        Held::by(seat, log).check(node)?;
        if every {
            replica.driver.check();
            let (frozen, oldest) = kept(&replica.applier.store().reader());
            // With a snapshot came no blocks.
            let oldest = oldest.filter(|oldest| oldest.get() > seat.base.get() + 1);
            // What was installed is frozen before the core knows of it.
            kept_in_order(node, oldest, &frozen, applied.max(seat.base))?;
        }
        if said.leads != last.leads
            && let Some(term) = said.leads
        {
            self.tally.elections += 1;
            let voters = elected(log, term);
            let rule = "a leader begins with its opening block";
            hold(voters.is_some(), rule, || format!("node {node}, term {term}"))?;
            if let Some(voters) = voters {
                self.ledger.leads(node, term, voters)?;
            }
            self.ledger.is_complete(node, term, applied, |block| log.contains(block))?;
            self.doubt()?;
        }
        Ok(())
    }

    /// Whoever leads a later term has what was committed just now.
    pub(super) fn check_leaders(&mut self) -> Check {
        let ledger = &mut self.ledger;
        self.seats.iter().try_for_each(|seat: &Seat| {
            let (Some(replica), Some(term)) = (&seat.replica, seat.said.leads) else {
                return Ok(());
            };
            let log = replica.driver.core().log();
            let applied = log.applied().block.height;
            ledger.is_complete(seat.node, term, applied, |block| log.contains(block))
        })?;
        self.doubt()
    }
}

/// Who has voted for the leader of a term, as the block says that opens it.
fn elected(log: &Log, term: Term) -> Option<Signers> {
    let applied = log.applied().block.height;
    let mut opening = log.from(applied).filter(|entry| entry.anchor.block.term == term);
    opening.find_map(|entry| match &entry.block.body().item {
        Some(Item::Opening(election)) => Some(Signers::of(election)),
        Some(Item::Enter { .. } | Item::Leave { .. } | Item::Recovery { .. }) | None => None,
    })
}

/// The heights of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heights {
    /// Up to which the state has been computed.
    pub applied: Height,
    /// Up to which blocks are known to be committed.
    pub committed: Height,
    /// Up to which blocks are known to be on the disk.
    pub durable: Height,
    /// Up to which blocks are held.
    pub tip: Height,
}

impl Heights {
    /// They stand in order.
    ///
    /// # Errors
    /// If they do not.
    pub fn check(&self, node: NodeId) -> Check {
        let Self { applied, committed, durable, tip } = *self;
        let order = applied <= committed && committed <= durable;
        hold(order && committed <= tip, "applied ≤ committed ≤ durable and tip", || {
            format!("node {node}: {self:?}")
        })
    }
}

/// How much one process keeps in its memory and in its queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Most blocks in flight.
    pub window: usize,
    /// How many of the blocks that the process has begun with may not be applied yet.
    pub came_with: usize,
    /// How many blocks the log has.
    pub log: usize,
    /// Most bytes in flight.
    pub window_bytes: usize,
    /// How many bytes the blocks have that the process has begun with and not applied.
    pub came_with_bytes: usize,
    /// How many bytes all have that the log has.
    pub bytes: usize,
    /// How many of them are committed.
    pub committed: usize,
    /// How many records wait for the journal.
    pub records: usize,
    /// How many blocks wait for the applier.
    pub unapplied: usize,
}

impl Held {
    fn by(seat: &Seat, log: &Log) -> Self {
        let applied = log.applied().block.height.get();
        let above = |height: Height| {
            usize::try_from(height.get().saturating_sub(applied)).unwrap_or(usize::MAX)
        };
        let unapplied = seat.applies.iter().map(|job| match job {
            StoreJob::Apply(job) => job.blocks.len(),
            StoreJob::Stage(_) | StoreJob::Install(_) => 0,
        });
        Self {
            window: seat.setup.limits.window_blocks,
            came_with: above(seat.came_to),
            log: log.len(),
            window_bytes: seat.setup.limits.window_bytes,
            came_with_bytes: log.bytes_since(Term::ZERO, seat.came_to),
            bytes: log.bytes(),
            committed: above(log.committed().height),
            records: seat.jobs.len() + seat.writing.len(),
            unapplied: unapplied.sum(),
        }
    }

    /// It is no more than the rules of the core allow.
    ///
    /// - Of blocks: while anything waits for disk or store, nothing is taken on top of two windows, and one
    ///   message may go beyond. After a power cut the store may be as far behind the log as between two
    ///   checkpoints; that part goes as it is applied.
    ///   The same in bytes.
    /// - Of records: the blocks of two windows, each with a certificate that covers what it names, and what terms
    ///   bring. A message beyond is one record.
    /// - Of blocks that wait for the applier: those that the log holds as committed, and none twice.
    ///
    /// # Errors
    /// If it is more.
    pub fn check(&self, node: NodeId) -> Check {
        let Self { window, came_with, log, committed, records, unapplied, .. } = *self;
        let Self { window_bytes, came_with_bytes, bytes, .. } = *self;
        let waits = records <= 4 * window + RECORDS_TERMS && unapplied <= committed;
        hold(waits, "queues are bounded", || format!("node {node}: {self:?}"))?;
        let blocks = log <= 2 * window + MESSAGE_BLOCKS + came_with;
        let bytes = bytes <= 2 * window_bytes + MESSAGE_BYTES + came_with_bytes;
        hold(blocks && bytes, "memory is bounded", || format!("node {node}: {self:?}"))
    }
}

/// Nothing that a process says of itself is less than before.
///
/// # Errors
/// If it is.
pub fn goes_forward(node: NodeId, last: Said, said: Said) -> Check {
    let forward =
        last.term <= said.term && last.committed <= said.committed && last.applied <= said.applied;
    hold(forward, "term, committed and applied never go back", || {
        format!("node {node}: {last:?}, then {said:?}")
    })
}

/// Whoever starts signs nothing before it has heard from all, or has waited ten heartbeats by its own clock.
///
/// # Errors
/// If it does.
pub fn waits(node: NodeId, waited: u64, heard_all: bool) -> Check {
    let long = waited >= 10 * HEARTBEAT.as_micros();
    hold(long || heard_all, "who starts waits for those who are not needed", || {
        format!("node {node} signs {waited} µs after its start")
    })
}

/// Whether what is wrong may come of a statement that its signer has forgotten: it concerns what several have
/// said, decided or been told, and not what one process does with its own memory, disk and time.
#[must_use]
pub fn may_follow_from_amnesia(rule: &str) -> bool {
    FORGETTABLE.contains(&rule)
}

/// A validator recovers only if its disk has broken a promise, or others sign with its key.
///
/// # Errors
/// If it does without that.
pub fn remembers(node: NodeId, recovering: bool, excused: bool) -> Check {
    hold(!recovering || excused, "a validator with a whole disk has forgotten nothing", || {
        format!("node {node} recovers")
    })
}

/// A validator is readmitted above all that it has signed: in a term in which it has given no ack, with no vote
/// in a later one.
///
/// # Errors
/// If it is not.
pub fn is_above(node: NodeId, above: bool) -> Check {
    hold(above, "who is readmitted is above what it has forgotten", || format!("node {node}"))
}

/// What was committed when a process died is there when it comes back.
///
/// # Errors
/// If it is not.
pub fn keeps_prefix(node: NodeId, reached: BlockRef, holds: bool) -> Check {
    hold(holds, "recovery never shortens the committed prefix", || {
        format!("node {node} had committed {reached}")
    })
}

/// Whether a log that lacks a committed block has come under a later leader and has another block in its place, or none
/// yet, so that the block was replaced and not lost.
///
/// The other block may be of the same term: a liar has sealed both, and the later leader stands on the second. A
/// tip never goes down in rank, and of one term the first block is kept; so the tip is of a later term then.
#[must_use]
pub fn may_displace(instead: Option<BlockRef>, tip: BlockRef, reached: BlockRef) -> bool {
    let other = instead.is_some_and(|it| it.height == reached.height && it != reached);
    (other || tip.height < reached.height) && tip.term > reached.term
}

/// Whether a log has committed all the states that its blocks name. One that has lost a certificate has not.
#[must_use]
pub fn names_covered(log: &Log) -> bool {
    let committed = log.committed().height;
    log.from(Height::ZERO).all(|entry| entry.block.header().executed <= committed)
}

/// What a store has pruned is below its frozen states, and those are not above what is applied.
///
/// # Errors
/// If they are.
pub fn kept_in_order(
    node: NodeId,
    oldest: Option<Height>,
    frozen: &[Height],
    applied: Height,
) -> Check {
    let applied_first = frozen.iter().all(|height| *height <= applied);
    let kept = oldest.is_none_or(|oldest| {
        oldest <= applied && (oldest.get() <= 1 || frozen.iter().any(|height| oldest <= *height))
    });
    hold(applied_first && kept, "pruned ≤ snapshot ≤ applied", || {
        format!("node {node}: blocks from {oldest:?}, frozen {frozen:?}, applied {applied}")
    })
}

/// A world sends no more messages than a few for each follower and block, and those that time asks for.
///
/// # Errors
/// If it does.
pub fn few_messages(messages: u64, nodes: u64, blocks: u64, seconds: u64) -> Check {
    let most = nodes * (MESSAGES_BLOCK * blocks + MESSAGES_SECOND * (seconds + 1) * nodes);
    hold(messages <= most, "messages are bounded", || {
        format!("{messages} messages for {blocks} blocks at {nodes} nodes in {seconds} s")
    })
}

/// The heights of the states that are frozen, newest first, and of the oldest whole block.
fn kept(reader: &impl StoreReader) -> (Vec<Height>, Option<Height>) {
    let frozen = reader.frozen().unwrap_or_default();
    let heights = frozen.iter().map(|standing| standing.applied.block.height).collect();
    (heights, reader.oldest().unwrap_or_default())
}
