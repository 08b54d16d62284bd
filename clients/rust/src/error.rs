//! Every way in which a request can end without an answer.

use std::time::Duration;

use quorate_chain::codec::DecodeError;
use quorate_chain::ids::TxId;

use crate::http::Failure;
use crate::problem::Problem;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that should be the address of a node is none.
    #[error("`{url}` is not the address of a node; one looks like http://127.0.0.1:7600")]
    Address {
        /// What was given.
        url: String,
    },
    /// A list of nodes with nothing in it.
    #[error("no node was named")]
    NoNodes,
    /// No node could be reached, so nothing has happened.
    #[error("no node answered: {}", list(failures))]
    NoNode {
        /// What each said, by its address.
        failures: Vec<(String, Failure)>,
    },
    /// A node said no.
    #[error("{problem}")]
    Refused {
        /// What it said.
        problem: Box<Problem>,
        /// The same, byte for byte.
        body: String,
    },
    /// The transaction may or may not be ordered: it may have reached a node, and no node has said
    /// what became of it. The same bytes can be sent again.
    #[error("no word for {} about transaction {tx}: {last}", seconds(*waited))]
    Unknown {
        /// The transaction.
        tx: TxId,
        /// How long nodes have been asked.
        waited: Duration,
        /// What the last one said.
        last: Box<Self>,
    },
    /// A node answered with something that is no answer.
    #[error("{url} answered with status {status} and {what}")]
    Nonsense {
        /// The node.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with the rest.
        what: String,
    },
    /// What should be sent is not a transaction that the format allows.
    #[error("not a transaction: {0}")]
    Transaction(#[from] DecodeError),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

fn list(failures: &[(String, Failure)]) -> String {
    let each: Vec<_> = failures.iter().map(|(url, why)| format!("{url} ({why})")).collect();
    each.join(", ")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

impl Error {
    /// What a node said, if it was a node that said no.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            Self::Unknown { last, .. } => last.problem(),
            Self::Address { .. }
            | Self::NoNodes
            | Self::NoNode { .. }
            | Self::Nonsense { .. }
            | Self::Transaction(_)
            | Self::Random(_) => None,
        }
    }
}
