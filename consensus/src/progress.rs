//! What a leader knows of one peer, and what it sends it next (Raft §5.3: nextIndex and matchIndex; thesis 10.2.2).

use std::collections::VecDeque;

use quorate_chain::ids::{BlockRef, Height};
use quorate_chain::roster::Lead;

use crate::config::Incarnation;
use crate::message::{Beat, Lap};
use crate::time::{Moment, Span};

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
    /// Whether there is nothing to send it before the next heartbeat: the store had nothing for it yet, or it
    /// rejects again and again what it is sent.
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
    /// When it last had more on disk or more applied, or was sent more although it had a full window.
    pub moved: Moment,
    /// What it was sent and has not applied.
    window: Window,
}

/// Blocks that fill a peer's window: their heights, ascending, and their sizes.
#[derive(Clone, Debug, Default)]
struct Window {
    blocks: VecDeque<(Height, usize)>,
    bytes: usize,
}

impl Window {
    fn push(&mut self, height: Height, bytes: usize) {
        while let Some((_, again)) = self.blocks.pop_back_if(|(sent, _)| *sent >= height) {
            self.bytes -= again;
        }
        self.blocks.push_back((height, bytes));
        self.bytes += bytes;
    }

    /// What is at or below a height does not fill it any more, nor what is to be sent again.
    fn trim(&mut self, floor: Height, next: Height) {
        while let Some((_, gone)) = self.blocks.pop_front_if(|(sent, _)| *sent <= floor) {
            self.bytes -= gone;
        }
        while let Some((_, again)) = self.blocks.pop_back_if(|(sent, _)| *sent >= next) {
            self.bytes -= again;
        }
    }
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
            moved: now,
            window: Window::default(),
        }
    }

    /// The peer says how far it is.
    pub fn has(&mut self, matched: Option<BlockRef>, applied: Height, now: Moment) {
        let before = (self.matched.height, self.applied);
        self.applied = self.applied.max(applied);
        if let Some(matched) = matched {
            self.matches(matched);
        }
        if (self.matched.height, self.applied) != before {
            self.moved = now;
        }
    }

    /// The height that its window begins at: what it has applied, or what it had committed when it rejected
    /// an append because it cannot judge who leads. Nothing is known of who has not answered in this term.
    #[must_use]
    pub fn floor(&self) -> Option<Height> {
        let rejected = self.lap > Lap(0);
        self.introduced.then_some(self.applied).or(rejected.then_some(self.matched.height))
    }

    /// It is sent a block of so many bytes.
    pub fn sends(&mut self, height: Height, bytes: usize) {
        self.next = after(height);
        // Of who is not known to take anything, nothing is known to fill it.
        if self.floor().is_some() {
            self.window.push(height, bytes);
        }
    }

    /// Whether what it has not applied fills a window of so many blocks and bytes.
    pub fn is_full(&mut self, blocks: u64, bytes: usize) -> bool {
        let Some(floor) = self.floor() else { return false };
        self.window.trim(floor, self.next);
        let ahead = self.next.get().saturating_sub(floor.get() + 1);
        ahead >= blocks || self.window.bytes >= bytes
    }

    /// Whether it has all that it was sent, and has not moved for so long. If its window is full then, what
    /// it holds may lack a certificate that was lost, and only one for a block above can commit it: it is
    /// sent more, once in so long. If its store is slow, it leaves that.
    #[must_use]
    pub fn is_stuck(&self, now: Moment, patience: Span) -> bool {
        self.next == after(self.matched.height) && now.since(self.moved) >= patience
    }

    /// The peer has this block on disk.
    fn matches(&mut self, block: BlockRef) {
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
    /// begins above what it has: Raft goes down to there one by one (§5.3).
    pub fn rejected(&mut self, committed: BlockRef, incarnation: Incarnation, unknown: bool) {
        let doubted = std::mem::replace(&mut self.doubted, true);
        // What it was sent did not help it, and nothing says that it will now.
        self.stalled |= doubted && committed.height <= self.matched.height;
        if self.incarnation != Some(incarnation) || doubted {
            // Another log, or one that has begun anew at a snapshot: what it had may be gone.
            self.incarnation = Some(incarnation);
            self.matched = committed;
            self.applied = self.applied.min(committed.height);
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

#[cfg(test)]
mod tests {
    use quorate_chain::ids::{BlockHash, Term};

    use super::*;

    fn block(height: u64) -> BlockRef {
        let hash = BlockHash::new([1; 32]);
        BlockRef { term: Term::new(1), height: Height::new(height), hash }
    }

    #[test]
    fn a_peer_that_rejects_again_what_it_is_sent_waits_for_a_heartbeat() {
        let mut peer = Progress::new(Height::new(9), block(0), Moment::default());
        peer.rejected(block(3), Incarnation(1), false);
        assert!(!peer.stalled);
        peer.rejected(block(5), Incarnation(1), false);
        assert!(!peer.stalled, "it has committed more");
        peer.rejected(block(5), Incarnation(1), false);
        assert!(peer.stalled);
        peer.heartbeat(true);
        assert!(!peer.stalled);
    }
}
