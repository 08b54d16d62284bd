//! What was asked of the nodes of a testnet and what they answered, and what their chain says of it afterwards.

use std::fmt;

use quorate_chain::ids::{BlockHash, Height, NodeId, Term, TxId};
use serde::Serialize;

/// A time, in microseconds since the beginning.
pub(crate) type Micros = u64;

/// All that is known of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// What clients have asked, in any order.
    pub(crate) operations: Vec<Operation>,
    /// What nodes have said of themselves, in any order.
    pub(crate) sightings: Vec<Sighting>,
    /// The chain, from the first height that concerns the run on.
    pub(crate) chain: Vec<Block>,
    /// What each node holds in the end.
    pub(crate) holdings: Vec<Holdings>,
}

/// Something that a client has asked, once or until somebody said what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Operation {
    /// Who asked.
    pub(crate) client: usize,
    /// When it was asked first.
    pub(crate) begin: Micros,
    /// When there was an answer, or it was given up.
    pub(crate) end: Micros,
    /// What was asked.
    pub(crate) what: What,
    /// What was answered.
    pub(crate) answer: Answer,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum What {
    /// That a transaction takes effect.
    Write {
        /// Its name.
        tx: TxId,
        /// Whether it had been acknowledged before, so that it must not take effect once more.
        again: bool,
    },
    /// The value of a key.
    Read {
        /// The key.
        key: String,
        /// Whether any value will do that the key had at the height that goes with it.
        local: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Answer {
    /// The transaction stands in the chain.
    Ordered {
        /// Where.
        place: Place,
        /// The hash of the block.
        hash: BlockHash,
        /// Whether it took effect.
        applied: bool,
    },
    /// What the key was at a height.
    Value {
        /// Its value, if it had one.
        entry: Option<Entry>,
        /// The height.
        read_height: Height,
    },
    /// Nothing has happened, and nothing will.
    Nothing,
    /// Nobody has said what became of it.
    Unknown,
    /// Something that is no answer.
    Nonsense(String),
}

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Place {
    /// The block's height.
    pub(crate) height: Height,
    /// The place in the block.
    pub(crate) index: u32,
}

impl Place {
    /// What a read at this height has seen.
    pub(crate) const fn end_of(height: Height) -> Self {
        Self { height, index: u32::MAX }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.index == u32::MAX {
            return write!(f, "height {}", self.height);
        }
        write!(f, "height {}, place {}", self.height, self.index)
    }
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// The value.
    pub(crate) value: String,
    /// The height at which it got it.
    pub(crate) height: Height,
    /// The transaction that gave it.
    pub(crate) tx: TxId,
}

/// What a node has said of itself at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// When.
    pub(crate) at: Micros,
    /// Which node.
    pub(crate) node: NodeId,
    /// The term it was in.
    pub(crate) term: Term,
    /// Who led that term, as far as it knew.
    pub(crate) leader: Option<NodeId>,
    /// The height it had committed.
    pub(crate) height: Height,
    /// The hash of the block there.
    pub(crate) hash: BlockHash,
}

/// A block of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its height.
    pub(crate) height: Height,
    /// Its hash.
    pub(crate) hash: BlockHash,
    /// The hash of the block below.
    pub(crate) parent: BlockHash,
    /// The term in which it was sealed.
    pub(crate) term: Term,
    /// Who sealed it.
    pub(crate) proposer: NodeId,
    /// Its transactions, in order.
    pub(crate) txs: Vec<Tx>,
}

/// A transaction of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tx {
    /// Its name.
    pub(crate) id: TxId,
    /// What it does, if that concerns the run.
    pub(crate) changes: Vec<Change>,
    /// Whether the node says that it took effect.
    pub(crate) applied: bool,
}

/// What a transaction does to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The key.
    pub(crate) key: String,
    /// What is done.
    pub(crate) action: Action,
}

/// What can be done to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It gets a value, having none.
    Put(String),
    /// It gets a value.
    Update(String),
    /// It loses its value.
    Remove,
    /// It gets a value, if it has this one or, if none is named, has none.
    Cas(Option<String>, String),
}

/// What a node holds in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Which node.
    pub(crate) node: NodeId,
    /// Its blocks, from the first height that concerns the run on.
    pub(crate) blocks: Vec<(Height, BlockHash)>,
    /// The keys that concern the run, as of a height.
    pub(crate) entries: Vec<(String, Entry)>,
    /// That height.
    pub(crate) as_of: Height,
}
