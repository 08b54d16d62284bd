//! Handing transactions in, and hearing what becomes of them.
//!
//! A transaction is checked, taken into the mempool, ordered, applied; the caller says
//! how far to wait. If the wait ends early nobody knows what became of it, and the caller is told so;
//! nothing is ever said to have failed that may still be ordered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_chain::ids::TxId;
use quorate_chain::roster::QuorumKind;
use quorate_chain::transaction::SignedTransaction;
use quorate_client::answer::{Outcome, TxStatus};
use quorate_client::problem::Code;
use quorate_replica::io::Answer;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::answers;
use super::known::settled;
use super::ledger::{Answered, Ledger, Level, stopping, until};
use super::problem::{dropped, problem, refused, unacceptable};
use crate::threads::Word;

/// How soon it is looked again who is reachable.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Ledger {
    /// Submits a transaction and waits as far as asked.
    pub(crate) async fn submit(
        &self,
        transaction: SignedTransaction,
        level: Level,
        timeout: Duration,
    ) -> Answered<Outcome> {
        let deadline = Instant::now() + timeout;
        let id = transaction.id();
        if let Err(refusal) = self.quorum_in_sight(id, self.patience(timeout)).await {
            return self.unless_known(&transaction, refusal).await;
        }
        let heard = if self.nothing_is_under_way() {
            Some(self.pool.submit_now(transaction.clone(), level.wish()))
        } else {
            self.pool.submit([transaction.clone()], level.wish()).pop()
        };
        let word = self.word(id, heard, deadline).await?;
        match self.answer_at_once(&transaction, word) {
            Ok(answer) => answer,
            Err(word) => self.answer(&transaction, word, deadline).await,
        }
    }

    /// Submits transactions, each for itself, and waits for all of them as far as asked.
    pub(crate) async fn submit_all(
        self: &Arc<Self>,
        transactions: Vec<SignedTransaction>,
        level: Level,
        timeout: Duration,
    ) -> Vec<Answered<Outcome>> {
        let deadline = Instant::now() + timeout;
        let Some(first) = transactions.first() else { return Vec::new() };
        let mut answers: Vec<_> = transactions.iter().map(|_| None).collect();
        // What takes longer than a look: each of these waits for itself. Whoever hangs up waits for nothing any more: the
        // tasks go with the set.
        let mut others = JoinSet::new();
        let quorum = self.quorum_in_sight(first.id(), self.patience(timeout)).await;
        if let Err(refusal) = quorum {
            for (at, transaction) in transactions.into_iter().enumerate() {
                let (ledger, mut refusal) = (Arc::clone(self), refusal.clone());
                refusal.tx = Some(transaction.id());
                others.spawn(async move { (at, ledger.unless_known(&transaction, refusal).await) });
            }
        } else {
            let heard = self.pool.submit(transactions.clone(), level.wish());
            for (at, (transaction, heard)) in transactions.into_iter().zip(heard).enumerate() {
                let word = self.word(transaction.id(), Some(heard), deadline).await;
                match word.map(|word| self.answer_at_once(&transaction, word)) {
                    Ok(Ok(answer)) => answers[at] = Some(answer),
                    Err(problem) => answers[at] = Some(Err(problem)),
                    Ok(Err(word)) => {
                        let ledger = Arc::clone(self);
                        others.spawn(async move {
                            (at, ledger.answer(&transaction, word, deadline).await)
                        });
                    }
                }
            }
        }
        while let Some(one) = others.join_next().await {
            if let Ok((at, answer)) = one {
                answers[at] = Some(answer);
            }
        }
        // Without an answer its task has panicked.
        let bug = || Err(problem(Code::OutcomeUnknown, "this is a bug"));
        answers.into_iter().map(|answer| answer.unwrap_or_else(bug)).collect()
    }

    /// Whether no transaction waits here, and all blocks are applied.
    fn nothing_is_under_way(&self) -> bool {
        let status = &self.view.borrow().status;
        status.mempool.transactions == 0 && status.tip == status.applied
    }

    /// How long it is waited for a quorum before a transaction is taken.
    fn patience(&self, timeout: Duration) -> Duration {
        timeout.min(2 * self.facts.election_timeout)
    }

    /// What is heard of a transaction that was handed in.
    async fn word(
        &self,
        id: TxId,
        heard: Option<oneshot::Receiver<Word>>,
        deadline: Instant,
    ) -> Answered<Word> {
        let stopping = || self.unknown(id, "the node is about to stop");
        let heard = heard.ok_or_else(stopping)?;
        let word = until(deadline, heard).await;
        word.ok_or_else(|| self.unknown(id, "the wait is over"))?.map_err(|_| stopping())
    }

    /// Answers whoever has submitted a transaction; not so if that takes a look at the store.
    fn answer_at_once(
        &self,
        transaction: &SignedTransaction,
        word: Word,
    ) -> Result<Answered<Outcome>, Word> {
        let id = transaction.id();
        Ok(match word {
            Word::Accepted { was_here } => {
                Ok(Outcome { duplicate: was_here, ..answers::unplaced(id, TxStatus::Pending) })
            }
            Word::Bad(error) => Err(unacceptable(id, &error)),
            Word::Answer(Answer::Dropped(why)) => Err(self.heard(dropped(id, why))),
            Word::Answer(Answer::Unknown) => {
                Err(self.unknown(id, "the node stops before it knows"))
            }
            Word::Answer(Answer::Placed(placed)) => match self.covers.at(placed.block.height) {
                Some(certificate) => settled(transaction, placed, Some(certificate)),
                None => return Err(word),
            },
            Word::Busy | Word::Answer(Answer::Refused(_)) => return Err(word),
        })
    }

    /// Answers whoever has submitted a transaction.
    async fn answer(
        &self,
        transaction: &SignedTransaction,
        word: Word,
        deadline: Instant,
    ) -> Answered<Outcome> {
        let id = transaction.id();
        match word {
            Word::Busy => {
                let mut refusal = problem(Code::MempoolFull, "too many requests are waiting");
                refusal.tx = Some(id);
                self.unless_known(transaction, refusal).await
            }
            Word::Answer(Answer::Refused(refusal)) => {
                self.unless_known(transaction, refused(id, refusal)).await
            }
            Word::Answer(Answer::Placed(placed)) => {
                self.settled(transaction, placed, deadline).await
            }
            Word::Accepted { .. } | Word::Bad(_) | Word::Answer(_) => self
                .answer_at_once(transaction, word)
                .unwrap_or_else(|_| unreachable!("what is known without a look has been answered")),
        }
    }

    /// Waits for a leader, or for enough voters to elect one. A transaction that is not even taken
    /// without them has certainly not happened.
    async fn quorum_in_sight(&self, id: TxId, patience: Duration) -> Answered<()> {
        let deadline = Instant::now() + patience;
        let mut view = self.view.clone();
        loop {
            let (reachable, needed) = {
                let view = view.borrow_and_update();
                if view.status.leader.is_some() {
                    return Ok(());
                }
                (self.reachable(&view), view.roster.current().quorum(QuorumKind::Commit))
            };
            if reachable >= needed {
                return Ok(());
            }
            let now = Instant::now();
            if now >= deadline {
                let detail = format!("{reachable} voters are reachable, {needed} are needed");
                let mut problem = problem(Code::NoQuorum, detail);
                problem.tx = Some(id);
                problem.reachable = u32::try_from(reachable).ok();
                problem.needed = u32::try_from(needed).ok();
                return Err(problem);
            }
            // Who is reachable may change without a word.
            let pause = (now + LOOK_AGAIN).min(deadline);
            let changed = self.unless_leaving(until(pause, view.changed())).await;
            if matches!(changed, None | Some(Some(Err(_)))) {
                // It need not look further, or nobody is left who could change it.
                let mut problem = stopping();
                problem.tx = Some(id);
                return Err(problem);
            }
        }
    }
}
