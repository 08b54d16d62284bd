//! What happens to a driver, and what it wants done.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use quorate_chain::block::{Block, SignedHeader};
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::evidence::Conviction;
use quorate_chain::ids::{BlockHash, BlockRef, Height, NodeId, StateRoot, Term};
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::proof::RosterStep;
use quorate_chain::roster::{Lead, SignedRosterChange};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::ballot::Ballot;
use quorate_consensus::effect::{Halt, Record, Ticket};
use quorate_consensus::event::{ChangeId, Fetched as Found};
use quorate_consensus::handover::TransferEnd;
use quorate_consensus::log::Anchor;
use quorate_consensus::membership::Refusal as ChangeRefusal;
use quorate_consensus::message::Message;
use quorate_consensus::reads::{ReadId, Unread};
use quorate_wal::Space;

use crate::driver::LONGEST;
use crate::snapshot::{Ask, Failure, Piece};
use crate::store::{Entries, Standing};

/// The caller's number for one submission of a transaction. Each is answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Submission(pub u64);

/// Everything that can happen to a driver.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Another node sent something. The bodies of its blocks have been checked.
    Received {
        /// The node, authenticated.
        from: NodeId,
        /// What it sent.
        message: Message,
    },
    /// There is a connection to a node: what was sent to it before is lost.
    LinkOpened {
        /// The node.
        node: NodeId,
    },
    /// The connection to a node is closed.
    LinkLost {
        /// The node.
        node: NodeId,
    },
    /// A client wants a transaction in the chain.
    Submit {
        /// What the answer will name.
        submission: Submission,
        /// The transaction.
        transaction: Checked<SignedTransaction>,
    },
    /// Another node has transactions for the leader.
    Forwarded {
        /// The node.
        from: NodeId,
        /// The transactions.
        transactions: Vec<Checked<SignedTransaction>>,
    },
    /// The operator wants another leader.
    Transfer {
        /// Who shall lead; `None` leaves the choice to the leader.
        to: Option<NodeId>,
    },
    /// The operator says whether this validator wants to lead.
    Willing(Lead),
    /// A client wants to read; answered by [`Output::Serve`] or [`Output::RefuseRead`].
    Read {
        /// The caller's name for it.
        read: ReadId,
    },
    /// The operator vouches for what this validator has forgotten.
    Readmit,
    /// Admins want another roster; answered by [`Output::Changed`].
    Change {
        /// The caller's name for it.
        id: ChangeId,
        /// The change.
        change: Box<SignedRosterChange>,
    },
    /// The journal has written.
    Written(Written),
    /// Blocks have been applied.
    Applied(Applied),
    /// Blocks have been read for another node.
    Fetched(Fetched),
    /// Another node has answered an [`Output::Ask`].
    Brought {
        /// The node.
        from: NodeId,
        /// What it has.
        piece: Piece,
    },
    /// Entries of a snapshot have been staged; not so if the store takes no snapshots.
    Staged(bool),
    /// The snapshot that was staged has been installed, or it was not what it claimed to be.
    Installed(bool),
    /// The node is about to stop: whoever still waits is told that the outcome is unknown.
    Shutdown,
}

/// Something that a driver wants done. Outputs are carried out in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message to another node. It may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Give the journal a record; then [`Input::Written`] with its ticket, or with a later one.
    Write(JournalJob),
    /// Give the applier blocks; then [`Input::Applied`] for all of them.
    Apply(ApplyJob),
    /// Read blocks from the store; then [`Input::Fetched`].
    Fetch(FetchJob),
    /// Send transactions to the leader. They may be lost: they are forwarded again.
    Forward {
        /// The leader.
        to: NodeId,
        /// The transactions.
        transactions: Vec<Checked<SignedTransaction>>,
    },
    /// Answer a submission.
    Answer {
        /// Which.
        submission: Submission,
        /// The answer.
        answer: Answer,
    },
    /// Give the applier a certificate that more have signed than were needed to commit. It has no
    /// completion.
    Keep(Checked<Certificate>),
    /// Ask another node for a piece of a snapshot ([`crate::snapshot::piece`] answers); then
    /// [`Input::Brought`]. Question or answer may be lost: it is asked again.
    Ask {
        /// The node.
        to: NodeId,
        /// What.
        ask: Ask,
    },
    /// Give the applier entries of a snapshot to stage; then [`Input::Staged`].
    Stage(StageJob),
    /// Let the applier install what was staged; then [`Input::Installed`].
    Install(Box<InstallJob>),
    /// Answer a roster change.
    Changed {
        /// The caller's name for it.
        id: ChangeId,
        /// The height of the block that enters it, or why it was not taken.
        outcome: Result<Height, ChangeRefusal>,
    },
    /// Serve a read from the applied state.
    Serve {
        /// Which.
        read: ReadId,
        /// The applied height, which is recent enough.
        height: Height,
    },
    /// A read cannot be served.
    RefuseRead {
        /// Which.
        read: ReadId,
        /// Why not.
        why: Unread,
    },
    /// A transfer of leadership that was asked for here is over.
    TransferEnded(TransferEnd),
    /// Give the applier this to keep, and tell people: somebody has signed what no honest validator signs.
    /// It has no completion.
    Convict(Box<Conviction>),
    /// The log is no longer needed below this height.
    Prune {
        /// The lowest height to keep.
        below: Height,
    },
    /// Something that telemetry and those who watch want to know.
    Notice(Notice),
    /// Stop the node: it can go no further.
    Stop(Stop),
}

