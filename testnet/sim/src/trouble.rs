//! What goes wrong, when, and how it ends.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function knows the faults that are its own; `mean_pause` lists all"
)]

use std::collections::BTreeSet;
use std::io::ErrorKind;

use quorate_chain::ids::NodeId;
use quorate_chain::roster::{QuorumKind, Roster};
use quorate_replica::io::Input;
use quorate_wal::{Memory, Operation};

use crate::dials::Fault;
use crate::lives::Death;
use crate::violation::{Check, Violation};
use crate::world::{Cargo, Happening, World};

/// How often a fault strikes at strength 1: the mean time between two, in milliseconds. Faults that are not
/// here strike with every message, transaction or death.
const fn mean_pause(fault: Fault) -> Option<u64> {
    Some(match fault {
        Fault::Replay | Fault::Liar => 1_000,
        Fault::Cut => 8_000,
        Fault::SlowPeer => 20_000,
        Fault::FalseHint => 5_000,
        Fault::Crash => 6_000,
        Fault::CrashLoop => 40_000,
        Fault::Power => 10_000,
        Fault::Blackout => 40_000,
        Fault::Pause => 10_000,
        Fault::ClockRate | Fault::ClockJump | Fault::SlowDisk | Fault::SlowStore => 15_000,
        Fault::ClockFreeze | Fault::DiskFull => 25_000,
        Fault::DiskError => 15_000,
        Fault::Rot | Fault::Zeroed | Fault::Misdirected => 30_000,
        Fault::LostWrite | Fault::LostName | Fault::StaleRead => 20_000,
        Fault::Blank | Fault::OldCopy | Fault::Clone => 20_000,
        Fault::Transfer => 5_000,
        Fault::Roster => 8_000,
        Fault::Loss
        | Fault::Delay
        | Fault::Reorder
        | Fault::Duplicate
        | Fault::Garble
        | Fault::Hint
        | Fault::Retry
        | Fault::NonceOrder
        | Fault::BadClient
        | Fault::Willingness => return None,
    })
}

impl World {
    /// Plans the first strike of every fault that is on.
    pub(super) fn plan_strikes(&mut self) {
        let faults: Vec<_> = self.dials.faults().collect();
        for fault in faults {
            self.plan_strike(fault);
        }
    }

    fn plan_strike(&mut self, fault: Fault) {
        if let Some(mean) = mean_pause(fault) {
            let mean = mean * 1_000 / self.dials.strength(fault).max(1);
            let due = self.now + self.dice.below(2 * mean);
            self.schedule.at(due, Happening::Strike(fault));
        }
    }

    /// A fault strikes.
    pub(super) fn strike(&mut self, fault: Fault) -> Check {
        if !self.dials.has(fault) || self.healing.is_some() {
            return Ok(());
        }
        self.plan_strike(fault);
        let at = self.any_seat();
        if !self.strikes(fault, at)? {
            return Ok(());
        }
        self.tally.fault(fault);
        Ok(())
    }

    /// Returns whether it hit anything.
    fn strikes(&mut self, fault: Fault, at: usize) -> Result<bool, Violation> {
        let runs = self.seats[at].is_running();
        match fault {
            Fault::Replay => {
                let Some((from, to, message)) = self.network.replay() else { return Ok(false) };
                let from = self.seats[from].node;
                let cargo = Cargo::Message(Box::new(message));
                self.schedule.at(self.now + 1, Happening::Arrive { to, from, cargo });
            }
            Fault::Cut => self.cut(),
            Fault::FalseHint => {
                let node = self.any_node();
                self.schedule.at(self.now, Happening::Hint(at, node));
            }
            Fault::Crash if runs => self.die(at, Death::Killed)?,
            Fault::Power if runs => self.die(at, Death::PowerCut)?,
            Fault::Blackout => {
                (0..self.seats.len()).try_for_each(|at| self.die(at, Death::PowerCut))?;
            }
            Fault::Transfer if self.seats[at].listens(self.now) => {
                let to = self.any_node();
                let to = self.dice.flip().then_some(to);
                self.give(at, 9, Input::Transfer { to })?;
            }
            Fault::Roster => return self.change_roster(),
            Fault::Liar => return self.make_up(),
            Fault::DiskError if runs => {
                let kinds = [ErrorKind::Other, ErrorKind::TimedOut, ErrorKind::PermissionDenied];
                self.seats[at].disk.fail_next(kinds[self.dice.index(kinds.len())]);
            }
            Fault::Blank | Fault::OldCopy => return self.swap(fault, at),
            Fault::Clone => return self.clone_seat(at),
            _ if fault.spends_a_disk() => return Ok(self.damage(fault, at)),
            Fault::Crash | Fault::Power | Fault::DiskError | Fault::Transfer => return Ok(false),
            _ => self.begin_trouble(fault, at),
        }
        Ok(true)
    }

