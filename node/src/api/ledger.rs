//! What clients can do, as plain functions: every dialect only translates to them and back.
//!
//! **Submitting.** A transaction is checked, taken into the mempool, ordered, applied; the caller says
//! how far to wait. If the wait ends early nobody knows what became of it, and the caller is told so;
//! nothing is ever said to have failed that may still be ordered.
//!
//! **Reading.** Reads of state come from the store as it is here, or, linearizable, as it is once
//! everything that was acknowledged before has been applied here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::block::Block;
use quorate_chain::ids::{AccountKey, BlockHash, BlockRef, ChainId, Height, NodeId, TxId};
use quorate_chain::outcome::Outcome as TxResult;
use quorate_chain::roster::{Lead, QuorumKind};
use quorate_chain::transaction::SignedTransaction;
use quorate_client::answer::{self, Outcome, TxStatus};
use quorate_client::problem::{Code, Problem};
use quorate_consensus::config::Incarnation;
use quorate_replica::io::{Answer, Input};
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::answers::{self, BlockInfo, HeaderInfo};
use super::expired::Expired;
use super::known::{Covered, settled};
use super::pace::Pace;
use super::problem::{dropped, problem, refused, unacceptable};
use super::reading::{Found, Readers, Reading, is_exhausted};
use super::room::Requests;
use crate::clock::Clock;
use crate::covers::Covers;
use crate::exit::{Exit, Failure};
use crate::meter::Meter;
use crate::threads::{End, Ending, Inbox, Pool, View, Wish, Word};

/// How long what is not here is waited for, in case others have it.
const SOON: Duration = Duration::from_secs(1);

/// How soon it is looked again who is reachable.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// About how many bytes of blocks are read for one list.
const LIST_BYTES: usize = 16 << 20;

/// How far a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Until the transaction was taken.
    Accepted,
    /// Until it is committed.
    Committed,
    /// Until it is applied, and its result known.
    Applied,
}

impl Level {
    const fn wish(self) -> Wish {
        match self {
            Self::Accepted => Wish::Accepted,
            Self::Committed | Self::Applied => Wish::Settled,
        }
    }
}

/// What does not change while a node runs.
pub(crate) struct Facts {
    pub(crate) chain_id: ChainId,
    pub(crate) chain_name: String,
    pub(crate) genesis: Bytes,
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) api: Option<String>,
    pub(crate) started_ms: u64,
    pub(crate) election_timeout: Duration,
    pub(crate) window_blocks: usize,
    pub(crate) mempool_transactions: usize,
    pub(crate) mempool_bytes: usize,
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// It has been heard lately.
    Alive,
    /// It has been silent for a while.
    Suspect,
    /// It is gone, or has been silent for long.
    Dead,
}

/// What is known of another node by its own word.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) node: NodeId,
    pub(crate) liveness: Liveness,
    pub(crate) last_seen: Option<Duration>,
    /// How long it took the last time to it and back.
    pub(crate) round_trip: Option<Duration>,
    /// Whether this node has dialled it, or it this one; `None` without a link.
    pub(crate) dialled: Option<bool>,
    pub(crate) committed: Option<Height>,
    pub(crate) term: Option<quorate_chain::ids::Term>,
    pub(crate) api: Option<String>,
}

/// Who else is there.
pub(crate) trait Neighbourhood: Send + Sync {
    /// Everybody who has been heard.
    fn neighbours(&self) -> Vec<Neighbour>;
}

/// What clients can do.
pub(crate) struct Ledger {
    pub(crate) facts: Facts,
    /// The driver's.
    pub(crate) clock: Clock,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) readers: Arc<Readers>,
    pub(crate) ending: Arc<Ending>,
    pub(crate) neighbourhood: Arc<dyn Neighbourhood>,
    pub(crate) pace: Pace,
    pub(crate) leaving: watch::Sender<bool>,
    /// How much it wants to lead now.
    pub(crate) lead: Mutex<Lead>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) covers: Arc<Covers>,
    pub(crate) expired: Expired,
    /// What clients have sent and wait for.
    pub(crate) requests: Requests,
    /// How many clients more may hear events.
    pub(crate) subscribers: Arc<Semaphore>,
}

/// An answer, or why there is none.
pub(crate) type Answered<T> = Result<T, Box<Problem>>;

