//! Two processes with one key: somebody has copied a validator's data directory, log and store, while it ran or
//! when it had just died, and runs the copy on another machine.
//!
//! What is sent to the common name reaches one of the two: whoever sends has a connection to either, mostly to the
//! one that has started last, and now and then to the other. Both send. After a while the operator notices
//! and switches one of them off, the copy or the original; at the latest before everything heals.
//!
//! # What is promised
//!
//! `amnesia` of the consensus says what the two promise together; `World::greeted_in_order` checks the first
//! of these, `World::agree` the others, beside the checks of each process by itself:
//!
//! 1. Of two starts of one log with one count, one never signs, if any other validator has answered both without a
//!    death in between; nor does a start with a lower count that began after the other had got its answers.
//!    That is promised to a process that finds itself in a roster: no other knows whose word a start is, and what it
//!    signs counts for nothing.
//! 2. A process that begins when the other has ended keeps the other's word, as far as somebody has heard it who has
//!    answered the process, without a death in between ([`Heard`]). What nobody has heard is in no certificate.
//! 3. While both run and neither of these holds, nothing is promised of the two together: the original has its
//!    answers already, and only chance tells it of the copy. All others are promised everything until the two
//!    have said what excludes each other. That ends the world, and is counted.
//!
//! So a world with two processes is like one with a liar who lies once, and by accident: the key counts as a spent
//! disk, no other disk is spent beside it (who recovers may ask either of the two where it stands), and clients
//! may read what is old (either may confirm a leader that the other has left).

use std::collections::{BTreeMap, BTreeSet};

use quorate_chain::block::Block;
use quorate_chain::checked::Checked;
use quorate_chain::ids::NodeId;
use quorate_chain::statement::Statement;
use quorate_consensus::config::Incarnation;
use quorate_consensus::life::Life;
use quorate_consensus::message::Message;

use crate::checks::waits;
use crate::dials::Fault;
use crate::dice::Dice;
use crate::heard::Heard;
use crate::ledger::bit;
use crate::lives::Death;
use crate::seat::{Retired, Seat};
use crate::violation::{Check, Violation, hold};
use crate::world::{Happening, World};

/// How likely a machine connects to the process that has just started, in a million.
const TO_NEWEST: [u64; 4] = [500_000, 900_000, 1_000_000, 1_000_000];
/// How likely a message is the first on a connection to the other process, in a million.
const TO_OTHER: [u64; 4] = [0, 100, 1_000, 20_000];
/// How many logs of one validator others remember at least.
const LOGS: usize = 4;

/// Two seats with one key.
#[derive(Debug)]
pub struct Twins {
    /// Whose key it is.
    pub node: NodeId,
    original: usize,
    copy: usize,
    /// Whether each seat is connected to the copy.
    to_copy: Vec<bool>,
    /// How likely a seat connects to the newest process, and changes to the other one, in a million.
    to_newest: u64,
    to_other: u64,
    /// What those had heard who have answered the newest process of a seat.
    told: BTreeMap<usize, Vec<Heard>>,
    clashed: bool,
}

impl Twins {
    /// Whether the two have said what excludes each other, and nobody had promised that they would not.
    #[must_use]
    pub const fn have_clashed(&self) -> bool {
        self.clashed
    }

    /// Links have broken or come back: many connect anew, to either process.
    pub(super) fn reconnect(&mut self, dice: &mut Dice) {
        self.to_copy.iter_mut().for_each(|to_copy| *to_copy ^= dice.below(4) == 0);
    }

    const fn other(&self, at: usize) -> usize {
        if at == self.copy { self.original } else { self.copy }
    }
}

/// The starts of all processes, as far as they matter to later ones.
#[derive(Debug, Default)]
pub struct Starts {
    signing: Vec<Signing>,
    /// The logs that a node has ever begun.
    logs: BTreeMap<NodeId, BTreeSet<Incarnation>>,
}

/// A process that has begun to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Whose key it has.
    pub node: NodeId,
    /// Its start.
    pub life: Life,
    /// When that was.
    pub begun: u64,
    /// When it had answers enough.
    pub since: u64,
    /// The processes that have answered it, by seat and life, of those who were there before it.
    pub answered_by: BTreeSet<(usize, u32)>,
    /// Whether it finds itself in a roster.
    pub is_member: bool,
}