    /// Trouble that goes on for a while.
    fn begin_trouble(&mut self, fault: Fault, at: usize) {
        let (now, seat) = (self.now, &mut self.seats[at]);
        let dice = &mut self.dice;
        let mut lasts = dice.spread(10_000, 30_000_000);
        match fault {
            Fault::SlowPeer => self.network.slow_down(at, dice.spread(1_000, 2_000_000)),
            Fault::CrashLoop => {
                seat.crash_loop_until = now + lasts;
                self.schedule.at(now + 1, Happening::Relief(fault, at));
                return;
            }
            Fault::Pause => {
                lasts = dice.spread(1_000, 60_000_000);
                lasts = lasts.max(seat.paused_until.saturating_sub(now));
                if seat.paused_until <= now {
                    seat.paused_since = now;
                }
                seat.paused_until = now + lasts;
            }
            Fault::ClockRate => seat.clock.set_rate(now, dice.between(500, 2_000)),
            Fault::ClockFreeze => seat.clock.set_rate(now, 0),
            Fault::ClockJump => {
                seat.clock.jump(now, dice.spread(1_000, 10_000_000));
                // Two calendars are never an hour apart: beyond that blocks are refused, by design.
                let far = i64::try_from(dice.below(3_000_000_000)).unwrap_or(0) - 1_500_000_000;
                seat.clock.set_calendar(far);
                self.plan_wake(at);
            }
            Fault::DiskFull => seat.disk.fill_up(dice.below(100_000)),
            Fault::SlowDisk => seat.slow_disk = dice.spread(10_000, 30_000_000),
            Fault::SlowStore => seat.slow_store = dice.spread(10_000, 5_000_000),
            _ => return,
        }
        self.schedule.at(now + lasts, Happening::Relief(fault, at));
    }

    /// Trouble ends.
    pub(super) fn relieve(&mut self, fault: Fault, at: usize) -> Check {
        let (now, seat) = (self.now, &mut self.seats[at]);
        match fault {
            Fault::Pause if seat.paused_until <= now => self.resume(at),
            Fault::Cut => self.network.join_all(),
            Fault::SlowPeer => self.network.slow_down(at, 0),
            Fault::CrashLoop if self.healing.is_none() => return self.die(at, Death::Killed),
            Fault::Clone => return self.end_clone(),
            Fault::ClockRate | Fault::ClockFreeze => {
                seat.clock.set_rate(now, crate::clock::TRUE_RATE);
                self.plan_wake(at);
            }
            Fault::ClockJump => seat.clock.set_calendar(0),
            Fault::DiskFull => seat.disk.make_room(),
            Fault::SlowDisk => seat.slow_disk = 0,
            Fault::SlowStore => seat.slow_store = 0,
            _ => {}
        }
        Ok(())
    }

    /// A process goes on: what has happened in the meantime comes first.
    pub(super) fn resume(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        // A process that stands still does not wait for its disk.
        if seat.paused_until > 0 {
            let stood = self.now - seat.paused_since;
            seat.writes_since = (seat.writes_since + stood).min(self.now);
        }
        seat.paused_until = 0;
        for happening in std::mem::take(&mut seat.deferred) {
            self.schedule.at(self.now, happening);
        }
    }

    fn cut(&mut self) {
        // Those who may join are cut off too, unless there is room for many more than there ever are at once.
        let among: Vec<usize> = if self.dials.replaces {
            self.on().collect()
        } else {
            (0..(self.dials.seats as usize).max(self.seats.len())).collect()
        };
        if let Some(twins) = &mut self.twins {
            twins.reconnect(&mut self.dice);
        }
        let new = self.network.cut_anew(self.dials.strength(Fault::Cut), &among);
        let lasts = self.dice.spread(50_000, 20_000_000);
        self.schedule.at(self.now + lasts, Happening::Relief(Fault::Cut, 0));
        if !self.dials.has(Fault::Hint) {
            return;
        }
        for (from, to) in new {
            if to < self.seats.len() && from < self.seats.len() && self.dice.flip() {
                let node = self.seats[from].node;
                let due = self.now + 1_000 + self.dice.below(5_000_000);
                self.schedule.at(due, Happening::Hint(to, node));
            }
        }
    }

