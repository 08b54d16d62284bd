//! What a validator is set up with.

use std::sync::Arc;

use quorate_chain::crypto::{Signer, Verifier};
use quorate_chain::genesis::Genesis;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_chain::limits as format;
use quorate_chain::roster::Lead;
use quorate_consensus::config::Incarnation;
use quorate_consensus::time::Span;
use quorate_wal::Options;

/// What the file of the key says of the log that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// The key has never signed: the log may be made, under this name. Once it is, and before
    /// anything is signed, the file must say `Used`.
    Fresh(Incarnation),
    /// The key has signed. A log with another name, or none, has forgotten what.
    Used(Incarnation),
}

/// What a validator is set up with.
#[derive(Clone)]
pub struct Setup {
    /// What the chain begins with.
    pub genesis: Genesis,
    /// The chain: the hash of the genesis file.
    pub chain_id: ChainId,
    /// Which validator this is.
    pub id: NodeId,
    /// What it signs with.
    pub signer: Arc<dyn Signer>,
    /// What signatures are checked with.
    pub verifier: Arc<dyn Verifier>,
    /// What the file of the key says of the log.
    pub birth: Birth,
    /// Whether it wants to lead, if its operator says otherwise than the roster.
    pub lead: Option<Lead>,
    /// Times, sizes and counts.
    pub limits: Limits,
    /// How the log is kept.
    pub wal: Options,
    /// Where the choice of timeouts begins. Two validators should not share it.
    pub seed: u64,
}

/// Times, sizes and counts of one validator. No two need be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The least time without a leader before a campaign.
    pub election_timeout: Span,
    /// How often a leader is heard when there is nothing to say.
    pub heartbeat: Span,
    /// Most blocks above the applied tip.
    pub window_blocks: usize,
    /// Most bytes of blocks above the applied tip.
    pub window_bytes: usize,
    /// Most bytes of blocks in one message.
    pub message_bytes: usize,
    /// Most transactions in a block.
    pub block_transactions: usize,
    /// Most bytes of transactions in a block.
    pub block_bytes: usize,
    /// One block in each, empty or not; without it blocks are made on demand.
    pub block_interval: Option<Span>,
    /// Most transactions in the mempool.
    pub mempool_transactions: usize,
    /// Most bytes of memory that the transactions in the mempool take.
    pub mempool_bytes: usize,
    /// Most transactions of one sender in the mempool. Its nonces allow no more than 2,047, and one that
    /// counts up gets no further than 1,024 above what is applied.
    pub mempool_sender: usize,
    /// How long a forwarded transaction may take before it is forwarded again.
    pub forward_again: Span,
    /// Most bytes of transactions in one forwarded message.
    pub forward_bytes: usize,
    /// Most reads that wait.
    pub reads: usize,
    /// The store begins to make itself safe against a power cut at least every so many blocks, and once what would be lost
    /// is as much as a window holds. A start may find twice as much in the log, because the disk takes its time.
    pub checkpoint_every: u64,
    /// K: how often a state is certified for snapshots, in blocks.
    pub snapshot_every: u64,
    /// How many of the newest blocks are kept whole at least; 0 keeps all. Older ones are forgotten as soon
    /// as a state above them can be offered to who lacks them.
    pub keep_blocks: u64,
}

impl Limits {
    /// Most records that may be on their way to the log while the driver still takes messages: several for each
    /// block in flight, and a ballot and a branch or two for each of many terms.
    #[must_use]
    pub const fn most_records(&self) -> usize {
        4 * self.window_blocks + 512
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            election_timeout: Span::millis(1_000),
            heartbeat: Span::millis(100),
            window_blocks: 64,
            window_bytes: 32 << 20,
            message_bytes: 4 << 20,
            block_transactions: format::TRANSACTIONS,
            block_bytes: format::BODY,
            block_interval: None,
            mempool_transactions: 50_000,
            mempool_bytes: 128 << 20,
            mempool_sender: 512,
            forward_again: Span::millis(2_000),
            forward_bytes: 1 << 20,
            reads: 10_000,
            checkpoint_every: 1_000,
            snapshot_every: 1_000,
            keep_blocks: 0,
        }
    }
}
