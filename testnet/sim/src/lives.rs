//! How processes start, work and die.
//!
//! The journal writes all that waits, when the last write is done, and what it writes becomes durable at the
//! end of that time; so does what the applier applies. A death in between leaves a write half done, at any
//! operation of the disk.

use quorate_replica::apply::ApplyError;
use quorate_replica::io::Input;
use quorate_replica::journal::Idle;
use quorate_replica::{OpenError, Replica, open};
use quorate_store::StoreError;
use quorate_wal::{Error as LogError, Space};

use crate::checks::{keeps_prefix, may_displace, names_covered};
use crate::dials::Fault;
use crate::disk::Shared;
use crate::heard::Heard;
use crate::seat::{Retired, StoreJob};
use crate::shelf::ProcessStore;
use crate::violation::{Check, Violation, hold, unreadable};
use crate::world::{Happening, World};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// It dies and its machine lives on.
    Killed,
    /// The machine loses power.
    PowerCut,
}

impl World {
    /// The journal writes all that waits, unless it is writing.
    pub(super) fn begin_write(&mut self, at: usize) {
        let usual = self.dials.disk_latency / 2 + self.dice.below(self.dials.disk_latency);
        let seat = &mut self.seats[at];
        if seat.is_writing {
            return;
        }
        (seat.is_writing, seat.writes_since) = (true, self.now);
        let due = self.now + usual.max(1) + seat.slow_disk;
        let mut writing = std::mem::take(&mut seat.writing);
        writing.extend(seat.jobs.drain(..));
        seat.writing = writing;
        self.schedule.at(due, Happening::Wrote(at, seat.life));
    }

    /// The journal is done: what it wrote is durable now.
    pub(super) fn wrote(&mut self, at: usize, life: u32) -> Check {
        let seat = &mut self.seats[at];
        if seat.life != life || !seat.is_writing {
            return Ok(());
        }
        let Some(replica) = &mut seat.replica else { return Ok(()) };
        let written = replica.journal.write(seat.writing.drain(..));
        seat.is_writing = false;
        let Ok(written) = written else { return self.disk_failed(at) };
        let (ledger, node) = (&mut self.ledger, seat.node);
        seat.promises.shadow.persisted(&written, |block| ledger.durable(node, block))?;
        let full = replica.journal.is_waiting();
        if written.space != Space::Ok && !std::mem::replace(&mut seat.short, true) {
            self.schedule.at(self.now + 1_000_000, Happening::Idle(at, life));
        }
        self.give(at, 4, Input::Written(written))?;
        let seat = &mut self.seats[at];
        if full {
            (seat.is_writing, seat.writes_since) = (true, self.now);
            self.schedule.at(self.now + 200_000, Happening::Wrote(at, life));
        } else if !seat.jobs.is_empty() {
            self.begin_write(at);
        } else if self.dice.chance(50_000) {
            self.schedule.at(self.now + 50_000, Happening::Idle(at, life));
        }
        Ok(())
    }

    /// The journal has nothing to do.
    pub(super) fn idle(&mut self, at: usize, life: u32) -> Check {
        let seat = &mut self.seats[at];
        if seat.life != life {
            return Ok(());
        }
        if seat.is_writing {
            if seat.short {
                self.schedule.at(self.now + 1_000_000, Happening::Idle(at, life));
            }
            return Ok(());
        }
        let Some(replica) = &mut seat.replica else { return Ok(()) };
        match replica.journal.idle_work() {
            Ok(Idle { more, room }) => {
                seat.short = replica.journal.space() != Space::Ok;
                if more || seat.short {
                    let pause = if more { 1_000 } else { 1_000_000 };
                    self.schedule.at(self.now + pause, Happening::Idle(at, life));
                }
                if let Some(written) = room {
                    return self.give(at, 4, Input::Written(written));
                }
            }
            Err(LogError::NoSpace { .. }) => {}
            Err(_) => return self.disk_failed(at),
        }
        Ok(())
    }

    /// The disk said no, so the node stops; whoever runs it starts it again.
    pub(super) fn disk_failed(&mut self, at: usize) -> Check {
        let seat = &self.seats[at];
        let expected = seat.disk.end_plan() || seat.damaged;
        hold(expected, "a log fails only if its disk does", || format!("node {}", seat.node))?;
        self.die(at, Death::Killed)
    }

