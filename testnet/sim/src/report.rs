//! What has happened in a world, counted.

use std::fmt;

use crate::dials::Fault;

/// What has happened, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    faults: Vec<u64>,
    /// Events handled.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Leaderships that began.
    pub elections: u64,
    /// Blocks committed.
    pub blocks: u64,
    /// Transactions that stand in them.
    pub transactions: u64,
    /// Submissions answered with a place.
    pub acknowledged: u64,
    /// Starts of a node.
    pub starts: u64,
    /// Nodes that refused to run.
    pub refusals: u64,
    /// Snapshots that were installed.
    pub snapshots: u64,
    /// Groups that a liar has forked, and evidence has named it.
    pub forks: u64,
    /// Groups that broke a promise after a disk had lied and nobody who knew was there to tell.
    pub untold: u64,
    /// Groups that broke a promise after a validator was readmitted too early, beside a liar.
    pub misled: u64,
    /// Groups that stand still after a liar is gone, because so many have acked what it sealed that nobody can be
    /// elected without evidence against a voter.
    pub bound: u64,
    /// Groups in which two processes with one key have said what excludes each other.
    pub clashes: u64,
    /// Reads that were served.
    pub reads: u64,
    /// Roster changes that were taken.
    pub roster_changes: u64,
    /// Nodes, times the seconds simulated.
    pub node_seconds: u64,
    /// Seconds simulated.
    pub seconds: u64,
}

impl Tally {
    /// One more of a fault.
    pub fn fault(&mut self, fault: Fault) {
        if self.faults.is_empty() {
            self.faults.resize(Fault::ALL.len(), 0);
        }
        self.faults[fault as usize] += 1;
    }

    /// How often a fault was injected.
    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        self.faults.get(fault as usize).copied().unwrap_or(0)
    }

    /// Adds what has happened in another world.
    pub fn add(&mut self, other: &Self) {
        if self.faults.is_empty() {
            self.faults.resize(Fault::ALL.len(), 0);
        }
        for (sum, more) in self.faults.iter_mut().zip(&other.faults) {
            *sum += more;
        }
        self.events += other.events;
        self.messages += other.messages;
        self.elections += other.elections;
        self.blocks += other.blocks;
        self.transactions += other.transactions;
        self.acknowledged += other.acknowledged;
        self.starts += other.starts;
        self.refusals += other.refusals;
        self.roster_changes += other.roster_changes;
        self.snapshots += other.snapshots;
        self.forks += other.forks;
        self.untold += other.untold;
        self.misled += other.misled;
        self.bound += other.bound;
        self.clashes += other.clashes;
        self.reads += other.reads;
        self.node_seconds += other.node_seconds;
        self.seconds += other.seconds;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "happened  {} events, {} messages", self.events, self.messages)?;
        writeln!(
            f,
            "          {} elections, {} blocks, {} transactions, {} acknowledged, {} roster changes",
            self.elections, self.blocks, self.transactions, self.acknowledged, self.roster_changes
        )?;
        writeln!(
            f,
            "          {} starts, {} refused to run, {} snapshots installed, {} reads served, {} forks with evidence",
            self.starts, self.refusals, self.snapshots, self.reads, self.forks
        )?;
        writeln!(
            f,
            "          {} ended by a lie of a disk that nobody was there to tell, {} by a liar who was asked what was \
             forgotten, {} by acks for what a liar has sealed, {} by two processes with one key",
            self.untold, self.misled, self.bound, self.clashes
        )?;
        write!(f, "injected ")?;
        for (at, fault) in Fault::ALL.iter().enumerate() {
            let line = if at > 0 && at % 6 == 0 { "\n         " } else { "" };
            write!(f, "{line} {fault} {}", self.faults(*fault))?;
        }
        Ok(())
    }
}
