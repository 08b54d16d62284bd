//! The driver's thread: one input after the other, and the outputs of each at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use quorate_chain::checked::Checked;
use quorate_chain::ids::{Height, NodeId};
use quorate_chain::roster::Roster;
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::effect::Halt;
use quorate_consensus::event::ChangeId;
use quorate_consensus::membership::Refusal as ChangeRefusal;
use quorate_consensus::message::Message;
use quorate_consensus::reads::{ReadId, Unread};
use quorate_replica::driver::{Driver, Status};
use quorate_replica::io::{FetchJob, Input, Output, Stop, Submission};
use quorate_replica::snapshot::Ask;
use quorate_replica::store::Store;
use tokio::sync::{oneshot, watch};

use super::applier::Task;
use super::inbox::{Request, Turn, Wish, Word};
use super::journal::Order;
use super::{End, Ending, Inbox};
use crate::clock::Clock;
use crate::exit::{Exit, Failure};
use crate::meter::Meter;
use crate::telemetry;

/// The way to other nodes, as the driver needs it. Nothing here waits; what cannot be sent is lost.
pub(crate) trait Links: Send {
    /// Sends a message.
    fn send(&self, to: NodeId, message: Message);

    /// Sends transactions to the leader.
    fn forward(&self, to: NodeId, transactions: Vec<Checked<SignedTransaction>>);

    /// Asks for a piece of a snapshot.
    fn ask(&self, to: NodeId, ask: Ask);
}

/// What the driver says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Role, term, heights, load.
    pub(crate) status: Status,
    /// The roster in force at the applied tip.
    pub(crate) roster: Arc<Roster>,
    /// The one at the tip, which is in force for blocks that are still to come.
    pub(crate) tip_roster: Arc<Roster>,
}

impl View {
    /// What a driver says of itself.
    pub(crate) fn of<S: Store>(driver: &Driver<S>) -> Self {
        let log = driver.core().log();
        let roster = Arc::clone(&log.applied().roster);
        let tip_roster = Arc::clone(&log.tip().roster);
        Self { status: driver.status(), roster, tip_roster }
    }
}

/// Where the driver's orders go.
pub(super) struct Queues {
    pub(super) to_journal: SyncSender<Order>,
    pub(super) to_applier: SyncSender<Task>,
    pub(super) to_readers: SyncSender<FetchJob>,
}

/// A client that waits.
struct Waiter {
    wish: Wish,
    reply: oneshot::Sender<Word>,
}

/// The driver with all it reaches.
pub(super) struct Seat<S: Store> {
    driver: Driver<S>,
    clock: Clock,
    queues: Queues,
    links: Box<dyn Links>,
    view: watch::Sender<View>,
    meter: Arc<Meter>,
    waiters: BTreeMap<Submission, Waiter>,
    reads: BTreeMap<ReadId, oneshot::Sender<Result<Height, Unread>>>,
    changes: BTreeMap<ChangeId, oneshot::Sender<Result<Height, ChangeRefusal>>>,
    /// The name of the next submission, read or change.
    next: u64,
    outputs: Vec<Output>,
}

/// Why the driver's thread returns before it is asked to.
enum Halted {
    /// The node must stop.
    Stop(Stop),
    /// The other end of a queue is gone: that thread has said why.
    Gone,
}

/// Puts an order into a queue that cannot be full.
fn order<T>(queue: &SyncSender<T>, order: T, whose: &str) -> Result<(), Halted> {
    match queue.try_send(order) {
        Ok(()) => Ok(()),
        Err(TrySendError::Disconnected(_)) => Err(Halted::Gone),
        Err(TrySendError::Full(_)) => {
            unreachable!("what waits for the {whose} is bounded")
        }
    }
}

impl<S: Store> Seat<S> {
    pub(super) fn new(
        driver: Driver<S>,
        clock: Clock,
        queues: Queues,
        links: Box<dyn Links>,
        view: watch::Sender<View>,
        meter: &Arc<Meter>,
    ) -> Self {
        let (waiters, reads, changes) = Default::default();
        let (meter, outputs) = (Arc::clone(meter), Vec::new());
        Self {
            driver,
            clock,
            queues,
            links,
            view,
            meter,
            waiters,
            reads,
            changes,
            next: 0,
            outputs,
        }
    }

    /// Works until the inbox is closed.
    pub(super) fn run(&mut self, inbox: &Inbox, ending: &Ending) -> Result<(), Failure> {
        let mut turn = Turn::default();
        let mut open = true;
        while open {
            let deadline = self.clock.instant(self.driver.deadline());
            open = inbox.take(deadline, &mut turn);
            if ending.drops_all() {
                return Ok(());
            }
            match self.turn(&mut turn, deadline) {
                Ok(()) => {}
                Err(Halted::Gone) => return Ok(()),
                Err(Halted::Stop(stop)) => return Err(why(&stop)),
            }
            let view = View::of(&self.driver);
            self.view.send_if_modified(|before| {
                let changes = *before != view;
                self.meter.standing(before.status.standing, view.status.standing);
                *before = view;
                changes
            });
        }
        if ending.said() == Some(End::Asked) {
            self.handle(Input::Shutdown).map_err(|_| shutdown_failed())?;
        }
        Ok(())
    }

    fn turn(&mut self, turn: &mut Turn, deadline: Instant) -> Result<(), Halted> {
        for input in turn.inputs.drain(..) {
            self.handle(input)?;
        }
        for request in turn.requests.drain(..) {
            self.request(request)?;
        }
        if Instant::now() >= deadline {
            self.handle(Input::Tick)?;
        }
        Ok(())
    }

