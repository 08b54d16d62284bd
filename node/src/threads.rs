//! The threads of a node.
//!
//! ```text
//!  net ──▶ verify (pool) ──▶┌───────┐            ┌────────┐ driver ──▶ journal ──▶ (completions)
//!  api ──▶ verify (pool) ──▶│ inbox │──────────▶ │ driver │ driver ──▶ applier ──▶ (completions)
//!          completions ────▶└───────┘            └────────┘ driver ──▶ readers ──▶ (completions)
//!  net ──▶ questions ──▶ pieces ──▶ net          pieces of snapshots for others; the driver has no part in it
//! ```
//!
//! The driver, the journal and the applier own the three parts of the replica by value: nobody locks
//! them. Signatures of what comes in are checked by a pool before the driver sees it, in parallel, and
//! what came over one line reaches the driver in its order, with the end of its link behind it.
//!
//! **Who may wait, and what may be full.** No thread waits for room in another one's queue. What the
//! driver has asked for is bounded by the window and, while the disk does not answer, by the driver
//! itself, which takes no messages then; so a full queue to the journal or the applier is a broken
//! invariant: an assertion. Two queues may be full: that of clients (they are told to come back) and
//! that of other nodes (messages are dropped and counted: the protocol sends them again; that a link has
//! begun or ended is never dropped).
//!
//! The store has a thread of its own behind the applier, which syncs and moves what the applier has committed; it
//! ends with the store. What it could not do the applier finds out, within a second.
//!
//! **How it ends.** The first thread that fails says why, in [`Ending`], and all others see it and
//! return; a thread that panics or returns by itself has failed too. It says so before its queues go, by
//! which others see that it has gone. Asked to stop, the driver closes
//! the queues of the journal and the applier, which finish what they have. Killed, all of them drop
//! what they have where they stand: nothing is flushed that a dead process would not have flushed.
//!
//! Nothing spins: a thread without work sleeps on its queue, the driver until its own deadline.

mod applier;
mod driver;
mod ending;
mod inbox;
mod journal;
mod lines;
mod pieces;
mod reader;
mod verify;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use quorate_chain::crypto::Verifier;
use quorate_chain::ids::ChainId;
use quorate_replica::Replica;
use quorate_replica::setup::Setup;
use quorate_replica::store::Store;
use quorate_wal::Disk;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::covers::Covers;
use crate::exit::Failure;
use crate::meter::Meter;

pub(crate) use driver::{Links, View};
pub(crate) use ending::{End, Ending, task};
pub(crate) use inbox::{Inbox, Request, Wish, Word};
pub(crate) use lines::{Check, Line};
pub(crate) use pieces::Questions;
pub(crate) use verify::Pool;

#[cfg(test)]
pub(crate) use inbox::Turn;

/// What the threads are started with.
pub(crate) struct Plan {
    /// The chain.
    pub(crate) chain_id: ChainId,
    /// What signatures are checked with.
    pub(crate) verifier: Arc<dyn Verifier>,
    /// The clock that the replica was opened with.
    pub(crate) clock: Clock,
    /// Most blocks in flight.
    pub(crate) window_blocks: usize,
    /// Most bytes of blocks in flight.
    pub(crate) window_bytes: usize,
    /// Most records on their way to the log while messages are taken.
    pub(crate) most_records: usize,
    /// Most transactions that wait.
    pub(crate) mempool_transactions: usize,
    /// Threads that check signatures.
    pub(crate) verify_threads: usize,
    /// Threads that read blocks for others.
    pub(crate) read_threads: usize,
}

impl Plan {
    /// What a node's threads are started with.
    pub(crate) fn new(config: &Config, setup: &Setup, clock: Clock) -> Self {
        Self {
            chain_id: setup.chain_id,
            verifier: Arc::clone(&setup.verifier),
            clock,
            window_blocks: config.window_blocks,
            window_bytes: config.window_bytes,
            most_records: setup.limits.most_records(),
            mempool_transactions: config.mempool_transactions,
            verify_threads: config.verify_threads,
            read_threads: config.read_threads,
        }
    }

    /// How many orders the journal or the applier can have at once. To the records at which the driver takes no
    /// message any more come those that the last message wanted and those of its own blocks, and for each block
    /// applied meanwhile that the log may be pruned; all these are bounded by the window.
    const fn orders(&self) -> usize {
        self.most_records + 4 * self.window_blocks + 512
    }
}