    /// The applier applies all that waits, unless it is applying.
    pub(super) fn begin_apply(&mut self, at: usize) {
        let usual = 50 + self.dice.below(1_000);
        let seat = &mut self.seats[at];
        if !seat.is_applying {
            seat.is_applying = true;
            let due = self.now + usual + seat.slow_store;
            self.schedule.at(due, Happening::Applied(at, seat.life));
        }
    }

    /// The applier is done.
    pub(super) fn applied(&mut self, at: usize, life: u32) -> Check {
        let seat = &mut self.seats[at];
        if seat.life != life {
            return Ok(());
        }
        if !seat.is_running() || !seat.is_applying {
            return Ok(());
        }
        seat.is_applying = false;
        if let Some(input) = self.apply(at)? {
            self.give(at, 5, input)?;
        }
        if !self.seats[at].applies.is_empty() {
            self.begin_apply(at);
        }
        Ok(())
    }

    /// Applies all blocks that wait, or does what waits before them.
    fn apply(&mut self, at: usize) -> Result<Option<Input>, Violation> {
        let seat = &mut self.seats[at];
        let Some(replica) = &mut seat.replica else { return Ok(None) };
        let node = seat.node;
        let failed = |error: ApplyError<StoreError>| Violation {
            rule: "committed blocks can be applied",
            found: format!("node {node}: {error}"),
        };
        let mut jobs = Vec::new();
        while let Some(job) = seat.applies.pop_front() {
            match job {
                StoreJob::Apply(job) => jobs.push(job),
                later if !jobs.is_empty() => {
                    seat.applies.push_front(later);
                    break;
                }
                StoreJob::Stage(job) => {
                    let taken = replica.applier.stage(job).map_err(failed)?;
                    return Ok(Some(Input::Staged(taken)));
                }
                StoreJob::Install(job) => {
                    let block = job.standing.applied.block;
                    let good = replica.applier.install(*job).map_err(failed)?;
                    if good {
                        self.tally.snapshots += 1;
                        seat.promises.shadow.installs(block);
                        seat.base = seat.base.max(block.height);
                    }
                    return Ok(Some(Input::Installed(good)));
                }
            }
        }
        if jobs.is_empty() {
            return Ok(None);
        }
        let applied = replica.applier.apply(jobs).map_err(failed)?;
        for block in &applied.blocks {
            self.ledger.applied(node, block.block, block.state_root, &block.outcomes)?;
            self.clients.applied(block.block, &block.outcomes, &self.ledger)?;
        }
        Ok(Some(Input::Applied(applied)))
    }

    /// A process starts, from what its disk and its store have kept.
    pub(super) fn start(&mut self, at: usize) -> Check {
        let seat = &mut self.seats[at];
        if seat.is_running() || seat.retired.is_some() {
            return Ok(());
        }
        let now = seat.clock.now(self.now);
        let store = seat.store.open().map_err(|error| unreadable(seat.node, &error))?;
        let opened = open(&seat.setup, seat.disk.handle(), store, now, seat.nonce());
        let failed = seat.disk.end_plan();
        match opened {
            Ok(replica) => {
                self.tally.starts += 1;
                self.came_back(at, replica, failed)
            }
            Err(error) => {
                self.tally.refusals += 1;
                self.refused(at, &error, failed)
            }
        }
    }

