//! The driver: it owns the core and the mempool, and turns what happens into what is to be done.
//!
//! One input is handled at a time. The core's effects are carried out in order: statements are signed
//! and blocks sealed at once, and what was signed goes back into the core before [`Driver::handle`]
//! returns; everything that takes time becomes an output.
//!
//! **What is on its way to the log is bounded.** What other nodes send can want a record each time, a ballot and a
//! branch for every term that they go through. So at [`Limits::most_records`](crate::setup::Limits::most_records) the
//! driver takes no message any more until the disk has answered: messages may always be lost. What it begins by
//! itself does not add up: own statements wait for the disk, blocks for room in the window.
//!
//! The driver reads the store for two things: the nonces of a sender whose transactions begin to wait, and what it has
//! been granted where only those may write who were.

mod applying;
mod hang;
mod install;
mod permission;
mod submissions;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::{Signer, Verifier};
use quorate_chain::execute::Writers;
use quorate_chain::ids::{ChainId, Height, NodeId, Term, TxId};
use quorate_chain::limits as format;
use quorate_chain::outcome;
use quorate_chain::roster::{Lead, Roster};
use quorate_chain::statement::SignedStatement;
use quorate_consensus::effect::{Effect, Record, Ticket};
use quorate_consensus::event::{Event, Installed};
use quorate_consensus::raft::{Core, Standing};
use quorate_consensus::time::{Moment, Now};
use quorate_wal::Space;

use crate::forward::Forwarder;
use crate::io::{
    Applied, FetchJob, Fetched, Input, JournalJob, Notice, Output, Stop, Unreadable, Written,
};
use crate::mempool::{Gone, Load, Mempool, Room};
use crate::seal::{self, Sealer};
use crate::setup::Setup;
use crate::snapshot::{Download, Pace};
use crate::store::Store;
use applying::Logged;
use hang::Hang;
use waiting::Waiting;

pub use hang::LONGEST;

/// What the outside may know of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub standing: Standing,
    /// The term.
    pub term: Term,
    /// Who leads it, as far as is known.
    pub leader: Option<NodeId>,
    /// The last block held.
    pub tip: quorate_chain::ids::BlockRef,
    /// The committed tip.
    pub committed: quorate_chain::ids::BlockRef,
    /// The applied tip.
    pub applied: quorate_chain::ids::BlockRef,
    /// The height up to which as many validators as `finality_quorum` asks for are known to have
    /// everything on disk, of this life's certificates.
    pub finished: Height,
    /// The roster in force at the tip.
    pub roster: Arc<Roster>,
    /// Whether it signs nothing because it may have forgotten what it has signed.
    pub recovering: bool,
    /// The height up to which the store survives a power cut.
    pub checkpointed: Height,
    /// How much waits in the mempool.
    pub mempool: Load,
    /// Since when what has waited longest waits there.
    pub waiting_since: Option<Moment>,
    /// How much room the disk has.
    pub space: Space,
}

/// The owner of the core and the mempool.
pub struct Driver<S: Store> {
    chain_id: ChainId,
    writers: Writers,
    id: NodeId,
    signer: Arc<dyn Signer>,
    verifier: Arc<dyn Verifier>,
    core: Core,
    reader: S::Reader,
    mempool: Mempool,
    waiting: Waiting,
    sealer: Sealer,
    forwarder: Forwarder,
    /// The height up to which blocks were given to the applier.
    handed: Height,
    /// The certificates in the log for blocks above it.
    logged: Logged,
    /// About how many bytes of blocks are in one message.
    message_bytes: usize,
    finished: Height,
    checkpointed: Height,
    space: Space,
    /// The last record that was given to the journal.
    given: Ticket,
    /// The last one of those that is durable.
    durable: Ticket,
    /// Most records between the two while messages are taken.
    most_records: usize,
    /// What the operator has said of leading, if anything.
    willing: Option<Lead>,
    /// The leader that was last told of.
    told: (Term, Option<NodeId>),
    /// A snapshot on its way.
    download: Option<Download>,
    /// A snapshot that stands in the store, while the log begins anew.
    starting: Option<Installed>,
    /// How long a snapshot may take.
    pace: Pace,
    /// For how long the disk has not answered.
    hang: Hang,
    stopping: bool,
    stopped: bool,
}

