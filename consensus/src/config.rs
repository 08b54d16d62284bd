//! What is set once for a core.

use quorate_chain::ids::{ChainId, NodeId};
use quorate_chain::roster::Lead;

use crate::life::SignedLife;
use crate::time::Span;

/// The name of a log on one disk: made anew whenever the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

/// How often a log has been begun: a durable count, one more at every start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boot(pub u64);

impl std::fmt::Display for Boot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is set once for a core.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain.
    pub chain_id: ChainId,
    /// Which validator this is.
    pub id: NodeId,
    /// Which start of which log this is.
    pub life: SignedLife,
    /// Whether this validator wants to lead, if its operator says otherwise than the roster.
    pub lead: Option<Lead>,
    /// T: the least time without a leader before a campaign. The timeout is drawn from [T, 2T) (Raft §5.2).
    pub election_timeout: Span,
    /// How often a leader is heard when there is nothing to say (Raft §5.2): several times in T (Raft §5.6).
    pub heartbeat: Span,
    /// Most blocks above the applied tip.
    pub window_blocks: usize,
    /// Most bytes of blocks above the applied tip.
    pub window_bytes: usize,
    /// About how many bytes of blocks are in one message. A range that is worth nothing cut short takes
    /// more: at most what a window holds.
    pub message_bytes: usize,
    /// K: the state is certified at every height that is a multiple of it, for snapshots; never if 0.
    pub snapshot_every: u64,
    /// Where the choice of timeouts begins. Two validators should not share it.
    pub seed: u64,
}
