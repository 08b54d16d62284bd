//! What became of a transaction, as far as it can be known here.
//!
//! That nothing happened is said only of a transaction that this node has neither applied nor taken, nor is about to
//! take, and only after all of that was looked up: whoever sends the same bytes again hears the same outcome, also while
//! there is no quorum, or no room. What cannot be looked up is unknown. So is one that was not applied here and whose nonce
//! is used, on a node that began with a state of others: nonces come with it, and the transactions that used them do not.
//!
//! Left out: to tell nonces that came with the state from those that another transaction has used since.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_chain::block::SignedHeader;
use quorate_chain::ids::{Height, TxId};
use quorate_chain::roster::QuorumKind;
use quorate_chain::state::NonceError;
use quorate_chain::transaction::{Operation, SignedTransaction};
use quorate_client::answer::{self, Outcome, TxStatus};
use quorate_client::problem::{Code, Effect, EffectWord, Problem};
use quorate_replica::io::Placed;
use quorate_replica::store::Place;
use tokio::sync::oneshot;

use super::answers;
use super::ledger::{Answered, Ledger, until};
use super::problem::{failed, problem};
use super::reading::{Found, Reading, is_whole};
use crate::threads::Request;

/// Most headers between a block and the certificate that covers it.
const PATH: u64 = quorate_chain::limits::PATH as u64;

/// How long it is tried to ask whether a transaction waits.
const ASKING: Duration = Duration::from_secs(1);

/// The certificate that covers an applied height.
pub(super) enum Covered {
    /// All that it takes is here.
    By(Arc<answer::Certificate>),
    /// It may come.
    NotYet,
    /// What it takes is not kept here.
    NoMore,
}

fn covered(store: &dyn Reading, height: Height) -> Found<Covered> {
    let Some(certificate) = store.certificate(height)? else { return Ok(Covered::NotYet) };
    let end = certificate.block().height;
    if end.get() - height.get() > PATH {
        return Ok(Covered::NoMore);
    }
    let applied = store.applied()?;
    let mut path: Vec<SignedHeader> = Vec::new();
    for above in height.get() + 1..=end.get() {
        let Some(header) = store.header(Height::new(above))? else {
            let comes = applied.get() < above;
            return Ok(if comes { Covered::NotYet } else { Covered::NoMore });
        };
        path.push(header);
    }
    let Some(roster) = store.roster(end)? else { return Ok(Covered::NoMore) };
    Ok(Covered::By(Arc::new(answers::certificate(height, &path, &certificate, &roster))))
}

/// The outcome of a transaction that stands in an applied block, with the certificate for that if there is one.
pub(super) fn settled(
    transaction: &SignedTransaction,
    placed: Placed,
    certificate: Option<Arc<answer::Certificate>>,
) -> Answered<Outcome> {
    let operations = &transaction.content().operations;
    let mut outcome = answers::outcome(transaction.id(), operations, placed);
    outcome.certificate = certificate;
    if outcome.error.is_some() { Err(failed(outcome)) } else { Ok(outcome) }
}

/// What became of a transaction, as far as a node knows.
enum Fate {
    /// It was applied here.
    Placed(Box<Outcome>),
    /// It was not.
    NotPlaced,
    /// Its nonce is used, by it or by another one, perhaps before this node began with a state of others.
    Before,
}

/// What stands at a place.
const fn placed_at(place: &Place) -> Placed {
    let Place { block, index, outcome } = place;
    Placed { block: *block, index: *index, status: outcome.status, duplicate: false }
}

impl Ledger {
    /// The outcome of a transaction that stands in an applied block.
    pub(super) async fn settled(
        &self,
        transaction: &SignedTransaction,
        placed: Placed,
        deadline: Instant,
    ) -> Answered<Outcome> {
        // Without its certificate it is what it is, also when the store answers too late.
        let certificate = self.certificate_soon(placed.block.height, deadline);
        let certificate = match until(deadline, certificate).await {
            Some(Ok(Covered::By(it))) => Some(it),
            Some(Ok(Covered::NotYet | Covered::NoMore) | Err(_)) | None => None,
        };
        settled(transaction, placed, certificate)
    }

    /// What is said of a transaction that is not taken: the outcome if it was applied here, that nobody
    /// knows if it waits here, else why it is not taken.
    pub(super) async fn unless_known(
        &self,
        transaction: &SignedTransaction,
        refusal: Box<Problem>,
    ) -> Answered<Outcome> {
        let id = transaction.id();
        if refusal.outcome != Effect::Word(EffectWord::NothingHappened) {
            return Err(refusal);
        }
        let unknown = || self.unknown(id, &format!("it is known here already; {}", refusal.detail));
        // What does not wait any more may have been applied since.
        let waits = self.is_waiting(id).await;
        let deadline = Instant::now() + ASKING;
        let found = until(deadline, self.placed_if_used(transaction)).await;
        match found.unwrap_or_else(|| Err(self.unknown(id, "too much is looked up"))) {
            Ok(Fate::Placed(outcome)) => {
                let outcome = Outcome { duplicate: true, ..*outcome };
                if outcome.error.is_some() { Err(failed(outcome)) } else { Ok(outcome) }
            }
            Ok(Fate::Before) => {
                let why = "its nonce is used, and this node has begun with a state of others; ask another one";
                Err(self.unknown(id, why))
            }
            Ok(Fate::NotPlaced) if waits == Some(false) => Err(self.heard(refusal)),
            Ok(Fate::NotPlaced) if waits == Some(true) => Err(unknown()),
            Ok(Fate::NotPlaced) | Err(_) => {
                Err(self.unknown(id, &format!("it cannot be looked up; {}", refusal.detail)))
            }
        }
    }