impl<S: Store> Driver<S> {
    pub(crate) fn new(
        setup: &Setup,
        core: Core,
        reader: S::Reader,
        space: Space,
        logged: &[Checked<Certificate>],
    ) -> Self {
        let limits = &setup.limits;
        let room = Room {
            transactions: limits.mempool_transactions,
            memory: limits.mempool_bytes,
            sender: limits.mempool_sender,
        };
        let mut mempool = Mempool::new(room);
        let applied = core.log().applied().block.height;
        mempool.branch(applied, core.log().from(applied).map(|entry| &entry.block));
        Self {
            chain_id: setup.chain_id,
            writers: setup.genesis.writers,
            id: setup.id,
            signer: Arc::clone(&setup.signer),
            verifier: Arc::clone(&setup.verifier),
            told: (core.term(), None),
            core,
            reader,
            mempool,
            waiting: Waiting::default(),
            sealer: Sealer::new(
                limits.block_interval,
                limits.block_transactions.min(format::TRANSACTIONS),
                limits.block_bytes.min(format::BODY),
            ),
            forwarder: Forwarder::new(limits.forward_again, limits.forward_bytes),
            handed: applied,
            logged: logged.iter().map(|it| (it.block(), it.clone())).collect(),
            message_bytes: limits.message_bytes,
            checkpointed: applied,
            space,
            given: Ticket::default(),
            durable: Ticket::default(),
            most_records: limits.most_records(),
            willing: setup.lead,
            finished: applied,
            download: None,
            starting: None,
            pace: Pace { patience: limits.election_timeout, factor: 1 },
            hang: Hang::new(Moment::default()),
            stopping: false,
            stopped: false,
        }
    }

