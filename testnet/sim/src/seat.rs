//! One validator's machine: its disk, its store, its clock, and the process that runs there, if one does.

use std::collections::{BTreeSet, VecDeque};

use quorate_chain::ids::{BlockRef, Height, NodeId, Term};
use quorate_consensus::config::Incarnation;
use quorate_consensus::message::{Message, Nonce};
use quorate_replica::io::{ApplyJob, InstallJob, JournalJob, StageJob};
use quorate_replica::setup::Birth;
use quorate_replica::{Replica, Setup};
use quorate_wal::Memory;

use crate::clock::Clock;
use crate::dice::Dice;
use crate::disk::{SeatDisk, Shared};
use crate::excuse::Excuse;
use crate::heard::Heard;
use crate::promises::Promises;
use crate::shelf::{Contents, ProcessStore, Shelf};
use crate::world::Happening;

/// Why a machine is out of service for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// Its disk was damaged and it refuses to run.
    Refuses,
    /// It has lied.
    Lied,
    /// The operator has removed it from the roster, and switched it off at this moment.
    SwitchedOff(u64),
}

/// What the applier does, in order.
pub enum StoreJob {
    /// Blocks.
    Apply(ApplyJob),
    /// Entries of a snapshot.
    Stage(StageJob),
    /// The snapshot.
    Install(Box<InstallJob>),
}

/// What a process has said of itself last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its term.
    pub term: Term,
    /// Its committed height.
    pub committed: Height,
    /// Its applied height.
    pub applied: Height,
    /// The term that it leads.
    pub leads: Option<Term>,
    /// Whether it recovers.
    pub recovers: bool,
}

/// One validator's machine.
pub struct Seat {
    /// Who sits here.
    pub node: NodeId,
    /// Since when the machine is there.
    pub since: u64,
    /// What its processes are set up with.
    pub setup: Setup,
    /// Its disk.
    pub disk: SeatDisk,
    /// Its store.
    pub store: Shelf,
    /// A copy of both that somebody made, and what was excused then.
    pub copy: Option<(Memory, Contents, Excuse)>,
    /// Its clock.
    pub clock: Clock,
    /// The process, if one runs.
    pub replica: Option<Replica<Shared, ProcessStore>>,
    /// How many processes have run here.
    pub life: u32,
    /// Up to which height the process has begun with blocks.
    pub came_to: Height,
    /// What waits for the journal.
    pub jobs: VecDeque<JournalJob>,
    /// What the journal is writing.
    pub writing: Vec<JournalJob>,
    /// Whether it is.
    pub is_writing: bool,
    /// Since when.
    pub writes_since: u64,
    /// Whether it looks again and again whether there is more room.
    pub short: bool,
    /// What waits for the applier.
    pub applies: VecDeque<StoreJob>,
    /// Whether it works.
    pub is_applying: bool,
    /// When a look at the deadline is planned.
    pub wake: Option<u64>,
    /// Since when the process stands still, if it does.
    pub paused_since: u64,
    /// Until when the process stands still.
    pub paused_until: u64,
    /// What has happened to it in the meantime.
    pub deferred: Vec<Happening>,
    /// How long a sync and an apply take at least.
    pub slow_disk: u64,
    /// The same of the store.
    pub slow_store: u64,
    /// How long the process dies again and again.
    pub crash_loop_until: u64,
    /// Whether its disk has ever broken a promise: that is spent for good, whatever becomes of it.
    pub damaged: bool,
    /// Whether it may lack what it had, because what its disk has broken may still show.
    pub excuse: Excuse,
    /// Whether it is out of service for good.
    pub retired: Option<Retired>,
    /// The height of the newest snapshot that it took: what became of transactions below it is not known here.
    pub base: Height,
    /// The highest block that any of its processes knew to be committed.
    pub reached: BlockRef,
    /// Whether the process has come back with less than it has said, and has not found out.
    pub unaware: bool,
    /// Who has told the process what is known of it.
    pub told_by: BTreeSet<NodeId>,
    /// The processes among them that were there before it, by seat and life.
    pub answered_by: BTreeSet<(usize, u32)>,
    /// What the process has heard of others.
    pub heard: Heard,
    /// Since when the process runs.
    pub begun: u64,
    /// What its clock said then.
    pub begun_clock: u64,
    /// Whether it has recovered since.
    pub has_recovered: bool,
    /// When the last one has ended.
    pub ended: u64,
    /// Whether the process has begun to sign.
    pub is_signing: bool,
    /// What it has promised in all lives.
    pub promises: Promises,
    /// What the process has said last.
    pub said: Said,
}

