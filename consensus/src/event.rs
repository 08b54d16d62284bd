//! What happens to a core.

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height, NodeId, StateRoot};
use quorate_chain::statement::SignedStatement;

use crate::effect::Ticket;
use crate::message::Message;

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
    /// Blocks have been read from the store for a peer.
    Fetched {
        /// The peer that they are for.
        node: NodeId,
        /// The block that the first one stands on.
        parent: BlockRef,
        /// The blocks, in order; none if the store does not have them.
        blocks: Vec<Checked<Block>>,
        /// The certificate for the last of them.
        certificate: Option<Certificate>,
    },
    /// The operator wants another leader.
    Transfer {
        /// Who shall lead.
        to: NodeId,
    },
}
