//! Requests of others that wait for the core's answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use quorate_chain::ids::NodeId;

use crate::net::Reply;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// A pre-vote or a vote.
    Vote,
    /// A part of the chain.
    Chain,
}

/// The newest request of each node for each thing: the core answers requests in its own time, and says
/// whom it answers, not which request. Who asks again has given up the one before.
#[derive(Debug)]
pub(super) struct Pending {
    replies: Mutex<BTreeMap<(NodeId, Wanted), Reply>>,
    /// Most bytes of an answer.
    most: usize,
}

impl Pending {
    pub(super) fn new(most: usize) -> Self {
        Self { replies: Mutex::default(), most }
    }

    /// Keeps a request.
    pub(super) fn keep(&self, from: NodeId, wanted: Wanted, reply: Reply) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.insert((from, wanted), reply);
    }

    /// The request that an answer of so many bytes goes to, if one waits and it fits.
    pub(super) fn take(&self, to: NodeId, wanted: Wanted, bytes: usize) -> Option<Reply> {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.remove(&(to, wanted)).filter(|_| bytes <= self.most)
    }
}
