//! What clients can do, as plain functions: every dialect only translates to them and back.
//!
//! **Reading.** Reads of state come from the store as it is here, or, linearizable, as it is once
//! everything that was acknowledged before has been applied here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::block::Block;
use quorate_chain::ids::{AccountKey, BlockHash, BlockRef, ChainId, Height, NodeId};
use quorate_chain::outcome::Outcome as TxResult;
use quorate_chain::roster::Lead;
use quorate_client::answer;
use quorate_client::problem::{Code, Problem};
use quorate_consensus::config::Incarnation;
use quorate_replica::io::Input;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

use super::answers::{self, BlockInfo, HeaderInfo};
use super::expired::Expired;
use super::known::Covered;
use super::pace::Pace;
use super::problem::problem;
use super::reading::{Found, Readers, Reading, first_kept, is_exhausted};
use super::room::Requests;
use crate::clock::Clock;
use crate::covers::Covers;
use crate::exit::{Exit, Failure};
use crate::meter::Meter;
use crate::threads::{End, Ending, Inbox, Pool, View, Wish};

/// How long what is not here is waited for, in case others have it.
const SOON: Duration = Duration::from_secs(1);

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
    /// What the driver is asked to say.
    pub(super) const fn wish(self) -> Wish {
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

fn pruned(first: Height) -> Box<Problem> {
    problem(Code::Pruned, format!("blocks below {first} are not kept here"))
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
        let found = self.read(move |store| Ok((store.block(height)?, first_kept(store)?)));
        match found.await? {
            (Some(block), _) => Ok(block),
            (None, first) if height < first && height > Height::ZERO => Err(pruned(first)),
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
        let first = self.read(|store| first_kept(store)).await?;
        if from < first && first > Height::new(1) {
            return Err(pruned(first));
        }
        Ok(from.max(Height::new(1)))
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
