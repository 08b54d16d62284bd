//! After the faults: everybody who can must get well, within a time that is known beforehand.
//!
//! All faults end at once, and whoever is down and may run is started. Then
//! 1. within ten election timeouts there is a leader, or forty if some would rather not lead: one of the newest term, or
//!    one that a quorum follows, beside members that have gone ahead,
//! 2. within a minute all who run have applied the same, and have answered all who asked them,
//! 3. within a minute more a fresh transaction has a place, whoever asked for it has been told so, and it is
//!    applied everywhere. Whoever is told anything else asks again,
//! 4. within three minutes more every voter that recovers is readmitted, if those who run and do not recover are a
//!    quorum, and the newest term is led. A leader begins at most one term a minute for that.

use std::sync::Arc;

use quorate_chain::ids::{Height, NodeId};
use quorate_chain::roster::{Lead, QuorumKind, Roster};
use quorate_replica::io::Submission;

use crate::checks::few_messages;
use crate::clients::Fate;
use crate::clock::TRUE_RATE;
use crate::genesis::ELECTION_TIMEOUT;
use crate::lives::Death;
use crate::seat::{Retired, Said};
use crate::violation::{Check, Violation, hold};
use crate::world::{Happening, World};

/// How often somebody looks, in microseconds.
const LOOK: u64 = 47_003;
/// How long all may take to be equal.
const EQUAL: u64 = 60_000_000;
/// How long a readmission may take.
const READMISSION: u64 = 180_000_000;

/// How far the healing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Leader,
    Equal,
    /// The last attempt, if anybody could be asked.
    Fresh(Option<Submission>),
    Whole,
    Done,
}

/// Whether a group is led, by what those who run have said and whether they are its members: one of them leads the
/// newest term of all. Whoever was taken out may be in a term that it was led to by a liar, and that nobody else knows.
#[must_use]
pub fn is_led(roster: &Roster, running: &[(NodeId, Said)]) -> bool {
    let members = running.iter().filter(|(node, _)| roster.member(*node).is_some());
    let mut members = members.map(|(_, said)| said);
    let newest = members.clone().map(|said| said.term).max();
    members.any(|said| said.leads.is_some() && said.leads == newest)
}