impl Signing {
    /// Whether somebody who has answered both must have stopped this one, because it knew of the other.
    #[must_use]
    pub fn should_have_stopped(&self, other: &Self) -> bool {
        let (own, its) = (self.life, other.life);
        let same_log = self.node == other.node && own.incarnation == its.incarnation && own != its;
        let later = self.begun > other.since;
        // Of two with one count whoever was answered second stops, which may be either; but one that is promised nothing
        // need not, so there the other must have been the second.
        let second = other.is_member || later;
        let older = own.boot == its.boot && second || own.boot < its.boot && later;
        self.is_member && same_log && older && !self.answered_by.is_disjoint(&other.answered_by)
    }
}

impl World {
    /// Somebody copies a machine and runs the copy, if the budget allows. Returns whether it does.
    pub(super) fn clone_seat(&mut self, at: usize) -> Result<bool, Violation> {
        let (node, seat) = (self.seats[at].node, &self.seats[at]);
        // What those who join know of a start depends on how far their roster has come.
        let fits = self.twins.is_none() && node.get() < self.dials.nodes && seat.life > 0;
        let alone = self.on().all(|it| !self.seats[it].damaged || self.seats[it].node == node);
        if !fits || !alone || seat.retired.is_some() || !self.may_spend(Fault::Clone, at) {
            return Ok(false);
        }
        if self.dice.flip() {
            self.die(at, Death::Killed)?;
        }
        let (draws, genesis) = ([(); 2].map(|()| self.dice.draw()), self.chain_id().genesis_ref());
        let mut shelf = self.new_shelf();
        let seat = &mut self.seats[at];
        seat.spoil();
        shelf.replace(Some(seat.store.copy()));
        let mut setup = seat.setup.clone();
        setup.seed = draws[0];
        let mut copy = Seat::new(setup, shelf, self.now, draws[1], genesis);
        copy.disk.replace(seat.disk.copy());
        copy.disk.end_plan();
        copy.disk.make_room();
        copy.disk.restart();
        copy.promises = seat.promises.clone();
        (copy.base, copy.reached) = (seat.base, seat.reached);
        copy.spoil();
        self.seats.push(copy);
        let copy = self.seats.len() - 1;
        self.twins = Some(Twins {
            node,
            original: at,
            copy,
            to_copy: vec![false; self.network.seats()],
            to_newest: TO_NEWEST[self.dice.index(TO_NEWEST.len())],
            to_other: TO_OTHER[self.dice.index(TO_OTHER.len())],
            told: BTreeMap::new(),
            clashed: false,
        });
        self.ledger.suspects |= bit(node);
        let begins = self.now + self.dice.spread(1_000, 5_000_000);
        self.schedule.at(begins, Happening::Start(copy));
        let noticed = begins + self.dice.spread(1_000_000, 40_000_000);
        self.schedule.at(noticed, Happening::Relief(Fault::Clone, copy));
        Ok(true)
    }

    /// The operator notices that there are two, and switches one off.
    pub(super) fn end_clone(&mut self) -> Check {
        let Some(Twins { original, copy, .. }) = self.twins else { return Ok(()) };
        if [original, copy].into_iter().any(|at| !self.seats[at].is_on()) {
            return Ok(());
        }
        let off = if self.dice.flip() { original } else { copy };
        self.die(off, Death::Killed)?;
        self.seats[off].retired = Some(Retired::SwitchedOff(self.now));
        Ok(())
    }

    /// Whether a disk may be spent as far as two processes with one key go.
    pub(super) fn may_spend_beside_twins(&self, at: usize) -> bool {
        self.twins.as_ref().is_none_or(|twins| twins.node == self.seats[at].node)
    }

    /// The seat that what is sent to a node reaches.
    pub(super) fn way(&mut self, from: usize, to: NodeId) -> Option<usize> {
        let Some(twins) = self.twins.as_mut().filter(|twins| twins.node == to) else {
            return self.seat_of(to);
        };
        let to_copy = &mut twins.to_copy[from];
        match [twins.original, twins.copy].map(|at| self.seats[at].is_running()) {
            [true, true] => *to_copy ^= self.dice.chance(twins.to_other),
            // Whoever is gone has no connections.
            [_, copy] => *to_copy = copy,
        }
        Some(if *to_copy { twins.copy } else { twins.original })
    }

    /// Blocks were sealed, or come to a disk.
    pub(super) fn see_blocks(&mut self, blocks: &[Checked<Block>]) -> Check {
        for block in blocks {
            let seen = self.ledger.seen(block);
            if let Some(twins) = &mut self.twins {
                // Both have won one election, with the same votes.
                twins.clashed |= seen.is_err() && block.header().proposer == twins.node;
            }
            seen?;
        }
        Ok(())
    }