/// Where things come in: what they wait for is behind it.
#[derive(Clone)]
pub(crate) struct Gates {
    /// Where the driver takes from.
    pub(crate) inbox: Arc<Inbox>,
    /// Where messages and transactions are verified.
    pub(crate) pool: Arc<Pool>,
    /// What is counted.
    pub(crate) meter: Arc<Meter>,
    /// Where others ask for pieces of snapshots.
    pub(crate) questions: Arc<Questions>,
    /// What covers the newest blocks.
    pub(crate) covers: Arc<Covers>,
}

impl Gates {
    /// The gates of threads that are still to be started.
    pub(crate) fn new(plan: &Plan) -> Self {
        let inbox = Arc::new(Inbox::new(plan.orders(), plan.mempool_transactions));
        let pool = Arc::new(Pool::new(plan, Arc::clone(&inbox)));
        let (meter, questions, covers) = Default::default();
        Self { inbox, pool, meter, questions, covers }
    }

    /// How many messages of others were dropped for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.inbox.dropped() + self.pool.dropped()
    }
}

/// The running threads.
pub(crate) struct Threads {
    /// Where things come in.
    pub(crate) gates: Gates,
    /// What the driver says of itself.
    pub(crate) view: watch::Receiver<View>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts all threads of a replica.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start<D, S>(
        replica: Replica<D, S>,
        plan: &Plan,
        gates: Gates,
        links: Box<dyn Links>,
        ending: &Arc<Ending>,
    ) -> io::Result<Self>
    where
        D: Disk + Send + 'static,
        S: Store + Send + 'static,
        S::Reader: 'static,
    {
        let Replica { driver, journal, applier, found: _ } = replica;
        let inbox = &gates.inbox;
        let (to_journal, orders) = mpsc::sync_channel(plan.orders());
        let (to_applier, jobs) = mpsc::sync_channel(plan.orders());
        let (to_readers, fetches) = mpsc::sync_channel(plan.orders());
        let (view, seen) = watch::channel(View::of(&driver));
        let (reader, demand) = (applier.store().reader(), Arc::clone(applier.demand()));

        let mut crew = Crew { ending, handles: Vec::new() };
        let (own, end) = (gates.clone(), Arc::clone(ending));
        crew.begin("journal", orders, move |orders| journal::run(journal, orders, &own, &end))?;
        let (own, end) = (gates.clone(), Arc::clone(ending));
        crew.begin("applier", jobs, move |jobs| applier::run(applier, jobs, &own, &end))?;
        let fetches = reader::shared(fetches);
        for at in 0..plan.read_threads {
            let (reader, demand) = (reader.clone(), Arc::clone(&demand));
            let (fetches, box_) = (Arc::clone(&fetches), Arc::clone(inbox));
            crew.begin(&format!("reader {at}"), fetches, move |fetches| {
                reader::run(&reader, &demand, fetches, &box_)
            })?;
        }
        let questions = Arc::clone(&gates.questions);
        crew.begin("pieces", (), move |()| pieces::run(&reader, &demand, &questions))?;
        for at in 0..plan.verify_threads {
            let pool = Arc::clone(&gates.pool);
            crew.begin(&format!("verify {at}"), (), move |()| pool.run())?;
        }
        let queues = driver::Queues { to_journal, to_applier, to_readers };
        let seat = driver::Seat::new(driver, plan.clock, queues, links, view, &gates.meter);
        let (box_, end) = (Arc::clone(inbox), Arc::clone(ending));
        crew.begin("driver", seat, move |seat| seat.run(&box_, &end))?;
        let handles = crew.handles;
        Ok(Self { gates, view: seen, handles })
    }

    /// Waits until every thread has returned. Something must have ended them.
    pub(crate) fn join(&mut self) {
        self.gates.pool.close();
        self.gates.inbox.close();
        self.gates.questions.close();
        for handle in self.handles.drain(..) {
            // A panic has been reported by the thread itself.
            drop(handle.join());
        }
    }
}

/// The threads that were started so far.
struct Crew<'a> {
    ending: &'a Arc<Ending>,
    handles: Vec<JoinHandle<()>>,
}

impl Crew<'_> {
    /// Starts one more, which works with what it owns.
    fn begin<O: Send + 'static>(
        &mut self,
        name: &str,
        owned: O,
        body: impl FnOnce(&mut O) -> Result<(), Failure> + Send + 'static,
    ) -> io::Result<()> {
        self.handles.push(ending::worker(name, self.ending, owned, body)?);
        Ok(())
    }
}
