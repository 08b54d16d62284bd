//! What a world is like: how large, how busy, and which faults it has, how strong.
//!
//! Swarm testing: each seed turns every fault on or off and draws a strength, because a fault that is
//! always there hides what happens without it.
//!
//! # Why every check is fair
//!
//! A check that fires on something nobody promised is worth nothing. The promises hold while a majority
//! of validators' disks survives, so the dials keep a **budget**:
//!
//! - Faults of the network, of processes and of clocks cost nothing: any of them may happen to all nodes at
//!   once, and every invariant of safety must hold. They end before the healing phase begins.
//! - A disk that loses only what was not synced, fails, fills up or is slow costs nothing either:
//!   it says so, or had not promised.
//! - A disk that changes or loses what it had promised to keep ([`Fault::spends_a_disk`]) costs one disk, and
//!   no more than a minority of any roster that may be in force is ever spent. A node that finds the damage may
//!   refuse to run, and stays down. One that runs must repair or recover: what it has signed before counts for
//!   ever, whatever its disk says. Progress is asked of all who run.
//! - Once a disk is spent, the operator removes nobody whose disk is whole. Whom he has asked to leave before counts
//!   as gone, until that is decided.
//! - A disk that takes back what was signed is found out by those who hold it, if they answer a greeting in
//!   time (`amnesia` of the consensus). If of some quorum nobody but the forgetful one did, a promise may break:
//!   such a world ends, and is counted.
//! - Two processes with one key ([`Fault::Clone`]) count as one spent disk, and no other is spent beside them. What
//!   the two do not promise together ends the world when it happens, and is counted (`twins`).
//! - One of the first validators may lie ([`Fault::Liar`]), in one seed in six. A plain majority with a liar in it can
//!   be forked; then evidence must name the liar, and the world ends (`lies`, `forks`).
//! - The liar counts as one spent disk, and beside it only whole disks are lost ([`Fault::Blank`]): their validators
//!   know that they recover. Who does not must be told by somebody, who may be the liar. One that recovers
//!   may be told too little by the liar while those who know more stay away; then a promise may break: such a world
//!   ends, and is counted.

use std::fmt;
use std::str::FromStr;

use crate::dice::Dice;
use crate::shelf::Keeping;
use crate::signatures::Signatures;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        /// Something that can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$fault),*];

            /// What a person calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),* }
            }
        }
    };
}

faults! {
    /// A message is lost.
    Loss = "loss",
    /// A message takes long.
    Delay = "delay",
    /// A message overtakes others.
    Reorder = "reorder",
    /// A message comes twice.
    Duplicate = "duplicate",
    /// A message comes again much later.
    Replay = "replay",
    /// Some links are cut, each way by itself, so that who reaches whom is not transitive.
    Cut = "cut",
    /// All messages of one node take long.
    SlowPeer = "slow-peer",
    /// A frame is damaged or too long: it must be refused or mean the same.
    Garble = "garble",
    /// A closed link is reported, truly.
    Hint = "hint",
    /// A link is reported closed that is not.
    FalseHint = "false-hint",
    /// A process dies, in the middle of whatever it does; its machine lives.
    Crash = "crash",
    /// A process dies as often as it starts.
    CrashLoop = "crash-loop",
    /// A machine loses power: what was not synced is gone, or any part of it.
    Power = "power",
    /// All machines lose power at once.
    Blackout = "blackout",
    /// A process stands still for a while.
    Pause = "pause",
    /// A clock runs at half to twice its rate.
    ClockRate = "clock-rate",
    /// A clock jumps ahead, or a calendar anywhere.
    ClockJump = "clock-jump",
    /// A clock stands still.
    ClockFreeze = "clock-freeze",
    /// A write or sync fails, and the next one would succeed.
    DiskError = "disk-error",
    /// A disk is full for a while.
    DiskFull = "disk-full",
    /// Syncs take 10 ms to 30 s.
    SlowDisk = "slow-disk",
    /// Applying takes long.
    SlowStore = "slow-store",
    /// Bits of what was synced change.
    Rot = "rot",
    /// A sector that was synced is zeros.
    Zeroed = "zeroed",
    /// A write lands elsewhere.
    Misdirected = "misdirected",
    /// A write that is reported done is not.
    LostWrite = "lost-write",
    /// The sync of a directory that is reported done is not: after a power cut a file has its old name, or none.
    LostName = "lost-name",
    /// A read returns what stood there before the last sync.
    StaleRead = "stale-read",
    /// A log, a store or both are gone: the disk was replaced.
    Blank = "blank",
    /// A log, a store or both are as they were some time ago: somebody restored a copy.
    OldCopy = "old-copy",
    /// A client submits again, there and elsewhere.
    Retry = "retry",
    /// A client uses its nonces out of order.
    NonceOrder = "nonce-order",
    /// A client sends what no node may take: too long, or badly signed.
    BadClient = "bad-client",
    /// The operator moves leadership about.
    Transfer = "transfer",
    /// The operator changes the roster.
    Roster = "roster",
    /// Some validators would rather lead than others.
    Willingness = "willingness",
    /// One validator lies.
    Liar = "liar",
    /// A validator's data directory is copied, and a process runs from the copy too.
    Clone = "clone",
}