    /// When it wants a tick, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        let download = self.download.as_ref().and_then(Download::deadline);
        let others = [self.sealer.deadline(), self.forwarder.deadline(), download];
        others.into_iter().flatten().fold(self.core.deadline(), Moment::min)
    }

    /// What the outside may know.
    #[must_use]
    pub fn status(&self) -> Status {
        let log = self.core.log();
        Status {
            standing: self.core.standing(),
            term: self.core.term(),
            leader: self.core.leader(),
            tip: log.tip().block,
            committed: log.committed(),
            applied: log.applied().block,
            finished: self.finished,
            roster: Arc::clone(&log.tip().roster),
            recovering: self.core.ballot().recovering,
            checkpointed: self.checkpointed,
            mempool: self.mempool.load(),
            waiting_since: self.mempool.oldest(),
            space: self.space,
        }
    }

    /// How many records have been given to the journal that are not durable yet.
    #[must_use]
    pub fn on_its_way(&self) -> usize {
        usize::try_from(self.given.0.saturating_sub(self.durable.0)).unwrap_or(usize::MAX)
    }

    /// Whether a transaction is in the mempool, in flight or not.
    #[must_use]
    pub fn is_waiting(&self, id: TxId) -> bool {
        self.mempool.contains(id)
    }

    /// The core, to look at.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// Handles one input. What is to be done is appended to `out`, in order.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        if self.stopped {
            return self.refuse(&input, out);
        }
        self.mempool.at(now.moment);
        match input {
            Input::Tick => {
                self.step(now, Event::Tick, out);
                self.download_tick(now, out);
            }
            Input::Received { from, message } => {
                if self.on_its_way() < self.most_records {
                    self.step(now, Event::Received { from, message }, out);
                }
            }
            Input::LinkOpened { node } => self.step(now, Event::LinkOpened { node }, out),
            Input::LinkLost { node } => self.step(now, Event::LinkLost { node }, out),
            Input::Submit { submission, transaction } => {
                self.submitted(submission, transaction, out);
            }
            Input::Forwarded { from, transactions } => self.forwarded(from, transactions, out),
            Input::Transfer { to } => {
                self.waiting.transfers += 1;
                self.step(now, Event::Transfer { to }, out);
            }
            Input::Willing(lead) => {
                self.willing = Some(lead);
                self.say_willing(now, out);
            }
            Input::Read { read } => {
                self.waiting.reads.insert(read);
                self.step(now, Event::Read { read }, out);
            }
            Input::Readmit => self.step(now, Event::Readmit, out),
            Input::Written(Written { ticket, started, space }) => {
                let full = std::mem::replace(&mut self.space, space) == Space::Reserve;
                if full != (space == Space::Reserve) {
                    self.say_willing(now, out);
                }
                if let Some(ticket) = ticket {
                    self.durable = ticket;
                    self.step(now, Event::Persisted { ticket }, out);
                }
                if let Some(block) = started {
                    self.started(now, block, out);
                }
            }
            Input::Applied(applied) => self.applied(now, applied, out),
            Input::Fetched(Fetched { node, found }) => {
                self.step(now, Event::Fetched { node, found }, out);
            }
            Input::Brought { from, piece } => self.brought(now, from, piece, out),
            Input::Staged(taken) => self.staged(now, taken, out),
            Input::Installed(good) => self.installed(now, good, out),
            Input::Change { id, change } => {
                self.waiting.changes.insert(id);
                self.step(now, Event::Change { id, change }, out);
            }
            Input::Shutdown => self.shutdown(out),
        }
        self.seal_due(now, out);
        self.forward_due(now, out);
        self.tell_leader(out);
        self.look_at_disk(now, out);
    }

    /// Stops the node if its disk has not answered for far too long.
    fn look_at_disk(&mut self, now: Now, out: &mut Vec<Output>) {
        let owes = self.core.disk_owes(now.moment) && self.space != Space::Reserve;
        if self.hang.is_too_long(now.moment, owes) && !self.stopped {
            self.stop(Stop::DiskHangs, out);
        }
    }

    /// Tells the core whether this validator wants to lead: as its operator has said last, but never
    /// while the disk is full. As soon as there is room it is as it was.
    fn say_willing(&mut self, now: Now, out: &mut Vec<Output>) {
        let member = self.core.log().tip().roster.member(self.id).map(|member| member.lead);
        let said = self.willing.or(member).unwrap_or(Lead::Yes);
        let lead = if self.space == Space::Reserve { Lead::No } else { said };
        self.step(now, Event::Willing(lead), out);
    }

    /// Gives the core an event and does what it wants done, and then what follows from that.
    fn step(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.core.step(now, event) {
                self.carry_out(now, effect, &mut events, out);
            }
        }
    }

    fn carry_out(
        &mut self,
        now: Now,
        effect: Effect,
        events: &mut VecDeque<Event>,
        out: &mut Vec<Output>,
    ) {
        match effect {
            Effect::Persist { ticket, record } => {
                match &record {
                    Record::Branch { above, blocks } => self.branched(above.height, blocks, out),
                    Record::Certificate(certificate) => self.has_logged(certificate),
                    Record::Ballot(_) => {}
                }
                self.given = ticket;
                out.push(Output::Write(JournalJob::Record { ticket, record }));
            }
            Effect::Send { to, message } => out.push(Output::Send { to, message }),
            Effect::Sign { statement, roster_hash } => {
                let message = statement.message(self.chain_id, roster_hash);
                let (signer, signature) = (self.id, self.signer.sign(&message));
                let said = SignedStatement { statement, roster_hash, signer, signature };
                events.push_back(Event::Signed(Checked::vouch(said)));
            }
            Effect::Offer(slot) => self.sealer.offer(*slot),
            Effect::Withdraw => self.sealer.withdraw(),
            Effect::Commit { block, certificate } => self.committed(block, certificate, out),
            Effect::Fetch { node, from, bytes } => {
                out.push(Output::Fetch(FetchJob { node, from, bytes }));
            }
            Effect::Final(certificate) => {
                self.finished = self.finished.max(certificate.block().height);
                out.push(Output::Keep(certificate));
            }
            // Whoever was told that the core says no more has been answered.
            Effect::Changed { id, outcome } => {
                let waits = self.waiting.changes.remove(&id);
                out.extend(waits.then_some(Output::Changed { id, outcome }));
            }
            Effect::Serve { read, height } => {
                let waits = self.waiting.reads.remove(&read);
                out.extend(waits.then_some(Output::Serve { read, height }));
            }
            Effect::RefuseRead { read, why } => {
                let waits = self.waiting.reads.remove(&read);
                out.extend(waits.then_some(Output::RefuseRead { read, why }));
            }
            Effect::TransferEnded(end) => {
                let waits = self.waiting.end_transfer();
                out.extend(waits.then_some(Output::TransferEnded(end)));
            }
            Effect::Convict(conviction) => out.push(Output::Convict(conviction)),
            Effect::Install { from, snapshot } => self.download(now, from, *snapshot, out),
            Effect::Halt(halt) => self.stop(halt.into(), out),
        }
    }

    /// Reads the store; a store that cannot be read stops the node.
    fn read<T>(
        &mut self,
        what: impl FnOnce(&S::Reader) -> Result<T, S::Error>,
        out: &mut Vec<Output>,
    ) -> Option<T> {
        match what(&self.reader) {
            Ok(found) => Some(found),
            Err(error) => {
                self.stop(Stop::Store(Unreadable(Arc::new(error))), out);
                None
            }
        }
    }

    fn applied(&mut self, now: Now, applied: Applied, out: &mut Vec<Output>) {
        for block in applied.blocks {
            let (at, state_root) = (block.block, block.state_root);
            // An honest leader seals none.
            let void = (0_u32..).zip(&block.outcomes);
            let void =
                void.filter(|(_, outcome)| matches!(outcome.status, outcome::Status::Void(_)));
            let notice = |(index, _)| Output::Notice(Notice::Void { block: at.hash, index });
            out.extend(void.map(notice));
            for gone in self.mempool.applied(at, &block.outcomes) {
                match gone {
                    Gone::Answers(answers) => {
                        out.extend(
                            answers
                                .into_iter()
                                .map(|(submission, answer)| Output::Answer { submission, answer }),
                        );
                    }
                    Gone::Silent(reason) => out.push(Output::Notice(Notice::Dropped { reason })),
                }
            }
            self.step(now, Event::Applied { height: at.height, state_root }, out);
            if self.stopped {
                return;
            }
        }
        if applied.checkpointed > self.checkpointed {
            self.checkpointed = applied.checkpointed;
            let below = Height::new(self.checkpointed.get() + 1);
            out.push(Output::Prune { below });
        }
    }

    /// Seals blocks as long as one is due.
    fn seal_due(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(slot) = self.sealer.due(now.moment, self.mempool.free()) {
            let Some(height) = slot.parent.height.next() else { return };
            let (count, bytes) = self.sealer.caps(slot);
            let empty = self.sealer.may_be_empty(slot);
            let batch = self.mempool.batch(height, count, bytes);
            if batch.is_empty() && !empty {
                return;
            }
            let transactions = batch.len();
            let Some(slot) = self.sealer.take(now.moment) else { return };
            let sealed = seal::seal(slot, batch, now, self.chain_id, &*self.signer);
            let block = sealed.expect("a block within the caps is one that the format allows");
            let notice = Notice::Sealed { block: block.block_ref(), transactions };
            out.push(Output::Notice(notice));
            self.step(now, Event::Sealed(block), out);
            if self.stopped {
                return;
            }
        }
    }

    fn forward_due(&mut self, now: Now, out: &mut Vec<Output>) {
        let leader = self.core.leader().filter(|leader| *leader != self.id);
        let transactions = self.forwarder.next(now.moment, leader, &self.mempool);
        if let Some(to) = leader
            && !transactions.is_empty()
        {
            out.push(Output::Forward { to, transactions });
        }
    }

    fn tell_leader(&mut self, out: &mut Vec<Output>) {
        let (term, leader) = (self.core.term(), self.core.leader());
        if self.told != (term, leader) {
            self.told = (term, leader);
            out.push(Output::Notice(Notice::Leader { term, leader }));
        }
    }

    /// Checks the invariants of what it owns.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.core.check();
        self.mempool.check();
        self.forwarder.check(&self.mempool);
    }
}
