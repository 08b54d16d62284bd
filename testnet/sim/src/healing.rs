//! After the faults: everybody who can must get well, within a time that is known beforehand.
//!
//! All faults end at once, and whoever is down and may run is started. Then
//! 1. within ten election timeouts there is a leader, or forty if some would rather not lead,
//! 2. within a minute all who run have applied the same, and have answered all who asked them,
//! 3. a fresh transaction is applied everywhere.

use quorate_chain::roster::Lead;

use crate::checks::few_messages;
use crate::clock::TRUE_RATE;
use crate::genesis::ELECTION_TIMEOUT;
use crate::lives::Death;
use crate::seat::Retired;
use crate::violation::{Check, hold};
use crate::world::{Happening, World};

/// How often somebody looks, in microseconds.
const LOOK: u64 = 47_003;
/// How long all may take to be equal.
const EQUAL: u64 = 60_000_000;

/// How far the healing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Leader,
    Equal,
    Fresh(usize),
    Done,
}

/// How far the healing is.
#[derive(Clone, Copy, Debug)]
pub struct Healing {
    stage: Stage,
    /// When the stage began.
    since: u64,
}

impl Healing {
    /// Whether everybody is well.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }
}

impl World {
    /// The faults end, or somebody looks whether all are well.
    pub(super) fn heal(&mut self) -> Check {
        let Some(healing) = self.healing else {
            let (nodes, seconds) = (self.on().count() as u64, self.now / 1_000_000);
            few_messages(self.tally.messages, nodes, self.tally.blocks, seconds)?;
            self.end_faults()?;
            self.healing = Some(Healing { stage: Stage::Leader, since: self.now });
            self.schedule.at(self.now + LOOK, Happening::Heal);
            return Ok(());
        };
        self.schedule.at(self.now + LOOK, Happening::Heal);
        let took = self.now - healing.since;
        let next = match healing.stage {
            Stage::Leader if self.has_leader() => Stage::Equal,
            Stage::Leader => {
                // Who would rather not lead waits four times as long.
                let slower = if self.some_are_unwilling() { 4 } else { 1 };
                let limit = 10 * slower * ELECTION_TIMEOUT.as_micros();
                return hold(took <= limit, "a leader within ten election timeouts", || {
                    self.describe()
                });
            }
            Stage::Equal if self.are_equal() => self.ask_once_more()?,
            Stage::Equal => {
                return hold(took <= EQUAL, "all are equal within a minute", || self.describe());
            }
            Stage::Fresh(count) if self.are_equal() && self.clients.count() >= count => Stage::Done,
            Stage::Fresh(_) => {
                return hold(took <= EQUAL, "a fresh transaction is applied", || self.describe());
            }
            Stage::Done => Stage::Done,
        };
        self.healing = Some(Healing { stage: next, since: self.now });
        Ok(())
    }

    fn end_faults(&mut self) -> Check {
        self.dials.heal();
        self.network.heal();
        if let Some(liar) = &self.liar {
            let at = self.seat_of(liar.node).unwrap_or_default();
            self.die(at, Death::Killed)?;
            self.seats[at].retired = Some(Retired::Lied);
        }
        self.end_clone()?;
        for at in 0..self.seats.len() {
            let (now, seat) = (self.now, &mut self.seats[at]);
            seat.clock.set_rate(now, TRUE_RATE);
            seat.clock.set_calendar(0);
            seat.crash_loop_until = 0;
            (seat.slow_disk, seat.slow_store) = (0, 0);
            seat.disk.end_plan();
            seat.disk.make_room();
            self.resume(at);
            let seat = &self.seats[at];
            if seat.is_running() {
                // What was slow is done.
                self.schedule.at(now, Happening::Wrote(at, seat.life));
                self.schedule.at(now, Happening::Applied(at, seat.life));
                self.plan_wake(at);
            } else if seat.retired.is_none() {
                self.schedule.at(now, Happening::Start(at));
            }
        }
        Ok(())
    }

    fn some_are_unwilling(&self) -> bool {
        self.seats.iter().any(|seat| {
            let roster = seat.replica.as_ref().map(|it| &it.driver.core().log().tip().roster);
            let member = roster.and_then(|roster| roster.member(seat.node));
            let lead = seat.setup.lead.or(member.map(|member| member.lead));
            lead == Some(Lead::No)
        })
    }

    fn has_leader(&self) -> bool {
        let running = self.seats.iter().filter_map(|seat| seat.replica.as_ref().map(|_| seat.said));
        let newest = running.clone().map(|said| said.term).max();
        running.clone().any(|said| said.leads.is_some() && said.leads == newest)
    }

    /// All members that run have applied all that is committed, and nobody waits for an answer.
    fn are_equal(&self) -> bool {
        let newest = self
            .seats
            .iter()
            .filter_map(|seat| seat.replica.as_ref())
            .max_by_key(|replica| replica.driver.core().log().committed().height);
        let Some(newest) = newest else { return false };
        let roster = &newest.driver.core().log().tip().roster;
        let height = self.ledger.height();
        let mut members = self.seats.iter().filter(|seat| roster.member(seat.node).is_some());
        let equal = members.all(|seat| match &seat.replica {
            Some(replica) => {
                let log = replica.driver.core().log();
                // Where blocks come in a rhythm there is always one on its way.
                let on_its_way = if self.dials.block_interval.is_some() { 2 } else { 0 };
                log.applied().block.height.get() + on_its_way >= height.get()
            }
            None => seat.retired.is_some(),
        });
        let alive = |at: usize, life: u32| {
            let seat = &self.seats[at];
            seat.is_running() && seat.life == life && roster.member(seat.node).is_some()
        };
        equal && self.clients.unanswered(alive).is_none() && !self.clients.owes_read(alive)
    }

    /// A fresh transaction, at somebody who runs and is a member.
    fn ask_once_more(&mut self) -> Result<Stage, crate::violation::Violation> {
        let standing = |at: &usize| (self.seats[*at].said.applied, self.seats[*at].is_running());
        let at = (0..self.seats.len()).max_by_key(standing).unwrap_or_default();
        let transaction = self.clients.next(0, &self.dials, &mut self.tally);
        self.submit(0, transaction, at)?;
        Ok(Stage::Fresh(self.clients.count()))
    }

    /// Who stands where, for whoever reads of a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("committed {}", self.ledger.height());
        for seat in &self.seats {
            let node = seat.node;
            let line = match &seat.replica {
                Some(replica) => {
                    let status = replica.driver.status();
                    format!(
                        "\n  node {node}: {:?} of term {} under {:?}, tip {}, committed {}, applied {}, {} wait; {} records, {} being written, {} applies; deadline {} of {}{}{}",
                        status.standing,
                        status.term,
                        status.leader,
                        status.tip,
                        status.committed.height,
                        status.applied.height,
                        status.mempool.transactions,
                        seat.jobs.len(),
                        seat.writing.len(),
                        seat.applies.len(),
                        replica.driver.deadline().as_micros(),
                        seat.clock.now(self.now).moment.as_micros(),
                        if status.recovering { ", recovering" } else { "" },
                        if seat.damaged { ", its disk is spent" } else { "" },
                    )
                }
                None => format!("\n  node {node}: down, {:?}", seat.retired),
            };
            text.push_str(&line);
        }
        let alive =
            |at: usize, life: u32| self.seats[at].is_running() && self.seats[at].life == life;
        if let Some(late) = self.clients.unanswered(alive) {
            text.push_str(&format!("\n  {late}"));
        }
        text
    }
}