    /// Leaders that there should not be: if both processes have had a part in it, that ends the world.
    pub(super) fn doubt(&mut self) -> Check {
        let Some(twins) = self.twins.as_mut().filter(|_| self.ledger.doubted) else {
            return Ok(());
        };
        twins.clashed = true;
        hold(false, "a key keeps its word", || format!("node {}", twins.node))
    }

    /// A process hears something: perhaps what another knows of it.
    pub(super) fn hears(&mut self, to: usize, from: NodeId, message: &Message) {
        let begun = self.seats[to].begun;
        // A process may be answered by the other one with its name; that is no other validator.
        let other = self.seat_of(from).filter(|_| from != self.seats[to].node);
        let witness = other.filter(|at| {
            let seat = &self.seats[*at];
            let log = seat.replica.as_ref().map(|replica| replica.driver.core().log());
            let knows = log.is_some_and(|log| {
                let mut rosters = log.rosters().chain([&log.applied().roster]);
                rosters.any(|roster| roster.member(self.seats[to].node).is_some())
            });
            knows && seat.begun <= begun
        });
        let witness = witness.map(|at| (at, self.seats[at].life));
        self.seats[to].hears(from, witness, message);
        if self.dials.has(Fault::Clone) {
            self.seats[to].heard.hear(message);
        }
    }

    /// A process has started.
    pub(super) fn has_begun(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let Some(replica) = &seat.replica else { return };
        seat.begun = self.now;
        seat.begun_clock = seat.clock.now(self.now).moment.as_micros();
        seat.has_recovered = false;
        seat.answered_by.clear();
        seat.is_signing = false;
        let life = replica.driver.core().life();
        if let Some(twins) = self.twins.as_mut().filter(|twins| twins.node == seat.node) {
            for to_copy in &mut twins.to_copy {
                if self.dice.chance(twins.to_newest) {
                    *to_copy = at == twins.copy;
                }
            }
        }
        self.starts.logs.entry(seat.node).or_default().insert(life.incarnation);
    }

    /// A process signs from now on: it has not been told of another that should sign instead.
    pub(super) fn greeted_in_order(&mut self, at: usize) -> Check {
        let seat = &mut self.seats[at];
        let Some(replica) = &seat.replica else { return Ok(()) };
        let core = replica.driver.core();
        // Who was readmitted has waited for others.
        seat.has_recovered |= core.ballot().recovering;
        if seat.is_signing || !core.may_sign() {
            return Ok(());
        }
        seat.is_signing = true;
        let waited = seat.clock.now(self.now).moment.as_micros() - seat.begun_clock;
        waits(seat.node, waited, seat.heard_all() || seat.has_recovered)?;
        let (node, life, begun) = (seat.node, core.life(), seat.begun);
        let is_member = core.log().tip().roster.member(node).is_some();
        let answered_by = std::mem::take(&mut seat.answered_by);
        if let Some(twins) = self.twins.as_mut().filter(|twins| twins.node == node) {
            let still = answered_by.iter().filter(|(at, life)| self.seats[*at].life == *life);
            twins.told.insert(at, still.map(|(at, _)| self.seats[*at].heard.clone()).collect());
        }
        let signing = Signing { node, life, begun, since: self.now, answered_by, is_member };
        let logs = self.starts.logs.get(&node).map_or(0, BTreeSet::len);
        if node.get() < self.dials.nodes && logs <= LOGS {
            for other in &self.starts.signing {
                let wrong =
                    signing.should_have_stopped(other) || other.should_have_stopped(&signing);
                hold(!wrong, "of two starts of one log that somebody knows, one stops", || {
                    format!("{signing:?}, {other:?}")
                })?;
            }
        }
        self.starts.signing.push(signing);
        Ok(())
    }

    /// What a process says does not exclude what the other one with its key has said.
    pub(super) fn agree(&mut self, at: usize, statement: &Statement) -> Check {
        let node = self.seats[at].node;
        let Some(twins) = self.twins.as_mut().filter(|twins| twins.node == node) else {
            return Ok(());
        };
        let (own, other) = (&self.seats[at], &self.seats[twins.other(at)]);
        let excluded = other.promises.excludes(statement);
        let mut told = twins.told.get(&at).into_iter().flatten();
        let known = told.any(|heard| heard.excludes(node, statement, &other.promises));
        let beside = other.is_running() || other.ended >= own.begun;
        twins.clashed |= excluded && (beside || !known);
        hold(!excluded, "a key keeps its word", || format!("node {node}: {statement:?}"))
    }
}
