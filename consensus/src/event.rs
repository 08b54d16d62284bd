//! What happens to a core.

use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height, NodeId, StateRoot};
use quorate_chain::roster::{Lead, Roster, SignedRosterChange};
use quorate_chain::statement::SignedStatement;

use crate::effect::Ticket;
use crate::judge::Proven;
use crate::log::Anchor;
use crate::message::{Message, Snapshot};
use crate::reads::ReadId;

/// The caller's name for a roster change that it asks for. The answer carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId(pub u64);

/// What the store has of the blocks from a height on.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// The blocks.
    Blocks {
        /// The block that the first one stands on.
        parent: BlockRef,
        /// The blocks, in order; none if there is none with a certificate yet.
        blocks: Vec<Checked<Block>>,
        /// The certificate for the last of them.
        certificate: Option<Certificate>,
    },
    /// That height was pruned.
    Pruned {
        /// The newest snapshot that can be sent instead, if there is one.
        snapshot: Option<Box<Snapshot>>,
    },
}

/// A snapshot that stands in the place of the log: verified, and durable in store and log.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The block at whose state it was made: the applied tip from now on.
    pub anchor: Anchor,
    /// Rosters that were left before it, oldest first. The newest [`LEFT`](crate::log::LEFT) are of use.
    pub left: Vec<Arc<Roster>>,
    /// The state there.
    pub state_root: StateRoot,
    /// The commit certificate that came with it, for the anchor or a descendant, with its roster.
    pub certificate: Proven,
}

/// Everything that can happen to a core. A failure of what it has asked for is not among it: if the
/// disk says no, the node stops.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A peer sent something.
    Received {
        /// The peer, authenticated.
        from: NodeId,
        /// What it sent.
        message: Message,
    },
    /// There is a connection to a peer: what was sent to it before is lost.
    LinkOpened {
        /// The peer.
        node: NodeId,
    },
    /// The connection to a peer is closed.
    LinkLost {
        /// The peer.
        node: NodeId,
    },
    /// Everything up to this ticket is durable.
    Persisted {
        /// The ticket of the newest durable record.
        ticket: Ticket,
    },
    /// A statement that was asked for has been signed.
    Signed(Checked<SignedStatement>),
    /// A block has been sealed for the newest offered slot.
    Sealed(Checked<Block>),
    /// A block has been applied, and durably so.
    Applied {
        /// Its height.
        height: Height,
        /// The state after it.
        state_root: StateRoot,
    },
    /// The store has been asked for blocks for a peer.
    Fetched {
        /// The peer that they are for.
        node: NodeId,
        /// What the store has.
        found: Fetched,
    },
    /// The snapshot that was asked for has been installed; nothing if its source could not bring it,
    /// or brought something else.
    Installed(Option<Box<Installed>>),
    /// Somebody wants another roster; answered by `Changed`.
    Change {
        /// The caller's name for it.
        id: ChangeId,
        /// The change.
        change: Box<SignedRosterChange>,
    },
    /// The operator wants another leader. Answered by `TransferEnded`.
    Transfer {
        /// Who shall lead; `None` leaves the choice to the leader.
        to: Option<NodeId>,
    },
    /// The operator says whether this validator wants to lead. It stands above what the roster says,
    /// until the node stops.
    Willing(Lead),
    /// A client wants to read what is committed by now, or later. Answered by `Serve` or `RefuseRead`.
    Read {
        /// Its name among all reads of this life.
        read: ReadId,
    },
    /// The operator vouches that nothing which this validator has forgotten can still count: see
    /// [`crate::amnesia`].
    Readmit,
}
