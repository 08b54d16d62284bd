//! The world: virtual time, the machines in it, and one event after the other.
//!
//! ```text
//!            ┌── Arrive ── Network ◀── Send ──┐
//!   Schedule ┼── Wake, Wrote, Applied, Read ──┼── Seat: Driver · Journal ▶ SeatDisk · Applier ▶ Shelf
//!            ├── Client ── Submit             │              │ after every event
//!            └── Strike ── faults             └──▶ Ledger, Promises, Clients: is it still true?
//! ```
//!
//! Everything is decided by the seed: no clock, no thread, no hash map's order. [`World::trace`] runs over
//! every event, so two runs that differ anywhere differ in it.

use std::sync::Arc;

use quorate_chain::checked::Checked;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_chain::transaction::SignedTransaction;
use quorate_consensus::message::Message;
use quorate_replica::io::{FetchJob, Input, Output};
use quorate_replica::snapshot::{self, Ask, Piece};
use quorate_replica::store::Store;

use crate::checks::may_follow_from_amnesia;
use crate::clients::Clients;
use crate::dials::{Choice, Dials, Fault};
use crate::dice::Dice;
use crate::forks::Archive;
use crate::genesis::{self, Founding};
use crate::healing::Healing;
use crate::ledger::{Ledger, bit};
use crate::lies::Liar;
use crate::network::Network;
use crate::report::Tally;
use crate::schedule::Schedule;
use crate::seat::Seat;
use crate::shelf::Shelf;
use crate::tell;
use crate::twins::{Starts, Twins};
use crate::violation::{Check, hold, unreadable};

/// Bytes of a piece of a snapshot.
const PIECE: usize = 4_096;

/// What is on its way between two nodes.
#[derive(Clone, Debug)]
pub enum Cargo {
    /// A message.
    Message(Box<Message>),
    /// Transactions for the leader.
    Transactions(Vec<Checked<SignedTransaction>>),
    /// A question for a piece of a snapshot.
    Ask(Ask),
    /// A piece of a snapshot.
    Piece(Piece),
}

/// Something that happens.
#[derive(Debug)]
pub enum Happening {
    /// Something arrives at a seat.
    Arrive {
        /// The seat.
        to: usize,
        /// Who sent it.
        from: NodeId,
        /// What it is.
        cargo: Cargo,
    },
    /// A driver may want a tick: planned for this moment.
    Wake(usize, u64),
    /// The journal of a life is done.
    Wrote(usize, u32),
    /// The journal of a life has nothing to do.
    Idle(usize, u32),
    /// The applier of a life is done.
    Applied(usize, u32),
    /// Blocks have been read.
    Read(usize, u32, FetchJob),
    /// A process starts.
    Start(usize),
    /// A seat learns that a link is closed.
    Hint(usize, NodeId),
    /// A process is told that there is a connection to a node.
    Opened(usize, NodeId),
    /// A client does something.
    Client(usize),
    /// A fault strikes.
    Strike(Fault),
    /// A fault ends, at one seat or everywhere.
    Relief(Fault, usize),
    /// The faults end; is everybody well yet?
    Heal,
}

