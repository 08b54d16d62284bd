//! Getting a snapshot from another node, piece by piece.

use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, Hash, NodeId};
use quorate_consensus::log::Anchor;
use quorate_consensus::message::Snapshot;
use quorate_consensus::time::{Moment, Span};

use super::rosters::Chain;
use super::{Ask, CheckedHead, Failure, Piece, Wanted};
use crate::store::Entries;

/// How many election timeouts a snapshot may take, however small it is.
const PIECES: u64 = 60;
/// How many entries there must be for each election timeout more.
const ENTRIES: u64 = 1_000;
/// How often a piece is asked for before the source is given up.
const TRIES: u32 = 5;

/// A snapshot on its way.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) from: NodeId,
    pub(crate) offer: Snapshot,
    pub(crate) head: Option<CheckedHead>,
    pub(crate) rosters: Chain,
    chain_id: ChainId,
    /// The path of the last entry that was staged.
    after: Option<Hash>,
    /// Whether an answer is awaited; else the applier is at work.
    asked: bool,
    /// Whether all has come.
    done: bool,
    again: Moment,
    tries: u32,
    /// How many entries have come.
    taken: u64,
    pace: Pace,
    /// When the source is given up, whatever it brings.
    until: Moment,
}

/// How long a snapshot may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long a piece may take before it is asked for again.
    pub(crate) patience: Span,
    /// How much longer than at first a source may take.
    pub(crate) factor: u64,
}

impl Pace {
    /// The time in which so many entries should have come.
    fn limit(self, count: u64) -> Span {
        self.patience.times(timeouts(count).saturating_mul(self.factor))
    }
}

/// How many election timeouts a snapshot with so many entries may take.
pub(crate) fn timeouts(entries: u64) -> u64 {
    PIECES.saturating_add(entries / ENTRIES)
}

/// What is to be done next.
pub(crate) enum Step {
    /// Ask the source.
    Ask(Ask),
    /// Stage entries.
    Stage(Entries, bool),
    /// Install what was staged.
    Install,
    /// Give it up.
    GiveUp(Failure),
    /// Wait.
    Wait,
}

impl Download {
    pub(crate) fn new(
        from: NodeId,
        offer: Snapshot,
        chain_id: ChainId,
        here: &Anchor,
        pace: Pace,
        now: Moment,
    ) -> Self {
        Self {
            from,
            offer,
            head: None,
            rosters: Chain::new(chain_id, here),
            chain_id,
            after: None,
            asked: false,
            done: false,
            again: Moment::micros(0),
            tries: 0,
            taken: 0,
            pace,
            until: now.after(pace.limit(0)),
        }
    }

    /// Begins.
    pub(crate) fn begin(&mut self, now: Moment) -> Step {
        self.ask(now)
    }

    /// When it wants a tick.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.asked.then(|| self.again.min(self.until))
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Moment) -> Step {
        if !self.asked {
            return Step::Wait;
        }
        if now >= self.until {
            let count = self.head.as_ref().map_or(0, |head| head.size.count);
            let limit = self.pace.limit(count);
            return Step::GiveUp(Failure::Slow { count, found: self.taken, limit });
        }
        if now < self.again {
            return Step::Wait;
        }
        if self.tries >= TRIES {
            return Step::GiveUp(Failure::Silent { tries: self.tries });
        }
        self.ask(now)
    }

    fn ask(&mut self, now: Moment) -> Step {
        (self.asked, self.again, self.tries) =
            (true, now.after(self.pace.patience), self.tries + 1);
        let what = match self.head {
            None => Wanted::Head,
            Some(_) if !self.rosters.is_done() => Wanted::Steps { above: self.rosters.above() },
            Some(_) => Wanted::Entries { after: self.after },
        };
        Step::Ask(Ask { block: self.offer.block, what })
    }

    /// A piece has come.
    pub(crate) fn brought(&mut self, now: Moment, piece: Piece, verifier: &dyn Verifier) -> Step {
        if !self.asked {
            return Step::Wait;
        }
        match piece {
            Piece::Head(head) if self.head.is_none() => {
                let Some(checked) = head.check(&self.offer, self.chain_id, verifier) else {
                    return Step::GiveUp(Failure::Unproven);
                };
                self.tries = 0;
                self.until = now.after(self.pace.limit(checked.size.count));
                self.offer.proof.certificate = head.path.certificate;
                self.head = Some(checked);
                self.ask(now)
            }
            Piece::Steps(page) if self.head.is_some() && !self.rosters.is_done() => {
                match self.rosters.take(page, &self.offer, verifier) {
                    Ok(false) => Step::Wait,
                    Ok(true) => {
                        self.tries = 0;
                        self.ask(now)
                    }
                    Err(why) => Step::GiveUp(why),
                }
            }
            Piece::Entries(entries) if self.rosters.is_done() => self.entries(entries),
            // An answer to what was asked before.
            Piece::Head(_) | Piece::Steps(_) | Piece::Entries(_) => Step::Wait,
            Piece::Gone => Step::GiveUp(Failure::Gone),
        }
    }

    fn entries(&mut self, entries: Entries) -> Step {
        let mut below = self.after;
        for (key, _) in &entries {
            let path = Some(key.path());
            if path <= below {
                // The same piece twice, or a source that does not keep the order: it is asked again.
                return Step::Wait;
            }
            below = path;
        }
        let count = self.head.as_ref().map_or(0, |head| head.size.count);
        let found = self.taken + entries.len() as u64;
        if found > count || entries.is_empty() && found < count {
            return Step::GiveUp(Failure::Count { count, found });
        }
        // Of a state without entries nothing has been staged, but there may be leftovers.
        let first = self.after.is_none();
        (self.done, self.taken, self.after) = (found == count, found, below);
        (self.asked, self.tries) = (false, 0);
        Step::Stage(entries, first)
    }

    /// What was to be staged is.
    pub(crate) fn staged(&mut self, now: Moment) -> Step {
        if self.done { Step::Install } else { self.ask(now) }
    }
}
