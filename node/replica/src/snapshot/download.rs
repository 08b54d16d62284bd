//! Getting a snapshot from another node, piece by piece.

use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, Hash, NodeId};
use quorate_consensus::log::Anchor;
use quorate_consensus::message::Snapshot;
use quorate_consensus::time::{Moment, Span};

use super::rosters::Chain;
use super::{Ask, CheckedHead, Failure, Piece, Wanted};
use crate::store::Entries;

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
    patience: Span,
    again: Moment,
    tries: u32,
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
        patience: Span,
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
            patience,
            again: Moment::micros(0),
            tries: 0,
        }
    }

    /// Begins.
    pub(crate) fn begin(&mut self, now: Moment) -> Step {
        self.ask(now)
    }

    /// When it wants a tick.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.asked.then_some(self.again)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Moment) -> Step {
        if !self.asked || now < self.again {
            return Step::Wait;
        }
        if self.tries >= TRIES {
            return Step::GiveUp(Failure::Silent { tries: self.tries });
        }
        self.ask(now)
    }

    fn ask(&mut self, now: Moment) -> Step {
        (self.asked, self.again, self.tries) = (true, now.after(self.patience), self.tries + 1);
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
                self.head = head.check(&self.offer, self.chain_id, verifier);
                self.tries = 0;
                if self.head.is_some() { self.ask(now) } else { Step::GiveUp(Failure::Unproven) }
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
        let Some((last, _)) = entries.last() else {
            (self.asked, self.done) = (false, true);
            // Of a state without entries nothing has been staged, but there may be leftovers.
            return if self.after.is_none() { Step::Stage(entries, true) } else { Step::Install };
        };
        let (first, last) = (self.after.is_none(), last.path());
        let mut below = self.after;
        let mut repeated = false;
        for (key, _) in &entries {
            let path = Some(key.path());
            repeated |= path <= below;
            below = path;
        }
        if repeated {
            // The same piece twice, or a source that does not keep the order: it is asked again.
            return Step::Wait;
        }
        (self.after, self.asked, self.tries) = (Some(last), false, 0);
        Step::Stage(entries, first)
    }

    /// What was to be staged is.
    pub(crate) fn staged(&mut self, now: Moment) -> Step {
        if self.done { Step::Install } else { self.ask(now) }
    }
}