impl Seat {
    /// A new machine.
    #[must_use]
    pub fn new(setup: Setup, store: Shelf, since: u64, seed: u64, genesis: BlockRef) -> Self {
        let node = setup.id;
        Self {
            node,
            since,
            setup,
            disk: SeatDisk::new(seed ^ u64::from(node.get()) << 32),
            store,
            copy: None,
            clock: Clock::new(1_000_000 * u64::from(node.get())),
            replica: None,
            life: 0,
            came_to: Height::ZERO,
            jobs: VecDeque::new(),
            writing: Vec::new(),
            is_writing: false,
            writes_since: 0,
            short: false,
            applies: VecDeque::new(),
            is_applying: false,
            wake: None,
            paused_since: 0,
            paused_until: 0,
            deferred: Vec::new(),
            slow_disk: 0,
            slow_store: 0,
            crash_loop_until: 0,
            damaged: false,
            excuse: Excuse::default(),
            retired: None,
            base: Height::ZERO,
            reached: genesis,
            unaware: false,
            told_by: BTreeSet::new(),
            answered_by: BTreeSet::new(),
            heard: Heard::default(),
            begun: 0,
            begun_clock: 0,
            has_recovered: false,
            ended: 0,
            is_signing: false,
            promises: Promises::new(node, genesis),
            said: Said::default(),
        }
    }

    /// Its disk breaks a promise, or is going to.
    pub const fn spoil(&mut self) {
        self.damaged = true;
        self.excuse.begin();
    }

    /// Whether the machine is on.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        !matches!(self.retired, Some(Retired::SwitchedOff(_)))
    }

    /// How long the machine has been on until a moment.
    #[must_use]
    pub fn age(&self, now: u64) -> u64 {
        let until =
            if let Some(Retired::SwitchedOff(moment)) = self.retired { moment } else { now };
        until - self.since
    }

    /// The process hears something: perhaps what others know of it.
    pub fn hears(&mut self, from: NodeId, process: Option<(usize, u32)>, message: &Message) {
        if let (Message::Known(known), Some(replica)) = (message, &self.replica)
            && known.life.life == replica.driver.core().life()
        {
            self.told_by.insert(from);
            self.answered_by.extend(process);
        }
    }

    /// Whether so many have told the process what is known of it that of every quorum that may have counted a
    /// statement of its own somebody has.
    #[must_use]
    pub fn heard_enough(&self) -> bool {
        let Some(replica) = &self.replica else { return false };
        let roster = &replica.driver.core().log().tip().roster;
        roster.halves().iter().all(|half| {
            let silent = half.current().voters().filter(|it| !self.told_by.contains(&it.id));
            2 * silent.count() <= half.current().voters().count()
        })
    }

    /// Whether every voter has told the process what is known of it.
    #[must_use]
    pub fn heard_all(&self) -> bool {
        let Some(replica) = &self.replica else { return false };
        let roster = &replica.driver.core().log().tip().roster;
        let mut voters = roster.ids().into_iter().filter(|id| roster.is_voter(*id));
        voters.all(|id| id == self.node || self.told_by.contains(&id))
    }

    /// Whether a process runs here.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.replica.is_some()
    }

    /// Whether a process runs here and does not stand still.
    #[must_use]
    pub const fn listens(&self, now: u64) -> bool {
        self.is_running() && self.paused_until <= now
    }

    /// For how long its disk has not answered the process.
    #[must_use]
    pub const fn hangs_for(&self, now: u64) -> u64 {
        if self.is_writing { now - self.writes_since } else { 0 }
    }

    /// The process is gone, with everything that was in its memory.
    pub fn clear(&mut self) {
        self.replica = None;
        self.jobs.clear();
        self.writing.clear();
        self.applies.clear();
        (self.is_writing, self.is_applying, self.short) = (false, false, false);
        self.wake = None;
        self.said = Said::default();
    }

    /// What tells the next start from those of all processes that have run, whatever its disk or a copy of it has kept.
    #[must_use]
    pub fn nonce(&self) -> Nonce {
        Nonce(Dice::new(self.setup.seed, u64::from(self.life)).draw())
    }

    /// The key has signed from now on.
    pub fn born(&mut self) {
        let (Birth::Fresh(name) | Birth::Used(name)) = self.setup.birth;
        self.setup.birth = Birth::Used(name);
    }

    /// The name of the log of a node.
    #[must_use]
    pub fn incarnation(node: NodeId) -> Incarnation {
        Incarnation(u64::from(node.get()) + 1)
    }
}