    /// A problem that says so.
    pub(super) fn unknown(&self, id: TxId, detail: &str) -> Box<Problem> {
        let view = self.view.borrow();
        let mut problem = problem(Code::OutcomeUnknown, detail);
        problem.tx = Some(id);
        problem.reachable = u32::try_from(self.reachable(&view)).ok();
        problem.needed = u32::try_from(view.roster.current().quorum(QuorumKind::Commit)).ok();
        problem.leader_api = view.status.leader.and_then(|leader| self.api_of(&view, leader));
        problem
    }

    /// What became of a transaction.
    pub(crate) async fn transaction(&self, id: TxId) -> Answered<Outcome> {
        if let Some(outcome) = self.placed(id).await? {
            return Ok(outcome);
        }
        // Others may have acknowledged it, and it is not applied here yet.
        self.come_close().await;
        let waits = self.is_waiting(id).await.unwrap_or(false);
        // What does not wait any more may have been applied since.
        if let Some(placed) = self.placed(id).await? {
            return Ok(placed);
        }
        if waits {
            return Ok(answers::unplaced(id, TxStatus::Pending));
        }
        if self.expired.knows(id) {
            return Ok(answers::expired(id));
        }
        Ok(answers::unplaced(id, TxStatus::Unknown))
    }

    /// Whether a transaction waits here to be ordered or applied; `None` if nobody can say.
    async fn is_waiting(&self, id: TxId) -> Option<bool> {
        let deadline = Instant::now() + ASKING;
        // What is checked still reaches the driver later; what is not any more has reached it before it is asked.
        if self.pool.holds(id) {
            return Some(true);
        }
        loop {
            let (reply, waiting) = oneshot::channel();
            if self.inbox.request(Request::IsWaiting { tx: id, reply }).is_ok() {
                return waiting.await.ok();
            }
            // There are too many requests, or nobody takes them any more.
            if self.ending.said().is_some() || Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Remembers a transaction that has expired.
    pub(super) fn heard(&self, problem: Box<Problem>) -> Box<Problem> {
        if let (Code::Expired, Some(tx)) = (problem.code, problem.tx) {
            self.expired.remember(tx);
        }
        problem
    }

    /// What became of a transaction here. One whose nonce is free was not applied: that is seen at once, and so
    /// whoever floods a node with what it refuses does not make it go through the index of all transactions each time.
    /// What is in it is known to whoever has sent it, so its block is not read.
    async fn placed_if_used(&self, transaction: &SignedTransaction) -> Answered<Fate> {
        let (id, content) = (transaction.id(), transaction.content());
        let (sender, nonce) = (content.sender, content.nonce);
        let found = self.read(move |store| {
            let (nonces, _) = store.account(sender)?;
            if nonces.check(nonce) != Err(NonceError::Used) {
                return Ok((None, true));
            }
            Ok((store.place(id)?, is_whole(store)?))
        });
        let (place, whole) = found.await?;
        let Some(place) = place else {
            return Ok(if whole { Fate::NotPlaced } else { Fate::Before });
        };
        let mut outcome = answers::outcome(id, &content.operations, placed_at(&place));
        // Without its certificate it is what it is.
        if let Ok(Covered::By(certificate)) = self.certificate_here(place.block.height).await {
            outcome.certificate = Some(certificate);
        }
        Ok(Fate::Placed(Box::new(outcome)))
    }

    /// The outcome of a transaction that was applied here. If its block is not kept, it is told without
    /// its operations.
    async fn placed(&self, id: TxId) -> Answered<Option<Outcome>> {
        let found = self.read(move |store| {
            let Some(place) = store.place(id)? else { return Ok(None) };
            let block = store.block(place.block.height)?;
            Ok(Some((place, block, covered(store, place.block.height)?)))
        });
        let Some((place, block, covered)) = found.await? else { return Ok(None) };
        let at = usize::try_from(place.index).unwrap_or(usize::MAX);
        let transaction = block.as_ref().and_then(|block| block.body().transactions.get(at));
        let operations: &[Operation] =
            transaction.map_or(&[], |transaction| &transaction.content().operations);
        let mut outcome = answers::outcome(id, operations, placed_at(&place));
        if let Covered::By(certificate) = covered {
            outcome.certificate = Some(certificate);
        }
        Ok(Some(outcome))
    }

    /// The certificate that covers an applied height.
    pub(super) async fn certificate_here(&self, height: Height) -> Answered<Covered> {
        if let Some(certificate) = self.covers.at(height) {
            return Ok(Covered::By(certificate));
        }
        self.read(move |store| covered(store, height)).await
    }

    /// The same, with a little patience: the block that the certificate is for may be about to be
    /// applied.
    pub(super) async fn certificate_soon(
        &self,
        height: Height,
        deadline: Instant,
    ) -> Answered<Covered> {
        let mut view = self.view.clone();
        loop {
            view.mark_unchanged();
            let here = self.certificate_here(height).await?;
            if !matches!(here, Covered::NotYet) {
                return Ok(here);
            }
            let changed = self.unless_leaving(until(deadline, view.changed())).await;
            if !matches!(changed, Some(Some(Ok(())))) {
                return Ok(here);
            }
        }
    }
}
