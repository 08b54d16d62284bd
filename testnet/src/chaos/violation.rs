//! Everything that a run can show to be wrong.

use quorate_chain::ids::{BlockHash, Height, NodeId, Term, TxId};

use super::history::{Entry, Micros, Place};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// An acknowledged transaction is gone.
    #[error("lost: transaction {tx} was acknowledged at {said} and stands nowhere")]
    Lost {
        /// The transaction.
        tx: TxId,
        /// Where it was said to stand.
        said: Place,
    },
    /// A transaction stands in the chain more than once.
    #[error("doubled: transaction {tx} stands at {} places", places.len())]
    Doubled {
        /// The transaction.
        tx: TxId,
        /// Where it stands.
        places: Vec<Place>,
    },
    /// An acknowledged transaction stands elsewhere, or in another block.
    #[error("moved: transaction {tx} was acknowledged at {said} and stands at {stands}")]
    Moved {
        /// The transaction.
        tx: TxId,
        /// Where it was said to stand.
        said: Place,
        /// Where it stands.
        stands: Place,
    },
    /// A transaction of which a node vouched that nothing had happened stands in the chain.
    #[error(
        "denied: nothing was said to have happened with transaction {tx}, and it stands at {stands}"
    )]
    Denied {
        /// The transaction.
        tx: TxId,
        /// Where it stands.
        stands: Place,
    },
    /// A transaction took effect and should have failed, or the other way round.
    #[error("outcome: transaction {tx} at {at} {}, a node says that it {}", did(*applied), did(*said))]
    Outcome {
        /// The transaction.
        tx: TxId,
        /// Where it stands.
        at: Place,
        /// Whether it took effect, by the rules.
        applied: bool,
        /// Whether a node says so.
        said: bool,
    },
    /// What was asked later stands before what had been answered earlier.
    #[error(
        "order: what was asked at {} s stands at {later}, although {earlier} was known before",
        seconds(*asked)
    )]
    Order {
        /// When it was asked.
        asked: Micros,
        /// Where it stands.
        later: Place,
        /// What had been answered before it was asked.
        earlier: Place,
    },
    /// A read did not see what had been answered before it was asked.
    #[error(
        "stale: {key} was asked for at {} s and read at height {read_height}, although {earlier} was known before",
        seconds(*asked)
    )]
    Stale {
        /// The key.
        key: String,
        /// When it was asked for.
        asked: Micros,
        /// The height at which it was read.
        read_height: Height,
        /// What had been answered before it was asked for.
        earlier: Place,
    },
    /// A key was said to be something that it was not.
    #[error(
        "value: {key} at height {height} was {}, and was said to be {}",
        shown(expected),
        shown(said)
    )]
    Value {
        /// The key.
        key: String,
        /// The height.
        height: Height,
        /// What it was.
        expected: Option<Entry>,
        /// What it was said to be.
        said: Option<Entry>,
    },
    /// A committed block is another one later.
    #[error("changed: {node} had committed {seen} at height {height}, where {stands} stands")]
    Changed {
        /// The node.
        node: NodeId,
        /// The height.
        height: Height,
        /// What it had there.
        seen: BlockHash,
        /// What stands there.
        stands: BlockHash,
    },
    /// A term has more than one leader.
    #[error("two leaders: term {term} was led by {one} and by {other}")]
    TwoLeaders {
        /// The term.
        term: Term,
        /// One of them.
        one: NodeId,
        /// Another.
        other: NodeId,
    },
    /// The chain is none.
    #[error("broken: the block at height {height} does not stand on the one below")]
    Broken {
        /// The height.
        height: Height,
    },
    /// Nodes hold different blocks, or one of them lacks some.
    #[error("unequal: {node} does not have the others' block at height {height}")]
    Unequal {
        /// The node.
        node: NodeId,
        /// The lowest such height.
        height: Height,
    },
    /// A node's state is not what the chain makes of it.
    #[error(
        "state: of node {node} at height {height}, {key} is {}, and should be {}",
        shown(said),
        shown(expected)
    )]
    State {
        /// The node.
        node: NodeId,
        /// The height.
        height: Height,
        /// The key.
        key: String,
        /// What it should be.
        expected: Option<Entry>,
        /// What it is.
        said: Option<Entry>,
    },
    /// A node answered with something that is no answer.
    #[error("nonsense, at {} s: {what}", seconds(*at))]
    Nonsense {
        /// When.
        at: Micros,
        /// What was said.
        what: String,
    },
    /// A node ended although nobody had ended it, or did not come back.
    #[error("{name} {what}, at {} s", seconds(*at))]
    Casualty {
        /// The node's name.
        name: String,
        /// When.
        at: Micros,
        /// What it did.
        what: String,
    },
    /// After all was well again, the nodes did not go on.
    #[error("no progress: {0}")]
    NoProgress(String),
}

fn did(applied: bool) -> &'static str {
    if applied { "took effect" } else { "failed" }
}

fn shown(entry: &Option<Entry>) -> String {
    match entry {
        None => "nothing".to_owned(),
        Some(Entry { value, height, tx }) => format!("{value} (since {height}, {tx:.8})"),
    }
}

/// A time as people read it.
pub(crate) fn seconds(at: Micros) -> String {
    format!("{}.{:03}", at / 1_000_000, at / 1_000 % 1_000)
}