/// What becomes of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The transaction stands in the chain.
    Placed(Placed),
    /// It was not taken. Nothing happened because of this submission. If its nonce is used or its last height past, it
    /// may stand in the chain since an earlier one: the store says where, and whoever asks it should.
    Refused(Refusal),
    /// It was taken, but it never stood in the chain and never will.
    Dropped(Dropped),
    /// It was taken, and this node stops before it knows more.
    Unknown,
}

/// Where a transaction stands, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The block.
    pub block: BlockRef,
    /// Its place in the block.
    pub index: u32,
    /// What came of it.
    pub status: Status,
    /// Whether it was known before this submission.
    pub duplicate: bool,
}

/// Why a transaction was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// The mempool has no room.
    #[error("the mempool is full")]
    Full,
    /// The sender has as many transactions waiting as it may.
    #[error("too many transactions of this sender are waiting")]
    SenderFull,
    /// As many submissions of this transaction are waiting as may.
    #[error("too many submissions of this transaction are waiting")]
    WaitersFull,
    /// The nonce has been used, be it by this transaction.
    #[error("the nonce has been used")]
    NonceUsed,
    /// The nonce is too far above the highest used.
    #[error("the nonce is too far above the highest used")]
    NonceTooFar,
    /// Another transaction with this nonce is waiting.
    #[error("another transaction with this nonce is waiting")]
    NonceTaken,
    /// Its last height is past.
    #[error("its last height is past")]
    Expired,
    /// The sender has been granted nothing here, and no admin stands behind it.
    #[error("the sender has been granted nothing on this chain, as far as this node knows")]
    NotPermitted,
    /// The disk is nearly full.
    #[error("the disk is nearly full")]
    DiskLow,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why a transaction that was taken will never stand in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Dropped {
    /// Another transaction has used its nonce, or the window has moved past it.
    #[error("its nonce has been used by another transaction")]
    NonceUsed,
    /// Its last height is past.
    #[error("its last height is past")]
    Expired,
}

/// A record for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalJob {
    /// A record of the core.
    Record {
        /// The record's place in the order of all records.
        ticket: Ticket,
        /// The record.
        record: Record,
    },
    /// The log begins anew above a block that came with a snapshot.
    Start {
        /// The block.
        block: BlockRef,
        /// The ballot from now on, if it is another one.
        ballot: Option<Ballot>,
    },
}

/// The journal has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The last record that is durable; `None` if there is none yet.
    pub ticket: Option<Ticket>,
    /// Where the log was begun anew last, durably so.
    pub started: Option<BlockRef>,
    /// How much room is left. Without any, what could not be written waits: then
    /// [`Journal::write`](crate::journal::Journal::write) wants to be called again, with nothing new.
    pub space: Space,
}

/// Entries of a snapshot to stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageJob {
    /// The entries.
    pub entries: Entries,
    /// Whether they take the place of all that was staged before.
    pub first: bool,
}

/// A snapshot to install: its entries have been staged.
#[derive(Clone, Debug)]
pub struct InstallJob {
    /// Where the store stands then.
    pub standing: Standing,
    /// The header of the block that it stands on.
    pub header: SignedHeader,
    /// The steps from one roster to the next that lead to it.
    pub steps: Vec<RosterStep>,
}

/// Blocks to apply.
#[derive(Clone, Debug)]
pub struct ApplyJob {
    /// The blocks, in order, each with what is known of its place.
    pub blocks: Vec<(Checked<Block>, Anchor)>,
    /// A certificate for the last of them, or for a descendant.
    pub certificate: Checked<Certificate>,
}

/// A block that has been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedBlock {
    /// The block.
    pub block: BlockRef,
    /// The state after it.
    pub state_root: StateRoot,
    /// What became of its transactions.
    pub outcomes: Vec<Outcome>,
}

/// Blocks have been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The blocks, in order.
    pub blocks: Vec<AppliedBlock>,
    /// The height up to which the store survives a power cut.
    pub checkpointed: Height,
}

/// Blocks to read for another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchJob {
    /// The node.
    pub node: NodeId,
    /// The height of the first block.
    pub from: Height,
    /// About how many bytes of blocks.
    pub bytes: usize,
}

/// Blocks have been read for another node.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The node.
    pub node: NodeId,
    /// What the store has.
    pub found: Found,
}

/// Something that telemetry and those who watch want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Blocks are committed up to this one.
    Committed {
        /// The block.
        block: BlockRef,
    },
    /// A block was sealed here.
    Sealed {
        /// The block.
        block: BlockRef,
        /// How many transactions it has.
        transactions: usize,
    },
    /// Another leader, or none, is known.
    Leader {
        /// The term.
        term: Term,
        /// Who leads it.
        leader: Option<NodeId>,
    },
    /// A forwarded transaction was not taken.
    NotTaken {
        /// Who forwarded it.
        from: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// A transaction that nobody here waits for was dropped.
    Dropped {
        /// Why.
        reason: Dropped,
    },
    /// A block holds a transaction that counts for nothing.
    Void {
        /// The block.
        block: BlockHash,
        /// Its place in the block.
        index: u32,
    },
    /// A snapshot that was offered is not taken. Another source is asked.
    SnapshotFailed {
        /// Who offered it.
        from: NodeId,
        /// The block whose state it is.
        block: BlockRef,
        /// Why it is not taken.
        why: Failure,
    },
}

/// Why a node stops.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Stop {
    /// The core can go no further.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// The store could not be read.
    #[error("cannot read the store: {0}")]
    Store(Unreadable),
    /// The disk has not answered for far too long.
    #[error(
        "the log: its disk has made nothing durable for {} seconds; what was acknowledged is safe",
        LONGEST.as_micros() / 1_000_000
    )]
    DiskHangs,
}

/// What a store said when it could not be read.
#[derive(Clone, Debug)]
pub struct Unreadable(pub Arc<dyn Error + Send + Sync>);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
