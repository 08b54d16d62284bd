//! A disk that hangs: the process ends, so that its operator and the others know where they are.
//!
//! Nothing can be taken back from a disk that does not answer, and nothing can be signed meanwhile. A validator that
//! leads has handed over long before. Only time in which this process ran counts: one that stood still itself finds
//! the answer of its disk when it goes on, perhaps behind other things. A disk that is full is none that hangs.

use quorate_consensus::time::{Moment, Span};

/// How long a disk may take.
pub const LONGEST: Span = Span::millis(60_000);
/// Of the time between two looks so much counts at most.
const LOOK: Span = Span::millis(2_000);

/// For how long the disk has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hang {
    seen: Moment,
    counted: Span,
}

impl Hang {
    pub(super) const fn new(now: Moment) -> Self {
        Self { seen: now, counted: Span::millis(0) }
    }

    /// Whether it is too long, given whether the disk owes anything since the last look.
    pub(super) fn is_too_long(&mut self, now: Moment, owes: bool) -> bool {
        let since = now.since(self.seen).min(LOOK);
        self.seen = now;
        let counted = Span::micros(self.counted.as_micros() + since.as_micros());
        self.counted = if owes { counted } else { Span::millis(0) };
        self.counted >= LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Moment {
        Moment::micros(seconds * 1_000_000)
    }

    #[test]
    fn a_minute_without_an_answer_is_too_long() {
        let mut hang = Hang::new(at(0));
        assert!(!(1..60).any(|second| hang.is_too_long(at(second), true)));
        assert!(hang.is_too_long(at(60), true));
    }

    #[test]
    fn an_answer_in_between_begins_anew() {
        let mut hang = Hang::new(at(0));
        assert!(!(1..=200).any(|second| hang.is_too_long(at(second), second % 50 > 0)));
    }

    #[test]
    fn time_in_which_the_process_stood_still_counts_little() {
        let mut hang = Hang::new(at(0));
        assert!(!hang.is_too_long(at(3_600), true));
    }
}
