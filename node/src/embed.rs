//! A node inside another program: what clients do over HTTP, as calls.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use quorate_chain::block::Block;
use quorate_chain::ids::Height;
use quorate_chain::roster::SignedRosterChange;
use quorate_chain::transaction::SignedTransaction;
use quorate_client::Level;
use quorate_client::answer::{Outcome, Status};
use quorate_client::problem::Problem;
use quorate_consensus::membership::Refusal as ChangeRefusal;
use tokio::sync::oneshot;

use crate::Node;
use crate::api::{self, Ledger};
use crate::threads::Request;

impl Node {
    /// Submits a transaction and waits as far as asked, at most so long.
    ///
    /// # Errors
    /// As over HTTP: why it was refused, or that nobody knows yet what becomes of it.
    pub async fn submit(
        &self,
        transaction: SignedTransaction,
        level: Level,
        timeout: Duration,
    ) -> Result<Outcome, Box<Problem>> {
        let level = match level {
            Level::Accepted => api::Level::Accepted,
            Level::Committed => api::Level::Committed,
            Level::Applied => api::Level::Applied,
        };
        self.ledger().submit(transaction, level, timeout).await
    }

    /// Asks for another roster. Only a leader takes a change.
    ///
    /// Returns the height of the block that enters it; it is in force for good once a later block has
    /// left the old one.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn change(&self, change: SignedRosterChange) -> Result<Height, ChangeRefusal> {
        let (reply, entered) = oneshot::channel();
        let change = Box::new(change);
        let asked = self.ledger().inbox.request(Request::Change { change, reply });
        let gone = Err(ChangeRefusal::NotLeader { leader: None });
        if asked.is_err() { gone } else { entered.await.unwrap_or(gone) }
    }

    /// What the node is and how it fares.
    ///
    /// # Panics
    /// Never: a client can read what a node answers.
    #[must_use]
    pub fn status(&self) -> Status {
        let told = serde_json::to_value(self.ledger().status());
        let told = told.expect("what a node answers has a JSON form");
        serde_json::from_value(told).expect("a client can read what a node answers")
    }

    /// The committed blocks from a height on, those to come included.
    #[must_use]
    pub fn blocks(&self, from: Height) -> Blocks {
        let next = Some(from.max(Height::new(1)));
        Blocks { ledger: Arc::clone(self.ledger()), next, coming: None }
    }
}

/// Committed blocks in order, as they are applied: a stream, which ends when the node stops or a block
/// was pruned.
pub struct Blocks {
    ledger: Arc<Ledger>,
    next: Option<Height>,
    coming: Option<Coming>,
}

/// A block that is waited for.
type Coming = Pin<Box<dyn Future<Output = Option<Block>> + Send>>;

impl Blocks {
    /// The next block, once there is one; `None` when the node stops or the block was pruned.
    pub async fn next(&mut self) -> Option<Block> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Blocks {
    type Item = Block;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Block>> {
        let Some(height) = self.next else { return Poll::Ready(None) };
        let ledger = Arc::clone(&self.ledger);
        let wait =
            || -> Coming { Box::pin(async move { ledger.block_when_applied(height).await }) };
        let block = ready!(self.coming.get_or_insert_with(wait).as_mut().poll(context));
        self.coming = None;
        self.next = height.next().filter(|_| block.is_some());
        Poll::Ready(block)
    }
}
