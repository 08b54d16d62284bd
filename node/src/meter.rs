//! What is counted and timed while a node runs, for whoever reads `/metrics`.
//!
//! Counters only grow, from the start of the process on. What can be asked of the node at any moment
//! (heights, term, peers, mempool) is not kept here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use quorate_chain::outcome::Status;
use quorate_consensus::raft::Standing;
use quorate_replica::io::{Applied, Input, Notice};

/// The bounds of the buckets, in microseconds; above the last one there is one more.
pub(crate) const BOUNDS: [u64; 13] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000,
];

/// Something that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How long something took, each time.
#[derive(Debug, Default)]
pub(crate) struct Times {
    buckets: [Counter; BOUNDS.len() + 1],
    micros: Counter,
}

impl Times {
    /// It took so long once more.
    pub(crate) fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].add(1);
        self.micros.add(micros);
    }

    /// How often it took at most as long as each bound, and how often at all.
    pub(crate) fn up_to(&self) -> ([u64; BOUNDS.len()], u64) {
        let (mut below, mut sum) = ([0; BOUNDS.len()], 0);
        for (below, bucket) in below.iter_mut().zip(&self.buckets) {
            sum += bucket.get();
            *below = sum;
        }
        (below, sum + self.buckets[BOUNDS.len()].get())
    }

    /// How long it took, all together.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros.get()).as_secs_f64()
    }
}

/// All that is counted.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// How long a group of records took to be durable: a slow disk shows here.
    pub(crate) log_writes: Times,
    /// How long a batch of blocks took to be applied.
    pub(crate) applies: Times,
    /// How often this node began to campaign.
    pub(crate) campaigns: Counter,
    /// How often another leader became known.
    pub(crate) leaders: Counter,
    /// How often no leader was known any more.
    pub(crate) leader_losses: Counter,
    /// Connections to other nodes that were closed.
    pub(crate) links_lost: Counter,
    /// Blocks that were sealed here.
    pub(crate) sealed: Counter,
    /// Blocks that were applied.
    pub(crate) blocks: Counter,
    /// Transactions that took effect.
    pub(crate) applied: Counter,
    /// Transactions that failed.
    pub(crate) failed: Counter,
    /// Transactions that counted for nothing.
    pub(crate) void: Counter,
    /// Transactions of others that were not taken, or dropped before they were ordered.
    pub(crate) not_taken: Counter,
}

impl Meter {
    /// Something happened to the driver.
    pub(crate) fn input(&self, input: &Input) {
        if let Input::LinkLost { .. } = input {
            self.links_lost.add(1);
        }
        if let Input::Applied(applied) = input {
            self.batch(applied);
        }
    }

    fn batch(&self, applied: &Applied) {
        for block in &applied.blocks {
            self.blocks.add(1);
            for outcome in &block.outcomes {
                match outcome.status {
                    Status::Applied => self.applied.add(1),
                    Status::Failed { .. } => self.failed.add(1),
                    Status::Void(_) => self.void.add(1),
                }
            }
        }
    }

    /// The driver wants something known.
    pub(crate) fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Leader { leader: Some(_), .. } => self.leaders.add(1),
            Notice::Leader { leader: None, .. } => self.leader_losses.add(1),
            Notice::Sealed { .. } => self.sealed.add(1),
            Notice::NotTaken { .. } | Notice::Dropped { .. } => self.not_taken.add(1),
            Notice::Committed { .. } | Notice::Void { .. } | Notice::SnapshotFailed { .. } => {}
        }
    }

    /// The node is something else than before.
    pub(crate) fn standing(&self, before: Standing, now: Standing) {
        if before != now && now == Standing::Candidate {
            self.campaigns.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_falls_into_its_bucket_and_all_above() {
        let times = Times::default();
        for micros in [1, 500, 501, 9_000_000] {
            times.took(Duration::from_micros(micros));
        }
        let (below, all) = times.up_to();
        assert_eq!((below[0], below[1], below[BOUNDS.len() - 1], all), (2, 3, 3, 4));
        assert!((times.seconds() - 9.001_002).abs() < 1e-9);
    }
}
