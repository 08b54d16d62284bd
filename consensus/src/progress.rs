//! What a leader knows of one peer, and what it sends it next.

use quorate_chain::ids::{BlockRef, Height};
use quorate_chain::roster::Lead;

use crate::config::Incarnation;
use crate::message::{Beat, Lap};
use crate::time::Moment;

/// What a leader knows of one peer.
///
/// Invariant: `matched.height < next`.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The height of the next block to send.
    pub next: Height,
    /// The highest block that the peer has said it has on disk, in this life of its log.
    pub matched: BlockRef,
    /// The height that the peer has applied.
    pub applied: Height,
    /// The attempt that appends belong to. Rejects of earlier ones are echoes.
    pub lap: Lap,
    /// Which log the peer has, once it has said so.
    pub incarnation: Option<Incarnation>,
    /// Whether the peer has answered in this term, and so knows who leads it.
    pub introduced: bool,
    /// Whether blocks are being read from the store for it.
    pub fetching: bool,
    /// Whether the store had nothing for it yet: it is asked again at the next heartbeat.
    pub stalled: bool,
    /// Whether it has rejected the attempt before this one, and stored nothing since.
    pub doubted: bool,
    /// When it was last heard.
    pub heard: Moment,
    /// The newest beat it was sent.
    pub told: Beat,
    /// When it was last sent an append, with blocks or without.
    pub sent: Moment,
    /// Whether it wants to lead, as it has said last.
    pub lead: Option<Lead>,
    /// The newest beat it has answered.
    pub beat: Beat,
    /// What it had on disk at the last heartbeat.
    pub matched_then: Height,
}

impl Progress {
    /// A peer of which nothing is known but what every log begins with.
    #[must_use]
    pub fn new(next: Height, start: BlockRef, now: Moment) -> Self {
        Self {
            next,
            matched: start,
            applied: Height::ZERO,
            lap: Lap(0),
            incarnation: None,
            introduced: false,
            fetching: false,
            stalled: false,
            doubted: false,
            heard: now,
            told: Beat(0),
            sent: now,
            lead: None,
            beat: Beat(0),
            matched_then: Height::ZERO,
        }
    }

    /// The peer has this block on disk.
    pub fn matches(&mut self, block: BlockRef) {
        self.doubted = false;
        if block.height > self.matched.height {
            self.matched = block;
        }
        if self.next <= self.matched.height {
            self.next = after(self.matched.height);
        }
    }

    /// A heartbeat is due. If the peer was heard since it was last sent something, is not being read for,
    /// and has no more on disk than a heartbeat ago, then what was sent to it is lost: it rejects
    /// nothing as long as its window is taken for full, so nothing else would say so. One that is far behind
    /// has the store's blocks sent again even if no time has passed: it is told of nothing it could reject.
    pub fn heartbeat(&mut self, is_far: bool) {
        let answered = self.introduced
            && if is_far { self.heard >= self.sent } else { self.heard > self.sent };
        let stuck = answered && !self.fetching && self.matched_then == self.matched.height;
        if stuck && self.next > after(self.matched.height) {
            self.next = after(self.matched.height);
        }
        self.stalled = false;
        self.matched_then = self.matched.height;
    }

    /// The peer has rejected an append of this attempt; it has committed this block. Another attempt
    /// begins above what it has.
    pub fn rejected(&mut self, committed: BlockRef, incarnation: Incarnation, unknown: bool) {
        let doubted = std::mem::replace(&mut self.doubted, true);
        if self.incarnation != Some(incarnation) || doubted {
            // Another log, or one that has begun anew at a snapshot: what it had may be gone.
            self.incarnation = Some(incarnation);
            self.matched = committed;
        }
        if committed.height > self.matched.height {
            self.matched = committed;
        }
        self.introduced = !unknown;
        self.lap = Lap(self.lap.0 + 1);
        self.next = after(self.matched.height);
    }
}

/// The height above another.
///
/// # Panics
/// At the end of the numbers, which no chain reaches.
#[must_use]
pub fn after(height: Height) -> Height {
    height.next().expect("no chain is 2^64 blocks high")
}