    /// Damages a disk, if the budget allows.
    fn damage(&mut self, fault: Fault, at: usize) -> bool {
        if !self.may_spend(fault, at) {
            return false;
        }
        let (seat, dice) = (&mut self.seats[at], &mut self.dice);
        let hit = match fault {
            Fault::Misdirected => {
                seat.disk.misdirect_next(512 * dice.between(1, 40));
                true
            }
            Fault::LostWrite | Fault::LostName | Fault::StaleRead => {
                seat.disk.lie_next(match fault {
                    Fault::LostWrite => [Operation::Write, Operation::Sync][dice.index(2)],
                    Fault::LostName => Operation::SyncDirectory,
                    _ => Operation::Read,
                });
                true
            }
            Fault::Zeroed => seat.disk.damage(dice, true),
            _ => seat.disk.damage(dice, false),
        };
        if hit {
            seat.spoil();
            if matches!(fault, Fault::LostWrite | Fault::LostName) {
                seat.excuse.is_a_lie();
            }
            // Only a start reads the log.
            let due = self.now + self.dice.below(2_000_000);
            let again = Happening::Relief(Fault::CrashLoop, at);
            self.schedule.at(due, again);
        }
        hit
    }

    /// A log, a store or both are gone, or as they were some time ago.
    fn swap(&mut self, fault: Fault, at: usize) -> Result<bool, Violation> {
        let seat = &mut self.seats[at];
        if fault == Fault::OldCopy && (seat.copy.is_none() || self.dice.chance(300_000)) {
            seat.copy = Some((seat.disk.copy(), seat.store.copy(), seat.excuse));
            return Ok(false);
        }
        if !self.may_spend(fault, at) {
            return Ok(false);
        }
        self.die(at, Death::Killed)?;
        let seat = &mut self.seats[at];
        let copy = seat.copy.clone().filter(|_| fault == Fault::OldCopy);
        let (log, store) = match copy {
            Some((log, store, excuse)) => {
                seat.excuse.takes_over(excuse);
                (log, Some(store.copy()))
            }
            None => (Memory::new(self.dice.draw()), None),
        };
        let which = self.dice.below(4);
        if which != 0 {
            seat.disk.replace(log);
        }
        if which != 1 {
            if store.is_some() {
                // What was not safe when it was copied is not safe now, and the log goes on from there.
                seat.excuse.is_a_lie();
            }
            seat.store.replace(store);
        }
        seat.spoil();
        Ok(true)
    }

    /// Whether one more disk may be spent: in every roster that may be in force, the others are a quorum. A liar is
    /// none of them, and beside it only who knows that it has forgotten may have.
    pub(super) fn may_spend(&self, fault: Fault, at: usize) -> bool {
        let liar = self.liar.as_ref().map(|liar| liar.node);
        if liar.is_some_and(|liar| fault != Fault::Blank || liar == self.seats[at].node) {
            return false;
        }
        if self.seats[at].damaged {
            return true;
        }
        if !self.may_spend_beside_twins(at) {
            return false;
        }
        let bad = |seat: &&crate::seat::Seat| {
            seat.damaged || seat.node == self.seats[at].node || liar == Some(seat.node)
        };
        let machines = self.on().map(|at| &self.seats[at]);
        let spent: BTreeSet<_> = machines.filter(bad).map(|seat| seat.node).collect();
        let running = self.seats.iter().filter_map(|seat| seat.replica.as_ref());
        // Whoever was asked to leave may have left where nobody runs who could say so.
        let settled =
            running.map(|replica| replica.driver.core().log().applied().roster.current().changes);
        let settled = settled.max();
        let leaving = self.leaving.iter().filter(|(asked, _)| Some(*asked) >= settled);
        let leaving: BTreeSet<_> = leaving.map(|(_, id)| *id).collect();
        let enough = |roster: &Roster| {
            let votes = |id: &NodeId| roster.is_voter(*id);
            let stays = |id: &NodeId| !spent.contains(id) && !leaving.contains(id);
            let left = roster.ids().into_iter().filter(|id| votes(id) && stays(id));
            let left: BTreeSet<_> = left.collect();
            // Whoever has joined and is spent may come to vote.
            let worst = roster.ids().into_iter().filter(votes).chain(spent.iter().copied());
            let among_all = 2 * left.len() > worst.collect::<BTreeSet<_>>().len();
            among_all && roster.has_quorum(QuorumKind::Election, &left)
        };
        let running = self.seats.iter().filter_map(|seat| seat.replica.as_ref());
        let known = running.clone().next().is_some();
        let mut rosters = running.flat_map(|replica| {
            let log = replica.driver.core().log();
            log.rosters().chain([&log.applied().roster])
        });
        known && rosters.all(|roster| enough(roster))
    }
}