/// A world.
pub struct World {
    /// Microseconds since it began.
    pub now: u64,
    /// What it is like.
    pub dials: Dials,
    /// What will happen.
    pub schedule: Schedule<Happening>,
    /// The machines. A node's number is its place, until somebody has copied one (`twins`).
    pub seats: Vec<Seat>,
    /// The network between them.
    pub network: Network,
    /// The chain they must agree on.
    pub ledger: Ledger,
    /// The clients.
    pub clients: Clients,
    /// What has happened.
    pub tally: Tally,
    /// Chance, for processes and machines.
    pub dice: Dice,
    /// What checks signatures.
    pub verifier: Arc<dyn Verifier>,
    /// The keys and the genesis.
    pub founding: Founding,
    /// How far the healing is.
    pub healing: Option<Healing>,
    /// The validator that lies, if one does.
    pub liar: Option<Liar>,
    /// Whether it has forked the group.
    pub forked: bool,
    /// The two processes with one key, if somebody has copied a validator.
    pub twins: Option<Twins>,
    /// How all processes have begun.
    pub starts: Starts,
    /// Whether a validator signs that has forgotten what it signed, and nobody who knew was there to tell.
    pub untold: bool,
    /// Whether a validator was readmitted too early, in a world with a liar.
    pub misled: bool,
    /// Whom the operator has asked to leave, with the number of the roster that it was asked of.
    pub leaving: Vec<(u64, NodeId)>,
    /// A running hash over every event.
    pub trace: u64,
    /// Every message is told from this moment on.
    pub tell_from: u64,
    pub(super) out: Vec<Output>,
    until: u64,
    events: u64,
}

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(choice: &Choice) -> Self {
        Self::with(choice, Dials::draw(choice))
    }

    /// A world with dials of one's own.
    #[must_use]
    pub fn with(choice: &Choice, dials: Dials) -> Self {
        let founding = genesis::found(&dials);
        let chain_id = founding.chain_id;
        let mut dice = Dice::new(choice.seed, 4);
        let model = dice.below(8) == 0;
        let ledger = Ledger::new(&founding.genesis, chain_id, model);
        let clients = Clients::new(choice.seed, &dials, chain_id);
        let mut world = Self {
            now: 0,
            schedule: Schedule::default(),
            seats: Vec::new(),
            network: Network::new(choice.seed, dials.seats as usize + 1),
            ledger,
            clients,
            tally: Tally::default(),
            dice,
            verifier: dials.signatures.verifier(),
            founding,
            healing: None,
            liar: Liar::new(choice.seed, &dials),
            forked: false,
            twins: None,
            starts: Starts::default(),
            untold: false,
            misled: false,
            leaving: Vec::new(),
            trace: choice.seed,
            tell_from: u64::MAX,
            out: Vec::new(),
            until: choice.seconds.saturating_mul(1_000_000),
            events: choice.events.unwrap_or(u64::MAX),
            dials,
        };
        if let Some(liar) = &world.liar {
            world.ledger.excused = bit(liar.node);
            world.ledger.suspects = bit(liar.node);
            world.ledger.archive = Some(Archive::default());
        }
        for node in 0..world.dials.nodes {
            world.settle(NodeId::new(node));
        }
        for client in 0..world.dials.clients as usize {
            let pause = world.clients.pause(&world.dials);
            world.schedule.at(pause, Happening::Client(client));
        }
        world.plan_strikes();
        world.schedule.at(world.until, Happening::Heal);
        world
    }

    pub(super) fn new_shelf(&self) -> Shelf {
        Shelf::new(self.dials.keeping, self.dials.late_checkpoints, self.chain_id())
    }

    /// A new machine for a node, which starts at once.
    pub(super) fn settle(&mut self, node: NodeId) {
        let setup = genesis::setup(&self.founding, &self.dials, node, &mut self.dice);
        let shelf = self.new_shelf();
        let seat =
            Seat::new(setup, shelf, self.now, self.dice.draw(), self.chain_id().genesis_ref());
        self.seats.push(seat);
        self.schedule.at(self.now, Happening::Start(self.seats.len() - 1));
    }

    /// The seats whose machines are on.
    pub(super) fn on(&self) -> impl Iterator<Item = usize> {
        (0..self.seats.len()).filter(|at| self.seats[*at].is_on())
    }

    /// Any seat whose machine is on.
    pub(super) fn any_seat(&mut self) -> usize {
        let place = self.dice.index(self.on().count());
        self.on().nth(place).unwrap_or_default()
    }

    /// The seat of a node: the original, if there is a copy of it.
    pub(super) fn seat_of(&self, node: NodeId) -> Option<usize> {
        let is_there = |seat: &Seat| seat.node == node;
        let usual = node.get() as usize;
        let found = self.seats.get(usual).is_some_and(is_there).then_some(usual);
        found.or_else(|| self.seats.iter().position(is_there))
    }

    /// Whoever sits there.
    pub(super) fn any_node(&mut self) -> NodeId {
        let at = self.any_seat();
        self.seats[at].node
    }

    /// The chain.
    #[must_use]
    pub const fn chain_id(&self) -> ChainId {
        self.founding.chain_id
    }

    /// Lives through it: the phase with faults, then the healing.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn run(&mut self) -> Check {
        while !self.is_over() {
            let Some((moment, happening)) = self.schedule.pop() else { break };
            self.now = moment.max(self.now);
            self.tally.events += 1;
            match self.happen(happening) {
                Err(wrong) if self.untold && may_follow_from_amnesia(wrong.rule) => {
                    self.tally.untold += 1;
                    break;
                }
                Err(wrong) if self.misled && may_follow_from_amnesia(wrong.rule) => {
                    self.tally.misled += 1;
                    break;
                }
                Err(_) if self.twins.as_ref().is_some_and(Twins::have_clashed) => {
                    self.tally.clashes += 1;
                    break;
                }
                other => other?,
            }
            if self.tally.events >= self.events {
                break;
            }
        }
        self.tally.seconds = self.now / 1_000_000;
        let lived: u64 = self.seats.iter().map(|seat| seat.age(self.now)).sum();
        self.tally.node_seconds = lived / 1_000_000;
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.forked || self.healing.as_ref().is_some_and(Healing::is_done)
    }

    fn mark(&mut self, kind: u64, seat: usize, more: u64) {
        for word in [self.now, kind << 8 | seat as u64, more] {
            self.trace = (self.trace.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn happen(&mut self, happening: Happening) -> Check {
        if let Some(at) = Self::place(&happening)
            && let Some(seat) = self.seats.get_mut(at).filter(|seat| seat.paused_until > self.now)
        {
            // A process that stands still finds all of it when it goes on, in order.
            seat.deferred.push(happening);
            return Ok(());
        }
        match happening {
            Happening::Arrive { to, from, cargo } => self.arrive(to, from, cargo),
            Happening::Wake(seat, planned) => self.wake(seat, planned),
            Happening::Wrote(seat, life) => self.wrote(seat, life),
            Happening::Idle(seat, life) => self.idle(seat, life),
            Happening::Applied(seat, life) => self.applied(seat, life),
            Happening::Read(seat, life, job) => self.read(seat, life, job),
            Happening::Start(seat) => self.start(seat),
            Happening::Hint(seat, node) => self.give(seat, 7, Input::LinkLost { node }),
            Happening::Opened(seat, node) => self.give(seat, 7, Input::LinkOpened { node }),
            Happening::Client(client) => self.client(client),
            Happening::Strike(fault) => self.strike(fault),
            Happening::Relief(fault, seat) => self.relieve(fault, seat),
            Happening::Heal => self.heal(),
        }
    }

    /// The seat whose process must run for something to happen.
    const fn place(happening: &Happening) -> Option<usize> {
        match happening {
            Happening::Arrive { to: seat, .. }
            | Happening::Wake(seat, _)
            | Happening::Wrote(seat, _)
            | Happening::Idle(seat, _)
            | Happening::Applied(seat, _)
            | Happening::Read(seat, ..)
            | Happening::Hint(seat, _)
            | Happening::Opened(seat, _) => Some(*seat),
            Happening::Start(_)
            | Happening::Client(_)
            | Happening::Strike(_)
            | Happening::Relief(..)
            | Happening::Heal => None,
        }
    }

    fn arrive(&mut self, to: usize, from: NodeId, cargo: Cargo) -> Check {
        if self.now >= self.tell_from {
            tell::arrival(self.now, from, to, &cargo);
        }
        match cargo {
            Cargo::Message(message) => {
                self.tempt(to, from, &message)?;
                self.hears(to, from, &message);
                self.give(to, 1, Input::Received { from, message: *message })
            }
            Cargo::Transactions(transactions) => {
                self.give(to, 2, Input::Forwarded { from, transactions })
            }
            Cargo::Ask(ask) => {
                let Some(replica) = &self.seats[to].replica else { return Ok(()) };
                let applier = &replica.applier;
                let reader = applier.store().reader();
                let piece = snapshot::piece(&reader, applier.demand(), ask, PIECE);
                let piece = piece.map_err(|error| unreadable(from, &error))?;
                let piece = self.spoil(to, piece);
                self.dispatch(to, from, Cargo::Piece(piece))
            }
            Cargo::Piece(piece) => self.give(to, 11, Input::Brought { from, piece }),
        }
    }

    fn wake(&mut self, at: usize, planned: u64) -> Check {
        let seat = &mut self.seats[at];
        if seat.wake != Some(planned) {
            // An earlier one has taken its place.
            return Ok(());
        }
        seat.wake = None;
        let Some(replica) = &seat.replica else { return Ok(()) };
        let moment = seat.clock.now(self.now).moment;
        if moment >= replica.driver.deadline() {
            self.give(at, 3, Input::Tick)?;
            let seat = &self.seats[at];
            let Some(replica) = &seat.replica else { return Ok(()) };
            // Who forwards a lot sends one message a tick, and asks for the next one at once.
            let later = replica.driver.core().deadline() > moment;
            hold(later, "a tick is not due again at once", || format!("node {}", seat.node))
        } else {
            self.plan_wake(at);
            Ok(())
        }
    }

    /// Plans a look at the deadline, if none is planned that is early enough.
    pub(super) fn plan_wake(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let Some(replica) = &seat.replica else { return };
        let Some(due) = seat.clock.when(replica.driver.deadline(), self.now) else { return };
        if seat.wake.is_none_or(|planned| planned > due) {
            seat.wake = Some(due);
            self.schedule.at(due, Happening::Wake(at, due));
        }
    }

    /// Gives a driver an input and carries out what it wants done.
    pub(super) fn give(&mut self, at: usize, kind: u64, input: Input) -> Check {
        let Some(seat) = self.seats.get_mut(at) else { return Ok(()) };
        let Some(replica) = &mut seat.replica else { return Ok(()) };
        let mut out = std::mem::take(&mut self.out);
        replica.driver.handle(seat.clock.now(self.now), input, &mut out);
        if self.now >= self.tell_from {
            tell::outputs(self.now, at, kind, &out);
        }
        let core = replica.driver.core();
        let facts = core.term().get() << 40 ^ core.log().tip().block.height.get() << 20;
        self.mark(kind, at, facts ^ out.len() as u64);
        let mut check = self.check_seat(at);
        for output in out.drain(..) {
            // Whoever has died in the middle of it does no more.
            if check.is_ok() && self.seats[at].is_running() {
                check = self.carry_out(at, output);
            }
        }
        self.out = out;
        self.plan_wake(at);
        check
    }
}