/// Whether a member leads, in whatever term, and so many members are in that term that they can commit. Those that have
/// gone ahead may have to wait for a minute until it begins a new term, in which they find back.
#[must_use]
pub fn leads_on(roster: &Roster, running: &[(NodeId, Said)]) -> bool {
    let led = running.iter().filter(|(node, _)| roster.member(*node).is_some());
    led.filter_map(|(_, said)| said.leads).any(|term| {
        let there = running.iter().filter(|(_, said)| said.term == term);
        roster.has_quorum(QuorumKind::Commit, &there.map(|(node, _)| *node).collect())
    })
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
            Stage::Leader if self.holds(is_led) => Stage::Equal,
            Stage::Leader if self.holds(leads_on) => Stage::Equal,
            Stage::Leader => {
                // Who would rather not lead waits four times as long.
                let slower = if self.some_are_unwilling() { 4 } else { 1 };
                let limit = 10 * slower * ELECTION_TIMEOUT.as_micros();
                if took > limit && self.acks_forbid_a_leader() {
                    self.tally.bound += 1;
                    self.healing = Some(Healing { stage: Stage::Done, since: self.now });
                    return Ok(());
                }
                return hold(took <= limit, "a leader within ten election timeouts", || {
                    self.describe()
                });
            }
            Stage::Equal if self.are_equal() => Stage::Fresh(self.ask_once_more()?),
            Stage::Equal => {
                return hold(took <= EQUAL, "all are equal within a minute", || self.describe());
            }
            Stage::Fresh(asked) => {
                hold(took <= EQUAL, "a fresh transaction is applied", || self.describe())?;
                return self.attend(asked, healing.since);
            }
            Stage::Whole if self.are_whole() && self.holds(is_led) => Stage::Done,
            Stage::Whole => {
                let whole = self.are_whole();
                let rule = if whole {
                    "who has gone ahead finds back"
                } else {
                    "who recovers is readmitted"
                };
                return hold(took <= READMISSION, rule, || self.describe());
            }
            Stage::Done => Stage::Done,
        };
        self.healing = Some(Healing { stage: next, since: self.now });
        Ok(())
    }

    /// Looks after the fresh transaction, and asks again if it was not taken.
    fn attend(&mut self, asked: Option<Submission>, since: u64) -> Check {
        let (seats, now) = (&self.seats, self.now);
        let alive = |at: usize, life: u32| seats[at].listens(now) && seats[at].life == life;
        let fate = asked.map_or(Fate::Lost, |asked| self.clients.fate(asked, alive));
        let (stage, since) = match fate {
            Fate::Placed(height) if self.are_equal() && self.have_applied(height) => {
                (Stage::Whole, now)
            }
            Fate::Placed(_) | Fate::Open => return Ok(()),
            Fate::Lost => (Stage::Fresh(self.ask_once_more()?), since),
        };
        self.healing = Some(Healing { stage, since });
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

    /// Whether a rule holds for what those who run have said of themselves last.
    fn holds(&self, rule: impl Fn(&Roster, &[(NodeId, Said)]) -> bool) -> bool {
        let running = self.seats.iter().filter(|seat| seat.replica.is_some());
        let said: Vec<_> = running.map(|seat| (seat.node, seat.said)).collect();
        self.newest_roster().is_some_and(|roster| rule(&roster, &said))
    }

    /// A liar is gone, and so many have acked what it has made of the chain that for no tip enough are left who may
    /// vote for it. Then the admins have to recover the group: to vote for less than was acked is evidence.
    fn acks_forbid_a_leader(&self) -> bool {
        let Some(roster) = self.newest_roster().filter(|_| self.liar.is_some()) else {
            return false;
        };
        let running: Vec<_> = self
            .seats
            .iter()
            .filter_map(|seat| Some((seat.node, seat.replica.as_ref()?.driver.core())))
            .filter(|(node, _)| roster.is_voter(*node))
            .collect();
        running.iter().all(|(_, candidate)| {
            let tip = candidate.log().tip().block;
            let allowed = running.iter().filter(|(_, core)| core.acks_allow(tip));
            let voters = allowed.map(|(node, _)| *node).collect();
            !roster.has_quorum(QuorumKind::Election, &voters)
        })
    }

    /// All who run and are members have applied this height.
    fn have_applied(&self, height: Height) -> bool {
        let Some(roster) = self.newest_roster() else { return false };
        let members = self.seats.iter().filter(|seat| roster.member(seat.node).is_some());
        let mut running = members.filter_map(|seat| seat.replica.as_ref());
        running.all(|replica| replica.driver.core().log().applied().block.height >= height)
    }

    /// The roster at the tip of whoever knows of most that is committed.
    fn newest_roster(&self) -> Option<Arc<Roster>> {
        let running = self.seats.iter().filter_map(|seat| seat.replica.as_ref());
        let logs = running.map(|replica| replica.driver.core().log());
        let newest = logs.max_by_key(|log| log.committed().height)?;
        Some(Arc::clone(&newest.tip().roster))
    }

    /// All members that run have applied all that is committed, and nobody waits for an answer.
    fn are_equal(&self) -> bool {
        let Some(roster) = self.newest_roster() else { return false };
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

    /// No voter that runs recovers, or the others cannot readmit it.
    fn are_whole(&self) -> bool {
        let Some(roster) = self.newest_roster() else { return true };
        let running = self.seats.iter().filter(|seat| seat.is_running());
        let voters = running.filter(|seat| roster.is_voter(seat.node));
        let (recovering, whole): (Vec<_>, Vec<_>) = voters.partition(|seat| seat.said.recovers);
        let whole = whole.into_iter().map(|seat| seat.node).collect();
        recovering.is_empty() || !roster.has_quorum(QuorumKind::Election, &whole)
    }

    /// A transaction with a new number, at the member that has applied most of those who run.
    fn ask_once_more(&mut self) -> Result<Option<Submission>, Violation> {
        let Some(roster) = self.newest_roster() else { return Ok(None) };
        let fits = |at: &usize| {
            let seat = &self.seats[*at];
            seat.listens(self.now) && roster.member(seat.node).is_some()
        };
        let members = (0..self.seats.len()).filter(fits);
        let Some(at) = members.max_by_key(|at| self.seats[*at].said.applied) else {
            return Ok(None);
        };
        let transaction = self.clients.lasting(0, &self.dials, &mut self.tally);
        self.submit(0, transaction, at)
    }

    /// Who stands where, for whoever reads of a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("committed {}", self.ledger.height());
        let roster = self.newest_roster();
        let is_member = |node| roster.as_ref().is_some_and(|roster| roster.member(node).is_some());
        for seat in &self.seats {
            let node = seat.node;
            let line = match &seat.replica {
                Some(replica) => {
                    let status = replica.driver.status();
                    format!(
                        "\n  node {node}{}: {:?} of term {} under {:?}, tip {}, committed {}, applied {}, {} wait; {} records, {} being written, {} applies; deadline {} of {}{}{}",
                        if is_member(node) { "" } else { ", no member" },
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
        let alive = |at: usize, life: u32| {
            let seat = &self.seats[at];
            seat.is_running() && seat.life == life && is_member(seat.node)
        };
        if let Some(late) = self.clients.unanswered(alive) {
            text.push_str(&format!("\n  {late}"));
        }
        text
    }
}
