//! What a core wants done.
//!
//! Effects are carried out in the order in which they stand. `Persist` and `Send` run side by side (thesis 10.2.1):
//! what must wait for the disk is asked for only after the disk has answered (thesis 3.8).

use quorate_chain::block::Block;
use quorate_chain::block::{BlockKind, Item};
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::evidence::Conviction;
use quorate_chain::ids::{BlockRef, Height, NodeId, RosterHash, StateRoot, Term, TimeUs};
use quorate_chain::statement::Statement;

use crate::ballot::Ballot;
use crate::config::Boot;
use crate::event::ChangeId;
use crate::handover::TransferEnd;
use crate::membership::Refusal;
use crate::message::{Message, Snapshot};
use crate::reads::{ReadId, Unread};

/// The place of a record in the order of all records of one life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the log keeps for the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The ballot, from now on.
    Ballot(Ballot),
    /// A commit certificate. It is written before the first block that names a state which no certificate
    /// written so far covers.
    Certificate(Checked<Certificate>),
    /// The chain ends with these blocks above that one; whatever stood above it is gone. One atomic
    /// record: it cuts and extends, or neither.
    Branch {
        /// The block that the first one stands on.
        above: BlockRef,
        /// The blocks, in order.
        blocks: Vec<Checked<Block>>,
    },
}

/// When a block should be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// At once, transactions or not.
    Now,
    /// As soon as there is a transaction: nothing else is in flight.
    Idle,
    /// When there are transactions enough for a full block: others are in flight.
    Busy,
}

/// The place that the next block must fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What the block is for.
    pub kind: BlockKind,
    /// The block below it.
    pub parent: BlockRef,
    /// The term.
    pub term: Term,
    /// Who seals it.
    pub proposer: NodeId,
    /// The roster in force at it.
    pub roster_hash: RosterHash,
    /// The time in its header.
    pub time: TimeUs,
    /// The height whose state it names.
    pub executed: Height,
    /// That state.
    pub state_root: StateRoot,
    /// What it must say of leadership or the roster.
    pub item: Option<Item>,
    /// When it should be sealed.
    pub urgency: Urgency,
    /// Most bytes of transactions in it.
    pub room: usize,
}

/// Why a core can go no further. The node stops with this as its sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// A certified block contradicts one that was certified before.
    #[error("two committed blocks at height {}: {ours} here, {theirs} certified elsewhere",
        ours.height)]
    Contradiction {
        /// The block committed here.
        ours: BlockRef,
        /// The block certified elsewhere.
        theirs: BlockRef,
    },
    /// A certified header names another state than the one computed here.
    #[error("state at height {height} is {ours:.16} here, a quorum has {theirs:.16}")]
    StateDiverged {
        /// The height.
        height: Height,
        /// The state computed here.
        ours: StateRoot,
        /// The state that the certified header names.
        theirs: StateRoot,
    },
    /// Another start of the same log has the same count: of a copy, or of this log, whose disk has lost it.
    #[error(
        "another process runs as this validator, from a copy of this log, or its disk has lost the last start: two have \
        begun it {boot} times; if no copy runs, start it again"
    )]
    Twin {
        /// How often.
        boot: Boot,
    },
    /// The log has been begun more often than it knows of: it is an old copy.
    #[error(
        "this log has been begun {ours} times, another validator has seen it begun {theirs} times: \
        it is an old copy, or another process runs from a copy of it; if it was restored on purpose, \
        it must be restored as a backup"
    )]
    OldCopy {
        /// How often, as far as this log knows.
        ours: Boot,
        /// How often another validator has seen it begin.
        theirs: Boot,
    },
}

/// Something that a core wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Append a record to the log and make it durable; then `Persisted` with its ticket, or with a
    /// later one.
    Persist {
        /// The record's place.
        ticket: Ticket,
        /// The record.
        record: Record,
    },
    /// Send a message. It may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Sign a statement; then `Signed`.
    Sign {
        /// What is said.
        statement: Statement,
        /// The roster it is said under.
        roster_hash: RosterHash,
    },
    /// Seal a block for this place; then `Sealed`. It replaces the slot offered before.
    Offer(Box<Slot>),
    /// Seal no more blocks: there is no slot.
    Withdraw,
    /// Apply all blocks up to this one; then `Applied` for each.
    Commit {
        /// The block.
        block: BlockRef,
        /// Its certificate, or one for a descendant.
        certificate: Checked<Certificate>,
    },
    /// A committed block is final, and so is everything below: as many validators as `finality_quorum`
    /// asks for have it on disk. Keep this certificate. A `Commit` whose certificate is by so many says the
    /// same, without this.
    Final(Checked<Certificate>),
    /// Answers a roster change that was asked for.
    Changed {
        /// The caller's name for it.
        id: ChangeId,
        /// The height of the block that enters it; it has taken effect once that block and the one that
        /// leaves the joint roster are committed. Or why it was not taken.
        outcome: Result<Height, Refusal>,
    },
    /// Get a snapshot from a peer, verify it and install it: into the store first, then into the log, as
    /// the record that a life begins with, with the ballot that its certificate leads to if that is of
    /// a higher term than the own. Then `Installed`. One at a time. Until it is over, no block is
    /// committed.
    Install {
        /// Who offers it.
        from: NodeId,
        /// What it offers.
        snapshot: Box<Snapshot>,
    },
    /// Read blocks from the store for a peer; then `Fetched`. The range ends at a block that the store
    /// has a certificate for, even if that takes more bytes: whoever must cut a suffix for it could not
    /// take less. Of all blocks that the store has applied at once it has one, for the last of them or above.
    Fetch {
        /// The peer.
        node: NodeId,
        /// The height of the first block.
        from: Height,
        /// About how many bytes of blocks.
        bytes: usize,
    },
    /// Serve a read from the applied state, which is recent enough for it.
    Serve {
        /// The read.
        read: ReadId,
        /// A height at which everything that was committed when the read was asked is applied.
        height: Height,
    },
    /// A read cannot be served.
    RefuseRead {
        /// The read.
        read: ReadId,
        /// Why not.
        why: Unread,
    },
    /// A transfer of leadership that the operator asked for is over.
    TransferEnded(TransferEnd),
    /// Somebody has signed what no honest validator signs. Each conviction is said once.
    Convict(Box<Conviction>),
    /// Stop.
    Halt(Halt),
}