pub(super) fn stopping() -> Box<Problem> {
    problem(Code::Stopping, "the node is about to stop")
}

impl Ledger {
    /// Reads the store. A store that cannot be read ends the node.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&dyn Reading) -> Found<T> + Send + 'static,
    ) -> Answered<T> {
        match self.readers.read(what).await {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) if is_exhausted(&error) => {
                let mut problem = problem(Code::RateLimited, error.to_string());
                problem.status = 503;
                Err(problem)
            }
            Some(Err(error)) => {
                let why = format!("cannot read the store: {error}");
                self.ending.begin(End::Failed(Failure::new(Exit::Storage, why)));
                Err(stopping())
            }
            None => Err(stopping()),
        }
    }

    /// How much the node wants to lead.
    pub(crate) fn lead(&self) -> Lead {
        *self.lead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It wants to lead this much from now on.
    pub(crate) fn want_to_lead(&self, lead: Lead) {
        *self.lead.lock().unwrap_or_else(PoisonError::into_inner) = lead;
        self.inbox.complete(Input::Willing(lead));
    }

    /// Whether the node has been asked to stop.
    pub(crate) fn is_leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    /// Waits until it is.
    pub(crate) async fn is_asked_to_leave(&self) {
        // The sender lives in `self`, so it is not gone before it says so.
        let _ = self.leaving.subscribe().wait_for(|leaving| *leaving).await;
    }

    /// Waits for something, unless the node is asked to stop: then whoever waits gets an answer at once, while there
    /// is still time for answers.
    pub(super) async fn unless_leaving<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.is_asked_to_leave() => None,
            found = what => Some(found),
        }
    }

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
        let heard = self.pool.submit([transaction.clone()], level.wish()).pop();
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
        if self.quorum_in_sight(first.id(), self.patience(timeout)).await.is_err() {
            for (at, transaction) in transactions.into_iter().enumerate() {
                let (ledger, left) = (Arc::clone(self), deadline - Instant::now());
                others.spawn(async move { (at, ledger.submit(transaction, level, left).await) });
            }
        } else {
            let heard = self.pool.submit(transactions.iter().cloned(), level.wish());
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
                self.unless_known(transaction, self.heard(refused(id, refusal))).await
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

    /// Applies what others have, as far as that is to be had soon: what was acknowledged anywhere is
    /// then known here, unless there is no quorum to ask.
    pub(super) async fn come_close(&self) {
        // Without one the answer is what this node has.
        let _ = self.fresh(SOON).await;
    }

    /// The certificate that covers a height.
    pub(crate) async fn certificate(&self, height: Height) -> Answered<answer::Certificate> {
        if height == Height::ZERO {
            let detail = "the genesis has no certificate: its hash is the chain id";
            return Err(problem(Code::ProofUnavailable, detail));
        }
        self.block_at(height).await?;
        // Others may have shown it when they acknowledged what is in the block.
        let why = match self.certificate_soon(height, Instant::now() + SOON).await? {
            Covered::By(certificate) => return Ok(Arc::unwrap_or_clone(certificate)),
            Covered::NotYet => "no certificate covers it yet",
            Covered::NoMore => "what leads to its certificate is not kept here",
        };
        Err(problem(Code::ProofUnavailable, format!("height {height}: {why}")))
    }

    /// The block at a height, once it is applied; `None` if the node stops, or the block is not kept.
    pub(crate) async fn block_when_applied(&self, height: Height) -> Option<Block> {
        let mut view = self.view.clone();
        view.wait_for(|view| view.status.applied.height >= height).await.ok()?;
        self.block_at(height).await.ok()
    }

    pub(super) async fn block_at(&self, height: Height) -> Answered<Block> {
        if height > self.latest() {
            self.come_close().await;
        }
        let found = self.read(move |store| Ok((store.block(height)?, store.oldest()?)));
        match found.await? {
            (Some(block), _) => Ok(block),
            (None, Some(oldest)) if height < oldest && height > Height::ZERO => {
                let detail = format!("the oldest block here is {oldest}");
                Err(problem(Code::Pruned, detail))
            }
            (None, _) => {
                let applied = self.view.borrow().status.applied.height;
                let detail = format!("there is no block {height}; the newest one is {applied}");
                Err(problem(Code::BlockNotFound, detail))
            }
        }
    }

    /// The block at a height.
    pub(crate) async fn block(&self, height: Height, is_full: bool) -> Answered<BlockInfo> {
        let block = self.block_at(height).await?;
        let found =
            self.read(move |store| Ok((store.certificate(height)?, store.outcomes(height)?)));
        let (certificate, outcomes) = found.await?;
        let certified_by = certificate.map(|certificate| certificate.block());
        let outcomes = outcomes.unwrap_or_default();
        let full = |block: &Block| answers::full(block, &outcomes);
        let txs: &dyn Fn(&Block) -> answers::Txs = if is_full { &full } else { &answers::ids };
        Ok(answers::block_info(&block, Some(txs), certified_by))
    }

    /// The height of the block with this hash.
    pub(crate) async fn height_of(&self, hash: BlockHash) -> Answered<Height> {
        let here = || self.read(move |store| store.height_of(hash));
        let found = match here().await? {
            None => {
                // Others may have it, and it is not applied here yet.
                self.come_close().await;
                here().await?
            }
            found => found,
        };
        found.ok_or_else(|| problem(Code::BlockNotFound, format!("there is no block {hash}")))
    }

    /// The newest block that can be read here.
    pub(crate) fn latest(&self) -> Height {
        self.view.borrow().status.applied.height
    }

    /// Blocks from a height on, without their transactions, and where the list goes on: it ends before its
    /// limit if they are large, since each is read whole.
    pub(crate) async fn blocks(
        &self,
        from: Height,
        limit: usize,
    ) -> Answered<(Vec<BlockInfo>, Option<Height>)> {
        let from = self.kept_from(from).await?;
        self.read(move |store| {
            let (mut infos, mut height, mut bytes) = (Vec::new(), Some(from), 0);
            let mut certificate = None;
            while let Some(at) = height.filter(|_| infos.len() < limit && bytes < LIST_BYTES) {
                let Some(block) = store.block(at)? else { return Ok((infos, None)) };
                bytes += block.bytes().len();
                if certificate.is_none_or(|certified: BlockRef| certified.height < at) {
                    certificate = store.certificate(at)?.map(|certificate| certificate.block());
                }
                infos.push(answers::block_info(&block, None, certificate));
                height = at.next();
            }
            Ok((infos, height))
        })
        .await
    }

    /// Headers from a height on.
    pub(crate) async fn headers(&self, from: Height, limit: usize) -> Answered<Vec<HeaderInfo>> {
        let from = self.kept_from(from).await?;
        self.read(move |store| {
            let (mut infos, mut height) = (Vec::new(), Some(from));
            while let Some(at) = height.filter(|_| infos.len() < limit) {
                let Some(signed) = store.header(at)? else { break };
                infos.push(HeaderInfo::of(&signed.header));
                height = at.next();
            }
            Ok(infos)
        })
        .await
    }

    /// Where a list that should begin at a height begins: there, unless that was pruned.
    async fn kept_from(&self, from: Height) -> Answered<Height> {
        let oldest = self.read(|store| store.oldest()).await?;
        match oldest {
            Some(oldest) if from < oldest && oldest > Height::new(1) => {
                Err(problem(Code::Pruned, format!("the oldest block here is {oldest}")))
            }
            _ => Ok(from.max(Height::new(1))),
        }
    }

    /// What a sender needs to know of itself.
    pub(crate) async fn account(&self, sender: AccountKey) -> Answered<answers::AccountInfo> {
        self.come_close().await;
        let (nonces, grants) = self.read(move |store| store.account(sender)).await?;
        let view = self.view.borrow();
        // What is no text is shown with signs in place of what cannot be.
        let prefixes = grants.0.iter().map(|prefix| String::from_utf8_lossy(prefix).into_owned());
        Ok(answers::AccountInfo {
            sender,
            next_nonce: nonces.next(),
            window_base: nonces.base(),
            grants: prefixes.collect(),
            admin: view.roster.current().admins.keys.contains(&sender),
        })
    }

    /// What became of the transactions of a block.
    pub(super) async fn outcomes_of(&self, height: Height) -> Answered<Vec<TxResult>> {
        Ok(self.read(move |store| store.outcomes(height)).await?.unwrap_or_default())
    }
}

/// Waits for something until it is that late.
pub(super) async fn until<T>(deadline: Instant, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline.into(), what).await.ok()
}