    fn request(&mut self, request: Request) -> Result<(), Halted> {
        match request {
            Request::Submit { transaction, wish, reply } => {
                let submission = Submission(self.next);
                self.next += 1;
                let was_here = self.driver.is_waiting(transaction.id());
                self.waiters.insert(submission, Waiter { wish, reply });
                self.handle(Input::Submit { submission, transaction: *transaction })?;
                // Without an answer by now it was taken.
                let accepted = |waiter: &Waiter| waiter.wish == Wish::Accepted;
                if self.waiters.get(&submission).is_some_and(accepted) {
                    self.tell(submission, Word::Accepted { was_here });
                }
            }
            Request::Read { reply } => {
                let read = ReadId(self.next);
                self.next += 1;
                self.reads.insert(read, reply);
                self.handle(Input::Read { read })?;
            }
            Request::Change { change, reply } => {
                let id = ChangeId(self.next);
                self.next += 1;
                self.changes.insert(id, reply);
                self.handle(Input::Change { id, change })?;
            }
            Request::IsWaiting { tx, reply } => {
                // Who no longer listens does not need to know.
                let _ = reply.send(self.driver.is_waiting(tx));
            }
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), Halted> {
        telemetry::input(&input);
        self.meter.input(&input);
        let now = self.clock.now();
        let mut outputs = std::mem::take(&mut self.outputs);
        self.driver.handle(now, input, &mut outputs);
        for output in outputs.drain(..) {
            self.carry_out(output)?;
        }
        self.outputs = outputs;
        Ok(())
    }

    fn carry_out(&mut self, output: Output) -> Result<(), Halted> {
        match output {
            Output::Send { to, message } => self.links.send(to, message),
            Output::Write(job) => order(&self.queues.to_journal, Order::Write(job), "journal")?,
            Output::Prune { below } => {
                order(&self.queues.to_journal, Order::Prune(below), "journal")?;
            }
            Output::Apply(job) => order(&self.queues.to_applier, Task::Apply(job), "applier")?,
            Output::Keep(certificate) => {
                order(&self.queues.to_applier, Task::Keep(certificate), "applier")?;
            }
            Output::Fetch(job) => order(&self.queues.to_readers, job, "readers")?,
            Output::Forward { to, transactions } => self.links.forward(to, transactions),
            Output::Answer { submission, answer } => {
                self.tell(submission, Word::Answer(answer));
            }
            Output::Ask { to, ask } => self.links.ask(to, ask),
            Output::Stage(job) => order(&self.queues.to_applier, Task::Stage(job), "applier")?,
            Output::Install(job) => {
                order(&self.queues.to_applier, Task::Install(job), "applier")?;
            }
            Output::Changed { id, outcome } => {
                if let Some(reply) = self.changes.remove(&id) {
                    // Who no longer listens does not need to know.
                    let _ = reply.send(outcome);
                }
            }
            Output::Serve { read, height } => self.read(read, Ok(height)),
            Output::RefuseRead { read, why } => self.read(read, Err(why)),
            Output::TransferEnded(end) => telemetry::transfer(end),
            Output::Convict(conviction) => {
                telemetry::conviction(&conviction);
                order(&self.queues.to_applier, Task::Convict(conviction), "applier")?;
            }
            Output::Notice(notice) => {
                telemetry::notice(&notice, self.driver.status().committed.height);
                self.meter.notice(&notice);
            }
            Output::Stop(stop) => return Err(Halted::Stop(stop)),
        }
        Ok(())
    }

    fn read(&mut self, read: ReadId, found: Result<Height, Unread>) {
        if let Some(reply) = self.reads.remove(&read) {
            // A client that has gone away does not need to know.
            let _ = reply.send(found);
        }
    }

    fn tell(&mut self, submission: Submission, word: Word) {
        if let Some(waiter) = self.waiters.remove(&submission) {
            // A client that has gone away does not need to know.
            drop(waiter.reply.send(word));
        }
    }
}

/// The sentence and the exit code of a stop.
fn why(stop: &Stop) -> Failure {
    let exit = match stop {
        Stop::Halt(Halt::StateDiverged { .. }) => Exit::Verification,
        Stop::Halt(Halt::Contradiction { .. } | Halt::Twin { .. } | Halt::OldCopy { .. }) => {
            Exit::Unsafe
        }
        Stop::Store(_) | Stop::DiskHangs => Exit::Storage,
    };
    Failure::new(exit, stop)
}

fn shutdown_failed() -> Failure {
    Failure::new(Exit::Storage, "the node could not finish what was under way when it stopped")
}

#[cfg(test)]
mod tests {
    use quorate_chain::ids::{BlockHash, BlockRef, Term};

    use super::*;

    #[test]
    fn two_committed_blocks_of_one_height_end_the_process_with_both_in_its_sentence() {
        let block = |hash| {
            let hash = BlockHash::new([hash; 32]);
            BlockRef { term: Term::new(3), height: Height::new(7), hash }
        };
        let halt = Halt::Contradiction { ours: block(0xaa), theirs: block(0xbb) };
        let failure = why(&Stop::Halt(halt));
        assert_eq!(failure.exit, Exit::Unsafe);
        let sentence = "two committed blocks at height 7: 7@3/aaaaaaaa here, 7@3/bbbbbbbb certified \
                        elsewhere";
        assert_eq!(failure.sentence, sentence);
    }
}