impl Fault {
    /// Whether it makes a disk break a promise.
    #[must_use]
    pub const fn spends_a_disk(self) -> bool {
        matches!(
            self,
            Self::Rot
                | Self::Zeroed
                | Self::Misdirected
                | Self::LostWrite
                | Self::LostName
                | Self::StaleRead
                | Self::Blank
                | Self::OldCopy
                | Self::Clone
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault is called {0:?}")]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.iter().find(|fault| fault.name() == text);
        found.copied().ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

/// What to run: the only things that a person chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The seed.
    pub seed: u64,
    /// How many validators; by the seed if not given.
    pub nodes: Option<u32>,
    /// How long the phase with faults takes, in simulated seconds.
    pub seconds: u64,
    /// Faults that are turned off.
    pub without: Vec<Fault>,
    /// Stop after so many events.
    pub events: Option<u64>,
    /// Whether the seed decides only over chance, in a world like all others of this kind: five validators,
    /// ten blocks a second, every fault on, and in each second world a liar in the place of most disks that are
    /// spent. Speed is measured in it.
    pub standard: bool,
}

/// Most seats in most worlds.
const SEATS: u32 = 12;
/// Most seats in any world: who has what on disk is a bit for each (`ledger`).
const MOST_SEATS: u32 = 64;

/// What a world is like.
#[derive(Clone, Debug)]
pub struct Dials {
    /// The strength of each fault: 0 is off, 3 the most.
    strengths: Vec<u64>,
    /// How many validators there are at first.
    pub nodes: u32,
    /// One block in each so many microseconds, or on demand.
    pub block_interval: Option<u64>,
    /// The mean time between a client's transactions, in microseconds.
    pub client_pause: u64,
    /// How many clients there are.
    pub clients: u32,
    /// How long a message usually takes, in microseconds.
    pub latency: u64,
    /// How long a sync usually takes, in microseconds.
    pub disk_latency: u64,
    /// Most blocks above the applied tip.
    pub window: usize,
    /// How often the store is made safe against a power cut, in blocks.
    pub checkpoint_every: u64,
    /// How often a state is certified for snapshots, in blocks.
    pub snapshot_every: u64,
    /// How many of the newest blocks are kept at least; all if 0. Who has been away for longer gets a snapshot.
    pub keep_blocks: u64,
    /// Whose signatures these are.
    pub signatures: Signatures,
    /// Where seats keep what they have applied.
    pub keeping: Keeping,
    /// How often a replica asks after a checkpoint that it has begun, before that is through.
    pub late_checkpoints: u32,
    /// Whether a transaction may be long.
    pub long_values: bool,
    /// Most seats in the world: validators, and those who join.
    pub seats: u32,
    /// Whether the operator keeps as many machines as there were at first: it adds one only in the place of one
    /// that it has removed, and switches that one off. Otherwise whoever was removed runs on and disturbs the
    /// others.
    pub replaces: bool,
}

impl Dials {
    /// The dials of a seed.
    #[must_use]
    pub fn draw(choice: &Choice) -> Self {
        if choice.standard {
            return Self::standard(choice);
        }
        let mut dice = Dice::new(choice.seed, 1);
        let strengths = Fault::ALL.iter().map(|fault| {
            // Dice of its own for each, so that a new fault leaves the others as they were.
            let mut dice = Dice::new(choice.seed, 16 + *fault as u64);
            let on = if *fault == Fault::Liar { dice.below(6) == 0 } else { dice.flip() };
            let drawn = if on { dice.between(1, 3) } else { 0 };
            if choice.without.contains(fault) { 0 } else { drawn }
        });
        let strengths: Vec<u64> = strengths.collect();
        const NODES: [u32; 12] = [3, 5, 3, 5, 3, 5, 5, 4, 7, 2, 1, 9];
        let nodes = choice.nodes.unwrap_or(NODES[dice.index(NODES.len())]);
        let every = [None, Some(100_000), Some(100_000), Some(1_000_000)];
        Self {
            strengths,
            nodes,
            seats: SEATS,
            replaces: false,
            block_interval: every[dice.index(every.len())],
            client_pause: dice.spread(20_000, 2_000_000),
            clients: u32::try_from(dice.between(1, 6)).unwrap_or(1),
            latency: dice.spread(100, 20_000),
            disk_latency: dice.spread(10, 10_000),
            window: [4, 8, 16, 64][dice.index(4)],
            checkpoint_every: dice.spread(1, 300),
            snapshot_every: [0, 10, 10, 40][dice.index(4)],
            signatures: if dice.below(100) == 0 { Signatures::Real } else { Signatures::StandIn },
            keeping: match Dice::new(choice.seed, 6).below(50) {
                0 => Keeping::Sqlite,
                _ => Keeping::Memory,
            },
            late_checkpoints: u32::try_from(Dice::new(choice.seed, 7).below(4)).unwrap_or(0),
            long_values: dice.flip(),
            keep_blocks: [0, 1, 10, 60][dice.index(4)],
        }
    }

    /// Every fault at its least strength over [`Dials::calm`], always about as many machines, and as many transactions as
    /// there, by more clients: those who wait for an answer while nobody leads leave others, so a group seals a
    /// block in nearly every interval in which its faults let it. Few disks are spent beside a liar, so worlds with
    /// one and worlds without take turns.
    fn standard(choice: &Choice) -> Self {
        let honest = choice.seed.is_multiple_of(2);
        let off = |fault: &Fault| choice.without.contains(fault) || *fault == Fault::Liar && honest;
        let strengths = Fault::ALL.iter().map(|fault| u64::from(!off(fault))).collect();
        let calm = Self::calm(choice.nodes.unwrap_or(5));
        let (seats, replaces, clients, client_pause) = (MOST_SEATS, true, 16, 800_000);
        Self {
            strengths,
            snapshot_every: 20,
            keep_blocks: 40,
            seats,
            replaces,
            clients,
            client_pause,
            ..calm
        }
    }

    /// Calm weather: five nodes, ten blocks a second.
    #[must_use]
    pub fn calm(nodes: u32) -> Self {
        Self {
            strengths: vec![0; Fault::ALL.len()],
            nodes,
            block_interval: Some(100_000),
            client_pause: 200_000,
            clients: 4,
            latency: 1_000,
            disk_latency: 500,
            window: 16,
            checkpoint_every: 100,
            snapshot_every: 0,
            keep_blocks: 0,
            signatures: Signatures::StandIn,
            keeping: Keeping::Memory,
            late_checkpoints: 0,
            long_values: false,
            seats: SEATS,
            replaces: false,
        }
    }

    /// How strong a fault is, from 0 to 3.
    #[must_use]
    pub fn strength(&self, fault: Fault) -> u64 {
        self.strengths[fault as usize]
    }

    /// Whether a fault is on.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.strength(fault) > 0
    }

    /// The faults that are on.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(|fault| self.has(*fault))
    }

    /// All faults are over.
    pub fn heal(&mut self) {
        self.strengths.fill(0);
    }
}