    fn came_back(
        &mut self,
        at: usize,
        replica: Replica<Shared, ProcessStore>,
        failed: bool,
    ) -> Check {
        let (log, (term, choice)) = (replica.driver.core().log(), replica.found.logged);
        let tip = log.tip().block;
        let mut same_key = self.seats.iter().filter(|seat| seat.node == self.seats[at].node);
        let unaware = same_key.any(|seat| seat.promises.go_beyond(term, choice, tip));
        let seat = &mut self.seats[at];
        let lacks = seat.promises.comes_back(term, choice, tip);
        let kept = lacks.is_none();
        if let Some(violation) = lacks {
            if !seat.excuse.is_given() {
                return Err(violation);
            }
            let held = log.from(log.applied().block.height).map(|entry| entry.anchor.block);
            seat.promises.forgets(term, choice, [log.applied().block].into_iter().chain(held));
        }
        // What was applied may have raised the ballot, which is durable by now.
        let ballot = replica.driver.core().ballot();
        if ballot.term > term {
            seat.promises.shadow.raise(ballot.term);
        }
        seat.unaware = unaware;
        seat.told_by.clear();
        seat.heard = Heard::default();
        for block in seat.promises.chain() {
            self.ledger.durable(seat.node, block)?;
        }
        // A store that is gone has taken certificates with it. Whoever has lost one recovers, and hears of it again.
        if !seat.excuse.is_given() {
            replica.driver.core().check_whole();
        }
        let log = replica.driver.core().log();
        let holds = log.contains(seat.reached) || log.applied().block.height >= seat.reached.height;
        // A liar's votes bring to power who lacks what was committed. Whoever has forgotten in a power cut that
        // it was, takes the blocks of that leader in its place; there is no shorter log, and a fork to come.
        let instead = log.anchor(seat.reached.height).map(|anchor| anchor.block);
        let displaced = self.liar.is_some() && may_displace(instead, tip, seat.reached);
        keeps_prefix(seat.node, seat.reached, holds || seat.excuse.is_given() || displaced)?;
        let alone = self.twins.as_ref().is_none_or(|twins| twins.node != seat.node);
        let lacks_nothing = kept && holds && !unaware && !ballot.recovering && names_covered(log);
        seat.excuse.starts(alone && !failed && lacks_nothing);
        seat.born();
        seat.life += 1;
        seat.came_to = tip.height;
        seat.replica = Some(replica);
        self.has_begun(at);
        self.plan_wake(at);
        self.connect(at);
        if self.now < self.seats[at].crash_loop_until {
            let due = self.now + self.dice.below(400_000);
            self.schedule.at(due, Happening::Relief(Fault::CrashLoop, at));
        }
        Ok(())
    }

    /// Whoever runs and the process that has begun hear of their connections.
    fn connect(&mut self, at: usize) {
        for other in self.on().filter(|other| *other != at).collect::<Vec<_>>() {
            for (seat, peer) in [(at, other), (other, at)] {
                let due = self.now + 1_000 + self.dice.below(300_000);
                self.schedule.at(due, Happening::Opened(seat, self.seats[peer].node));
            }
        }
    }

    fn refused(&mut self, at: usize, error: &OpenError, failed: bool) -> Check {
        let seat = &mut self.seats[at];
        let transient = failed || matches!(error, OpenError::Log(LogError::NoSpace { .. }));
        if transient {
            let due = self.now + 500_000 + self.dice.below(1_000_000);
            self.schedule.at(due, Happening::Start(at));
            return Ok(());
        }
        hold(seat.excuse.is_given(), "a node comes back from its own disk", || {
            format!("node {}: {error}", seat.node)
        })?;
        seat.retired = Some(Retired::Refuses);
        Ok(())
    }

    /// A process dies. Unless it is retired, it starts again some time later.
    pub(super) fn die(&mut self, at: usize, death: Death) -> Check {
        let seat = &mut self.seats[at];
        if !seat.is_running() {
            return Ok(());
        }
        self.break_off_work(at)?;
        let seat = &mut self.seats[at];
        seat.disk.end_plan();
        let left = seat.store.left();
        seat.ended = self.now;
        seat.clear();
        seat.store.outlive(left);
        match death {
            Death::Killed => seat.disk.restart(),
            Death::PowerCut => {
                seat.disk.power_cut(&mut self.dice);
                seat.excuse.lies_show();
                seat.store.power_cut(&mut self.dice);
            }
        }
        let node = seat.node;
        let pause = match self.dice.below(3) {
            0 => 1_000 + self.dice.below(50_000),
            1 => self.dice.below(2_000_000),
            _ => self.dice.below(10_000_000),
        };
        let pause = if self.now < seat.crash_loop_until { pause.min(200_000) } else { pause };
        self.schedule.at(self.now + pause, Happening::Start(at));
        if self.dials.has(Fault::Hint) {
            self.tally.fault(Fault::Hint);
            for other in self.on().collect::<Vec<_>>() {
                if other != at {
                    let due = self.now + 1_000 + self.dice.below(10_000);
                    self.schedule.at(due, Happening::Hint(other, node));
                }
            }
        }
        Ok(())
    }

    /// What journal and applier were doing is done, half done or not done.
    fn break_off_work(&mut self, at: usize) -> Check {
        let seat = &mut self.seats[at];
        let Some(replica) = &mut seat.replica else { return Ok(()) };
        if !seat.writing.is_empty() && self.dice.flip() {
            seat.disk.crash_in(self.dice.below(6));
            // Whether it succeeds or fails, nobody is told.
            let _ = replica.journal.write(seat.writing.drain(..));
        }
        if !seat.applies.is_empty() && self.dice.flip() {
            self.apply(at)?;
        }
        Ok(())
    }
}
